"""An error's traceback as kept in the failed list: without our own frames."""

from __future__ import annotations

import asyncio
import concurrent.futures
import traceback
from collections import deque
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from pathlib import Path
from types import CodeType, TracebackType
from typing import Any

from resqpy.base.errors import shortened, told

_OURS = tuple(
    str(Path(folder).parent) + "/"
    for folder in (str(Path(__file__).parent), asyncio.__file__, concurrent.futures.__file__)
)
_MAX_LINES = 200
_MAX_FRAMES = 100
_MAX_CACHED = 256  # frames


def lines_of(error: BaseException) -> list[str]:
    """The lines of an error's traceback, causes included, the innermost call last."""
    try:
        lines = _whole(error)
    except BaseException:  # raised by the error's own code, or there are too many causes
        lines = [*traceback.format_tb(error.__traceback__, limit=-100), told(error)]
    lines = [shortened(line) for text in lines for line in text.rstrip("\n").split("\n")]
    return lines if len(lines) <= _MAX_LINES else [*lines[:100], "…", *lines[-99:]]


def _whole(error: BaseException) -> list[str]:
    whole = traceback.TracebackException.from_exception(error, limit=0)
    for part, its_error in _parts(whole, error):
        part.stack = _Frames(_foreign_frames(its_error))
    return list(whole.format())


def _foreign_frames(error: BaseException) -> list[traceback.FrameSummary]:
    steps = deque[TracebackType](maxlen=_MAX_FRAMES)
    step = error.__traceback__
    while step is not None:
        if not step.tb_frame.f_code.co_filename.startswith(_OURS):
            steps.append(step)
        step = step.tb_next
    codes = [(each.tb_frame.f_code, each) for each in steps]
    return [_frame(code, code.co_filename, each.tb_lasti, each.tb_lineno) for code, each in codes]


class _Frames(traceback.StackSummary):
    """Frames with cached text: in an incident the same error is raised again and again."""

    def format_frame_summary(self, frame_summary: traceback.FrameSummary, **options: Any) -> str:
        key = (
            frame_summary.filename,
            frame_summary.lineno,
            frame_summary.colno,
            frame_summary.name,
        )
        text = _texts.get(key)
        if text is None:
            if len(_texts) >= _MAX_CACHED:
                _texts.clear()
            text = _texts[key] = super().format_frame_summary(frame_summary, **options)
        return text


_texts: dict[tuple[object, ...], str] = {}


@lru_cache(maxsize=_MAX_CACHED)
def _frame(code: CodeType, file: str, at: int, line: int) -> traceback.FrameSummary:
    """A frame as the standard library reads it.

    Args:
        file: part of the cache key, as code objects that differ only in their file are equal.
    """
    positions = next(islice(code.co_positions(), at // 2, None), (None, None, None, None))
    _, end_line, column, end_column = positions
    return traceback.FrameSummary(
        file, line, code.co_name, end_lineno=end_line, colno=column, end_colno=end_column
    )


def place_of(error: BaseException, root: Path) -> str | None:
    """The last line of a project's own code that led to an error (`tasks/mail.py:12`), else of any code but
    ours; None: there is none.
    """
    places = []
    step = error.__traceback__
    while step is not None:
        places.append((step.tb_frame.f_code.co_filename, step.tb_lineno))
        step = step.tb_next
    foreign = [place for place in places if not place[0].startswith(_OURS)]
    begin = f"{root}/"
    own = [each for each in foreign if each[0].startswith(begin) and "-packages/" not in each[0]]
    if not foreign:
        return None
    file, line = (own or foreign)[-1]
    return f"{file.removeprefix(begin)}:{line}"


def _parts(
    whole: traceback.TracebackException, error: BaseException
) -> Iterator[tuple[traceback.TracebackException, BaseException]]:
    """The error, its causes and the errors that it contains."""
    waiting: list[tuple[traceback.TracebackException | None, BaseException | None]]
    waiting = [(whole, error)]
    while waiting:
        part, its_error = waiting.pop()
        if part is not None and its_error is not None:
            yield part, its_error
            waiting += [
                (part.__cause__, its_error.__cause__),
                (part.__context__, its_error.__context__),
            ]
            if part.exceptions and isinstance(its_error, BaseExceptionGroup):
                waiting += zip(part.exceptions, its_error.exceptions, strict=False)
