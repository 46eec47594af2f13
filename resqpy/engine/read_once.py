"""Texts that stand in Redis and are looked at again and again: each is understood once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from resqpy.base.errors import UsageError

T = TypeVar("T")


class ReadOnce(Generic[T]):
    """Reads texts by their names.

    Args:
        read: what a name's text says; raises UsageError.
        on_error: told once of each text that can't be read.
    """

    def __init__(
        self, read: Callable[[str, bytes], T], on_error: Callable[[str, UsageError], None]
    ) -> None:
        self._read = read
        self._on_error = on_error
        self._known: dict[str, tuple[bytes, T | None]] = {}

    def all(self, texts: Mapping[str, bytes]) -> dict[str, T]:
        """What those say that can be read, by name."""
        self._known = {name: self._one(name, raw) for name, raw in texts.items()}
        return {name: value for name, (_, value) in self._known.items() if value is not None}

    def _one(self, name: str, raw: bytes) -> tuple[bytes, T | None]:
        known = self._known.get(name)
        if known is not None and known[0] == raw:
            return known
        try:
            return raw, self._read(name, raw)
        except UsageError as error:
            self._on_error(name, error)
            return raw, None
