"""A worker process, from its options to its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from typing import Any, NoReturn

import click

from resqpy.base.concurrency.own_tasks import run_on
from resqpy.base.error_text import message_of, repr_of, told
from resqpy.base.errors import ImportFailed
from resqpy.base.imports import import_dotted
from resqpy.cli.arguments import session
from resqpy.cli.arguments.settings import Settings
from resqpy.cli.output import printing as output
from resqpy.cli.output.exits import Exit, code_of
from resqpy.cli.processes.service_manager import ServiceManager
from resqpy.cli.processes.supervised import GO, LOADED, READY, SUPERVISED
from resqpy.engine.worker.keyboard import may_interrupt
from resqpy.framework.config.sections import LoggerConfig
from resqpy.framework.logs import writer as log_writer
from resqpy.framework.logs.log import configure, fills_standard_error, get_logger
from resqpy.framework.logs.writer import guard_standard_streams
from resqpy.framework.process.process import Process
from resqpy.framework.project.project import Project

NUMBER = "RESQPY_NUMBER"  # of this process among those of a supervisor, from 1


def work(settings: Settings, *, worker: bool, scheduler: bool | None) -> int:
    """Run a process until it is told to stop; returns its exit code, for `end`."""
    guard_standard_streams()
    supervisor = _Supervisor()
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
        run_on(_new_runner(), _live(Process(project, worker, scheduler), supervisor), may_interrupt)
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


def _new_runner() -> asyncio.Runner:
    """With uvloop, if it is installed."""
    try:
        return asyncio.Runner(loop_factory=import_dotted("uvloop:new_event_loop"))
    except ImportFailed:
        return asyncio.Runner()


async def _live(process: Process, supervisor: _Supervisor) -> None:
    manager = ServiceManager()
    supervisor.watch(process)

    def started() -> None:
        get_logger().info("process started", **_facts(process))
        supervisor.tell_ready()
        manager.ready()

    try:
        await process.run(started, manager.stopping)
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
