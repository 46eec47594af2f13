"""Resources: what tasks ask for in their signature, and workers provide: opened before a run and closed after
it, or opened once by the process. They are never inputs.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, overload

from resqpy.base.concurrency.own_tasks import OwnTask, in_own_thread, own_task
from resqpy.base.errors import TaskUnfinished, UsageError
from resqpy.engine.role import within_limit

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

_CLOSE_S = 10.0  # for each resource of a process
_ONCE = "__resqpy_per_process__"


class Resource:
    """What stands in a signature for a resource, until a worker provides it."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    @classmethod
    def of(cls, function: Any) -> Resource:
        """That of a generator function.

        Raises:
            TypeError: it is none.
        """
        inner = inspect.unwrap(function) if callable(function) else None
        if inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
            return cls(function)
        raise TypeError(
            f"{named(function)} is no resource: it must be a generator function, which yields what tasks get"
        )

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"{self!r} is provided by workers: run the task by resqpy.testing.run_task, or call its function "
            f"with a value (it has no attribute {name!r})"
        )

    def __repr__(self) -> str:
        return f"resource({named(self.function)})"


@overload
def resource(function: Callable[..., AsyncIterator[T]]) -> T: ...
@overload
def resource(function: Callable[..., Iterator[T]]) -> T: ...
@overload
def resource(function: Callable[..., AbstractAsyncContextManager[T]]) -> T: ...
@overload
def resource(function: Callable[..., AbstractContextManager[T]]) -> T: ...
def resource(function: Any) -> Any:
    """Ask for a resource in a signature. The parameter is no input: nobody may pass it.

    It is a parameter's default, `db: Session = resource(session)`, or stands in its type hint,
    `db: Annotated[Session, resource(session)]`; with a default type checkers know that callers leave it out.

    Args:
        function: a generator function that yields the value once, async or plain, decorated as a context
            manager or not. What follows the `yield` closes it. Its own parameters ask for other resources.

    Raises:
        TypeError: it is no such function.
    """
    return Resource.of(function)


def per_process(function: F) -> F:
    """Open a resource once a process, when its first job asks for it, and close it when the process stops; for
    pools and clients. Without it each job has its own.
    """
    setattr(function, _ONCE, True)
    return function


def named(function: Any) -> str:
    """A resource for people."""
    return str(getattr(function, "__qualname__", repr(function)))


def as_context(function: Any) -> Any:
    """A generator function as what makes a context manager, as if it was decorated so; others unchanged."""
    if inspect.isasyncgenfunction(function):
        return asynccontextmanager(function)
    return contextmanager(function) if inspect.isgeneratorfunction(function) else function


def is_async_context(function: Any) -> bool:
    """Whether a function, made by `as_context` or a decorator, makes only async context managers."""
    return inspect.isasyncgenfunction(inspect.unwrap(function))


# What is known of a resource once a project is loaded.

AskedFor = Callable[[Callable[..., Any], str, inspect.Parameter], Resource | None]


@dataclass(frozen=True, slots=True)
class ResourceSpec:
    """A resource.

    Attributes:
        function: as written; it identifies the resource.
        open: makes the context manager.
        needs: the resources that it asks for, by parameter.
    """

    function: Callable[..., Any]
    open: Callable[..., Any]
    is_async: bool
    per_process: bool
    needs: Mapping[str, ResourceSpec]

    def all(self) -> Iterator[ResourceSpec]:
        """It, and all that it needs."""
        yield self
        yield from all_of(self.needs)


def all_of(specs: Mapping[str, ResourceSpec]) -> Iterator[ResourceSpec]:
    """These, and all that they need."""
    for each in specs.values():
        yield from each.all()


def spec_of(
    asked: Resource, asked_for: AskedFor, path: tuple[Callable[..., Any], ...] = ()
) -> ResourceSpec:
    """The spec of a resource.

    Args:
        asked_for: finds the resource that a parameter asks for.
        path: the resources that need it.

    Raises:
        UsageError: it can't be opened: it needs itself, or something that is no resource.
    """
    function = asked.function
    if function in path:
        cycle = " → ".join(map(named, (*path[path.index(function) :], function)))
        raise UsageError(f"resources need each other: {cycle}")
    needs, path = dict[str, ResourceSpec](), (*path, function)
    once = bool(getattr(function, _ONCE, False))
    for name, parameter in inspect.signature(function).parameters.items():
        found = asked_for(function, name, parameter)
        if found is not None:
            needs[name] = spec_of(found, asked_for, path)
        elif parameter.default is inspect.Parameter.empty:
            raise UsageError(
                f"resource {named(function)}: its parameter {name!r} asks for no resource, and nothing else is "
                f"given to it; write {name}=resource(…), or a default"
            )
    spec = ResourceSpec(function, as_context(function), is_async_context(function), once, needs)
    for each in needs.values():
        if once and not each.per_process:
            raise UsageError(
                f"resource {named(function)} is opened once a process, but needs {named(each.function)}, which "
                "each job has its own of: mark that one with @per_process, too"
            )
        if each.is_async and not spec.is_async:
            raise UsageError(
                f"resource {named(function)} is a plain generator, but needs {named(each.function)}, which is "
                "async: make it async, too"
            )
    return spec


# Instead of resources, by function: for tests (`resqpy.testing.override`). A spec, or a value.
REPLACED: dict[Callable[..., Any], Any] = {}


# Of one run.


async def provide(
    stack: AsyncExitStack, wanted: Mapping[str, ResourceSpec], shared: SharedResources
) -> dict[str, Any]:
    """Open resources for one run; those that are asked for more than once are opened once.

    Args:
        stack: closes them, the last one first.

    Returns:
        Their values by name.
    """
    have: dict[Callable[..., Any], Any] = {}
    return {name: await _value(each, stack, shared, have) for name, each in wanted.items()}


async def _value(
    spec: ResourceSpec,
    stack: AsyncExitStack,
    shared: SharedResources,
    have: dict[Callable[..., Any], Any],
) -> Any:
    key = spec.function
    if key in have:
        return have[key]
    once = spec.per_process
    if key in REPLACED:
        replacement = REPLACED[key]
        if not isinstance(replacement, ResourceSpec):
            return replacement
        spec, once = replacement, False

    async def needs() -> dict[str, Any]:
        return {name: await _value(each, stack, shared, have) for name, each in spec.needs.items()}

    value = await (shared.value(spec, needs) if once else _entered(spec, await needs(), stack))
    have[key] = value
    return value


async def _entered(spec: ResourceSpec, needs: Mapping[str, Any], stack: AsyncExitStack) -> Any:
    context = spec.open(**needs)
    if spec.is_async:
        value = await context.__aenter__()
        stack.push_async_exit(partial(_aexit, context))
    else:
        value = context.__enter__()
        stack.push(partial(_exit, context))
    return value


async def _aexit(context: Any, *error: Any) -> bool:
    await context.__aexit__(*error)
    return False  # a resource that swallows the task's error must not make a success of it


def _exit(context: Any, *error: Any) -> bool:
    context.__exit__(*error)
    return False


def driven(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never waits: in a thread, where there is no loop."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise TaskUnfinished(
        "something around a plain task waits for the event loop, and there is none in its thread"
    )


# Of the process.


class _Held:
    """A plain resource of the process: opened by the first that asks, in whatever thread that is.

    Attributes:
        value: what it yielded, once `is_open`.
    """

    def __init__(self, spec: ResourceSpec) -> None:
        self.spec = spec
        self.is_open = False
        self.value: Any = None
        self._context: Any = None
        self._lock = threading.Lock()

    async def open(self, needs: Mapping[str, Any]) -> None:
        with self._lock:
            if not self.is_open:
                self._context = self.spec.open(**needs)
                self.value = self._context.__enter__()
                self.is_open = True

    async def close(self) -> None:
        if self.is_open:
            await in_own_thread(partial(self._context.__exit__, None, None, None))


class _HeldAsync(_Held):
    """An async one. A task of its own opens and closes it: no job's end cancels that, and what must be closed
    in the task that opened it is.
    """

    def __init__(self, spec: ResourceSpec) -> None:
        super().__init__(spec)
        self._task: OwnTask[None] | None = None
        self._opened: asyncio.Future[None]
        self._over = asyncio.Event()

    async def open(self, needs: Mapping[str, Any]) -> None:
        if self._task is None:
            self._opened = asyncio.get_running_loop().create_future()
            # not in the context of the job that happens to be the first
            self._task = Context().run(own_task, self._hold(needs), named(self.spec.function))
        await asyncio.shield(self._opened)

    async def _hold(self, needs: Mapping[str, Any]) -> None:
        try:
            async with self.spec.open(**needs) as self.value:
                self.is_open = True
                self._opened.set_result(None)
                await self._over.wait()
        except BaseException as error:
            if self.is_open:
                raise
            self._task = None  # the next job tries again
            self._opened.set_exception(error)
            self._opened.exception()  # the jobs that waited may be gone

    async def close(self) -> None:
        if self._task is not None:
            self._over.set()
            if not self.is_open:
                self._task.end()
            await asyncio.wait([self._task])
            self._task.result()


class SharedResources:
    """The resources of a process that are open; a child that is forked has none."""

    def __init__(self) -> None:
        self._held: dict[Callable[..., Any], _Held] = {}
        self._pid = os.getpid()

    async def value(
        self, spec: ResourceSpec, needs: Callable[[], Awaitable[Mapping[str, Any]]]
    ) -> Any:
        """The value of a resource, which is opened if it is not yet."""
        if self._pid != os.getpid():
            self._held, self._pid = {}, os.getpid()
        held = self._held.get(spec.function)
        if held is None or not held.is_open:
            needed = await needs()  # these are opened before it, and closed after it
            made = _HeldAsync(spec) if spec.is_async else _Held(spec)
            held = self._held.setdefault(spec.function, made)
            await held.open(needed)
        return held.value

    async def close(self) -> None:
        """Close all, the last one first; an error is logged, and the next one follows."""
        held, self._held = self._held, {}
        for each in reversed(held.values()):
            what = f"closing the resource {named(each.spec.function)}"
            await within_limit(_CLOSE_S, what, each.close())
