"""`resqpy top`: repeated updates, four round trips each, whatever the size of the installation."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import click

from resqpy.base import activejob
from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.errors import OutcomeUnknown, StoreUnavailable
from resqpy.base.foreign_time import moment_of
from resqpy.base.model import NoList, WorkerId
from resqpy.cli.output import printing as output
from resqpy.diagnosis import texts
from resqpy.diagnosis.queues import QueueAges, ages, drain_words
from resqpy.engine.inspect.inspector import Details, Resque
from resqpy.framework.process.signals import listening, number

# A terminal used by a full-screen command: alternate screen, single keys, restored at the end.

_ENTER = "\x1b[?1049h\x1b[?25l"  # the alternate screen, no cursor
_LEAVE = "\x1b[?25h\x1b[?1049l"


class Terminal:
    """Shows lines repeatedly.

    Attributes:
        live: a person is watching; otherwise each update is printed after the previous one.
    """

    def __init__(self, modes: _Modes, *, live: bool) -> None:
        self.live = live
        self._modes = modes

    def size(self) -> tuple[int, int]:
        """The current columns and lines."""
        if not self.live:
            return 120, 40
        size = shutil.get_terminal_size((80, 24))
        return size.columns, size.lines

    def show(self, lines: Sequence[str]) -> None:
        """Replace the lines shown. In one write, so that nothing flickers."""
        if not self.live:
            click.echo("\n".join(map(output.joined, lines)))
            return
        drawn = "\n".join(f"{output.joined(line)}\x1b[K" for line in lines)
        click.echo(f"\x1b[H{drawn}\x1b[J", nl=False)

    def key(self) -> str | None:
        """A key that was pressed; None: none was."""
        if not self._modes.taken:
            return None
        import select

        ready, _, _ = select.select([sys.stdin], [], [], 0)
        if not ready:
            return None
        pressed = os.read(sys.stdin.fileno(), 64)  # an arrow key has several bytes
        return pressed[:1].decode("latin-1") or "q"  # the end of input quits too

    def leave_to(self, stop: Callable[[], None]) -> None:
        """Give the terminal back during something, such as suspending this program; then take it again."""
        if self.live:
            click.echo(_LEAVE, nl=False)
        self._modes.give_back()
        stop()
        self._modes.take()
        if self.live:
            click.echo(_ENTER, nl=False)


@contextmanager
def terminal() -> Iterator[Terminal]:
    """The terminal, or a substitute; it is restored, whatever happens."""
    modes = _Modes()
    if not sys.stdout.isatty():
        yield Terminal(modes, live=False)
        return
    modes.take()
    click.echo(_ENTER, nl=False)
    try:
        yield Terminal(modes, live=True)
    finally:
        click.echo(_LEAVE, nl=False)
        modes.give_back()


class _Modes:
    """The modes in which keys arrive immediately and are not echoed; Ctrl-C stays what it is.

    Attributes:
        taken: whether they are set; otherwise no keys can be read.
    """

    def __init__(self) -> None:
        self.taken = False
        self._before: list[Any] = []

    def take(self) -> None:
        """Set them, if the input is a terminal."""
        try:
            import termios
            import tty
        except ImportError:  # Windows
            return
        with contextlib.suppress(OSError, ValueError, termios.error):  # no terminal, or closed
            self._before = termios.tcgetattr(sys.stdin)
            tty.setcbreak(sys.stdin)
            self.taken = True

    def give_back(self) -> None:
        """Restore the previous modes."""
        if self.taken:
            import termios

            self.taken = False
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)


_SMALLEST_INTERVAL_S = 0.1


@dataclass
class _Seen:
    """The last update, for rates, and while Redis is unreachable."""

    look: Sample | None = None
    trouble: str = ""


@contextmanager
def interruptible(terminal: Terminal) -> Iterator[None]:
    """Ctrl-Z suspends the program until `fg`, TERM ends it, and both restore the terminal first."""
    task = asyncio.current_task()
    assert task is not None

    def end() -> None:
        task.cancel()

    stop = partial(os.kill, os.getpid(), number("STOP"))
    with listening({"TSTP": partial(terminal.leave_to, stop), "TERM": end}):
        yield


async def watch(resque: Resque, terminal: Terminal, every_s: float, rounds: int | None) -> None:
    """Show the screen until the user quits, or this many times.

    Raises:
        StoreUnavailable, OutcomeUnknown: Redis is unreachable, and nobody is watching.
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
        details, found = await resque.details(), await ages(resque)
    except (StoreUnavailable, OutcomeUnknown) as error:
        if not patient:
            raise
        seen.trouble = str(error)
        return
    stats = details["stats"]
    now = Counted(SYSTEM_CLOCK.monotonic(), stats["processed"], stats["failed"])
    before = seen.look.counted if seen.look is not None and not seen.trouble else None
    seen.look, seen.trouble = Sample(details, now, before, found), ""


async def _rest(terminal: Terminal, seen: _Seen, size: tuple[int, int], seconds: float) -> bool:
    """Wait for the next update; returns whether the user quit. A new size is drawn immediately."""
    ends_s = SYSTEM_CLOCK.monotonic() + seconds
    while (left := ends_s - SYSTEM_CLOCK.monotonic()) > 0:
        await asyncio.sleep(min(left, 0.1))
        key = terminal.key()
        if key in {"q", "Q", "\x03"}:
            return True
        if key is not None:  # any other: update now
            return False
        if terminal.size() != size:
            size = terminal.size()
            terminal.show(screen(seen.look, seen.trouble, *size))
    return False


# -- the screen --


_BAR = 24  # columns
_NAME = 40  # columns of the longest name
_OTHER_LINES = 9  # headings, empty lines, the counters


@dataclass(frozen=True)
class Counted:
    """The counters at a time, for rates."""

    at_s: float
    processed: int
    failed: int


@dataclass(frozen=True)
class Sample:
    """One update.

    Attributes:
        before: the counters of the previous update; None: it is the first.
        ages: since when jobs wait, as the leader has seen it.
    """

    details: Details
    counted: Counted
    before: Counted | None
    ages: QueueAges


def screen(look: Sample | None, trouble: str, columns: int, lines: int) -> list[str]:
    """The lines of the screen, none wider than the terminal."""
    room = max(6, lines - _OTHER_LINES)
    made: list[str] = []
    if trouble:
        made.append(
            output.paint(output.cut(output.text(f"retrying: {trouble}"), columns), fg="red")
        )
    if look is not None:
        made += _head(look, columns)
        made += ["", *_queues(look.details["queues"], look.ages, room // 2, columns)]
        made += ["", *_working(look.details, room - room // 2, columns)]
    return made[:lines]


def _head(look: Sample, columns: int) -> Iterator[str]:
    """The counters, on as many lines as necessary."""
    details, now = look.details, look.counted
    before = look.before
    waiting = sum(details["queues"].values())
    parts = [
        f"waiting {waiting:,}",
        f"processed {now.processed:,} ({_rate(before, now, 'processed')})",
        f"failed {now.failed:,} ({_rate(before, now, 'failed')})",
        f"failed list {details['failed']:,}",
        f"delayed times {details['delayed']:,}",
        f"leader {output.text(details['leader'] or 'nobody')}",
    ]
    line = ""
    for part in parts:
        joined = f"{line}   {part}" if line else part
        if line and output.columns_of(joined) > columns:
            yield output.cut(line, columns)
            joined = part
        line = joined
    yield output.cut(line, columns)


def _rate(before: Counted | None, now: Counted, name: str) -> str:
    if before is None or now.at_s <= before.at_s:
        return "-"
    rate = (getattr(now, name) - getattr(before, name)) / (now.at_s - before.at_s)
    return f"{max(0.0, rate):,.0f}/s"  # a counter may be reset


def _queues(lengths: dict[str, int], seen: QueueAges, most: int, columns: int) -> Iterator[str]:
    queues = sorted(lengths.items(), key=lambda pair: (-pair[1], pair[0]))
    shown = [(name, output.cut(output.text(name), _NAME), n) for name, n in queues[:most]]
    width = max([5, *(output.columns_of(name) for _, name, _ in shown)])
    bars = max(0, min(_BAR, columns - width - 40))
    longest = max((length for *_, length in shown), default=0)
    heads = f"{'queue':<{width}}  {'jobs':>10}  {'oldest':>11}  {'empty in':>11}"
    yield output.paint(output.cut(heads, columns), bold=True)
    for full, name, length in shown:
        if isinstance(length, NoList):
            yield output.cut(
                f"{name}{' ' * (width - output.columns_of(name))}  {length.words}", columns
            )
            continue
        age = seen.by_queue.get(full)
        told = (
            f"{seen.words(full, length):>11}  {drain_words(age, seen.now_ms) if age else '-':>11}"
        )
        line = f"{name}{' ' * (width - output.columns_of(name))}  {length:>10,}  {told}"
        bar = "█" * round(bars * length / longest) if longest else ""
        bars_shown = output.joined("  ", output.paint(bar, fg="cyan")) if bar else ""
        yield output.joined(output.cut(line, columns), bars_shown)
    if len(queues) > most:
        rest = sum(length for _, length in queues[most:])
        yield output.cut(f"… {len(queues) - most:,} more, with {rest:,}", columns)


def _working(details: Details, most: int, columns: int) -> Iterator[str]:
    workers = details["workers"]
    busy = [(each, work) for each, work in workers.items() if work is not None]
    heading = f"{len(busy):,} of {texts.counted(len(workers), 'worker')} at work"
    yield output.paint(output.cut(heading, columns), bold=True)
    now_ms = SYSTEM_CLOCK.now_ms()
    rows = []
    for worker_id, work in busy[:most]:
        began_ms = moment_of(work.run_at)
        payload = work.payload if isinstance(work.payload, dict) else {}
        rows.append((
            output.cut(output.text(activejob.class_in(payload)), _NAME),
            texts.duration(now_ms - began_ms) if began_ms else "?",
            output.cut(output.text(work.queue), _NAME),
            output.text(WorkerId.parse(worker_id).name),
        ))  # fmt: skip
    for line in output.lines(("class", "since", "queue", "worker"), rows, right=("since",)):
        yield output.cut(line, columns)
    if len(busy) > most:
        yield output.cut(f"… {len(busy) - most:,} more", columns)
