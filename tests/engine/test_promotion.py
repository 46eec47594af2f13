"""What is due enters its queue at its second, bytes untouched, and nothing odd stops it."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Any

import pytest

from resqpy.base.errors import PayloadError
from resqpy.engine.plugin import Enqueuing, Plugin
from resqpy.engine.queue.queue import Queue
from tests.support.redis_state import dump
from tests.support.scheduling import StartScheduler, schedulers
from tests.support.waiting import wait_for


@pytest.fixture
def errors() -> list[Exception]:
    """The errors that the test's schedulers told."""
    return []


@pytest.fixture
async def start(redis_url: str, errors: list[Exception]) -> AsyncIterator[StartScheduler]:
    """A function that starts a scheduler; it is stopped with the test."""
    async with schedulers(redis_url, errors=errors) as start:
        yield start


def item(number: Any = 0, name: str = "Echo", queue: str = "q") -> bytes:
    """A job as node-resque writes it."""
    return json.dumps({"class": name, "queue": queue, "args": [number]}).replace(" ", "").encode()


async def delay(redis: Any, second: int | str, *items: bytes, score: float | None = None) -> None:
    """Store items as Ruby and Node do: in one step."""
    async with redis.pipeline(transaction=True) as step:
        for each in items:
            step.rpush(f"resque:delayed:{second}", each)
            step.sadd(b"resque:timestamps:" + each, f"delayed:{second}")
        step.zadd("resque:delayed_queue_schedule", {str(second): score or float(second)})
        await step.execute()


async def queued(redis: Any, queue: str = "q") -> list[bytes]:
    """The items of a queue."""
    items: list[bytes] = await redis.lrange(f"resque:queue:{queue}", 0, -1)
    return items


async def is_at(redis: Any, position: int) -> Any:
    """Whether the queue has so many items and one more."""
    return await redis.llen("resque:queue:q") > position


async def failed(redis: Any) -> list[dict[str, Any]]:
    """The failed entries."""
    return [json.loads(entry) for entry in await redis.lrange("resque:failed", 0, -1)]


async def is_clean(redis: Any) -> Any:
    """Nothing is left of delayed jobs."""
    keys = await redis.keys("resque:delayed*") + await redis.keys("resque:timestamps:*")
    return keys + await redis.keys("resque:resqpy:claimed") == []


async def test_due_jobs_enter_their_queues_in_order_with_their_bytes(
    start: StartScheduler, redis: Any
) -> None:
    """The index, the lists and the reverse index are gone; the queue has the very texts."""
    odd = [b'{ "args":[1.0, 9007199254740993],"extra":{}, "class":"E\\u00e9","queue":"q"}', item(2)]
    await delay(redis, 1001, item(3), item(queue="other"))
    await delay(redis, 1000, *odd)

    await start()

    await wait_for(lambda: redis.exists("resque:queue:other"))
    assert await queued(redis) == [*odd, item(3)]
    assert await queued(redis, "other") == [item(queue="other")]
    assert await redis.smembers("resque:queues") == {b"q", b"other"}
    assert await is_clean(redis)


async def test_what_is_not_due_stays(start: StartScheduler, redis: Any) -> None:
    """A job of tomorrow is left alone."""
    tomorrow = int(time.time()) + 86_400
    await delay(redis, tomorrow, item(1))
    await delay(redis, 1000, item(0))

    await start()

    await wait_for(lambda: redis.exists("resque:queue:q"))
    assert await queued(redis) == [item(0)]
    assert await redis.lrange(f"resque:delayed:{tomorrow}", 0, -1) == [item(1)]


async def test_events_name_the_seconds_and_the_jobs(start: StartScheduler, redis: Any) -> None:
    """`working_timestamp` and `transferred_job`, as in node-resque."""
    scheduler = await start()
    seen: list[Any] = []
    scheduler.on("working_timestamp", seen.append)
    scheduler.on("transferred_job", lambda second, job: seen.append((second, job)))

    await delay(redis, 1000, item(5))

    await wait_for(lambda: len(seen) >= 2)
    assert seen[:2] == [1000, (1000, {"class": "Echo", "queue": "q", "args": [5]})]


async def test_an_earlier_job_from_anywhere_wakes_the_sleeping_leader(
    start: StartScheduler, redis: Any
) -> None:
    """It enters its queue within 50 ms of its second (when nothing else is going on), never before."""
    await delay(redis, int(time.time()) + 3600, item("later"))
    scheduler = await start(timeout_s=60)
    await wait_for(lambda: scheduler.promoting)
    await asyncio.sleep(0.1)
    late: list[float] = []

    while len(late) < 2 or (min(late) >= 0.05 and len(late) < 15):
        second, number = int(time.time()) + 1, len(late)
        await delay(redis, second, item(number))
        await wait_for(partial(is_at, redis, number))
        late.append(time.time() - second)

    print(f"\nlate by {[round(each * 1000, 1) for each in late]} ms")
    assert 0 <= min(late) < 0.05


async def test_without_tracking_it_polls(start: StartScheduler, redis: Any) -> None:
    """Where Redis can't wake us up, a job waits for `timeout` at the most."""
    scheduler = await start(timeout_s=0.2)
    await wait_for(lambda: scheduler.promoting)
    await redis.client_kill_filter(_type="pubsub", skipme=True)

    await delay(redis, 1000, item(1))

    await wait_for(lambda: redis.exists("resque:queue:q"), timeout=5)


@pytest.mark.parametrize(
    "text",
    [
        b"", b"junk", b"null", b"[]", b"5", b'{"class":5,"queue":"q","args":[]}',
        b'{"class":"A","queue":"q","args":[NaN]}', b'{"class":"A","queue":"q","args":["\\ud800"]}',
        b'{"class":"A","queue":"q","args":[1e400]}', b'{"class":"A","queue":"q","args":["\xff"]}',
        b'{"class":"A","queue":"q","args":[' + b"[" * 120 + b"]" * 120 + b"]}",
    ],
)  # fmt: skip
async def test_an_item_nobody_could_run_goes_to_failed_with_its_bytes(
    text: bytes, start: StartScheduler, redis: Any, errors: list[Exception]
) -> None:
    """Ruby's scheduler stops at one for good, and Node's too; here the next ones are promoted."""
    await delay(redis, 1000, item(1), text, item(2))
    await delay(redis, 1001, item(3))

    await start()

    await wait_for(lambda: is_clean(redis))
    assert await queued(redis) == [item(1), item(2), item(3)]
    [entry] = await failed(redis)
    assert set(entry) == {
        "worker", "queue", "payload", "exception", "error", "backtrace", "failed_at",
    }  # fmt: skip
    assert base64.b64decode(entry["payload"]["args"][0]) == text
    assert entry["exception"] == "PayloadError"
    assert [type(error) for error in errors] == [PayloadError]


@pytest.mark.parametrize("queue", [None, '""', "null", "7", "[]"])
async def test_a_job_without_a_queue_goes_to_failed(
    queue: str | None, start: StartScheduler, redis: Any
) -> None:
    """Ruby drops it, Node makes a queue without a name; here it waits for a person, readable."""
    named = "" if queue is None else f'"queue":{queue},'
    text = f'{{"class":"A",{named}"args":[1]}}'.encode()
    await delay(redis, 1000, text, item(1))

    await start()

    await wait_for(lambda: redis.exists("resque:failed"))
    [entry] = await failed(redis)
    assert entry["payload"] == json.loads(text)
    assert entry["queue"] == "default"
    assert "names no queue" in entry["error"]
    assert await queued(redis) == [item(1)]


async def test_a_large_unreadable_item_is_kept_beside_its_entry(
    start: StartScheduler, redis: Any
) -> None:
    """Its bytes stand in a key of their own, named in the entry."""
    text = b"x" * 100_000
    await delay(redis, 1000, text)

    await start()

    await wait_for(lambda: redis.exists("resque:failed"))
    [entry] = await failed(redis)
    digest = entry["payload"]["args"][0]["kept"]
    assert await redis.get(f"resque:resqpy:unreadable:{digest}") == text


async def test_a_large_job_is_promoted(start: StartScheduler, redis: Any) -> None:
    """Jobs that Lua doesn't judge are looked at and moved all the same."""
    text = item("x" * 3_000_000)
    await delay(redis, 1000, text, item(1))

    await start()

    await wait_for(lambda: is_at(redis, 1))
    assert await queued(redis) == [text, item(1)]


@pytest.mark.parametrize(
    "member", ["abc", "", "1e9", "0x10", "12.5", "last_enqueued_at", "-5", "a:b"]
)
async def test_an_odd_member_of_the_index_is_cleaned(
    member: str, start: StartScheduler, redis: Any, errors: list[Exception]
) -> None:
    """Both other schedulers hang there for good; here later seconds are reached, and Ruby's own
    hash under such a name is left alone.
    """
    await redis.zadd("resque:delayed_queue_schedule", {member: 100})
    await redis.hset("resque:delayed:last_enqueued_at", "job", "2026-11-20")
    await delay(redis, 1000, item(1))

    await start()

    await wait_for(lambda: redis.exists("resque:queue:q"))
    await wait_for(lambda: errors)
    assert await redis.zrange("resque:delayed_queue_schedule", 0, -1) == []
    assert await redis.hgetall("resque:delayed:last_enqueued_at") == {b"job": b"2026-11-20"}


async def test_jobs_under_an_odd_member_are_promoted(start: StartScheduler, redis: Any) -> None:
    """Under its own text, and under the whole second where the index has a fraction."""
    await delay(redis, "abc", item(1), score=100)
    await redis.rpush("resque:delayed:200", item(2))
    await redis.zadd("resque:delayed_queue_schedule", {"200.5": 200.5})

    await start()

    await wait_for(lambda: is_at(redis, 1))
    assert await queued(redis) == [item(1), item(2)]
    assert await is_clean(redis)


async def test_a_key_of_another_kind_is_left_and_forgotten(
    start: StartScheduler, redis: Any
) -> None:
    """A text where a list should be, and a queue that is none: the others go on."""
    await redis.set("resque:delayed:1000", "no list")
    await redis.zadd("resque:delayed_queue_schedule", {"1000": 1000})
    await redis.set("resque:queue:broken", "no list")
    await delay(redis, 1001, item(1, queue="broken"), item(2))

    await start()

    await wait_for(lambda: redis.exists("resque:failed"))
    await wait_for(lambda: redis.exists("resque:queue:q"))
    [entry] = await failed(redis)
    assert entry["payload"] == json.loads(item(1, queue="broken"))
    assert "WRONGTYPE" in entry["error"]
    assert await redis.get("resque:delayed:1000") == b"no list"
    assert await redis.zcard("resque:delayed_queue_schedule") == 0


async def test_a_member_with_the_wrong_score_is_not_promoted_early(
    start: StartScheduler, redis: Any
) -> None:
    """The second it names is what was asked for."""
    tomorrow = int(time.time()) + 86_400
    await delay(redis, tomorrow, item(1), score=100)

    await start()

    await wait_for(lambda: redis.zscore("resque:delayed_queue_schedule", str(tomorrow)))
    await wait_for(lambda: redis.zcount("resque:delayed_queue_schedule", tomorrow, tomorrow))
    assert await queued(redis) == []


# -- hooks and locks --


class Noting(Plugin):
    """Notes its hooks; forbids args [0], fails at args ["bad"]."""

    seen: list[tuple[str, Any]]

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(options)
        self.seen = []

    async def before_enqueue(self, job: Enqueuing) -> bool:
        self.seen.append(("before", job.args[0]))
        if job.args[0] == "bad":
            raise RuntimeError("hook")
        return bool(job.args[0])

    async def after_enqueue(self, job: Enqueuing) -> None:
        self.seen.append(("after", job.args[0]))


async def nothing(*args: Any) -> None:
    """A task."""


async def test_hooks_run_between_the_claim_and_the_queue(start: StartScheduler, redis: Any) -> None:
    """A veto drops the job, an error fails it, both as bytes; others are not held up."""
    plugin = Noting()
    await delay(redis, 1000, *(item(n, "Noted") for n in (1, 0, "bad", 2)), item(9))

    await start({"Noted": {"perform": nothing, "plugins": [plugin]}})

    await wait_for(lambda: ("after", 2) in plugin.seen)
    assert sorted(await queued(redis)) == sorted([item(1, "Noted"), item(2, "Noted"), item(9)])
    assert [("before", n) for n in (1, 0, "bad", 2)] == plugin.seen[:4]
    [entry] = await failed(redis)
    assert (entry["payload"]["args"], entry["error"]) == (["bad"], "hook")
    await wait_for(lambda: is_clean(redis))


async def test_a_successor_finds_what_was_claimed(start: StartScheduler, redis: Any) -> None:
    """A job whose hooks were running when its leader died is enqueued by the next."""
    plugin = Noting()
    await redis.rpush("resque:resqpy:claimed", b"1000:" + item(1, "Noted"), b"1000:" + item(2))

    await start({"Noted": {"perform": nothing, "plugins": [plugin]}})

    await wait_for(lambda: ("after", 1) in plugin.seen)
    assert await queued(redis) == [item(1, "Noted"), item(2)]
    assert await is_clean(redis)


async def test_claimed_jobs_go_on_while_a_foreign_scheduler_leads(
    start: StartScheduler, redis: Any
) -> None:
    """Nobody else knows of them."""
    await redis.set("resque:resque_scheduler_leader_lock", "node:1", ex=100)
    await redis.rpush("resque:resqpy:claimed", b"1000:" + item(1))

    await start()

    await wait_for(lambda: redis.exists("resque:queue:q"))
    assert await redis.exists("resque:resqpy:claimed") == 0


async def test_the_built_in_locks_are_asked_in_the_moving_step(
    start: StartScheduler, redis: Any
) -> None:
    """QueueLock lets one of two equal jobs through; the dropped one leaves no trace."""
    jobs = {"Locked": {"perform": nothing, "plugins": ["resqpy.plugins.locks.QueueLock"]}}
    await delay(redis, 1000, item(1, "Locked"), item(2, "Locked"))
    await delay(redis, 1001, item(1, "Locked"), item(3))

    await start(jobs)

    await wait_for(lambda: is_clean(redis))
    assert await queued(redis) == [item(1, "Locked"), item(2, "Locked"), item(3)]
    assert await redis.exists("resque:lock:Locked:q:[1]") == 1


async def test_delay_queue_lock_is_not_stopped_by_the_very_job(
    start: StartScheduler, redis: Any
) -> None:
    """Only an equal job at another time forbids it, in whatever spelling that is written."""
    lock = "resqpy.plugins.locks.DelayQueueLock"
    await delay(redis, 1000, item(1, "Locked"), item(2, "Locked"))
    tomorrow = int(time.time()) + 86_400
    await delay(redis, tomorrow, b'{"class":"Locked","args":[2],"queue":"q"}')

    await start({"Locked": {"perform": nothing, "plugins": [lock]}})

    await wait_for(lambda: redis.zcard("resque:delayed_queue_schedule"))
    await wait_for(lambda: redis.exists("resque:queue:q"))
    assert await queued(redis) == [item(1, "Locked")]
    assert await redis.exists("resque:delayed:1000") == 0


# -- concurrency --


async def test_jobs_pushed_and_deleted_meanwhile_are_neither_lost_nor_doubled(
    start: StartScheduler, redis: Any, redis_url: str
) -> None:
    """Every job is either promoted or reported as deleted, exactly once."""
    jobs = {"Noted": {"perform": nothing, "plugins": [_Quiet()]}}
    scheduler = await start(jobs)
    await wait_for(lambda: scheduler.promoting)
    deleted: list[bytes] = []
    async with Queue(redis_url) as queue:
        for number in range(300):
            name = ("Echo", "Noted")[number % 2]
            await delay(redis, 1000 + number % 3, item(number, name))
            if number % 5 == 0 and await queue.del_delayed("q", name, [number]):
                deleted.append(item(number, name))

    await wait_for(lambda: is_clean(redis))

    everything = sorted(item(n, ("Echo", "Noted")[n % 2]) for n in range(300))
    assert sorted(await queued(redis) + deleted) == everything


class _Quiet(Plugin):
    async def before_enqueue(self, job: Enqueuing) -> bool:
        await asyncio.sleep(0)
        return True


async def test_a_deposed_leader_moves_nothing(
    start: StartScheduler, redis: Any, errors: list[Exception]
) -> None:
    """The script asks for the token: with the lease in other hands everything stays as it was."""
    scheduler = await start()
    await wait_for(lambda: scheduler.promoting)
    await redis.set("resque:resqpy:leader", "other/99", px=60_000)
    await delay(redis, 1000, item(1))
    before = await dump(redis)

    scheduler.wake("promotion")
    await asyncio.sleep(0.2)

    assert await dump(redis) == before
    assert errors == []
