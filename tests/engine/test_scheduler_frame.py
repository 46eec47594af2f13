"""The frame of the scheduler: chores run while we lead, are woken, and fail alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from resqpy.engine.scheduler.election import Leadership, Scope
from resqpy.engine.scheduler.scheduler import ChoreLoop
from resqpy.framework.api.scheduler import Scheduler
from resqpy.framework.config.sections import SchedulerOptions
from tests.support.scheduling import StartScheduler, schedulers
from tests.support.waiting import wait_for


class Noted:
    """A chore that notes its runs."""

    def __init__(
        self, name: str = "noted", scope: Scope = "own", prefixes: Sequence[str] = ()
    ) -> None:
        self.name, self.scope, self.prefixes = name, scope, prefixes
        self.runs: list[Leadership] = []
        self.wait_s: float | None = 60.0
        self.fails = 0

    async def run(self, leadership: Leadership) -> float | None:
        self.runs.append(leadership)
        if self.fails:
            self.fails -= 1
            raise RuntimeError("boo")
        return self.wait_s


@pytest.fixture
async def start(redis_url: str) -> AsyncIterator[StartScheduler]:
    """A function that starts a scheduler; it is stopped with the test."""
    async with schedulers(redis_url) as start:
        yield start


async def test_a_chore_runs_once_we_lead_and_again_when_it_wants(start: StartScheduler) -> None:
    """The first run comes with the leadership, the next after the time it asked for."""
    chore = Noted()
    chore.wait_s = 0.02

    scheduler = await start(chores=[chore])

    await wait_for(lambda: len(chore.runs) >= 3)
    assert scheduler.leader
    assert scheduler.master
    assert chore.runs[0].epoch == 1


async def test_a_chore_is_woken_by_a_key_and_by_name(
    start: StartScheduler, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever changes a key with one of its prefixes wakes it; other keys do not."""
    heard: list[Any] = []
    changed = ChoreLoop.changed

    def hear(self: ChoreLoop, keys: Any) -> None:
        heard.append(keys)
        changed(self, keys)

    monkeypatch.setattr(ChoreLoop, "changed", hear)
    chore, other = Noted(prefixes=["resque:abc"]), Noted("other", prefixes=["resque:xyz"])
    scheduler = await start(chores=[chore, other])
    await wait_for(lambda: chore.runs and other.runs)
    await wait_for(lambda: None in heard)  # the tracker's beginning wakes all
    await asyncio.sleep(0.1)
    chore.runs.clear()
    other.runs.clear()

    await redis.set("resque:abcdef", 1)
    await wait_for(lambda: len(chore.runs) == 1)
    scheduler.wake("noted")
    await wait_for(lambda: len(chore.runs) == 2)

    assert other.runs == []


async def test_a_chore_that_fails_is_told_and_retried_and_the_others_go_on(
    start: StartScheduler,
) -> None:
    """An error is an event; it ends neither the chore nor the scheduler."""
    bad, good = Noted("bad"), Noted("good")
    errors: list[Exception] = []
    bad.fails, good.wait_s = 2, 0.02
    scheduler = await start(chores=[bad, good])
    scheduler.on("error", errors.append)

    await wait_for(lambda: len(bad.runs) == 3)

    assert [str(error) for error in errors][-1] == "boo"
    await wait_for(lambda: len(good.runs) > 3)
    assert scheduler.running


async def test_a_shared_chore_waits_while_a_foreign_scheduler_leads(
    start: StartScheduler, redis: Any
) -> None:
    """Our own chores run; the shared one begins when the foreign lock is gone."""
    await redis.set("resque:resque_scheduler_leader_lock", "node:1", ex=100)
    own, shared = Noted("own"), Noted("shared", "shared")

    scheduler = await start(chores=[own, shared], lease_s=2.0)

    await wait_for(lambda: own.runs)
    assert (scheduler.leader, scheduler.promoting, scheduler.foreign_leader) == (
        True, False, "node:1",
    )  # fmt: skip
    assert shared.runs == []
    await redis.delete("resque:resque_scheduler_leader_lock")
    await wait_for(lambda: shared.runs)
    assert scheduler.foreign_leader is None


async def test_stopping_gives_the_leadership_to_the_next_at_once(
    start: StartScheduler, redis: Any
) -> None:
    """A leader that stops in order leaves no lock behind."""
    events: list[str] = []
    first = await start(chores=[], lease_s=1000)
    for event in ("leader", "follower", "end"):
        first.on(event, lambda event=event: events.append(event))
    await wait_for(lambda: first.leader)
    second = await start(chores=[], lease_s=0.4)
    await wait_for(lambda: second.running)
    assert not second.leader

    await first.stop()

    await wait_for(lambda: second.leader)  # the lease would last for long
    assert events == ["leader", "end"]
    await second.stop()
    assert await redis.keys("*leader*lock") + await redis.keys("*master*lock") == []


def test_no_two_schedulers_have_one_name(redis_url: str) -> None:
    """Even where one configuration names them all: with one name both would lead."""
    names = {Scheduler(redis_url, options=SchedulerOptions(name="shop")).name for _ in range(9)}
    assert len(names) == 9
    assert all(name.startswith("shop+scheduler-") for name in names)


async def test_stopping_at_once_leaves_no_lock(redis_url: str, redis: Any) -> None:
    """A stop in the midst of the first round waits for it, and gives up what it brought."""
    for _ in range(20):
        async with Scheduler(redis_url):
            await asyncio.sleep(0)
        assert await redis.keys("*leader") + await redis.keys("*lock") == []
