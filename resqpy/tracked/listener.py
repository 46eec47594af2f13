"""A worker for one type of tracked tasks, with its own concurrency: irontask's `Listener`."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from resqpy.base.concurrency.own_tasks import own_task
from resqpy.base.errors import InvalidTask, UsageError
from resqpy.base.events import Emitter
from resqpy.engine.definition import Definition, define, is_async
from resqpy.engine.options import ScalingOptions, WorkerOptions
from resqpy.engine.run import current_run
from resqpy.engine.worker.multi_worker import MultiWorker
from resqpy.engine.worker.results import yields
from resqpy.store.connection.client import Store
from resqpy.tracked.active import ActiveTask
from resqpy.tracked.delivery import Deliveries, with_tracking
from resqpy.tracked.errors import ListenerDestroyed, TrackedError
from resqpy.tracked.processing import ProcessingState
from resqpy.tracked.run import active_task

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
        self._worker = MultiWorker(
            store,
            with_tracking({definition.name: definition}, deliveries(on_active=self._begun)),
            [queue],
            options,
            ScalingOptions(min_task_processors=concurrency, max_task_processors=concurrency),
        )
        self._worker.on("error", lambda error, *_: self.emit("error", error))
        self._worker.on("poll", lambda _, queue: self.emit("polled", queue))
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
        if self._worker.running:
            self._worker.resume()
            return
        try:
            await self._worker.start()
        except BaseException:
            self.running = False
            raise

    def stop(self) -> None:
        """Start no more tasks; running ones may finish. `start` resumes."""
        if self.running and not self.destroyed:
            self._worker.pause()
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
        await self._worker.stop(0)

    async def wait_destroyed(self) -> None:
        """Return when the worker is gone; for handlers that destroy their own listener."""
        if self._stopping is not None:
            await self._stopping

    def _called_by_handler(self) -> bool:
        run = current_run.get(None)
        return run is not None and run.worker is self._worker and not run.ended


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
