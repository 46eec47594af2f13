"""The events of a worker: node-resque's, with the same names in snake case."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from resqpy.base.errors import StoreError
from resqpy.engine.outcome import OutcomeKind
from resqpy.engine.run import current_run

if TYPE_CHECKING:
    from typing import Any

    from resqpy.engine.worker.running import EndedJob
    from resqpy.engine.worker.slots import Slot


class EventSink(Protocol):
    """Receives events."""

    def tell(self, event: str, slot: Slot | None, *details: Any) -> None:
        """Emit an event; `slot` is None if it concerns all."""

    def has_listeners(self, event: str) -> bool:
        """Whether anybody listens; events without listeners need not be built."""


def tell_end(events: EventSink, end: EndedJob, *, void: bool) -> None:
    """Emit the events for a job's end, once it is written. Listeners find its run as `current_run`."""
    token = current_run.set(end.run)
    try:
        _tell_end(events, end, void=void)
    finally:
        current_run.reset(token)


def _tell_end(events: EventSink, end: EndedJob, *, void: bool) -> None:
    slot, run, outcome = end.slot, end.run, end.outcome
    if void and not end.in_doubt:
        if run.lifecycle.plain:  # else its lifecycle reports the changed record
            tell_error(events, StoreError(_VOID), end)
    elif outcome.kind is OutcomeKind.SUCCESS:
        events.tell("success", slot, run.queue, run.job, outcome.result, end.duration_ms)
    elif outcome.kind is OutcomeKind.FAILURE:
        events.tell("failure", slot, run.queue, run.job, outcome.error, end.duration_ms)
    elif outcome.kind in (OutcomeKind.RETRIED, OutcomeKind.DELAYED):
        events.tell("re_enqueue", slot, run.queue, run.job, outcome.info)
    elif (
        outcome.kind is OutcomeKind.SKIPPED and run.outcome is None
    ):  # else somebody else reports it
        events.tell("skipped", slot, run.queue, run.job)


_VOID = "the job was taken from this worker while it ran; its end is void"


def tell_error(events: EventSink, error: Exception, end: EndedJob | None = None) -> None:
    """Emit an error that concerns one job, or all."""
    if end is None:
        events.tell("error", None, error, None, None)
    else:
        events.tell("error", end.slot, error, end.run.queue, end.run.job)
