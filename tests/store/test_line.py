"""Group commit on one connection, and what becomes of it when the connection is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis import Redis as SyncRedis

from resqpy import Queue
from resqpy.base.errors import OutcomeUnknown, StoreError, StoreUnavailable
from resqpy.embedded import PrivateServer
from resqpy.embedded.process import find_binary, major_version
from resqpy.store.connection.client import Store
from resqpy.store.connection.options import RedisOptions
from resqpy.store.connection.reachability import Away, Back
from tests.support.proxy import Proxy
from tests.support.waiting import wait_for


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Store]:
    """A store on the test's Redis."""
    made = Store(RedisOptions(redis_url))
    yield made
    await made.close()


async def test_what_is_asked_at_once_travels_together(store: Store) -> None:
    """A hundred callers in one turn of the loop cost one round trip, and each gets its own reply. Where the
    one before them was alone, so may these be: the first goes ahead.
    """
    await store.call("PING")

    for trips in (3, 4):
        replies = await asyncio.gather(*(store.call("ECHO", str(n)) for n in range(100)))

        assert replies == [str(n).encode() for n in range(100)]
        assert store.line.round_trips == trips


async def test_what_is_asked_during_a_flush_goes_in_the_next(store: Store) -> None:
    """While one flush is in flight, all others collect for one more."""
    await store.call("PING")
    first = store.line.send([("ECHO", "first")])
    assert store.line.round_trips == 2  # at once, for nobody else asks
    others = [asyncio.ensure_future(store.call("ECHO", str(n))) for n in range(50)]

    await asyncio.gather(first, *others)

    assert store.line.round_trips == 3


async def test_a_cancelled_caller_harms_nobody(store: Store) -> None:
    """One that doesn't wait any more leaves the replies of the others in order."""
    tasks = [asyncio.ensure_future(store.call("ECHO", str(n))) for n in range(10)]
    await asyncio.sleep(0)
    tasks[3].cancel()

    replies = await asyncio.gather(*tasks, return_exceptions=True)

    assert replies[:3] + replies[4:] == [str(n).encode() for n in range(10) if n != 3]


async def test_what_cannot_be_written_harms_its_own_caller_only(store: Store) -> None:
    """A wrong argument is raised where it was given; the commands of others go their way."""
    good = asyncio.ensure_future(store.call("ECHO", "good"))
    with pytest.raises(TypeError):
        await store.call("ECHO", None)  # type: ignore[arg-type]

    assert await good == b"good"


async def test_error_replies_keep_their_place(store: Store) -> None:
    """An error in the middle is a value in its place; the connection stays."""
    line = store.line
    one, two, three = await line.send([("PING",), ("NONSENSE",), ("ECHO", "x")])

    assert (one, three) == (b"PONG", b"x")
    assert isinstance(two, Exception)
    assert line.round_trips == 1


async def test_a_lost_reply_is_an_unknown_outcome(redis_url: str, redis: Any) -> None:
    """When the connection breaks before the reply, the job may be there: that is what is said."""
    async with Proxy(redis_url) as proxy, Queue(proxy.url) as queue:
        await queue.enqueue("q", "C", [1])
        proxy.lose_reply(1)

        with pytest.raises(OutcomeUnknown):
            await queue.enqueue("q", "C", [2])

        assert await redis.llen("resque:queue:q") == 2
        await queue.enqueue("q", "C", [3])  # and it goes on by itself
        assert await redis.llen("resque:queue:q") == 3


async def test_nobody_there_means_nothing_was_written() -> None:
    """A refused connection is told as such."""
    async with Queue("unix:///nowhere/at-all.sock") as queue:
        with pytest.raises(StoreUnavailable):
            await queue.enqueue("q", "C")


async def test_a_connection_that_died_in_peace_is_replaced_unnoticed(
    store: Store, redis: Any
) -> None:
    """A connection closed while nothing was in flight leaves nothing in doubt."""
    own_id = await store.call("CLIENT", "ID")
    await redis.client_kill_filter(_id=own_id)
    await wait_for(lambda: not store.line.alive)

    assert await store.call("CLIENT", "ID") != own_id


async def test_no_answer_is_given_up(redis_url: str) -> None:
    """A half-open connection is broken after the reply timeout, and a new one made."""
    async with Proxy(redis_url) as proxy:
        options = RedisOptions(proxy.url, reply_timeout_s=0.5, connect_timeout_s=0.5)
        store = Store(options)
        await store.call("PING")
        proxy.silence()

        with pytest.raises(OutcomeUnknown):
            await store.call("PING")
        with pytest.raises(StoreUnavailable):
            await store.call("PING")

        proxy.speak()
        assert await store.call("PING") == b"PONG"
        await store.close()


async def test_reopening_lets_what_is_in_flight_end(store: Store) -> None:
    """Leaving a connection takes nothing away from who waits on it."""
    own_id = await store.call("CLIENT", "ID")
    waiting = asyncio.ensure_future(store.call("ECHO", "x"))
    await asyncio.sleep(0)
    store.line.reopen()

    assert await waiting == b"x"
    assert await store.call("CLIENT", "ID") != own_id


SLOW_LOADING = ["key-load-delay 400", "loading-process-events-interval-bytes 1024"]


@pytest.mark.skipif(
    major_version(find_binary()) < 7, reason="Redis 6.2 can't be made to load slowly"
)
async def test_loading_is_not_now() -> None:
    """A Redis that loads its data did nothing, and is asked again later."""
    with PrivateServer(persistent=True, config=SLOW_LOADING) as server:
        store = Store(RedisOptions(server.url))
        await store.call("CONFIG", "SET", "key-load-delay", 0)
        await store.pipeline([("SET", f"k{n}", "x") for n in range(4000)])
        server.kill()
        starting = asyncio.ensure_future(asyncio.to_thread(server.start))
        errors: list[str] = []

        async def answered() -> bool:
            try:
                found: bytes = await store.call("GET", "k1")
            except StoreError as error:
                errors.append(str(error))
                return False
            return found == b"x"

        await wait_for(answered, 20)
        await starting
        assert any("LOADING" in error or "loading" in error for error in errors), set(errors)
        await store.close()


async def test_a_connection_that_died_before_redis_came_back_says_nothing_new(
    store: Store, redis_url: str, redis: Any
) -> None:
    """Its end is noticed late, after another one has found Redis back, and after it was used once more."""
    own_id = await store.call("CLIENT", "ID")
    told: list[type] = []
    store.options.reachability.listen(lambda change: told.append(type(change)))
    with SyncRedis.from_url(redis_url) as other:  # the loop stands still meanwhile
        other.client_kill_filter(_id=own_id)
    store.options.reachability.failed(StoreUnavailable("refused"))
    store.options.reachability.answered(surely=True)

    with pytest.raises(OutcomeUnknown):
        await store.call("PING")

    assert told == [Away, Back]


async def test_a_reply_that_was_on_its_way_when_redis_went_says_nothing_new(store: Store) -> None:
    """Only one to what was sent since then does."""
    told: list[type] = []
    store.options.reachability.listen(lambda change: told.append(type(change)))
    await store.call("PING")
    early = store.line.send([("PING",)])

    store.options.reachability.failed(StoreUnavailable("refused"))

    assert await early == [b"PONG"]
    assert told == [Away]
    await store.call("PING")
    assert told == [Away, Back]
