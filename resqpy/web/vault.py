"""Where one-time links and sessions are kept: in Redis, or in this process where the console must write
nothing. Only the SHA-256 of a secret is kept, so reading Redis gives nobody a session.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Any, Protocol

from resqpy.base import codec
from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.store.connection.client import Store

LINK, SESSION = "link", "session"
Note = dict[str, Any]

_MOST = 1000  # notes in memory


def new_secret() -> str:
    """256 random bits."""
    return secrets.token_urlsafe(32)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


class Vault(Protocol):
    """Keeps notes by secrets, each for a time."""

    async def put(self, kind: str, secret: str, note: Note, seconds: int) -> None:
        """Keep a note."""

    async def take(self, kind: str, secret: str) -> Note | None:
        """Take a note out: of two callers at once, one gets it."""

    async def find(self, kind: str, secret: str, seconds: int) -> Note | None:
        """A note, which is kept for so long from now."""

    async def drop(self, kind: str, secret: str) -> None:
        """Forget a note."""


class RedisVault:
    """In Redis: all processes of the console share it, and it survives their restart."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def _key(self, kind: str, secret: str) -> str:
        return self._store.keys.web(kind, _digest(secret))

    async def put(self, kind: str, secret: str, note: Note, seconds: int) -> None:
        text = codec.encode_text(note)
        await self._store.call("SET", self._key(kind, secret), text, "EX", seconds)

    async def take(self, kind: str, secret: str) -> Note | None:
        return _note(await self._store.call("GETDEL", self._key(kind, secret)))

    async def find(self, kind: str, secret: str, seconds: int) -> Note | None:
        return _note(await self._store.call("GETEX", self._key(kind, secret), "EX", seconds))

    async def drop(self, kind: str, secret: str) -> None:
        await self._store.call("DEL", self._key(kind, secret))


def _note(raw: bytes | None) -> Note | None:
    found = None if raw is None else codec.decode_lenient(raw)
    return found if isinstance(found, dict) else None


class MemoryVault:
    """In this process."""

    def __init__(self) -> None:
        self._notes: dict[tuple[str, str], tuple[float, Note]] = {}

    async def put(self, kind: str, secret: str, note: Note, seconds: int) -> None:
        now_s = SYSTEM_CLOCK.monotonic()
        self._notes = {key: each for key, each in self._notes.items() if each[0] > now_s}
        while len(self._notes) >= _MOST:
            del self._notes[next(iter(self._notes))]
        self._notes[kind, _digest(secret)] = now_s + seconds, note

    async def take(self, kind: str, secret: str) -> Note | None:
        until_s, note = self._notes.pop((kind, _digest(secret)), (0.0, None))
        return note if until_s > SYSTEM_CLOCK.monotonic() else None

    async def find(self, kind: str, secret: str, seconds: int) -> Note | None:
        note = await self.take(kind, secret)
        if note is not None:
            await self.put(kind, secret, note, seconds)
        return note

    async def drop(self, kind: str, secret: str) -> None:
        self._notes.pop((kind, _digest(secret)), None)
