"""Interceptors: functions that stand around each verb of `Tracked` and of the active task, for logs,
counts and refusals.

Those around the runs of tasks are another thing: `Deliveries`, and a project's middleware.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from resqpy.base.errors import TaskRefused, TrackedError


@dataclass(frozen=True, slots=True)
class Operation:
    """What is about to be done.

    Attributes:
        verb: `create`, `get`, `save`, `cancel`, `retry`, `enable`, `disable`, `remove`, `query` or
            `count`; of an active task `save`, `complete`, `fail`, `retry`, `defer`, `release` or
            `delete`.
        subject: the type of the task that is created, or the id of the one that is there; None for
            `query` and `count`.
        details: everything else that the verb was given.
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
    """A verb around which the interceptors of its object stand.

    Args:
        names: of its positional arguments, the subject first.
    """
    return _around(verb, names, lambda _, given: given.pop(names[0], None) if names else None)


def intercepted_task(verb: str, *names: str) -> Callable[[Verb[T, P, R]], Verb[T, P, R]]:
    """The same where the object is the task.

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
    """Do it with the interceptors around, the first one outermost."""
    if not interceptors:
        return await verb()
    first, *others = interceptors
    following = _Next(operation, partial(_through, others, operation, verb))
    await first(operation, following)
    return following.outcome()


class _Next:
    """What an interceptor calls to go on, once."""

    def __init__(self, operation: Operation, call: CallNext) -> None:
        self._operation = operation
        self._call = call
        self._called = False
        self._error: BaseException | None = None
        self._result: Any = None

    async def __call__(self) -> Any:
        if self._called:
            raise TrackedError("an interceptor may call the next function only once")
        self._called = True
        try:
            self._result = await self._call()
        except BaseException as error:
            self._error = error
            raise
        return self._result

    def outcome(self) -> Any:
        """What the verb gave or raised, whatever the interceptor made of it.

        Raises:
            TaskRefused: it was not called.
        """
        if self._error is not None:
            raise self._error
        if not self._called:
            what, subject = self._operation.verb, self._operation.subject
            raise TaskRefused(f"{what} of {subject!r}: an interceptor forbids it")
        return self._result
