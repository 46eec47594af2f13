"""Opens connections: directly, through Sentinels, or to the Cluster node that owns our hash slot.

The redis-py connections never retry by themselves: a write must not be repeated blindly, and only the
caller knows whether it may be. Sentinels and Cluster nodes are queried for each new connection; if one does
not answer, the next is tried.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import key_slot

from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.concurrency.own_tasks import OWNER
from resqpy.base.concurrency.waiting import in_own_thread
from resqpy.base.errors import ResqpyError, StoreError, StoreMisconfigured, StoreUnavailable
from resqpy.base.keys import Keys
from resqpy.store.connection.address import (
    Address,
    hosts_of,
    place_of,
    pool_of,
    seeds_of,
    sentinels_of,
)
from resqpy.store.connection.options import RedisOptions
from resqpy.store.connection.translation import translate_connect

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
