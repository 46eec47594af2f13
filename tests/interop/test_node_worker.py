"""Node enqueues, we work; we enqueue, Node works; both drain one queue: the real node-resque."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from resqpy import Queue, RedisOptions
from resqpy.base import codec
from resqpy.web.access import Access
from resqpy.web.app import Console, ConsoleOptions
from resqpy.web.pages import bulk
from tests.support.foreign import NodeDriver
from tests.support.interop_jobs import Ours
from tests.support.waiting import PATIENCE_S, wait_for
from tests.support.working import working
from tests.web.conftest import Browser

ARGS: list[list[Any]] = [
    [],
    [1, "é\u2028😀", None, True, 0.1, -1.5],
    [{"b": 2, "a": [], "e": {}}],
    ['a/b\\"', [[[]]]],
    ["x" * 20_000],
]
BOTH = 5_000


async def test_node_enqueues_and_we_work(node: NodeDriver, redis_url: str) -> None:
    """Arguments come as they were given, and the counters are those that Node shows."""
    ours = Ours()
    async with working(redis_url, ours.jobs, "interop") as work:
        for args in ARGS:
            await node.call("queue.enqueue", "interop", "echo", args)
        await node.call("queue.enqueue", "interop", "fail", ["boo"])
        await work.until(len(ARGS) + 1)
        stats = await node.call("queue.stats")
    assert ours.ran == ARGS
    assert (int(stats["processed"]), int(stats["failed"])) == (len(ARGS), 1)
    [entry] = await node.call("queue.failed", 0, -1)
    assert (entry["exception"], entry["error"]) == ("ValueError", "boo")
    assert entry["payload"] == {"class": "fail", "queue": "interop", "args": ["boo"]}
    assert set(entry) == {
        "worker", "queue", "payload", "exception", "error", "backtrace", "failed_at",
    }  # fmt: skip


async def test_we_enqueue_and_node_works(node: NodeDriver, redis_url: str, redis: Any) -> None:
    """Node's worker takes our jobs for its own."""
    await node.call("worker.start", {})
    async with Queue(redis_url) as queue:
        await queue.enqueue_many([("interop", "echo", args) for args in ARGS])

    async def ran() -> list[Any] | None:
        entries = [json.loads(each) for each in await redis.lrange("interop:ran", 0, -1)]
        return entries if len(entries) == len(ARGS) else None

    entries = await wait_for(ran)
    assert [entry["args"] for entry in entries or []] == ARGS


async def test_node_sees_what_we_work_on(node: NodeDriver, redis_url: str) -> None:
    """Our workers are in Node's lists, busy and idle, each under a name of its own."""
    ours = Ours()
    async with Queue(redis_url) as queue:
        async with working(redis_url, ours.jobs, "interop,*", slots=3) as work:
            await queue.enqueue("interop", "hold", [1.5, "é", []])
            await wait_for(lambda: work.args("job"))
            names = {each.name for each in work.worker.worker_ids}
            workers = await node.call("queue.workers")
            assert workers == dict.fromkeys(names, "interop,*")
            working_on = await node.call("queue.allWorkingOn")
            assert set(working_on) == names
            [busy] = [each for each in working_on.values() if each != "started"]
            assert busy["worker"] in names
            assert busy["queue"] == "interop"
            assert busy["payload"] == {"class": "hold", "queue": "interop", "args": [1.5, "é", []]}
            ours.gate.set()
            await work.until(1)
        assert await node.call("queue.workers") == {}


async def test_node_retries_what_failed_with_us(node: NodeDriver, redis_url: str) -> None:
    """An entry of ours, a traceback in it, is retried by Node, and run by us again."""
    ours = Ours()
    async with working(redis_url, ours.jobs, "interop") as work:
        await node.call("queue.enqueue", "interop", "fail", ["é\n\u2028"])
        await work.until(1)
        [entry] = await node.call("queue.failed", 0, -1)
        await node.call("queue.retryAndRemoveFailed", entry)
        await work.until(2)
        assert await node.call("queue.failedCount") == 1


async def test_two_multi_workers_drain_one_queue(
    node: NodeDriver, redis_url: str, redis: Any
) -> None:
    """One of theirs and one of ours, 5,000 jobs: each runs once, and both have their part."""
    ours = Ours()
    async with Queue(redis_url) as queue:
        await queue.enqueue_many([("interop", "echo", [n]) for n in range(BOTH)])
        await node.call("multiWorker.start", {"min": 5, "max": 5})
        await wait_for(lambda: redis.llen("interop:ran"), 10)
        async with working(redis_url, ours.jobs, "interop", slots=1):
            await wait_for(lambda: _all_done(redis, ours), 25)
        theirs = [json.loads(each)["args"][0] for each in await redis.lrange("interop:ran", 0, -1)]
        mine = [args[0] for args in ours.ran]
    assert Counter(theirs + mine) == Counter(range(BOTH))
    assert theirs
    assert mine
    await wait_for(lambda: _counted(redis, BOTH))
    assert await redis.get("resque:stat:failed") is None


async def _all_done(redis: Any, ours: Ours) -> bool:
    return bool(await redis.llen("interop:ran") + len(ours.ran) >= BOTH)


async def _counted(redis: Any, count: int) -> bool:
    return int(await redis.get("resque:stat:processed") or 0) == count


async def test_both_without_a_namespace(
    start_node: Callable[..., Any], redis_url: str, redis: Any
) -> None:
    """Node allows an empty one: its keys have no prefix, and so have ours."""
    node, ours = await start_node(namespace=""), Ours()
    options = RedisOptions(redis_url, namespace="")

    await node.call("queue.enqueue", "theirs", "echo", [1])
    async with working(redis_url, ours.jobs, "theirs", redis={"namespace": ""}) as work:
        await work.until(1)
    async with Queue(options) as queue:
        await queue.enqueue("interop", "echo", [2])
    await node.call("worker.start", {})

    await wait_for(lambda: redis.llen("interop:ran"), 10)
    await wait_for(lambda: _is_counted(redis, 2))
    assert await redis.keys("resque:*") == []


async def _is_counted(redis: Any, count: int) -> bool:
    return int(await redis.get("stat:processed") or 0) == count


async def test_node_works_what_the_console_retries_and_enqueues(
    node: NodeDriver, redis_url: str, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed job goes back byte for byte, a group as well, a new one is what Node expects."""
    monkeypatch.setattr(bulk, "_QUICK_S", PATIENCE_S)
    jobs = [f'{{"class":"echo","queue":"interop","args":[{n},"é",{{"b":1.0}}]}}' for n in range(4)]
    entries = [f'{{"payload":{each},"exception":"E","queue":"interop"}}' for each in jobs]
    await redis.rpush("resque:failed", *entries)
    operator = ConsoleOptions(authenticate=lambda _request: Access("ann", "operator"))
    console = Console(lambda: RedisOptions(redis_url), operator)
    async with Browser(console) as ann:
        one = codec.digest(entries[2].encode())
        await ann.post(f"/failed/entries/{one}/retry", data={"list": "failed", "at": "2"})
        group = {"verb": "retry", "class": "echo", "expected": "3"}
        assert (
            "done=retried&n=3" in (await ann.post("/failed/bulk", data=group)).headers["location"]
        )
        new = {"class": "echo", "queue": "interop", "args": '[4, "é"]', "once": "1"}
        assert (await ann.post("/enqueue", data=new)).status_code == 303
    await console.close()
    waiting = await redis.lrange("resque:queue:interop", 0, -1)
    assert [each.decode() for each in waiting[:4]] == [jobs[2], *jobs[:2], jobs[3]]
    await node.call("worker.start", {})

    async def ran() -> bool:
        return bool(await redis.llen("interop:ran") == 5)

    await wait_for(ran)
    found = [json.loads(each)["args"] for each in await redis.lrange("interop:ran", 0, -1)]
    assert sorted(found, key=lambda args: args[0]) == [
        *([n, "é", {"b": 1}] for n in range(4)),
        [4, "é"],
    ]
    assert await redis.exists("resque:failed", "resque:queue:interop") == 0
