"""A terminal used by a full-screen command: alternate screen, single keys, restored at the end."""

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
