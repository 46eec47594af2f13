"""Workers of all languages are shown, and cleared up after, by their full ids."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from resqpy.base import job_records
from resqpy.base.clock import FixedClock, iso_utc
from resqpy.base.errors import StoreUnavailable, UsageError
from resqpy.engine.inspect.inspector import Resque
from resqpy.engine.worker.worker import Worker
from resqpy.store import workers
from tests.support.inspecting import dumps, failed_entry, round_trips
from tests.support.recordings import recorded_values, replay
from tests.support.redis_state import dump
from tests.support.waiting import wait_for

NOW_MS = 1_795_220_840_000  # 2026-11-21T00:27:20Z
NODE_ID = "h:7+1:q,r"
OURS = "h+1-abcdefgh:7:q"


@pytest.fixture
def clock() -> FixedClock:
    """The time of the test."""
    return FixedClock(NOW_MS)


@pytest.fixture
async def resque(redis_url: str, clock: FixedClock) -> AsyncIterator[Resque]:
    """Both sides on the test's Redis."""
    async with Resque(redis_url, clock=clock) as both:
        yield both


async def register(redis: Any, worker_id: str, record: bytes | None = None) -> None:
    """A worker as all three languages together would leave it."""
    name = ":".join(worker_id.split(":")[:2])
    await redis.sadd("resque:workers", worker_id)
    await redis.hset("resque:workers:heartbeat", worker_id, "2026-11-21T00:00:00+00:00")
    keys = [f"resque:worker:{worker_id}:started", f"resque:worker:ping:{name}"]
    keys += [f"resque:stat:{c}:{who}" for c in ("processed", "failed") for who in (worker_id, name)]
    await redis.mset(dict.fromkeys(keys, "1"))
    if record is not None:
        await redis.set(f"resque:worker:{worker_id}", record)


def ours(job: bytes, run_at: str = "2026-11-21T00:00:00.000001Z", queue: str = "q") -> bytes:
    """A record as our exchange writes it."""
    return job_records.work_prefix(queue, run_at) + job + job_records.work_suffix("h+1-abcdefgh:7")


def ruby(job: bytes, run_at: str = "2026-11-21T00:00:00Z") -> bytes:
    """A record as Ruby writes it."""
    return dumps({"queue": "q", "run_at": run_at, "payload": "JOB"}).replace(b'"JOB"', job)


def node(job: bytes, run_at: str = "Fri Nov 20 2026 19:00:00 GMT-0500 (EST)") -> bytes:
    """A record as Node's script writes it."""
    record = {"run_at": run_at, "worker": "h:7+1", "payload": "JOB", "queue": "q"}
    return dumps(record).replace(b'"JOB"', job)


# -- looking --


async def test_workers_by_full_id(resque: Resque, redis: Any) -> None:
    """Trap 21: two registrations of one name are two; odd ones (trap 6) are shown too."""
    await redis.sadd("resque:workers", "h:1:a", "h:1:b", "h:2:a:b,c", "odd", "odd\xff:1")

    workers = await resque.workers()

    assert [each for each in workers if workers[each].name == "h:1"] == ["h:1:a", "h:1:b"]
    assert workers["h:2:a:b,c"].queues == "a:b,c"
    assert len(workers) == 5


@pytest.mark.parametrize("name", recorded_values("working"))
async def test_records_of_all_dialects_are_shown(name: str, resque: Resque, redis: Any) -> None:
    """A recorded record has its queue, start and job."""
    record = recorded_values("working")[name]
    await redis.set("resque:worker:h:1:q", record)

    work = await resque.working_on("h:1", "q")

    assert work is not None
    assert work.queue
    assert work.run_at
    assert isinstance(work.payload, dict)
    assert work.job_raw is None, "a foreign record has no bytes of ours"


async def test_all_working_on(resque: Resque, redis: Any) -> None:
    """Trap 20: records without `worker`, or no JSON at all, are shown under their own ids."""
    job = b'{"class":"A","args":[{"worker":"bob","x":1}]}'
    await register(redis, "h:1:q", ruby(job))
    await register(redis, "h:2:q", ruby(job))
    await register(redis, "h:3:q", b"not JSON")
    await register(redis, "h:4:q")
    await register(redis, OURS, ours(job))

    with round_trips(resque.store, 2):
        working = await resque.all_working_on()

    payloads = {each: work and work.payload for each, work in working.items()}
    shown = {"class": "A", "args": [{"worker": "bob", "x": 1}]}
    assert payloads == {
        "h:1:q": shown, "h:2:q": shown, "h:3:q": None, "h:4:q": None, OURS: shown,
    }  # fmt: skip
    assert working["h:3:q"] is not None
    assert working["h:4:q"] is None
    assert (mine := working[OURS]) is not None
    assert mine.job_raw == job


async def test_working_on_by_id_by_name_and_by_name_and_queues(resque: Resque, redis: Any) -> None:
    """A name that several workers have must be completed."""
    await register(redis, "h:1:a", ruby(b"{}"))
    await register(redis, "h:2:a")
    await register(redis, "h:2:b")

    assert await resque.working_on("h:1:a") == await resque.working_on("h:1")
    assert await resque.working_on("h:1", "a") is not None
    assert await resque.working_on("h:9") is None
    with pytest.raises(UsageError, match="2 workers have the name"):
        await resque.working_on("h:2")


# -- force_clean_worker --


@pytest.mark.parametrize(
    ("worker_id", "record", "job"),
    [
        (NODE_ID, node(b'{"class":"A","args":{},"queue":"q"}'), b'{"class":"A","args":[],"queue":"q"}'),
        (NODE_ID, node(b'{"args":{"k":1},"class":"A"}'), b'{"args":{"k":1},"class":"A"}'),
        ("h:7:q", ruby(b'{"class":"A","args":{}}'), b'{"class":"A","args":{}}'),
        ("h:7:q", ruby(b'{"class":"A","args":[1.0],"x":1}'), b'{"class":"A","args":[1.0],"x":1}'),
        (OURS, ours(b'{ "args":[1.0e-05,18446744073709551616],"class":"A" }'),
         b'{ "args":[1.0e-05,18446744073709551616],"class":"A" }'),
    ],
)  # fmt: skip
async def test_a_busy_worker_is_cleaned(
    worker_id: str, record: bytes, job: bytes, resque: Resque, redis: Any
) -> None:
    """Its job is in failed in Node's shape, with all that its record had of it; nothing is left."""
    await register(redis, worker_id, record)

    entry = await resque.force_clean_worker(worker_id)

    assert entry is not None
    assert entry.job_raw == job
    assert entry.exception == entry.error == "Worker Timeout (killed manually)"
    assert (entry.queue, entry.worker) == ("q", worker_id.rpartition(":")[0])
    assert entry.backtrace[1] == "queue#forceCleanWorker"
    assert entry.failed_at == "2026/11/21 00:27:20 UTC"
    state = await dump(redis)
    assert state == {"resque:failed": [entry.raw.decode()], "resque:stat:failed": "1"}
    assert await resque.retry_stuck_jobs() == 1
    assert await redis.lrange("resque:queue:q", 0, -1) == [job]


@pytest.mark.parametrize("size", [20, 100_000])
async def test_held_bytes_are_kept(size: int, resque: Resque, redis: Any) -> None:
    """A job whose bytes could not stand in the record comes back exactly, whatever its size."""
    poison = b"\xff" * size
    await register(redis, OURS, ours(job_records.HELD_PAYLOAD))
    await redis.set(f"resque:resqpy:held:{OURS}", poison)

    entry = await resque.force_clean_worker(OURS)

    assert entry is not None
    assert entry.class_name == job_records.UNREADABLE
    assert await redis.keys("resque:resqpy:held:*") == []
    assert await resque.retry_and_remove_failed(entry)
    assert await redis.lrange("resque:queue:q", 0, -1) == [poison]
    assert await redis.keys("resque:resqpy:*") == []


async def test_held_bytes_that_are_a_good_job(resque: Resque, redis: Any) -> None:
    """What was held only because it is large stands in the entry as it is."""
    job = dumps({"class": "A", "args": ["x" * 70_000]})
    await register(redis, OURS, ours(job_records.HELD_PAYLOAD))
    await redis.set(f"resque:resqpy:held:{OURS}", job)

    entry = await resque.force_clean_worker(OURS)

    assert entry is not None
    assert entry.job_raw == job


async def test_a_record_that_is_no_json(resque: Resque, redis: Any) -> None:
    """Its bytes are kept, and its entry harms nobody."""
    await register(redis, "h:1:q", b"\xffrubbish")

    entry = await resque.force_clean_worker("h:1:q")

    assert entry is not None
    assert entry.job_raw == b"\xffrubbish"
    assert entry.queue == ""


async def test_junk_around_a_worker_does_not_hold_its_cleaning_up(
    resque: Resque, redis: Any
) -> None:
    """A queue that is a number, an id that is no UTF-8, a counter that is none: one failed entry."""
    await redis.sadd("resque:workers", b"\xff:1:q")
    await redis.set(b"resque:worker:\xff:1:q", b'{"queue":5,"payload":"x"}')
    await redis.set("resque:stat:failed", "many")
    [worker_id] = await resque.all_working_on()

    await resque.force_clean_worker(worker_id)
    again = await resque.force_clean_worker(worker_id)

    assert again is None
    assert await redis.smembers("resque:workers") == set()
    [entry] = await redis.lrange("resque:failed", 0, -1)
    assert job_records.decode_failed(entry).worker == "\\udcff:1"


async def test_an_idle_worker_counts_no_failure(resque: Resque, redis: Any) -> None:
    """Nor does one that nobody knows (in node-resque both count one)."""
    await register(redis, "h:1:q")

    assert await resque.force_clean_worker("h:1") is None
    assert await resque.force_clean_worker("nobody:1") is None
    assert await resque.force_clean_worker("nobody:1:q") is None
    assert await dump(redis) == {}


async def test_leftovers_of_nodes_own_clean_up(resque: Resque, redis: Any) -> None:
    """A record and a heartbeat without registration (trap 9) are cleaned by the full id."""
    await register(redis, NODE_ID, node(b'{"class":"A","args":[1]}'))
    await redis.srem("resque:workers", NODE_ID)

    assert await resque.force_clean_worker(NODE_ID) is not None
    assert set(await dump(redis)) == {"resque:failed", "resque:stat:failed"}


async def test_an_odd_registration_can_be_removed(resque: Resque, redis: Any) -> None:
    """One id with fewer than three parts keeps every Ruby worker from starting (trap 6)."""
    await redis.sadd("resque:workers", "odd", "h:1:")

    assert await resque.force_clean_worker("odd") is None
    assert await resque.force_clean_worker("h:1:") is None
    assert await resque.workers() == {}


async def test_job_locks_of_the_job_are_freed(resque: Resque, redis: Any) -> None:
    """Those that are still its own; a lock that somebody else took meanwhile stays."""
    await register(redis, OURS, ours(b'{"class":"A","args":[]}'))
    await redis.mset({"resque:workerslock:A:q:[]": "1", "resque:workerslock:A:q:[2]": "theirs"})
    await redis.hset(
        f"resque:resqpy:job_locks:{OURS}",
        mapping={"resque:workerslock:A:q:[]": "1", "resque:workerslock:A:q:[2]": "2"},
    )

    await resque.force_clean_worker(OURS)

    assert await resque.locks() == {"workerslock:A:q:[2]": "theirs"}
    assert await redis.keys("resque:resqpy:*") == []


async def test_a_live_worker_of_ours_notices(redis_url: str, resque: Resque) -> None:
    """It is cleaned in mid-job: the end of that run is void, and the job is not counted twice."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        begun.set()
        await go_on.wait()

    worker = Worker(redis_url, {"Slow": slow}, queues=["q"])
    async with worker:
        await resque.enqueue("q", "Slow")
        await begun.wait()
        [worker_id] = await resque.workers()
        entry = await resque.force_clean_worker(worker_id)
        assert entry is not None
        go_on.set()
        await resque.enqueue("q", "Slow")
        await wait_for(_processed_one(resque))

    assert [e.raw for e in await resque.failed()] == [entry.raw]
    assert (await resque.stats())["failed"] == 1


def _processed_one(resque: Resque) -> Any:
    async def check() -> bool:
        return (await resque.stats()).get("processed") == 1

    return check


# -- clean_old_workers --


TIMES = recorded_values("time")


@pytest.mark.parametrize("name", [each for each in TIMES if "IST" not in TIMES[each].decode()])
async def test_all_formats_of_run_at(
    name: str, resque: Resque, redis: Any, clock: FixedClock
) -> None:
    """The instant 1795220840 in every spelling is old after a minute, not before."""
    await register(redis, "h:1:q", ruby(b'{"class":"A","args":[]}', TIMES[name].decode()))
    clock.advance(60_000)
    assert await resque.clean_old_workers(60_000) == {}
    clock.advance(1)

    cleaned = await resque.clean_old_workers(timedelta(minutes=1))

    assert list(cleaned) == ["h:1:q"]
    assert cleaned["h:1:q"].args == []


@pytest.mark.parametrize("run_at", [1_795_220_840, "1795220840"])
async def test_a_numeric_run_at(run_at: Any, resque: Resque, redis: Any, clock: FixedClock) -> None:
    """Trap 20: to Node a number is never old."""
    await register(redis, "h:1:q", ruby(b"{}", run_at))
    clock.advance(2000)

    assert list(await resque.clean_old_workers(1000)) == ["h:1:q"]


@pytest.mark.parametrize("run_at", [None, "", "soon", {}, "2026/11/20 21:27:20 XYZ", "0000-00-00"])
async def test_a_run_of_unknown_age_is_left_alone(run_at: Any, resque: Resque, redis: Any) -> None:
    """What can't be told is not guessed."""
    await register(redis, "h:1:q", ruby(b"{}", run_at))

    assert await resque.clean_old_workers(0) == {}
    assert len(await resque.workers()) == 1


async def test_only_old_runs_are_cleaned(resque: Resque, redis: Any) -> None:
    """Idle workers and young runs stay; foreign records without `worker` are cleaned (trap 20)."""
    await register(redis, "h:1:q", ruby(b'{"class":"A","args":[1]}'))
    await register(redis, "h:2:q", ruby(b'{"class":"A","args":[2]}'))
    await register(redis, "h:3:q", ruby(b"{}", iso_utc(NOW_MS * 1000)))
    await register(redis, "h:4:q")
    await register(redis, "h:5:q", b"not JSON")

    cleaned = await resque.clean_old_workers(60_000)

    assert {each: entry.args for each, entry in cleaned.items()} == {"h:1:q": [1], "h:2:q": [2]}
    assert (await resque.stats())["failed"] == 2
    assert len(await resque.workers()) == 3


async def test_live_workers_can_be_spared(resque: Resque, redis: Any) -> None:
    """By heartbeat or ping of the last five minutes; by default only the age of the run counts."""
    for pid in (1, 2, 3, 4):
        await register(redis, f"h:{pid}:q", ruby(b'{"class":"A","args":[]}'))
        await redis.delete(f"resque:worker:ping:h:{pid}")
    await redis.hset("resque:workers:heartbeat", "h:1:q", "2026-11-21T00:27:00+00:00")
    await redis.set("resque:worker:ping:h:2", dumps({"time": NOW_MS // 1000 - 10, "name": "h:2"}))
    await redis.set("resque:worker:ping:h:3", b"rubbish")

    assert list(await resque.clean_old_workers(1000, spare_live=True)) == ["h:3:q", "h:4:q"]
    assert list(await resque.clean_old_workers(1000)) == ["h:1:q", "h:2:q"]


async def test_an_age_must_be_a_duration(resque: Resque) -> None:
    """Milliseconds or a timedelta."""
    with pytest.raises(UsageError, match="age"):
        await resque.clean_old_workers(-1)


# -- the rest of the Inspector --


async def test_locks_are_listed_and_deleted(resque: Resque, redis: Any) -> None:
    """QueueLock's and JobLock's, by name; other keys that contain the word are not shown."""
    await redis.mset(
        {
            "resque:lock:A:q:[1]": "17", "resque:workerslock:A:q:[1]": "18",
            "resque:timestamps:lock:": "0", "other:lock:A": "0", "resque:locks": "0",
        }
    )  # fmt: skip

    assert await resque.locks() == {"lock:A:q:[1]": "17", "workerslock:A:q:[1]": "18"}
    assert await resque.del_lock("lock:A:q:[1]") == 1
    assert await resque.del_lock("lock:A:q:[1]") == 0
    assert await resque.locks() == {"workerslock:A:q:[1]": "18"}


async def test_stats_of_all_who_ever_were(resque: Resque, redis: Any) -> None:
    """Ruby's and Node's counters by name; what is no number counts nothing."""
    await redis.mset(
        {"resque:stat:processed": 3, "resque:stat:failed:h:1": 2, "resque:stat:x": "?"}
    )

    assert await resque.stats() == {"processed": 3, "failed:h:1": 2, "x": 0}


async def test_a_namespace_with_signs_of_patterns(redis_url: str, redis: Any) -> None:
    """Scans take the namespace literally."""
    await redis.mset({"odd[a*]?:stat:processed": 1, "odda:stat:processed": 5, "odd[a*]?:lock:x": 2})
    from resqpy.store.connection.options import RedisOptions

    async with Resque(RedisOptions(url=redis_url, namespace="odd[a*]?")) as resque:
        assert await resque.stats() == {"processed": 1}
        assert await resque.locks() == {"lock:x": "2"}


async def test_leader_of_either_language(resque: Resque, redis: Any) -> None:
    """Node's lock is asked first, then Ruby's with its doubled namespace."""
    assert await resque.leader() is None
    await redis.set("resque:resque:resque_scheduler_master_lock", "ruby:1")
    assert await resque.leader() == "ruby:1"
    await redis.set("resque:resque_scheduler_leader_lock", "node:1")
    assert await resque.leader() == "node:1"


async def test_details_in_two_round_trips(resque: Resque, redis: Any) -> None:
    """Queues, workers, counters, leader, failed and delayed, without any scan."""
    await resque.enqueue_many([("a", "A", []), ("b", "A", []), ("b", "A", [1])])
    await resque.enqueue_at(NOW_MS + 5000, "a", "A", [])
    await register(redis, "h:1:q", ruby(b'{"class":"A","args":[]}'))
    await redis.set("resque:stat:failed:gone:1:q", 7)
    await redis.rpush("resque:failed", failed_entry())
    await redis.sadd("resque:failed_queues", "x_failed")
    await redis.rpush("resque:x_failed", failed_entry())

    with round_trips(resque.store, 2):
        details = await resque.details()

    assert details["queues"] == {"a": 1, "b": 2}
    assert (work := details["workers"]["h:1:q"]) is not None
    assert work.payload == {"class": "A", "args": []}
    assert details["stats"] == {
        "processed": 0, "failed": 0, "processed:h:1:q": 1, "processed:h:1": 1,
        "failed:h:1:q": 1, "failed:h:1": 1,
    }  # fmt: skip
    assert (details["leader"], details["failed"], details["delayed"]) == (None, 2, 1)


@pytest.mark.parametrize("name", ["ruby-installation", "node-installation"])
async def test_a_recorded_installation_is_shown_whole(
    name: str, resque: Resque, redis: Any
) -> None:
    """Every list of what real programs left can be read."""
    await replay(redis, name)

    details = await resque.details()

    assert len(details["workers"]) == await redis.scard("resque:workers")
    assert any(details["workers"].values())
    assert details["leader"]
    assert len(await resque.failed(0, -1)) == details["failed"]
    assert details["queues"] == await resque.lengths()
    assert set(details["stats"]) <= {"processed", "failed", *await resque.stats()}


async def test_an_empty_redis(resque: Resque) -> None:
    """Nothing is there, and nothing fails."""
    assert dict(await resque.details()) == {
        "queues": {}, "workers": {}, "stats": {"processed": 0, "failed": 0},
        "leader": None, "failed": 0, "delayed": 0,
    }  # fmt: skip
    assert await resque.all_working_on() == {}
    assert await resque.stats() == {}
    assert await resque.locks() == {}
    assert await resque.timestamps() == []
    assert await resque.retry_all_failed() == await resque.remove_all_failed() == 0
    assert await resque.clean_old_workers(0) == {}
    assert await resque.clean_old_workers(0, spare_live=True) == {}
    assert await resque.delayed_count() == 0


@pytest.mark.parametrize("changes", [1, 99])
async def test_a_worker_that_goes_on_meanwhile(
    changes: int, resque: Resque, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its job ended and it took another while it was cleaned up: looked at again, then given up."""
    read, left = workers.record_and_held, [changes]

    async def read_and_go_on(store: Any, worker_id: str) -> Any:
        found = await read(store, worker_id)
        if left[0]:
            left[0] -= 1
            job = dumps({"class": "Next", "args": [left[0]]})
            await redis.set(f"resque:worker:{worker_id}", ours(job))
        return found

    monkeypatch.setattr(workers, "record_and_held", read_and_go_on)
    await register(redis, OURS, ours(b'{"class":"First","args":[]}'))

    if changes == 1:
        entry = await resque.force_clean_worker(OURS)
        assert entry is not None
        assert (entry.class_name, entry.args) == ("Next", [0])
        return
    with pytest.raises(StoreUnavailable, match="too fast"):
        await resque.force_clean_worker(OURS)
    assert await resque.failed_count() == 0
    assert list(await resque.workers()) == [OURS]
