"""What a worker does with a job, what it tells, and what stands in Redis afterwards."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import sys
from typing import Any

import pytest

from resqpy import Inspector, Queue, Worker
from resqpy.base import activejob, job_records
from resqpy.base.concurrency.own_tasks import answered_elsewhere
from resqpy.base.errors import InvalidQueueName, PoolStateError, UnknownTask
from resqpy.base.json_rules import read_strict
from tests.support.recordings import recorded_values
from tests.support.redis_state import dump
from tests.support.waiting import wait_for
from tests.support.working import EVENTS, working


async def add(a: int, b: int) -> int:
    """A task."""
    return a + b


def fail(*_: Any) -> None:
    """A task."""
    raise KeyError("no such thing")


async def test_a_job_is_run_and_leaves_only_counters(redis_url: str, redis: Any) -> None:
    """After the stop nothing is left of the worker, and of the job what Node counts."""
    async with Queue(redis_url) as queue, working(redis_url, {"add": add}, "q") as work:
        [worker_id] = map(str, work.worker.worker_ids)
        await queue.enqueue("q", "add", [1, 2])
        await work.until(1)
        state = await dump(redis)
        assert state["resque:workers"] == {worker_id}
        assert state[f"resque:stat:processed:{worker_id}"] == "1"
        assert re.fullmatch(
            r"....-..-.. ..:..:.. \+0000", state[f"resque:worker:{worker_id}:started"]
        )

    assert work.args("success")[0][0] == 1
    assert work.args("success")[0][3] == 3
    assert await dump(redis) == {"resque:queues": {"q"}, "resque:stat:processed": "1"}


async def test_the_events_of_node_resque(redis_url: str) -> None:
    """Each event has node-resque's arguments, behind the number of the slot."""
    async with Queue(redis_url) as queue:
        await queue.enqueue("q", "add", [1, 2])
        await queue.enqueue("q", "fail", [1])
        jobs = {"add": add, "fail": fail}
        async with working(redis_url, jobs, "q", events=EVENTS, heartbeat_s=0.05) as work:
            await work.until(2)
            await wait_for(lambda: work.args("ping"))

    job = {"class": "add", "queue": "q", "args": [1, 2]}
    [(slot, name, told, result, ms)] = work.args("success")
    assert (slot, name, told.to_dict(), result) == (1, "q", job, 3)
    assert 0 <= ms < 5000
    [(slot, name, told, error, _)] = work.args("failure")
    assert (slot, name, told.class_name, type(error)) == (1, "q", "fail", KeyError)
    assert [(args[0], args[1], args[2].class_name) for args in work.args("job")] == [
        (1, "q", "add"),
        (1, "q", "fail"),
    ]
    assert work.args("start") == work.args("end") == [(1,)]
    assert (1, "q") in work.args("poll")
    assert (1,) in work.args("pause")
    assert isinstance(work.args("ping")[0][1], int)
    names = [event for event, _ in work.told if event not in ("poll", "ping", "pause")]
    assert names == ["start", "job", "success", "job", "failure", "end"]


async def test_a_single_worker_tells_without_numbers(redis_url: str) -> None:
    """`Worker` has node-resque's arguments as they are; awaiting `wait` ends with the stop."""
    told: list[Any] = []
    worker = Worker(redis_url, {"add": add}, "q")
    worker.on("success", lambda *args: told.append(args))
    async with Queue(redis_url) as queue, worker:
        await queue.enqueue("q", "add", [1, 2])
        await wait_for(lambda: told)
        waiting = asyncio.ensure_future(worker.wait())
    await waiting
    assert told[0][0] == "q"
    assert told[0][2] == 3


async def test_a_failure_has_all_seven_keys(redis_url: str, redis: Any) -> None:
    """The entry is complete, and its traceback begins in the task, not in us."""
    async with Queue(redis_url) as queue, working(redis_url, {"fail": fail}, "q") as work:
        [worker_id] = map(str, work.worker.worker_ids)
        await queue.enqueue("q", "fail", [1, "é"])
        await work.until(1)
    entry = json.loads(await redis.lindex("resque:failed", 0))
    assert list(entry) == [
        "worker", "queue", "payload", "exception", "error", "backtrace", "failed_at",
    ]  # fmt: skip
    assert entry["worker"] == worker_id
    assert entry["payload"] == {"class": "fail", "queue": "q", "args": [1, "é"]}
    assert (entry["exception"], entry["error"]) == ("KeyError", "'no such thing'")
    assert "test_worker.py" in entry["backtrace"][1]
    assert not any("resqpy/engine" in line or "asyncio/" in line for line in entry["backtrace"])
    assert re.fullmatch(r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d UTC", entry["failed_at"])
    assert await redis.get("resque:stat:failed") == b"1"
    assert await redis.get("resque:stat:processed") is None


class Unspeakable(Exception):
    """An error that can't say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


def speechless() -> None:
    """A task."""
    raise Unspeakable


def endless() -> None:
    """A task."""
    raise ValueError("x" * 1_000_000 + "\ud800")


async def leave() -> None:
    """A task."""
    sys.exit(3)


async def give_up() -> None:
    """A task."""
    raise asyncio.CancelledError


async def interrupt() -> None:
    """A task."""
    raise KeyboardInterrupt


def close() -> None:
    """A task."""
    raise GeneratorExit


def chain() -> None:
    """A task."""
    error: Exception = ValueError("last")
    for n in range(3000):
        previous, error = error, ValueError(str(n))
        error.__context__ = previous
    raise error


@pytest.mark.parametrize(
    ("task", "exception"),
    [
        (speechless, "Unspeakable"),
        (endless, "ValueError"),
        (leave, "SystemExit"),
        (give_up, "CancelledError"),
        (chain, "ValueError"),
        (interrupt, "KeyboardInterrupt"),
        (close, "RuntimeError"),
    ],
)
async def test_whatever_a_task_raises_is_a_failure(
    redis_url: str, redis: Any, task: Any, exception: str
) -> None:
    """Errors that can't speak, of a megabyte, that would end the process: the worker works on."""
    jobs = {"bad": task, "add": add}
    with answered_elsewhere():
        async with Queue(redis_url) as queue, working(redis_url, jobs, "q") as work:
            await queue.enqueue("q", "bad")
            await queue.enqueue("q", "add", [1, 1])
            await work.until(2)
    raw = await redis.lindex("resque:failed", 0)
    assert read_strict(raw)["exception"] == exception
    assert len(raw) < 100_000
    assert len(work.args("success")) == 1


async def test_a_plain_function_around_an_async_one(redis_url: str) -> None:
    """A decorator may hide that a task is async: what it returned is awaited all the same."""

    def hidden(a: int, b: int) -> Any:
        return add(a, b)

    async with Queue(redis_url) as queue, working(redis_url, {"hidden": hidden}, "q") as work:
        await queue.enqueue("q", "hidden", [1, 2])
        await work.until(1)
    assert work.args("success")[0][3] == 3


async def test_an_unknown_task_fails(redis_url: str, redis: Any) -> None:
    """A class that nobody knows goes to failed, with its payload as it was."""
    async with Queue(redis_url) as queue, working(redis_url, {"add": add}, "q") as work:
        await queue.enqueue("q", "nobody", [1])
        await work.until(1)
    entry = json.loads(await redis.lindex("resque:failed", 0))
    assert entry["exception"] == "UnknownTask"
    assert "nobody" in entry["error"]
    assert entry["payload"]["args"] == [1]


POISON = recorded_values("poison")


@pytest.mark.parametrize("name", POISON)
async def test_bad_jobs_fail_and_their_bytes_are_kept(
    redis_url: str, redis: Any, name: str
) -> None:
    """Nothing that a foreign client left stops the worker; what can't be read is a failed entry
    that both languages read, with the exact bytes inside.
    """
    raw = POISON[name]
    async with Queue(redis_url) as queue, working(redis_url, {"add": add}, "q") as work:
        await redis.rpush("resque:queue:q", raw)
        await redis.sadd("resque:queues", "q")
        await queue.enqueue("q", "add", [1, 1])
        await wait_for(lambda: any(args[3] == 2 for args in work.args("success")))
        assert not work.args("error")
    entries = await redis.lrange("resque:failed", 0, -1)
    for entry in entries:
        read_strict(entry)
        assert job_records.decode_failed(entry).job_raw == raw
    assert len(entries) + len(work.args("success")) == 2
    left = await dump(redis)
    assert not [key for key in left if "held" in str(key) or "worker:" in str(key)]


def _wrapped(arguments: str, more: str = "") -> bytes:
    return (
        f'{{"class":"{activejob.WRAPPER}","args":[{{"job_class":"add","arguments":[{arguments}]{more}}}]}}'
    ).encode()


def _duration(text: str) -> str:
    name, inside = (
        "ActiveJob::Serializers::DurationSerializer",
        "ActiveJob::Serializers::BigDecimalSerializer",
    )
    return f'{{"_aj_serialized":"{name}","value":{{"_aj_serialized":"{inside}","value":"{text}"}}}}'


@pytest.mark.parametrize(
    "raw",
    [
        _wrapped(_duration("abc")),
        _wrapped(_duration("1e999999")),
        _wrapped(_duration("sNaN")),
        _wrapped("[" * 90 + _duration("abc") + "]" * 90),
        _wrapped("1", ',"executions":' + "9" * 4300),
        b'{"class":"add","args":[{}],"active_job":1}',
        b'{"class":"add","args":["x"],"active_job":{"executions":"many"}}',
        b'{"class":"add","args":[],"id":"x","queue_time":1e308,"resqpy_deadline":' + b"9" * 4300 + b"}",
        b'{"class":"add","args":[],"resqpy_expires":{},"resqpy_at":' + b"9" * 4300 + b"}",
    ],
)  # fmt: skip
async def test_foreign_values_fail_their_job_alone(redis_url: str, redis: Any, raw: bytes) -> None:
    """Whatever reading them raises: the bytes are kept, and the worker works on."""
    async with Queue(redis_url) as queue, working(redis_url, {"add": add}, "q") as work:
        await redis.rpush("resque:queue:q", raw)
        await redis.sadd("resque:queues", "q")
        await queue.enqueue("q", "add", [1, 1])
        await work.until(2)
        assert [args[3] for args in work.args("success")] == [2]
    [entry] = await redis.lrange("resque:failed", 0, -1)
    assert job_records.decode_failed(entry).job_raw == raw


async def test_a_huge_job_fails_and_can_be_recovered(redis_url: str, redis: Any) -> None:
    """50 MB are not sent to us; the entry names the key under which the bytes are kept."""
    raw = b'{"class":"add","args":["' + b"x" * 50_000_000 + b'"]}'
    async with working(redis_url, {"add": add}, "q") as work:
        await redis.rpush("resque:queue:q", raw)
        await work.until(1)
        assert work.args("failure")[0][2].raw == b""
    [entry] = await redis.lrange("resque:failed", 0, -1)
    kept = job_records.decode_failed(entry).unreadable
    assert kept is not None
    assert len(entry) < 2000
    assert await redis.get(f"resque:resqpy:unreadable:{kept}") == raw
    assert await redis.keys("*held*") == []


async def test_a_middling_job_is_run_from_bytes_kept_apart(redis_url: str, redis: Any) -> None:
    """A job too large for a record is run all the same; while it runs its bytes stand beside it."""
    seen: list[int] = []
    gate = asyncio.Event()

    async def take(text: str) -> None:
        seen.append(len(text))
        await gate.wait()

    async with Queue(redis_url) as queue, working(redis_url, {"take": take}, "q") as work:
        await queue.enqueue("q", "take", ["x" * 200_000])
        await wait_for(lambda: seen)
        [key] = await redis.keys("resque:resqpy:held:*")
        assert await redis.strlen(key) > 200_000
        gate.set()
        await work.until(1)
        assert not await redis.keys("resque:resqpy:held:*")
    assert seen == [200_000]


async def test_jobs_without_queue_or_args_are_run(redis_url: str, redis: Any) -> None:
    """Ruby's items have no queue, Node's Lua makes `{}` of no arguments: both run."""
    seen: list[Any] = []

    async def take(*args: Any) -> None:
        seen.append(args)

    async with working(redis_url, {"take": take}, "q") as work:
        await redis.rpush(
            "resque:queue:q",
            b'{"class":"take","args":[18446744073709551616,1.0]}',
            b'{"class":"take"}',
            b'{"class":"take","args":{}}',
            b'{"class":"take","args":{"k":1}}',
        )
        await work.until(4)
    assert seen == [(2**64, 1.0), (), (), ({"k": 1},)]


async def test_queues_are_worked_in_their_order(redis_url: str, redis: Any) -> None:
    """The first queue is emptied before the second is looked at."""
    seen: list[str] = []

    async def take(text: str) -> None:
        seen.append(text)

    async with Queue(redis_url) as queue:
        for name in ("low", "high"):
            await queue.enqueue_many([(name, "take", [f"{name}{n}"]) for n in range(3)])
        async with working(redis_url, {"take": take}, "high,low") as work:
            await work.until(6)
    assert seen == ["high0", "high1", "high2", "low0", "low1", "low2"]


async def test_odd_queue_names(redis_url: str, redis: Any) -> None:
    """`*` works queues with a colon, blanks, glob signs, a comma or 10 kB in their names."""
    names = ["a:b", " x ", "q*", "p[0]", "a,b", "n" * 10_000]
    for name in names:
        await redis.rpush(f"resque:queue:{name}", b'{"class":"add","args":[1,2]}')
        await redis.sadd("resque:queues", name)
    async with working(redis_url, {"add": add}, "*") as work:
        await work.until(len(names))
    assert sorted(args[1] for args in work.args("success")) == sorted(names)


async def test_a_queue_name_that_is_no_text_is_left_alone(redis_url: str, redis: Any) -> None:
    """A name in invalid UTF-8, which no record could show, is told once; the others are worked."""
    await redis.rpush(b"resque:queue:\xff", b'{"class":"add","args":[1,2]}')
    await redis.sadd("resque:queues", b"\xff", "q")
    async with Queue(redis_url) as queue, working(redis_url, {"add": add}, "*") as work:
        for number in range(2):
            await queue.enqueue(f"q{number}", "add", [1, 2])
            await work.until(number + 1)
    assert work.errors.count("\\udcff") == 1
    assert await redis.llen(b"resque:queue:\xff") == 1


async def test_a_queue_that_is_no_list_is_told_once_and_worked_when_mended(
    redis_url: str, redis: Any
) -> None:
    """A key of another type in the place of a queue hinders no other queue."""
    await redis.set("resque:queue:a", "no list")
    async with Queue(redis_url) as queue, working(redis_url, {"add": add}, "a,b") as work:
        for _ in range(3):
            await queue.enqueue("b", "add", [1, 2])
        await work.until(3)
        await redis.delete("resque:queue:a")
        await queue.enqueue("a", "add", [1, 2])
        await work.until(4)
    assert len(work.args("error")) == 1
    assert work.args("error")[0][2] == "a"


async def test_an_end_that_can_not_be_written_is_tried_again(redis_url: str, redis: Any) -> None:
    """While `failed` is no list the job stays on record; when it is mended the entry is written."""
    await redis.set("resque:failed", "no list")
    jobs = {"fail": fail, "add": add}
    async with Queue(redis_url) as queue, working(redis_url, jobs, "q", slots=2) as work:
        await queue.enqueue("q", "fail")
        await wait_for(lambda: "WRONGTYPE" in work.errors)
        await queue.enqueue("q", "add", [1, 2])  # the other slot goes on
        await work.until(1)
        assert len(await redis.keys("resque:worker:*:q")) == 1
        await redis.delete("resque:failed")
        await work.until(2)
    assert await redis.llen("resque:failed") == 1
    assert await redis.get("resque:stat:failed") == b"1"


@pytest.mark.promise("frozen", "plain")
async def test_a_record_taken_away_makes_the_end_void(redis_url: str, redis: Any) -> None:
    """Who lost its job to another's clean-up tells so, and counts nothing."""
    gate = asyncio.Event()

    async def wait() -> None:
        await gate.wait()

    async with Queue(redis_url) as queue, working(redis_url, {"wait": wait}, "q") as work:
        await queue.enqueue("q", "wait")
        await wait_for(lambda: work.args("job"))
        [key] = await redis.keys("resque:worker:*:q")
        await redis.delete(key)
        gate.set()
        await wait_for(lambda: "void" in work.errors)
    assert await redis.get("resque:stat:processed") is None
    assert not work.args("success")


# -- cancel, time limits, at most once --


async def test_a_running_job_is_cancelled(redis_url: str, redis: Any) -> None:
    """It fails as JobCancelled, and the worker works on."""

    async def sleep() -> None:
        await asyncio.sleep(60)

    jobs = {"sleep": sleep, "add": add}
    async with Queue(redis_url) as queue, working(redis_url, jobs, "q") as work:
        await queue.enqueue("q", "sleep")
        await wait_for(lambda: work.args("job"))
        worker_id = str(work.worker.worker_ids[0])
        assert work.worker.cancel("nobody") is False
        assert work.worker.cancel(worker_id) is True
        await work.until(1)
        assert work.worker.cancel(worker_id) is False
        await queue.enqueue("q", "add", [1, 1])
        await work.until(2)
    assert json.loads(await redis.lindex("resque:failed", 0))["exception"] == "JobCancelled"


async def test_a_job_is_cancelled_from_elsewhere(redis_url: str, redis: Any) -> None:
    """An order in Redis cancels the run it names, and not another one in the same slot."""
    from resqpy.store.workers import publish_cancel

    async def sleep() -> None:
        await asyncio.sleep(60)

    async with Queue(redis_url) as queue, working(redis_url, {"sleep": sleep}, "q") as work:
        await queue.enqueue("q", "sleep")
        await wait_for(lambda: work.args("job"))
        worker_id = str(work.worker.worker_ids[0])
        record = json.loads(await redis.get(f"resque:worker:{worker_id}"))
        assert await publish_cancel(queue.store, worker_id, "2001-01-01T00:00:00.000000Z") == 1
        assert await publish_cancel(queue.store, worker_id, record["run_at"]) == 1
        await work.until(1)
    assert type(work.args("failure")[0][3]).__name__ == "JobCancelled"


async def test_the_inspector_cancels_from_elsewhere(redis_url: str) -> None:
    """By the worker's id, and only what runs."""

    async def sleep() -> None:
        await asyncio.sleep(60)

    async with Queue(redis_url) as queue, working(redis_url, {"sleep": sleep}, "q") as work:
        worker_id = str(work.worker.worker_ids[0])
        inspector = Inspector(queue)
        assert await inspector.cancel_running(worker_id) is False
        await queue.enqueue("q", "sleep")
        await wait_for(lambda: work.args("job"))
        assert await inspector.cancel_running(worker_id) is True
        await work.until(1)
    assert type(work.args("failure")[0][3]).__name__ == "JobCancelled"


async def test_a_job_cancelled_before_its_first_step_fails(redis_url: str) -> None:
    """A cancellation in the very moment of the start does not leave the slot busy for ever."""
    async with Queue(redis_url) as queue, working(redis_url, {"add": add}, "q") as work:
        work.worker.on("job", lambda *_: asyncio.get_running_loop().call_soon(cancel))

        def cancel() -> None:
            work.worker.cancel(str(work.worker.worker_ids[0]))

        await queue.enqueue_many([("q", "add", [n, n]) for n in range(20)])
        await work.until(20)


@pytest.mark.parametrize("kind", ["async", "thread"])
async def test_a_time_limit(redis_url: str, redis: Any, kind: str) -> None:
    """A task that runs longer than its limit fails as JobTimeout, and is ended."""
    ended: list[str] = []

    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("async")

    def slow_thread() -> None:
        import time

        try:
            while True:
                time.sleep(0.01)
        finally:
            ended.append("thread")

    task = slow if kind == "async" else slow_thread
    jobs = {"slow": {"perform": task, "time_limit": 50}}
    async with Queue(redis_url) as queue, working(redis_url, jobs, "q") as work:
        await queue.enqueue("q", "slow")
        await work.until(1)
    assert ended == [kind]
    assert json.loads(await redis.lindex("resque:failed", 0))["exception"] == "JobTimeout"


async def test_at_most_once_is_noted_before_the_start(redis_url: str, redis: Any) -> None:
    """The run is marked while it goes on, and the mark is gone with its end."""
    marks: list[Any] = []

    async def once() -> None:
        marks.append(await redis.hgetall("resque:resqpy:at_most_once"))

    jobs = {"once": {"perform": once, "at_most_once": True}}
    async with Queue(redis_url) as queue, working(redis_url, jobs, "q") as work:
        worker_id = str(work.worker.worker_ids[0]).encode()
        await queue.enqueue("q", "once")
        await work.until(1)
        assert await redis.hgetall("resque:resqpy:at_most_once") == {}
    assert list(marks[0]) == [worker_id]


async def test_at_most_once_does_not_start_unnoted(redis_url: str, redis: Any) -> None:
    """Where the note can't be written the job goes back, and is run when it can."""
    ran: list[int] = []

    async def once() -> None:
        ran.append(1)

    jobs = {"once": {"perform": once, "at_most_once": True}}
    async with Queue(redis_url) as queue, working(redis_url, jobs, "q") as work:
        work.worker.store.mending = None  # else it puts that right by itself
        await redis.set("resque:resqpy:at_most_once", "no hash")
        await queue.enqueue("q", "once")
        await wait_for(lambda: work.args("job"))
        await asyncio.sleep(0.1)
        assert ran == []
        await redis.delete("resque:resqpy:at_most_once")
        await work.until(1)
    assert ran == [1]


# -- life --


async def test_start_and_stop_in_any_order(redis_url: str, redis: Any) -> None:
    """Stopping twice, or without a start, does no harm; starting twice is an error."""
    worker = Worker(redis_url, {"add": add}, "q")
    await worker.stop()
    await worker.start()
    with pytest.raises(PoolStateError, match="started already"):
        await worker.start()
    await asyncio.gather(worker.stop(), worker.stop(), worker.stop_now())
    await worker.stop()
    with pytest.raises(PoolStateError):
        await worker.start()
    assert await dump(redis) == {}


async def test_pause_and_resume(redis_url: str) -> None:
    """A paused worker takes nothing and finishes what runs; a stop is not undone by `resume`."""
    async with Queue(redis_url) as queue, working(redis_url, {"add": add}, "q") as work:
        work.worker.pause()
        await queue.enqueue("q", "add", [1, 2])
        await asyncio.sleep(0.1)
        assert work.ended == 0
        work.worker.resume()
        await work.until(1)


async def test_perform_inline(redis_url: str, redis: Any) -> None:
    """A task is run here and now, nothing is written, and what it raises is raised."""
    worker = Worker(redis_url, {"add": add, "fail": fail}, "q")
    assert await worker.perform_inline("add", [1, 2]) == 3
    with pytest.raises(KeyError):
        await worker.perform_inline("fail")
    with pytest.raises(UnknownTask, match="did you mean 'add'"):
        await worker.perform_inline("adt")
    async with worker:
        with pytest.raises(PoolStateError):
            await worker.perform_inline("add", [1, 2])
    assert await dump(redis) == {}


def test_a_comma_in_a_queue_name_is_refused() -> None:
    """Such a queue can't be named in a worker's identity."""
    with pytest.raises(InvalidQueueName, match="comma"):
        Worker("redis://x", {}, ["a,b"])


def test_base64_of_poison_is_what_unreadable_says() -> None:
    """The bytes inside an entry are plain base64, for whoever wants to see them."""
    job = json.loads(job_records.unreadable_job(b"\xff", "q"))
    assert base64.b64decode(job["args"][0]) == b"\xff"
