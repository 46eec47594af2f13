"""A terminal that a command has for itself: its other screen, single keys, and all as it was at the end."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click

_ENTER = "\x1b[?1049h\x1b[?25l"  # the other screen, no cursor
_LEAVE = "\x1b[?25h\x1b[?1049l"


class Terminal:
    """Where lines are shown again and again.

    Attributes:
        live: a person watches; else the lines are printed one look after the other.
    """

    def __init__(self, *, live: bool, keys: bool) -> None:
        self.live = live
        self._keys = keys

    def size(self) -> tuple[int, int]:
        """Columns and lines now."""
        if not self.live:
            return 120, 40
        size = shutil.get_terminal_size((80, 24))
        return size.columns, size.lines

    def show(self, lines: Sequence[str]) -> None:
        """Show lines in the place of those before. In one write, so that nothing flickers."""
        if not self.live:
            click.echo("\n".join(lines))
            return
        drawn = "\n".join(f"{line}\x1b[K" for line in lines)
        click.echo(f"\x1b[H{drawn}\x1b[J", nl=False)

    def key(self) -> str | None:
        """A key that was pressed; None: none was."""
        if not self._keys:
            return None
        import select

        ready, _, _ = select.select([sys.stdin], [], [], 0)
        if not ready:
            return None
        pressed = os.read(sys.stdin.fileno(), 64)  # an arrow is several bytes
        return pressed[:1].decode("latin-1") or "q"  # the end of input ends it too


@contextmanager
def terminal() -> Iterator[Terminal]:
    """The terminal, or what stands in its place; it is left as it was, whatever happens."""
    if not sys.stdout.isatty():
        yield Terminal(live=False, keys=False)
        return
    with _single_keys() as keys:
        click.echo(_ENTER, nl=False)
        try:
            yield Terminal(live=True, keys=keys)
        finally:
            click.echo(_LEAVE, nl=False)


@contextmanager
def _single_keys() -> Iterator[bool]:
    """Keys come at once and are not shown; Ctrl-C stays what it is. False: no keys are to be had."""
    try:
        import termios
        import tty
    except ImportError:  # Windows
        yield False
        return
    try:
        before = termios.tcgetattr(sys.stdin)
    except (OSError, ValueError, termios.error):  # it is no terminal, or closed
        yield False
        return
    try:
        tty.setcbreak(sys.stdin)
        yield True
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
