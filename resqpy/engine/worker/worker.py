"""Workers: one slot (`Worker`) or as many as the event loop can handle (`MultiWorker`).

Both have the events of node-resque, with the same names in snake case.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Mapping, Sequence
from functools import partial
from typing import Any

from resqpy.base import codec
from resqpy.base.clock import SYSTEM_CLOCK, Clock
from resqpy.base.concurrency.loops import ThreadFailed, on_its_loop
from resqpy.base.concurrency.own_tasks import Deadline
from resqpy.base.errors import PoolStateError, StoreError, UnknownTask, UsageError
from resqpy.base.imports import near_match
from resqpy.base.json_rules import plain
from resqpy.base.model import WorkerId
from resqpy.engine.definition import Definitions, definitions
from resqpy.engine.lifecycle import OutcomeKind
from resqpy.engine.options import FROM_OPTIONS, WorkerOptions
from resqpy.engine.queue.queue import Queue
from resqpy.engine.role import LAST_S, Connection, EventSink, Role, tell_error, within_limit
from resqpy.engine.run import Run
from resqpy.engine.worker import forks, identity
from resqpy.engine.worker.execute import execute
from resqpy.engine.worker.heartbeat import AfterBeat, Obey
from resqpy.engine.worker.newer import Newer
from resqpy.engine.worker.pool import Pool
from resqpy.engine.worker.queues import QueueNames
from resqpy.engine.worker.slots import Slot
from resqpy.engine.worker.threads import ThreadRunner
from resqpy.engine.worker.wakeup import Wakeup
from resqpy.store import locks
from resqpy.store.connection.client import RedisClock, hear, persevere, shared_clock

# How a worker stops: let running jobs finish, cancel the rest, put unfinished jobs back.

_REPORT_WITHIN_S = 3.0  # for reporting the last ends
_HALT_WITHIN_S = 2.0  # for an exchange in flight
_HEARD_WITHIN_S = 5.0  # for Redis to say what it may have given us, if nothing is running
_PAUSE_S = 0.2
_REFUSALS = 5  # of the last ends, before they are left in their records for the rescue


class Stopping:
    """The steps of a stop, in order."""

    def __init__(self, pool: Pool, options: WorkerOptions, events: EventSink) -> None:
        self._pool = pool
        self._options = options
        self._events = events
        self._hurry = asyncio.Event()

    def hurry(self) -> None:
        """Stop waiting for running jobs."""
        self._hurry.set()

    async def drain(self, timeout_s: float | None, dispatcher: asyncio.Task[None] | None) -> None:
        """Claim nothing more and wait until nothing runs, time is up, `hurry` is called, or the dispatcher,
        which would report an end, is gone. If Redis does not answer and there is nothing to report, it
        does not wait long.
        """
        self._pool.stopping = True
        self._pool.look()
        waits: set[asyncio.Task[object]] = {
            asyncio.ensure_future(self._pool.idle()),
            asyncio.ensure_future(self._hurry.wait()),
            asyncio.ensure_future(self._nothing_ran_of_late()),
        }
        watched = waits | ({dispatcher} if dispatcher is not None else set())
        try:
            await asyncio.wait(watched, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()

    async def _nothing_ran_of_late(self) -> None:
        left_s = _HEARD_WITHIN_S
        while left_s > 0:
            await asyncio.sleep(_PAUSE_S)
            left_s = _HEARD_WITHIN_S if self._pool.slots.busy else left_s - _PAUSE_S

    async def halt(self, deadline: Deadline) -> None:
        """Let the dispatcher end, with the exchange in flight."""
        with contextlib.suppress(TimeoutError):
            await self._pool.halt(deadline.left(_HALT_WITHIN_S))

    async def interrupt(self) -> None:
        """Cancel what still runs, wait a little, and decide what does not end."""
        pool = self._pool
        found = (pool.runner.interrupt(slot) for slot in pool.slots.busy)
        tasks = [task for task in found if task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=self._options.cancel_timeout_s)
        for slot in pool.slots.busy:
            pool.runner.give_up(slot)

    async def report(self, deadline: Deadline) -> None:
        """Report the last ends and leave. What can't be reported stays in its record, where the rescue
        finds it.
        """
        try:
            async with asyncio.timeout(deadline.left(_REPORT_WITHIN_S)):
                await self._report()
        except TimeoutError:
            words = _TOO_LATE if self._pool.reporting.ended else _NOT_HEARD
            tell_error(self._events, StoreError(words))

    async def _report(self) -> None:
        refusals = 0
        while refusals < _REFUSALS:
            try:
                if await self._pool.report_all():
                    return
                refusals += self._pool.reporting.try_refused()
            except StoreError as error:
                tell_error(self._events, error)
            await asyncio.sleep(_PAUSE_S)

    async def unregister(self) -> None:
        """Remove the process from what others see, unless the content of its records is in doubt: then it
        leaves silently, and the rescue handles them.
        """
        slots = self._pool.slots.all
        try:
            if not self._pool.reporting.doubt:
                await self._pool.slots.leave()
                self._pool.tell_spoiled()
        except StoreError as error:
            tell_error(self._events, error)
        for slot in slots:
            self._events.tell("end", slot)


_TOO_LATE = (
    "the last jobs could not be reported to Redis in time; they are still in their records, and go back to "
    "their queues when this process is presumed dead"
)

_NOT_HEARD = (
    "Redis did not answer in time; a job that it may just have given this process is still in its record, and "
    "goes back to its queue when this process is presumed dead"
)


_HEAR_EVERY_S = 300.0  # between queries of Redis' time, which drifts by some milliseconds
# Of LAST_S, the seconds for the last steps of a stop, whatever delays them.
_HEARTBEAT_S, _UNREGISTER_S, _CLOSE_S = 2.0, 2.0, 1.0


class BaseWorker(Role):
    """The common part of `Worker` and `MultiWorker`.

    Args:
        connection: a `Store`, `RedisOptions` or a URL.
        jobs: tasks by name; see `resqpy.engine.definition.definitions`.
        queues: names in order of priority, `*`, globs, `!exclusions`; a list, or one comma-separated text.

    Attributes:
        queue: for tasks and plugins that enqueue, on the same Redis.
        on_order: obeys orders (`resqpy process`), in the heartbeat's thread, and returns the answer.
        after_beat: called in that thread after each heartbeat, with its connection; set before the start.
        facts: what others are told of the process besides, in JSON; set before the start.
    """

    def __init__(
        self,
        connection: Connection,
        jobs: Mapping[str, Any],
        queues: str | Sequence[str] = "*",
        options: WorkerOptions | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        super().__init__(connection)
        self.definitions: Definitions = definitions(jobs)
        self.options: WorkerOptions = options or WorkerOptions()
        self.queues: QueueNames = QueueNames(queues)
        self.queue: Queue = Queue(self.store, self.definitions, clock)
        self._clock = clock
        self._pool: Pool | None = None
        self._wakeup: Wakeup | None = None
        self._stopping: Stopping | None = None
        self._newer: Newer | None = None
        self._dispatcher: asyncio.Task[None] | None = None
        self.on_order: Obey = _refuse
        self.after_beat: AfterBeat = _nothing
        self.facts: dict[str, Any] = {}

    @property
    def pool(self) -> Pool:
        """The slots and their dispatcher."""
        if self._pool is None:
            raise PoolStateError("the worker was not started")
        return self._pool

    @property
    def worker_ids(self) -> list[WorkerId]:
        """The ids under which Ruby and Node see us."""
        return list(self._pool.slots.worker_ids) if self._pool is not None else []

    def _size(self) -> int:
        return 1

    async def _begin(self) -> None:
        self._clock = await shared_clock(self._clock, self.store)
        pool = self._pool = Pool(
            self.store,
            self.definitions,
            self.queues,
            self.options,
            self,
            worker=self,
            clock=self._clock,
        )
        pool.slots.facts = self.facts
        self._stopping = Stopping(pool, self.options, self)
        newer = self._newer = Newer(
            self.store, self.definitions, pool.slots.incarnation, self._clock, self._left
        )
        pool.runner.settle = newer.settle
        try:
            await persevere(self.store, lambda: pool.open_slots(self._size()))
        except BaseException:
            self._pool = None
            raise
        await self._known(newer.announce())
        wakeup = self._wakeup = Wakeup(
            self.store, pool, self.options, self, self._clock, self.on_order, after_beat=self.after_beat
        )  # fmt: skip
        try:
            wakeup.heartbeat.start()
        except ThreadFailed:
            await self._stopping.unregister()
            self._pool = None
            raise
        for side in (self._dispatch, wakeup.tracker.run, wakeup.poll, wakeup.rescuer.run):
            self.spawn(side)
        self.spawn(self._keep_time)
        if pool.has_limits:
            self.spawn(pool.keep_limits)

    async def _keep_time(self) -> None:
        """Query Redis' time periodically: this machine may have slept."""
        while isinstance(self._clock, RedisClock):
            await asyncio.sleep(_HEAR_EVERY_S)
            try:
                await hear(self._clock, self.store)
            except StoreError:
                continue

    async def _dispatch(self) -> None:
        forks.works_here()
        self._dispatcher = asyncio.current_task()
        await self.pool.dispatch()

    # -- control --

    def pause(self, *, for_good: bool = False) -> None:
        """Take no more jobs until `resume`; running ones continue.

        Args:
            for_good: show others that nobody will resume it.
        """
        self.pool.quiet, self.pool.for_good = True, for_good
        self._tell_state()

    def resume(self) -> None:
        """Take jobs again."""
        self.pool.quiet = self.pool.for_good = False
        self.pool.look()
        self._tell_state()

    def _tell_state(self) -> None:
        """Publish immediately that we are paused, or working again."""
        if self._wakeup is not None:
            self._wakeup.heartbeat.beat_now()

    def cancel(self, worker_id: str) -> bool:
        """Cancel the running job of one of our worker ids: it fails as `JobCancelled`."""
        return self.pool.cancel(worker_id)

    @on_its_loop
    async def stop(self, timeout_s: float | None = FROM_OPTIONS) -> None:
        """Take no more jobs, let running ones finish, cancel the rest, put unfinished jobs back.

        Args:
            timeout_s: seconds for running jobs; None: no limit. Default: the option.
        """
        if timeout_s is not None and timeout_s < 0:
            timeout_s = self.options.stop_timeout_s
        await self._stop_by(partial(self._stop, timeout_s))

    @on_its_loop
    async def stop_now(self) -> None:
        """Cancel running jobs now, also while a graceful `stop` is in progress."""
        if self._stopping is not None:
            self._stopping.hurry()
        await self.stop(0)

    async def _stop(self, timeout_s: float | None = None) -> None:
        stopping, wakeup = self._stopping, self._wakeup
        assert stopping is not None
        assert wakeup is not None
        self.pool.stopping = True
        self._tell_state()
        await stopping.drain(timeout_s, self._dispatcher)
        deadline = Deadline(LAST_S + self.options.cancel_timeout_s)
        await stopping.halt(deadline)
        await self._end_side_tasks(deadline)
        await stopping.interrupt()
        await stopping.report(deadline)
        for most_s, what, step in (
            (_HEARTBEAT_S, "the end of the heartbeat", wakeup.stop),
            (_UNREGISTER_S, "unregistering from Redis", stopping.unregister),
            (_UNREGISTER_S, "withdrawing the announced tasks", self._withdraw),
            (_CLOSE_S, "closing the pool", self.pool.close),
            (_CLOSE_S, "closing the connection", self._close_store),
        ):
            await within_limit(deadline.left(most_s), what, step())

    async def _withdraw(self) -> None:
        if self._newer is not None:
            await self._known(self._newer.withdraw())

    async def _known(self, noting: Coroutine[Any, Any, None]) -> None:
        """Announce or withdraw the tasks known here; errors don't matter."""
        try:
            await noting
        except StoreError as error:
            self._trouble(error)

    def _left(self, error: Exception, run: Run) -> None:
        """Report that jobs of a class are left to other workers."""
        self.tell("error", None, error, run.queue, run.job)

    def _trouble(self, error: Exception) -> None:
        """Emit an error that concerns no single job."""
        tell_error(self, error)

    def tell(self, event: str, slot: Slot | None, *details: Any) -> None:
        """Call the listeners."""
        self.emit(event, *details)

    # -- without Redis --

    async def perform_inline(self, name: str, args: Sequence[Any] = ()) -> Any:
        """Run a task here and now, with its plugins; only plugins write anything.

        Raises:
            UnknownTask: no such task.
            Exception: whatever the task raised.
        """
        if self.running:
            raise PoolStateError("perform_inline can't be used on a started worker")
        return await perform_inline(self, name, args)


async def _refuse(verb: str, _: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to orders where nobody has set `on_order`."""
    raise UsageError(f"this process obeys no orders ({verb})")


async def _nothing(_: Any) -> None:
    """After a heartbeat, where nobody has set `after_beat`."""


class Worker(BaseWorker):
    """One slot: runs one job after the other.

    Events: `start`, `end`, `poll` (queues), `ping` (time), `job` (queue, job), `re_enqueue` (queue, job,
    info), `success` (queue, job, result, ms), `failure` (queue, job, error, ms), `skipped` (queue, job) if
    a plugin forbade the run, `snoozed` (queue, job, info) if the task raised `Snooze`, `expired` (queue, job)
    if it was too old to run, `error` (error, queue, job), `pause`.
    """


_RAISED_INLINE = (OutcomeKind.FAILURE, OutcomeKind.RETRIED, OutcomeKind.SNOOZED)


async def perform_inline(worker: BaseWorker, name: str, args: Sequence[Any]) -> Any:
    """Run a task with its plugins, and return its result. If a plugin forbids the run, that is None, and
    the event `skipped` is emitted.

    Raises:
        UnknownTask: no such task.
        Exception: whatever the task raised, even if a plugin would retry it, or it is a `Snooze`.
    """
    definition = worker.definitions.get(name)
    if definition is None:
        hint = near_match(name, worker.definitions)
        raise UnknownTask(f'No job defined for class "{name}"{hint}')
    own_id = identity.worker_id(0, "inline", worker.queues.text)
    if definition.check is not None and not plain(args := list(args)):
        args = definition.check(args)
    raw = codec.encode_job(name, "inline", args)
    job = codec.decode_job(raw, f"_direct-queue-{own_id.name}")
    run = Run(job, definition, own_id, worker.store)
    run.worker = worker
    threads = ThreadRunner(1)
    caller = asyncio.current_task()
    cancels = caller.cancelling() if caller else 0
    try:
        outcome = await execute(run, threads)
        await locks.settle(worker.store, run.effects)
    finally:
        threads.close()
    if caller and caller.cancelling() > cancels:  # not the task's own: the caller was cancelled
        raise asyncio.CancelledError
    error = outcome.error if outcome.error is not None else run.error
    if error is not None and outcome.kind in _RAISED_INLINE:
        raise error
    if not run.performed:
        worker.tell("skipped", None, run.queue, run.job)
    return outcome.result
