"""The emitter: who hears what, and who no longer."""

from __future__ import annotations

import re
from typing import Any

import pytest

from resqpy import MultiWorker, Scheduler, Worker
from resqpy.base.errors import UsageError
from resqpy.base.events import Emitter
from resqpy.tracked.delivery import Listener
from resqpy.tracked.events import TaskEvents
from resqpy.tracked.processing import Processing
from tests.support.source import ROOT


class Listening:
    """Hears by a method, of which each look makes another object."""

    def __init__(self) -> None:
        self.heard: list[int] = []

    def hear(self, value: int) -> None:
        """Keep it."""
        self.heard.append(value)


@pytest.mark.parametrize("how", ["on", "once"])
def test_off(how: str) -> None:
    """A listener that is taken off hears nothing any more, a method too; the others still do."""
    emitter, one, other = Emitter(), Listening(), Listening()
    for each in (one, other):
        getattr(emitter, how)("said", each.hear)
    emitter.off("said", one.hear)
    emitter.emit("said", 1)
    assert (one.heard, other.heard) == ([], [1])


def test_once() -> None:
    """It hears the next event only, and what it takes off itself does no harm."""
    emitter, one = Emitter(), Listening()
    emitter.once("said", one.hear)
    emitter.emit("said", 1)
    emitter.emit("said", 2)
    emitter.off("said", one.hear)
    assert one.heard == [1]
    assert not emitter.has_listeners("said")


def test_off_of_all() -> None:
    """Without a listener, all of an event are forgotten."""
    emitter, one = Emitter(), Listening()
    emitter.on("said", one.hear)
    emitter.on("other", one.hear)
    emitter.off("said")
    emitter.emit("said", 1)
    emitter.emit("other", 2)
    assert one.heard == [2]


def test_a_listener_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    """It harms neither the emitter nor the next listener, and is logged."""
    emitter, one = Emitter(), Listening()

    def broken(_: int) -> None:
        raise ValueError("x")

    emitter.on("said", broken)
    emitter.on("said", one.hear)
    emitter.emit("said", 1)
    assert one.heard == [1]
    assert "a listener of 'said' failed" in caplog.text


_TOLD = r"(?:emit|_tell|events\.tell|self\.tell)\(\s*\"([a-z_]+)\""


@pytest.mark.parametrize(
    ("kind", "name", "near"),
    [
        (Worker, "sucess", "success"),
        (MultiWorker, "multiWorkerAction", "multi_worker_action"),
        (Scheduler, "transferedJob", "transferred_job"),
        (Processing, "lockLost", "lock_lost"),
        (Listener, "finishedTask", "finished_task"),
        (TaskEvents, "task_complete", "task_completed"),
    ],
)
@pytest.mark.parametrize("verb", ["on", "once"])
def test_an_event_that_is_never_told(kind: Any, name: str, near: str, verb: str) -> None:
    """A listener of it would wait for ever: it is refused, with the nearest and all that there are."""
    part = kind.__new__(kind)
    Emitter.__init__(part)
    with pytest.raises(UsageError, match=f"did you mean '{near}'"):
        getattr(part, verb)(name, print)
    assert getattr(part, verb)(near, print)


def test_every_event_that_is_told_is_known() -> None:
    """What the code tells by name is among those that can be listened to."""
    known = set().union(*(kind.EVENTS for kind in (Worker, Processing, Listener, TaskEvents)))
    told = set()
    for path in (ROOT / "resqpy").rglob("*.py"):
        told |= set(
            re.findall(
                r"(?:emit|_tell|events\.tell|self\.tell)\(\s*\"([a-z_]+)\"", path.read_text("utf-8")
            )
        )

    assert told - known == set()
