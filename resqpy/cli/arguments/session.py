"""From the shared options to a project and its Redis; for running commands."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from getpass import getuser
from socket import gethostname
from typing import TYPE_CHECKING, Any, TypeVar

from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.masking import Redaction
from resqpy.cli.arguments.settings import Settings, current, no_project
from resqpy.cli.output import printing as output

if TYPE_CHECKING:
    from pathlib import Path

    from resqpy.base.model import FailedJob, Job
    from resqpy.diagnosis.workers import SeenWorker
    from resqpy.engine.inspect.inspector import Resque
    from resqpy.framework.process.process import Process
    from resqpy.framework.project.place import ProjectDirectory
    from resqpy.framework.project.project import Project
    from resqpy.framework.tasks.spec import TaskSpec
    from resqpy.store.sweep import Progress


T = TypeVar("T")
P = TypeVar("P", bound="ProjectDirectory")


def load_project(settings: Settings) -> Project:
    """The whole project, with its tasks.

    Raises:
        ProjectErrors: all that is wrong with it.
    """
    return _reachable(_checked_project(settings), settings)


def _checked_project(settings: Settings) -> Project:
    from resqpy.framework.project.project import Project

    project = Project.load(
        settings.root, settings.environment, settings.parsed(), tasks=settings.modules
    )
    settings.redaction = Redaction(project.config.logger.filtered)
    project.check()
    return project


def load_place(settings: Settings) -> ProjectDirectory:
    """The project's config; no task file is run.

    Raises:
        ProjectErrors: all that is wrong with the config.
    """
    from resqpy.framework.project.place import ProjectDirectory

    place = ProjectDirectory.of(settings.root, settings.environment, settings.parsed())
    settings.redaction = Redaction(place.config.logger.filtered)
    return place


def load_watched(settings: Settings) -> ProjectDirectory:
    """The project's directory, even if its config has errors; its embedded Redis, if it has one, starts."""
    from resqpy.framework.project.place import ProjectDirectory

    place = ProjectDirectory.of(
        settings.root, settings.environment, settings.parsed(), lenient=True
    )
    _reachable(place, settings).begin()
    return place


def load_without_tasks(settings: Settings, *, empty: bool = False) -> ProjectDirectory:
    """The same, if its Redis will be used.

    Args:
        empty: an empty directory gets an embedded Redis.
    """
    return _reachable(load_place(settings), settings, empty=empty)


def _reachable(place: P, settings: Settings, *, empty: bool = False) -> P:
    """Refuse to start a Redis in a directory without a project, which is probably the wrong one."""
    if place.uses_embedded_redis and not settings.has_project:
        has_redis = (settings.root / ".resqpy").is_dir()
        if not has_redis and not (empty and _is_empty(settings.root)):
            raise no_project(settings.root, "specify a Redis with --redis or REDIS_URL")
        output.warn(f"no project in {settings.root.resolve()}: its embedded Redis is used")
    return place


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and all(each.name.startswith(".") for each in folder.iterdir())


def ask(look: Callable[[Resque], Awaitable[T]], definitions: Mapping[str, Any] | None = None) -> T:
    """Run something with a queue and inspector of the project's Redis."""
    with load_without_tasks(current()) as place:
        return _run(place, definitions or {}, look)


def ask_with_tasks(look: Callable[[Resque, Project], Awaitable[T]]) -> T:
    """The same with a queue that knows the tasks, for calls of their plugins."""
    with load_project(current()) as project:
        return _run(project, project.registry.definitions, lambda queue: look(queue, project))


def whoami() -> str:
    """USER@HOST, for who did something. The id of a user without a name, as in a container."""
    try:
        user = getuser()
    except (KeyError, OSError):  # from Python 3.13 on the latter
        user = str(os.getuid())
    return f"{user}@{gethostname()}".encode(errors="replace").decode()


def tasks_of(jobs: Iterable[Job | FailedJob | SeenWorker]) -> Mapping[str, TaskSpec]:
    """The project's tasks, for the names of jobs' arguments. They are loaded only if a job has other arguments
    than one object, which has names already.
    """
    from resqpy.base.errors import ResqpyError

    unnamed = any(
        len(each.args) > 1 or [*map(type, each.args)] not in ([], [dict]) for each in jobs
    )
    if not unnamed or not current().has_project:
        return {}
    try:
        return _checked_project(current()).registry.tasks
    except ResqpyError as error:
        first = str(error).partition("\n")[0]
        output.note(
            f"(arguments are shown without names: the project's tasks can't be loaded: {first})"
        )
        return {}


def registered_tasks() -> list[TaskSpec]:
    """The project's tasks by name, without using Redis."""
    project = _checked_project(current())
    need_tasks(project)
    for each in project.warnings:
        output.note(str(each))
    return sorted(project.registry, key=lambda task: task.name)


def task_of(project: Project, name: str) -> TaskSpec:
    """A task by its name.

    Raises:
        UnknownTask: with the nearest name.
    """
    need_tasks(project)
    return project.registry.task(name)


def need_tasks(project: Project) -> None:
    """Report the wrong directory; without a project, only installed packages provide tasks."""
    if not project.registry.tasks and not current().has_project:
        raise no_project(project.root)


def with_process(do: Callable[[Process], Awaitable[T]]) -> T:
    """Run something in the project's process, with `api` and its initializers, but without a worker."""
    import asyncio

    process = new_process()

    async def all_of_it() -> T:
        async with process:
            return await do(process)

    return asyncio.run(all_of_it())


def new_process() -> Process:
    """The project's process before its start, without a worker and a scheduler."""
    from resqpy.framework.logs.log import configure
    from resqpy.framework.process.process import Process

    project = load_project(current())
    configure(replace(project.config.logger, level="warning"), project.name)
    process = Process(project, worker=False, scheduler=False)
    process.patient = False  # a user is waiting
    return process


def _run(
    place: ProjectDirectory, definitions: Mapping[str, Any], look: Callable[[Resque], Awaitable[T]]
) -> T:
    import asyncio

    from resqpy.engine.inspect.inspector import Resque

    async def all_of_it() -> T:
        options = await asyncio.to_thread(place.connection)
        async with Resque(options, definitions) as queue:
            queue.store.scripts = False  # read-only commands need no permission to run scripts
            await queue.connect()
            found = await look(queue)
            await _tell_junk(queue)
            return found

    with _walks_shown():
        return asyncio.run(all_of_it())


async def _tell_junk(queue: Resque) -> None:
    """Report keys of the wrong type."""
    junk = sorted(queue.store.junk.items())
    kinds = await queue.store.kinds([key for key, _ in junk])
    for (key, wanted), kind in zip(junk, kinds, strict=True):
        output.warn(f"{output.text(key)} is not a {wanted} ({kind}): treated as empty")


# -- a progress bar on a terminal, for scans of many entries --


_AFTER_S = 0.4  # shorter scans need no bar
_EVERY_S = 0.1
_LARGE = 2000  # entries; a smaller scan is part of another one
_WIDTH = 30


class _Bar:
    """The progress bar of one command; it shows the scan that took the last step."""

    def __init__(self) -> None:
        self._began_s = self._drawn_s = SYSTEM_CLOCK.monotonic()
        self._shown = False

    def watch(self, walk: Progress) -> None:
        """Draw the progress, from time to time."""
        if walk.total < _LARGE:
            return
        now_s = SYSTEM_CLOCK.monotonic()
        if walk.done >= walk.total:
            self.erase()
        elif now_s - self._began_s >= _AFTER_S and now_s - self._drawn_s >= _EVERY_S:
            self._drawn_s = now_s
            self._draw(_line(walk))

    def _draw(self, words: str) -> None:
        self._shown = True
        width = shutil.get_terminal_size().columns - 1
        output.redraw(words[:width])

    def erase(self) -> None:
        """Erase it."""
        if self._shown:
            self._shown = False
            output.redraw("")


def _line(walk: Progress) -> str:
    """`[████      ]  37 %  370,000 of 1,000,000  failed`."""
    part = min(1.0, walk.done / walk.total)
    full = round(part * _WIDTH)
    return (
        f"[{'█' * full}{' ' * (_WIDTH - full)}] {part:4.0%}  "
        f"{min(walk.done, walk.total):,} of {walk.total:,}  {output.text(walk.what)}"
    )


@contextmanager
def _walks_shown() -> Iterator[None]:
    """Show the progress of scans in this block, if a person is watching."""
    if not sys.stderr.isatty():
        yield
        return
    from resqpy.store.sweep import watched

    bar = _Bar()
    with watched(bar.watch):
        try:
            yield
        finally:
            bar.erase()
