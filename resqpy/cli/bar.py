"""The bar that a terminal shows while a command walks over many thousand entries; nowhere else.

It comes when a walk has lasted for a moment, and goes without a trace.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.cli import output
from resqpy.store.walk import Walk, watched

_AFTER_S = 0.4  # what takes less needs no bar
_EVERY_S = 0.1
_LARGE = 2000  # entries; a smaller walk is a part of another one
_WIDTH = 30


class Bar:
    """The bar of one command; it shows the walk that took the last step."""

    def __init__(self) -> None:
        self._began_s = self._drawn_s = SYSTEM_CLOCK.monotonic()
        self._shown = False

    def watch(self, walk: Walk) -> None:
        """Draw how far a walk is, now and then."""
        if walk.total < _LARGE:
            return
        now_s = SYSTEM_CLOCK.monotonic()
        if walk.done >= walk.total:
            self.erase()
        elif now_s - self._began_s >= _AFTER_S and now_s - self._drawn_s >= _EVERY_S:
            self._drawn_s = now_s
            self._draw(line(walk))

    def _draw(self, words: str) -> None:
        self._shown = True
        width = shutil.get_terminal_size().columns - 1
        output.redraw(words[:width])

    def erase(self) -> None:
        """Take it from the screen."""
        if self._shown:
            self._shown = False
            output.redraw("")


def line(walk: Walk) -> str:
    """`[████      ]  37 %  370,000 of 1,000,000  failed`."""
    part = min(1.0, walk.done / walk.total)
    full = round(part * _WIDTH)
    return (
        f"[{'█' * full}{' ' * (_WIDTH - full)}] {part:4.0%}  "
        f"{min(walk.done, walk.total):,} of {walk.total:,}  {output.text(walk.what)}"
    )


@contextmanager
def shown() -> Iterator[None]:
    """Show the walks of this block, if a person sees them."""
    if not sys.stderr.isatty():
        yield
        return
    bar = Bar()
    with watched(bar.watch):
        try:
            yield
        finally:
            bar.erase()
