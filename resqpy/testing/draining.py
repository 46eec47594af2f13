"""Runs all jobs in the queues, in this process, with a worker as in production."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from resqpy.base.concurrency.own_tasks import first_of
from resqpy.base.errors import PoolStateError, ResqpyError, UsageError
from resqpy.base.model import Job
from resqpy.base.when import Duration, duration_s
from resqpy.engine.options import LeaderOptions, ScalingOptions
from resqpy.engine.queue.queue import Queue
from resqpy.engine.scheduler.election import Leadership, led_briefly
from resqpy.engine.scheduler.promotion import Claims, DueItemPolicy, EventReporter, raise_if_refused
from resqpy.engine.scheduler.schedule_chores import schedule_chores
from resqpy.engine.worker.multi_worker import MultiWorker
from resqpy.engine.worker.queues import QueueNames
from resqpy.framework.api.api import api
from resqpy.framework.config.config import worker_options
from resqpy.framework.process.parts import misspelled_queues
from resqpy.schedules.tasks import Announcer, own_tasks
from resqpy.store import delayed, periodic, queues, queues as queue_store
from resqpy.store.connection.client import FollowingClock
from resqpy.store.delayed import Decision, is_second
from resqpy.store.overview import queue_pauses
from resqpy.store.periodic import Seen
from resqpy.testing.enqueued import EnqueuedJob

# A scheduler's work, done once with our own clock: what is due enters its queue.
#
# Scheduler processes use Redis' clock, which nobody can set. This takes the leadership like they do, for a
# moment, and uses their own parts.

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
    async with led_briefly(resque.store, LeaderOptions(), NAME, _LEASE_S) as election:
        own, shared = election.leadership("own"), election.leadership("shared")
        if own is None or shared is None:
            raise UsageError(
                f"another scheduler leads here ({election.foreign_leader or 'of resqpy'}), and would move the "
                "jobs by its own clock; in a test start the process with scheduler=False"
            )
        yield Promoter(queue, own, shared)


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
        heard = frozenset({"transferred_job"}).__contains__
        reporter = EventReporter(self._emit, heard, self._store)
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
        results = await delayed.decide_delayed(store, self._shared, second, decisions)
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


SUCCESS, FAILURE, AGAIN, SNOOZED = "success", "failure", "re_enqueue", "snoozed"
EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class DrainedJob:
    """A job that ran.

    Attributes:
        end: "success", "failure", "re_enqueue" for one that will be retried or waits for a lock, "snoozed" or
            "expired".
        result: what it returned.
        error: what it raised, if it failed permanently.
    """

    task: str
    args: list[Any]
    queue: str
    end: str
    result: Any = None
    error: BaseException | None = None


@dataclass(slots=True)
class Drained:
    """What ran, in the order in which it ended.

    Attributes:
        jobs: all; one that is retried or snoozed occurs once per run.
    """

    jobs: list[DrainedJob] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.jobs)

    @property
    def succeeded(self) -> list[DrainedJob]:
        """Those that returned."""
        return [each for each in self.jobs if each.end == SUCCESS]

    @property
    def failed(self) -> list[DrainedJob]:
        """Those that are in the failed list now."""
        return [each for each in self.jobs if each.end == FAILURE]

    @property
    def again(self) -> list[DrainedJob]:
        """The attempts after which the job was delayed."""
        return [each for each in self.jobs if each.end == AGAIN]

    @property
    def snoozed(self) -> list[DrainedJob]:
        """The runs that raised `Snooze`, after which the job was delayed."""
        return [each for each in self.jobs if each.end == SNOOZED]

    def follow(self, worker: MultiWorker) -> None:
        """Record what a worker does."""
        worker.on(SUCCESS, self._success)
        worker.on(FAILURE, self._failure)
        worker.on(AGAIN, self._again)
        worker.on(SNOOZED, self._snoozed)
        worker.on(EXPIRED, self._expired)

    def _success(self, _number: int, queue: str, job: Job, result: Any, _ms: int) -> None:
        self.jobs.append(DrainedJob(job.class_name, job.args, queue, SUCCESS, result=result))

    def _failure(self, _number: int, queue: str, job: Job, error: Any, _ms: int) -> None:
        self.jobs.append(DrainedJob(job.class_name, job.args, queue, FAILURE, error=error))

    def _again(self, _number: int, queue: str, job: Job, _info: Any) -> None:
        self.jobs.append(DrainedJob(job.class_name, job.args, queue, AGAIN))

    def _snoozed(self, _number: int, queue: str, job: Job, _info: Any) -> None:
        self.jobs.append(DrainedJob(job.class_name, job.args, queue, SNOOZED))

    def _expired(self, _number: int, queue: str, job: Job) -> None:
        self.jobs.append(DrainedJob(job.class_name, job.args, queue, EXPIRED))


async def drain(
    queues: str | Sequence[str] = "*",
    *,
    delayed: bool = False,
    raising: bool = False,
    most: int = 1000,
    timeout: Duration = 30_000,
) -> Drained:
    """Run the jobs in the queues until they are empty, one after the other.

    Args:
        queues: as for a worker: names in order of priority, `*`, globs.
        delayed: move delayed jobs to their queues, whatever their time, until none are left. To move only
            those that are due, use a `manual_clock`.
        raising: raise the first error of a job that failed permanently.
        most: maximum number of jobs.
        timeout: milliseconds or a timedelta for all of it.

    Raises:
        ResqpyError: more jobs, or more time, were needed; a task may enqueue itself.
        PoolStateError: the workers are paused, or all queues that have jobs.
    """
    drained, most_s = Drained(), duration_s(timeout, "timeout")
    for wrong in (
        await misspelled_queues(QueueNames(queues).specs, api.registry, api.resque)
    ).values():
        warnings.warn(
            f"drain: {wrong}", stacklevel=2
        )  # it would run nothing, and a test pass by that
    try:
        async with asyncio.timeout(most_s):
            await _work(queues, drained, most)
            while delayed and await promote_all():
                await _work(queues, drained, most)
    except TimeoutError as error:
        raise ResqpyError(
            f"drain: not finished within {most_s:g} s; {len(drained)} jobs have ended"
        ) from error
    if raising and drained.failed:
        problem = drained.failed[0].error
        assert problem is not None
        raise problem
    return drained


async def _work(queues: str | Sequence[str], drained: Drained, most: int) -> None:
    """Work until nothing waits and nothing runs."""
    worker, idle = _new_worker(queues), asyncio.Event()
    drained.follow(worker)
    for event in ("pause", SUCCESS, FAILURE, AGAIN, SNOOZED, EXPIRED):
        worker.on(event, lambda *_: idle.set())
    async with worker:
        while await _waiting(worker) or worker.pool.slots.busy:
            if worker.pool.paused:
                raise PoolStateError("drain: the workers are paused (a key in Redis says so)")
            if len(drained) >= most:
                raise ResqpyError(
                    f"drain: {most} jobs have ended and the queues are not empty; does a task "
                    "enqueue itself? (`most` is the limit)"
                )
            idle.clear()
            worker.pool.queues_changed(None)
            await first_of(idle.wait(), worker.wait())
        await worker.pool.shadows.finish()
    await api.resque.failures.finish()
    if len(drained) > most:  # all ended between two checks
        raise ResqpyError(f"drain: {len(drained)} jobs have ended; `most` is {most}")


def _new_worker(queues: str | Sequence[str]) -> MultiWorker:
    resque, one = api.resque, ScalingOptions(min_task_processors=1, max_task_processors=1)
    clock = getattr(resque.queue, "clock", None)
    worker = MultiWorker(
        resque.store,
        resque.definitions_for_work(),
        queues,
        worker_options(api.config),
        one,
        **({} if clock is None else {"clock": clock}),
    )
    queue: Any = resque.queue  # of another class, if replaced
    worker.queue = queue
    resque.failures.follow(worker)
    return worker


async def _waiting(worker: MultiWorker) -> int:
    """How many jobs wait in the worker's queues."""
    worker.queues.resolve(await queue_store.names(worker.store))
    names = worker.queues.names
    lengths = await queue_store.lengths(worker.store, names)
    filled = [name for name, length in zip(names, lengths, strict=True) if length]
    paused = await queue_pauses(worker.store, filled) if filled else {}
    if paused and len(paused) == len(filled) and not worker.pool.slots.busy:
        raise PoolStateError(f"drain: the queues with jobs are paused: {', '.join(paused)}")
    return sum(lengths)
