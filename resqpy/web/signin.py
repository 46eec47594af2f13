"""Signing in: one-time links, users with passwords, and the sessions that both begin."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import re
import secrets
from collections import deque
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from resqpy.base import codec
from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.errors import StoreError, UsageError
from resqpy.base.imports import near_match
from resqpy.store.connection.client import Store
from resqpy.store.queues import decode_name
from resqpy.web.access import ROLES, Access
from resqpy.web.asking import Refusal
from resqpy.web.vault import LINK, SESSION, Kept, Note, Vault, digest_of, new_secret

LINK_S = 600
SESSION_S = 12 * 3600  # from the last request
_FAILURES, _WITHIN_S = 10, 60  # of one address
_ADDRESSES = 10_000
_COST = {"n": 1 << 14, "r": 8, "p": 1}
_HASHED_AT_ONCE = 2  # each takes 16 MB, and a core for a moment


class Sessions:
    """Begins, finds and ends sessions.

    Args:
        store: has the users.
    """

    def __init__(self, store: Store, vault: Vault) -> None:
        self._store = store
        self._vault = vault
        self._attempts: dict[str, deque[float]] = {}
        self._hashing = asyncio.Semaphore(_HASHED_AT_ONCE)

    # -- links --

    async def new_link(self, role: str, who: str = "") -> str:
        """The code of a new one-time link.

        Raises:
            UsageError: there is no such role.
        """
        access = Access(who or role, role)
        code = new_secret()
        note = {"who": access.who, "role": access.role}
        await self._vault.put(LINK, digest_of(code), note, LINK_S)
        return code

    # -- beginning and end --

    async def by_code(self, request: Request, code: str) -> str:
        """Spend a one-time link; the secret of the session.

        Raises:
            Refusal: it is spent, has expired, or was never made.
        """
        with self._attempt(request):
            note = await self._vault.take(LINK, digest_of(code))
            if note is None:
                raise Refusal(
                    403,
                    "This link does not work any more",
                    "It works once, for ten minutes. Make another: resqpy web link",
                )
            return await self._begin(request, note)

    async def by_password(self, request: Request, who: str, password: str) -> str:
        """Begin a session of a user; its secret.

        Raises:
            Refusal: there is no such user, or it is another password.
        """
        with self._attempt(request):
            note = await user(self._store, who)
            kept = str(note.get("password", "")) if note else ""
            async with self._hashing:
                right = await run_in_threadpool(_is_password, password, kept)
            if not right:
                raise Refusal(
                    403, "Name or password is wrong", "Try again, or ask who runs resqpy."
                )
            return await self._begin(request, {"who": who, "user": _salt_of(kept)})

    async def _begin(self, request: Request, note: Note) -> str:
        secret, known = new_secret(), {**note, "address": address_of(request)}
        await self._vault.put(SESSION, digest_of(secret), known, SESSION_S)
        return secret

    async def access(self, request: Request) -> Access | None:
        """Who sends a request; None: nobody known."""
        digest = self.of(request)
        note = await self._vault.find(SESSION, digest, SESSION_S) if digest else None
        if note is None:
            return None
        if "user" not in note:
            return Access(str(note["who"]), str(note["role"]), by="session")
        # who may have another role now, another password, or be no user any more
        found = await user(self._store, str(note["who"]))
        if found is None or _salt_of(str(found.get("password", ""))) != note["user"]:
            await self.end(request)
            return None
        return Access(str(note["who"]), found["role"], by="session")

    async def end(self, request: Request) -> None:
        """End the session of a request."""
        if digest := self.of(request):
            await self._vault.take(SESSION, digest)

    @staticmethod
    def of(request: Request) -> str:
        """The digest of the session of a request; "": it has none."""
        secret = request.cookies.get(cookie_name(request))
        return digest_of(secret) if secret else ""

    # -- who has access --

    async def every(self, kind: str) -> list[Kept]:
        """All links or sessions, the newest first."""
        return await self._vault.every(kind)

    async def revoke(self, kind: str, digest: str) -> bool:
        """End a link or a session; False if there is none."""
        return await self._vault.take(kind, digest) is not None

    # -- who guesses --

    @contextlib.contextmanager
    def _attempt(self, request: Request) -> Iterator[None]:
        """An attempt, which counts from its beginning, so that many at once do not pass; it is taken back if it
        succeeds, or if Redis does not answer.
        """
        now_s = SYSTEM_CLOCK.monotonic()
        if len(self._attempts) >= _ADDRESSES:
            self._attempts.clear()
        attempts = self._attempts.setdefault(address_of(request), deque(maxlen=_FAILURES))
        if sum(each > now_s - _WITHIN_S for each in attempts) >= _FAILURES:
            raise Refusal(
                429, "Too many attempts", "Wait a minute.", {"retry-after": str(_WITHIN_S)}
            )
        attempts.append(now_s)
        away: StoreError | None = None
        try:
            yield
        except StoreError as raised:
            away = raised
        with contextlib.suppress(ValueError):  # it has been forgotten meanwhile
            attempts.remove(now_s)
        if away is not None:
            raise away


def address_of(request: Request) -> str:
    """Where a request comes from."""
    return request.client.host if request.client else "?"


# Cookies do not know of ports: each console on a machine has a name of its own.


def cookie_name(request: Request) -> str:
    """The name of the session's cookie."""
    if request.scope["scheme"] == "https":
        return "__Host-resqpy"
    port = re.search(":([0-9]+)$", request.headers.get("host", ""))
    return f"resqpy_{port[1] if port else ''}"


def keep_cookie(request: Request, response: Response, secret: str) -> None:
    """Let the browser keep a session; "" ends it."""
    https = request.scope["scheme"] == "https"
    keep = partial(
        response.set_cookie, cookie_name(request), secret, path="/",
        secure=https, httponly=True, samesite="strict",
    )  # fmt: skip
    keep() if secret else keep(max_age=0)


# -- users --


async def users(store: Store) -> dict[str, str]:
    """The users and their roles."""
    return {name: note["role"] for name, note in (await user_notes(store)).items()}


async def user_notes(store: Store) -> dict[str, Mapping[str, Any]]:
    """The users by name: `role`, `password` as a digest, and when they were `made` (ms), where that is known."""
    [fields] = await store.look([("HGETALL", store.keys.web_users)])
    pairs = zip(fields[::2], fields[1::2], strict=True)
    notes = {decode_name(name): _note(raw) for name, raw in pairs}
    return {name: note for name, note in sorted(notes.items()) if note is not None}


async def user(store: Store, who: str) -> Mapping[str, Any] | None:
    """A user's role and password."""
    return _note(await store.call("HGET", store.keys.web_users, who))


def _note(raw: bytes | None) -> Mapping[str, Any] | None:
    found = None if raw is None else codec.decode_lenient(raw)
    return found if isinstance(found, dict) and found.get("role") in ROLES else None


async def keep_user(store: Store, who: str, role: str, password: str) -> bool:
    """Add a user, or change one; False if there was one.

    Raises:
        UsageError: there is no such role, or the name or password is too short.
    """
    if role not in ROLES:
        raise UsageError(f"there is no role {role!r}{near_match(role, ROLES)}")
    if not who.isprintable() or not who.strip():
        raise UsageError(f"{who!r} is not the name of a user")
    if len(password) < 8:
        raise UsageError("a password has 8 characters or more")
    before = await user(store, who)
    kept = str(before.get("password", "")) if before else ""
    if not _is_password(password, kept):  # with the same one, sessions go on
        kept = _kept(password, secrets.token_bytes(16))
    made = before.get("made") if before else await store.time_us() // 1000
    text = codec.encode_text({"role": role, "password": kept, "made": made})
    return bool(await store.call("HSET", store.keys.web_users, who, text))


async def remove_user(store: Store, who: str) -> bool:
    """Remove a user, whose sessions end; False if there was none."""
    return bool(await store.call("HDEL", store.keys.web_users, who))


def _kept(password: str, salt: bytes) -> str:
    made = hashlib.scrypt(password.encode("utf-8", "replace"), salt=salt, **_COST)
    return "$".join(["scrypt", *(base64.b64encode(each).decode() for each in (salt, made))])


def _is_password(password: str, kept: str) -> bool:
    """Whether it is; an unknown user takes as long."""
    salt = base64.b64decode(_salt_of(kept)) or b"nobody"
    return hmac.compare_digest(_kept(password, salt).encode(), kept.encode())


def _salt_of(kept: str) -> str:
    """The salt of a digest, which differs for each password that was given; "": it is no digest."""
    parts = kept.split("$")
    return parts[1] if len(parts) == 3 else ""
