"""Words by which tasks are found: names of types, tags, who created them. Pure."""

from __future__ import annotations

from resqpy.base import codec
from resqpy.base.errors import UsageError


def check_word(what: str, value: object) -> str:
    """The word, if it can be one.

    Raises:
        UsageError: it is no text, empty, or can't be written.
    """
    if not _is_word(value):
        raise UsageError(f"{what}: {value!r} is no name; pass a text, or leave it out")
    return str(value)


def word_or_none(what: str, value: object) -> str | None:
    """The same, where it may be left out."""
    return None if value is None else check_word(what, value)


def check_tags(tags: object) -> tuple[str, ...]:
    """The tags, each once, in their order.

    Raises:
        UsageError: they are no list of words.
    """
    if not isinstance(tags, list | tuple | set | frozenset):
        example = [tags] if isinstance(tags, str) else ["urgent"]
        raise UsageError(f"tags: {tags!r} is no list of words; use {example!r}")
    if wrong := [tag for tag in tags if not _is_word(tag)]:
        raise UsageError(f"tags: {wrong[0]!r} is no word")
    return tuple(dict.fromkeys(tags))


def _is_word(value: object) -> bool:
    return isinstance(value, str) and value != "" and codec.is_utf8(value)
