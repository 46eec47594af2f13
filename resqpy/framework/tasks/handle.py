"""The verbs of a task itself: `send_email.enqueue(to="…")`, checked by a type checker.

They know the task's parameters from the signature of its `run`, and find the task in the process that `api`
refers to.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from functools import update_wrapper
from types import MethodType
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, overload

from resqpy.base.concurrency.loops import must_be_awaited
from resqpy.base.errors import InvalidInputs, UsageError
from resqpy.base.imports import near_match
from resqpy.base.keys import check_queue_name
from resqpy.base.model import Enqueued
from resqpy.base.when import Duration, Moment
from resqpy.engine.queue.queue import ONCE_WITHIN_MS, once_words
from resqpy.framework.api.api import api

if TYPE_CHECKING:
    from resqpy.framework.api.enqueuer import Enqueuer

P = ParamSpec("P")
Q = ParamSpec("Q")
T = TypeVar("T")
W = TypeVar("W")

WHOLE = ("params", "inputs")  # parameters of `run` that receive all inputs as a dict
GIVEN = (*WHOLE, "worker")  # parameters of `run` that are not inputs themselves


@dataclass(frozen=True, slots=True)
class TaskJob:
    """A job to be enqueued with others: see `enqueue_many`."""

    task: Any
    inputs: Mapping[str, Any] | None
    queue: str | None = None


def _named(handle: Handle[Any], _args: Any, _kwargs: Any) -> str:
    return task_words(handle._task)  # noqa: SLF001 - it is of this module


def _sync_of(handle: Handle[Any]) -> str:
    return f"{handle.title}.sync"


def task_words(task: Any) -> str:
    """A task for messages: by its name, or by its definition."""
    return f"task {task if isinstance(task, str) else getattr(task, '__name__', task)!r}"


class Handle(Generic[P]):
    """A task with its own verbs for enqueueing.

    Args:
        task: the definition: a class derived from `Task`, or a function.
        run: the function whose parameters are the inputs.
        queue: another queue than the task's.
        once: `once` and `once_within` of a call that may be repeated.
        enqueuer: what enqueues; None: that of the process to which `api` leads.
    """

    def __init__(
        self,
        task: Any,
        run: Callable[..., Any],
        queue: str | None = None,
        once: Mapping[str, Any] | None = None,
        enqueuer: Enqueuer | None = None,
    ) -> None:
        self._task = task
        self._run = run
        self._queue = queue
        self._once = once or {}
        self._enqueuer = enqueuer

    def through(self, enqueuer: Enqueuer) -> Handle[P]:
        """The same task, enqueued by something else than the process to which `api` leads."""
        return Handle(self._task, self._run, self._queue, self._once, enqueuer)

    @property
    def sync(self) -> SyncHandle[P]:
        """The same verbs for code without an event loop: `send_email.sync.enqueue(to="…")`."""
        return SyncHandle(self)

    def on(self, queue: str) -> Handle[P]:
        """The same task, enqueued to another queue.

        Raises:
            InvalidQueueName: the name is invalid.
        """
        return Handle(self._task, self._run, check_queue_name(queue), self._once)

    def once(self, key: str, *, within: Duration = ONCE_WITHIN_MS) -> Handle[P]:
        """The same task, for a call that may be repeated: `send.once("order-17").enqueue(to="…")` after an
        `OutcomeUnknown` makes no second job of the task. Of `enqueue_many` each job counts by its place.

        Args:
            key: a text that names this very call.
            within: how long it is known, in milliseconds or as a timedelta; default: a day.

        Raises:
            UsageError: the key is None.
        """
        wanted: Any = key
        if wanted is None:  # of an optional value: it would protect nothing
            raise UsageError("once: None is no key; give a text that names this very call")
        return Handle(self._task, self._run, self._queue, once_words(key, within))

    @property
    def title(self) -> str:
        """The name that the task has in the code."""
        return str(getattr(self._task, "__name__", self._task))

    async def _by(self, work: Callable[[Enqueuer], Coroutine[Any, Any, T]]) -> T:
        if self._enqueuer is not None:
            return await work(self._enqueuer)
        if api.started:
            return await work(api.tasks.enqueuer)
        done: T = await api.sync.awaited(lambda tasks: work(tasks.enqueuer))
        return done

    @must_be_awaited(_named, sync=_sync_of)
    async def enqueue(self, /, *args: P.args, **kwargs: P.kwargs) -> Enqueued:
        """Enqueue a job; what is returned is true if it is, and else says why not (`refused`).

        Raises:
            InvalidInputs: what is wrong with the inputs.
            NotStarted: no process was started here, and no project was found.
        """
        job = self._job(args, kwargs)
        return await self._by(lambda by: by.now(job, **self._once))

    @must_be_awaited(_named, sync=_sync_of)
    async def enqueue_in(self, delay: Duration, /, *args: P.args, **kwargs: P.kwargs) -> Enqueued:
        """Enqueue a job when a time has passed: milliseconds or a timedelta; refused, too, if the same
        job is due within a second of that time already.
        """
        job = self._job(args, kwargs)
        return await self._by(lambda by: by.after(delay, job, **self._once))

    @must_be_awaited(_named, sync=_sync_of)
    async def enqueue_at(self, timestamp: Moment, /, *args: P.args, **kwargs: P.kwargs) -> Enqueued:
        """Enqueue a job when a time has come: milliseconds since the epoch, or an aware datetime; refused,
        too, if the same job is due within a second of that time already.
        """
        job = self._job(args, kwargs)
        return await self._by(lambda by: by.at(timestamp, job, **self._once))

    def job(self, /, *args: P.args, **kwargs: P.kwargs) -> TaskJob:
        """A job for `enqueue_many`.

        Raises:
            UsageError: `once` names a call, not a job of one.
        """
        if self._once:
            raise UsageError("once names a call: write task.once(…).enqueue_many([task.job(…)])")
        return self._job(args, kwargs)

    def _job(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> TaskJob:
        return TaskJob(self._task, inputs_of(self._run, args, kwargs), self._queue)

    @must_be_awaited(_named, sync=_sync_of)
    async def enqueue_many(self, jobs: Iterable[TaskJob | Mapping[str, Any]]) -> list[Enqueued]:
        """Enqueue many jobs in one round trip: of `job(…)`, or dicts of inputs."""
        wanted = [
            each if isinstance(each, TaskJob) else TaskJob(self._task, each, self._queue)
            for each in jobs
        ]
        return await self._by(lambda by: by.many(wanted, **self._once))

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(name if name[:1] == "_" else other_verb(self._task, name))


class _SyncVerb(Generic[T]):
    """A verb of a handle that waits for the result itself."""

    def __init__(self, method: Any) -> None:
        function = method.__wrapped__  # it is awaited: nobody can forget that

        def call(task: SyncHandle[Any], *args: Any, **kwargs: Any) -> Any:
            return api.sync.enqueue_of(task.handle, function, args, kwargs)

        self._call = update_wrapper(call, method)
        self.__doc__ = method.__doc__

    def _bind(self, instance: Any) -> Any:
        return MethodType(self._call, instance)


class SyncTaskVerb(_SyncVerb[T]):
    """`enqueue`: called with the inputs."""

    def __get__(self, instance: SyncHandle[P], owner: Any) -> Callable[P, T]:
        verb: Callable[P, T] = self._bind(instance)
        return verb


class SyncLaterVerb(_SyncVerb[T], Generic[W, T]):
    """`enqueue_in`, `enqueue_at`: called with a delay or a time, then the inputs."""

    def __get__(self, instance: SyncHandle[P], owner: Any) -> Callable[Concatenate[W, P], T]:
        verb: Callable[Concatenate[W, P], T] = self._bind(instance)
        return verb


class SyncManyVerb(_SyncVerb[T], Generic[Q, T]):
    """`enqueue_many`: called with what the async one is called with."""

    def __init__(self, method: Callable[Concatenate[Any, Q], Coroutine[Any, Any, T]]) -> None:
        super().__init__(method)

    def __get__(self, instance: object, owner: Any) -> Callable[Q, T]:
        verb: Callable[Q, T] = self._bind(instance)
        return verb


class SyncHandle(Generic[P]):
    """A task for code without an event loop; its verbs are those of a `Handle`.

    They lead to the process that is open in this program; where none is, to the project that the command line
    would find, which is opened at the first call.

    Args:
        handle: the task.
    """

    def __init__(self, handle: Handle[P]) -> None:
        self.handle = handle

    def on(self, queue: str) -> SyncHandle[P]:
        """The same task, enqueued to another queue; see `Handle.on`."""
        return SyncHandle(self.handle.on(queue))

    def once(self, key: str, *, within: Duration = ONCE_WITHIN_MS) -> SyncHandle[P]:
        """The same task, for a call that may be repeated; see `Handle.once`."""
        return SyncHandle(self.handle.once(key, within=within))

    enqueue = SyncTaskVerb[Enqueued](Handle.enqueue)
    enqueue_in = SyncLaterVerb[Duration, Enqueued](Handle.enqueue_in)
    enqueue_at = SyncLaterVerb[Moment, Enqueued](Handle.enqueue_at)
    enqueue_many = SyncManyVerb(Handle.enqueue_many)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(name if name[:1] == "_" else other_verb(self.handle.title, name))

        def __call__(self, *_: Any, **__: Any) -> Any:
            title = self.handle.title
            raise TypeError(f"{title}.sync has the verbs: write {title}.sync.enqueue(…)")


# What other libraries call our verbs.
OTHER_VERBS = {
    "delay": "enqueue", "send": "enqueue", "apply_async": "enqueue", "perform_async": "enqueue",
    "perform_later": "enqueue", "defer": "enqueue", "kiq": "enqueue", "enqueue_job": "enqueue",
    "send_with_options": "enqueue_in", "perform_in": "enqueue_in", "perform_at": "enqueue_at",
    "apply": "enqueue", "s": "job", "si": "job", "map": "enqueue_many", "using": "on", "set": "on",
}  # fmt: skip


def other_verb(task: Any, name: str) -> str:
    """The message about a missing attribute of a task, with the verb that was probably meant."""
    title = getattr(task, "__name__", task)
    verb = OTHER_VERBS.get(name)
    known = [each for each in vars(Handle) if not each.startswith("_")]
    hint = f"; here it is `{title}.{verb}`" if verb else near_match(name, known)
    return f"task {title!r} has no {name!r}{hint}"


class OtherVerb:
    """Another library's verb on a task class: not an attribute; its error names our verb."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type) -> Any:
        raise AttributeError(other_verb(owner, self._name))


def inputs_of(
    run: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """The inputs by name, for the arguments of a call.

    Raises:
        InvalidInputs: more positional arguments than `run` has.
    """
    if not args:
        return dict(kwargs)
    parameters = inspect.signature(run).parameters
    names = [name for name in parameters if name not in {*GIVEN, "self"}]
    rest = [name for name in names if parameters[name].kind is inspect.Parameter.VAR_POSITIONAL]
    if rest and len(args) > (at := names.index(rest[0])):  # `*ids`: what is left is one input
        args = (*args[:at], list(args[at:]))
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
    """A verb on a class or an instance: the attribute of `Handle` with this name."""

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


class ManyVerb(_Verb[T], Generic[Q, T]):
    """`Task.enqueue_many`: called with what the verb of a handle is called with."""

    def __init__(self, method: Callable[Concatenate[Any, Q], T]) -> None:
        self.__doc__ = method.__doc__

    def __get__(self, instance: object, owner: Any) -> Callable[Q, T]:
        verb: Callable[Q, T] = self._bind(instance, owner)
        return verb


class HandleVerb(_Verb[Any], Generic[Q]):
    """`Task.on("queue")`, `Task.once("key")`: a handle."""

    def __init__(self, method: Callable[Concatenate[Any, Q], Handle[Any]]) -> None:
        self.__doc__ = method.__doc__

    @overload
    def __get__(
        self, instance: object, owner: Callable[[], _TakesAll]
    ) -> Callable[Q, Handle[...]]: ...
    @overload
    def __get__(
        self, instance: object, owner: Callable[[], _HasRun[P]]
    ) -> Callable[Q, Handle[P]]: ...
    def __get__(self, instance: Any, owner: Any) -> Any:
        return self._bind(instance, owner)


class SyncTask(_Verb[Any]):
    """`Task.sync`: a handle for code without an event loop."""

    @overload
    def __get__(self, instance: object, owner: Callable[[], _TakesAll]) -> SyncHandle[...]: ...
    @overload
    def __get__(self, instance: object, owner: Callable[[], _HasRun[P]]) -> SyncHandle[P]: ...
    def __get__(self, instance: Any, owner: Any) -> Any:
        return self._bind(instance, owner)


Enqueue = Coroutine[Any, Any, Enqueued]
