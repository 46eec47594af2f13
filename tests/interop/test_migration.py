"""A class moves from node-resque to us and back, with its real workers on the other side."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from resqpy import Resque
from resqpy.engine.definition import define
from resqpy.store.migrations import ALL, migrate, migrations
from tests.engine.test_migrations_kill import RULE, idle, kill, runs, start, within
from tests.support.foreign import NodeDriver, StartNode
from tests.support.scheduling import StartScheduler
from tests.support.waiting import wait_for
from tests.support.working import working

SHARES = (0, 100, 5000, ALL, 0)


class Both:
    """Workers of both languages, and what they have run."""

    def __init__(self, url: str, redis: Any, start_node: StartNode, resque: Resque) -> None:
        self.resque = resque
        self.redis = redis
        self.ours: list[Any] = []
        self.theirs: list[tuple[NodeDriver, str]] = []
        self.kills = 0
        self._url = url
        self._start_node = start_node

    async def start(self) -> None:
        """One more of each."""
        self.ours.append(await asyncio.to_thread(start, self._url))
        node = await self._start_node()
        told = await node.call(
            "worker.start", {"queues": ["mail.node"], "name": f"node:{node.pid}"}
        )
        self.theirs.append((node, told["name"]))

    async def kill(self) -> None:
        """One of each, while it works. The job of Node's worker is retried, as an operator does it."""
        await asyncio.to_thread(kill, self.ours.pop(0))
        node, name = self.theirs.pop(0)
        await node.kill()
        await self.resque.force_clean_worker(name, "mail.node")
        await self.resque.retry_all_failed()
        self.kills += 1
        await self.start()

    async def all_ran(self, count: int) -> bool:
        """Whether so many different jobs have, and nothing is left."""
        found = await runs(self.redis)
        done = len({*found["python"], *found["node"]}) == count
        return (
            done
            and await idle(self.redis)
            and not await self.redis.exists("resque:queue:mail.node")
        )


@pytest.fixture
async def both(redis_url: str, redis: Any, start_node: StartNode) -> AsyncIterator[Both]:
    """Two processes of each."""
    async with Resque(redis_url) as resque:
        made = Both(redis_url, redis, start_node, resque)
        try:
            await made.start()
            await made.start()
            yield made
        finally:
            for child in made.ours:
                await asyncio.to_thread(kill, child)


@pytest.mark.parametrize(
    ("jobs", "kills"),
    [
        (1000, 1),
        pytest.param(10_000, 12, marks=[pytest.mark.full, pytest.mark.timeout(1800)]),
    ],
)
async def test_there_and_back(
    both: Both, redis: Any, tell: Callable[[str], None], jobs: int, kills: int
) -> None:
    """0, 1, 50, 100 and 0 % are ours, while processes of both are killed -9: none is lost, none is on both sides,
    and what runs twice was cut off.
    """
    found, shares = await runs(redis), []
    for phase, share in enumerate(SHARES):
        await migrate(both.resque.store, "echo", replace(RULE, share=share))
        numbers = range(phase * jobs, (phase + 1) * jobs)
        for n in range(kills):
            part = numbers[n * jobs // kills : (n + 1) * jobs // kills]
            await both.resque.enqueue_many([("mail", "echo", [{"n": each}]) for each in part])
            reached = numbers.start + n * jobs // kills + len(part) // 3
            await wait_for(lambda reached=reached: _ran(redis, reached), 120)  # type: ignore[misc]
            await both.kill()
        await wait_for(lambda done=numbers.stop: both.all_ran(done), 120)  # type: ignore[misc]
        found = await runs(redis)
        ours, theirs = ({*found[side]} & {*numbers} for side in ("python", "node"))
        counted = (await migrations(both.resque.store))["echo"]

        assert (ours & theirs, ours | theirs) == (set(), {*numbers})
        assert within(len(ours), jobs, share)
        assert counted.count("theirs") == len(theirs)
        shares.append(f"{len(ours) / jobs:.2%}")

    again = [sum(each.values()) - len(each) for each in found.values()]
    tell(f"{jobs:,} each: {', '.join(shares)} ours; {both.kills} kills of each; run twice: {again}")
    assert again[0] <= both.kills * 6
    assert again[1] <= both.kills


async def test_it_falls_back(both: Both, redis: Any) -> None:
    """Where ours fail: the rest is Node's, and so is what is retried. None is lost, and none has run twice."""
    await migrate(both.resque.store, "echo", RULE)
    await both.resque.enqueue_many([("mail", "echo", [{"n": n}]) for n in range(500)])
    await wait_for(lambda: both.all_ran(500), 120)
    await redis.set("interop:broken", 1)
    await both.resque.enqueue_many([("mail", "echo", [{"n": n}]) for n in range(500, 1500)])
    await wait_for(lambda: idle(redis), 120)
    failed = await redis.llen("resque:failed")
    rule = (await migrations(both.resque.store))["echo"]
    await both.resque.retry_all_failed()
    await wait_for(lambda: both.all_ran(1500), 120)
    found = await runs(redis)

    assert (rule.share, rule.back, rule.count("back_share")) == (0, "errors", RULE.share)
    assert 5 < failed < 100
    assert within(len(found["python"]), 500, RULE.share)
    assert {*found["node"]} >= {*range(500, 1500)}
    assert {each for side in found.values() for each in side.values()} == {1}


async def test_a_retry_stays_where_it_was(
    node: NodeDriver, start: StartScheduler, redis_url: str, redis: Any
) -> None:
    """Each job fails three times on its side, by the plugin Retry of either language; nobody else ever has it."""
    options = {"retryLimit": 3, "retryDelay": 1000}
    spec = {
        "name": "job",
        "perform": "fail",
        "plugins": ["Retry"],
        "pluginOptions": {"Retry": options},
    }
    await node.call("define", spec)
    attempts = Counter[int]()

    def fail(number: int) -> None:
        attempts[number] += 1
        raise ValueError

    ours = define("job", fail, plugins=["Retry"], plugin_options={"Retry": options})
    async with Resque(redis_url) as resque, working(redis_url, {"job": ours}, "mail", slots=5):
        await migrate(resque.store, "job", replace(RULE, max_errors=ALL))
        await start({"job": ours})
        await node.call("worker.start", {"queues": ["mail.node"]})
        await resque.enqueue_many([("mail", "job", [n]) for n in range(40)])
        await wait_for(lambda: _failed(redis, 40), 60)
        failed = await resque.failed(0, -1)
        theirs = {e.args[0] for e in failed if e.queue == "mail.node"}
        rule = (await migrations(resque.store))["job"]

    assert {*attempts.values()} == {3}
    assert {e.args[0] for e in failed if e.queue == "mail"} == {*attempts}
    assert (theirs | {*attempts}, theirs & {*attempts}) == ({*range(40)}, set())
    assert rule.count("ended") == rule.count("failed") == rule.count("ours") == 3 * len(attempts)
    assert rule.count("theirs") == len(theirs)  # Node's retries come back to its own queue


async def _failed(redis: Any, count: int) -> bool:
    return bool(await redis.llen("resque:failed") >= count)


async def _ran(redis: Any, count: int) -> bool:
    return bool(await redis.llen("interop:ran") >= count)
