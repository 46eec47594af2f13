"""Jobs of dead resqpy workers come back; see `resqpy/engine/scheduler/rescue.py` for the rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy.base import codec, job_records
from resqpy.base.model import WorkerId
from resqpy.engine.scheduler.rescue import RescueChore
from resqpy.engine.worker.identity import ids_of, incarnation_of, life
from resqpy.store import rescue, workers
from resqpy.store.connection.client import Store
from resqpy.store.exchange import ClaimedJob, Exchange, SlotRef
from tests.support.leading import LeadingScheduler

INCARNATION = "abcd1234"
JOB = b'{"class":"Echo","queue":"mail","args":[1.0,18446744073709551616]}'


def worker_id(number: int, incarnation: str = INCARNATION) -> WorkerId:
    """One of our ids."""
    return WorkerId("host+resqpy", f"1-{number}-{incarnation}", "mail")


async def die_with(
    store: Store, *jobs: bytes, silent_s: float = 100, ids: Sequence[WorkerId] = ()
) -> list[ClaimedJob]:
    """Let a process take jobs and die; its last sign of life was `silent_s` ago."""
    ids = ids or [worker_id(n + 1) for n in range(len(jobs))]
    await workers.register(store, INCARNATION, ids, "2026-11-21 00:00:00 +0000")
    await store.call("RPUSH", "resque:queue:mail", *jobs)
    exchange = Exchange(store)
    taken = []
    for n, each in enumerate(ids):
        reply = await exchange.run(
            [], [SlotRef.of(each)], ["mail"], f"2026-11-21T00:00:00.00000{n}Z"
        )
        taken += reply.taken
    await exchange.close()
    await store.call("ZINCRBY", store.keys.processes, -silent_s, INCARNATION)
    return taken


async def the_entry(redis: Redis) -> bytes:
    """The only failed entry."""
    entries = await redis.lrange("resque:failed", 0, -1)
    assert len(entries) == 1
    return bytes(entries[0])  # type: ignore[arg-type]


class Scene(LeadingScheduler):
    """With the chore that rescues."""

    chore: RescueChore

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(url, **options)
        self.chore = RescueChore(self.store, 30, self.tell)


@pytest.mark.promise("killed", "plain")
async def test_jobs_return_to_the_head_in_their_old_order(redis_url: str, redis: Redis) -> None:
    """What a dead process had taken stands before what waited, byte for byte, and it is forgotten."""
    async with Scene(redis_url) as scene:
        first, second = JOB, b'{"class":"Echo", "args":[],"x":1}'
        await die_with(scene.store, first, second)
        await redis.rpush("resque:queue:mail", b"waiting")
        await scene.look()
        assert await redis.lrange("resque:queue:mail", 0, -1) == [first, second, b"waiting"]
        assert await redis.smembers("resque:workers") == set()
        assert await redis.hgetall("resque:workers:heartbeat") == {}
        assert await redis.keys("resque:worker:*") == []
        assert await redis.zcard("resque:resqpy:processes") == 0
        second_id, first_id = str(worker_id(2)), str(worker_id(1))
        cleaned = [told[0] for told in scene.told_of("clean_stuck_worker")]
        assert cleaned == [second_id, first_id]
        back = [(second_id, "mail", "Echo", 1), (first_id, "mail", "Echo", 1)]
        assert scene.told_of("put_back") == back


@pytest.mark.parametrize("silent", [True, False])
async def test_a_process_that_somebody_forgot(
    redis_url: str, redis: Redis, *, silent: bool
) -> None:
    """An older leader for example: it was last seen when its workers' heartbeats say so."""
    async with Scene(redis_url) as scene:
        await die_with(scene.store, JOB)
        await redis.delete("resque:resqpy:processes")
        if silent:
            beat = "2026-11-21T00:00:00+00:00"
            await redis.hset("resque:workers:heartbeat", str(worker_id(1)), beat)
        await scene.look()
        assert await redis.llen("resque:queue:mail") == silent
        assert await redis.scard("resque:workers") != silent
        assert await redis.zcard("resque:resqpy:processes") != silent


async def test_the_living_are_left_alone(redis_url: str, redis: Redis) -> None:
    """A process whose last sign of life is younger than the limit keeps its job, however long."""
    async with Scene(redis_url) as scene:
        await die_with(scene.store, JOB, silent_s=20)
        await scene.look()
        assert await redis.llen("resque:queue:mail") == 0
        assert await redis.exists(f"resque:worker:{worker_id(1)}") == 1


async def test_one_that_wakes_up_is_not_rescued(redis_url: str, redis: Redis) -> None:
    """A sign of life between the look and the rescue voids the rescue."""
    async with Scene(redis_url) as scene:
        await die_with(scene.store, JOB)
        leadership = scene.scheduler.leadership()
        assert leadership is not None
        await workers.register(scene.store, INCARNATION, [worker_id(1)], "x")
        now_s = leadership.clock.now_ms() / 1000
        await scene.chore._bury(leadership, INCARNATION, [str(worker_id(1))], now_s - 30, 100)
        assert await redis.llen("resque:queue:mail") == 0
        assert await redis.zcard("resque:resqpy:processes") == 1
        assert scene.told == []


async def test_bytes_kept_apart_come_back(redis_url: str, redis: Redis) -> None:
    """A job that no record can show is returned with its exact bytes."""
    async with Scene(redis_url) as scene:
        bad = b'{"class":"Echo","args":["\xff\xfe", NaN]}'
        await die_with(scene.store, bad)
        await scene.look()
        assert await redis.lrange("resque:queue:mail", 0, -1) == [bad]
        assert await redis.keys("resque:resqpy:held:*") == []


@pytest.mark.promise("killed", "at most once")
async def test_at_most_once_goes_to_failed(redis_url: str, redis: Redis) -> None:
    """A run that was marked as not to be repeated ends in the failed list."""
    async with Scene(redis_url) as scene:
        (taken,) = await die_with(scene.store, JOB)
        await workers.mark_at_most_once(scene.store, str(worker_id(1)), taken.claim.beginning)
        await scene.look()
        entry = await the_entry(redis)
        failed = job_records.decode_failed(entry)
        assert (failed.exception, failed.job_raw, failed.queue) == ("WorkerDied", JOB, "mail")
        assert await redis.llen("resque:queue:mail") == 0
        assert await redis.hgetall("resque:resqpy:at_most_once") == {}
        assert await redis.get("resque:stat:failed") == b"1"


async def test_a_record_that_is_not_ours_is_kept(redis_url: str, redis: Redis) -> None:
    """What stands in the place of a record and can't be read goes to failed with its bytes."""
    async with Scene(redis_url) as scene:
        await die_with(scene.store, JOB)
        await redis.set(f"resque:worker:{worker_id(1)}", b"what is this?")
        await scene.look()
        failed = job_records.decode_failed(await the_entry(redis))
        assert (failed.exception, failed.job_raw) == ("PayloadError", b"what is this?")


async def test_large_bytes_are_kept_beside_the_entry(redis_url: str, redis: Redis) -> None:
    """A large job that no record can show and that may run only once keeps its bytes."""
    async with Scene(redis_url) as scene:
        bad = b'{"class":"Echo","args":["' + b"\xff" * 70_000 + b'"]}'
        (taken,) = await die_with(scene.store, bad)
        await workers.mark_at_most_once(scene.store, str(worker_id(1)), taken.claim.beginning)
        await scene.look()
        failed = job_records.decode_failed(await the_entry(redis))
        assert failed.unreadable is not None
        assert await redis.get(f"resque:resqpy:unreadable:{failed.unreadable}") == bad


async def test_snoozes_are_not_forgotten(redis_url: str, redis: Redis) -> None:
    """By the rescue of a job that was snoozed before; whoever takes it next knows both."""
    key, digest = "resque:resqpy:rescues", codec.digest(JOB)
    async with Scene(redis_url) as scene:
        await redis.hset(key, digest, "0/1/2")
        await die_with(scene.store, JOB)
        await scene.look()
        [note] = await rescue.notes(scene.store, [digest])
        assert (note.rescues, note.snoozed) == (1, 2)
        assert await redis.lpop("resque:queue:mail") == JOB
        [again] = await die_with(scene.store, JOB)
        assert (again.claim.rescues, again.claim.snoozed) == (1, 2)


async def test_old_notes_are_forgotten_now_and_then(redis_url: str, redis: Redis) -> None:
    """All are read for it, and there may be many: not at each look."""
    key = "resque:resqpy:rescues"
    async with Scene(redis_url) as scene:
        await redis.hset(key, "old", "1/1")
        await scene.look()
        assert not await redis.exists(key)
        await redis.hset(key, "old", "1/1")
        await scene.look()
        assert await redis.hlen(key) == 1


async def test_a_poison_pill_is_condemned_after_three_rescues(redis_url: str, redis: Redis) -> None:
    """The loss after three rescues of a job that was alone sends it to failed, by name."""
    async with Scene(redis_url) as scene:
        for _ in range(3):
            await die_with(scene.store, JOB)
            await scene.look()
            assert await redis.lpop("resque:queue:mail") == JOB
        assert await redis.hlen("resque:resqpy:rescues") == 1
        await die_with(scene.store, JOB)
        await scene.look()
        entry = await the_entry(redis)
        assert job_records.decode_failed(entry).exception == "PoisonPill"
        assert await redis.llen("resque:queue:mail") == 0
        assert await redis.hlen("resque:resqpy:rescues") == 0


async def test_jobs_lost_together_are_not_condemned(redis_url: str, redis: Redis) -> None:
    """However often two jobs die in one process, neither is called the poison."""
    async with Scene(redis_url) as scene:
        other = b'{"class":"Other","queue":"mail","args":[]}'
        for _ in range(4):
            await die_with(scene.store, JOB, other)
            await scene.look()
            assert await redis.lrange("resque:queue:mail", 0, -1) == [JOB, other]
            await redis.delete("resque:queue:mail")
        assert await redis.llen("resque:failed") == 0


async def test_a_queue_that_is_no_list_harms_nobody_else(redis_url: str, redis: Redis) -> None:
    """A job that can't go back to its queue goes to failed, and the other dead are rescued."""
    async with Scene(redis_url) as scene:
        await die_with(scene.store, JOB, b'{"class":"Other","queue":"mail","args":[]}')
        await redis.set("resque:queue:mail", "no list")
        await scene.look()
        raws = await redis.lrange("resque:failed", 0, -1)
        entries = [job_records.decode_failed(raw) for raw in raws]  # type: ignore[arg-type]
        assert [entry.exception for entry in entries] == ["StoreError", "StoreError"]
        assert entries[1].job_raw == JOB
        assert await redis.zcard("resque:resqpy:processes") == 0
        assert await redis.keys("resque:worker:*") == []


@pytest.mark.promise("killed", "locked")
async def test_the_locks_of_the_dead_are_freed(redis_url: str, redis: Redis) -> None:
    """A JobLock that the dead worker still held is freed; one that another has by now is not."""
    async with Scene(redis_url) as scene:
        await die_with(scene.store, JOB)
        held = f"resque:resqpy:job_locks:{worker_id(1)}"
        await redis.hset(held, "resque:workerslock:a", "1")
        await redis.hset(held, "resque:workerslock:b", "2")
        await redis.mset({"resque:workerslock:a": "1", "resque:workerslock:b": "3"})
        await scene.look()
        assert await redis.keys("resque:workerslock*") == [b"resque:workerslock:b"]


@pytest.mark.parametrize("kept", ["job_locks", "held"])
async def test_what_a_pruned_worker_of_a_dead_process_has_is_freed(
    redis_url: str, redis: Redis, kept: str
) -> None:
    """Ruby has removed one of its workers, with its record, just before the process died: nobody would look for
    what is kept by its id alone, a JobLock or bytes beside the record.
    """
    async with Scene(redis_url) as scene:
        lived = life(3, "mail")
        ids = [WorkerId.parse(each) for each in ids_of(INCARNATION, lived)]
        await die_with(scene.store, JOB, ids=ids[:2])
        await redis.hset("resque:resqpy:lives", INCARNATION, lived)
        for each in map(str, (ids[0], ids[2])):
            await redis.srem("resque:workers", each)
            await redis.hdel("resque:workers:heartbeat", each)
            await redis.delete(f"resque:worker:{each}", f"resque:worker:{each}:started")
            name = f"resque:resqpy:{kept}:{each}"
            if kept == "job_locks":
                await redis.hset(name, "resque:workerslock:a", "1")
                await redis.set("resque:workerslock:a", "1")
            else:
                await redis.set(name, JOB)
            assert await redis.exists(name)
        await scene.look()
        assert await redis.keys("resque:workerslock*") == []
        assert await redis.keys(f"resque:resqpy:{kept}:*") == []
        assert await redis.zcard("resque:resqpy:processes") == 0


async def test_a_worker_that_leaves_frees_the_locks_of_a_run_without_a_record(
    redis_url: str, redis: Redis
) -> None:
    """Ruby has removed the record while the job ran, and the end that frees its JobLock was not heard. One with
    a record keeps its lock, and what is no hash is left alone.
    """
    async with Scene(redis_url) as scene:
        ids = [worker_id(n) for n in (1, 2, 3)]
        await die_with(scene.store, JOB, ids=ids[:1])
        for n, each in enumerate(ids[:2]):
            await redis.hset(f"resque:resqpy:job_locks:{each}", f"resque:workerslock:{n}", "1")
            await redis.hset(f"resque:resqpy:job_locks:{each}", "resque:workerslock:other", "1")
            await redis.set(f"resque:workerslock:{n}", "1")
        await redis.set("resque:workerslock:other", "2")
        await redis.set(f"resque:resqpy:job_locks:{ids[2]}", "junk")

        assert await workers.leave(scene.store, INCARNATION, ids, process=True) == ids[:1]
        assert sorted(await redis.keys("resque:workerslock*")) == [
            b"resque:workerslock:0",
            b"resque:workerslock:other",
        ]
        kept = {f"resque:resqpy:job_locks:{each}".encode() for each in (ids[0], ids[2])}
        assert set(await redis.keys("resque:resqpy:job_locks:*")) == kept


async def test_workers_without_a_process_are_given_time(redis_url: str, redis: Redis) -> None:
    """Registered workers of ours whose process is not known count as alive from now on."""
    async with Scene(redis_url) as scene:
        await die_with(scene.store, JOB)
        await redis.delete("resque:resqpy:processes")
        await scene.look()
        assert await redis.zcard("resque:resqpy:processes") == 1
        assert await redis.llen("resque:queue:mail") == 0
        await scene.store.call("ZINCRBY", scene.store.keys.processes, -100, INCARNATION)
        await scene.look()
        assert await redis.lrange("resque:queue:mail", 0, -1) == [JOB]


async def test_a_later_version_names_its_workers_otherwise(redis_url: str, redis: Redis) -> None:
    """Its dead are rescued like ours: its ids have one host for each machine."""
    ours = f"host+resqpy:1-1-{INCARNATION}:mail"
    async with Scene(redis_url) as scene:
        await workers.register(
            scene.store, INCARNATION, [WorkerId.parse(ours)], "2026-11-21 00:00:00 +0000"
        )
        await scene.store.call("RPUSH", "resque:queue:mail", JOB)
        exchange, place = Exchange(scene.store), SlotRef.of(WorkerId.parse(ours))
        await exchange.run([], [place], ["mail"], "2026-11-21T00:00:00.000000Z")
        await exchange.close()
        await scene.store.call("ZINCRBY", scene.store.keys.processes, -100, INCARNATION)
        assert await redis.llen("resque:queue:mail") == 0
        await scene.look()
        assert await redis.lrange("resque:queue:mail", 0, -1) == [JOB]
        assert await redis.scard("resque:workers") == 0


def test_foreign_ids_are_not_ours() -> None:
    """Ruby's and Node's ids have no incarnation; ours have, whatever the queue is called."""
    assert incarnation_of("host:123:mail") is None
    assert incarnation_of("host:123+4:mail") is None
    assert incarnation_of(f"my-host+12-{INCARNATION}:7:a:b,c") == INCARNATION
