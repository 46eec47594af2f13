"""The queue, the worker and the scheduler: started last and stopped first."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import ClassVar

from resqpy.base.errors import StoreError
from resqpy.base.imports import MISSPELLED, near_match
from resqpy.base.when import Duration
from resqpy.engine.options import FROM_OPTIONS
from resqpy.engine.queue_names import is_plain
from resqpy.framework.api import Bound
from resqpy.framework.event_log import EventLog
from resqpy.framework.initializer import Initializer
from resqpy.framework.log import get_logger
from resqpy.framework.project import Project
from resqpy.framework.resque import Resque
from resqpy.store.client import Store
from resqpy.store.leader import led, standing

_LOOK_AFTER_S = 2.0  # schedulers that start with us have time to be elected


async def tell_if_nobody_leads(store: Store, ruby_prefix: str, *, periodic: bool) -> None:
    """Warn where no scheduler leads; it looks once, soon after the start.

    Args:
        periodic: this process has periodic tasks, which only a scheduler of resqpy runs.
    """
    await asyncio.sleep(_LOOK_AFTER_S)
    try:
        found = led(await standing(store, ruby_prefix))
    except StoreError:
        return  # others tell of a Redis that is away
    if not found.periodic and (periodic or not found.delayed):
        get_logger().warning(found.idle, remedy=f"start one: {found.remedy}")


class ResqueInitializer(Initializer):
    """The parts of `api.resque`.

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
        self.resque: Resque | None = None
        self._looking: asyncio.Task[None] | None = None
        self.timeout_s: float | None = FROM_OPTIONS  # that running jobs get at the stop

    async def initialize(self) -> Resque:
        """Make them all, so that user code can listen to their events before they start."""
        log = EventLog(self._project.config, self._project.root)
        self.resque = resque = Resque(self._project, self._bound.things["redis"], log)
        if self._worker:
            await resque.make_worker()
        if self._scheduler:
            resque.make_scheduler()
        return resque

    async def start(self) -> None:
        """Begin: the scheduler stands for election, the worker takes jobs."""
        assert self.resque is not None
        if self._worker or self._scheduler:
            _warn_of_eviction(self._bound.things["redis"])
        if self.resque.scheduler is not None:
            await self.resque.scheduler.start()
        if self.resque.multi_worker is not None:
            await self.resque.multi_worker.start()
            specs = getattr(getattr(self.resque.multi_worker, "queues", None), "specs", ())
            wrong = await misspelled_queues(specs, self._project, self.resque)
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
        """End, worker and scheduler side by side."""
        if self._looking is not None:
            self._looking.cancel()
        if self.resque is None:
            return
        async with asyncio.TaskGroup() as group:
            if self.resque.multi_worker is not None:
                group.create_task(self.resque.multi_worker.stop(self.timeout_s))
            if self.resque.scheduler is not None:
                group.create_task(self.resque.scheduler.stop())


def _warn_of_eviction(store: Store) -> None:
    """The failure that nobody sees: a cache that is full throws jobs away, and tells nobody."""
    if store.evicts is not None:
        lost = "locks" if store.evicts.startswith("volatile") else "jobs"
        get_logger().warning(
            f"Redis may throw {lost} away when its memory is full",
            maxmemory_policy=store.evicts,
            remedy="set maxmemory-policy noeviction, or use a Redis of its own for jobs",
        )


async def misspelled_queues(
    specs: Iterable[str], project: Project, resque: Resque
) -> dict[str, str]:
    """What is wrong with the names of queues that nobody uses, and that are nearly those of others."""
    own = {task.queue for task in project.registry}
    unused = [each for each in specs if is_plain(each) and each not in own]
    known = own | set(await resque.inspector.queues()) if unused else own
    hints = {each: _meant(each, known) for each in unused if each not in known}
    return {name: f"no task uses the queue {name!r}{hint}" for name, hint in hints.items() if hint}


def _meant(name: str, known: set[str]) -> str:
    """The queue that is called nearly so, or those that stand in the name with blanks between them."""
    parts = name.split()
    if len(parts) > 1 and known & {*parts}:
        return f"; did you mean {','.join(parts)!r}, with commas?"
    return near_match(name, known, MISSPELLED)
