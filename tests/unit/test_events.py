"""The emitter: who hears what, and who no longer."""

from __future__ import annotations

import pytest

from resqpy.base.events import Emitter


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
    assert not emitter.heard("said")


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
