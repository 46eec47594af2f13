"""Keys of another type where limits are kept: no exchange breaks half-way, no job is lost or doubled, and all run
once the key is gone.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from resqpy import Limit, Queue, Rate, StoreError
from resqpy.base.keys import Keys
from resqpy.store import limits, queues
from resqpy.store.exchange import ClaimedJob, Exchanged
from tests.engine.test_limits import SLOTS, Desk
from tests.engine.test_task_limits import ends, put, raw
from tests.support.junk import KINDS, put_junk
from tests.support.waiting import wait_for
from tests.support.working import working

OWN = "resque:resqpy:limits"
# each key of limits that the jobs below touch, and what it is
KEPT = {
    "": "hash",
    ":holds": "hash",
    ":parked": "zset",
    ":slots:C": "set",
    ":slots:C:a=1": "set",
    ":looked:C": "string",
    ":queues:C": "set",
    ":queues:C:a=1": "set",
    ":queues:R:rate": "set",
    ":ready:q": "zset",
    ":used:R:rate": "string",
    ":wakes:q": "string",
    ":jobs:1:C:q": "list",
    ":jobs:5:C:a=1:q": "list",
    ":jobs:6:R:rate:q": "list",
    ":holders:q": "set",
    ":checked:q": "string",
}
# what they hold can't be had from anywhere else: whoever overwrites them has deleted it
SOLE = {key for key in KEPT if key.startswith(":jobs") or key == ":parked"}
JOBS = [raw(n, ("C", "R", "C")[n % 3], a=n % 2) for n in range(18)]


@pytest.fixture
async def desk(redis_url: str, redis: Any) -> AsyncIterator[Desk]:
    """Exchanges of ten slots."""
    made = Desk(redis_url)
    yield made
    await made.exchange.close()
    await made.store.close()


async def put_jobs(desk: Desk, redis: Any) -> None:
    """Jobs with limits of their queue, their task, each value of an input, and a rate."""
    await limits.limit_running(desk.store, "q", 4)
    await limits.announce(desk.store, {"C": [Limit(2), Limit(1, per="a")], "R": [Rate(500)]})
    await put(redis, *JOBS)


class Day:
    """A process that works."""

    def __init__(self, desk: Desk, redis: Any) -> None:
        self.desk, self.redis = desk, redis
        self.done: list[int] = []
        self.now: Exchanged | None = None
        self.told: list[str] = []

    async def go_on(self) -> None:
        """End what runs, and take the next."""
        before = self.now
        ended = ends(before) if before else []
        self.now = await self.desk(ended, SLOTS, ["q"])
        self.told += [words for _, words in self.now.broken]
        assert self.now.void == []
        assert self.now.unwritten == []
        if before:
            self.done += [number(each.raw or b"") for each in before.taken]

    def runs(self, task: str) -> int:
        """How many jobs of a task run."""
        taken = self.now.taken if self.now else []
        return [json.loads(each.raw or b"")["class"] for each in taken].count(task)

    async def everywhere(self) -> list[int]:
        """The jobs that are done, run, wait or are parked."""
        found = [*self.done]
        for key in await self.redis.keys("resque:*"):
            name = key.decode().removeprefix("resque:")
            kind = await self.redis.type(key)
            if kind == b"list" and (name == "queue:q" or name.startswith("resqpy:limits:jobs:")):
                jobs = await self.redis.lrange(key, 0, -1)
                found += [number(each) for each in jobs if each != b"junk"]
            elif name.startswith("worker:"):
                record = json.loads(await self.redis.get(key))
                found.append(record["payload"]["args"][0]["n"])
        return sorted(found)


def number(job: bytes) -> int:
    """Of a job."""
    return int(json.loads(job)["args"][0]["n"])


async def all_verbs(desk: Desk) -> None:
    """What users and leaders do meanwhile: it does what it says, or raises, and loses nothing."""

    async def put_back() -> None:
        for each in await queues.parked(desk.store):
            await queues.put_back(desk.store, each)

    for verb in (
        lambda: limits.set_limit(desk.store, "C", 2),
        lambda: limits.shut(desk.store, "C", 1),
        lambda: limits.limit_running(desk.store, "q", 4),
        lambda: limits.announce(desk.store, {"C": [Limit(2)], "R": [Rate(500)]}, {"q": 4}),
        lambda: limits.take_slot(desk.store, "C", limits.new_holder(), 1),
        lambda: limits.limits(desk.store),
        lambda: look_after(desk),
        put_back,
    ):
        with suppress(StoreError):
            await verb()


async def look_after(desk: Desk) -> None:
    """As the leader does."""
    told = await limits.parked_now(desk.store)
    await limits.give_turn(desk.store, [each for each, _ in told])


async def time_passes(redis: Any) -> None:
    """A second, after which each key is looked at again."""
    await redis.delete(f"{OWN}:looked:C", f"{OWN}:looked:C:a=1", f"{OWN}:checked:q")
    for key in await redis.zrange(f"{OWN}:ready:q", 0, -1):
        await redis.zadd(f"{OWN}:ready:q", {key: 0})


@pytest.mark.parametrize("when", ["before", "meanwhile"])
@pytest.mark.parametrize("key", KEPT)
async def test_a_key_of_another_type(desk: Desk, redis: Any, key: str, when: str) -> None:
    """Of each type that it is not; there before the first job, or put there while jobs run and wait."""
    for kind in [each for each in KINDS if each != KEPT[key]]:
        if when == "meanwhile" and key in SOLE:
            continue
        await redis.flushdb()
        await put_jobs(desk, redis)
        day, wanted = Day(desk, redis), [*range(len(JOBS))]
        if when == "meanwhile":
            await day.go_on()
            await day.go_on()
        await put_junk(redis, OWN + key, kind)
        for _ in range(3):
            await day.go_on()
            assert await day.everywhere() == wanted, (key, kind)
            assert day.runs("C") <= (2 if key else 10), (key, kind)
        await all_verbs(desk)
        assert await day.everywhere() == wanted, (key, kind)
        await day.go_on()
        await redis.delete(OWN + key)
        for _ in range(30):
            await time_passes(redis)
            await look_after(desk)
            await day.go_on()
        assert (sorted(day.done), key, kind) == (wanted, key, kind)


@pytest.mark.parametrize("key", ["", *KEPT])
async def test_a_user_without_rights_to_a_key(
    desk: Desk, redis: Any, redis_url: str, key: str
) -> None:
    """It is refused, or a queue is reported: whatever was taken before is put back."""
    rights = [f"~{OWN}{each}" for each in KEPT if each != key]
    others = ["~resque:[a-qs-z]*", "~resque:resqpy:[a-km-z]*", f"~{OWN}:"]
    await redis.execute_command("ACL", "SETUSER", "half", "on", ">p", "+@all", *others, *rights)
    await put_jobs(desk, redis)
    half = Desk(redis_url.replace("://", "://half:p@"))
    day = Day(half, redis)
    try:
        for _ in range(4):
            try:
                await day.go_on()
            except StoreError:
                day.now = None
            found = await day.everywhere()
            assert found == [*range(len(JOBS))]
    finally:
        await redis.execute_command("ACL", "DELUSER", "half")
        await half.exchange.close()
        await half.store.close()


@pytest.mark.parametrize("key", [":holds", ":slots:C"])
async def test_places_that_can_not_be_counted(desk: Desk, redis: Any, key: str) -> None:
    """None runs; the queue is reported, once and for all its jobs, and others are worked."""
    await limits.announce(desk.store, {"C": [Limit(2)]})
    await put(redis, *(raw(n) for n in range(6)), raw(7, "D"))
    await put_junk(redis, OWN + key, "string")
    taken: list[ClaimedJob] = []
    for _ in range(3):
        exchanged = await desk([], SLOTS[len(taken) :], ["q"])
        await redis.delete(f"{OWN}:looked:C")
        taken += exchanged.taken
        assert {queue for queue, words in exchanged.broken if OWN + key in words} <= {"q"}
    assert [number(each.raw or b"") for each in taken] == [7]


async def test_what_is_mended_while_they_run(redis_url: str, redis: Any) -> None:
    """A key that is there once is moved aside, told, and the jobs run."""
    seen: list[int] = []

    async def perform(n: int) -> None:
        seen.append(n)

    jobs = {"C": {"perform": perform, "limit": Limit(1)}}
    async with working(redis_url, jobs, "q") as work:
        await put_junk(redis, f"{OWN}:holds", "string")
        async with Queue(redis_url, jobs) as queue:
            await queue.enqueue_many([("q", "C", [n]) for n in range(4)])
        await wait_for(lambda: sorted(seen) == [0, 1, 2, 3])
        assert await redis.exists(Keys().junk(f"{OWN}:holds"))
        assert f"{OWN}:holds" in work.errors
