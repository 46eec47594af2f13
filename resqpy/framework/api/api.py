"""`api`: gives user code access to the process that runs here. Inside resqpy only code called by users
reads it: tasks' own `enqueue`, middleware, initializers.

A process binds it when it starts. Tests, and programs with several processes in one, use `bound`, which is
limited to the current context.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property
from typing import TYPE_CHECKING, Any

from resqpy.base.errors import NotStarted
from resqpy.base.imports import import_dotted, near_match

if TYPE_CHECKING:
    from resqpy.base.concurrency.loops import Home
    from resqpy.framework.api.limit import LimitHandle
    from resqpy.framework.api.resque import ResqueParts
    from resqpy.framework.api.schedules import SchedulesApi
    from resqpy.framework.api.sync import SyncApi
    from resqpy.framework.api.tasks_api import TasksApi
    from resqpy.framework.api.tracking import TrackedApi
    from resqpy.framework.config.config import Config
    from resqpy.framework.project.project import Project
    from resqpy.framework.project.registry import Registry


class Bound:
    """What the door leads to: one process' things by name. Initializers add theirs.

    Attributes:
        project: the process'.
        home: its event loop.
        sync: the way of synchronous code to it, once that was asked for.
    """

    def __init__(
        self, project: Project | None = None, home: Home | None = None, **things: Any
    ) -> None:
        self.project = project
        self.home = home
        self.sync: Any = None
        self.things: dict[str, Any] = things


class Api:
    """Access to the current process.

    Attributes:
        tasks: enqueue, inspect and repair: ActionHero's `api.tasks`.
        tracked: tracked tasks.
        schedules: schedules that are made and changed while processes run.
        limit: a limit of tasks, by its name.
        resque: the queue, the worker and the scheduler themselves.
        config: the immutable config.
        registry: all tasks with their properties.
        log: a structlog logger.
        sync: `tasks`, `tracked` and `schedules` for code without an event loop; it needs no process.

    Whatever an initializer's `initialize` returns is available as an attribute with the initializer's name.
    """

    if TYPE_CHECKING:
        tasks: TasksApi
        tracked: TrackedApi
        schedules: SchedulesApi
        resque: ResqueParts
        config: Config
        registry: Registry
        log: Any

    @cached_property
    def sync(self) -> SyncApi:
        """The same verbs for code without an event loop."""
        found: SyncApi = import_dotted("resqpy.framework.api.sync:SYNC")  # it knows projects
        return found

    def limit(self, name: str, value: str | float | None = None) -> LimitHandle:
        """A limit or rate of tasks, by the name that `resqpy limits` shows, or one of its keys: of this value of
        the input that it goes by.
        """
        return self._limit_handle(lambda: self.tasks, name, value)

    @cached_property
    def _limit_handle(self) -> type[LimitHandle]:
        found: type[LimitHandle] = import_dotted("resqpy.framework.api.limit:LimitHandle")
        return found

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        things = current().things
        if name not in things:
            known = ", ".join(sorted(things))
            raise AttributeError(
                f"api has no {name!r}{near_match(name, things)} (there is {known})"
            )
        return things[name]

    def __dir__(self) -> list[str]:
        bound = now()
        return [*super().__dir__(), *(bound.things if bound else ())]

    @property
    def started(self) -> bool:
        """Whether a process was started here."""
        return now() is not None


_opened: list[Bound] = []  # the last one is active
_local: ContextVar[Bound | None] = ContextVar("resqpy_api", default=None)

api: Api = Api()


def now() -> Bound | None:
    """What the door leads to now; None: nothing."""
    return _local.get() or (_opened[-1] if _opened else None)


def current() -> Bound:
    """What `api` refers to now.

    Raises:
        NotStarted: nothing; says what to do.
    """
    bound = now()
    if bound is None:
        raise NotStarted(
            "api: no resqpy process was started here; use `async with resqpy.open_project('.'):` "
            "around this code, or `lifespan=resqpy.lifespan('.')` in a web application; synchronous code "
            "needs none: api.sync.tasks.enqueue(…), or task.sync.enqueue(…)"
        )
    return bound


def bind(bound: Bound) -> None:
    """Let `api` refer to this, everywhere in this program."""
    _opened.append(bound)


def unbind(bound: Bound) -> None:
    """Undo `bind`: `api` refers to what it did before."""
    if bound in _opened:
        _opened.remove(bound)


@contextmanager
def bound(to: Bound) -> Iterator[Api]:
    """Let `api` refer to something else, in this context only."""
    token = _local.set(to)
    try:
        yield api
    finally:
        _local.reset(token)
