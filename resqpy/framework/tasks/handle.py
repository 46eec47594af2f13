"""The verbs on a task itself: `send_email.enqueue(to="…")`, checked by a type checker.

They know the task's parameters by the signature of its `run`, and find the task in the process that
`api` leads to.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, overload

from resqpy.base.concurrency.pending import must_be_awaited
from resqpy.base.errors import InvalidInputs
from resqpy.base.imports import near_match
from resqpy.base.keys import check_queue_name
from resqpy.base.when import Duration, Moment
from resqpy.framework.api.api import api

P = ParamSpec("P")
T = TypeVar("T")
W = TypeVar("W")

WHOLE = ("params", "inputs")  # parameters of `run` that get all inputs as a dict
GIVEN = (*WHOLE, "worker")  # parameters of `run` that are no inputs themselves


@dataclass(frozen=True, slots=True)
class TaskJob:
    """A job to be enqueued with others: see `enqueue_many`."""

    task: Any
    inputs: Mapping[str, Any]
    queue: str | None = None


def _named(handle: Handle[Any], _args: Any, _kwargs: Any) -> str:
    return task_words(handle._task)  # noqa: SLF001 - it is of this module


def task_words(task: Any) -> str:
    """A task in words: by its name, or by what defines it."""
    return f"task {task if isinstance(task, str) else getattr(task, '__name__', task)!r}"


class Handle(Generic[P]):
    """A task, with its own way to enqueue it.

    Args:
        task: what was defined: a class derived from `Task`, or a function.
        run: the function whose parameters are the inputs.
        queue: another queue than the task's.
    """

    def __init__(self, task: Any, run: Callable[..., Any], queue: str | None = None) -> None:
        self._task = task
        self._run = run
        self._queue = queue

    def on(self, queue: str) -> Handle[P]:
        """The same task, enqueued to another queue.

        Raises:
            InvalidQueueName: no queue can be called so.
        """
        return Handle(self._task, self._run, check_queue_name(queue))

    @must_be_awaited(_named, needs_loop=True)
    async def enqueue(self, /, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Enqueue a job; False if a plugin or a middleware forbade it.

        Raises:
            InvalidInputs: what is wrong with the inputs.
            NotStarted: no process was started here.
        """
        inputs = inputs_of(self._run, args, kwargs)
        return await api.tasks.enqueue(self._task, inputs, self._queue)

    @must_be_awaited(_named, needs_loop=True)
    async def enqueue_in(self, delay: Duration, /, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Enqueue a job when a time has passed: milliseconds or a timedelta; False, too, if the same
        job is due within a second of that time already.
        """
        inputs = inputs_of(self._run, args, kwargs)
        return await api.tasks.enqueue_in(
            delay, self._task, inputs, self._queue, suppress_duplicate_task_error=True
        )

    @must_be_awaited(_named, needs_loop=True)
    async def enqueue_at(self, timestamp: Moment, /, *args: P.args, **kwargs: P.kwargs) -> bool:
        """Enqueue a job when a time has come: milliseconds since the epoch, or an aware datetime; False,
        too, if the same job is due within a second of that time already.
        """
        inputs = inputs_of(self._run, args, kwargs)
        return await api.tasks.enqueue_at(
            timestamp, self._task, inputs, self._queue, suppress_duplicate_task_error=True
        )

    def job(self, /, *args: P.args, **kwargs: P.kwargs) -> TaskJob:
        """A job for `enqueue_many`."""
        return TaskJob(self._task, inputs_of(self._run, args, kwargs), self._queue)

    @must_be_awaited(_named, needs_loop=True)
    async def enqueue_many(self, jobs: Iterable[TaskJob | Mapping[str, Any]]) -> list[bool]:
        """Enqueue many jobs in one round trip: of `job(…)`, or dicts of inputs."""
        wanted = [
            each if isinstance(each, TaskJob) else TaskJob(self._task, each, self._queue)
            for each in jobs
        ]
        return await api.tasks.enqueue_many(wanted)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(name if name[:1] == "_" else other_verb(self._task, name))


# What other libraries call our verbs.
OTHER_VERBS = {
    "delay": "enqueue", "send": "enqueue", "apply_async": "enqueue", "perform_async": "enqueue",
    "perform_later": "enqueue", "defer": "enqueue", "kiq": "enqueue", "enqueue_job": "enqueue",
    "send_with_options": "enqueue_in", "perform_in": "enqueue_in", "perform_at": "enqueue_at",
    "apply": "enqueue", "s": "job", "si": "job", "map": "enqueue_many", "using": "on", "set": "on",
}  # fmt: skip


def other_verb(task: Any, name: str) -> str:
    """What is told of an attribute that a task hasn't, with the verb that was meant."""
    title = getattr(task, "__name__", task)
    verb = OTHER_VERBS.get(name)
    known = [each for each in vars(Handle) if not each.startswith("_")]
    hint = f"; here it is `{title}.{verb}`" if verb else near_match(name, known)
    return f"task {title!r} has no {name!r}{hint}"


class OtherVerb:
    """A verb of another library on a task class: it is no attribute, and says which is meant."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type) -> Any:
        raise AttributeError(other_verb(owner, self._name))


def inputs_of(
    run: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """The inputs by name, of a call as `run` would take it.

    Raises:
        InvalidInputs: more positional ones than `run` has.
    """
    if not args:
        return dict(kwargs)
    names = [name for name in inspect.signature(run).parameters if name not in {*GIVEN, "self"}]
    if len(args) > len(names):
        raise InvalidInputs(
            f"{len(args)} inputs by position, but there are {len(names)}: {', '.join(names) or '-'}"
        )
    inputs = dict(zip(names, args, strict=False))
    if twice := sorted(inputs.keys() & kwargs.keys()):
        raise InvalidInputs(f"input {twice[0]!r} is given by position and by name")
    return {**inputs, **kwargs}


# -- the same verbs on a class, typed by its `run` --


class _TakesParams(Protocol):
    def run(self, *, params: Any) -> Any: ...


class _TakesParamsAndWorker(Protocol):
    def run(self, *, params: Any, worker: Any) -> Any: ...


class _TakesInputs(Protocol):
    def run(self, *, inputs: Any) -> Any: ...


class _TakesInputsAndWorker(Protocol):
    def run(self, *, inputs: Any, worker: Any) -> Any: ...


_TakesAll = _TakesParams | _TakesParamsAndWorker | _TakesInputs | _TakesInputsAndWorker


class _HasRun(Protocol[P]):
    @property
    def run(self) -> Callable[P, Any]: ...


class _Verb(Generic[T]):
    """A verb that a class or an instance of it has: what `Handle` has under this name."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def _bind(self, instance: Any, owner: Any) -> Any:
        task = owner if instance is None else type(instance)
        return getattr(Handle(task, task.run), self._name)


class Verb(_Verb[T]):
    """`Task.enqueue`, `Task.job`: called with the inputs."""

    @overload
    def __get__(self, instance: object, owner: Callable[[], _TakesAll]) -> Callable[..., T]: ...
    @overload
    def __get__(self, instance: object, owner: Callable[[], _HasRun[P]]) -> Callable[P, T]: ...
    def __get__(self, instance: Any, owner: Any) -> Any:
        return self._bind(instance, owner)


class LaterVerb(_Verb[T], Generic[W, T]):
    """`Task.enqueue_in`, `Task.enqueue_at`: called with a delay or a time, then the inputs."""

    @overload
    def __get__(
        self, instance: object, owner: Callable[[], _TakesAll]
    ) -> Callable[Concatenate[W, ...], T]: ...
    @overload
    def __get__(
        self, instance: object, owner: Callable[[], _HasRun[P]]
    ) -> Callable[Concatenate[W, P], T]: ...
    def __get__(self, instance: Any, owner: Any) -> Any:
        return self._bind(instance, owner)


class HandleVerb(_Verb[Any]):
    """`Task.on("queue")`: a handle."""

    @overload
    def __get__(
        self, instance: object, owner: Callable[[], _TakesAll]
    ) -> Callable[[str], Handle[...]]: ...
    @overload
    def __get__(
        self, instance: object, owner: Callable[[], _HasRun[P]]
    ) -> Callable[[str], Handle[P]]: ...
    def __get__(self, instance: Any, owner: Any) -> Any:
        return self._bind(instance, owner)


Enqueued = Awaitable[bool]
