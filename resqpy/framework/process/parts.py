"""The initializers of a process except its probes: Redis (first to start, last to stop), the queue with
worker and scheduler, `api.tasks`, `api.tracked`, and the answer of `GET /metrics`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from functools import partial
from typing import ClassVar

from resqpy.base.concurrency.own_tasks import OwnTask, in_own_thread, own_task
from resqpy.base.errors import OutcomeUnknown, StoreError, StoreUnavailable
from resqpy.base.imports import MISSPELLED, near_match
from resqpy.base.when import Duration
from resqpy.engine.options import FROM_OPTIONS
from resqpy.engine.role import within_limit
from resqpy.engine.worker.queues import is_plain
from resqpy.framework.api.api import Bound
from resqpy.framework.api.resque import ResqueParts
from resqpy.framework.api.schedules import SchedulesApi
from resqpy.framework.api.tasks_api import TasksApi
from resqpy.framework.api.tracking import TrackedApi
from resqpy.framework.logs.events import EventLog
from resqpy.framework.logs.log import get_logger
from resqpy.framework.process import metrics
from resqpy.framework.process.initializer import Initializer
from resqpy.framework.process.metrics import Installation, LoopDelay, of_parts
from resqpy.framework.project.project import Project
from resqpy.framework.project.registry import Registry
from resqpy.schedules.tasks import Announcer
from resqpy.store.connection.client import Store, reach
from resqpy.store.connection.connect import place_of
from resqpy.store.connection.reachability import Away, Back
from resqpy.store.leader import led, standing

_CLOSE_S = 2.0  # for commands in flight at the end
_FLUSH_S = 10.0  # as heartbeats
_TELL_S = 10.0  # for middleware that hears of the last failures
_LOOK_AFTER_S = 2.0  # schedulers that start together with us have time to be elected


async def tell_if_nobody_leads(store: Store, ruby_prefix: str, *, periodic: bool) -> None:
    """Warn if no scheduler leads; checked once, soon after the start.

    Args:
        periodic: this process has periodic tasks, which only a resqpy scheduler runs.
    """
    await asyncio.sleep(_LOOK_AFTER_S)
    try:
        found = led(await standing(store, ruby_prefix))
    except StoreError:
        return  # an unreachable Redis is reported elsewhere
    if not found.periodic and (periodic or not found.delayed):
        get_logger().warning(found.idle, remedy=f"start one: {found.remedy}")


class ResqueInitializer(Initializer):
    """The parts in `api.resque`.

    Args:
        bound: has the connection.
        worker, scheduler: whether this process has them.
    """

    name: ClassVar[str] = "resque"
    load_priority: ClassVar[int] = 200
    start_priority: ClassVar[int] = 9000
    stop_priority: ClassVar[int] = 100
    start_timeout: ClassVar[Duration | None] = None
    stop_timeout: ClassVar[Duration | None] = None

    def __init__(self, project: Project, bound: Bound, *, worker: bool, scheduler: bool) -> None:
        self._project = project
        self._bound = bound
        self._worker = worker
        self._scheduler = scheduler
        self.resque: ResqueParts | None = None
        self._looking: asyncio.Task[None] | None = None
        self.timeout_s: float | None = FROM_OPTIONS  # for running jobs at the stop

    async def initialize(self) -> ResqueParts:
        """Create them all, so that user code can listen to their events before they start."""
        log = EventLog(self._project.config, self._project.root, self._project.registry.tasks)
        self.resque = resque = ResqueParts(self._project, self._bound.things["redis"], log)
        if self._worker:
            await resque.make_worker()
        if self._scheduler:
            resque.make_scheduler()
        return resque

    async def start(self) -> None:
        """Start: the scheduler stands for election, the worker takes jobs."""
        assert self.resque is not None
        if self._worker or self._scheduler:
            _warn_of_eviction(self._bound.things["redis"])
        if self.resque.scheduler is not None:
            await self.resque.scheduler.start()
        if self.resque.multi_worker is not None:
            await self.resque.multi_worker.start()
            specs = getattr(getattr(self.resque.multi_worker, "queues", None), "specs", ())
            wrong = await misspelled_queues(specs, self._project.registry, self.resque)
            for name, words in wrong.items():
                get_logger().warning(words, queue=name)
        if self._worker and not self._scheduler:
            prefix = self._project.config.scheduler.ruby_lock_prefix
            look = tell_if_nobody_leads(
                self._bound.things["redis"],
                prefix,
                periodic=bool(self._project.registry.periodic),
            )
            self._looking = asyncio.create_task(look)

    async def stop(self) -> None:
        """Stop worker and scheduler concurrently."""
        if self._looking is not None:
            self._looking.cancel()
        if self.resque is None:
            return
        async with asyncio.TaskGroup() as group:
            if self.resque.multi_worker is not None:
                group.create_task(self.resque.multi_worker.stop(self.timeout_s))
            if self.resque.scheduler is not None:
                group.create_task(self.resque.scheduler.stop())
        seconds = _TELL_S if self.timeout_s != 0 else _CLOSE_S
        await within_limit(seconds, "telling of failures", self.resque.failures.finish())
        if self._project.registry.resources is not None:
            await self._project.registry.resources.close()


def _warn_of_eviction(store: Store) -> None:
    """A failure that nobody notices: a full cache silently evicts jobs."""
    if store.evicts is not None:
        lost = "locks" if store.evicts.startswith("volatile") else "jobs"
        get_logger().warning(
            f"Redis may evict {lost} when its memory is full",
            maxmemory_policy=store.evicts,
            remedy="set maxmemory-policy noeviction, or use a separate Redis for jobs",
        )


async def misspelled_queues(
    specs: Iterable[str], registry: Registry, resque: ResqueParts
) -> dict[str, str]:
    """Problems with names of queues that nobody uses and that are similar to existing ones."""
    own = {task.queue for task in registry}
    unused = [each for each in specs if is_plain(each) and each not in own]
    known = own | set(await resque.inspector.queues()) if unused else own
    hints = {each: _meant(each, known) for each in unused if each not in known}
    return {name: f"no task uses the queue {name!r}{hint}" for name, hint in hints.items() if hint}


def _meant(name: str, known: set[str]) -> str:
    """The queue with a similar name, or the queues listed with blanks instead of commas."""
    parts = name.split()
    if len(parts) > 1 and known & {*parts}:
        return f"; did you mean {','.join(parts)!r}, with commas?"
    return near_match(name, known, MISSPELLED)


class RedisInitializer(Initializer):
    """The connection of all parts of this process.

    Args:
        patient: wait for Redis.
    """

    name: ClassVar[str] = "redis"
    load_priority: ClassVar[int] = 100
    stop_priority: ClassVar[int] = 99_999
    start_timeout: ClassVar[Duration | None] = None
    stop_timeout: ClassVar[Duration | None] = None

    def __init__(self, project: Project, *, patient: bool = True) -> None:
        self._project = project
        self._patient = patient
        self._store: Store | None = None

    async def initialize(self) -> Store:
        """Connect to Redis. An embedded one may have to be started, which blocks, so that is done in a thread."""
        options = await in_own_thread(self._project.connection)
        self._store = Store(options)
        try:
            if self._patient:  # otherwise a user waits for the error
                options.reachability.listen(partial(_tell, place_of(options)))
                await reach(self._store)
            else:
                await self._store.connect()
        except BaseException:  # nobody else stops what did not start
            await self.stop()
            raise
        return self._store

    async def stop(self) -> None:
        """Close."""
        if self._store is not None:
            await within_limit(_CLOSE_S, "closing the connection to Redis", self._store.close())
        await in_own_thread(self._project.close)


def _tell(place: str, change: Away | Back) -> None:
    """One log line when Redis becomes unreachable, and one when it is back, whoever noticed."""
    if isinstance(change, Back):
        get_logger().warning(f"{place} is available again", away_s=round(change.away_s, 1))
        return
    if change.within_s == 0:  # the caller gets the error
        return
    words = f"{place} refuses commands" if change.refused else f"cannot reach {place}"
    limit = "" if change.within_s is None else f" for up to {change.within_s:g} s"
    write = get_logger().error if change.within_s is None else get_logger().warning
    write(f"{words}; retrying{limit}", error=str(change.error))


class TasksInitializer(Initializer):
    """The verbs for the project's tasks."""

    name: ClassVar[str] = "tasks"
    load_priority: ClassVar[int] = 210
    start_priority: ClassVar[int] = 8900
    stop_priority: ClassVar[int] = 90
    start_timeout: ClassVar[Duration | None] = None
    stop_timeout: ClassVar[Duration | None] = None

    def __init__(self, project: Project, bound: Bound) -> None:
        self._project = project
        self._bound = bound
        self._announcing: OwnTask[None] | None = None

    def initialize(self) -> TasksApi:
        """Create it, and `api.schedules`."""
        registry, resque = self._project.registry, self._resque
        self._bound.things["schedules"] = SchedulesApi.of(
            registry, resque.own_queue, self._project.config
        )
        return TasksApi(registry, resque)

    @property
    def _resque(self) -> ResqueParts:
        resque: ResqueParts = self._bound.things["resque"]
        return resque

    async def start(self) -> None:
        """Announce the periodic tasks, as a scheduler does for its own process: the leader may be another
        process without our code.
        """
        resque = self._resque
        if resque.multi_worker is None or resque.scheduler is not None:
            return
        tasks = resque.recurrent.tasks
        if not tasks:
            return
        announcer = Announcer(resque.store, tasks, _announcing_failed)
        self._announcing = own_task(announcer.run(), "announcing periodic tasks")

    async def stop(self) -> None:
        """Stop announcing."""
        if self._announcing is not None:
            self._announcing.end()
            with contextlib.suppress(asyncio.CancelledError):
                await self._announcing


def _announcing_failed(error: Exception) -> None:
    if isinstance(error, StoreUnavailable | OutcomeUnknown):
        return  # reported once for all parts (process/parts.py)
    get_logger().warning("could not announce the periodic tasks", error=str(error))


class TrackedInitializer(Initializer):
    """The verbs of tracked tasks, and the handlers that user code registers."""

    name: ClassVar[str] = "tracked"
    load_priority: ClassVar[int] = 220
    start_priority: ClassVar[int] = 8950
    stop_priority: ClassVar[int] = 90
    start_timeout: ClassVar[Duration | None] = None
    stop_timeout: ClassVar[Duration | None] = 30_000

    def __init__(self, project: Project, bound: Bound) -> None:
        self._project = project
        self._bound = bound
        self._tracked: TrackedApi | None = None

    def initialize(self) -> TrackedApi:
        """Create it; user code may register handlers before it starts."""
        resque = self._bound.things["resque"]
        self._tracked = TrackedApi(
            resque.store,
            self._project.registry,
            defaults=self._project.config.tasks.tracked_preset,
            keeper=resque.task_locks,
            interceptors=resque.task_interceptors,
            follow=resque.follow,
        )
        return self._tracked

    async def start(self) -> None:
        """Start running tasks that have a handler in this process."""
        if self._tracked is not None:
            await self._tracked.start()

    async def stop(self) -> None:
        """Release the running tasks."""
        if self._tracked is not None:
            await self._tracked.stop()


class MetricsInitializer(Initializer):
    """Answers `GET /metrics`, and writes the history where no worker's heartbeat does."""

    name: ClassVar[str] = "metrics"
    load_priority: ClassVar[int] = 210
    stop_priority: ClassVar[int] = 99_000
    start_timeout: ClassVar[Duration | None] = None
    stop_timeout: ClassVar[Duration | None] = None

    def __init__(self, project: Project, bound: Bound) -> None:
        self._project = project
        self._bound = bound
        self._resque: ResqueParts | None = None
        self._delay = LoopDelay()
        self._side: list[OwnTask[None]] = []
        self._installation: Installation | None = None

    def initialize(self) -> None:
        """Begin to watch the loop, if somebody may ask."""
        self._resque = resque = self._bound.things["resque"]
        if resque.multi_worker is None:
            self._side.append(own_task(self._flush(resque), "writing the history"))
        if self._project.config.process.health_port is not None:
            self._installation = Installation(resque.store)
            self._side.append(own_task(self._delay.watch()))

    @staticmethod
    async def _flush(resque: ResqueParts) -> None:
        while True:
            await asyncio.sleep(_FLUSH_S)
            await resque.counts.flush(resque.store)

    async def stop(self) -> None:
        """Stop watching the loop, write the rest of the history, and release Redis, which stops next."""
        self._installation = None
        for each in self._side:
            each.end()
        if self._resque is not None:
            flush = self._resque.counts.flush(self._resque.store)
            await within_limit(_CLOSE_S, "writing the history", flush)

    async def text(self) -> bytes:
        """All metrics: of this process, of the installation, and those of the application."""
        found = [*of_parts(self._resque), *self._delay.metrics()]
        if self._resque is not None:
            found += self._resque.counts.metrics()
        if self._installation is not None:
            found += await self._installation.metrics()
        return metrics.render(found) + metrics.of_the_application()
