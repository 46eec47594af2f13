"""A kind of schedules of one's own: a class, which the one chore and the one script run like the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from resqpy.engine.queue.queue import Queue
from resqpy.engine.scheduler.schedule_chores import ScheduleHooks
from resqpy.schedules.schedule import (
    Grid,
    Leader,
    Look,
    MissedRule,
    Plan,
    Schedule,
    ScheduleChore,
    Unreadable,
)
from resqpy.store.connection.client import Store
from resqpy.store.periodic import DueJob, Expected, Firing
from tests.support.leading import Leading

START_MS = 1_767_225_600_000
NOTES, HISTORY = "resque:beats", "resque:history"


class Beats:
    """A job each second; whether it entered its queue is kept with it."""

    name: str = "beats"
    scope: Literal["own", "shared"] = "own"
    prefixes: Sequence[str] = (NOTES,)
    foreign: bool = True

    def __init__(self, store: Store) -> None:
        self._store = store

    async def look(self, leader: Leader) -> Look:
        note = (await self._store.call("HGET", NOTES, "x") or b"").decode()
        now_ms = leader.clock.now_ms()
        times = Grid(START_MS, 1000)
        schedule = Schedule(
            "x", "frequency", "waiting", "Beat", "q", Unreadable(), times,
            MissedRule("all"), note, times.next_after(int(note or now_ms)), is_new=not note,
        )  # fmt: skip
        return Look([schedule])

    def firing(self, schedule: Schedule, what: Plan, jobs: Sequence[DueJob], now_ms: int) -> Firing:
        told: list[str | int] = [now_ms, len(jobs)]
        return Firing(
            expected=[Expected("HGET", NOTES, "x", schedule.note)],
            always=[("HSET", NOTES, "x", what.settled_ms)],
            pushed=[("RPUSH", HISTORY, "pushed", *told)],
            refused=[("RPUSH", HISTORY, "refused", *told)],
            jobs=[b'{"class":"Beat","args":[]}' for _ in jobs],
        )


async def test_a_kind_of_ones_own_fires_and_keeps_its_history(redis_url: str, redis: Any) -> None:
    """What is kept of a fire is written with it, or not at all."""
    async with Leading(redis_url, START_MS) as leading:
        jobs = {"Beat": {"perform": print, "queue": "q", "plugins": ["QueueLock"]}}
        hooks = ScheduleHooks(Queue(leading.store, jobs), print)
        chore = ScheduleChore(leading.store, Beats(leading.store), hooks, print, 60)
        assert await leading.run(chore) == 1
        leading.clock.advance(3000)
        assert await leading.run(chore) == 1
        leading.clock.advance(1000)
        await leading.run(chore)

    history = [word.decode() for word in await redis.lrange(HISTORY, 0, -1)]
    assert await redis.llen("resque:queue:q") == 1  # the lock refuses the others
    assert await redis.hget(NOTES, "x") == str(START_MS + 4000).encode()
    assert history == [
        "refused", str(START_MS), "0", "pushed", str(START_MS + 3000), "3",
        "refused", str(START_MS + 4000), "1",
    ]  # fmt: skip
