"""Opens connections: directly, through Sentinels, or to the Cluster node that owns our hash slot.

The redis-py connections never retry by themselves: a write must not be repeated blindly, and only the
caller knows whether it may be. Sentinels and Cluster nodes are queried for each new connection; if one does
not answer, the next is tried.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from redis.asyncio.connection import AbstractConnection, Connection, ConnectionPool, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import key_slot

from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.concurrency.own_tasks import OWNER, in_own_thread
from resqpy.base.errors import ResqpyError, StoreError, StoreMisconfigured, StoreUnavailable
from resqpy.base.keys import Keys
from resqpy.base.masking import masked_text, masked_url
from resqpy.base.when import whole_number
from resqpy.store.connection.options import RedisOptions
from resqpy.store.connection.translation import translate_connect

# Which servers the options name, and what is wrong with them.

SCHEMES = ("redis", "rediss", "unix")
_UNESCAPED = (
    "the end of its password is ambiguous: in a password or user, / ? # @ : [ ] and % must be percent-encoded "
    "(write %2F for /, %3F for ?, %23 for #, %40 for @), or set host, user and password separately"
)
_FORMS = (
    "use host:port, or rediss://host:port for TLS; set the login of Sentinels in "
    "sentinel_kwargs (redis.sentinel_options), that of Cluster nodes in the URL"
)
_FORM = (
    "; expected redis://HOST:6379/0, with USER:PASSWORD@ before HOST if a login is required (redis.url; also "
    "REDIS_URL, --redis)"
)
_PLAIN = re.compile(r"[a-z]+://[\w.-]+(:\d{1,5})?(/\d{0,4})?|localhost|[\w.-]+:\d{1,5}(/\d{0,4})?")
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
        words = f"it must specify one of the following schemes: {known}"
        if _PLAIN.fullmatch(url):  # nothing in it can be a password
            return f"{words}, not {scheme}://" if separator else f"{words}; write redis://{url}"
        return words
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
    if database and whole_number(database) is None:
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
        if name == "db" and whole_number(value) is None:
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


_MARK = "resolve_aside"
Opener = Callable[[], Awaitable[AbstractConnection]]
Finder = Callable[[], Awaitable[dict[str, Any]]]


def resolve_aside(loop: asyncio.AbstractEventLoop) -> None:
    """Resolve host names outside jobs in our own threads, as uvloop does: users' tasks may occupy all
    threads of the loop's pool.
    """
    resolve: Any = loop.getaddrinfo
    if getattr(resolve, "__name__", "") == _MARK:
        return

    async def aside(host: Any, port: Any, **how: int) -> Any:
        if OWNER.get() is not None:
            return await resolve(host, port, **how)
        return await in_own_thread(partial(socket.getaddrinfo, host, port, **how))

    aside.__name__ = _MARK
    with contextlib.suppress(AttributeError):
        loop.getaddrinfo = aside  # type: ignore[method-assign]  # that it can be is how it is done


def opener(options: RedisOptions, keys: Keys) -> Opener:
    """A function that opens a new connection to the Redis that currently accepts our writes."""
    url, hosts = hosts_of(options.url)
    base = pool_of(url, arguments_of(options))
    place = place_of(options)
    find = _finder(options, keys, base.connection_kwargs, base.connection_class, len(hosts))

    async def open_one() -> AbstractConnection:
        resolve_aside(asyncio.get_running_loop())
        server: dict[str, Any] = {}
        begun_s = SYSTEM_CLOCK.monotonic()
        try:
            server = await find() if find is not None else {}
            made = base.connection_class(**{**base.connection_kwargs, **server})
            return await _connected(made, options.connect_timeout_s)
        except ResqpyError as error:
            options.reachability.failed(_as_store_error(error), begun_s=begun_s)
            raise
        except Exception as error:
            found = translate_connect(error, f"{Address(**server)}, {place}" if server else place)
            options.reachability.failed(_as_store_error(found), begun_s=begun_s)
            raise found from error

    return open_one


def _as_store_error(error: ResqpyError) -> StoreError:
    return error if isinstance(error, StoreError) else StoreError(str(error))


def _finder(
    options: RedisOptions, keys: Keys, login: dict[str, Any], kind: Any, hosts: int
) -> Finder | None:
    """How to discover the server; None: it is given."""
    if options.url.startswith("unix:") and (options.cluster or options.sentinels):
        raise StoreMisconfigured("a unix socket leads to one server; use redis:// or rediss://")
    if options.cluster:
        check_cluster_namespace(keys)
        return _Cluster(options, keys, login, kind).owner
    if options.sentinels:
        return _Sentinels(options).master
    if hosts > 1 or options.seeds:
        raise StoreMisconfigured(
            "several hosts are given: for a Redis Cluster set cluster=True "
            "(redis.cluster), for Sentinels list them in sentinels (redis.sentinels)"
        )
    return None


async def _connected(connection: AbstractConnection, timeout_s: float) -> AbstractConnection:
    """Connect and log in; a server that accepts and then stays silent counts as unreachable."""
    try:
        async with asyncio.timeout(timeout_s):
            await connection.connect()  # type: ignore[no-untyped-call]  # redis-py has no types there
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    return connection


def arguments_of(options: RedisOptions) -> dict[str, Any]:
    """The keywords of redis-py's connection, besides those in the URL."""
    local = {} if options.url.startswith("unix:") else {
        "socket_connect_timeout": options.connect_timeout_s,
        "socket_keepalive": True,
    }  # fmt: skip
    return {
        "protocol": 2,
        "encoding_errors": "surrogateescape",  # names that are not UTF-8 are passed through
        "retry": Retry(NoBackoff(), 0),
        "retry_on_error": [],
        "socket_timeout": None,  # we use our own timeout: redis-py's costs a task per command
        **local,
        **options.extra,
    }


async def _asked(connection: AbstractConnection, timeout_s: float, *command: str) -> Any:
    """The reply to one command, on a connection opened for it."""
    await _connected(connection, timeout_s)
    try:
        async with asyncio.timeout(timeout_s):
            await connection.send_command(*command)
            return await connection.read_response()
    finally:
        await connection.disconnect(nowait=True)


class _Sentinels:
    """Asks the Sentinels for the master; one that answered is asked first the next time."""

    def __init__(self, options: RedisOptions) -> None:
        self._options = options
        self._all = sentinels_of(options)
        given = {k: v for k, v in dict(options.sentinel_kwargs).items() if k != "ssl"}
        certificates = {k: v for k, v in dict(options.extra).items() if k.startswith("ssl_")}
        self._plain = {**_BARE, "socket_connect_timeout": options.connect_timeout_s, **given}
        self._tls = {**self._plain, **certificates, **given}

    async def master(self) -> dict[str, Any]:
        service, wrong = self._options.sentinel_service, []
        for each in list(self._all):
            try:
                found = await self._ask(each, service)
            except Exception as error:  # whatever it is, another one may answer
                wrong.append(translate_connect(error, f"the Sentinel {each}"))
                continue
            if found:
                self._all = [each, *(other for other in self._all if other != each)]
                return {"host": found[0].decode(), "port": int(found[1])}
            wrong.append(StoreUnavailable(f"the Sentinel {each} knows no master {service!r}"))
        raise _worst("no Sentinel names the master", wrong)

    async def _ask(self, where: Address, service: str) -> Any:
        kind, arguments = (SSLConnection, self._tls) if where.tls else (Connection, self._plain)
        made = kind(host=where.host, port=where.port, **arguments)
        question = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", service)
        return await _asked(made, self._options.connect_timeout_s, *question)


_BARE: dict[str, Any] = {"protocol": 2, "retry": Retry(NoBackoff(), 0), "retry_on_error": []}


def check_cluster_namespace(keys: Keys) -> None:
    """A Cluster needs the whole installation in one slot.

    Raises:
        StoreMisconfigured: the namespace is not a hash tag.
    """
    start, end = keys.prefix.find("{"), keys.prefix.find("}")
    if start < 0 or end <= start + 1:
        raise StoreMisconfigured(
            "on a Redis Cluster the namespace must be a hash tag so that all keys share "
            f"one slot: use '{{{keys.namespace}}}' instead of {keys.namespace!r} (in Ruby "
            "and Node too; without the braces it is a different installation)"
        )


class _Cluster:
    """Asks who owns our hash slot: a node seen before, or one of the seeds."""

    def __init__(self, options: RedisOptions, keys: Keys, login: dict[str, Any], kind: Any) -> None:
        self._options = options
        self._slot = key_slot(keys.prefix.encode())
        self._login = login
        self._kind = kind
        self._seeds = seeds_of(options)
        self._nodes = self._seeds

    async def owner(self) -> dict[str, Any]:
        wrong = []
        for each in self._nodes:
            try:
                slots = await self._ask(each)
            except Exception as error:  # whatever it is, another one may answer
                wrong.append(translate_connect(error, f"the node {each}"))
                continue
            owner = self._read(slots, each)
            if owner is not None:
                return {"host": owner.host, "port": owner.port}
            words = f"the node {each} knows no owner of our hash slot {self._slot}"
            wrong.append(StoreUnavailable(words))
        raise _worst("cannot reach the Redis Cluster", wrong)

    async def _ask(self, node: Address) -> Any:
        made = self._kind(**{**self._login, "host": node.host, "port": node.port})
        return await _asked(made, self._options.connect_timeout_s, "CLUSTER", "SLOTS")

    def _read(self, slots: Any, asked: Address) -> Address | None:
        """Remember all nodes, so that every seed may disappear; returns the owner of our slot."""
        found: list[Address] = [asked]
        owner = None
        for first, last, *nodes in slots:
            places = [_node(node, asked) for node in nodes]
            found += places
            if first <= self._slot <= last:
                owner = places[0]
        self._nodes = list(dict.fromkeys([*found, *self._seeds]))
        return owner


def _node(node: Sequence[Any], asked: Address) -> Address:
    """A node from CLUSTER SLOTS; without a host it is the one that was asked."""
    host = (node[0] or b"").decode()
    return Address(asked.host if host in ("", "?") else host, int(node[1]), asked.tls)


def _worst(words: str, wrong: Sequence[ResqpyError]) -> StoreError:
    """One error for several: permanent only if all of them are."""
    kind = StoreMisconfigured if wrong and _hopeless(wrong) else StoreUnavailable
    return kind(f"{words}: {'; '.join(dict.fromkeys(map(str, wrong))) or 'none is named'}")


def _hopeless(wrong: Sequence[ResqpyError]) -> bool:
    return all(isinstance(each, StoreMisconfigured) for each in wrong)
