"""From the shared options to a project and its Redis; for commands that have begun to work."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from resqpy.base.masking import Redaction
from resqpy.cli import bar, output
from resqpy.cli.folder import is_project, no_project
from resqpy.cli.settings import Settings
from resqpy.engine.resque import Resque
from resqpy.framework.place import Place

if TYPE_CHECKING:
    from resqpy.framework.process import Process
    from resqpy.framework.project import Project
    from resqpy.framework.spec import TaskSpec

T = TypeVar("T")
P = TypeVar("P", bound=Place)


def load_project(settings: Settings) -> Project:
    """The whole project, with its tasks.

    Raises:
        ProjectErrors: all that is wrong with it.
    """
    return _reachable(_checked_project(settings), settings)


def _checked_project(settings: Settings) -> Project:
    from resqpy.framework.project import Project

    project = Project.load(settings.root, settings.environment, settings.parsed())
    settings.redaction = Redaction(project.config.logger.filtered)
    project.check()
    return project


def load_place(settings: Settings) -> Place:
    """The project's config; no file of its tasks is run.

    Raises:
        ProjectErrors: all that is wrong with the config.
    """
    place = Place.of(settings.root, settings.environment, settings.parsed())
    settings.redaction = Redaction(place.config.logger.filtered)
    return place


def load_without_tasks(settings: Settings) -> Place:
    """The same, where its Redis will be asked."""
    return _reachable(load_place(settings), settings)


def _reachable(place: P, settings: Settings) -> P:
    """Refuse to start a Redis in a folder that is no project: somebody is in the wrong place."""
    if place.uses_embedded_redis and not is_project(place.root):
        raise no_project(settings.root, "name a Redis by --redis or REDIS_URL")
    return place


def ask(
    settings: Settings,
    look: Callable[[Resque], Awaitable[T]],
    definitions: Mapping[str, Any] | None = None,
) -> T:
    """Run something with a queue and inspector of the project's Redis, and end."""
    with load_without_tasks(settings) as place:
        return _run(place, definitions or {}, look)


def ask_with_tasks(settings: Settings, look: Callable[[Resque, Project], Awaitable[T]]) -> T:
    """The same with a queue that knows the tasks: for what asks their plugins."""
    with load_project(settings) as project:
        return _run(project, project.registry.definitions, lambda queue: look(queue, project))


def registered_tasks(settings: Settings) -> list[TaskSpec]:
    """The project's tasks by name; no Redis is asked."""
    project = _checked_project(settings)
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
    """Tell who is in the wrong folder so; without a project, only installed packages bring tasks."""
    if not project.registry.tasks and not is_project(project.root):
        raise no_project(project.root)


def with_process(settings: Settings, do: Callable[[Process], Awaitable[T]]) -> T:
    """Run something in the project's process, with `api` and its initializers, but without a worker."""
    process = new_process(settings)

    async def all_of_it() -> T:
        async with process:
            return await do(process)

    return asyncio.run(all_of_it())


def new_process(settings: Settings) -> Process:
    """The project's process before its start, without a worker and a scheduler."""
    from resqpy.framework.log import configure
    from resqpy.framework.process import Process

    project = load_project(settings)
    configure(replace(project.config.logger, level="warning"), project.name)
    process = Process(project, worker=False, scheduler=False)
    process.patient = False  # somebody sits before it
    return process


def _run(place: Place, definitions: Mapping[str, Any], look: Callable[[Resque], Awaitable[T]]) -> T:
    async def all_of_it() -> T:
        async with _connected(place, definitions) as queue:
            found = await look(queue)
            await _tell_junk(queue)
            return found

    with bar.shown():
        return asyncio.run(all_of_it())


async def _tell_junk(queue: Resque) -> None:
    """Say which keys were of another kind than they should be."""
    junk = sorted(queue.store.junk.items())
    kinds = await queue.store.kinds([key for key, _ in junk])
    for (key, wanted), kind in zip(junk, kinds, strict=True):
        output.warn(f"{output.text(key)} is not a {wanted} ({kind}): taken for empty")


@asynccontextmanager
async def _connected(place: Place, definitions: Mapping[str, Any]) -> AsyncIterator[Resque]:
    """A queue and inspector of the project's Redis."""
    options = await asyncio.to_thread(place.connection)
    async with Resque(options, definitions) as queue:
        queue.store.scripts = False  # whoever only looks needs no right to run them
        await queue.connect()
        yield queue
