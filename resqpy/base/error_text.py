"""What an error says, for every place that shows one. The error is a user's: asking it never raises.

`str(error)`, `repr(error)`, its class and its notes run code that we did not write, which may raise
anything, `SystemExit` too, or return megabytes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

_MOST_SIGNS = 10_000  # of an error's words, or of one line
_MOST_NOTES = 20


def class_of(error: BaseException) -> str:
    """The name of its class."""
    return _asked(lambda: type(error).__qualname__, "class name")


def words_of(error: BaseException) -> str:
    """`str(error)`."""
    return _asked(lambda: str(error), "__str__")


def repr_of(error: BaseException) -> str:
    """`repr(error)`."""
    return _asked(lambda: repr(error), "__repr__")


def told(error: BaseException) -> str:
    """Its class and words, as the last line of a traceback has them."""
    name, words = class_of(error), words_of(error)
    return f"{name}: {words}" if words else name


def notes_of(error: BaseException) -> list[str]:
    """Its notes; anything may stand where Python keeps them."""
    try:
        notes: Any = error.__notes__
        whole = [notes] if isinstance(notes, str) else list(notes)[:_MOST_NOTES]
    except BaseException:  # see above
        return []
    return [_asked(partial(str, note), "note") for note in whole]


def add_note(error: BaseException, note: str) -> None:
    """`error.add_note`, where it can take one."""
    try:
        error.add_note(note)
    except BaseException:  # see above
        return


def shortened(text: str) -> str:
    """A text as long as one may be."""
    return text if len(text) <= _MOST_SIGNS else f"{text[:_MOST_SIGNS]}…"


def _asked(ask: Callable[[], Any], what: str) -> str:
    try:
        return shortened(str.__str__(ask()))
    except BaseException as broken:  # see above
        return f"<the error's own {what} raised {type.__getattribute__(type(broken), '__name__')}>"
