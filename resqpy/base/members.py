"""The exact text of one member of a JSON object, found and replaced without decoding and encoding."""

from __future__ import annotations

import re
from collections.abc import Iterator

from resqpy.base.json_check import scan

_BLANK = re.compile(r"[ \t\n\r]*")


def member_text(raw: bytes, name: str) -> bytes | None:
    """The exact text of one member of a JSON object; None if there is no such member or object.

    If there are several, the last one counts, as in every parser.
    """
    span = _span(raw, name)
    return None if span is None else _bytes(span[0][span[1] : span[2]])


def replace_member(raw: bytes, name: str, value: bytes) -> bytes:
    """The object with another text for one member; unchanged if it has no such member."""
    span = _span(raw, name)
    if span is None:
        return raw
    text, start, end = span
    return _bytes(text[:start]) + value + _bytes(text[end:])


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _span(raw: bytes, name: str) -> tuple[str, int, int] | None:
    try:
        text = raw.decode("utf-8", "surrogateescape")  # a broken byte elsewhere affects no member
        spans = [(start, end) for key, start, end in _members(text) if key == name]
    except (ValueError, RecursionError, IndexError):
        return None
    return (text, *spans[-1]) if spans else None


def _members(text: str) -> Iterator[tuple[object, int, int]]:
    at = _skip(text, 0)
    if text[at] != "{":
        return
    at = _skip(text, at + 1)
    while text[at] != "}":
        key, at = scan(text, at)
        start = _skip(text, _skip(text, at) + 1)
        _, end = scan(text, start)
        yield key, start, end
        at = _skip(text, end)
        if text[at] == ",":
            at = _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    match = _BLANK.match(text, at)
    return match.end() if match else at
