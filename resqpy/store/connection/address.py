"""Which servers the options name, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from redis.asyncio.connection import ConnectionPool

from resqpy.base.errors import StoreMisconfigured
from resqpy.base.masking import masked_text, masked_url
from resqpy.store.connection.options import RedisOptions

SCHEMES = ("redis", "rediss", "unix")
_UNESCAPED = (
    "the end of its password is ambiguous: in a password or user, / ? # @ : [ ] and % must be percent-encoded "
    "(write %2F for /, %3F for ?, %23 for #, %40 for @), or set host, user and password separately"
)
_FORMS = (
    "use host:port, or rediss://host:port for TLS; set the login of Sentinels in "
    "sentinel_kwargs (redis.sentinel_options), that of Cluster nodes in the URL"
)
_FORM = "; expected redis://HOST:6379/0, with USER:PASSWORD@ before HOST if a login is required (redis.url)"
_PORT, _SENTINEL_PORT = 6379, 26379
_MEANT = {
    "timeout": "connect_timeout_s and reply_timeout_s (redis.connect_timeout, redis.reply_timeout)",
    "socket_timeout": "reply_timeout_s (redis.reply_timeout)",
    "socket_connect_timeout": "connect_timeout_s (redis.connect_timeout)",
    "max_connections": "nothing: resqpy has no pool",
    "retry_on_timeout": "nothing: resqpy reconnects by itself",
    "decode_responses": "nothing: jobs are bytes",
    "encoding": "nothing: jobs are bytes",
    "protocol": "nothing: resqpy uses RESP2 with every server",
}
_KNOWN = ("db", "username", "password", "client_name", "health_check_interval", "socket_keepalive")


def problem_of(url: str) -> str | None:
    """What is wrong with a Redis URL; None: nothing. Login, host and port are never quoted: in a malformed
    URL any of them may be part of the password.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.lower() not in SCHEMES:
        known = ", ".join(f"{each}://" for each in SCHEMES)
        return f"it must specify one of the following schemes: {known}"
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError:  # its message quotes its input
        return _UNESCAPED if "@" in rest else "its port is not a number from 1 to 65535"
    if parts.fragment or "@" in parts.query or any(sign < " " for sign in url):
        return _UNESCAPED
    if scheme.lower() == "unix":
        return _UNESCAPED if host else None
    if "@" in parts.path or (host is None and port is not None):
        return _UNESCAPED
    return _problem_of_database(parts.path)


def _problem_of_database(path: str) -> str | None:
    """redis-py silently uses database 0 if the database is not a number."""
    database = unquote(path).strip("/")
    if database and not (database.isascii() and database.isdigit()):
        return f"the database {database!r} is not a number, such as 0"
    return None


@dataclass(frozen=True, slots=True)
class Address:
    """A server."""

    host: str
    port: int
    tls: bool = False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def hosts_of(url: str) -> tuple[str, list[Address]]:
    """A URL with one host, and all hosts that it names: `redis://user:pw@a:1,b:2/0`.

    Raises:
        StoreMisconfigured: it is malformed.
    """
    urls = list(_one_each(url))
    for each in urls:
        if problem := problem_of(each):
            raise StoreMisconfigured(f"invalid Redis URL: {problem}{_FORM}")
    tcp = [urlsplit(each) for each in urls if not each.lower().startswith("unix:")]
    return urls[0], [
        Address(
            unquote(parts.hostname or "127.0.0.1"), parts.port or _PORT, parts.scheme == "rediss"
        )
        for parts in tcp
    ]


def _one_each(url: str) -> Iterator[str]:
    """One URL for each host."""
    scheme, separator, rest = url.partition("://")
    end = min((at for sign in "/?#" if (at := rest.find(sign)) >= 0), default=len(rest))
    login, sign, hosts = rest[:end].rpartition("@")
    for host in hosts.split(","):
        yield f"{scheme}{separator}{login}{sign}{host}{rest[end:]}"


def _address(given: Any, port: int, *, tls: bool) -> Address:
    """Host and port, from a pair or a text; errors quote nothing."""
    text = given if isinstance(given, str) else ":".join(map(str, given))
    scheme, separator, rest = text.rpartition("://")
    if separator and scheme not in ("redis", "rediss"):
        raise StoreMisconfigured("one of several hosts has an unknown scheme; " + _FORMS)
    if any(sign in rest for sign in "@/?# "):
        raise StoreMisconfigured("one of several hosts has more than a name and a port; " + _FORMS)
    try:
        parts = urlsplit(f"//{rest}")
        found = Address(unquote(parts.hostname or "127.0.0.1"), parts.port or port)
    except ValueError:
        raise StoreMisconfigured(
            "one of several hosts has a port that is not a number; " + _FORMS
        ) from None
    return replace(found, tls=tls or scheme == "rediss")


def sentinels_of(options: RedisOptions) -> list[Address]:
    """The Sentinels: `(host, port)`, `host:port`, or `rediss://host:port` for TLS.

    Raises:
        StoreMisconfigured: one is malformed.
    """
    tls = bool(dict(options.sentinel_kwargs).get("ssl"))
    return [_address(each, _SENTINEL_PORT, tls=tls) for each in options.sentinels]


def pool_of(url: str, arguments: dict[str, Any]) -> ConnectionPool:
    """redis-py's own parsing of a URL with one host.

    Raises:
        StoreMisconfigured: what is wrong with it.
    """
    try:
        _check(url)
        return ConnectionPool.from_url(url, **arguments)
    except (ValueError, TypeError) as error:
        words = masked_text(str(error))  # about its query: the rest has been checked
        raise StoreMisconfigured(f"invalid Redis URL: {words}{_FORM}") from error


def _check(url: str) -> None:
    """Reject options that redis-py would notice only when it connects.

    Raises:
        ValueError: what is wrong.
    """
    for name, value in parse_qsl(urlsplit(url).query, keep_blank_values=True):
        if name in _MEANT:
            raise ValueError(f"?{name}= is not supported here; use {_MEANT[name]}")
        if name not in _KNOWN and not name.startswith("ssl_"):
            raise ValueError(f"unknown option ?{name}=; known are {', '.join(_KNOWN)} and ssl_…")
        if name == "db" and not value.isdigit():
            raise ValueError(f"the database {value!r} is not a number, such as 0")


def place_of(options: RedisOptions) -> str:
    """Description of the Redis without a password, for errors and logs."""
    if options.sentinels:
        named = ", ".join(map(str, sentinels_of(options)))
        return f"the master {options.sentinel_service!r} of the Sentinels {named}"
    shown = masked_url(options.url).partition("?")[0]
    if options.cluster:  # the other nodes may be reachable
        return f"the node that owns our keys, in the Redis Cluster at {shown}"
    return f"Redis at {shown}"


def seeds_of(options: RedisOptions) -> list[Address]:
    """The nodes of a Cluster through which the others are discovered."""
    _, named = hosts_of(options.url)
    tls = options.url.startswith("rediss:")
    extra = [_address(each, _PORT, tls=tls) for each in options.seeds]
    return list(dict.fromkeys([*named, *extra]))
