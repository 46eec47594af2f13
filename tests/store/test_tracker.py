"""Redis tells us of changes: at once, after every kind of loss, or it says that it can't."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from resqpy.embedded import PrivateServer
from resqpy.store.connection.client import Store
from resqpy.store.connection.options import RedisOptions
from resqpy.store.connection.tracker import Tracker, without_overlap
from resqpy.store.workers import publish_cancel
from tests.support.proxy import Proxy
from tests.support.waiting import wait_for


class Heard:
    """What a tracker told."""

    def __init__(self, url: str, prefixes: Sequence[str]) -> None:
        self.changes: list[list[bytes] | None] = []
        self.orders: list[bytes] = []
        self.reasons: list[Exception] = []
        self.store = Store(RedisOptions(url, connect_timeout_s=1.0))
        self.tracker = Tracker(
            self.store, prefixes, self.changes.append, self.orders.append, self.reasons.append
        )


@asynccontextmanager
async def tracking(url: str, *prefixes: str) -> AsyncIterator[Heard]:
    """A tracker that listens."""
    heard = Heard(url, prefixes)
    heard.tracker.ping_every_s = 0.2
    task = asyncio.ensure_future(heard.tracker.run())
    try:
        await wait_for(lambda: heard.changes or heard.reasons)
        yield heard
    finally:
        task.cancel()
        await asyncio.wait([task])
        await heard.store.close()


async def test_a_push_by_anybody_is_told(redis_url: str, redis: Any) -> None:
    """A key with one of the prefixes changes: its name is told; others are not."""
    async with tracking(redis_url, "resque:queue:", "resque:queues") as heard:
        assert heard.changes == [None]
        assert heard.tracker.live
        await redis.set("resque:other", "x")
        await redis.rpush("resque:queue:q", "x")
        await wait_for(lambda: len(heard.changes) == 2)
        assert heard.changes[1] == [b"resque:queue:q"]


async def test_a_flush_may_have_changed_anything(redis_url: str, redis: Any) -> None:
    """FLUSHALL is told as "look at everything"."""
    async with tracking(redis_url, "resque:queue:") as heard:
        await redis.flushall()
        await wait_for(lambda: heard.changes == [None, None])


async def test_a_killed_connection_is_made_anew(redis_url: str, redis: Any) -> None:
    """After CLIENT KILL it connects again and has everything looked at, as changes were missed."""
    async with tracking(redis_url, "resque:queue:") as heard:
        await redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await wait_for(lambda: heard.changes == [None, None])
        await redis.rpush("resque:queue:q", "x")
        await wait_for(lambda: heard.changes[-1] == [b"resque:queue:q"])


async def test_a_half_open_connection_is_noticed(redis_url: str, redis: Any) -> None:
    """A connection on which nothing comes any more fails its ping, and a new one is made."""
    async with Proxy(redis_url) as proxy, tracking(proxy.url, "resque:queue:") as heard:
        heard.tracker.pong_within_s = 0.2
        proxy.silence()
        await wait_for(lambda: not heard.tracker.live)
        heard.tracker.pong_within_s = 5.0
        proxy.speak()
        await wait_for(lambda: heard.changes == [None, None])
        await redis.rpush("resque:queue:q", "x")
        await wait_for(lambda: heard.changes[-1] == [b"resque:queue:q"])


async def test_a_renewed_connection_looks_at_everything(redis_url: str) -> None:
    """`renew` leaves the connection for a new one."""
    async with tracking(redis_url, "resque:queue:") as heard:
        heard.tracker.renew()
        await wait_for(lambda: heard.changes == [None, None])


async def test_where_tracking_is_forbidden_orders_are_heard_all_the_same(
    redis_server: PrivateServer, redis: Any
) -> None:
    """The reason is told once, `live` stays false, and the control channel works."""
    await redis.execute_command(
        "ACL", "SETUSER", "plain", "on", ">pw", "~*", "&*", "+@all", "-client", "+client|id"
    )
    try:
        url = redis_server.url.replace("unix://", "unix://plain:pw@")
        async with tracking(url, "resque:queue:") as heard:
            await wait_for(lambda: heard.changes)
            assert not heard.tracker.live
            assert "no permissions" in str(heard.reasons[0])
            assert await publish_cancel(heard.store, "some worker") == 1
            await wait_for(lambda: heard.orders)
            heard.tracker.renew()
            await wait_for(lambda: len(heard.changes) == 2)
            assert len(heard.reasons) == 1
    finally:
        await redis.execute_command("ACL", "DELUSER", "plain")


async def test_orders_reach_every_process(redis_url: str) -> None:
    """An order on the control channel is heard by all who listen."""
    async with tracking(redis_url, "a") as one, tracking(redis_url, "a") as two:
        assert await publish_cancel(one.store, "w") == 2
        await wait_for(lambda: one.orders and two.orders)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (["b", "a"], ["a", "b"]),
        (["q:a", "q:ab", "q:a:b", "q:b"], ["q:a", "q:b"]),
        (["q:", "q:a", "queues"], ["q:", "queues"]),
        (["a", "a"], ["a"]),
    ],
)
def test_prefixes_do_not_overlap(given: list[str], kept: list[str]) -> None:
    """Redis refuses two prefixes of which one begins with the other; the shorter is enough."""
    assert without_overlap(given) == kept
