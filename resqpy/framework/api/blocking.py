"""The synchronous API: all verbs of `Queue` and `Inspector` without an event loop in the caller.

For Django views, Flask, scripts and threads. The async objects do the work, on a loop in a separate thread;
no verb is written twice.

    from resqpy import SyncQueue

    queue = SyncQueue("redis://localhost:6379/0")  # at import time, if you like: nothing is opened
    queue.enqueue("default", "send_mail", [{"to": "ada@example.com"}])
    for job in queue.each_failed(exception="SMTPException"):
        queue.retry_and_remove_failed(job)

Safe from any thread, and after a fork (gunicorn, uWSGI, multiprocessing): the child gets its own loop and
connections at its first call. It also works inside a coroutine, but blocks its loop meanwhile; use `Resque`
there.
"""

from __future__ import annotations

import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Mapping
from functools import update_wrapper
from inspect import isasyncgenfunction
from types import MethodType
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar, overload

from resqpy.base.errors import UsageError
from resqpy.base.when import Duration, duration_s
from resqpy.engine.inspect.inspector import Resque
from resqpy.framework.api.loop_thread import LOOP_THREAD, Life
from resqpy.store.connection.client import Store, reach
from resqpy.store.connection.options import RedisOptions

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

TIMEOUT_MS = 60_000  # Redis' own silence ends a call sooner (`RedisOptions.reply_timeout_s`)
_ITEMS_PER_STEP = 100


class Closable(Protocol):
    """An async object that can be used synchronously."""

    async def close(self) -> None:
        """Close its connections."""


class Way:
    """What has `SyncVerb`s: it leads to the async object that has the methods."""

    def run(self, function: Callable[[Any], Coroutine[Any, Any, R]]) -> R:
        """Run a coroutine function of the async object, and wait for its result."""
        raise NotImplementedError

    def walk(self, function: Callable[[Any], AsyncGenerator[R, None]]) -> Iterator[R]:
        """Walk through an async generator of the async object, some items at a time."""
        raise NotImplementedError

    def call(self, method: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Call an async method, and have what it gives."""
        way: Any = self.walk if isasyncgenfunction(method) else self.run
        return way(lambda target: getattr(target, method.__name__)(*args, **kwargs))


class SyncFacade(Way):
    """A synchronous wrapper of an async object, created once in every process.

    Args:
        make: creates the object; called once in each process.
        timeout: milliseconds or a timedelta that a call waits.
    """

    def __init__(self, make: Callable[[], Closable], timeout: Duration = TIMEOUT_MS) -> None:
        self._make = make
        self._timeout_s = duration_s(timeout)
        weakref.finalize(self, _close_target, id(self)).atexit = False

    def run(self, function: Callable[[Any], Coroutine[Any, Any, R]]) -> R:
        """Run a coroutine function of the async object, and wait for its result.

        Raises:
            UsageError: called inside a hook that runs on this object's own loop.
            OutcomeUnknown: no answer in time; it may or may not have been done.
        """
        return self._run(function, self._timeout_s)

    def _run(self, function: Callable[[Any], Coroutine[Any, Any, R]], timeout_s: float | None) -> R:
        life = self._life()
        target = self._target(life)
        return LOOP_THREAD.call(life, lambda: function(target), timeout_s)

    def _life(self) -> Life:
        """The loop that does the work."""
        return LOOP_THREAD.life()

    def walk(self, function: Callable[[Any], AsyncGenerator[R, None]]) -> Iterator[R]:
        """Walk through an async generator of the async object, some items at a time."""
        life = self._life()
        items = function(self._target(life))

        def step(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
            if life is not self._life():
                raise UsageError(
                    "this iteration began in another process, or before close(); start over"
                )
            return LOOP_THREAD.call(life, work, self._timeout_s)

        try:
            while some := step(lambda: _some(items)):
                yield from some
        finally:
            if not life.gone:
                LOOP_THREAD.start(life, items.aclose)

    def _target(self, life: Life) -> Any:
        target = life.targets.get(id(self))
        if target is None:  # created twice if two threads come first together; one is kept
            target = life.targets.setdefault(id(self), self._make())
        return target

    def close(self) -> None:
        """Close the connections of this process; the next call opens them again."""
        life = LOOP_THREAD.life_if_any()
        target = life.targets.pop(id(self), None) if life is not None else None
        if life is not None and target is not None:
            LOOP_THREAD.call(life, target.close, self._timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _close_target(key: int) -> None:
    """An object that was dropped without being closed."""
    life = LOOP_THREAD.life_if_any()
    target = life.targets.pop(key, None) if life is not None else None
    if life is not None and target is not None:
        LOOP_THREAD.start(life, target.close)


async def _some(items: AsyncGenerator[R, None]) -> list[R]:
    found: list[R] = []
    async for item in items:
        found.append(item)
        if len(found) == _ITEMS_PER_STEP:
            break
    return found


class SyncVerb(Generic[P, R]):
    """An async method as a synchronous one, with the same parameters and result; an async generator is an
    iterator.
    """

    @overload
    def __init__(
        self: SyncVerb[P, T], method: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]
    ) -> None: ...
    @overload
    def __init__(
        self: SyncVerb[P, Iterator[T]],
        method: Callable[Concatenate[Any, P], AsyncGenerator[T, None]],
    ) -> None: ...
    def __init__(self, method: Any) -> None:
        def call(door: Way, *args: Any, **kwargs: Any) -> Any:
            return door.call(method, args, kwargs)

        self._call = update_wrapper(call, method)
        self.__doc__ = method.__doc__

    @overload
    def __get__(self, door: None, owner: type | None = None) -> Self: ...
    @overload
    def __get__(self, door: Way, owner: type | None = None) -> Callable[P, R]: ...
    def __get__(self, door: Way | None, owner: type | None = None) -> Any:
        return self if door is None else MethodType(self._call, door)


async def _patiently(
    target: Any, function: Callable[[Any], Coroutine[Any, Any, R]], timeout_s: float
) -> R:
    store = getattr(target, "store", None)  # the wrapped object may have none
    if isinstance(store, Store) and not store.waited_for:
        await reach(store, min(store.options.startup_timeout_s, timeout_s / 2))
    return await function(target)


class SyncQueue(SyncFacade):
    """All verbs of `Queue` and `Inspector`, for synchronous code; see there what each does.

    Args:
        connection: `RedisOptions` or a URL.
        jobs: tasks by name, for their plugins' hooks, as in `Queue`. Hooks run on this object's loop.
        timeout: milliseconds or a timedelta that a call waits.
        make: creates another object than a `Resque` to wrap.
    """

    def __init__(
        self,
        connection: RedisOptions | str | None = None,
        jobs: Mapping[str, Any] | None = None,
        *,
        timeout: Duration = TIMEOUT_MS,
        make: Callable[[], Resque] | None = None,
    ) -> None:
        if not isinstance(connection, (RedisOptions, str, type(None))):
            raise UsageError(
                f"SyncQueue: expected RedisOptions or a URL, got {type(connection).__name__}; a connection "
                "belongs to the loop and the process that opened it"
            )
        super().__init__(make or (lambda: Resque(connection, jobs)), timeout)

    def run(self, function: Callable[[Any], Coroutine[Any, Any, R]]) -> R:
        """Like the base class; the first call in a process waits for Redis, as at a start."""
        return super().run(lambda target: _patiently(target, function, self._timeout_s))

    def end(self) -> None:
        """node-resque's name for `close`."""
        self.close()

    connect = SyncVerb(Resque.connect)

    enqueue = SyncVerb(Resque.enqueue)
    enqueue_front = SyncVerb(Resque.enqueue_front)
    enqueue_many = SyncVerb(Resque.enqueue_many)
    enqueue_at = SyncVerb(Resque.enqueue_at)
    enqueue_in = SyncVerb(Resque.enqueue_in)
    enqueue_delayed = SyncVerb(Resque.enqueue_delayed)
    enqueued = SyncVerb(Resque.enqueued)
    enqueued_many = SyncVerb(Resque.enqueued_many)
    enqueued_later = SyncVerb(Resque.enqueued_later)

    del_queue = SyncVerb(Resque.del_queue)
    delete = SyncVerb(Resque.delete)
    del_by_function = SyncVerb(Resque.del_by_function)
    del_delayed = SyncVerb(Resque.del_delayed)
    del_delayed_by_function = SyncVerb(Resque.del_delayed_by_function)
    del_delayed_at = SyncVerb(Resque.del_delayed_at)
    move = SyncVerb(Resque.move)

    queues = SyncVerb(Resque.queues)
    pause_queue = SyncVerb(Resque.pause_queue)
    resume_queue = SyncVerb(Resque.resume_queue)
    paused_queues = SyncVerb(Resque.paused_queues)
    limit_running = SyncVerb(Resque.limit_running)
    running_limits = SyncVerb(Resque.running_limits)
    set_limit = SyncVerb(Resque.set_limit)
    shut_limit = SyncVerb(Resque.shut_limit)
    limits = SyncVerb(Resque.limits)
    put_back_parked = SyncVerb(Resque.put_back_parked)
    length = SyncVerb(Resque.length)
    lengths = SyncVerb(Resque.lengths)
    queued = SyncVerb(Resque.queued)
    each_queued = SyncVerb(Resque.each_queued)
    scheduled_at = SyncVerb(Resque.scheduled_at)
    timestamps = SyncVerb(Resque.timestamps)
    delayed_at = SyncVerb(Resque.delayed_at)
    delayed_count = SyncVerb(Resque.delayed_count)
    all_delayed = SyncVerb(Resque.all_delayed)
    each_delayed = SyncVerb(Resque.each_delayed)

    failed_lists = SyncVerb(Resque.failed_lists)
    failed_count = SyncVerb(Resque.failed_count)
    failed = SyncVerb(Resque.failed)
    failed_groups = SyncVerb(Resque.failed_groups)
    each_failed = SyncVerb(Resque.each_failed)
    remove_failed = SyncVerb(Resque.remove_failed)
    retry_and_remove_failed = SyncVerb(Resque.retry_and_remove_failed)
    remove_all_failed = SyncVerb(Resque.remove_all_failed)
    retry_all_failed = SyncVerb(Resque.retry_all_failed)
    retry_stuck_jobs = SyncVerb(Resque.retry_stuck_jobs)

    workers = SyncVerb(Resque.workers)
    working_on = SyncVerb(Resque.working_on)
    all_working_on = SyncVerb(Resque.all_working_on)
    cancel_running = SyncVerb(Resque.cancel_running)
    force_clean_worker = SyncVerb(Resque.force_clean_worker)
    clean_old_workers = SyncVerb(Resque.clean_old_workers)

    locks = SyncVerb(Resque.locks)
    del_lock = SyncVerb(Resque.del_lock)
    stats = SyncVerb(Resque.stats)
    leader = SyncVerb(Resque.leader)
    details = SyncVerb(Resque.details)
    now_ms = SyncVerb(Resque.now_ms)
