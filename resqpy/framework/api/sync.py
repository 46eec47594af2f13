"""`api.sync` and `task.sync`: the same verbs for code without an event loop.

A view, a thread, a script, a plain task. They lead to the process that is open in this program; where none is,
to the project that the command line would find, opened at the first call. Nothing here enqueues by itself: the
async verbs do, mostly in the caller's thread on a store that blocks; whatever needs an event loop, the hooks of
plugins and middleware above all, runs on that of the process, or on one in a thread of its own.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Mapping
from concurrent.futures import Future
from contextlib import suppress
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar

from resqpy.base.concurrency.loops import Home, hand_over
from resqpy.base.errors import NotStarted, UsageError
from resqpy.base.imports import import_dotted
from resqpy.engine.inspect.inspector import Resque
from resqpy.engine.queue.periodic import RecurrentJobs
from resqpy.framework.api.api import Bound, bound, now
from resqpy.framework.api.blocking import SyncFacade, SyncVerb, Way
from resqpy.framework.api.loop_thread import LOOP_THREAD, Life, OthersLife
from resqpy.framework.api.tasks_api import TasksApi
from resqpy.framework.project.project import Project
from resqpy.framework.project.root import is_project, modules_of, project_root
from resqpy.store.connection.blocking import BlockingStore, can_block, driven
from resqpy.store.connection.options import RedisOptions

if TYPE_CHECKING:
    from resqpy.framework.api.sync_parts import SyncSchedules, SyncTracked

_PARTS = "resqpy.framework.api.sync_parts"
P = ParamSpec("P")
R = TypeVar("R")
Work = Callable[[Bound], Coroutine[Any, Any, R]]


class _NeedsLoop(Exception):
    """A hook is to be asked, which may await anything; nothing was written."""


class _QuickQueue(Resque):
    """A queue on a store that blocks."""

    async def _enqueue_with_hooks(self, *_: Any) -> NoReturn:
        raise _NeedsLoop


class _QuickParts:
    """What `TasksApi` needs of the parts of a process, where it only enqueues."""

    def __init__(self, project: Project, store: BlockingStore) -> None:
        self.queue = self.inspector = _QuickQueue(store, project.registry.definitions)
        self.recurrent = RecurrentJobs(self.queue)


class ProjectFacade(SyncFacade):
    """A project as synchronous code of this process reaches it.

    Args:
        options: its Redis.
        process: what `api` leads to, where a process is open; its own parts are used while its loop runs.
    """

    def __init__(
        self, project: Project, options: RedisOptions, process: Bound | None = None
    ) -> None:
        # Who only enqueues needs none of them, and nothing that they import.
        super().__init__(lambda: import_dotted(f"{_PARTS}:SyncParts")(project, options))
        self.pid: int = os.getpid()
        self.project = project
        self._process = process
        self._store: BlockingStore | None = None
        self._quick: TasksApi | None = None
        self._quick_parts: Any = None
        self._others: OthersLife | None = None
        if can_block(options) and project.config.tasks.resque_overrides.queue is None:
            self._store = BlockingStore(options)
            self._quick_parts = _QuickParts(project, self._store)
            self._quick = TasksApi(project.registry, self._quick_parts)

    def enqueue(self, function: Callable[[TasksApi], Coroutine[Any, Any, R]]) -> R:
        """Run what enqueues, in this thread where nothing else has to run as well."""
        if self._quick is not None:
            if self._process is not None:  # a test may move it
                self._quick_parts.queue.clock = self._process.things["resque"].queue.clock
            with suppress(_NeedsLoop):
                return driven(function(self._quick))
        return self.run(lambda to: function(to.things["tasks"]))

    def run(self, function: Work[R], *, patient: bool = False) -> R:
        """As a door does.

        Args:
            patient: without a limit of time.
        """
        return self._run(partial(_within, function), None if patient else self._timeout_s)

    async def awaited(self, function: Work[R]) -> R:
        """Run it without holding up the caller's loop, which is another one."""
        life = self._life()
        target = self._target(life)
        return await hand_over(life.loop, lambda: _within(function, target))

    def _life(self) -> Life:
        home: Home | None = None if self._process is None else self._process.home
        loop = None if home is None else home.running()
        if loop is None:
            return LOOP_THREAD.life()
        if self._others is None or self._others.loop is not loop:
            self._others = OthersLife(loop)
        return self._others

    def _target(self, life: Life) -> Any:
        if isinstance(life, OthersLife):
            return self._process
        return super()._target(life).bound

    def close(self) -> None:
        super().close()
        if self._store is not None:
            self._store.line.reset()


async def _within(function: Work[R], to: Bound) -> R:
    with bound(to):
        return await function(to)


# -- which project --

_doors: dict[int, ProjectFacade] = {}  # by the process' id: a fork has its own
_opening: dict[int, _Opening] = {}
_found: list[Project] = []  # the project is loaded once, before or after a fork


def _door() -> ProjectFacade:
    """The way to the process that is open here, or to the project that is found."""
    process = now()
    if process is None:
        return _doors.get(os.getpid()) or _door_of_found()
    door: ProjectFacade | None = process.sync
    if door is None or door.pid != os.getpid():
        project: Project | None = process.project
        if project is None or "redis" not in process.things:
            raise NotStarted("api.sync: the process that is open here has no Redis yet")
        forked = door is not None and project.uses_embedded_redis
        options = _connection(project) if forked else process.things["redis"].options
        door = process.sync = ProjectFacade(project, options, process)
    return door


class _Opening(Future[ProjectFacade]):
    """That somebody opens the project."""

    def __init__(self) -> None:
        super().__init__()
        self.by: int = threading.get_ident()


def _door_of_found() -> ProjectFacade:
    """Opened once; who comes meanwhile waits, by nothing that a greenlet can't wait for."""
    pid, mine = os.getpid(), _Opening()
    opening = _opening.setdefault(pid, mine)
    if opening is not mine:
        if opening.by == threading.get_ident() and not opening.done():
            raise UsageError("a file of the project enqueues while the project is loaded for that")
        return opening.result()
    try:
        door = _doors.get(pid) or _opened()  # somebody may have been done just now
        _doors[pid] = door
        mine.set_result(door)
    except BaseException as error:
        mine.set_exception(error)
        raise
    finally:
        del _opening[pid]
    return door


def _opened() -> ProjectFacade:
    if not _found:
        modules = modules_of(os.environ.get("RESQPY_APP"))
        project = Project.load(project_root(), tasks=modules)
        project.check()
        if (
            project.uses_embedded_redis
            and project.layout.tasks is None
            and not is_project(project.root)
        ):
            raise NotStarted(
                f"no process was started here, and there is no project in {project.root} (no tasks/ or "
                "tasks.py, no config/ and no [tool.resqpy] in a pyproject.toml): go to a project's folder, name "
                "one by RESQPY_ROOT, or name a Redis by REDIS_URL"
            )
        _found.append(project)
    return ProjectFacade(_found[0], _connection(_found[0]))


def _connection(project: Project) -> RedisOptions:
    """The project's Redis; an embedded one of its own, as the share of a forked process' parent is not its."""
    project.close()
    return project.connection()


def refuse_in_async_code(call: Callable[[], str]) -> None:
    """Refuse to hold up an event loop.

    Args:
        call: what to write there.

    Raises:
        UsageError: one runs in this thread.
    """
    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        return
    life = LOOP_THREAD.life_if_any()
    if life is None or running is not life.loop or threading.current_thread() is life.thread:
        raise UsageError(f"you are in async code, which this would hold up: write {call()}")
    # else greenlets: their threads are one, and so seem to be what runs there


# -- the verbs --


class SyncVerbs(Way):
    """The verbs of one thing that `api` has."""

    _name = ""

    def run(self, function: Callable[[Any], Coroutine[Any, Any, R]]) -> R:
        """Run a coroutine function of it, and wait for its result."""
        refuse_in_async_code(lambda: f"await api.{self._name}.…")
        return _door().run(lambda to: function(to.things[self._name]))

    def walk(self, function: Callable[[Any], AsyncGenerator[R, None]]) -> Iterator[R]:
        """Walk through an async generator of it."""
        refuse_in_async_code(lambda: f"async for … in api.{self._name}.…")
        return _door().walk(lambda to: function(to.things[self._name]))


_ENQUEUE = ("enqueue", "enqueue_at", "enqueue_in", "enqueue_many")


class SyncTasks(SyncVerbs):
    """`api.sync.tasks`: the verbs of `api.tasks`."""

    _name = "tasks"

    def call(self, method: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if method.__name__ not in _ENQUEUE:
            return super().call(method, args, kwargs)
        refuse_in_async_code(lambda: f"await api.tasks.{method.__name__}(…)")
        function = method.__wrapped__  # it is awaited: nobody can forget that
        return _door().enqueue(lambda tasks: function(tasks, *args, **kwargs))

    enqueue = SyncVerb(TasksApi.enqueue)
    enqueue_at = SyncVerb(TasksApi.enqueue_at)
    enqueue_in = SyncVerb(TasksApi.enqueue_in)
    enqueue_many = SyncVerb(TasksApi.enqueue_many)

    enqueue_recurrent_job = SyncVerb(TasksApi.enqueue_recurrent_job)
    enqueue_all_recurrent_jobs = SyncVerb(TasksApi.enqueue_all_recurrent_jobs)
    stop_recurrent_job = SyncVerb(TasksApi.stop_recurrent_job)

    scheduled_at = SyncVerb(TasksApi.scheduled_at)
    delete = SyncVerb(TasksApi.delete)
    del_ = SyncVerb(TasksApi.del_)
    del_by_function = SyncVerb(TasksApi.del_by_function)
    del_delayed = SyncVerb(TasksApi.del_delayed)
    del_delayed_at = SyncVerb(TasksApi.del_delayed_at)
    enqueue_delayed = SyncVerb(TasksApi.enqueue_delayed)
    move = SyncVerb(TasksApi.move)

    del_queue = SyncVerb(TasksApi.del_queue)
    queues = SyncVerb(TasksApi.queues)
    pause_queue = SyncVerb(TasksApi.pause_queue)
    resume_queue = SyncVerb(TasksApi.resume_queue)
    paused_queues = SyncVerb(TasksApi.paused_queues)
    limit_running = SyncVerb(TasksApi.limit_running)
    running_limits = SyncVerb(TasksApi.running_limits)
    set_limit = SyncVerb(TasksApi.set_limit)
    shut_limit = SyncVerb(TasksApi.shut_limit)
    limits = SyncVerb(TasksApi.limits)
    put_back_parked = SyncVerb(TasksApi.put_back_parked)
    length = SyncVerb(TasksApi.length)
    queued = SyncVerb(TasksApi.queued)
    timestamps = SyncVerb(TasksApi.timestamps)
    delayed_at = SyncVerb(TasksApi.delayed_at)
    all_delayed = SyncVerb(TasksApi.all_delayed)
    workers = SyncVerb(TasksApi.workers)
    working_on = SyncVerb(TasksApi.working_on)
    all_working_on = SyncVerb(TasksApi.all_working_on)
    clean_old_workers = SyncVerb(TasksApi.clean_old_workers)
    failed_count = SyncVerb(TasksApi.failed_count)
    failed = SyncVerb(TasksApi.failed)
    remove_failed = SyncVerb(TasksApi.remove_failed)
    retry_and_remove_failed = SyncVerb(TasksApi.retry_and_remove_failed)
    locks = SyncVerb(TasksApi.locks)
    del_lock = SyncVerb(TasksApi.del_lock)
    stats = SyncVerb(TasksApi.stats)
    details = SyncVerb(TasksApi.details)


class SyncApi:
    """`api.sync`.

    Attributes:
        tasks: the verbs of `api.tasks`.
    """

    def __init__(self) -> None:
        self.tasks: SyncTasks = SyncTasks()

    @cached_property
    def tracked(self) -> SyncTracked:
        """The verbs of `api.tracked`."""
        made: SyncTracked = import_dotted(f"{_PARTS}:SyncTracked")()
        return made

    @cached_property
    def schedules(self) -> SyncSchedules:
        """The verbs of `api.schedules`."""
        made: SyncSchedules = import_dotted(f"{_PARTS}:SyncSchedules")()
        return made

    def run(
        self, function: Callable[P, Coroutine[Any, Any, R]], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run any async function where the verbs run, with `api` as they have it, and wait for its result,
        however long it takes: `api.sync.run(tracked_task.wait)`.
        """
        refuse_in_async_code(lambda: f"await {getattr(function, '__name__', function)}(…)")
        return _door().run(lambda _: function(*args, **kwargs), patient=True)

    async def awaited(self, function: Callable[[TasksApi], Coroutine[Any, Any, R]]) -> R:
        """Run what enqueues where the verbs run, for async code outside of a process."""
        door = _doors.get(os.getpid())
        if door is None:
            door = await asyncio.to_thread(_door_of_found)
        return await door.awaited(lambda to: function(to.things["tasks"]))

    def close(self) -> None:
        """Close the connections of this process that synchronous code has opened, and give up the project
        that was found for it; the next call opens them again.
        """
        process = now()
        if process is not None and process.sync is not None:
            process.sync.close()
        door = _doors.pop(os.getpid(), None)
        if door is not None:
            door.close()
            door.project.close()
        _found.clear()

    def enqueue_of(
        self, handle: Any, function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> Any:
        """Call a verb of a handle."""
        refuse_in_async_code(lambda: f"await {handle.title}.{function.__name__}(…)")
        return _door().enqueue(
            lambda tasks: function(handle.through(tasks.enqueuer), *args, **kwargs)
        )


SYNC = SyncApi()
