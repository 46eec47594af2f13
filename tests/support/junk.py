"""Junk where something of ours is to be: any type that Redis has."""

from __future__ import annotations

from typing import Any

KINDS = ("string", "list", "hash", "zset", "set", "stream")
JUNK = "junk"


async def put_junk(redis: Any, key: str, kind: str, word: str = JUNK) -> None:
    """Replace a key by one of a kind with something in it that means nothing."""
    await redis.delete(key)
    match kind:
        case "string":
            await redis.set(key, word)
        case "list":
            await redis.rpush(key, word)
        case "hash":
            await redis.hset(key, word, word)
        case "zset":
            await redis.zadd(key, {word: "inf"})
        case "set":
            await redis.sadd(key, word)
        case "stream":
            await redis.xadd(key, {word: word})
