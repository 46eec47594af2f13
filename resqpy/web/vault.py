"""Where one-time links and sessions are kept: in Redis, or in this process where the console must write
nothing. Only the SHA-256 of a secret is kept, so reading Redis gives nobody a session.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
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


def digest_of(secret: str) -> str:
    """What a secret is kept under."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


@dataclass(frozen=True, slots=True)
class Kept:
    """A note that is kept.

    Attributes:
        left_ms: until it is not any more.
    """

    digest: str
    note: Note
    made_ms: int
    left_ms: int


class Vault(Protocol):
    """Keeps notes by the digests of secrets, each for a time."""

    async def put(self, kind: str, digest: str, note: Note, seconds: int) -> None:
        """Keep a note."""

    async def take(self, kind: str, digest: str) -> Note | None:
        """Take a note out: of two callers at once, one gets it."""

    async def find(self, kind: str, digest: str, seconds: int) -> Note | None:
        """A note, which is kept for so long from now."""

    async def every(self, kind: str) -> list[Kept]:
        """All notes, the newest first."""


class RedisVault:
    """In Redis: all processes of the console share it, and it survives their restart."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def _key(self, kind: str, digest: str) -> str:
        return self._store.keys.web(kind, digest)

    def _known(self, kind: str) -> str:
        return self._store.keys.web_known(kind)

    async def put(self, kind: str, digest: str, note: Note, seconds: int) -> None:
        gone = await self._look(kind)
        over = [("ZREM", self._known(kind), each) for each, kept in gone.items() if kept is None]
        now_ms = await self._store.time_us() // 1000
        await self._store.transaction(
            [
                ("SET", self._key(kind, digest), codec.encode_text(note), "EX", seconds),
                ("ZADD", self._known(kind), now_ms, digest),
                *over,
            ]
        )

    async def take(self, kind: str, digest: str) -> Note | None:
        return _note(await self._store.call("GETDEL", self._key(kind, digest)))

    async def find(self, kind: str, digest: str, seconds: int) -> Note | None:
        return _note(await self._store.call("GETEX", self._key(kind, digest), "EX", seconds))

    async def every(self, kind: str) -> list[Kept]:
        return [each for each in (await self._look(kind)).values() if each is not None]

    async def _look(self, kind: str) -> dict[str, Kept | None]:
        """By digest; None: it is not kept any more."""
        known = ("ZRANGE", self._known(kind), 0, -1, "REV", "WITHSCORES")
        [flat] = await self._store.look([known])
        digests = [each.decode("ascii", "replace") for each in flat[::2]]
        asked = [(verb, self._key(kind, each)) for each in digests for verb in ("GET", "PTTL")]
        found = await self._store.look(asked)
        rows = zip(digests, flat[1::2], found[::2], found[1::2], strict=True)
        return {
            digest: None
            if (note := _note(raw)) is None
            else Kept(digest, note, int(float(made)), left)
            for digest, made, raw, left in rows
        }


def _note(raw: bytes | None) -> Note | None:
    found = None if raw is None else codec.decode_lenient(raw)
    return found if isinstance(found, dict) else None


class MemoryVault:
    """In this process."""

    def __init__(self) -> None:
        self._notes: dict[tuple[str, str], tuple[float, int, Note]] = {}

    async def put(self, kind: str, digest: str, note: Note, seconds: int) -> None:
        self._keep(kind, digest, note, seconds, SYSTEM_CLOCK.now_ms())

    def _keep(self, kind: str, digest: str, note: Note, seconds: int, made_ms: int) -> None:
        now_s = SYSTEM_CLOCK.monotonic()
        self._notes = {key: each for key, each in self._notes.items() if each[0] > now_s}
        while len(self._notes) >= _MOST:
            del self._notes[next(iter(self._notes))]
        self._notes[kind, digest] = now_s + seconds, made_ms, note

    async def take(self, kind: str, digest: str) -> Note | None:
        until_s, _, note = self._notes.pop((kind, digest), (0.0, 0, None))
        return note if until_s > SYSTEM_CLOCK.monotonic() else None

    async def find(self, kind: str, digest: str, seconds: int) -> Note | None:
        made_ms = self._notes.get((kind, digest), (0.0, 0))[1]
        note = await self.take(kind, digest)
        if note is not None:
            self._keep(kind, digest, note, seconds, made_ms)
        return note

    async def every(self, kind: str) -> list[Kept]:
        now_s = SYSTEM_CLOCK.monotonic()
        kept = [
            Kept(digest, note, made_ms, int((until_s - now_s) * 1000))
            for (of, digest), (until_s, made_ms, note) in self._notes.items()
            if of == kind and until_s > now_s
        ]
        return sorted(kept, key=lambda each: -each.made_ms)
