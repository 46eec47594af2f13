"""The processes that a command of the group "Run" starts: this one, or several under a supervisor."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from resqpy.base.concurrency.own_tasks import OwnTask, may_interrupt, own_task, run_on
from resqpy.base.errors import ImportFailed, message_of, repr_of, told
from resqpy.base.imports import import_dotted
from resqpy.base.masking import Redaction
from resqpy.cli.arguments import session
from resqpy.cli.arguments.settings import Settings
from resqpy.cli.output import printing as output
from resqpy.cli.output.printing import Exit, code_of, fail
from resqpy.cli.processes.supervisor import (
    GO,
    LOADED,
    READY,
    SUPERVISED,
    Grace,
    ServiceManager,
    Supervisor,
)
from resqpy.framework.config.merge import OVERRIDE, variable_of
from resqpy.framework.config.sections import LoggerConfig
from resqpy.framework.logs import writer as log_writer
from resqpy.framework.logs.log import configure, fills_standard_error, get_logger
from resqpy.framework.logs.writer import guard_standard_streams
from resqpy.framework.process.process import Process
from resqpy.framework.project.layout import FILE
from resqpy.framework.project.place import ProjectDirectory
from resqpy.framework.project.project import Project

if TYPE_CHECKING:
    from resqpy.cli.selection.pool_file import QueueGroup

# A worker process, from its options to its end.

NUMBER = "RESQPY_NUMBER"  # of this process among those of a supervisor, from 1
CONSOLE_S = 5.0  # for its end
CONSOLE = "RESQPY_WITH_CONSOLE"  # `always`, or `development`: only in that environment


def work(settings: Settings, *, worker: bool, scheduler: bool | None) -> int:
    """Run a process until it is told to stop; returns its exit code, for `end`."""
    guard_standard_streams()
    supervisor, console = _Supervisor(), os.environ.pop(CONSOLE, "")
    project = session.load_project(settings)
    if worker and not project.registry.tasks:
        session.need_tasks(project)
        layout = project.layout
        named = f"{', '.join(layout.tasks)} in {layout.root}" if layout.tasks else ""
        raise click.UsageError(
            f"there is no task in {named or f'{layout.root}/tasks'}, so every job would fail as unknown; "
            "make one by `resqpy generate task NAME`"
        )
    configure(project.config.logger, project.name, process=_number())
    code = Exit.OK
    if not supervisor.lets_go():
        return code
    try:
        run_on(
            _new_runner(project.config.process.loop),
            _live(
                Process(project, worker, scheduler),
                supervisor,
                settings.redaction if console in ("always", project.config.environment) else None,
            ),
            may_interrupt,
        )
    except KeyboardInterrupt:
        code = Exit.INTERRUPTED
    except BaseException as error:  # SystemExit too: it must not end the process with 0
        if settings.debug:
            raise
        code = code_of(error)
        _tell_the_end(error, settings, project.config.logger, started=supervisor.started)
    return code


def _tell_the_end(
    error: BaseException, settings: Settings, config: LoggerConfig, *, started: bool
) -> None:
    """Before the start is complete, the message is all there is to know; no plain line in a JSON log."""
    words, only_json = message_of(error) or repr_of(error), fills_standard_error(config)
    if not only_json:
        output.trouble(words, settings)
    if started:
        get_logger().critical("ended by an error", error=told(error), exc_info=error)
    elif only_json:
        get_logger().critical("could not start", error=settings.redaction.text(words))


def _number() -> int | None:
    number = os.environ.pop(NUMBER, "")  # not for programs that tasks start
    return int(number) if number.isdigit() else None


def end(code: int) -> NoReturn:
    """End the program by force, because a thread that never returns must not block it."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, full, or missing
            stream.flush()
    _end_daemons()
    log_writer.flush()
    os._exit(code)


def _end_daemons() -> None:
    """What Python does at exit if a task has used `multiprocessing`."""
    used = sys.modules.get("multiprocessing.process")
    for child in used.active_children() if used is not None else ():
        if child.daemon:
            child.terminate()


def _new_runner(wanted: str) -> asyncio.Runner:
    """With the event loop of that name (`process.loop`).

    Raises:
        ImportFailed: it is not installed.
    """
    if wanted == "asyncio":
        return asyncio.Runner()
    try:
        return asyncio.Runner(loop_factory=import_dotted("uvloop:new_event_loop"))
    except ImportFailed as error:
        if wanted == "auto":
            return asyncio.Runner()
        words = (
            f"process.loop is {wanted!r}: {error}; install resqpy[{wanted}], or set it to 'auto'"
        )
        raise ImportFailed(words) from error


async def _live(process: Process, supervisor: _Supervisor, console: Redaction | None) -> None:
    """Run a process; with a console beside it if there is what hides secrets there."""
    manager, stopped, serving = ServiceManager(), asyncio.Event(), set[OwnTask[None]]()
    supervisor.watch(process)

    def started() -> None:
        get_logger().info("process started", **_facts(process))
        supervisor.tell_ready()
        manager.ready()
        if console is not None:
            from resqpy.cli.commands.web import serve_beside

            serving.add(own_task(serve_beside(process.project, console, stopped)))

    try:
        await process.run(started, manager.stopping)
        stopped.set()
        if serving:
            await asyncio.wait(serving, timeout=CONSOLE_S)
        get_logger().info("process ended")
    finally:
        manager.close()
        supervisor.close()


def _facts(process: Process) -> dict[str, Any]:
    project = process.project
    facts: dict[str, Any] = {
        "environment": project.config.environment,
        "redis": _place(project),
        "namespace": project.config.redis.namespace,
        "scheduler": process.scheduler,
        "loop": type(asyncio.get_running_loop()).__module__.partition(".")[0],
    }
    worker = process.resque.multi_worker
    if worker is not None:
        facts["queues"] = getattr(getattr(worker, "queues", None), "text", "?")
        scaling = getattr(worker, "scaling", None)
        if scaling is not None:
            facts["jobs"] = f"{scaling.min_task_processors}-{scaling.max_task_processors}"
        facts["tasks"] = len(project.registry)
    return {**facts, "pid": os.getpid()}


def _place(project: Project) -> str:
    from resqpy.base.masking import masked_url

    shown = masked_url(project.connection().url).partition("?")[0]
    return "embedded" if project.uses_embedded_redis else shown


class _Supervisor:
    """The connection to our supervisor, if there is one: it says when we may work and is told when we are
    ready, and we stop when it is gone, however it ended.

    Attributes:
        started: whether we were ready.
    """

    def __init__(self) -> None:
        number = os.environ.pop(SUPERVISED, "")
        self._socket = socket.socket(fileno=int(number)) if number.isdigit() else None
        self._process: Process | None = None
        self.started = False

    def lets_go(self) -> bool:
        """Report that the project is loaded, and wait until the process that we replace has ended; False:
        the supervisor is gone.
        """
        if self._socket is None:
            return True
        try:
            self._socket.send(LOADED)
            return self._socket.recv(1) == GO
        except OSError:
            return False

    def watch(self, process: Process) -> None:
        """Stop a process when the supervisor is gone; on its loop."""
        self._process = process
        if self._socket is not None:
            self._socket.setblocking(False)  # noqa: FBT003 - its signature
            asyncio.get_running_loop().add_reader(self._socket, self._gone)

    def tell_ready(self) -> None:
        """Report that we have started."""
        self.started = True
        if self._socket is not None:
            with contextlib.suppress(OSError):  # it is gone, which the loop is about to notice
                self._socket.send(READY)

    def _gone(self) -> None:
        get_logger().warning("the supervisor is gone: stopping")
        self.close()
        if self._process is not None:
            self._process.request_stop()

    def close(self) -> None:
        """Close it."""
        socket, self._socket = self._socket, None
        if socket is not None:
            asyncio.get_running_loop().remove_reader(socket)
            socket.close()


# What the supervisor does, so its children must not.
OURS = {
    "process.processes": 1,
    "process.pool": "",
    "process.pidfile": "",
    "process.daemon": False,
}


def worker(settings: Settings) -> NoReturn:
    """Run jobs, in as many processes as configured; ends the program."""
    if SUPERVISED in os.environ:
        end(work(settings, worker=True, scheduler=None))
    project = session.load_without_tasks(settings)
    with _surroundings(project):
        if project.config.process.processes > 1 or project.config.process.pool:
            code = _supervise(settings, project)
        else:
            code = work(settings, worker=True, scheduler=None)
    end(code)


def scheduler(settings: Settings) -> NoReturn:
    """Stand for election as scheduler, run no jobs; ends the program."""
    project = session.load_without_tasks(settings)
    with _surroundings(project):
        code = work(settings, worker=False, scheduler=True)
    end(code)


def start(settings: Settings, place: ProjectDirectory, *, reload: bool, console: str) -> int:
    """Worker and scheduler in one process; with `reload`, a new one after each change of a file.

    Args:
        console: whether the console is served there: `always`, `development`, or "".
    """
    os.environ[CONSOLE] = console
    if not reload:
        end(work(settings, worker=True, scheduler=True))
    sys.dont_write_bytecode = (
        True  # bytecode of a file that is saved twice in a second may be stale
    )
    settings.override("tasks.scheduler", value=True, flag="start")
    grace = Grace.of(place.config.tasks)
    environ = _environ(settings) | {"PYTHONDONTWRITEBYTECODE": "1"}
    arguments = ["worker"]
    children = Supervisor(arguments, 1, grace, environ=environ, stubborn=True)
    if _may_fork(place) and children.fork():
        from resqpy.cli.main import run

        end(run(arguments))
    guard_standard_streams()
    configure(place.config.logger, place.name)

    async def supervise() -> int:
        both = os.path.commonpath([place.root, place.layout.root])
        watching = asyncio.create_task(watch(Path(both), children.roll))
        try:
            return await children.run()
        finally:
            watching.cancel()

    with _kept_redis(place):
        return asyncio.run(supervise())


def _may_fork(place: ProjectDirectory) -> bool:
    """Whether a copy of this process can work: nothing but resqpy and the config was imported, no thread runs,
    and the system's libraries can be forked, unlike those of macOS.
    """
    alone = threading.active_count() == 1
    return alone and not place.layout.django and sys.platform != "darwin"


def _supervise(settings: Settings, project: ProjectDirectory) -> int:
    guard_standard_streams()
    configure(project.config.logger, project.name)
    process = project.config.process
    port = process.health_port
    groups: list[QueueGroup] = []
    if process.pool:
        from resqpy.cli.selection.pool_file import read_pool

        flag = project.config.origin("process.pool") == OVERRIDE
        folder = Path() if flag else project.root  # as of other files on a command line
        groups = read_pool(folder / process.pool, project.config.environment)

    def vary(number: int) -> dict[str, str]:
        own = {NUMBER: str(number + 1)}
        if groups:
            jobs = str(groups[number].jobs)
            own[variable_of("tasks.queues")] = groups[number].queues
            own[variable_of("tasks.min_task_processors")] = jobs
            own[variable_of("tasks.max_task_processors")] = jobs
        if port is not None:
            own[variable_of("process.health_port")] = str(port + number)
        return own

    environ = _environ(settings)
    grace = Grace.of(project.config.tasks)
    count = len(groups) or process.processes
    children = Supervisor(["worker"], count, grace, environ=environ, burst=process.burst, vary=vary)
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
