"""The processing of a tracked task: its state, its lock, its events."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial, wraps
from typing import Any, ClassVar, Concatenate, ParamSpec, Protocol, TypeVar

from resqpy.base.clock import SYSTEM_CLOCK, Clock
from resqpy.base.concurrency.limited import OwnTime, within
from resqpy.base.concurrency.loops import HelperThread, ThreadFailed
from resqpy.base.concurrency.own_tasks import is_set_within
from resqpy.base.errors import HookTimeout, StoreError
from resqpy.base.events import Emitter
from resqpy.base.when import duration_s
from resqpy.engine.plugin import Plugin
from resqpy.store.connection.client import Store
from resqpy.store.connection.options import RedisOptions
from resqpy.tracked import locks
from resqpy.tracked.errors import AlreadyFinished, LockLost, TaskRefused, TrackedError
from resqpy.tracked.locks import HeldLock, LockState

_log = logging.getLogger("resqpy.tracked")


FORCE_RELEASE = "force_release"
LOCK_LOST = "lock_lost"


class ProcessingState(StrEnum):
    """The state of processing."""

    ACTIVE = "active"
    FINISHING = "finishing"
    FINISHED = "finished"
    LOCK_LOST = "lock_lost"


@dataclass(frozen=True, slots=True)
class Finished:
    """The content of the event `finished`.

    Attributes:
        result: `complete`, `fail`, `retry`, `defer`, `release`, `delete`, `veto`, `force_release` or
            `lock_lost`.
        delay_ms: how long until the task is processed again, if known.
    """

    result: str
    error: BaseException | None = None
    delay_ms: int | None = None


class Processing(Emitter):
    """The processing of one delivery.

    Attributes:
        finished: how it ended; None: it has not.
        disabled: the task was disabled meanwhile.
        loop: the event loop on which it runs.
    """

    EVENTS: ClassVar[frozenset[str]] = frozenset(
        {"finished", "state_changed", "lock_renewed", "lock_lost", "disabled", "inactive"}
    )

    def __init__(self, *, disabled: bool) -> None:
        super().__init__()
        self.state = ProcessingState.ACTIVE
        self.finished: Finished | None = None
        self.disabled: bool = disabled
        self.loop = asyncio.get_running_loop()
        self._lock: HeldLock | None = None

    @property
    def busy(self) -> bool:
        """Whether it is in progress."""
        return self.state in (ProcessingState.ACTIVE, ProcessingState.FINISHING)

    @property
    def locked(self) -> bool:
        """Whether the lock is certainly ours."""
        return self.busy and self._lock is not None and self._lock.valid

    def check(self) -> None:
        """Raise unless something may still be written.

        Raises:
            AlreadyFinished, LockLost: it may not.
        """
        if self.state is ProcessingState.FINISHED:
            raise AlreadyFinished
        if self._lock is not None and not self._lock.valid:
            self.lose()
        if self.state is ProcessingState.LOCK_LOST:
            raise LockLost

    def change(self, state: ProcessingState) -> None:
        """Change the state."""
        self.state = state
        self.emit("state_changed", state)

    def not_written(self) -> None:
        """The finishing write failed: processing continues."""
        if self.state is ProcessingState.FINISHING:
            self.change(ProcessingState.ACTIVE)

    # -- the lock --

    def hold(self, lock: HeldLock) -> None:
        """The lock that was taken; it expires unless it is renewed."""
        self._lock = lock

    @property
    def lock_until_s(self) -> float:
        """When the lock expires, by our monotonic clock."""
        return 0.0 if self._lock is None else self._lock.until_s

    def lose_if_over(self) -> bool:
        """Whether it is in progress and has its lock."""
        if self.busy and not self.locked:
            self.lose()
        return self.busy

    def learned(self, state: LockState, renewed: bool) -> None:
        """Process what Redis says about the lock."""
        if not self.busy:
            return
        if state is LockState.LOST:
            if self.state is ProcessingState.ACTIVE:
                self.lose()
            return
        if renewed:
            self.emit("lock_renewed")
        if state is LockState.HELD_DISABLED and not self.disabled:
            self.disabled = True
            self.emit("disabled")

    # -- the end --

    def lose(self) -> None:
        """The lock is no longer ours."""
        self._end(ProcessingState.LOCK_LOST, Finished(LOCK_LOST), "lock_lost", "inactive")

    def over(self, finished: Finished) -> None:
        """It is finished."""
        self._end(ProcessingState.FINISHED, finished, "inactive")

    def _end(self, state: ProcessingState, finished: Finished, *events: str) -> None:
        if not self.busy:
            return
        self.finished = finished
        self._lock = None
        self.change(state)
        self.emit("finished", finished)
        for event in events:
            self.emit(event)
        self._listeners.clear()  # nothing follows


# Interceptors: functions that wrap each verb of `Tracked` and of the active task, for logs, counts and
# refusals.
#
# Those around the runs of tasks are something else: `Deliveries`, and a project's middleware. All have a time
# limit: that of hooks, or the function's attribute `hook_timeout`.


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


# The locks of all tracked tasks that run in a process, renewed in batches by a separate thread, so that a
# blocked event loop does not lose them.


_NEVER, _IDLE = float("inf"), float("-inf")  # instead of a time
_AGAIN_S = 1.0  # before another attempt to start the thread
_END_WITHIN_S = 5.0
_IDLE_S = 2.0  # without a lock, after which the thread ends
_TOGETHER_S = 0.05  # locks due this soon are renewed together with those due now
_AFTER_S = 0.001  # so that a timer that fires slightly early still finds the lock expired


class LockKeeper:
    """Renews locks until they are released. Its thread starts with the first lock.

    Args:
        options: the Redis; the thread has its own connection.
    """

    def __init__(self, options: RedisOptions, clock: Clock = SYSTEM_CLOCK) -> None:
        self._options = options
        self._clock = clock
        self._mutex = threading.Lock()
        self._locks: dict[str, HeldLock] = {}
        self._helper: HelperThread | None = None  # None: it has nothing to do
        self._woken: asyncio.Event | None = None
        self._wakes_at_s = _NEVER

    def keep(self, lock: HeldLock) -> None:
        """Renew a lock in time until `let_go`."""
        with self._mutex:
            self._locks[lock.token] = lock
            if self._helper is None:
                self._begin()
            elif lock.due_s < self._wakes_at_s:
                self._wake(self._helper)

    def let_go(self, lock: HeldLock) -> None:
        """Stop renewing it."""
        with self._mutex:
            self._locks.pop(lock.token, None)

    def close(self) -> None:
        """Stop renewing everything; returns when the thread is gone."""
        with self._mutex:
            self._locks.clear()
            helper, self._helper = self._helper, None
        if helper is not None:
            helper.stop(0)
            self._wake(helper)
            helper.stop(_END_WITHIN_S)

    def _begin(self) -> None:
        """Start the thread, retrying if that fails. Call with the mutex held."""
        helper = HelperThread("resqpy-task-locks", self._renew_until_idle, _tell_death)
        self._helper, self._wakes_at_s = helper, _NEVER
        try:
            helper.start()
        except ThreadFailed as error:
            self._helper = None
            _log.error("locks of tracked tasks are not being renewed: %s", error)
            asyncio.get_running_loop().call_later(_AGAIN_S, self._begin_again)

    def _begin_again(self) -> None:
        with self._mutex:
            if self._locks and self._helper is None:
                self._begin()

    def _wake(self, helper: HelperThread) -> None:
        if self._woken is not None:
            helper.call(self._woken.set)

    # -- in the thread --

    async def _renew_until_idle(self, stopping: asyncio.Event) -> None:
        self._woken = woken = asyncio.Event()
        store = Store(self._options)
        try:
            while not stopping.is_set() and (wait_s := self._until_next()) is not None:
                await is_set_within(woken, wait_s)
                woken.clear()
                await self._renew(store)
        finally:
            await store.close()

    def _until_next(self) -> float | None:
        """Seconds until a lock is due; None: there is nothing to do, the thread ends."""
        now_s = self._clock.monotonic()
        with self._mutex:
            if self._locks:
                self._wakes_at_s = min(lock.due_s for lock in self._locks.values())
                return max(0.0, self._wakes_at_s - now_s)
            if self._wakes_at_s != _IDLE:
                self._wakes_at_s = _IDLE  # any lock wakes us
                return _IDLE_S
            self._helper, self._wakes_at_s = None, _NEVER
            return None

    async def _renew(self, store: Store) -> None:
        now_s = self._clock.monotonic()
        with self._mutex:
            due = [lock for lock in self._locks.values() if lock.due_s <= now_s + _TOGETHER_S]
        if not due:
            return
        asked = [lock.ask(now_s + _TOGETHER_S) for lock in due]
        try:
            states = await locks.renew(store, asked)
        except StoreError:
            _postpone(due, now_s)
            return
        for lock, question, state in zip(due, asked, states, strict=True):
            lock.heard(question, state, now_s)


def _tell_death(error: BaseException) -> None:
    _log.error("the thread that renews locks died; restarting it", exc_info=error)


def _postpone(locks: Iterable[HeldLock], now_s: float) -> None:
    for lock in locks:
        lock.postpone(now_s)


class LockWatch:
    """Notifies the processing of tracked tasks when their locks expire, with one timer per process: one per
    lock would cost more than the run of a small task.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._watched: set[Processing] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._at_s = _NEVER

    def add(self, processing: Processing) -> None:
        """Watch it until its lock expires."""
        self._watched.add(processing)
        if processing.lock_until_s < self._at_s:
            self._set_timer(processing.lock_until_s)

    def remove(self, processing: Processing) -> None:
        """Stop watching it; the timer may fire for nothing."""
        self._watched.discard(processing)

    def _set_timer(self, at_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        wait_s = max(0.0, at_s - self._clock.monotonic()) + _AFTER_S
        self._at_s = at_s
        self._timer = asyncio.get_running_loop().call_later(wait_s, self._look)

    def _look(self) -> None:
        self._timer, self._at_s = None, _NEVER
        for processing in tuple(self._watched):
            if not processing.lose_if_over():
                self._watched.discard(processing)
        if self._watched:
            self._set_timer(min(each.lock_until_s for each in self._watched))
