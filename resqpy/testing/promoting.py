"""A scheduler's work, done once with our own clock: what is due enters its queue.

Scheduler processes use Redis' clock, which nobody can set. This takes the leadership like they do, for a
moment, and uses their own parts.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from resqpy.base.errors import ResqpyError, UsageError
from resqpy.engine.options import LeaderOptions
from resqpy.engine.queue.queue import Queue
from resqpy.engine.scheduler.claims import Claims
from resqpy.engine.scheduler.due import DueItemPolicy
from resqpy.engine.scheduler.election import Election, Leadership
from resqpy.engine.scheduler.promotion import EventReporter, raise_if_refused
from resqpy.engine.scheduler.redis_clock import FollowingClock
from resqpy.engine.scheduler.schedule_chores import schedule_chores
from resqpy.framework.api.api import api
from resqpy.schedules.announcing import Announcer, own_tasks
from resqpy.store import delayed, periodic, promote, queues
from resqpy.store.delayed import is_second
from resqpy.store.periodic import Seen
from resqpy.store.promote import Decision
from resqpy.testing.enqueued import EnqueuedJob

NAME = "resqpy.testing"
_LEASE_S = 60.0
_LONGEST_S = 366 * 86_400.0
_EVER_MS = 10**15


async def promote_all() -> int:
    """Move all delayed jobs, whatever their time; returns how many left their time."""
    async with promoter() as each:
        return await each.promote(_EVER_MS)


@asynccontextmanager
async def promoter() -> AsyncIterator[Promoter]:
    """The leadership, within the block.

    Raises:
        UsageError: a scheduler already leads here.
    """
    resque = api.resque
    made: Any = resque.queue
    queue = made if isinstance(made, Queue) else Queue(resque.store, api.registry.definitions)
    errors: list[ResqpyError] = []
    options = LeaderOptions(lease_s=_LEASE_S)
    election = Election(resque.store, options, NAME, lambda: None, errors.append)
    try:
        ballot = await election.ask()
        own, shared = election.leadership("own"), election.leadership("shared")
        if own is None or shared is None:
            raise UsageError(
                f"another scheduler leads here ({ballot.foreign or 'of resqpy'}), and would move the jobs by "
                "its own clock; in a test start the process with scheduler=False"
            )
        yield Promoter(queue, own, shared)
    finally:
        await election.resign()
    if errors:
        raise errors[0]


class Promoter:
    """Moves what is due, by the queue's clock.

    Attributes:
        enqueued: the jobs that entered their queues.
    """

    def __init__(self, queue: Queue, own: Leadership, shared: Leadership) -> None:
        self.enqueued: list[EnqueuedJob] = []
        self._errors: list[Exception] = []
        self._queue = queue
        self._store = queue.store
        clock = FollowingClock(queue.clock)
        self._own, self._shared = replace(own, clock=clock), replace(shared, clock=clock)
        reporter = EventReporter(self._emit, lambda event: event == "transferred_job")
        self._reporter = reporter
        self._policy = DueItemPolicy(queue, NAME)
        self._claims = Claims(queue, self._policy, reporter)
        announcer = _OnlyKnown(self._store, own_tasks(queue.definitions), self._errors.append)
        options = LeaderOptions(timeout_s=_LONGEST_S)
        chores = schedule_chores(queue, announcer, options, self._emit)
        self._periodic = [each for each in chores if each.scope == "own"]

    def _emit(self, event: str, *args: Any) -> None:
        """Receive what a scheduler would emit."""
        if event == "error":
            self._errors.append(args[0])
        elif event in ("transferred_job", "enqueue"):
            self.enqueued.append(_of_event(args[1]))

    async def promote(self, until_ms: int) -> int:
        """Move the delayed jobs that are due by then; returns how many left their time.

        Raises:
            Exception: what kept one from its queue.
        """
        moved, now_ms = 0, self._queue.clock.now_ms()
        for member in await delayed.seconds(self._store):
            if is_second(member) and int(member) * 1000 <= until_ms:
                moved += await self._promote_second(member, now_ms)
        await self._claims.run(self._own)
        self._raise()
        return moved

    async def _promote_second(self, member: str, now_ms: int) -> int:
        store, second = self._store, member.encode()
        items = await queues.page(store, store.keys.delayed(member), 0, -1)
        decisions = [Decision(each, second, self._policy.action(each, now_ms)) for each in items]
        results = await promote.decide_delayed(store, self._shared, second, decisions)
        raise_if_refused(decisions, results)
        self._reporter.decided(decisions, results)
        await delayed.remove_at(store, int(member))  # only the index' entry is left
        return len(items)

    async def run_periodic(self) -> int | None:
        """Enqueue the announced periodic tasks that are due; returns when (ms) the next one is."""
        waits_s = [await each.run(self._own) for each in self._periodic]
        self._raise()
        due = (await periodic.look(self._store)).due
        now_ms = self._queue.clock.now_ms()
        cron_s = waits_s[-1]
        times = [*due.values(), *([now_ms + int(cron_s * 1000)] if cron_s < _LONGEST_S else [])]
        return min(times, default=None)

    def _raise(self) -> None:
        if self._errors:
            raise self._errors.pop(0)


class _OnlyKnown(Announcer):
    """Announces again, by our clock, only what a test has started."""

    async def mend(self, seen: Seen, now_ms: int) -> bool:
        known = {name: task for name, task in self.tasks.items() if name in seen.tasks}
        if known:
            await periodic.announce(self._store, known, periodic.RENEW, now_ms)
        return False


def _of_event(job: Mapping[str, Any]) -> EnqueuedJob:
    """A job as in events; a delayed one may name no queue."""
    return EnqueuedJob(job["class"], list(job.get("args") or ()), job.get("queue") or "")
