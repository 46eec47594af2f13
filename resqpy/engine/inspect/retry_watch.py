"""Retrying failed jobs step by step, to stop as soon as the same failure comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from resqpy.base import codec
from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.model import FailedJob
from resqpy.engine.inspect.failed_jobs import FailedJobs, Retrying
from resqpy.store import failures

_TAIL = 1000  # entries at the end of each list in which new failures are looked for
_LOOK_S = 0.5


@dataclass(frozen=True, slots=True)
class WatchedRetry:
    """What became of it.

    Attributes:
        retried: how many jobs were put back.
        back: a job that has failed since in the same way, and stopped it; None: there was none.
        unserved: a queue in which jobs of a step still waited after it, and stopped it; empty: there was none.
    """

    retried: int
    back: FailedJob | None = None
    unserved: str = ""


async def retry_watched(
    jobs: FailedJobs,
    wait_s: float,
    *,
    to_queue: str | None = None,
    on_step: Callable[[int], None] = lambda _: None,
    **filters: Any,
) -> WatchedRetry:
    """Retry one failed job, then two, four, and so on, and wait after each step; stop where a job fails in
    the same way (task and exception) as one of those that were retried, and where a job was not even taken.

    Args:
        wait_s: seconds after each step; as long as a job takes to be run and fail. 0: nothing is looked at.
        on_step: called with the number of each step.
        filters: as of `FailedJobs.each_failed`. What Ruby has retried is left out.
    """
    retrying, retried, step = Retrying(jobs._queue), 0, 1  # noqa: SLF001 - the same room
    entries = [e async for e in jobs.each_failed(**filters) if e.retried_at is None]
    while entries:
        some, entries = entries[:step], entries[step:]
        step *= 2
        on_step(len(some))
        seen = {codec.digest(each.raw) for each in await _tails(jobs)}
        retrying.pushed.clear()
        for source, group in groupby(some, key=lambda each: each.source):
            words = await retrying.all(source, [(-1, each) for each in group], to_queue)
            retried += words.count("retried")
        back = await _watch(jobs, some, seen, wait_s)
        unserved = await _unserved(jobs, retrying.pushed) if wait_s and back is None else ""
        if back is not None or unserved:
            return WatchedRetry(retried, back, unserved)
    return WatchedRetry(retried)


async def _unserved(jobs: FailedJobs, pushed: Mapping[str, bytes]) -> str:
    """The first of some queues in which a job still waits, among the last ones."""
    asked = [
        ("LPOS", jobs.store.keys.queue(name), raw, "RANK", -1, "MAXLEN", _TAIL)
        for name, raw in pushed.items()
    ]
    places = zip(pushed, await jobs.store.look(asked), strict=True)
    return next((name for name, place in places if place is not None), "")


async def _watch(
    jobs: FailedJobs, some: Sequence[FailedJob], seen: set[str], wait_s: float
) -> FailedJob | None:
    """A failure that was not there before, of a kind of those that were retried."""
    kinds = {(each.class_name, each.exception) for each in some}
    until_s = SYSTEM_CLOCK.monotonic() + wait_s
    while True:
        left_s = until_s - SYSTEM_CLOCK.monotonic()
        await asyncio.sleep(max(min(left_s, _LOOK_S), 0))
        for each in await _tails(jobs):
            if (each.class_name, each.exception) in kinds and codec.digest(each.raw) not in seen:
                return each
        if left_s <= _LOOK_S:
            return None


async def _tails(jobs: FailedJobs) -> list[FailedJob]:
    """The last entries of each list."""
    lists = await jobs.failed_lists()
    return [each for name in lists for each in await failures.page(jobs.store, name, -_TAIL, -1)]
