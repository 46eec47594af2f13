"""Captures the events of workers and schedulers in a list."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from resqpy.base.errors import UsageError
from resqpy.base.events import Emitter

# All events except those emitted at each check for work: request `poll` and `pause` by name.
USUAL = (
    "start",
    "end",
    "job",
    "success",
    "failure",
    "re_enqueue",
    "skipped",
    "error",
    "multi_worker_action",
    "leader",
    "follower",
    "enqueue",
    "working_timestamp",
    "transferred_job",
    "cleaning_worker",
    "clean_stuck_worker",
    "put_back",
)


class Event(NamedTuple):
    """An emitted event.

    Attributes:
        args: the arguments of listeners.
    """

    name: str
    args: tuple[Any, ...]


@contextmanager
def capture_events(emitter: Emitter | None, *names: str) -> Iterator[list[Event]]:
    """Capture the events that a worker or a scheduler emits within the block.

    Args:
        emitter: `api.resque.multi_worker`, `api.resque.scheduler`, or one created by hand.
        names: which; default: all except `poll`, `ping` and `pause`.

    Raises:
        UsageError: it is None: the process has no such part.
    """
    if emitter is None:
        raise UsageError(
            "this process has no such part: start it with worker=True or scheduler=True"
        )
    events: list[Event] = []
    listeners = {name: _keeper(events, name) for name in names or USUAL}
    for name, listener in listeners.items():
        emitter.on(name, listener)
    try:
        yield events
    finally:
        for name, listener in listeners.items():
            emitter.off(name, listener)


def _keeper(events: list[Event], name: str) -> Callable[..., None]:
    def keep(*args: Any) -> None:
        events.append(Event(name, args))

    return keep
