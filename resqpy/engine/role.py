"""The common life of all long-lived parts of a process: start, side tasks, stop.

    new ──► starting ──► running ──► stopping ──► stopped
     ▲          │           └──────► died ──► (stop) ──► died
     └──────────┘ a failed start may be repeated

Side tasks belong to their role. One that raises ends its role: the error is logged with its traceback, and
`wait` raises it. One that is cancelled by somebody else is restarted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

from resqpy.base.clock import Clock
from resqpy.base.concurrency.loops import Home, on_its_loop
from resqpy.base.concurrency.own_tasks import (
    Deadline,
    OwnTask,
    first_done,
    is_cancelled,
    keep_running,
    own_task,
)
from resqpy.base.errors import PoolStateError, ResqpyError, StoreError
from resqpy.base.events import Emitter
from resqpy.engine.lifecycle import OutcomeKind
from resqpy.engine.run import current_run
from resqpy.store.connection.client import Store, persevere, reach
from resqpy.store.connection.options import RedisOptions
from resqpy.store.repair.junk import Mending

if TYPE_CHECKING:
    from resqpy.engine.worker.running import EndedJob
    from resqpy.engine.worker.slots import Slot


# Base of objects that use a connection to Redis, their own or a shared one, and are closed with it.

Connection = Store | RedisOptions | str | None


class Closing(Protocol):
    """Something that can be closed."""

    async def close(self) -> None: ...


def as_store(connection: Connection) -> tuple[Store, bool]:
    """A store for the connection a user passed, and whether it is ours to close."""
    if isinstance(connection, Store):
        return connection, False
    if isinstance(connection, str):
        connection = RedisOptions(url=connection)
    return Store(connection), True


class Client:
    """Base of `Queue` and `Inspector`."""

    store: Store
    clock: Clock
    _owned: Closing | None = None

    async def connect(self) -> None:
        """Connect to Redis, to report problems early."""
        await self.store.connect()

    async def close(self) -> None:
        """Close the connection if it is our own."""
        if self._owned is not None:
            await self._owned.close()

    async def end(self) -> None:
        """node-resque's name for `close`."""
        await self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


_log = logging.getLogger("resqpy")

_AGAIN_S = 0.1  # before a side task that somebody cancelled is restarted
LAST_S = 5.0  # shared by all steps of a stop, besides the time for jobs
_END_WITHIN_S = 1.0  # of these, for side tasks after they are cancelled

Side = Callable[[], Coroutine[Any, Any, None]]


class State(StrEnum):
    """The state of a role."""

    NEW = "new"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    DIED = "died"


class Role(Emitter):
    """A part that is started and stopped: worker or scheduler.

    Attributes:
        state: its state.
    """

    # `successes` and `failures`, for our log: the list of those that one exchange reported. Once for each job
    # would cost more.
    EVENTS: ClassVar[frozenset[str]] = frozenset({
        "start", "end", "poll", "ping", "pause", "job", "success", "successes", "failure", "failures", "skipped",
        "re_enqueue", "snoozed", "expired", "error", "multi_worker_action", "cleaning_worker", "put_back",
        "clean_stuck_worker", "leader", "follower", "enqueue", "working_timestamp", "transferred_job",
        "failed_removed",
    })  # fmt: skip
    leads: ClassVar[bool] = False  # whether it uses the keys of schedulers

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        store, self._owns_store = as_store(connection)
        self.store: Store = store
        self.state: State = State.NEW
        self.home: Home = Home(f"this {type(self).__name__}")
        self._side: list[Side] = []
        self._tasks: list[OwnTask[None]] = []
        self._over: asyncio.Future[None] | None = None
        self._ending = False
        self._stopped: OwnTask[None] | None = None

    @property
    def running(self) -> bool:
        """Whether it was started, and has neither stopped nor died."""
        return self.state in {State.STARTING, State.RUNNING, State.STOPPING}

    async def connect(self) -> None:
        """Connect to Redis, waiting for it if necessary, to report problems early."""
        await reach(self.store)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Connect and start, once; a failed start may be repeated.

        Raises:
            PoolStateError: it was started already, or has stopped.
            StoreError: Redis can't be reached or used.
        """
        if self.state is not State.NEW:
            raise PoolStateError(
                f"this {type(self).__name__} was started already and is {self.state}; create a new one"
            )
        self.state = State.STARTING
        self.home.elsewhere()  # it belongs to this loop from now on
        try:
            await self.connect()
            spawn = partial(_set_junk_aside, self.store, leads=self.leads)
            for message in await persevere(self.store, spawn):
                self._trouble(StoreError(message))
            await self._begin()
        except BaseException:
            self._side = []
            self.state = State.NEW
            await self._close_store()
            raise
        loop = asyncio.get_running_loop()
        keep_running(loop)
        self._over = loop.create_future()
        self._tasks = [own_task(self._keep(side), type(self).__name__) for side in self._side]
        self._side = []
        self.state = State.RUNNING

    def _trouble(self, error: Exception) -> None:
        """Report an error that concerns the whole role."""
        raise NotImplementedError

    def spawn(self, side: Side) -> None:
        """Run a coroutine in the background until the role stops; for `_begin`.

        Args:
            side: makes the coroutine; called again if somebody else cancelled it.
        """
        self._side.append(side)

    async def _keep(self, side: Side) -> None:
        """Run a side task; an error ends the role."""
        while True:
            try:
                return await side()
            except asyncio.CancelledError:
                if self._ending or is_cancelled():
                    self._end_with_loop()
                    raise
                message = "a part of the %s was cancelled by somebody else; it is restarted"
                _log.exception(message, type(self).__name__)
                await asyncio.sleep(_AGAIN_S)
            except BaseException as error:
                self.die(error)
                return None

    def die(self, error: BaseException) -> None:
        """End the role with an error, which is logged and raised by `wait`."""
        if self._ending or self._over is None or self._over.done():
            _log.error("error while stopping the %s", type(self).__name__, exc_info=error)
            return
        self.state = State.DIED
        _log.critical("the %s died", type(self).__name__, exc_info=error)
        self._over.set_exception(_raisable(error, type(self).__name__))
        self._over.exception()  # perhaps nobody waits
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.end()

    def _end_with_loop(self) -> None:
        """The surrounding program cancelled our tasks, as `asyncio.run` does at its end."""
        if not self._ending and self._over is not None and not self._over.done():
            self.state = State.DIED
            self._over.set_exception(
                PoolStateError("its tasks were cancelled before it was stopped")
            )
            self._over.exception()

    async def _begin(self) -> None:
        """Set up, and start the side tasks with `spawn`."""
        raise NotImplementedError

    async def stop(self) -> None:
        """Stop in order; calling it twice does no harm."""
        await self._stop_by(self._stop)

    async def _stop_by(self, stop: Side) -> None:
        """Stop by a coroutine, once; every caller waits for its end."""
        if self._over is None:
            await self._close_store()
            return
        if self._stopped is None:
            if self.state is not State.DIED:
                self.state = State.STOPPING
            self._stopped = own_task(self._stop_once(stop))
        await asyncio.shield(self._stopped)

    async def _stop_once(self, stop: Side) -> None:
        assert self._over is not None
        try:
            await stop()
        finally:
            if self.state is not State.DIED:
                self.state = State.STOPPED
            if not self._over.done():
                self._over.set_result(None)

    async def _stop(self) -> None:
        """The steps of a stop."""
        raise NotImplementedError

    async def end(self) -> None:
        """node-resque's name for `stop`."""
        await self.stop()

    @on_its_loop
    async def wait(self) -> None:
        """Return when the role has stopped.

        Raises:
            Exception: the error that ended it, if any.
        """
        if self._over is not None:
            await first_done(self._over)
            self._over.result()

    async def _end_side_tasks(self, deadline: Deadline) -> None:
        self._ending = True
        await ended(self._tasks, deadline.left(_END_WITHIN_S))

    async def _close_store(self) -> None:
        if self._owns_store:
            await self.store.close()


async def _set_junk_aside(store: Store, *, leads: bool) -> list[str]:
    """Move values of the wrong type under our keys out of the way, now and later; returns messages."""
    before = store.mending
    leading = leads or (isinstance(before, Mending) and before.leading)
    store.mending = mending = Mending(store, leading=leading)
    return await mending()


async def within_limit(seconds: float, what: str, step: Coroutine[Any, Any, None]) -> None:
    """A step of a stop; if it takes too long, or fails, the next one follows."""
    task = own_task(step, what)
    await asyncio.wait([task], timeout=seconds)
    if not task.done():
        task.end()
        _log.error("%s did not end within %g s; the stop continues", what, seconds)
    elif not task.cancelled() and (error := task.exception()) is not None:
        _log.error("%s failed; the stop continues", what, exc_info=error)


async def ended(tasks: list[OwnTask[None]], within_s: float) -> None:
    """Cancel tasks and wait for their end; one that does not end is logged and abandoned."""
    for task in tasks:
        task.end()
    going_on = [task for task in tasks if not task.done()]
    if going_on:
        _, left = await asyncio.wait(going_on, timeout=within_s)
        for task in left:
            _log.error("%s does not end when cancelled", task.get_name())


def _raisable(error: BaseException, role: str) -> Exception:
    """A form that may leave `wait`: a SystemExit of a part would end the caller."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    wrapped = ResqpyError(f"the {role} died of {type(error).__name__}")
    wrapped.__cause__ = error
    return wrapped


# The events of a worker: node-resque's, with the same names in snake case.


class EventSink(Protocol):
    """Receives events."""

    def tell(self, event: str, slot: Slot | None, *details: Any) -> None:
        """Emit an event; `slot` is None if it concerns all."""

    def has_listeners(self, event: str) -> bool:
        """Whether anybody listens; events without listeners need not be built."""


def tell_end(events: EventSink, end: EndedJob, *, void: bool) -> None:
    """Emit the events for a job's end, once it is written. Listeners find its run as `current_run`."""
    token = current_run.set(end.run)
    try:
        _tell_end(events, end, void=void)
    finally:
        current_run.reset(token)


def _tell_end(events: EventSink, end: EndedJob, *, void: bool) -> None:
    slot, run, outcome = end.slot, end.run, end.outcome
    if void and not end.in_doubt:
        if run.lifecycle.plain:  # else its lifecycle reports the changed record
            tell_error(events, StoreError(_VOID), end)
    elif outcome.kind is OutcomeKind.SUCCESS:
        events.tell("success", slot, run.queue, run.job, outcome.result, end.duration_ms)
    elif outcome.kind is OutcomeKind.FAILURE:
        events.tell("failure", slot, run.queue, run.job, outcome.error, end.duration_ms)
    elif outcome.kind in (OutcomeKind.RETRIED, OutcomeKind.DELAYED):
        events.tell("re_enqueue", slot, run.queue, run.job, outcome.info)
    elif outcome.kind is OutcomeKind.SNOOZED:
        events.tell("snoozed", slot, run.queue, run.job, outcome.info)
    elif outcome.kind is OutcomeKind.EXPIRED:
        events.tell("expired", slot, run.queue, run.job)
    elif (
        outcome.kind is OutcomeKind.SKIPPED and run.outcome is None
    ):  # else somebody else reports it
        events.tell("skipped", slot, run.queue, run.job)


_VOID = "the job was taken from this worker while it ran; its end is void"


def tell_error(events: EventSink, error: Exception, end: EndedJob | None = None) -> None:
    """Emit an error that concerns one job, or all."""
    if end is None:
        events.tell("error", None, error, None, None)
    else:
        events.tell("error", end.slot, error, end.run.queue, end.run.job)
