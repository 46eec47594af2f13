"""What `api.sync` needs for more than to enqueue, imported at its first use: the parts of a project on a loop,
and the verbs of tracked tasks and schedules.
"""

from __future__ import annotations

from resqpy.framework.api.api import Bound
from resqpy.framework.api.blocking import SyncVerb
from resqpy.framework.api.resque import ResqueParts
from resqpy.framework.api.schedules import SchedulesApi
from resqpy.framework.api.sync import SyncVerbs
from resqpy.framework.api.tasks_api import TasksApi
from resqpy.framework.api.tracking import TrackedApi
from resqpy.framework.logs.events import EventLog
from resqpy.framework.logs.log import get_logger
from resqpy.framework.project.project import Project
from resqpy.store.connection.client import Store
from resqpy.store.connection.options import RedisOptions


class SyncParts:
    """A project on the loop of the thread: what a process has, but for workers and initializers."""

    def __init__(self, project: Project, options: RedisOptions) -> None:
        store = Store(options)
        resque = ResqueParts(
            project, store, EventLog(project.config, project.root, project.registry.tasks)
        )
        self._tracked = TrackedApi(
            store,
            project.registry,
            defaults=project.config.tasks.tracked_preset,
            keeper=resque.task_locks,
            interceptors=resque.task_interceptors,
        )
        self._store = store
        self.bound = Bound(
            project=project,
            config=project.config,
            registry=project.registry,
            log=get_logger(),
            redis=store,
            resque=resque,
            tasks=TasksApi(project.registry, resque),
            tracked=self._tracked,
            schedules=SchedulesApi.of(project.registry, resque.own_queue, project.config),
        )

    async def close(self) -> None:
        """Close the connection."""
        await self._tracked.stop()
        await self._store.close()


class SyncTracked(SyncVerbs):
    """`api.sync.tracked`: the verbs of `api.tracked`; what a task itself can do, `api.sync.run` calls."""

    _name = "tracked"

    create = SyncVerb(TrackedApi.create)
    create_many = SyncVerb(TrackedApi.create_many)
    get = SyncVerb(TrackedApi.get)
    fetch = SyncVerb(TrackedApi.fetch)
    query = SyncVerb(TrackedApi.query)
    iterate = SyncVerb(TrackedApi.iterate)
    count = SyncVerb(TrackedApi.count)
    save_patch = SyncVerb(TrackedApi.save_patch)
    cancel = SyncVerb(TrackedApi.cancel)
    retry = SyncVerb(TrackedApi.retry)
    enable = SyncVerb(TrackedApi.enable)
    disable = SyncVerb(TrackedApi.disable)
    remove = SyncVerb(TrackedApi.remove)


class SyncSchedules(SyncVerbs):
    """`api.sync.schedules`: the verbs of `api.schedules`."""

    _name = "schedules"

    add = SyncVerb(SchedulesApi.add)
    change = SyncVerb(SchedulesApi.change)
    remove = SyncVerb(SchedulesApi.remove)
    entry = SyncVerb(SchedulesApi.entry)
    timetable = SyncVerb(SchedulesApi.timetable)
    history = SyncVerb(SchedulesApi.history)
    pause = SyncVerb(SchedulesApi.pause)
    resume = SyncVerb(SchedulesApi.resume)
    trigger = SyncVerb(SchedulesApi.trigger)
