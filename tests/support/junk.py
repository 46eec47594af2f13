"""Junk where something of ours is to be: any type that Redis has."""

from __future__ import annotations

from typing import Any

KINDS = ("string", "list", "hash", "zset", "set", "stream")
JUNK = "junk"


async def put_junk(redis: Any, key: str, kind: str, word: str = JUNK) -> None:
    """Replace a key by one of a kind with something in it that means nothing."""
    async with redis.pipeline() as put:  # in one step: whose key it is may be at work
        put.delete(key)
        match kind:
            case "string":
                put.set(key, word)
            case "list":
                put.rpush(key, word)
            case "hash":
                put.hset(key, word, word)
            case "zset":
                put.zadd(key, {word: "inf"})
            case "set":
                put.sadd(key, word)
            case "stream":
                put.xadd(key, {word: word})
        await put.execute()
