"""`api.tracked`: tracked tasks, their handlers and their events."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Self, Unpack

from resqpy.base.concurrency.loops import must_be_awaited
from resqpy.base.concurrency.own_tasks import in_own_thread
from resqpy.base.errors import UsageError
from resqpy.base.imports import import_dotted
from resqpy.base.keys import check_queue_name
from resqpy.engine.definition import Definition, define
from resqpy.engine.run import current_run
from resqpy.engine.worker.multi_worker import MultiWorker
from resqpy.framework.project.registry import Registry, registry_of
from resqpy.framework.tasks.arguments import refuse_positions
from resqpy.framework.tasks.task import is_definition
from resqpy.store.connection.client import Store
from resqpy.tracked.active import ActiveTask
from resqpy.tracked.checks import TaskDefaults, check_word
from resqpy.tracked.creating import CreateOptions
from resqpy.tracked.delivery import (
    DEFAULT_CONCURRENCY,
    Deliveries,
    Handler,
    Listener,
    definition_of,
)
from resqpy.tracked.events import TaskEvents
from resqpy.tracked.handle import TrackedTask
from resqpy.tracked.processing import LockKeeper, VerbInterceptor
from resqpy.tracked.record import Record
from resqpy.tracked.run import Interceptor, active_task
from resqpy.tracked.verbs import NewTask, Tracked

MAX_CONCURRENCY = 1000  # tasks that one listener runs

StateChange = Callable[[TrackedTask], Awaitable[None] | None]


def _words(task_type: object = "?", *_: object, **__: object) -> str:
    return f"tracked task {task_type!r}"


def _sync_of(_: TrackedApi) -> str:
    return "api.sync.tracked"


class TrackedApi(Tracked):
    """The verbs of `Tracked`, and what runs tasks that are not project tasks. An async context manager.

    A project's own tasks are run by its workers. Other types have handlers: `listen` with a function that
    takes the active task, `register_handler` with a function that takes the payload. Such a type has a
    queue of its own, with the name of the type.

    Args:
        registry: the project's tasks; if there are any, other types are rejected unless they have a handler
            here.
        defaults: `irontask`, `extra_horizon`, `twin`, or a `TaskDefaults`.
        keeper: renews the locks; None: create one.
        interceptors: a shared list; None: create one.
        follow: called with each worker that runs tasks here, before it starts.

    Attributes:
        events: events of tracked tasks anywhere; `await events.start()` to receive them.
        interceptors: functions that wrap each verb, also of active tasks here; append yours.
    """

    def __init__(
        self,
        store: Store,
        registry: Registry | None = None,
        defaults: str | TaskDefaults = "irontask",
        keeper: LockKeeper | None = None,
        interceptors: list[VerbInterceptor] | None = None,
        follow: Callable[[MultiWorker], None] = lambda _: None,
    ) -> None:
        super().__init__(
            store,
            types=None if registry is None else self._known_types,
            queue_of=self._default_queue,
            definition_of=self._known_definition,
            defaults=defaults,
        )
        if interceptors is not None:
            self.interceptors = interceptors
        self.events: TaskEvents = TaskEvents(store)
        self.listeners: dict[str, Listener] = {}
        self._registry = registry
        self._keeper = keeper or LockKeeper(store.options)
        self._follow = follow
        self._started = False

    def _known_types(self) -> list[str]:
        assert self._registry is not None
        return [*self._registry.tasks, *self.listeners]

    def _default_queue(self, task_type: str) -> str:
        tasks = {} if self._registry is None else self._registry.tasks
        return tasks[task_type].queue if task_type in tasks else task_type

    @must_be_awaited(lambda _, args, more: _words(*args, **more), sync=_sync_of)
    async def create(
        self,
        task_type: str,
        payload: Mapping[str, Any] | None = None,
        **options: Unpack[CreateOptions],
    ) -> TrackedTask:
        """Create a task. Its definition provides the retry options that are left out. See `Tracked`.

        Raises:
            InvalidInputs: the payload does not match the inputs of the project's task; nothing was written.
        """
        return await super().create(task_type, payload, **options)

    @must_be_awaited(lambda *_: "tracked tasks", sync=_sync_of)
    async def create_many(self, tasks: Iterable[NewTask]) -> list[TrackedTask | None]:
        """Create many tasks; see `Tracked`."""
        return await super().create_many(tasks)

    def _checked(
        self, task_type: str, payload: Mapping[str, Any] | None
    ) -> Mapping[str, Any] | None:
        """Check the inputs like an enqueue; a handler of this process accepts anything."""
        given = super()._checked(task_type, payload)
        tasks = {} if self._registry is None else self._registry.tasks
        if task_type not in tasks or task_type in self.listeners:
            return given
        refuse_positions(tasks[task_type], "it can't be tracked")
        wanted: Any = {} if given is None else given
        # anything but a mapping is rejected as no JSON object
        return tasks[task_type].inputs.as_sent(wanted) if isinstance(wanted, Mapping) else given

    def _known_definition(self, task_type: str) -> Definition | None:
        """The definition of the tasks of a type, here or in the project's workers."""
        if task_type in self.listeners:
            return self.listeners[task_type].definition
        return None if self._registry is None else self._registry.definitions.get(task_type)

    # -- handlers --

    async def listen(
        self,
        task_type: str,
        handler: Handler | Definition | Any,
        *,
        concurrency: int = DEFAULT_CONCURRENCY,
        queue: str | None = None,
        interceptor: Interceptor | None = None,
        state_change_callback: StateChange | None = None,
    ) -> Listener:
        """Process the tasks of a type here.

        Args:
            handler: a function that takes the `ActiveTask`, async or plain; or a task of the project (a
                `Task` class, a decorated function, or its name).
            concurrency: how many run at the same time, 1 to 1000.
            queue: where their jobs wait; default: the type's own queue.
            interceptor: see `Deliveries`.
            state_change_callback: called with the task when it starts to run and when it has ended.

        Returns:
            The listener, started if this object is.

        Raises:
            UsageError: the type already has a handler, or an argument is invalid.
        """
        check_word("task type", task_type)
        if task_type in self.listeners:
            raise UsageError(
                f"task type {task_type!r} has a handler here already; unregister that one first"
            )
        _check_callback("state_change_callback", state_change_callback)
        _check_callback("interceptor", interceptor)
        deliveries = partial(
            Deliveries,
            self._keeper,
            self.clock,
            on_step=None
            if state_change_callback is None
            else partial(self._tell, task_type, state_change_callback),
            interceptor=interceptor,
            verb_interceptors=self.interceptors,
        )
        listener = Listener(
            self.store,
            self._definition(task_type, handler),
            check_queue_name(self._default_queue(task_type) if queue is None else queue),
            deliveries,
            concurrency=_check_concurrency(concurrency),
        )
        self._follow(listener.worker)
        self.listeners[task_type] = listener
        if self._started:
            await self._begin(task_type)
        return listener

    async def _begin(self, task_type: str) -> None:
        """Start a listener; one that can't start is removed."""
        try:
            await self.listeners[task_type].start()
        except BaseException:
            del self.listeners[task_type]
            raise

    def _definition(self, task_type: str, handler: Any) -> Definition:
        named = isinstance(handler, str) and self._registry is not None
        if not (named or is_definition(handler)):
            if not callable(handler) and not isinstance(handler, Definition):
                raise UsageError(
                    f"handler of {task_type!r}: {handler!r} is neither function nor task"
                )
            return definition_of(task_type, handler)
        registry = self._registry or registry_of(handler)
        task = registry.task(handler)
        refuse_positions(task, f"it can't handle {task_type!r}")
        return replace(registry.definitions[task.name], name=task_type)

    async def register_handler(
        self,
        task_type: str,
        module: str,
        method: str,
        state_change_callback: StateChange | None = None,
        *,
        concurrency: int = 1,
    ) -> None:
        """Let a function of a module run the tasks of a type: TWIN's `registerHandler`.

        Args:
            module: dotted path.
            method: name of a function in it, async or plain, that takes the payload; its return value is
                the result.
            state_change_callback: called with the task when it starts to run and when it has ended.
            concurrency: how many run at the same time; one after the other by default.

        Raises:
            ImportFailed: there is no such function.
        """
        function = import_dotted(f"{module}:{method}")
        await self.listen(
            task_type,
            define(task_type, function),
            concurrency=concurrency,
            state_change_callback=state_change_callback,
        )

    async def unregister_handler(self, task_type: str) -> None:
        """Stop running tasks of a type; running ones are released."""
        listener = self.listeners.pop(task_type, None)
        if listener is not None and not listener.destroyed:
            await listener.destroy()

    def _tell(self, task_type: str, callback: StateChange, record: Record) -> None:
        listener = self.listeners.get(task_type)
        if listener is not None:
            listener.tell(callback, TrackedTask(record, self))

    # -- life cycle --

    async def start(self) -> None:
        """Start running tasks that have a handler here."""
        self._started = True
        for listener in self.listeners.values():
            await listener.start()

    def pause(self) -> None:
        """Start no more tasks; `start` resumes."""
        self._started = False
        for listener in self.listeners.values():
            listener.stop()

    async def stop(self) -> None:
        """Stop running tasks; running ones are released."""
        self._started = False
        gone = map(self.unregister_handler, list(self.listeners))
        results = await asyncio.gather(*gone, return_exceptions=True)
        await self.events.stop()
        await in_own_thread(self._keeper.close)
        for error in results:
            if error is not None:
                raise error

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


def _check_callback(what: str, function: object) -> None:
    if function is not None and not callable(function):
        raise UsageError(f"{what}: {function!r} is no function")


def _check_concurrency(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_CONCURRENCY:
        raise UsageError(
            f"concurrency {value!r}: must be a whole number from 1 to {MAX_CONCURRENCY}"
        )
    return value


def current_task() -> ActiveTask | None:
    """The tracked task that is being processed here; None if the job is not a tracked one."""
    run = current_run.get(None)
    return None if run is None else active_task(run)
