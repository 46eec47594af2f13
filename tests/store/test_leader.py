"""The lease and the foreign locks: who gets them, who keeps them, who may write."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from resqpy.base.errors import Deposed
from resqpy.store import leader
from resqpy.store.connection.client import Store
from resqpy.store.connection.options import RedisOptions
from resqpy.store.leader import Ballot
from tests.support.redis_state import ttls

RUBY = "resque:resque:resque_scheduler_master_lock"
NODE = "resque:resque_scheduler_leader_lock"
LEASE = "resque:resqpy:leader"


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Store]:
    """A store on the test's Redis."""
    made = Store(RedisOptions(url=redis_url))
    yield made
    await made.close()


async def stand(store: Store, name: str = "me", lease_ms: int = 10_000, prefix: str = "") -> Ballot:
    """Stand for election."""
    locks = leader.foreign_locks(store.keys, prefix)
    return await leader.campaign(store, name, lease_ms, 180, locks)


async def test_the_first_takes_all_three_locks_under_one_value(store: Store, redis: Any) -> None:
    """The value names the leader and the epoch; each lock expires by itself."""
    ballot = await stand(store)

    assert (ballot.leading, ballot.token, ballot.shared, ballot.foreign) == (
        True, "me/1", True, None,
    )  # fmt: skip
    assert [await redis.get(key) for key in (LEASE, RUBY, NODE)] == [b"me/1"] * 3
    left = await ttls(redis)
    assert 5_000 < left[LEASE] <= 10_000
    assert 175_000 < left[RUBY] <= 180_000
    assert 175_000 < left[NODE] <= 180_000


async def test_the_second_follows_and_learns_how_long(store: Store) -> None:
    """It gets nothing but the leader's token and the time until its lease ends."""
    await stand(store)
    ballot = await stand(store, "other")

    assert (ballot.leading, ballot.token, ballot.shared, ballot.foreign) == (
        False, "me/1", False, None,
    )  # fmt: skip
    assert 5_000 < ballot.lease_ms <= 10_000


async def test_standing_again_renews_with_the_same_epoch(store: Store, redis: Any) -> None:
    """So a lost reply does no harm."""
    await stand(store)
    await redis.pexpire(LEASE, 500)
    await redis.expire(NODE, 5)

    ballot = await stand(store)

    assert ballot.token == "me/1"
    left = await ttls(redis)
    assert left[LEASE] > 5_000
    assert left[NODE] > 170_000


async def test_a_successor_has_a_higher_epoch_and_takes_over_the_foreign_locks(
    store: Store, redis: Any
) -> None:
    """They would live 180 s; the record says that they belong to a leader whose lease is gone."""
    await stand(store, lease_ms=10)
    await asyncio.sleep(0.05)

    ballot = await stand(store, "other")

    assert (ballot.leading, ballot.token, ballot.shared) == (True, "other/2", True)
    assert await redis.get(RUBY) == b"other/2"


@pytest.mark.parametrize("lock", [RUBY, NODE])
async def test_a_foreign_leader_keeps_us_from_both_locks(
    lock: str, store: Store, redis: Any
) -> None:
    """All or none; the lease is ours all the same."""
    await redis.set(lock, "host:1", ex=100)

    ballot = await stand(store)

    assert (ballot.leading, ballot.shared, ballot.foreign) == (True, False, "host:1")
    assert await redis.get(lock) == b"host:1"
    assert await redis.exists(RUBY, NODE) == 1
    assert await redis.ttl(lock) <= 100


@pytest.mark.parametrize("lock", [RUBY, NODE])
async def test_losing_one_lock_gives_up_the_other(lock: str, store: Store, redis: Any) -> None:
    """Somebody deleted it by hand and a foreign scheduler took it."""
    await stand(store)
    await redis.set(lock, "host:1", ex=100)

    ballot = await stand(store)

    assert (ballot.shared, ballot.foreign) == (False, "host:1")
    assert await redis.mget(RUBY, NODE) == [
        b"host:1" if key == lock else None for key in (RUBY, NODE)
    ]
    await redis.delete(lock)
    assert (await stand(store)).shared


async def test_an_unrecorded_value_is_nobody_of_ours(store: Store, redis: Any) -> None:
    """Only the record tells, not the look of a value."""
    await redis.set(NODE, "me/1", ex=100)
    await redis.set("resque:resqpy:leader:epoch", 41)

    ballot = await stand(store)

    assert (ballot.token, ballot.shared, ballot.foreign) == ("me/42", False, "me/1")


async def test_a_lock_of_another_kind_is_a_foreign_one(store: Store, redis: Any) -> None:
    """It stops neither the election nor is it overwritten."""
    await redis.rpush(NODE, "list")

    ballot = await stand(store)

    assert (ballot.leading, ballot.shared, ballot.foreign) == (True, False, "a key that is no lock")
    assert await redis.lrange(NODE, 0, -1) == [b"list"]


async def test_rubys_lock_prefix_is_part_of_the_key(store: Store, redis: Any) -> None:
    """RESQUE_SCHEDULER_MASTER_LOCK_PREFIX stands between the doubled namespace and the name."""
    await stand(store, prefix="blue")

    assert await redis.exists("resque:resque:blue:resque_scheduler_master_lock") == 1


async def test_resigning_gives_up_only_what_is_ours(store: Store, redis: Any) -> None:
    """A lock that another took in the meantime stays."""
    await stand(store)
    await redis.set(NODE, "host:1", ex=100)

    given = await leader.resign(store, "me/1", leader.foreign_locks(store.keys))

    assert given == 3  # the lease, the record, Ruby's lock
    assert await redis.exists(LEASE, RUBY) == 0
    assert await redis.get(NODE) == b"host:1"
    assert await leader.resign(store, "me/1", leader.foreign_locks(store.keys)) == 0


@pytest.mark.parametrize("key", [LEASE, RUBY, NODE])
async def test_the_fence_is_closed_when_any_key_has_another_value(
    key: str, store: Store, redis: Any
) -> None:
    """A script that was sent late does nothing."""
    await stand(store)
    fence = [LEASE, RUBY, NODE]
    keys = [store.keys.schedule, store.keys.queues, "a", "b", "c"]
    args: list[Any] = [1, 1, 1, 0, ""]
    await leader.run_fenced(store, fence, "me/1", "promote", keys, args)
    for other in ("me/2", None):
        await redis.set(key, other) if other else await redis.delete(key)
        with pytest.raises(Deposed):
            await leader.run_fenced(store, fence, "me/1", "promote", keys, args)


async def test_the_standing_names_all_three_and_their_faults(store: Store, redis: Any) -> None:
    """A lock without expiry would stop its language for ever."""
    await stand(store)
    await redis.set(RUBY, "host:7")

    python, ruby, node = await leader.standing(store)

    assert (python.language, python.holder, python.ours) == ("Python", "me/1", True)
    assert (ruby.language, ruby.holder, ruby.ours, ruby.ttl_ms) == ("Ruby", "host:7", False, None)
    assert (node.language, node.holder, node.ours) == ("Node", "me/1", True)
    assert python.ttl_ms is not None
    assert node.ttl_ms is not None


async def test_the_standing_of_an_empty_redis(store: Store) -> None:
    """Nobody leads."""
    assert [lock.holder for lock in await leader.standing(store)] == [None] * 3
