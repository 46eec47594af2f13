"""Workers that live and take no jobs: paused, quiet, stuck; a part of `resqpy doctor`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from resqpy.base.model import WorkerId
from resqpy.diagnosis.problem import Problem
from resqpy.diagnosis.texts import counted
from resqpy.diagnosis.workers import SeenWorker
from resqpy.engine.process_state import STOPPING, STUCK, WORDS

_NAMED = 5


def resting_problems(live: Sequence[SeenWorker]) -> Iterator[Problem]:
    """What is told of them. Only one that is stuck is wrong."""
    for state, words in WORDS.items():
        names = [WorkerId.parse(each.worker_id).name for each in live if each.state == state]
        if names and state != STOPPING:
            more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
            told = f"{counted(len(names), 'worker')}: {', '.join(names[:_NAMED])}{more}"
            yield Problem(f"{state} workers", told, words, grave=state == STUCK)
