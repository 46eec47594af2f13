"""The processes that a command of the group "Run" starts: this one, or several under a supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from resqpy.cli.arguments import session
from resqpy.cli.arguments.settings import Settings
from resqpy.cli.output import printing as output
from resqpy.cli.output.exits import Exit
from resqpy.cli.output.printing import fail
from resqpy.cli.processes import running
from resqpy.cli.processes.running import NUMBER
from resqpy.cli.processes.supervised import SUPERVISED
from resqpy.cli.processes.supervisor import Grace, Supervisor
from resqpy.framework.config.merge import variable_of
from resqpy.framework.logs.log import configure, get_logger
from resqpy.framework.logs.writer import guard_standard_streams
from resqpy.framework.project.layout import FILE
from resqpy.framework.project.place import ProjectDirectory
from resqpy.framework.project.project import Project

# What the supervisor does, so its children must not.
OURS = {"process.processes": 1, "process.pidfile": "", "process.daemon": False}


def worker(settings: Settings) -> NoReturn:
    """Run jobs, in as many processes as configured; ends the program."""
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
    """Stand for election as scheduler, run no jobs; ends the program."""
    project = session.load_without_tasks(settings)
    with _surroundings(project):
        code = running.work(settings, worker=False, scheduler=True)
    running.end(code)


def start(settings: Settings, *, reload: bool) -> int:
    """Worker and scheduler in one process; with `reload`, a new one after each change of a file."""
    if not reload:
        running.end(running.work(settings, worker=True, scheduler=True))
    guard_standard_streams()
    sys.dont_write_bytecode = (
        True  # bytecode of a file that is saved twice in a second may be stale
    )
    settings.override("tasks.scheduler", value=True, flag="start")
    # The project is watched even if a file has an error.
    project = Project.load(
        settings.root, settings.environment, settings.parsed(), tasks=settings.modules
    )
    session.need_tasks(project)
    configure(project.config.logger, project.name)
    grace = Grace.of(project.config.tasks)
    environ = _environ(settings) | {"PYTHONDONTWRITEBYTECODE": "1"}
    children = Supervisor(["worker"], 1, grace, environ=environ, stubborn=True)

    async def supervise() -> int:
        both = os.path.commonpath([project.root, project.layout.root])
        watching = asyncio.create_task(watch(Path(both), children.roll))
        try:
            return await children.run()
        finally:
            watching.cancel()

    with _kept_redis(project):
        return asyncio.run(supervise())


def _supervise(settings: Settings, project: ProjectDirectory) -> int:
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
def _surroundings(project: ProjectDirectory) -> Iterator[None]:
    process = project.config.process
    background = Background.enter() if process.daemon else None
    with pid_file(process.pidfile):
        if background is not None:
            background.settle(project.config.logger.file)
        yield


@contextlib.contextmanager
def _kept_redis(project: ProjectDirectory) -> Iterator[None]:
    """Keep an embedded Redis running while children come and go."""
    with project:
        if project.uses_embedded_redis:
            project.connection()
        yield


def _environ(settings: Settings) -> dict[str, str]:
    """The flags of this call as equivalent environment variables for the children."""
    said = {variable_of(path): _text(value) for path, value in (settings.overrides | OURS).items()}
    said["RESQPY_ROOT"] = str(settings.root.resolve())
    if settings.app is not None:
        said["RESQPY_APP"] = settings.app
    if settings.environment is not None:
        said["RESQPY_ENV"] = settings.environment
    if settings.debug:
        said["RESQPY_DEBUG"] = "1"
    if sys.flags.dev_mode:
        said["PYTHONDEVMODE"] = "1"
    return {**os.environ, **said}


def _text(value: Any) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


# -- changed files, for `resqpy start` --


# Directories that no running task imports from; hidden ones and virtual environments are skipped too.
LEFT_OUT = ("__pycache__", "build", "deploy", "dist", "docs", "node_modules", "tests")
EVERY_S = 0.4


async def watch(root: Path, changed: Callable[[], None]) -> None:
    """Call `changed` whenever a Python file of a project is another than before, or its pyproject.toml."""
    before = await asyncio.to_thread(_state, root)
    while True:
        await asyncio.sleep(EVERY_S)
        now = await asyncio.to_thread(_state, root)
        if now != before:
            files = sorted(str(path.relative_to(root)) for path in _differing(before, now))
            get_logger().info("files changed: restarting", files=files[:5])
            before = now
            changed()


def _differing(before: dict[Path, int], now: dict[Path, int]) -> set[Path]:
    return {path for path in before.keys() | now.keys() if before.get(path) != now.get(path)}


def _state(root: Path) -> dict[Path, int]:
    return dict(files_of(root))


def files_of(root: Path) -> Iterator[tuple[Path, int]]:
    """The watched files, and when each was changed."""
    for folder, below, names in os.walk(root):
        below[:] = [name for name in below if _is_watched(Path(folder, name))]
        for path in (Path(folder, each) for each in names if each.endswith((".py", FILE))):
            try:
                yield path, path.stat().st_mtime_ns
            except OSError:  # gone meanwhile
                continue


def _is_watched(folder: Path) -> bool:
    name = folder.name
    return not (name.startswith(".") or name in LEFT_OUT or (folder / "pyvenv.cfg").exists())


# -- `--daemon` and `--pidfile` --


class Background:
    """Detaches this process from its terminal; the caller's process waits for `settle`."""

    def __init__(self, told: int) -> None:
        self._told = told

    @classmethod
    def enter(cls) -> Background:
        """Continue in a new process and session. The original process exits with 0 when we have settled, or
        with our exit code if we end before that.
        """
        heard, told = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(heard)
            os.setsid()
            return cls(told)
        os.close(told)
        if os.read(heard, 1):
            output.say(f"started in the background; stop it with: kill {pid}")
            sys.stdout.flush()
            os._exit(Exit.OK)
        os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    def settle(self, log: str | None) -> None:
        """Leave the terminal.

        Args:
            log: receives printed output; None: discard it.

        Raises:
            click.ClickException: the log can't be written.
        """
        try:
            target = os.open(log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise fail(Exit.USAGE, f"cannot write the log file: {error}") from error
        empty = os.open(os.devnull, os.O_RDONLY)
        for number, source in ((0, empty), (1, target), (2, target)):
            os.dup2(source, number)
        os.write(self._told, b".")
        for each in (empty, target, self._told):
            os.close(each)


@contextlib.contextmanager
def pid_file(path: str | None) -> Iterator[None]:
    """Hold a pid file within the block. Its lock dies with us, so a stale one does no harm.

    Raises:
        click.ClickException: another process holds it.
    """
    if path is None:
        yield
        return
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(Path(path).open("a+", encoding="ascii"))
        except OSError as error:
            raise fail(Exit.USAGE, f"cannot write the pid file: {error}") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            other = file.read().strip()
            raise fail(Exit.RUNNING, f"already running: process {other} holds {path}") from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
        Path(path).unlink(missing_ok=True)
