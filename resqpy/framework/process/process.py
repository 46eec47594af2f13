"""A process runs a project: boots it, waits, and stops it in order.

async with Process(Project.load("."), worker=True):
    await api.tasks.enqueue("sendWelcomeEmail", {"to": "ada@example.com"})
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Self

from resqpy.base.concurrency.loops import Home, on_its_loop
from resqpy.base.concurrency.own_tasks import first_of, in_own_thread, is_set_within, own_task
from resqpy.base.errors import PoolStateError, ResqpyError, UsageError
from resqpy.engine.options import FROM_OPTIONS
from resqpy.engine.worker.heartbeat import WORKING, state_of
from resqpy.engine.worker.multi_worker import MultiWorker
from resqpy.framework.api.api import Api, Bound, api, bind, unbind
from resqpy.framework.api.resque import ResqueParts
from resqpy.framework.config.sections import ProcessConfig
from resqpy.framework.logs.log import get_logger
from resqpy.framework.process.boot import Boot
from resqpy.framework.process.health import HealthInitializer, LoopWatch
from resqpy.framework.process.orders import Orders
from resqpy.framework.process.parts import (
    MetricsInitializer,
    RedisInitializer,
    ResqueInitializer,
    TasksInitializer,
    TrackedInitializer,
)
from resqpy.framework.process.signals import handled
from resqpy.framework.project.project import Project


class Process:
    """Runs a project in this program.

    Args:
        project: loaded; if something is wrong with it, `start` raises that.
        worker: whether it runs jobs. None: if the config has `max_task_processors` above 0. True with a
            config of 0: 1 to 10 task processors.
        scheduler: whether it stands for election as scheduler. None: `tasks.scheduler`.

    Attributes:
        api: what `api` refers to while it runs.
        patient: whether `start` waits for Redis.
        loop_watch: monitors its event loop.
    """

    def __init__(
        self, project: Project, worker: bool | None = None, scheduler: bool | None = None
    ) -> None:
        self.project = project
        tasks = project.config.tasks
        self.worker: bool = tasks.max_task_processors > 0 if worker is None else worker
        self.scheduler: bool = tasks.scheduler if scheduler is None else scheduler
        self.patient: bool = True
        self.home: Home = Home("this process")
        self.bound: Bound = Bound(
            project, self.home, config=project.config, registry=project.registry
        )
        self.api: Api = api
        self._boot: Boot | None = None
        self._limits: Limits | None = None
        self._resque = ResqueInitializer(
            project, self.bound, worker=self.worker, scheduler=self.scheduler
        )
        self.loop_watch: LoopWatch = LoopWatch(project.root)
        self._wanted = asyncio.Event()
        self._hurry: asyncio.Task[None] | None = None
        self._stopped: asyncio.Task[None] | None = None

    @property
    def resque(self) -> ResqueParts:
        """The parts.

        Raises:
            PoolStateError: it was not started.
        """
        if self._resque.resque is None:
            raise PoolStateError("this process was not started")
        return self._resque.resque

    # -- life cycle --

    async def start(self) -> None:
        """Boot: initializers, then scheduler and worker.

        Raises:
            ProjectErrors: all that is wrong with the project; nothing was started.
            StoreError: Redis can't be reached or used.
        """
        if self._boot is not None:
            raise PoolStateError("this process was started already; create a new one")
        self.project.check()
        self.home.elsewhere()  # it belongs to this loop from now on
        self.loop_watch.begin()
        self.bound.things["log"] = get_logger()
        for each in self.project.warnings:
            get_logger().warning(str(each))
        self._boot = Boot(self._initializers(), self.bound)
        bind(self.bound)
        try:
            await self._boot.initialize()
            worker = self.resque.multi_worker
            if isinstance(worker, MultiWorker):
                worker.on_order = Orders(self, worker).obey
            if self.resque.multi_worker is not None:  # before its first job
                self._limits = Limits(self.project.config.process, self.resque.multi_worker)
            await self._boot.start()
        except BaseException:
            await self.stop(0)
            raise

    def _initializers(self) -> list[Any]:
        own = [each() for each in self.project.registry.initializers]
        metrics = MetricsInitializer(self.project, self.bound)
        return [
            HealthInitializer(self, metrics.text),
            RedisInitializer(self.project, patient=self.patient),
            self._resque,
            metrics,
            TasksInitializer(self.project, self.bound),
            TrackedInitializer(self.project, self.bound),
            *own,
        ]

    @on_its_loop
    async def wait(self) -> None:
        """Return when a stop is requested, or a limit is reached.

        Raises:
            Exception: the error that ended the worker or the scheduler.
        """
        worker, scheduler = self.resque.multi_worker, self.resque.scheduler
        waits: list[Coroutine[Any, Any, object]] = [self._wanted.wait()]
        waits += [self._end_of(part) for part in (worker, scheduler) if part is not None]
        if self._limits is not None:
            waits.append(self._limits.reached())
        await first_of(*waits)

    async def _end_of(self, part: Any) -> None:
        await part.wait()
        if self._stopped is None:
            raise ResqpyError(f"the {type(part).__name__} ended by itself")

    @on_its_loop
    async def stop(self, timeout_s: float | None = FROM_OPTIONS) -> None:
        """Stop in order; calling it twice does no harm.

        Args:
            timeout_s: seconds for running jobs; None: no limit; default: the config's.
        """
        if self._boot is None:
            return
        if self._stopped is None:
            self._resque.timeout_s = timeout_s
            self._stopped = own_task(self._stop(self._boot))
        await asyncio.shield(self._stopped)

    async def _stop(self, boot: Boot) -> None:
        try:
            await boot.stop()
        finally:
            unbind(self.bound)
            if self.bound.sync is not None:
                await in_own_thread(self.bound.sync.close)

    async def run(
        self,
        on_started: Callable[[], None] = lambda: None,
        on_stopping: Callable[[], None] = lambda: None,
    ) -> None:
        """Start, work until a signal (or a limit) requests a stop, and stop: the life of `resqpy worker`.

        Args:
            on_started: called when it has started.
            on_stopping: called when it begins to stop.

        Raises:
            Exception: as `start` and `wait`.
        """
        with handled(self):
            if not await self._start_unless_stopped():
                return
            try:
                on_started()
                await self.wait()
            finally:
                on_stopping()
                await self.stop(self._resque.timeout_s)

    async def _start_unless_stopped(self) -> bool:
        """Start, unless a stop is requested first; returns whether it has started."""
        starting = asyncio.create_task(self.start())
        wanted = asyncio.create_task(self._wanted.wait())
        try:
            await asyncio.wait({starting, wanted}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            wanted.cancel()
            starting.cancel()  # harmless if it is done
        try:
            await starting
        except asyncio.CancelledError:
            return False
        return True

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # -- requests of signals; nothing here waits --

    def request_stop(self, timeout_s: float | None = FROM_OPTIONS) -> None:
        """Let `wait` return, and give running jobs this long; a second request stops immediately."""
        if self._wanted.is_set():
            self.request_stop_now()
            return
        self._resque.timeout_s = timeout_s
        self._wanted.set()

    def request_stop_now(self) -> None:
        """Cancel running jobs, also while a graceful stop is in progress."""
        self._resque.timeout_s = 0
        self._wanted.set()
        worker = self._multi_worker
        if worker is not None and self._hurry is None:
            self._hurry = own_task(worker.stop_now())

    @property
    def stopping(self) -> bool:
        """Whether a stop was requested."""
        return self._wanted.is_set()

    def pause(self, *, for_good: bool = False) -> None:
        """Stop taking jobs, for now or permanently."""
        worker = self._multi_worker
        if worker is not None:
            with contextlib.suppress(PoolStateError):  # not started yet, or stopped
                # a replacement may not support the argument
                worker.pause(for_good=True) if for_good and _is_ours(worker) else worker.pause()

    @property
    def state(self) -> str:
        """The state of the worker; empty: normal operation."""
        worker = self._multi_worker
        if worker is None or not _is_ours(worker):
            return WORKING
        try:
            return state_of(worker.pool, worker.options.cancel_timeout_s)
        except PoolStateError:  # as above
            return WORKING

    def resume(self) -> None:
        """Take jobs again."""
        if self._multi_worker is not None:
            with contextlib.suppress(PoolStateError):  # as above
                self._multi_worker.resume()

    def abort_jobs(self) -> None:
        """Cancel all running jobs; they fail, the worker continues."""
        worker = self._multi_worker
        if worker is not None:
            for worker_id in getattr(worker, "worker_ids", ()):  # a replacement may not have it
                worker.cancel(str(worker_id))

    @property
    def _multi_worker(self) -> MultiWorker | None:
        resque = self._resque.resque
        return None if resque is None else resque.multi_worker


def _is_ours(worker: Any) -> bool:
    return isinstance(worker, MultiWorker)


_CHECK_S = 1.0


class Limits:
    """Limits of a worker process: `process.burst`, `max_jobs`, `max_memory`."""

    def __init__(self, config: ProcessConfig, worker: Any) -> None:
        self._config = config
        self._worker = worker
        self._jobs = self._begun = 0
        self._done = asyncio.Event()
        if config.max_jobs is not None:
            worker.on("job", self._begins)
            for event in ("success", "failure", "re_enqueue", "snoozed"):
                worker.on(event, self._count)
        if config.burst:
            worker.on("pause", self._idle)

    def _begins(self, *_: Any) -> None:
        """Job one more than allowed may have been taken: a paused worker puts it back."""
        self._begun += 1
        if self._begun > (self._config.max_jobs or 0):
            self._worker.pause()
            self._reach("max_jobs", self._config.max_jobs)

    def _count(self, *_: Any) -> None:
        self._jobs += 1
        if self._jobs == self._config.max_jobs:
            self._reach("max_jobs", self._jobs)

    def _idle(self, *_: Any) -> None:
        if not self._worker.pool.slots.busy:
            self._reach("burst", "the queues are empty, or paused")

    def _reach(self, name: str, value: Any) -> None:
        if not self._done.is_set():
            get_logger().info("limit reached, stopping", limit=name, value=value)
            self._done.set()

    async def reached(self) -> None:
        """Return when a limit is reached.

        Raises:
            UsageError: the process exceeds `max_memory` before its first job.
        """
        most = self._config.max_memory
        if most is not None and (now := memory()) > most:
            raise UsageError(
                f"process.max_memory is {most:,} bytes, and this process already has {now:,} before its first "
                "job, so it would always end immediately; increase it"
            )
        while not self._done.is_set():
            if most is None:
                await self._done.wait()
            elif (now := memory()) > most:
                self._reach("max_memory", now)
            else:
                await is_set_within(self._done, _CHECK_S)


def memory() -> int:
    """Bytes of memory used by the process (on some systems: its maximum)."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return pages * resource.getpagesize()
