"""`Limit(…, foreign="count")`: what workers of other languages run under a limit has places, too."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy import Limit, Resque, UsageError
from resqpy.base.clock import SYSTEM_CLOCK, iso_utc
from resqpy.base.errors import Deposed
from resqpy.base.limits import AnyLimit, Rate, texts_by_name
from resqpy.engine.scheduler import foreign_limits
from resqpy.engine.scheduler.foreign_limits import REST_S, STEP_S, ForeignLimitsChore
from resqpy.engine.worker.identity import worker_id
from resqpy.framework.api.scheduler import Scheduler
from resqpy.store import limits
from resqpy.store.exchange import SlotRef
from tests.engine.test_limits import SLOTS, Desk, numbers, raw
from tests.support.leading import Leading
from tests.support.waiting import wait_for

RUBY, NODE, PHP = "ruby-host:22:q", "node-host:11+1:q", "php-host:33:q"
SLOTS_OF, PARKED = "resque:resqpy:limits:slots:", "resque:resqpy:limits:parked"
COUNTED: list[AnyLimit] = [Limit(2, foreign="count")]


def ruby(*args: Any, name: str = "C") -> bytes:
    """A record as Ruby writes it, with its spaces, order and time."""
    job = json.dumps({"class": name, "args": args}, separators=(",", ":"), ensure_ascii=False)
    return b'{"queue":"q","run_at":"2026-11-21T00:27:20Z","payload":%b}' % job.encode()


NODE_RECORD = (
    b'{"run_at":"Fri Nov 20 2026 19:27:20 GMT-0500 (Eastern Standard Time)","worker":"node-host:11+1",'
    b'"payload":{"queue":"q","class":"C","args":[1]},"queue":"q"}'
)
RAILS = (
    b'{"queue":"q","run_at":"2026-11-21T00:27:20Z","payload":{"class":'
    b'"ActiveJob::QueueAdapters::ResqueAdapter::JobWrapper","args":[{"job_class":"C","job_id":"x",'
    b'"queue_name":"q","priority":null,"arguments":[7,{"a":"acme","_aj_ruby2_keywords":["a"]}],'
    b'"executions":0,"locale":"en"}]}}'
)


class Scene(Leading):
    """With the chore that counts."""

    def __init__(self, url: str) -> None:
        super().__init__(url, SYSTEM_CLOCK.now_ms())
        self.chore = ForeignLimitsChore(self.store)

    async def look(self) -> float:
        """Let it run once."""
        return await self.run(self.chore)


@pytest.fixture
async def scene(redis_url: str, redis: Redis) -> AsyncIterator[Scene]:
    """A leader; ten jobs wait."""
    await redis.sadd("resque:queues", "q")
    await redis.rpush("resque:queue:q", *map(raw, range(10)))
    async with Scene(redis_url) as made:
        yield made


@pytest.fixture
async def desk(redis_url: str) -> AsyncIterator[Desk]:
    """Exchanges of our workers."""
    made = Desk(redis_url)
    yield made
    await made.exchange.close()
    await made.store.close()


async def runs(redis: Redis, worker_id: str, record: bytes | None, silent_s: int = 0) -> None:
    """A foreign worker runs a job, or none."""
    await redis.sadd("resque:workers", worker_id)
    seen = iso_utc((SYSTEM_CLOCK.now_ms() - silent_s * 1000) * 1000)[:19]
    await redis.hset("resque:workers:heartbeat", worker_id, f"{seen}+00:00")
    if record is None:
        await redis.delete(f"resque:worker:{worker_id}")
    else:
        await redis.set(f"resque:worker:{worker_id}", record)


async def test_a_job_that_ruby_runs_has_a_place(scene: Scene, desk: Desk, redis: Redis) -> None:
    """One of two: ours runs one job; when Ruby's has ended, what was parked has a turn."""
    await limits.announce(desk.store, {"C": COUNTED})
    await runs(redis, RUBY, ruby(1))
    assert await scene.look() == STEP_S
    first = await desk([], SLOTS[:3], ["q"])
    assert (numbers(first), await redis.zcard(PARKED)) == ([0], 1)
    shown = (await Resque.limits(desk_resque(desk)))["C"]
    assert (shown.counts_foreign, RUBY in shown.running, len(shown.running)) == (True, True, 2)

    await runs(redis, RUBY, None)
    await scene.look()
    assert numbers(await desk([], SLOTS[3:6], ["q"])) == [1]
    assert await redis.scard(f"{SLOTS_OF}C") == 2
    assert await redis.keys("resque:resqpy:limits:lease:*") == []


def desk_resque(desk: Desk) -> Resque:
    """The read side."""
    return Resque(desk.store)


async def test_more_than_may_run_are_counted(scene: Scene, desk: Desk, redis: Redis) -> None:
    """They run already; ours wait until there is room."""
    await limits.announce(desk.store, {"C": COUNTED})
    for number, record in ((1, ruby(1)), (2, ruby(2)), (3, ruby(3))):
        await runs(redis, f"ruby-host:{number}:q", record)
    await scene.look()
    assert await redis.scard(f"{SLOTS_OF}C") == 3
    assert numbers(await desk([], SLOTS, ["q"])) == []
    for number in (1, 2):
        await runs(redis, f"ruby-host:{number}:q", None)
    await scene.look()
    assert numbers(await desk([], SLOTS, ["q"])) == [0]


@pytest.mark.parametrize(
    ("limit", "record", "key"),
    [
        (Limit(2, per="a", foreign="count"), ruby({"a": "acme"}), "C:a=acme"),
        (Limit(2, per="a", foreign="count"), ruby({"b": 1}), "C:a="),
        (Limit(2, per="a", foreign="count"), ruby({"a": [1]}), "C:a=?"),
        (Limit(2, per="a", foreign="count"), ruby({"a": 3.0}), "C:a=3"),
        (Limit(2, per="a", foreign="count"), ruby({"a": True}), "C:a=true"),
        (Limit(2, per="a", foreign="count"), ruby({"a": "x" * 70_000}), "C:a=?"),
        (Limit(2, per="a", foreign="count"), RAILS, "C:a=acme"),
        (Limit(2, per="#1", foreign="count", name="one"), ruby("x", 2), "one=x"),
        (Limit(2, per="#1", foreign="count", name="one"), RAILS, "one=7"),
        (Limit(2, name="shared", foreign="count"), NODE_RECORD, "shared"),
    ],
)
async def test_the_key_is_that_of_the_exchange(
    scene: Scene, desk: Desk, redis: Redis, limit: Limit, record: bytes, key: str
) -> None:
    """Whoever wrote the record: a job of the same arguments would be parked under it."""
    await limits.announce(desk.store, {"C": [limit, Rate(1000)]})
    await runs(redis, RUBY, record)
    await scene.look()
    assert await redis.keys(f"{SLOTS_OF}*") == [f"{SLOTS_OF}{key}".encode()]
    await desk_resque(desk).set_limit(limit.name_in("C"), 1)
    await redis.delete("resque:queue:q")
    await redis.rpush("resque:queue:q", json.dumps(json.loads(record)["payload"]))
    assert numbers_taken(await desk([], SLOTS, ["q"])) == 0
    assert await redis.zrange(PARKED, 0, -1) == [f"{key}\nq".encode()]


def numbers_taken(exchanged: Any) -> int:
    """How many."""
    return len(exchanged.taken)


async def test_without_such_a_limit_it_rests(scene: Scene, desk: Desk, redis: Redis) -> None:
    """One command a minute; the key of its names wakes it."""
    await limits.announce(desk.store, {"C": [Limit(2)]})
    await runs(redis, RUBY, ruby(1))
    await redis.config_resetstat()
    assert await scene.look() == REST_S
    used = {name: each["calls"] for name, each in (await redis.info("commandstats")).items()}
    assert used == {"cmdstat_config|resetstat": 1, "cmdstat_hgetall": 1}
    assert await redis.keys(f"{SLOTS_OF}*") == []
    assert scene.chore.prefixes == ("resque:resqpy:limits:foreign",)


async def test_other_classes_and_our_workers_are_not_counted(
    scene: Scene, desk: Desk, redis: Redis
) -> None:
    """Nor idle workers, nor what can't be read."""
    await limits.announce(desk.store, {"C": COUNTED})
    await runs(redis, RUBY, ruby(1, name="D"))
    await runs(redis, NODE, b"{junk")
    await runs(redis, PHP, None)
    ours = SlotRef.of(worker_id(1, "abcdefgh", "q"), "1")
    await desk([], [ours], ["q"])
    await redis.sadd("resque:workers", ours.worker_id)
    await scene.look()
    assert await redis.smembers(f"{SLOTS_OF}C") == {ours.worker_id.encode()}


@pytest.mark.parametrize("rescued", [False, True])
async def test_a_leader_that_is_gone_blocks_nobody(
    scene: Scene, desk: Desk, redis: Redis, *, rescued: bool
) -> None:
    """The places expire; whoever meets the limit drops them, as does the process that rescues."""
    await limits.announce(desk.store, {"C": [Limit(1, foreign="count")]})
    await runs(redis, RUBY, ruby(1))
    await scene.look()
    assert numbers(await desk([], SLOTS[:1], ["q"])) == []
    [lease] = await redis.keys("resque:resqpy:limits:lease:*")
    assert 0 < await redis.pttl(lease) <= foreign_limits.LEASE_MS
    await redis.delete(lease)  # its time is over
    await redis.delete("resque:resqpy:limits:looked:C")
    if rescued:
        [(parked, room)] = await limits.parked_now(desk.store)
        assert room == 1
        await limits.give_turn(desk.store, [parked])
    else:
        await desk_resque(desk).set_limit("C", 1)
    assert numbers(await desk([], SLOTS[:1], ["q"])) == [0]
    assert await redis.smembers(f"{SLOTS_OF}C") == {SLOTS[0].worker_id.encode()}


async def test_a_killed_worker_is_not_counted(scene: Scene, desk: Desk, redis: Redis) -> None:
    """Its record stays until somebody prunes it; PHP's workers never send a heartbeat, and are."""
    await limits.announce(desk.store, {"C": COUNTED})
    await runs(redis, RUBY, ruby(1))
    await runs(redis, PHP, ruby(2))
    await redis.hdel("resque:workers:heartbeat", PHP)
    await scene.look()
    assert await redis.scard(f"{SLOTS_OF}C") == 2
    await runs(redis, RUBY, ruby(1), silent_s=301)
    await scene.look()
    assert await redis.smembers(f"{SLOTS_OF}C") == {f"slot:foreign:{PHP}".encode()}


async def test_another_job_of_the_worker(scene: Scene, desk: Desk, redis: Redis) -> None:
    """Of another key: the place goes along."""
    await limits.announce(desk.store, {"C": [Limit(2, per="a", foreign="count")]})
    for value in ("one", "two"):
        await runs(redis, RUBY, ruby({"a": value}))
        await scene.look()
        assert await redis.keys(f"{SLOTS_OF}*") == [f"{SLOTS_OF}C:a={value}".encode()]


async def test_the_limit_counts_no_more(scene: Scene, desk: Desk, redis: Redis) -> None:
    """Another version of the code says so, or none has it: the places are given back."""
    for after in ([Limit(2)], [Limit(2, name="other", foreign="count")]):
        await limits.announce(desk.store, {"C": COUNTED})
        await runs(redis, RUBY, ruby(1))
        await scene.look()
        assert await redis.scard(f"{SLOTS_OF}C") == 1
        await limits.announce(desk.store, {"C": after})
        await scene.look()
        assert await redis.scard(f"{SLOTS_OF}C") == 0
    assert await redis.hgetall("resque:resqpy:limits:foreign") == {b"other": b"count"}


async def test_many_workers_are_looked_at_in_turn(
    scene: Scene, desk: Desk, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many at a look; the places live as long as a round takes."""
    monkeypatch.setattr(foreign_limits, "MOST", 2)
    await limits.announce(desk.store, {"C": COUNTED})
    for number in range(5):
        await runs(redis, f"ruby-host:{number}:q", ruby(number))
    counts = []
    for _ in range(4):
        await scene.look()
        counts.append(await redis.scard(f"{SLOTS_OF}C"))
    assert counts == [2, 4, 5, 5]
    lease = await redis.pttl("resque:resqpy:limits:lease:slot:foreign:ruby-host:0:q")
    assert 2 * foreign_limits.LEASE_MS < lease <= 3 * foreign_limits.LEASE_MS


async def test_a_leader_that_was_deposed_writes_nothing(
    scene: Scene, desk: Desk, redis: Redis
) -> None:
    """Another counts."""
    await limits.announce(desk.store, {"C": COUNTED})
    await runs(redis, RUBY, ruby(1))
    await scene.take_over("another/9")
    with pytest.raises(Deposed):
        await scene.look()
    assert await redis.keys(f"{SLOTS_OF}*") == []


async def test_a_scheduler_counts(desk: Desk, redis_url: str, redis: Redis) -> None:
    """From the moment at which the code of a worker says so, and until the job ends."""
    scheduler = Scheduler(redis_url)
    await scheduler.start()
    try:
        await runs(redis, RUBY, ruby(1))
        await limits.announce(desk.store, {"C": COUNTED})
        await wait_for(lambda: redis.scard(f"{SLOTS_OF}C"))
        await runs(redis, RUBY, None)

        async def free() -> bool:
            return not await redis.scard(f"{SLOTS_OF}C")

        await wait_for(free)
    finally:
        await scheduler.end()


def test_what_it_can_be() -> None:
    """Nothing else; and two tasks that share a limit say the same of it."""
    with pytest.raises(UsageError, match="neither 'count' nor None"):
        Limit(1, foreign="counts")
    two: dict[str, list[AnyLimit]] = {
        "A": [Limit(1, name="x")], "B": [Limit(1, name="x", foreign="count")],
    }  # fmt: skip
    with pytest.raises(UsageError, match="1 in the task 'A' and 1 count in 'B'"):
        texts_by_name(two)
