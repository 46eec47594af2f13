"""Middleware: code around the enqueueing and the run of tasks, for all tasks or for those that name it; and
what hears of their failures.

It is built on the engine's plugins: one plugin for each middleware of a task, inside the task's own
plugins, so that a retry sees what a `pre_processor` raised. Failures come from `failures.py`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, ClassVar

from resqpy.base.errors import InvalidInputs, InvalidTask, TaskUnfinished, UsageError
from resqpy.base.imports import misspelled, near_match
from resqpy.base.when import Duration, duration_s
from resqpy.engine.plugin import CallNext, Dequeuing, Enqueuing, Plugin
from resqpy.engine.run import Run, current_run
from resqpy.engine.worker.newer import INPUTS_REFUSED
from resqpy.framework.tasks.arguments import params_of
from resqpy.framework.tasks.resources import (
    SharedResources,
    all_of,
    as_context,
    driven,
    is_async_context,
    provide,
)

if TYPE_CHECKING:
    from resqpy.framework.tasks.failures import JobFailure
    from resqpy.framework.tasks.spec import TaskSpec


# One call of a task: the checked inputs, for middleware and `run`; kept in the engine's run.

_CALL = "resqpy.framework.call"


class TaskCall:
    """One call.

    Attributes:
        task: the task's spec.
        params: what `run` receives; middleware may change it.
        run: the engine's run: the job, its queue, its worker.
    """

    __slots__ = ("params", "run", "task")

    def __init__(self, task: TaskSpec, params: dict[str, Any], run: Run) -> None:
        self.task: TaskSpec = task
        self.params: dict[str, Any] = params
        self.run: Run = run

    @property
    def worker(self) -> Any:
        """The worker that runs it."""
        return self.run.worker

    @property
    def result(self) -> Any:
        """What it returned."""
        return self.run.result

    @result.setter
    def result(self, value: Any) -> None:
        self.run.result = value

    @property
    def error(self) -> BaseException | None:
        """What it raised."""
        return self.run.error

    @error.setter
    def error(self, value: BaseException | None) -> None:
        self.run.error = value


def call_of(task: TaskSpec, run: Run) -> TaskCall:
    """The call of a run; the inputs are checked on first access.

    Raises:
        InvalidInputs: what is wrong with them.
    """
    call: TaskCall | None = run.state.get(_CALL)
    if call is None:
        call = run.state[_CALL] = TaskCall(task, params_of(task, run.args), run)
    return call


Arguments = Callable[[tuple[Any, ...]], dict[str, Any]]


def performer(
    task: TaskSpec,
    shared: SharedResources | None,
    *,
    middleware: bool,
    around: Sequence[Middleware] = (),
) -> Any:
    """The function that the engine calls: async if the task's own is.

    Args:
        shared: the resources of the process; None: nobody would close them.
        middleware: it may have changed the inputs.
        around: what has an `around_run`, outermost first.

    Raises:
        InvalidTask: it needs resources of a process.
    """
    run, signature = task.signature.called(task.run), task.signature

    def arguments(args: tuple[Any, ...]) -> dict[str, Any]:
        current = current_run.get()
        try:
            params: Any = call_of(task, current).params if middleware else params_of(task, args)
        except InvalidInputs as error:
            current.state[INPUTS_REFUSED] = error
            raise
        if type(params) is not dict:
            raise UsageError(
                f"middleware set the params of {task.name!r} to {params!r}, which is no dict"
            )
        return signature.arguments(params, current.worker)

    if around or signature.resources:
        return _performer_within(task, arguments, around, _closing(shared, task))

    async def perform_async(*args: Any) -> Any:
        return await run(**arguments(args))

    def perform_in_thread(*args: Any) -> Any:
        return run(**arguments(args))

    return perform_async if task.is_async else perform_in_thread


def _performer_within(
    task: TaskSpec, arguments: Arguments, around: Sequence[Middleware], shared: SharedResources
) -> Any:
    """The same within what is around the task's function, and with its resources."""
    run, resources = task.signature.called(task.run), task.signature.resources

    async def within(args: tuple[Any, ...], body: Callable[..., Any]) -> Any:
        given = arguments(args)
        async with AsyncExitStack() as stack:
            for each in around:
                await _enter(stack, each, call_of(task, current_run.get()))
            given |= await provide(stack, resources, shared)
            return await body(**given)

    async def ended(**given: Any) -> Any:
        return _ended(run(**given))

    async def perform_async_within(*args: Any) -> Any:
        return await within(args, run)

    def perform_in_thread_within(*args: Any) -> Any:
        return driven(within(args, ended))

    return perform_async_within if task.is_async else perform_in_thread_within


def _closing(shared: SharedResources | None, task: TaskSpec) -> SharedResources:
    if shared is None and any(each.per_process for each in all_of(task.signature.resources)):
        raise InvalidTask(
            f"task {task.name!r} needs a resource of a process, which only a process of a project closes: run it "
            "by `resqpy worker`, or in a `Process`"
        )
    return shared or SharedResources()


async def _enter(stack: AsyncExitStack, middleware: Middleware, call: TaskCall) -> None:
    context = middleware.around_run(call)
    if hasattr(context, "__aenter__") and call.task.is_async:
        await stack.enter_async_context(context)
    elif hasattr(context, "__enter__"):
        stack.enter_context(context)
    else:
        kind = "async" if call.task.is_async else "plain"
        raise UsageError(
            f"around_run of middleware {middleware.title()!r} returned {context!r}, which is no context manager "
            f"for {kind} tasks like {call.task.name!r}"
        )


def _ended(result: Any) -> Any:
    """The result of a plain function; what it left to run would run outside of what is around it."""
    if inspect.isawaitable(result):
        if isinstance(result, Coroutine):
            result.close()
        raise TaskUnfinished(
            f"the plain task returned a {type(result).__name__}, which would run after its around_run and its "
            "resources have ended: make the task async, and await it there"
        )
    return result


_PROPERTIES = ("name", "everywhere", "priority", "hook_timeout")
_ENQUEUE, _RUN = ("pre_enqueue", "post_enqueue"), ("pre_processor", "post_processor")
_DEQUEUE = ("pre_dequeue", "post_dequeue")
HOOKS = (*_ENQUEUE, *_DEQUEUE, *_RUN, "around_run", "on_failure")


class Middleware:
    """Base of all middleware: override the hooks you need; they may be async or plain.

    Attributes:
        name: by which tasks refer to it. Default: the class's name with a lower-case first letter.
        everywhere: it applies to all tasks (ActionHero's `global`).
        priority: lower ones run earlier before a task, and later after it.
        hook_timeout: time limit of each of its hooks (milliseconds or a timedelta): then it is cancelled,
            and the enqueue or the job fails with `HookTimeout`. None: no limit. An `on_failure` that
            exceeds it is cancelled and logged.
    """

    name: ClassVar[str] = ""
    everywhere: ClassVar[bool] = False
    priority: ClassVar[int] = 100
    hook_timeout: ClassVar[Duration | None] = 30_000

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        if "around_run" in vars(cls):
            cls.around_run = as_context(cls.around_run)  # type: ignore[method-assign]  # decorated

    def pre_enqueue(self, job: Enqueuing) -> Any:
        """Before a job is enqueued: may change `job.args`. Returning False forbids it; an error is raised
        to the caller.
        """

    def post_enqueue(self, job: Enqueuing) -> Any:
        """A job was enqueued."""

    def pre_dequeue(self, job: Dequeuing) -> Any:
        """Waiting jobs are to be removed by `delete` or `del_by_function`: returning False keeps them, raising
        tells the caller.
        """

    def post_dequeue(self, job: Dequeuing) -> Any:
        """They were removed, `job.removed` of them."""

    def pre_processor(self, call: TaskCall) -> Any:
        """Before a run: may change `call.params`. Returning False skips the run; raising fails it."""

    def post_processor(self, call: TaskCall) -> Any:
        """After a run: `call.result` and `call.error` may be changed. Raising fails the job."""

    def around_run(self, call: TaskCall) -> Any:
        """What surrounds the task's function where that runs, in its thread or on the loop: a context
        manager, or a generator function that yields once. An async one is for async tasks only, a plain one
        for all. What the task raises is raised at the `yield`. It is part of the run: the task's time limit
        includes it, and what it raises fails the job.
        """

    def on_failure(self, failure: JobFailure) -> Any:
        """A job has failed, for good or until its next attempt, whatever the reason, and that is written.
        With `everywhere` also jobs without a task here: unknown ones, and what can't be read. What it
        raises is logged, and changes nothing for the job.
        """

    @classmethod
    def title(cls) -> str:
        """The name by which tasks refer to it."""
        return cls.name or cls.__name__[:1].lower() + cls.__name__[1:]


def overrides(middleware: Middleware, *hooks: str) -> bool:
    """Whether a middleware defines one of these hooks; others cost nothing."""
    return any(getattr(type(middleware), hook) is not getattr(Middleware, hook) for hook in hooks)


class MiddlewarePlugin(Plugin):
    """One middleware of one task as a plugin for the engine; its subclasses have the hooks."""

    in_shadow = True  # it may change the params, or open what the task needs

    def __init__(self, middleware: Middleware, task: TaskSpec) -> None:
        super().__init__()
        self._middleware = middleware
        self._task = task

    @property
    def name(self) -> str:
        """The middleware's name."""
        return self._middleware.title()

    @property
    def hook_limit_s(self) -> float | None:
        """The middleware's limit."""
        limit = self._middleware.hook_timeout
        return None if limit is None else duration_s(limit, f"hook_timeout of {self.name}")


class _OfRuns(MiddlewarePlugin):
    async def around(self, run: Run, call_next: CallNext) -> None:
        call = call_of(self._task, run)
        if await _result(self._middleware.pre_processor(call)) is False:
            run.vetoed = True
            return
        await call_next()
        await _result(self._middleware.post_processor(call))


class _OfEnqueues(MiddlewarePlugin):
    async def before_enqueue(self, job: Enqueuing) -> bool:
        return await _result(self._middleware.pre_enqueue(job)) is not False

    async def after_enqueue(self, job: Enqueuing) -> None:
        await _result(self._middleware.post_enqueue(job))


class _OfDequeues(MiddlewarePlugin):
    async def before_dequeue(self, job: Dequeuing) -> bool:
        return await _result(self._middleware.pre_dequeue(job)) is not False

    async def after_dequeue(self, job: Dequeuing) -> None:
        await _result(self._middleware.post_dequeue(job))


class _OfBoth(_OfRuns, _OfEnqueues):
    pass


async def _result(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


_PLUGINS = {(True, True): _OfBoth, (True, False): _OfEnqueues, (False, True): _OfRuns}


def as_plugins(chosen: Sequence[Middleware], task: TaskSpec) -> list[Plugin]:
    """The plugins of a task's middleware, in its order: those of its hooks that it has."""
    made: list[Plugin] = []
    for each in chosen:
        if plugin := _PLUGINS.get((overrides(each, *_ENQUEUE), overrides(each, *_RUN))):
            made.append(plugin(each, task))
        if overrides(each, *_DEQUEUE):
            made.append(_OfDequeues(each, task))
    return made


def around_runs(chosen: Sequence[Middleware], task: TaskSpec) -> list[Middleware]:
    """Those with an `around_run`.

    Raises:
        InvalidTask: one is async, and the task is not.
    """
    found = [each for each in chosen if overrides(each, "around_run")]
    for each in found:
        if not task.is_async and is_async_context(each.around_run):
            raise InvalidTask(
                f"around_run of middleware {each.title()!r} is async, and the task {task.name!r} is a plain "
                "function, which runs in a thread: make around_run a plain generator (it serves async tasks too), "
                "return a context manager by call.task.is_async, or make the task async"
            )
    return found


# Of all projects that this process loads, but those that have one derived from it: an instrumentation adds it.
INSTALLED: list[type[Middleware]] = []


class MiddlewareSet:
    """The middleware of a project, by name."""

    def __init__(self) -> None:
        self._by_name: dict[str, Middleware] = {}

    @property
    def names(self) -> list[str]:
        """All names."""
        return sorted(self._by_name)

    def add(self, kind: type[Middleware]) -> None:
        """Add a class.

        Raises:
            InvalidTask: its name is taken, its priority is not a number, or a method's name is a misspelled
                hook.
        """
        name = kind.title()
        if name in self._by_name:
            raise InvalidTask(f"there is already a middleware {name!r}")
        for wrong in misspelled(kind, Middleware, (*HOOKS, *_PROPERTIES)):
            raise InvalidTask(f"middleware {name!r} {wrong}")
        if not isinstance(kind.priority, int | float):
            raise InvalidTask(f"middleware {name!r}: priority is {kind.priority!r}, not a number")
        if kind.hook_timeout is not None:
            duration_s(kind.hook_timeout, f"middleware {name!r}: hook_timeout")
        if inspect.iscoroutinefunction(kind.around_run):
            raise InvalidTask(f"middleware {name!r}: around_run is a coroutine; it must yield once")
        self._by_name[name] = kind()

    def has(self, kind: type[Middleware]) -> bool:
        """Whether there is one of this class, or derived from it."""
        return any(isinstance(each, kind) for each in self._by_name.values())

    def of(self, task: TaskSpec | None) -> list[Middleware]:
        """The middleware of a task, outermost first; None: of jobs without a task.

        Raises:
            InvalidTask: it names a middleware that doesn't exist.
        """
        chosen = [each for each in self._by_name.values() if each.everywhere]
        for wanted in task.middleware if task is not None else ():
            made = self._find(wanted)
            if made not in chosen:
                chosen.append(made)
        return sorted(chosen, key=lambda each: each.priority)

    def _find(self, wanted: Any) -> Middleware:
        if isinstance(wanted, Middleware):
            return wanted
        name = wanted
        if isinstance(wanted, type) and issubclass(wanted, Middleware):
            name = wanted.title()
            return self._by_name.get(name) or self._by_name.setdefault(name, wanted())
        if name not in self._by_name:
            known = ", ".join(self.names) or "none"
            raise InvalidTask(
                f"there is no middleware {name!r}{near_match(str(name), self._by_name)} (known: {known})"
            )
        return self._by_name[name]
