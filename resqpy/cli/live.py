"""`resqpy top`: look again and again, two round trips a look, whatever the size of the installation."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.errors import OutcomeUnknown, StoreUnavailable
from resqpy.cli.live_screen import Counted, Sample, screen
from resqpy.cli.terminal import Terminal
from resqpy.engine.resque import Resque
from resqpy.framework.signals import listening, number

_SMALLEST_INTERVAL_S = 0.1


@dataclass
class _Seen:
    """What was seen last, for rates, and while Redis is away."""

    look: Sample | None = None
    trouble: str = ""


@contextmanager
def interruptible(terminal: Terminal) -> Iterator[None]:
    """Ctrl-Z stops the program till `fg`, TERM ends it, and both give the terminal back before."""
    task = asyncio.current_task()
    assert task is not None

    def end() -> None:
        task.cancel()

    stop = partial(os.kill, os.getpid(), number("STOP"))
    with listening({"TSTP": partial(terminal.leave_to, stop), "TERM": end}):
        yield


async def watch(resque: Resque, terminal: Terminal, every_s: float, rounds: int | None) -> None:
    """Show the screen until somebody ends it, or so many times.

    Raises:
        StoreUnavailable, OutcomeUnknown: Redis is away, and nobody watches who could wait.
    """
    seen = _Seen()
    number = 0
    while rounds is None or number < rounds:
        await _look(resque, seen, patient=terminal.live)
        size = terminal.size()
        terminal.show(screen(seen.look, seen.trouble, *size))
        number += 1
        if number == rounds or await _rest(
            terminal, seen, size, max(every_s, _SMALLEST_INTERVAL_S)
        ):
            return


async def _look(resque: Resque, seen: _Seen, *, patient: bool) -> None:
    try:
        details = await resque.details()
    except (StoreUnavailable, OutcomeUnknown) as error:
        if not patient:
            raise
        seen.trouble = str(error)
        return
    stats = details["stats"]
    now = Counted(SYSTEM_CLOCK.monotonic(), stats["processed"], stats["failed"])
    before = seen.look.counted if seen.look is not None and not seen.trouble else None
    seen.look, seen.trouble = Sample(details, now, before), ""


async def _rest(terminal: Terminal, seen: _Seen, size: tuple[int, int], seconds: float) -> bool:
    """Wait for the next look; whether somebody ended it. Another size is drawn at once."""
    ends_s = SYSTEM_CLOCK.monotonic() + seconds
    while (left := ends_s - SYSTEM_CLOCK.monotonic()) > 0:
        await asyncio.sleep(min(left, 0.1))
        key = terminal.key()
        if key in {"q", "Q", "\x03"}:
            return True
        if key is not None:  # any other: look now
            return False
        if terminal.size() != size:
            size = terminal.size()
            terminal.show(screen(seen.look, seen.trouble, *size))
    return False
