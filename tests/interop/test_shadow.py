"""A class runs in the shadow of real workers of Node and Ruby, also while processes of ours are killed."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from typing import Any

from resqpy import Resque
from resqpy.diagnosis.shadowing import Comparison, compare
from resqpy.engine.definition import define
from resqpy.store.migrations import ALL, Migration, migrate, migrations
from tests.engine.test_migrations_kill import kill, runs
from tests.support.foreign import NodeDriver, RubyDriver
from tests.support.waiting import wait_for
from tests.support.working import working

RULE = Migration("mail", "node", 0, over=50, max_errors=1000, max_ms=0, shadow=ALL)
# What a run does beside Redis' jobs is noted where its shadow does not ask.
PROGRAM = """
import asyncio, sys
from resqpy import MultiWorker, WorkerOptions, current_run
from resqpy.engine.definition import define

async def job(inputs: dict) -> None:
    run = current_run.get()
    await run.queue_object.enqueue("mail", "echo", [{"n": -1}])
    if not run.shadow:
        await redis.call("RPUSH", "interop:ours", inputs["n"])
    await asyncio.sleep(0.01)
    if inputs["n"] % 5 == 0:
        raise ValueError("five")

async def main() -> None:
    global redis
    jobs = {name: define(name, job, plugins=["JobLock"], shadow=True) for name in ("echo", "job")}
    options = WorkerOptions(heartbeat_s=0.5, rescue_after_s=3.0)
    async with MultiWorker(sys.argv[1], jobs, "mail", options) as worker:
        redis = worker.store
        print("ready", flush=True)
        await worker.wait()

asyncio.run(main())
"""
JOBS, KILLS = 600, 3


def start(url: str) -> subprocess.Popen[bytes]:
    """A process of ours, once it works."""
    made = subprocess.Popen([sys.executable, "-c", PROGRAM, url], stdout=subprocess.PIPE)
    assert made.stdout is not None
    made.stdout.readline()
    made.stdout.close()
    return made


async def test_node_runs_each_job_once(node: NodeDriver, redis_url: str, redis: Any) -> None:
    """Whatever becomes of its shadow; what failed on one side only is found."""
    await node.call("define", {"name": "job", "perform": "fail"})
    await node.call("worker.start", {"queues": ["mail.node"]})
    async with Resque(redis_url) as resque:
        for name in ("echo", "job"):
            await migrate(resque.store, name, RULE)
        child = await asyncio.to_thread(start, redis_url)
        try:
            for part in range(KILLS + 1):
                numbers = range(part * JOBS // (KILLS + 1), (part + 1) * JOBS // (KILLS + 1))
                for n in numbers:
                    await resque.enqueue("mail", "echo", [{"n": n}])
                await wait_for(lambda last=numbers.stop: _sent(redis, last), 60)  # type: ignore[misc]
                if part < KILLS:
                    await asyncio.to_thread(kill, child)
                    child = await asyncio.to_thread(start, redis_url)
            await resque.enqueue_many([("mail", "job", [{"n": n}]) for n in range(10)])
            await wait_for(lambda: _are_known(resque, 10, "job"), 60)
            await wait_for(lambda: _all_ran(redis), 60)
        finally:
            await asyncio.to_thread(kill, child)
        echoes, jobs = [await _compared(resque, each) for each in ("echo", "job")]

    assert (await runs(redis))["node"] == Counter(range(JOBS))
    assert await redis.exists("interop:ours", "resque:queue:mail", "resque:queue:mail.node") == 0
    assert [key async for key in redis.scan_iter("resque:worker:*:mail")] == []
    fives = {f'[{{"n":{n}}}]' for n in range(0, JOBS, 5)}
    assert {each.args for each in echoes.only_here} <= fives
    assert len(echoes.only_here) == echoes.rule.count("shadow_failed") > 0
    assert (echoes.only_there, echoes.agreed[1]) == ([], 0)
    assert echoes.ended + echoes.lost == echoes.rule.count("copied")
    assert echoes.rule.count("copied") + echoes.rule.count("passed") == JOBS
    assert (len(jobs.only_there), jobs.agreed, jobs.only_here) == (8, (0, 2), [])
    assert {*echoes.jobs} == {("echo", "mail")}
    assert await redis.llen("resque:failed") == 10


async def test_ruby_runs_each_job_once(ruby: RubyDriver, redis_url: str, redis: Any) -> None:
    """With the arguments that it wrote; both sides are compared by them, however each spells numbers."""
    args: list[list[Any]] = [[n, {"z": 1.0, "a": [], "b": 2**64}] for n in range(60)]

    async def echo(number: int, _: Any) -> None:
        if number % 3 == 0:
            raise ValueError("three")

    def fail(_: Any) -> None:
        """Not here."""

    ours = {"Echo": define("Echo", echo, shadow=True), "Fail": define("Fail", fail, shadow=True)}
    async with Resque(redis_url) as resque, working(redis_url, ours, "mail", slots=5):
        for name in ours:
            await migrate(resque.store, name, replace(RULE, language="ruby"))
        await ruby.call("worker.start", {"queues": ["mail.ruby"], "fork": False})
        for first in range(0, 60, 20):
            await ruby.call("enqueue_all", "mail", "Echo", args[first : first + 20])
            await wait_for(lambda last=first + 20: _ran_in_ruby(redis, last), 60)  # type: ignore[misc]
        await ruby.call("enqueue_all", "mail", "Fail", [["é"], [1.5]])
        await wait_for(lambda: _failed(redis, 2), 60)
        await wait_for(lambda: _are_known(resque, 2, "Fail"), 60)
        await wait_for(lambda: _are_known(resque, 60, "Echo"), 60)
        echoes, fails = [await _compared(resque, each) for each in ("Echo", "Fail")]

    ran = [json.loads(each)["args"] for each in await redis.lrange("interop:ran", 0, -1)]
    assert sorted(ran, key=lambda one: one[0]) == args
    assert (len(echoes.only_here), echoes.agreed, echoes.only_there) == (20, (40, 0), [])
    assert [each.there for each in fails.only_there] == ["RuntimeError: é", "RuntimeError: 1.5"]


async def _compared(resque: Resque, name: str) -> Comparison:
    """Once all is known of the other side, which notes the end of a run before it leaves its record."""
    seen = list[Comparison]()

    async def settled() -> bool:
        seen.append(await compare(resque, name, (await migrations(resque.store))[name]))
        return all(each.there is not None for each in seen[-1].runs)

    await wait_for(settled, 60)
    return seen[-1]


async def _ran_in_ruby(redis: Any, count: int) -> bool:
    return bool(await redis.llen("interop:ran") >= count)


async def _failed(redis: Any, count: int) -> bool:
    return bool(await redis.llen("resque:failed") >= count)


async def _sent(redis: Any, count: int) -> bool:
    return int(await redis.hget("resque:resqpy:limits:migration:echo", "theirs") or 0) >= count


async def _are_known(resque: Resque, count: int, name: str) -> bool:
    rule = (await migrations(resque.store))[name]
    return rule.count("shadow_succeeded") + rule.count("shadow_failed") >= count


async def _all_ran(redis: Any) -> bool:
    done = len((await runs(redis))["node"]) == JOBS
    return done and await redis.llen("resque:failed") == 10
