"""Access tokens of the HTTP API. Redis has only their digests: a token is shown once, when it is made."""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from resqpy.base import codec
from resqpy.base.errors import OutcomeUnknown, StoreError, StoreUnavailable, UsageError
from resqpy.base.foreign_time import noted_ms
from resqpy.base.imports import near_match
from resqpy.diagnosis import texts
from resqpy.store.connection.client import Store
from resqpy.web.access import ROLES, Access
from resqpy.web.asking import Refusal

PREFIX = "rsq_"
_BYTES = 32
_ID_LENGTH = 12  # hex digits of the digest by which people name a token
_USE_NOTED_MS = 60_000  # a token's last use is noted at most once in this time
_NAME = re.compile(r"[\w.@:+-]{1,100}")

# What a token may do. A name that ends with `:` takes the name of a task; `tasks` includes all that begin with it.
SCOPES = {
    "read": "see everything, but no arguments of jobs",
    "operate": "also see arguments; retry, remove, pause, run, enqueue; all of tasks",
    "admin": "everything",
    "metrics": "the numbers for Prometheus",
    "enqueue": "enqueue any task",
    "enqueue:": "enqueue this task",
    "tasks": "all of tracked tasks (also written tasks:*)",
    "tasks:read": "find tracked tasks",
    "tasks:create": "create tracked tasks of any type",
    "tasks:create:": "create tracked tasks of this type",
    "tasks:cancel": "cancel tracked tasks",
    "tasks:change": "change, run, enable and disable tracked tasks",
}


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token without its secret.

    Attributes:
        digest: SHA-256 of the secret, in hex.
        name: who uses it; what it creates says so.
        until_ms: when it expires; None: never.
        used_ms: about when it was last used; None: never.
    """

    digest: str
    name: str
    scopes: tuple[str, ...]
    created_ms: int
    until_ms: int | None = None
    used_ms: int | None = None

    @property
    def id(self) -> str:
        """What people name it by."""
        return self.digest[:_ID_LENGTH]

    def is_called(self, text: str) -> bool:
        """Whether a text is its name, its id or its digest."""
        return text in (self.name, self.id, self.digest)


def token_json(token: AccessToken) -> dict[str, Any]:
    """For programs, without the secret, which nobody has."""
    return {
        "id": token.id,
        "name": token.name,
        "scopes": list(token.scopes),
        "created": texts.iso(token.created_ms),
        "expires": texts.iso(token.until_ms),
        "last_used": texts.iso(token.used_ms),
    }


def check_scopes(scopes: Iterable[str]) -> tuple[str, ...]:
    """The scopes, without duplicates.

    Raises:
        UsageError: there are none, or one of them is unknown.
    """
    found = dict.fromkeys("tasks" if each == "tasks:*" else each for each in scopes)
    for scope in found:
        head = next((s for s in SCOPES if s.endswith(":") and scope.startswith(s)), "")
        known = scope in SCOPES or (head and scope.isprintable())
        if not known or scope.endswith(":"):
            names = [each + "TASK" if each.endswith(":") else each for each in SCOPES]
            hint = near_match(scope, names)
            raise UsageError(f"there is no scope {scope!r}{hint} (scopes: {', '.join(names)})")
    if not found:
        raise UsageError(f"a token needs a scope (scopes: {', '.join(SCOPES)})")
    return tuple(found)


async def create(
    store: Store, name: str, scopes: Iterable[str], *, for_ms: int | None = None
) -> tuple[str, AccessToken]:
    """Make a token; returns its secret, which nobody can read again, and what is known of it.

    Args:
        for_ms: after which it expires; None: it does not.

    Raises:
        UsageError: the name is not one, or belongs to another token; a scope is unknown.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"the name {name[:100]!r} of a token: 1 to 100 letters, digits and . _ @ : + -"
        )
    checked = check_scopes(scopes)
    if name in [each.name for each in await every(store)]:
        raise UsageError(
            f"there is a token named {name!r}; revoke it first, or choose another name"
        )
    secret = PREFIX + secrets.token_urlsafe(_BYTES)
    now_ms = await store.time_us() // 1000
    until_ms = None if for_ms is None else now_ms + for_ms
    token = AccessToken(_digest(secret), name, checked, now_ms, until_ms)
    fields = {"name": name, "scopes": checked, "created": now_ms, "until": until_ms}
    await store.call("HSET", store.keys.web_tokens, token.digest, codec.encode_text(fields))
    return secret, token


async def every(store: Store, *, tidy: bool = True) -> list[AccessToken]:
    """All valid tokens, by name.

    Args:
        tidy: remove those that have expired.
    """
    keys = store.keys
    flat, used, now = await store.look(
        [("HGETALL", keys.web_tokens), ("HGETALL", keys.web_tokens_used), ("TIME",)]
    )
    uses = dict(zip(used[::2], used[1::2], strict=True))
    pairs = zip(flat[::2], flat[1::2], strict=True)
    read = [_token(digest, raw, uses.get(digest)) for digest, raw in pairs]
    found = [each for each in read if each is not None]
    expired = [each for each in found if _is_over(each, _ms(now))]
    if expired and tidy:
        await _forget(store, expired)
    return sorted((each for each in found if each not in expired), key=lambda each: each.name)


def bearer(authorization: str) -> str | None:
    """The secret in the header Authorization; None: it has another scheme, or none."""
    scheme, _, secret = authorization.partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else None


async def by_token(store: Store, secret: str, *, note: bool) -> Access:
    """Whose token this is. One round trip, and at most once a minute another.

    Args:
        note: whether the use is noted.

    Raises:
        Refusal: it is no valid token.
    """
    digest, keys = _digest(secret), store.keys
    asked = [
        ("HGET", keys.web_tokens, digest),
        ("HGET", keys.web_tokens_used, digest),
        ("TIME",),
    ]
    try:
        raw, used, now = await store.look(asked)
    except OutcomeUnknown as error:  # a read changes nothing
        raise StoreUnavailable(str(error)) from error
    now_ms = _ms(now)
    token = None if raw is None else _token(digest.encode(), raw, used)
    if token is None or _is_over(token, now_ms):
        raise _invalid("It has ended, or was never made: resqpy web token create NAME --scope read")
    if note and (token.used_ms is None or token.used_ms < now_ms - _USE_NOTED_MS):
        with contextlib.suppress(StoreError):  # a Redis user that may only read
            await store.call("HSET", keys.web_tokens_used, digest, now_ms)
    return access_of(token)


def access_of(token: AccessToken) -> Access:
    """What a token may do: its scopes, and those that they include."""
    roles = [role for role, scope in _ROLE_SCOPES.items() if scope in token.scopes]
    included = [ROLES[role] for role in roles]
    return Access(
        token.name,
        roles[-1] if roles else "viewer",
        frozenset(token.scopes).union(*included),
        by="token",
    )


_ROLE_SCOPES = {"viewer": "read", "operator": "operate", "admin": "admin"}


def _invalid(detail: str) -> Refusal:
    headers = {"www-authenticate": 'Bearer error="invalid_token"'}
    return Refusal(401, "The access token is not valid", detail, headers)


async def revoke(store: Store, named: str) -> list[AccessToken]:
    """Remove the token with this name or id; returns what was removed."""
    gone = [each for each in await every(store) if each.is_called(named)]
    if gone:
        await _forget(store, gone)
    return gone


async def _forget(store: Store, tokens: Sequence[AccessToken]) -> None:
    digests = [each.digest for each in tokens]
    await store.pipeline(
        [
            ("HDEL", store.keys.web_tokens, *digests),
            ("HDEL", store.keys.web_tokens_used, *digests),
        ]
    )


def _ms(time: Sequence[Any]) -> int:
    return int(time[0]) * 1000 + int(time[1]) // 1000


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _is_over(token: AccessToken, now_ms: int) -> bool:
    return token.until_ms is not None and token.until_ms <= now_ms


def _token(digest: bytes, raw: bytes, used: bytes | None) -> AccessToken | None:
    """A token as it stands in Redis; one that can't be read gives no access."""
    data = codec.decode_lenient(raw)
    if not isinstance(data, Mapping):
        return None
    fields: Mapping[str, Any] = data
    name, scopes, until = fields.get("name"), fields.get("scopes"), fields.get("until")
    if not isinstance(name, str) or not isinstance(scopes, list):
        return None
    if not isinstance(until, int | None):
        return None
    return AccessToken(
        digest.decode("ascii", "replace"),
        name,
        tuple(map(str, scopes)),
        fields["created"] if isinstance(fields.get("created"), int) else 0,
        until,
        noted_ms(used) if used is not None else None,
    )
