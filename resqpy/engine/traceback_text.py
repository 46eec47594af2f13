"""An error's traceback as kept in the failed list: without our own frames."""

from __future__ import annotations

import asyncio
import concurrent.futures
import traceback
from collections.abc import Iterator
from pathlib import Path

from resqpy.base.error_text import shortened, told

_OURS = tuple(
    str(Path(folder).parent) + "/"
    for folder in (str(Path(__file__).parent), asyncio.__file__, concurrent.futures.__file__)
)
_MAX_LINES = 200


def lines_of(error: BaseException) -> list[str]:
    """The lines of an error's traceback, causes included, the innermost call last."""
    try:
        lines = _whole(error)
    except BaseException:  # raised by the error's own code, or there are too many causes
        lines = [*traceback.format_tb(error.__traceback__, limit=-100), told(error)]
    lines = [shortened(line) for text in lines for line in text.rstrip("\n").split("\n")]
    return lines if len(lines) <= _MAX_LINES else [*lines[:100], "…", *lines[-99:]]


def _whole(error: BaseException) -> list[str]:
    whole = traceback.TracebackException.from_exception(error, limit=-100)
    for part in _parts(whole):
        kept = [frame for frame in part.stack if not frame.filename.startswith(_OURS)]
        part.stack = traceback.StackSummary.from_list(kept)
    return list(whole.format())


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


def _parts(whole: traceback.TracebackException) -> Iterator[traceback.TracebackException]:
    """The error, its causes and the errors that it contains."""
    waiting: list[traceback.TracebackException | None] = [whole]
    while waiting:
        part = waiting.pop()
        if part is not None:
            yield part
            waiting += [part.__cause__, part.__context__, *(part.exceptions or ())]
