"""Calls that may be repeated: while the key of a call is in Redis, the same call makes no second job."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from resqpy.base import codec
from resqpy.base.errors import UsageError
from resqpy.base.keys import Keys
from resqpy.base.model import ONCE
from resqpy.base.when import Duration, duration_ms
from resqpy.store.queues import Guard

OnceKeys = str | Sequence[str | None]

ONCE_WITHIN_MS = 86_400_000  # longer than anybody repeats a call
_MAX_BYTES = 512


class Once:
    """What the jobs of one call are marked by.

    Args:
        once: a key for the call, whose jobs count by their places; or one for each job (None: it has none).
        within: how long a job counts as made, in milliseconds or as a timedelta.
        count: how many jobs there are.

    Raises:
        UsageError: what is wrong with them.
    """

    def __init__(self, keys: Keys, once: OnceKeys, within: Duration, count: int) -> None:
        self._keys = keys
        self._ms = duration_ms(within, "once_within")
        if self._ms < 1:
            raise UsageError(f"once_within: {within!r} is no time; give a millisecond or more")
        several = once if isinstance(once, list | tuple) else None
        self._whole = None if several is not None else _checked(once)
        self._each: Sequence[str | None] = several or ()
        if several is not None and len(several) != count:
            raise UsageError(
                f"once: {len(several)} keys for {count} jobs; give one for each, or a text"
            )

    def guards(self, class_name: str, number: int) -> Sequence[Guard]:
        """What Redis asks of a job in the step that pushes it; nothing where it has no key."""
        if self._whole is not None:
            return self._made(class_name, self._whole, number)
        key = self._each[number]
        return () if key is None else self._made(class_name, _checked(key))

    def _made(self, class_name: str, *words: str | int) -> Sequence[Guard]:
        call = codec.encode_value([class_name, *words], "once")
        return (Guard(ONCE, self._keys.once(call), self._ms, ONCE),)


def once_words(once: OnceKeys | None, within: Duration) -> dict[str, Any]:
    """What is passed on of a key; nothing where there is none, for a part that need not know it."""
    return {} if once is None else {"once": once, "once_within": within}


def _checked(key: object) -> str:
    if not isinstance(key, str) or not key:
        raise UsageError(f"once: {key!r} is no key; give a text that names this very call")
    try:
        size = len(key.encode())
    except UnicodeEncodeError as error:
        raise UsageError(f"once: {key!r} has a lone surrogate, which can't be written") from error
    if size > _MAX_BYTES:
        raise UsageError(f"once: the key {key[:40]!r}… has {size} bytes; the most is {_MAX_BYTES}")
    return key
