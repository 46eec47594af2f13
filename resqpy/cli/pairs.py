"""Inputs and payloads as words of the command line: `KEY=VALUE`, each value JSON or a text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import click


def read_pairs(words: Sequence[str], form: str, known: Iterable[str] = ()) -> dict[str, str]:
    """The values by their keys.

    Args:
        form: what a word should be, for who wrote another.
        known: keys that were given in another way.

    Raises:
        click.UsageError: a word is no pair, or a key is given twice.
    """
    taken, found = set(known), dict[str, str]()
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise click.UsageError(f"{word!r} is not {form}")
        if key in taken:
            raise click.UsageError(f"{key!r} is given twice")
        taken.add(key)
        found[key] = value
    return found


def json_or_text(text: str) -> Any:
    """What a word says as JSON; the word itself where it is none."""
    from resqpy.base.codec import decode_text

    try:
        return decode_text(text)
    except ValueError:
        return text
