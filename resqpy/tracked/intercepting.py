"""Interceptors: functions that wrap each verb of `Tracked` and of the active task, for logs, counts and
refusals.

Those around the runs of tasks are something else: `Deliveries`, and a project's middleware. All have a time
limit: that of hooks, or the function's attribute `hook_timeout`.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from resqpy.base.concurrency.limited import OwnTime, within
from resqpy.base.errors import HookTimeout
from resqpy.base.when import duration_s
from resqpy.engine.plugin import Plugin
from resqpy.tracked.errors import TaskRefused, TrackedError

_log = logging.getLogger("resqpy.tracked")


@dataclass(frozen=True, slots=True)
class Operation:
    """What is about to be done.

    Attributes:
        verb: `create`, `get`, `save`, `cancel`, `retry`, `enable`, `disable`, `remove`, `query` or `count`;
            of an active task `save`, `complete`, `fail`, `retry`, `defer`, `release` or `delete`.
        subject: the type of a task to be created, or the id of an existing one; None for `query` and
            `count`.
        details: all other arguments of the verb.
    """

    verb: str
    subject: str | None
    details: Mapping[str, Any]


CallNext = Callable[[], Awaitable[Any]]
VerbInterceptor = Callable[[Operation, CallNext], Awaitable[None]]

P = ParamSpec("P")
R = TypeVar("R")


class _Intercepted(Protocol):
    interceptors: list[VerbInterceptor]


class _InterceptedTask(_Intercepted, Protocol):
    @property
    def id(self) -> str: ...


S = TypeVar("S", bound=_Intercepted)
T = TypeVar("T", bound=_InterceptedTask)
Verb = Callable[Concatenate[S, P], Coroutine[Any, Any, R]]
Subject = Callable[[Any, dict[str, Any]], str | None]


def intercepted(verb: str, *names: str) -> Callable[[Verb[S, P, R]], Verb[S, P, R]]:
    """A verb that is wrapped by the interceptors of its object.

    Args:
        names: of its positional arguments, the subject first.
    """
    return _around(verb, names, lambda _, given: given.pop(names[0], None) if names else None)


def intercepted_task(verb: str, *names: str) -> Callable[[Verb[T, P, R]], Verb[T, P, R]]:
    """The same for an object that is itself the task.

    Args:
        names: of its positional arguments.
    """
    return _around(verb, names, lambda task, _: str(task.id))


def _around(
    verb: str, names: Sequence[str], subject_of: Subject
) -> Callable[[Verb[S, P, R]], Verb[S, P, R]]:
    def decorate(method: Verb[S, P, R]) -> Verb[S, P, R]:
        @wraps(method)
        async def around(self: S, /, *args: P.args, **more: P.kwargs) -> R:
            if not self.interceptors:
                return await method(self, *args, **more)
            given: dict[str, Any] = dict(zip(names, args, strict=False)) | more
            operation = Operation(verb, subject_of(self, given), given)
            whole = partial(method, self, *args, **more)
            result: R = await _through(self.interceptors, operation, whole)
            return result

        return around

    return decorate


async def _through(
    interceptors: Sequence[VerbInterceptor], operation: Operation, verb: CallNext
) -> Any:
    """Run the verb inside the interceptors, the first one outermost."""
    if not interceptors:
        return await verb()
    first, *others = interceptors
    following = _Next(operation, partial(_through, others, operation, verb))
    seconds = limit_s(first)
    if seconds is None:
        await first(operation, following)
    else:
        await _limited(first, operation, following, seconds)
    return following.outcome()


def limit_s(interceptor: Callable[..., Any]) -> float | None:
    """How many seconds its own code may take before the wrapped call, and again after it."""
    limit = getattr(interceptor, "hook_timeout", Plugin.hook_timeout)
    return None if limit is None else duration_s(limit, f"hook_timeout of {name_of(interceptor)}")


def name_of(interceptor: Callable[..., Any]) -> str:
    """The interceptor's name for messages."""
    return f"interceptor {getattr(interceptor, '__qualname__', type(interceptor).__qualname__)}"


async def _limited(
    interceptor: VerbInterceptor, operation: Operation, following: _Next, seconds: float
) -> None:
    """Call an interceptor within its time limit. If it is exceeded after the verb, that is only logged,
    because the verb is done.
    """
    name, verb = name_of(interceptor), operation.verb
    following.time = OwnTime(seconds)
    message = f"{name} took longer around {verb!r} than its hook_timeout of {seconds:g} s"
    call = _awaited(interceptor, operation, following)
    try:
        await within(call, None, lambda: HookTimeout(message), name, own_time=following.time)
    except HookTimeout:
        if not following.succeeded:
            raise
        _log.error("%s; %s is done", message, verb)


async def _awaited(interceptor: VerbInterceptor, operation: Operation, following: _Next) -> None:
    await interceptor(operation, following)


class _Next:
    """What an interceptor calls to continue, once.

    Attributes:
        time: the interceptor's time limit, which is paused meanwhile.
        succeeded: the wrapped call was done.
    """

    def __init__(self, operation: Operation, call: CallNext) -> None:
        self.time: OwnTime | None = None
        self.succeeded: bool = False
        self._operation = operation
        self._call = call
        self._called = False
        self._error: BaseException | None = None
        self._result: Any = None

    async def __call__(self) -> Any:
        if self._called:
            raise TrackedError("an interceptor may call the next function only once")
        self._called = True
        if self.time is not None:
            self.time.pause()
        try:
            self._result = await self._call()
        except BaseException as error:
            self._error = error
            raise
        finally:
            if self.time is not None:
                self.time.go_on()
        self.succeeded = True
        return self._result

    def outcome(self) -> Any:
        """The verb's result or error, whatever the interceptor made of it.

        Raises:
            TaskRefused: it was not called.
        """
        if self._error is not None:
            raise self._error
        if not self._called:
            what, subject = self._operation.verb, self._operation.subject
            raise TaskRefused(f"{what} of {subject!r}: forbidden by an interceptor")
        return self._result
