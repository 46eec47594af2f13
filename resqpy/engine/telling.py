"""The events of a worker: node-resque's, by the same names in snake case."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from resqpy.base.errors import StoreError
from resqpy.engine.outcome import OutcomeKind
from resqpy.engine.run import current_run

if TYPE_CHECKING:
    from typing import Any

    from resqpy.engine.worker.running import End
    from resqpy.engine.worker.slots import Slot


class Events(Protocol):
    """Who is told of what happens."""

    def tell(self, event: str, slot: Slot | None, *details: Any) -> None:
        """Something happened; `slot` is None for what concerns all."""

    def heard(self, event: str) -> bool:
        """Whether anybody listens: what is costly to tell needn't be told to nobody."""


def tell_end(events: Events, end: End, *, void: bool) -> None:
    """Tell how a job ended, once that is written. Listeners find its run as `current_run`."""
    token = current_run.set(end.run)
    try:
        _tell_end(events, end, void=void)
    finally:
        current_run.reset(token)


def _tell_end(events: Events, end: End, *, void: bool) -> None:
    slot, run, outcome = end.slot, end.run, end.outcome
    if void and not end.in_doubt:
        if run.lifecycle.plain:  # else its record was changed, and its lifecycle tells of it
            tell_error(events, StoreError(_VOID), end)
    elif outcome.kind is OutcomeKind.SUCCESS:
        events.tell("success", slot, run.queue, run.job, outcome.result, end.duration_ms)
    elif outcome.kind is OutcomeKind.FAILURE:
        events.tell("failure", slot, run.queue, run.job, outcome.error, end.duration_ms)
    elif outcome.kind in (OutcomeKind.RETRIED, OutcomeKind.DELAYED):
        events.tell("re_enqueue", slot, run.queue, run.job, outcome.info)
    elif (
        outcome.kind is OutcomeKind.SKIPPED and run.outcome is None
    ):  # else somebody else tells of it
        events.tell("skipped", slot, run.queue, run.job)


_VOID = "the job was taken from this worker while it ran; its end is void"


def tell_error(events: Events, error: Exception, end: End | None = None) -> None:
    """Tell of an error that concerns one job, or all of us."""
    if end is None:
        events.tell("error", None, error, None, None)
    else:
        events.tell("error", end.slot, error, end.run.queue, end.run.job)
