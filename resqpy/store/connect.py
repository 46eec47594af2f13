"""How a connection is opened: plain, by Sentinel, or to the Cluster node that has our hash slot.

All three give redis-py connections that never retry by themselves: a write must not be repeated
blindly, and only the caller knows whether it may be.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from redis import exceptions
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.connection import AbstractConnection, ConnectionPool, SSLConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff

from resqpy.base.errors import StoreMisconfigured, StoreUnavailable
from resqpy.base.keys import Keys
from resqpy.store.options import RedisOptions

Opener = Callable[[], Awaitable[AbstractConnection]]


def opener(options: RedisOptions, keys: Keys) -> Opener:
    """A function that opens a new connection to the Redis that takes our writes now."""
    if options.cluster:
        return _cluster_opener(options, keys)
    pool = _sentinel_pool(options) if options.sentinels else _plain_pool(options)

    async def open_one() -> AbstractConnection:
        return await _connected(pool.make_connection())  # type: ignore[no-untyped-call]

    return open_one


async def _connected(connection: AbstractConnection) -> AbstractConnection:
    try:
        await connection.connect()  # type: ignore[no-untyped-call]
    except (exceptions.RedisError, OSError) as error:
        await connection.disconnect(nowait=True)
        raise translate_connect(error) from error
    return connection


def translate_connect(error: Exception) -> Exception:
    """What went wrong before anything was sent."""
    if isinstance(error, exceptions.AuthenticationError):
        return StoreMisconfigured(f"Redis refuses the login: {error}")
    return StoreUnavailable(f"can't reach Redis: {error}")


def _arguments(options: RedisOptions) -> dict[str, Any]:
    return {
        "protocol": 2,
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
    try:
        return ConnectionPool.from_url(options.url, **arguments)
    except ValueError as error:
        raise StoreMisconfigured(f"Redis URL {hide_password(options.url)!r}: {error}") from error


def hide_password(url: str) -> str:
    """The URL without its password: for messages."""
    scheme, slashes, rest = url.partition("://")
    login, at, place = rest.rpartition("@")
    user, colon, _ = login.partition(":")
    return f"{scheme}{slashes}{user}{':***' if colon else ''}{at}{place}"


def _sentinel_pool(options: RedisOptions) -> SentinelConnectionPool:
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        list(options.sentinels),
        sentinel_kwargs={
            "socket_timeout": options.connect_timeout_s,
            **dict(options.sentinel_kwargs),
        },
    )
    arguments = _arguments(options)
    target = _plain_pool(options).connection_kwargs
    for name in ("db", "username", "password"):
        if target.get(name) is not None:
            arguments[name] = target[name]
    arguments["ssl"] = options.url.startswith("rediss:")
    return SentinelConnectionPool(  # type: ignore[no-untyped-call]
        options.sentinel_service, sentinel, **arguments
    )


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


def _cluster_opener(options: RedisOptions, keys: Keys) -> Opener:
    check_cluster_namespace(keys)
    base = _plain_pool(options)

    async def open_one() -> AbstractConnection:
        host, port = await _slot_owner(options, keys)
        arguments = {**base.connection_kwargs, "host": host, "port": port}
        return await _connected(base.connection_class(**arguments))

    return open_one


async def _slot_owner(options: RedisOptions, keys: Keys) -> tuple[str, int]:
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
    return str(node.host), int(node.port)
