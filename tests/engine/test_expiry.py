"""Jobs that are too old: not run after they expire, cut off at their deadline; by Redis' clock."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

from resqpy import DeadlinePassed, Enqueuing, InvalidTask, Plugin, Queue, Resque
from resqpy.base import codec
from resqpy.engine.definition import define
from tests.support.redis_state import dump
from tests.support.waiting import wait_for
from tests.support.working import working

HOUR = 3_600_000
EVENTS = ("success", "failure", "expired", "skipped", "re_enqueue", "error")


async def no_op(*_: Any) -> None:
    """A task."""


def old(
    name: str = "mail", queue: str = "q", args: str = "[]", ends: dict[str, int] | None = None
) -> bytes:
    """A job whose end has come long ago."""
    given = {"expires": 1} if ends is None else ends
    shown = "".join(f'"resqpy_{each}":{ms},' for each, ms in given.items())
    return f'{{"class":"{name}","queue":"{queue}",{shown}"args":{args}}}'.encode()


async def test_when_it_ends_stands_in_the_job(redis_url: str, redis: Any) -> None:
    """Before its arguments, by Redis' clock, in one round trip; others are as they were."""
    jobs = {
        "mail": define("mail", no_op, expires=HOUR, deadline=timedelta(days=1)),
        "plain": define("plain", no_op),
    }
    async with Queue(redis_url, jobs) as queue:
        await queue.enqueue("q", "mail")
        before, trips = await queue.store.time_us() // 1000, queue.store.line.round_trips
        await queue.enqueue("q", "mail", [{"a": '"resqpy_expires":1,'}])
        await queue.enqueue_many([("q", "mail", [1]), ("q", "plain", [1])])
        assert queue.store.line.round_trips == trips + 2
        after = await queue.store.time_us() // 1000

    raws = await redis.lrange("resque:queue:q", 1, -1)
    for raw in raws[:2]:
        job = json.loads(raw)
        assert list(job) == ["class", "queue", "resqpy_expires", "resqpy_deadline", "args"]
        assert before + HOUR <= job["resqpy_expires"] <= after + HOUR
        assert before + 24 * HOUR <= job["resqpy_deadline"] <= after + 24 * HOUR
        assert codec.without_ends(raw) == codec.encode_job("mail", "q", job["args"])
    assert raws[2] == b'{"class":"plain","queue":"q","args":[1]}'


async def test_with_locks_and_hooks_too(redis_url: str, redis: Any) -> None:
    """What a hook changes is in the job; a job that a lock refuses is not written."""

    class Doubles(Plugin):
        async def before_enqueue(self, job: Enqueuing) -> bool:
            job.args = [job.args[0] * 2]
            return True

    jobs = {
        "locked": define("locked", no_op, plugins=["QueueLock"], expires=HOUR),
        "hooked": define("hooked", no_op, plugins=[Doubles], expires=HOUR),
    }
    async with Queue(redis_url, jobs) as queue:
        assert await queue.enqueue_many([("q", "locked", []), ("q", "locked", [])]) == [True, False]
        assert await queue.enqueue("q", "hooked", [21])
        assert await queue.enqueue("q", "hooked", [1], once="a")
        assert not await queue.enqueue("q", "hooked", [1], once="a")

    shown = [json.loads(raw) for raw in await redis.lrange("resque:queue:q", 0, -1)]
    assert [(each["class"], each["args"]) for each in shown] == [
        ("locked", []), ("hooked", [42]), ("hooked", [2]),
    ]  # fmt: skip
    assert all(len(str(each["resqpy_expires"])) == 13 for each in shown)


async def test_an_old_job_is_not_run(redis_url: str, redis: Any) -> None:
    """It ends as expired: told, neither processed nor failed, its queue lock free, nothing left of it."""
    ran: list[Any] = []
    jobs = {
        "mail": define("mail", ran.append, plugins=["QueueLock", "JobLock"]),
        "direct": define("direct", ran.append),
        "once": define("once", ran.append, at_most_once=True),
    }
    await redis.set("resque:lock:mail:q:[1]", "9999999999")
    raws = [
        old("mail", args="[1]"),
        *(old(name, args="[2]", ends={"deadline": 1}) for name in jobs),
    ]
    await redis.rpush(
        "resque:queue:q", *raws, old("direct", args="[3]", ends={"expires": 9_999_999_999_999})
    )
    async with working(redis_url, jobs, "q", events=EVENTS) as work:
        await wait_for(lambda: work.ended == 1)
        await work.until_quiet()

        assert ran == [3]
        assert [(name, args[1]) for name, args in work.told] == [("expired", "q")] * 4 + [
            ("success", "q")
        ]
    state = await dump(redis)
    left = {key for key in state if not key.startswith(("resque:stat:", "resque:resqpy:"))}
    assert left == set()
    assert state["resque:stat:processed"] == "1"
    assert "resque:stat:failed" not in state


@pytest.mark.parametrize("junk", ['"x"', "null", "true", "1.5", "[]", "-1"])
async def test_an_end_that_is_none(redis_url: str, redis: Any, junk: str) -> None:
    """Only a whole number is a time; one before 1970 is over."""
    raw = f'{{"class":"mail","resqpy_expires":{junk},"args":[]}}'
    await redis.rpush("resque:queue:q", raw)
    async with working(redis_url, {"mail": no_op}, "q", events=EVENTS) as work:
        await wait_for(lambda: bool(work.told))
        assert work.told[0][0] == ("expired" if junk == "-1" else "success")


@pytest.mark.parametrize("blocking", [False, True])
async def test_it_is_cut_off_at_its_deadline(redis_url: str, redis: Any, blocking: bool) -> None:
    """As if somebody cancelled it: it fails, and is not retried. Its time limit may be sooner."""
    forever = asyncio.Event()

    async def sleeps() -> None:
        await forever.wait()

    def sleeps_in_a_thread() -> Any:
        return forever.wait()

    job = define(
        "mail", sleeps_in_a_thread if blocking else sleeps, plugins=["Retry"], deadline=300
    )
    async with (
        Queue(redis_url, {"mail": job}) as queue,
        working(redis_url, {"mail": job}, "q", events=EVENTS) as work,
    ):
        await queue.enqueue("q", "mail")
        await work.until(1)

        [(_, _, _, error, _)] = work.args("failure")
        assert type(error) is DeadlinePassed
        [entry] = await redis.lrange("resque:failed", 0, -1)
        assert json.loads(entry)["exception"] == "DeadlinePassed"
        assert json.loads(entry)["payload"] == {"class": "mail", "queue": "q", "args": []}
        assert work.args("re_enqueue") == []


async def test_the_sooner_of_deadline_and_time_limit(redis_url: str, redis: Any) -> None:
    """Each is told as what it is."""
    never = asyncio.Event()

    async def sleeps() -> None:
        await never.wait()

    job = define("mail", sleeps, time_limit=200, deadline=HOUR)
    async with (
        Queue(redis_url, {"mail": job}) as queue,
        working(redis_url, {"mail": job}, "q", events=EVENTS) as work,
    ):
        await queue.enqueue("q", "mail")
        await work.until(1)
        assert type(work.args("failure")[0][3]).__name__ == "JobTimeout"


async def test_what_has_begun_does_not_expire(redis_url: str, redis: Any) -> None:
    """A retry, a job that a stop puts back and one that is retried by hand are run when they come; only the
    deadline holds for the first two.
    """
    ends = {"expires": 9_999_999_999_998, "deadline": 9_999_999_999_999}

    async def fails() -> None:
        raise ValueError

    begun = asyncio.Event()

    async def lasts() -> None:
        begun.set()
        await asyncio.sleep(60)

    jobs = {
        "again": define(
            "again",
            fails,
            plugins=["Retry"],
            plugin_options={"Retry": {"retry_limit": 2, "retry_delay": 60_000}},
        ),
        "fails": define("fails", fails),
        "lasts": define("lasts", lasts),
    }
    raws = [old(name, ends=ends) for name in jobs]
    await redis.rpush("resque:queue:q", *raws)
    async with working(redis_url, jobs, "q", slots=3, events=EVENTS, stop_timeout_s=0.0) as work:
        await wait_for(lambda: begun.is_set() and len(work.told) == 2)

    deadline = {"deadline": ends["deadline"]}
    [second] = await redis.zrange("resque:delayed_queue_schedule", 0, -1)
    assert await redis.lrange(b"resque:delayed:" + second, 0, -1) == [old("again", ends=deadline)]
    assert await redis.lrange("resque:queue:q", 0, -1) == [old("lasts", ends=deadline)]
    [entry] = await redis.lrange("resque:failed", 0, -1)
    assert codec.encode_job("fails", "q", []) in entry


async def test_what_waits_for_a_lock_still_expires(redis_url: str, redis: Any) -> None:
    """It has not begun: its bytes are kept."""
    job = define("mail", no_op, plugins=["JobLock"])
    await redis.set("resque:workerslock:mail:q:[]", "9999999999")
    raw = old(ends={"expires": 9_999_999_999_999})
    await redis.rpush("resque:queue:q", raw)
    async with working(redis_url, {"mail": job}, "q", events=EVENTS) as work:
        await wait_for(lambda: bool(work.args("re_enqueue")))

    [second] = await redis.zrange("resque:delayed_queue_schedule", 0, -1)
    assert await redis.lrange(b"resque:delayed:" + second, 0, -1) == [raw]


async def test_a_job_lost_with_its_worker_does_not_expire(redis_url: str, redis: Any) -> None:
    """It had begun."""
    raw = old()
    await redis.rpush("resque:queue:q", raw)
    await redis.hset("resque:resqpy:rescues", codec.digest(raw), "1/9999999999")
    async with working(redis_url, {"mail": no_op}, "q", events=EVENTS) as work:
        await work.until(1)
        assert [name for name, _ in work.told] == ["success"]


async def test_a_delayed_job_has_no_end(redis_url: str, redis: Any) -> None:
    """Ruby's and Node's schedulers would drop it; so would a retry button of theirs."""
    async with Resque(redis_url, {"mail": define("mail", no_op, expires=HOUR)}) as resque:
        await resque.enqueue_in(HOUR, "q", "mail", [1])
        [(_, [job])] = (await resque.all_delayed()).items()
        assert job.raw == codec.encode_job("mail", "q", [1])
        assert await resque.enqueue_at(1_000_000_000_000, "q", "mail", [2])
        assert b"resqpy_expires" in await redis.lindex("resque:queue:q", 0)


async def test_it_is_found_and_removed_like_any_other(redis_url: str, redis: Any) -> None:
    """By its task and arguments."""
    async with Resque(redis_url, {"mail": define("mail", no_op, expires=HOUR)}) as resque:
        await resque.enqueue("q", "mail", [{"to": "a"}])
        await resque.enqueue("q", "mail", [{"to": "b"}])
        assert await resque.delete("q", "mail", [{"to": "a"}]) == 1
        assert [each.args for each in await resque.queued("q")] == [[{"to": "b"}]]


@pytest.mark.parametrize("what", ["expires", "deadline"])
@pytest.mark.parametrize(
    "wrong", [{"value": 0}, {"value": -1}, {"value": "10m"}, {"value": 5000, "cron": "* * * * *"}]
)
def test_an_end_that_cannot_be(what: str, wrong: dict[str, Any]) -> None:
    """Nothing could run, or the jobs of a schedule would silently be missing."""
    given = dict(wrong)
    with pytest.raises((InvalidTask, ValueError), match=what):
        define("mail", no_op, **{what: given.pop("value"), **given})


RAW = b'{"class":"a\\"b","queue":"q","resqpy_expires":1,"resqpy_deadline":2,"args":[]}'


@pytest.mark.parametrize(
    ("raw", "whole", "part"),
    [
        (
            RAW, b'{"class":"a\\"b","queue":"q","args":[]}',
            b'{"class":"a\\"b","queue":"q","resqpy_deadline":2,"args":[]}',
        ),
        (b'{"class":"c","args":[{"resqpy_expires":1,"x":1.0}]}', None, None),
        (b'{"class":"c","queue":"q","args":[{"resqpy_expires":1,"x":2}]}', None, None),
        (b'{"class":"c","queue":"q","x":1,"resqpy_expires":1,"args":[]}', None, None),
        (b'{"args":[],"resqpy_expires":1}', None, None),
        (b"\xff", None, None),
    ],
)  # fmt: skip
def test_only_our_own_text_is_changed(raw: bytes, whole: bytes | None, part: bytes | None) -> None:
    """Anything else in a job, and any other job, stays as it is, to the byte."""
    assert codec.without_ends(raw) == (whole or raw)
    assert codec.without_ends(raw, deadline=False) == (part or raw)
