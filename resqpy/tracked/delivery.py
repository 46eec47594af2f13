"""The deliveries of tracked tasks: claimed, run, ended; and the plugin through which a worker makes them."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from resqpy.base.clock import SYSTEM_CLOCK, Clock
from resqpy.base.codec import task_id_of
from resqpy.base.concurrency.own_tasks import own_task
from resqpy.base.errors import (
    InvalidTask,
    OutcomeUnknown,
    ResqpyError,
    StoreUnavailable,
    UsageError,
)
from resqpy.base.events import Emitter
from resqpy.base.model import Job
from resqpy.base.when import Duration
from resqpy.engine.definition import Definition, Definitions, define, is_async, yields
from resqpy.engine.lifecycle import RETURNED
from resqpy.engine.options import ScalingOptions, WorkerOptions
from resqpy.engine.plugin import CallNext, Plugin
from resqpy.engine.run import Run, current_run
from resqpy.engine.worker.execute import failure, unknown_task
from resqpy.engine.worker.multi_worker import MultiWorker
from resqpy.store.connection.client import RedisClock, Store
from resqpy.tracked import claiming
from resqpy.tracked.active import ActiveTask
from resqpy.tracked.claiming import TakenTask, claim
from resqpy.tracked.errors import ListenerDestroyed, TrackedError
from resqpy.tracked.locks import ClaimResult
from resqpy.tracked.processing import (
    FORCE_RELEASE,
    LOCK_LOST,
    Finished,
    LockKeeper,
    LockWatch,
    ProcessingState,
    VerbInterceptor,
)
from resqpy.tracked.record import Record, TaskStatus
from resqpy.tracked.run import Interceptor, TrackedRun, active_task

_log = logging.getLogger("resqpy.tracked")

_SOON_MS = 10_000
_LOST = "task %s (%s) was removed, or its lock expired: the changes of this run were not written"

OnStep = Callable[[Record], None]


class EarlyPromotion:
    """Runs a task that is due again within seconds at its exact time, not at the next whole second.

    The delayed list has only whole seconds. So the worker that ended a run remembers when the next one is
    due, and moves the job to its queue then. If that fails, or the worker is gone by then, nothing is lost:
    the job is in the delayed list, and any scheduler promotes it when its second has come.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._moving: set[asyncio.Task[None]] = set()

    def remember(self, run: Run, record: Record) -> None:
        """Schedule the next run of a task, if it is soon and not at a whole second."""
        due_ms = record.next_run_ms
        if record.status is not TaskStatus.SCHEDULED or due_ms is None or due_ms % 1000 == 0:
            return
        wait_ms = due_ms - self._clock.now_ms()
        if wait_ms <= _SOON_MS:
            loop = asyncio.get_running_loop()
            loop.call_later(max(0, wait_ms) / 1000, self._begin, run, record)

    def _begin(self, run: Run, record: Record) -> None:
        if run.worker is not None and run.worker.running:
            task = own_task(_move(run.store, record))
            self._moving.add(task)
            task.add_done_callback(self._moving.discard)


async def _move(store: Store, record: Record) -> None:
    """Move its job when the time has come by Redis' clock, whatever our clock says."""
    assert record.next_run_ms is not None
    try:
        now_us = await store.time_us()
        early_us = record.next_run_ms * 1000 - now_us
        if early_us > 0:
            await asyncio.sleep(early_us / 1_000_000)
            now_us += early_us
        await claiming.fall_due(store, record, now_us)
    except ResqpyError:
        return


class Deliveries:
    """All deliveries of tracked tasks in one process.

    Args:
        keeper: renews the locks.
        clock: corrected by Redis' time with each claimed task; None: a new one.
        on_step: called with the record when processing of a task begins here and when it has finished.
        on_active: called with each task before it is processed.
        interceptor: called as `await interceptor(task, call_next)` around the processing of each task;
            `call_next` returns how it finished.
        verb_interceptors: wrap the verbs of active tasks; see `intercepting`.
    """

    def __init__(
        self,
        keeper: LockKeeper,
        clock: RedisClock | None = None,
        on_step: OnStep | None = None,
        on_active: Callable[[ActiveTask], None] | None = None,
        interceptor: Interceptor | None = None,
        verb_interceptors: list[VerbInterceptor] | None = None,
    ) -> None:
        self._verb_interceptors = [] if verb_interceptors is None else verb_interceptors
        self._keeper = keeper
        self._clock = clock or RedisClock(SYSTEM_CLOCK)
        self._watch = LockWatch(self._clock)
        self._on_step = on_step
        self._on_active = on_active
        self._early = EarlyPromotion(self._clock)
        self._interceptor = interceptor

    async def around(self, run: Run, task_id: str, call_next: CallNext) -> None:
        """Run a job whose arguments contain a task id, if the task may run."""
        try:
            claimed = await claim(run, task_id, self._clock)
        except (OutcomeUnknown, StoreUnavailable):
            run.outcome = RETURNED
            return
        if claimed is None:
            return
        tracked = self._begin(run, claimed)
        try:
            if self._interceptor is None:
                await call_next()
            else:
                await tracked.intercepted(call_next, self._interceptor)
        finally:
            run.task_done = True
            self._keeper.let_go(tracked.lock)
        await tracked.conclude()

    def _begin(self, run: Run, claimed: ClaimResult) -> TrackedRun:
        self._clock.note_between(claimed.now_us, claimed.asked_s)
        tracked = TrackedRun(run, claimed, self._clock, self._verb_interceptors)
        task = tracked.task
        self._watch.add(task.processing)
        self._keeper.keep(tracked.lock)
        task.on("finished", partial(self._finished, run, task))
        if self._on_step is not None:
            self._on_step(task.record)
        if self._on_active is not None:
            self._on_active(task)
        return tracked

    def _finished(self, run: Run, task: ActiveTask, finished: Finished) -> None:
        self._watch.remove(task.processing)
        if finished.result == LOCK_LOST:
            _log.warning(_LOST, task.id, task.type)
        if finished.result in (FORCE_RELEASE, LOCK_LOST):
            return
        self._early.remember(run, task.record)
        if self._on_step is not None:
            self._on_step(task.record)


class Tracking(Plugin):
    """Runs jobs that carry a task id by their records: the outermost plugin of every task.

    Args:
        deliveries: those of the process.
    """

    hook_timeout: ClassVar[Duration | None] = None  # it waits for Redis as long as necessary

    def __init__(self, deliveries: Deliveries, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(options)
        self._deliveries = deliveries

    async def around(self, run: Run, call_next: CallNext) -> None:
        """Wraps the whole run, if the job belongs to a tracked task."""
        task_id = task_id_of(run.args)
        if task_id is None:
            await call_next()
        else:
            await self._deliveries.around(run, task_id, call_next)


def with_tracking(definitions: Mapping[str, Definition], deliveries: Deliveries) -> Definitions:
    """The same tasks, each of which can also be created as a tracked one.

    A tracked task that is not among them fails immediately, with its record, instead of being found later
    by the search for lost tasks.
    """
    tracking = Tracking(deliveries)

    def unknown(job: Job) -> Definition | None:
        if task_id_of(job.args) is None:
            return None
        return Definition(job.class_name, _no_such_task, is_async=True, around=(tracking,))

    known = {
        name: replace(definition, around=(tracking, *definition.around))
        for name, definition in definitions.items()
    }
    plain = dict(definitions)  # whose runs can be shorter
    return Definitions(known, unknown, lifecycle=TakenTask, without_record=plain)


async def _no_such_task(*_: Any) -> None:
    """Fail the run permanently: this worker would not know the task the next time either."""
    run = current_run.get()
    run.outcome = failure(unknown_task(run.class_name))


# A worker for one type of tracked tasks, with its own concurrency: irontask's `Listener`.

DEFAULT_CONCURRENCY = 10
_TELL = "tell"
Handler = Callable[[ActiveTask], Any]


class BlockingTask:
    """An `ActiveTask` for plain handlers, which run in a thread: its methods block until they are done.

    Everything else is the same: properties, `payload`, events (listeners are called on the loop).

    Args:
        loop: the event loop on which the task is processed.
    """

    def __init__(self, task: ActiveTask, loop: asyncio.AbstractEventLoop) -> None:
        object.__setattr__(self, "_task", task)
        object.__setattr__(self, "_loop", loop)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._task, name)
        if not inspect.ismethod(found):
            return found

        def call(*args: Any, **more: Any) -> Any:
            """Call it on the loop, and wait."""
            return self._wait(name, found, args, more)

        return call

    def _wait(self, name: str, method: Any, args: tuple[Any, ...], more: dict[str, Any]) -> Any:
        if not self._here():
            return asyncio.run_coroutine_threadsafe(
                _called(method, args, more), self._loop
            ).result()
        if inspect.iscoroutinefunction(method):
            raise UsageError(
                f"{name}() in an event listener: the event loop can't wait for itself; set a threading.Event "
                "there, and call it in the handler"
            )
        return method(*args, **more)

    def _here(self) -> bool:
        """Whether this is the loop's thread, which must not wait for itself."""
        try:
            return asyncio.get_running_loop() is self._loop
        except RuntimeError:
            return False

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._task, name, value)

    def __repr__(self) -> str:
        return repr(self._task)


async def _called(method: Any, args: tuple[Any, ...], more: dict[str, Any]) -> Any:
    result = method(*args, **more)
    return await result if inspect.isawaitable(result) else result


class Listener(Emitter):
    """Processes the tasks of one type, those of one queue.

    Events: `finished_task` (ActiveTask), `polled` (queue), `error` (error).

    Args:
        definition: runs the tasks.
        deliveries: makes the `Deliveries` of the listener; receives `on_active`.
        concurrency: how many run at the same time.

    Attributes:
        running: whether it starts tasks.
        destroyed: it can't be started any more.
        definition: runs the tasks.
        worker: processes them.
    """

    EVENTS: ClassVar[frozenset[str]] = frozenset({"finished_task", "polled", "error", _TELL})

    def __init__(
        self,
        store: Store,
        definition: Definition,
        queue: str,
        deliveries: Callable[..., Deliveries],
        *,
        concurrency: int = DEFAULT_CONCURRENCY,
        options: WorkerOptions | None = None,
    ) -> None:
        super().__init__()
        self.running: bool = False
        self.definition = definition
        self.task_type: str = definition.name
        self._active: dict[str, ActiveTask] = {}
        self.worker: MultiWorker = MultiWorker(
            store,
            with_tracking({definition.name: definition}, deliveries(on_active=self._begun)),
            [queue],
            options,
            ScalingOptions(min_task_processors=concurrency, max_task_processors=concurrency),
        )
        self.worker.on("error", lambda error, *_: self.emit("error", error))
        self.worker.on("poll", lambda _, queue: self.emit("polled", queue))
        self.destroyed: bool = False
        self._stopping: asyncio.Task[None] | None = None

    @property
    def active_count(self) -> int:
        """How many tasks are being processed."""
        return len(self._active)

    def _begun(self, task: ActiveTask) -> None:
        self._active[task.id] = task
        task.once("inactive", lambda: self._finished(task))

    def _finished(self, task: ActiveTask) -> None:
        if self._active.get(task.id) is task:
            del self._active[task.id]
        self.emit("finished_task", task)

    def tell(self, callback: Callable[[Any], Any], task: Any) -> None:
        """Call a callback with a task; its errors affect nobody else."""
        self.once(_TELL, callback)
        self.emit(_TELL, task)

    async def start(self) -> None:
        """Start processing tasks, or resume after a `stop`; does nothing if it is running.

        Raises:
            ListenerDestroyed: it can't be started any more.
        """
        if self.destroyed:
            raise ListenerDestroyed
        if self.running:
            return
        self.running = True
        if self.worker.running:
            self.worker.resume()
            return
        try:
            await self.worker.start()
        except BaseException:
            self.running = False
            raise

    def stop(self) -> None:
        """Start no more tasks; running ones may finish. `start` resumes."""
        if self.running and not self.destroyed:
            self.worker.pause()
        self.running = False

    async def destroy(self) -> None:
        """Stop, and release the running tasks, so that others can process them immediately.

        Their handlers are cancelled and can write nothing any more. A task that is just finishing may
        finish.

        Raises:
            ListenerDestroyed: it was destroyed already.
        """
        if self.destroyed:
            raise ListenerDestroyed
        self.stop()
        self.destroyed = True
        released = asyncio.gather(*map(_release, list(self._active.values())))
        self._stopping = own_task(self._stop_after(released))
        await asyncio.shield(released if self._called_by_handler() else self._stopping)

    async def _stop_after(self, released: asyncio.Future[list[None]]) -> None:
        await released
        await self.worker.stop(0)

    async def wait_destroyed(self) -> None:
        """Return when the worker is gone; for handlers that destroy their own listener."""
        if self._stopping is not None:
            await self._stopping

    def _called_by_handler(self) -> bool:
        run = current_run.get(None)
        return run is not None and run.worker is self.worker and not run.ended


async def _release(task: ActiveTask) -> None:
    """Release a task without its payload, which its handler may be changing."""
    while task.processing_state is ProcessingState.FINISHING:
        changed = asyncio.Event()
        task.once("state_changed", lambda _, changed=changed: changed.set())
        await changed.wait()
    try:
        await task.release(save_payload=False)
    except TrackedError as error:
        task.force_release(error)


def definition_of(task_type: str, handler: Handler | Definition) -> Definition:
    """The definition of a handler that takes the active task; a plain function takes a `BlockingTask`."""
    if isinstance(handler, Definition):
        return handler
    if yields(handler):
        raise InvalidTask(f"handler of {task_type!r} is a generator; calling it would run nothing")
    perform = _awaiting(handler) if is_async(handler) else _in_thread(handler)
    return define(task_type, perform)


def _awaiting(handler: Callable[[ActiveTask], Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def perform(*_: Any) -> Any:
        return await handler(_current())

    return perform


def _in_thread(handler: Callable[[Any], Any]) -> Callable[..., Any]:
    def perform(*_: Any) -> Any:
        task = _current()
        return handler(BlockingTask(task, task.processing.loop))

    return perform


def _current() -> ActiveTask:
    task = active_task(current_run.get())
    assert task is not None
    return task
