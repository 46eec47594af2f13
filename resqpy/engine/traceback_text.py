"""A traceback as the failed list keeps it: lines, without our own frames."""

from __future__ import annotations

import asyncio
import concurrent.futures
import traceback
from pathlib import Path

_OURS = tuple(
    str(Path(module).parent) + "/"
    for module in (str(Path(__file__).parent), asyncio.__file__, concurrent.futures.__file__)
)
_MOST_LINES = 200


def lines_of(error: BaseException) -> list[str]:
    """The lines of an error's traceback, causes included, the innermost call last."""
    whole = traceback.TracebackException.from_exception(error, limit=-100)
    _drop_our_frames(whole)
    lines = [line for text in whole.format() for line in text.rstrip("\n").split("\n")]
    return lines if len(lines) <= _MOST_LINES else [*lines[:100], "…", *lines[-99:]]


def _drop_our_frames(part: traceback.TracebackException | None) -> None:
    while part is not None:
        kept = [frame for frame in part.stack if not frame.filename.startswith(_OURS)]
        part.stack = traceback.StackSummary.from_list(kept)
        _drop_our_frames(part.__context__)
        part = part.__cause__
