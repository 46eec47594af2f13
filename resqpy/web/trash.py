"""Removed failed entries, kept for a day so that a removal can be undone."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence

from resqpy.base import job_records
from resqpy.store.connection.client import Arg, Store
from resqpy.store.failures import Beside
from resqpy.store.sweep import every

KEPT_S = 24 * 3600
MOST = 10_000  # entries of one removal
_STEP = 500
_ID = re.compile(r"[A-Za-z0-9_-]{22}")


def new_id() -> str:
    """The id of a removal."""
    return secrets.token_urlsafe(16)


def is_id(text: str) -> bool:
    """Whether a text may be one."""
    return _ID.fullmatch(text) is not None


def kept_as(removal: str, command: Sequence[Arg] = ()) -> Beside:
    """Keep entries in the step that removes them, in which a command is done too."""
    return Beside(removal, KEPT_S, command)


async def restore(store: Store, removal: str) -> int:
    """Put the entries of a removal back at the ends of their lists, each in one step; returns how many."""
    if not is_id(removal):
        return 0
    names = [*map(_text, await store.call("SMEMBERS", store.keys.failed_queues))]
    restored = 0
    for name in dict.fromkeys(["failed", *names]):
        key, target = store.keys.web_removed(removal, name), store.keys.failed_list(name)
        async for raw in every(store, key):
            if separate := job_records.decode_failed(raw).unreadable:
                # with GETEX, because the console's user of Redis has it, and not PERSIST
                await store.call("GETEX", store.keys.unreadable(separate), "PERSIST")
        while True:
            found = await store.pipeline([("LMOVE", key, target, "LEFT", "RIGHT")] * _STEP)
            moved = sum(each is not None for each in found)
            restored += moved
            if moved < _STEP:
                break
    return restored


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
