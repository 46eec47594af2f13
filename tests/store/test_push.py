"""Pushes without a script: what Redis refuses in part is taken back, and no job lies where nobody looks."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import pytest
from redis.crc import key_slot

from resqpy import Queue
from resqpy.base import codec
from resqpy.base.errors import OutcomeUnknown, StoreError, StoreMisconfigured, StoreUnavailable
from resqpy.store import queues
from resqpy.store.connection.client import Store
from resqpy.store.connection.options import RedisOptions
from resqpy.store.connection.translation import Command
from resqpy.store.queues import Push
from tests.support.redis_cluster import owner_of, running_cluster
from tests.support.redis_state import dump
from tests.support.waiting import wait_for


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Store]:
    """Of the test's Redis."""
    opened = Store(RedisOptions(url=redis_url))
    yield opened
    await opened.close()


@pytest.mark.parametrize("front", [False, True])
async def test_the_order_of_many(store: Store, redis: Any, front: bool) -> None:
    """Each queue has its jobs in the order in which they were given, or turned round at the head."""
    texts = [b"%d" % n for n in range(25_000)]
    jobs = [Push("odd" if n % 2 else "even", text) for n, text in enumerate(texts)]
    assert await queues.push(store, jobs, front=front) == [None] * len(jobs)
    for name, wanted in (("even", texts[::2]), ("odd", texts[1::2])):
        found = await redis.lrange(f"resque:queue:{name}", 0, -1)
        assert found == (wanted[::-1] if front else wanted)
    assert await redis.smembers("resque:queues") == {b"even", b"odd"}


async def test_redis_is_never_held_for_long(store: Store, redis: Any) -> None:
    """At most a MiB, or 10,000 jobs, or one job, are one step; each is a round trip."""
    await store.connect()
    for size, count, trips in ((300_000, 9, 3), (10, 20_001, 3), (2_000_000, 2, 2)):
        before = store.line.round_trips
        await queues.push(store, [Push("q", b"x" * size)] * count)
        assert store.line.round_trips - before == trips, size
    assert await redis.llen("resque:queue:q") == 9 + 20_001 + 2


@pytest.mark.parametrize("names", [["text"], ["q", "text"], ["text", "q"]])
async def test_a_queue_of_another_kind(store: Store, redis: Any, names: list[str]) -> None:
    """Nothing is left of the push, also not in the queues beside it, and what was there stays."""
    await redis.set("resque:queue:text", "text")
    await redis.rpush("resque:queue:q", "a", "b", "c")
    await redis.sadd("resque:queues", "q", "text" if len(names) == 1 else "other")
    before = await dump(redis)
    with pytest.raises(StoreError, match=r"WRONGTYPE.*'RPUSH resque:queue:text'") as told:
        await queues.push(store, [Push(name, b"b") for name in names])
    assert "pushed" not in str(told.value)
    assert await dump(redis) == before


@pytest.mark.parametrize("front", [False, True])
async def test_a_set_of_names_of_another_kind(store: Store, redis: Any, front: bool) -> None:
    """The jobs that are there already are not listed, so they are taken away again; those before stay."""
    await redis.set("resque:queues", "text")
    await redis.rpush("resque:queue:q", "b", "b")
    before = await dump(redis)
    for jobs in ([Push("q", b"b")], [Push("q", b"a"), Push("q", b"b"), Push("r", b"c")]):
        with pytest.raises(StoreError, match=r"WRONGTYPE.*'SADD resque:queues'"):
            await queues.push(store, jobs, front=front)
        assert await dump(redis) == before


class Meanwhile(Store):
    """A store whose writes are followed by something that others do."""

    then: Sequence[Command] = ()

    async def write(self, commands: Sequence[Command], **more: Any) -> list[Any]:
        """As it is; then."""
        replies = await super().write(commands, **more)
        await self.pipeline(self.then)
        return replies


@pytest.mark.parametrize("count", [1, 3])
async def test_what_a_worker_has_taken_stays_pushed(redis_url: str, redis: Any, count: int) -> None:
    """It is told that so many were; where these are all, the push is done."""
    await redis.set("resque:queues", "text")
    store = Meanwhile(RedisOptions(url=redis_url))
    store.then = [("LPOP", "resque:queue:q")]
    pushes = [Push("q", b"%d" % n) for n in range(count)]
    if count == 1:
        assert await queues.push(store, pushes) == [None]
    else:
        with pytest.raises(StoreError, match="1 of 3 jobs were taken by workers"):
            await queues.push(store, pushes)
    assert not await redis.exists("resque:queue:q")
    await store.close()


async def test_what_can_not_be_taken_back(redis_url: str, redis: Any) -> None:
    """It may be there."""
    await redis.set("resque:queues", "text")
    store = Meanwhile(RedisOptions(url=redis_url))
    store.then = [("SET", "resque:queue:q", "no list")]
    with pytest.raises(OutcomeUnknown, match="nor the jobs in it taken back"):
        await queues.push(store, [Push("q", b"a")])
    await store.close()


async def test_what_was_pushed_before(store: Store, redis: Any) -> None:
    """Of several round trips the first ones are done: the error says how much that is."""
    await redis.set("resque:queue:text", "text")
    with pytest.raises(StoreError, match="10000 of 10001 jobs were pushed before that"):
        await queues.push(store, [Push("q", b"x")] * 10_000 + [Push("text", b"x")])
    assert await redis.smembers("resque:queues") == {b"q"}


async def test_of_several_round_trips_the_first_is_not_nothing(redis_url: str, redis: Any) -> None:
    """`StoreUnavailable` says that nothing was written."""
    store = Meanwhile(RedisOptions(url=redis_url))
    store.then = [("CONFIG", "SET", "maxmemory", "1")]
    try:
        with pytest.raises(OutcomeUnknown, match="10000 of 10001 jobs were pushed before that"):
            await queues.push(store, [Push("q", b"x")] * 10_001)
    finally:
        await redis.config_set("maxmemory", "0")
        await store.close()
    assert await redis.llen("resque:queue:q") == 10_000


async def test_full_memory(store: Store, redis: Any) -> None:
    """Nothing is written: neither jobs nor names."""
    await redis.config_set("maxmemory", "1")
    try:
        for names in (["q"], ["q", "r"]):
            with pytest.raises(StoreUnavailable, match="OOM"):
                await queues.push(store, [Push(name, b"x") for name in names])
    finally:
        await redis.config_set("maxmemory", "0")
    assert await dump(redis) == {}


@pytest.mark.parametrize("names", [["theirs"], ["ours", "theirs"]])
async def test_a_missing_right(redis_url: str, redis: Any, names: list[str]) -> None:
    """A user who may push to some queues only pushes nothing to others; what they are is not for him to ask, so
    the name of one stays.
    """
    rights = ["+@all", "~resque:queues", "~resque:queue:ours"]
    await redis.execute_command("ACL", "SETUSER", "some", "on", ">p", *rights)
    other = Store(RedisOptions(url=redis_url.replace("://", "://some:p@")))
    try:
        with pytest.raises(StoreMisconfigured, match="RPUSH resque:queue:theirs"):
            await queues.push(other, [Push(name, b"x") for name in names])
        assert await redis.smembers("resque:queues") == ({b"theirs"} if len(names) == 1 else set())
        assert not await redis.exists("resque:queue:ours")
        assert await queues.push(other, [Push("ours", b"x")])
    finally:
        await other.close()
        await redis.execute_command("ACL", "DELUSER", "some")


async def test_a_write_of_which_only_a_part_arrives(redis_url: str, redis: Any) -> None:
    """Wherever it ends, what is in a queue is listed."""
    raw = b'{"class":"C","queue":"q","args":[]}'
    commands = [(b"SADD", b"resque:queues", b"q"), (b"RPUSH", b"resque:queue:q", raw)]
    sent = b"".join(b"*%d\r\n%b" % (len(each), b"".join(map(_bulk, each))) for each in commands)
    path = urlsplit(redis_url).path
    seen = set[tuple[bool, int]]()
    for end in range(len(sent) + 1):
        with socket.socket(socket.AF_UNIX) as client:
            await asyncio.to_thread(client.connect, path)
            client.sendall(sent[:end])
            client.shutdown(socket.SHUT_WR)
            await asyncio.to_thread(client.recv, 1000)
        listed = bool(await redis.sismember("resque:queues", "q"))
        seen.add((listed, await redis.llen("resque:queue:q")))
        await redis.flushdb()
    assert seen == {(False, 0), (True, 0), (True, 1)}


def _bulk(word: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(word), word)


async def test_a_slot_that_moves_to_another_node() -> None:
    """While one key is here and the other there, nothing is pushed; then it goes on by itself."""
    async with running_cluster() as nodes:
        tag = "{resque}"
        old = owner_of(nodes, tag)
        new = next(each for each in nodes if each is not old)
        at = RedisOptions(f"redis://127.0.0.1:{old.port}", namespace=tag, cluster=True)
        async with Queue(at) as queue:
            await queue.enqueue("q", "C", [1])
            slot = key_slot(tag.encode())
            await new.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", await old.ask("CLUSTER", "MYID"))
            await old.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", await new.ask("CLUSTER", "MYID"))
            move = ("MIGRATE", "127.0.0.1", new.port, "", 0, 5000, "KEYS")
            await old.ask(*move, f"{tag}:queues")
            for jobs in ([("q", "C", [2])], [("q", "C", [2]), ("r", "C", [2])]):
                with pytest.raises(StoreUnavailable):
                    await queue.enqueue_many(jobs)
            await old.ask(*move, f"{tag}:queue:q")
            for node in (new, old):
                await node.ask("CLUSTER", "SETSLOT", slot, "NODE", await new.ask("CLUSTER", "MYID"))

            async def enqueued() -> bool:
                try:
                    return await queue.enqueue("q", "C", [3])
                except StoreUnavailable:
                    return False

            await wait_for(enqueued, 30)
            queued = [
                codec.decode_job(raw, "q").args
                for raw in await new.ask("LRANGE", f"{tag}:queue:q", 0, -1)
            ]
            assert queued == [[1], [3]]
            assert await new.ask("SMEMBERS", f"{tag}:queues") == [b"q"]
