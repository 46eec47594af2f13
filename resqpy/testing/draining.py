"""Runs all jobs in the queues, in this process, with a worker as in production."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from resqpy.base.concurrency.waiting import first_of
from resqpy.base.errors import PoolStateError, ResqpyError
from resqpy.base.model import Job
from resqpy.base.when import Duration, duration_s
from resqpy.engine.options import ScalingOptions
from resqpy.engine.worker.multi_worker import MultiWorker
from resqpy.framework.api.api import api
from resqpy.framework.config.connection import worker_options
from resqpy.store import queues as queue_store
from resqpy.testing.promoting import promote_all

SUCCESS, FAILURE, AGAIN = "success", "failure", "re_enqueue"


@dataclass(frozen=True, slots=True)
class DrainedJob:
    """A job that ran.

    Attributes:
        end: "success", "failure", or "re_enqueue" for one that will be retried or waits for a lock.
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
        jobs: all; one that is retried occurs once per attempt.
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

    def follow(self, worker: MultiWorker) -> None:
        """Record what a worker does."""
        worker.on(SUCCESS, self._success)
        worker.on(FAILURE, self._failure)
        worker.on(AGAIN, self._again)

    def _success(self, _number: int, queue: str, job: Job, result: Any, _ms: int) -> None:
        self.jobs.append(DrainedJob(job.class_name, job.args, queue, SUCCESS, result=result))

    def _failure(self, _number: int, queue: str, job: Job, error: Any, _ms: int) -> None:
        self.jobs.append(DrainedJob(job.class_name, job.args, queue, FAILURE, error=error))

    def _again(self, _number: int, queue: str, job: Job, _info: Any) -> None:
        self.jobs.append(DrainedJob(job.class_name, job.args, queue, AGAIN))


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
        PoolStateError: the workers are paused.
    """
    drained, most_s = Drained(), duration_s(timeout, "timeout")
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
    for event in ("pause", SUCCESS, FAILURE, AGAIN):
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
    if len(drained) > most:  # all ended between two checks
        raise ResqpyError(f"drain: {len(drained)} jobs have ended; `most` is {most}")


def _new_worker(queues: str | Sequence[str]) -> MultiWorker:
    resque, one = api.resque, ScalingOptions(min_task_processors=1, max_task_processors=1)
    clock = getattr(resque.queue, "clock", None)
    worker = MultiWorker(
        resque.store,
        api.registry.definitions,
        queues,
        worker_options(api.config),
        one,
        **({} if clock is None else {"clock": clock}),
    )
    queue: Any = resque.queue  # of another class, if replaced
    worker.queue = queue
    return worker


async def _waiting(worker: MultiWorker) -> int:
    """How many jobs wait in the worker's queues."""
    worker.queues.resolve(await queue_store.names(worker.store))
    return sum(await queue_store.lengths(worker.store, worker.queues.names))
