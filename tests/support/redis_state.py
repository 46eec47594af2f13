"""The whole of Redis as one Python value, so that a test compares states and not calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redis.asyncio import Redis

from resqpy.base.keys import Keys

LOOKED_FOR_DEAD = {Keys().rescuer.encode(), Keys().searched.encode()}


async def dump(redis: Redis) -> dict[str, Any]:
    """Return the keyspace: key → str, list, set, hash as dict, sorted set as {member: score}.

    Bytes that are UTF-8 become str; others stay bytes. Use `ttls` for expiries. When somebody looked for
    dead processes is left out: any worker process may, with its first sign of life. So is the history of what ran,
    which processes write beside their work.
    """
    keys = sorted([key async for key in redis.scan_iter(count=1000)])
    return {_text(key): await _value(redis, key) for key in keys if not _beside(key)}


def _beside(key: bytes) -> bool:
    return key in LOOKED_FOR_DEAD or key.startswith(Keys().history("").encode())


async def ttls(redis: Redis) -> dict[str, int]:
    """Return the remaining milliseconds of the keys that expire."""
    found = {_text(key): await redis.pttl(key) for key in sorted(await redis.keys("*"))}
    return {key: ttl for key, ttl in found.items() if ttl >= 0}


async def _value(redis: Redis, key: bytes) -> Any:
    client: Any = redis  # redis-py's types mix its sync and async replies
    kind = _text(await client.type(key))
    if kind == "string":
        return _text(await client.get(key))
    if kind == "list":
        return [_text(item) for item in await client.lrange(key, 0, -1)]
    if kind == "set":
        return {_text(member) for member in await client.smembers(key)}
    if kind == "hash":
        return _texts(await client.hgetall(key))
    if kind == "zset":
        return _texts(dict(await client.zrange(key, 0, -1, withscores=True)))
    raise AssertionError(f"{key!r} is a {kind}")


def _texts(mapping: Mapping[Any, Any]) -> dict[Any, Any]:
    return {_text(key): _text(value) for key, value in mapping.items()}


def _text(value: Any) -> Any:
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value
