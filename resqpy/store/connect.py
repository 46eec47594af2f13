"""How a connection is opened: plain, by Sentinel, or to the Cluster node that has our hash slot.

All three give redis-py connections that never retry by themselves: a write must not be repeated
blindly, and only the caller knows whether it may be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from redis import exceptions
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.connection import AbstractConnection, ConnectionPool, SSLConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

from resqpy.base.errors import StoreMisconfigured, StoreUnavailable
from resqpy.base.keys import Keys
from resqpy.base.masking import masked_text
from resqpy.base.redis_url import problem_of
from resqpy.store.options import RedisOptions

Opener = Callable[[], Awaitable[AbstractConnection]]


def opener(options: RedisOptions, keys: Keys) -> Opener:
    """A function that opens a new connection to the Redis that takes our writes now."""
    base = _plain_pool(options)
    if options.cluster:
        check_cluster_namespace(keys)
    if options.url.startswith("unix:") and (options.cluster or options.sentinels):
        raise StoreMisconfigured("a unix socket leads to one server; give redis:// or rediss://")

    async def open_one() -> AbstractConnection:
        place: dict[str, Any] = {}
        if options.cluster:
            place = await _slot_owner(options, keys)
        elif options.sentinels:
            place = await _master(options)
        made = base.connection_class(**{**base.connection_kwargs, **place})
        return await _connected(made, options.connect_timeout_s)

    return open_one


async def _connected(connection: AbstractConnection, timeout_s: float) -> AbstractConnection:
    """Connect and log in; a server that accepts and then says nothing counts as gone too."""
    try:
        async with asyncio.timeout(timeout_s):
            await connection.connect()  # type: ignore[no-untyped-call]  # redis-py has no types there
    except BaseException as error:
        await connection.disconnect(nowait=True)
        if isinstance(error, (exceptions.RedisError, OSError)):
            raise translate_connect(error) from error
        raise
    return connection


_NOT_YET = ("LOADING", "BUSY", "MASTERDOWN", "max number of clients")


def translate_connect(error: Exception) -> Exception:
    """What went wrong before anything was sent; redis-py hides the words of the server in a cause."""
    for each in (error, error.__cause__, error.__context__):
        if isinstance(each, exceptions.AuthenticationError):
            return StoreMisconfigured(f"Redis refuses the login: {each}")
        if isinstance(each, exceptions.ResponseError) and not str(each).startswith(_NOT_YET):
            return StoreMisconfigured(f"Redis refuses the connection: {each}")
    if isinstance(error, TimeoutError):
        return StoreUnavailable(
            "can't reach Redis: it accepts connections and doesn't answer (is rediss:// right, which "
            "speaks TLS, or redis://, which doesn't?)"
        )
    return StoreUnavailable(f"can't reach Redis: {error}")


def _arguments(options: RedisOptions) -> dict[str, Any]:
    return {
        "protocol": 2,
        "encoding_errors": "surrogateescape",  # names that are no UTF-8 come and go as they are
        "retry": Retry(NoBackoff(), 0),
        "retry_on_error": [],
        "socket_timeout": None,  # a timeout of our own: redis-py's costs a task per command
        "socket_connect_timeout": options.connect_timeout_s,
        **options.extra,
    }


def _plain_pool(options: RedisOptions) -> ConnectionPool:
    arguments = _arguments(options)
    if options.url.startswith("unix:"):
        arguments.pop("socket_connect_timeout")
    else:
        arguments["socket_keepalive"] = True
    problem = problem_of(options.url)
    if problem is None:
        try:
            return ConnectionPool.from_url(options.url, **arguments)
        except ValueError as error:
            problem = masked_text(str(error))  # of its query: the rest has been looked at
    raise StoreMisconfigured(f"the Redis URL can't be used: {problem}")


async def _master(options: RedisOptions) -> dict[str, Any]:
    """The master that the Sentinels name now; asked at every new connection."""
    login = {
        "socket_timeout": options.connect_timeout_s,
        "socket_connect_timeout": options.connect_timeout_s,
        "retry": Retry(NoBackoff(), 0),
        **dict(options.sentinel_kwargs),
    }
    hosts = list(options.sentinels)
    sentinel = Sentinel(hosts, sentinel_kwargs=login)  # type: ignore[no-untyped-call]  # as above
    try:
        host, port = await sentinel.discover_master(options.sentinel_service)
    except (exceptions.RedisError, OSError) as error:
        raise StoreUnavailable(f"no Sentinel names the master: {error}") from error
    finally:
        for each in sentinel.sentinels:
            await each.aclose()
    return {"host": host, "port": int(port)}


def check_cluster_namespace(keys: Keys) -> None:
    """A Cluster needs the whole installation in one slot.

    Raises:
        StoreMisconfigured: the namespace is no hash tag.
    """
    start, end = keys.prefix.find("{"), keys.prefix.find("}")
    if start < 0 or end <= start + 1:
        raise StoreMisconfigured(
            f"on a Redis Cluster the namespace must be a hash tag so that all keys share one slot: "
            f"use '{{{keys.namespace}}}' instead of {keys.namespace!r} "
            "(for Ruby and Node too; it is another installation than the one without the braces)"
        )


async def _slot_owner(options: RedisOptions, keys: Keys) -> dict[str, Any]:
    """The master that has our hash slot now; asked at every new connection."""
    tls = {"ssl": True} if issubclass(_plain_pool(options).connection_class, SSLConnection) else {}
    cluster = RedisCluster.from_url(options.url, **dict(options.extra), **tls)
    try:
        await cluster.initialize()
        node = cluster.get_node_from_key(keys.prefix)
    except (exceptions.RedisError, OSError) as error:
        raise StoreUnavailable(f"can't reach the Redis Cluster: {error}") from error
    finally:
        await cluster.aclose()
    if node is None:
        raise StoreUnavailable("no node of the Redis Cluster has our hash slot")
    return {"host": str(node.host), "port": int(node.port)}
