"""An error's traceback as kept in the failed list: without our own frames."""

from __future__ import annotations

import asyncio
import concurrent.futures
import traceback
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from types import CodeType
from typing import Any

from resqpy.base.errors import shortened, told

_OURS = tuple(
    str(Path(folder).parent) + "/"
    for folder in (str(Path(__file__).parent), asyncio.__file__, concurrent.futures.__file__)
)
_MAX_LINES = 200
_SHORT = 1000  # characters
_MAX_FRAMES = 100
_MAX_CACHED = 256  # stacks
_TITLE = "Traceback (most recent call last):"
# With suggestions, a source line or other errors.
_SAY_MORE = (SyntaxError, NameError, AttributeError, ImportError, BaseExceptionGroup)


def lines_of(error: BaseException) -> list[str]:
    """The lines of an error's traceback, causes included, the innermost call last."""
    try:
        lines = _alone(error) or _lines(_whole(error).format())
    except BaseException:  # raised by the error's own code, or there are too many causes
        lines = _lines([*traceback.format_tb(error.__traceback__, limit=-100), told(error)])
    return lines if len(lines) <= _MAX_LINES else [*lines[:100], "…", *lines[-99:]]


def _lines(texts: Iterable[str]) -> list[str]:
    return [shortened(line) for text in texts for line in text.rstrip("\n").split("\n")]


def _alone(error: BaseException) -> list[str] | None:
    """The traceback of an error without causes and notes; None: the standard library formats it."""
    kind = type(error)
    if isinstance(error, _SAY_MORE) or hasattr(error, "__notes__"):
        return None
    if error.__cause__ is not None or error.__context__ is not None:
        return None
    module: Any = kind.__module__
    name = kind.__qualname__
    if not isinstance(module, str):
        return None
    if module not in ("builtins", "__main__"):
        name = f"{module}.{name}"
    words = str(error)
    stack = _stack_of(error)
    text = f"{name}: {words}" if words else name
    if len(text) > _SHORT or "\n" in text:
        return [_TITLE, *stack.lines, *_lines([text])]
    return PlainTraceback(stack, text, words)


class PlainTraceback(list[str]):
    """The lines of an error without causes and notes, whose message is one short line.

    Attributes:
        place: the same object for all errors that were raised in the same place.
        words: the message.
    """

    def __init__(self, stack: _Stack, last: str, words: str) -> None:
        super().__init__((_TITLE, *stack.lines, last))
        self.place: object = stack.place
        self.words: str = words


def _whole(error: BaseException) -> traceback.TracebackException:
    whole = traceback.TracebackException.from_exception(error, limit=0)
    for part, its_error in _parts(whole, error):
        stack: Any = _stack_of(its_error)
        part.stack = stack
    return whole


class _Stack(list[str]):
    """The texts of frames, in place of a `StackSummary`, and their lines."""

    def __init__(self, codes: list[CodeType], places: list[tuple[CodeType, int, int]]) -> None:
        frames = [_frame(*place) for place in places]
        super().__init__(traceback.StackSummary.from_list(frames).format())
        self.lines: list[str] = _lines(self)
        self.place = object()
        self._codes = codes  # so that no other code object gets the identity of one of these

    def format(self, **_options: Any) -> list[str]:
        return self


def _stack_of(error: BaseException) -> _Stack:
    """The frames of foreign code. In an incident the same code fails again and again."""
    codes: list[CodeType] = []
    key: list[int] = []
    step = error.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        codes.append(code)
        # By identity: code objects that differ only in their file are equal, and a hash takes long.
        key += (id(code), step.tb_lasti)
        step = step.tb_next
    if len(codes) > _MAX_FRAMES:
        return _Stack(codes, _places(error))
    stack = _stacks.get(known := tuple(key))
    if stack is None:
        if len(_stacks) >= _MAX_CACHED:
            _stacks.clear()
        stack = _stacks[known] = _Stack(codes, _places(error))
    return stack


def _places(error: BaseException) -> list[tuple[CodeType, int, int]]:
    places: list[tuple[CodeType, int, int]] = []
    step = error.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        if not code.co_filename.startswith(_OURS):
            places.append((code, step.tb_lasti, step.tb_lineno))
        step = step.tb_next
    return places[-_MAX_FRAMES:]


_stacks: dict[tuple[int, ...], _Stack] = {}


def _frame(code: CodeType, at: int, line: int) -> traceback.FrameSummary:
    """A frame as the standard library reads it."""
    positions = next(islice(code.co_positions(), at // 2, None), (None, None, None, None))
    _, end_line, column, end_column = positions
    return traceback.FrameSummary(
        code.co_filename, line, code.co_name,
        end_lineno=end_line, colno=column, end_colno=end_column,
    )  # fmt: skip


def place_of(error: BaseException, root: Path) -> str | None:
    """The last line of a project's own code that led to an error (`tasks/mail.py:12`), else of any code but
    ours; None: there is none.
    """
    last = own = None
    begin = f"{root}/"
    step = error.__traceback__
    while step is not None:
        file = step.tb_frame.f_code.co_filename
        if not file.startswith(_OURS):
            last = step
            if file.startswith(begin) and "-packages/" not in file:
                own = step
        step = step.tb_next
    if (found := own or last) is None:
        return None
    return f"{found.tb_frame.f_code.co_filename.removeprefix(begin)}:{found.tb_lineno}"


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
