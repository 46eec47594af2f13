"""Which processes a command of the group "Run" starts: this one, or several under a supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

from resqpy.cli import running, session
from resqpy.cli.background import Background, pid_file
from resqpy.cli.running import NUMBER
from resqpy.cli.settings import Settings
from resqpy.cli.supervised import SUPERVISED
from resqpy.cli.supervisor import Grace, Supervisor
from resqpy.cli.watching import watch
from resqpy.framework.config_merge import variable_of
from resqpy.framework.log import configure
from resqpy.framework.log_writer import guard_standard_streams
from resqpy.framework.place import Place
from resqpy.framework.project import Project

# What the supervisor does, so its children must not.
OURS = {"process.processes": 1, "process.pidfile": "", "process.daemon": False}


def worker(settings: Settings) -> NoReturn:
    """Work jobs, in as many processes as the config says; ends the program."""
    if SUPERVISED in os.environ:
        running.end(running.work(settings, worker=True, scheduler=None))
    project = session.load_without_tasks(settings)
    with _surroundings(project):
        if project.config.process.processes > 1:
            code = _supervise(settings, project)
        else:
            code = running.work(settings, worker=True, scheduler=None)
    running.end(code)


def scheduler(settings: Settings) -> NoReturn:
    """Stand for election as scheduler, work no jobs; ends the program."""
    project = session.load_without_tasks(settings)
    with _surroundings(project):
        code = running.work(settings, worker=False, scheduler=True)
    running.end(code)


def start(settings: Settings, *, reload: bool) -> int:
    """Worker and scheduler in one process; with `reload`, a new one after each change of a file."""
    if not reload:
        running.end(running.work(settings, worker=True, scheduler=True))
    guard_standard_streams()
    settings.override("tasks.scheduler", value=True, flag="start")
    # With an error in a file the project is watched all the same.
    project = Project.load(settings.root, settings.environment, settings.parsed())
    session.need_tasks(project)
    configure(project.config.logger, project.name)
    grace = Grace.of(project.config.tasks)
    children = Supervisor(["worker"], 1, grace, environ=_environ(settings), stubborn=True)

    async def supervise() -> int:
        watching = asyncio.create_task(watch(project.root, children.roll))
        try:
            return await children.run()
        finally:
            watching.cancel()

    with _kept_redis(project):
        return asyncio.run(supervise())


def _supervise(settings: Settings, project: Place) -> int:
    guard_standard_streams()
    configure(project.config.logger, project.name)
    process = project.config.process
    port = process.health_port

    def vary(number: int) -> dict[str, str]:
        own = {NUMBER: str(number + 1)}
        if port is not None:
            own[variable_of("process.health_port")] = str(port + number)
        return own

    environ = _environ(settings)
    grace = Grace.of(project.config.tasks)
    children = Supervisor(
        ["worker"], process.processes, grace, environ=environ, burst=process.burst, vary=vary
    )
    with _kept_redis(project):
        return asyncio.run(children.run())


@contextlib.contextmanager
def _surroundings(project: Place) -> Iterator[None]:
    process = project.config.process
    background = Background.enter() if process.daemon else None
    with pid_file(process.pidfile):
        if background is not None:
            background.settle(project.config.logger.file)
        yield


@contextlib.contextmanager
def _kept_redis(project: Place) -> Iterator[None]:
    """Keep an embedded Redis while children come and go."""
    with project:
        if project.uses_embedded_redis:
            project.connection()
        yield


def _environ(settings: Settings) -> dict[str, str]:
    """The flags of this call as the variables that say the same, for the children."""
    said = {variable_of(path): _text(value) for path, value in (settings.overrides | OURS).items()}
    said["RESQPY_ROOT"] = str(settings.root.resolve())
    if settings.environment is not None:
        said["RESQPY_ENV"] = settings.environment
    if settings.debug:
        said["RESQPY_DEBUG"] = "1"
    if sys.flags.dev_mode:
        said["PYTHONDEVMODE"] = "1"
    return {**os.environ, **said}


def _text(value: Any) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)
