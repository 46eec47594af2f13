"""A terminal that a command has for itself: its other screen, single keys, and all as it was at the end."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click

from resqpy.cli.output import printing as output

_ENTER = "\x1b[?1049h\x1b[?25l"  # the other screen, no cursor
_LEAVE = "\x1b[?25h\x1b[?1049l"


class Terminal:
    """Where lines are shown again and again.

    Attributes:
        live: a person watches; else the lines are printed one look after the other.
    """

    def __init__(self, modes: _Modes, *, live: bool) -> None:
        self.live = live
        self._modes = modes

    def size(self) -> tuple[int, int]:
        """Columns and lines now."""
        if not self.live:
            return 120, 40
        size = shutil.get_terminal_size((80, 24))
        return size.columns, size.lines

    def show(self, lines: Sequence[str]) -> None:
        """Show lines in the place of those before. In one write, so that nothing flickers."""
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
        pressed = os.read(sys.stdin.fileno(), 64)  # an arrow is several bytes
        return pressed[:1].decode("latin-1") or "q"  # the end of input ends it too

    def leave_to(self, stop: Callable[[], None]) -> None:
        """Give the terminal back while something goes on, such as a stop of this program; then take it
        again.
        """
        if self.live:
            click.echo(_LEAVE, nl=False)
        self._modes.give_back()
        stop()
        self._modes.take()
        if self.live:
            click.echo(_ENTER, nl=False)


@contextmanager
def terminal() -> Iterator[Terminal]:
    """The terminal, or what stands in its place; it is left as it was, whatever happens."""
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
    """The modes in which keys come at once and are not shown; Ctrl-C stays what it is.

    Attributes:
        taken: whether they are so; else no keys are to be had.
    """

    def __init__(self) -> None:
        self.taken = False
        self._before: list[Any] = []

    def take(self) -> None:
        """Set them, where the input is a terminal."""
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
        """Set those that were before."""
        if self.taken:
            import termios

            self.taken = False
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)
