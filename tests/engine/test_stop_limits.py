"""Whatever hangs at a stop: all its steps share one time. Counted by what each is given, not by a clock."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from resqpy import MultiWorker, Queue, RedisOptions, ScalingOptions, Scheduler, WorkerOptions
from resqpy.base.concurrency import own_tasks
from resqpy.base.concurrency.own_tasks import Deadline
from resqpy.engine import role
from tests.support.proxy import Proxy
from tests.support.waiting import wait_for

LAST_S, CANCEL_S = 0.6, 0.2
NEVER_S = 3600.0
MOMENT_S = own_tasks._MIN_S


class Given:
    """What the steps of stops were given.

    Attributes:
        whole: the time of each deadline.
        steps: what their steps were given, and what was left by then.
    """

    def __init__(self) -> None:
        self.whole: list[float] = []
        self.steps: list[tuple[float, float]] = []

    @property
    def beyond_s(self) -> float:
        """How much later than their time they may end in all: a moment for each at the most."""
        return sum(max(0.0, given - max(0.0, left)) for given, left in self.steps)


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Given:
    """Count, with small limits."""
    found = Given()
    begin, left = Deadline.__init__, Deadline.left

    def counting_begin(self: Deadline, seconds: float) -> None:
        found.whole.append(seconds)
        begin(self, seconds)

    def counting_left(self: Deadline, most_s: float) -> float:
        still = self._over_s - asyncio.get_running_loop().time()
        step_s = left(self, most_s)
        found.steps.append((step_s, still))
        return step_s

    monkeypatch.setattr(Deadline, "__init__", counting_begin)
    monkeypatch.setattr(Deadline, "left", counting_left)
    for module in ("worker", "scheduler"):
        monkeypatch.setattr(f"resqpy.engine.{module}.{module}.LAST_S", LAST_S)
    return found


async def stubborn(over: asyncio.Event) -> None:
    """Swallow all cancellations."""
    while not over.is_set():
        try:
            await over.wait()
        except asyncio.CancelledError:
            continue


def silent_soon(url: str) -> RedisOptions:
    """Options of somebody who waits for a silent Redis for ever."""
    return RedisOptions(url, connect_timeout_s=NEVER_S, reply_timeout_s=NEVER_S)


async def test_a_worker(redis_url: str, given: Given) -> None:
    """Redis is silent, a job and a side task swallow their cancellation, a thread of ours hangs."""
    over, begun = asyncio.Event(), asyncio.Event()

    async def job() -> None:
        begun.set()
        await stubborn(over)

    async with Proxy(redis_url) as proxy, Queue(redis_url) as queue:
        worker = MultiWorker(
            silent_soon(proxy.url),
            {"job": job, "quick": lambda: None},
            "q",
            WorkerOptions(stop_timeout_s=0.1, cancel_timeout_s=CANCEL_S, heartbeat_s=0.05),
            ScalingOptions(min_task_processors=2, max_task_processors=2),
        )
        worker.spawn(lambda: stubborn(over))
        await worker.start()
        await queue.enqueue("q", "job")
        await begun.wait()
        proxy.silence()
        try:
            await worker.stop()
        finally:
            over.set()
    assert given.whole == [LAST_S + CANCEL_S]
    assert len(given.steps) == 8
    assert given.beyond_s <= MOMENT_S * len(given.steps)


async def test_a_scheduler(redis_url: str, given: Given) -> None:
    """The same of the leader: it can't resign."""
    over = asyncio.Event()
    async with Proxy(redis_url) as proxy:
        scheduler = Scheduler(silent_soon(proxy.url))
        scheduler.spawn(lambda: stubborn(over))
        await scheduler.start()
        await wait_for(lambda: scheduler.leader)
        proxy.silence()
        try:
            await scheduler.stop()
        finally:
            over.set()
    assert given.whole == [LAST_S]
    assert len(given.steps) == 3
    assert given.beyond_s <= MOMENT_S * len(given.steps)


async def test_what_is_promised() -> None:
    """Each step by itself has a time, and the docs promise the sum and no more."""
    assert role.LAST_S + redis_initializer_s() < 8.0
    late: Any = Deadline(0)
    assert late.left(NEVER_S) == MOMENT_S
    assert Deadline(NEVER_S).left(1.0) == 1.0


def redis_initializer_s() -> float:
    """What closing the connection of a process may take, behind its worker."""
    from resqpy.framework.process import parts

    return parts._CLOSE_S
