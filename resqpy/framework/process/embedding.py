"""Resqpy inside another program: a web application (ASGI lifespan), a script, a test.

    app = FastAPI(lifespan=resqpy.lifespan("."))

    async with resqpy.open_project("."):
        await api.tasks.enqueue("sendWelcomeEmail", {"to": "ada@example.com"})

Signals are left to the other program, and so are logs if it has set up structlog.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

from resqpy.base.errors import UsageError, repr_of
from resqpy.framework.logs.log import configure_if_nobody_did, get_logger
from resqpy.framework.process.process import Process
from resqpy.framework.project.project import Project

Root = str | os.PathLike[str]
Lifespan = Callable[[Any], AbstractAsyncContextManager[None]]


class _OpenProject(AbstractAsyncContextManager[Process]):
    """What `open_project` returns; used otherwise than by `async with`, it says so."""

    def __init__(self, opening: AbstractAsyncContextManager[Process]) -> None:
        self._opening = opening

    async def __aenter__(self) -> Process:
        return await self._opening.__aenter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        return await self._opening.__aexit__(kind, error, trace)

    if not TYPE_CHECKING:

        def __enter__(self) -> NoReturn:
            raise UsageError("write `async with resqpy.open_project(…):`, in an async function")

        __await__ = __exit__ = __enter__


def open_project(
    root: Root = ".",
    *,
    worker: bool = False,
    scheduler: bool = False,
    tasks: Sequence[str] | None = None,
) -> AbstractAsyncContextManager[Process]:
    """A project's process for the duration of the block; without a worker it only enqueues and inspects.

    Args:
        tasks: the modules with tasks, as in `Project.load`.

    Raises:
        ProjectErrors: all that is wrong with the project.
    """
    return _OpenProject(_alive(root, worker=worker, scheduler=scheduler, tasks=tasks))


def lifespan(
    root: Root = ".",
    *,
    worker: bool | None = None,
    scheduler: bool | None = None,
    tasks: Sequence[str] | None = None,
) -> Lifespan:
    """A lifespan for Starlette, FastAPI and other ASGI frameworks: the process lives as long as the
    application.

    Args:
        worker, scheduler: None: as the config says (`max_task_processors`, `scheduler`), so that some
            servers handle requests only and others work.
        tasks: the modules with tasks, as in `Project.load`.

    Raises:
        UsageError: it was given the application: write `lifespan=resqpy.lifespan(".")`.
    """
    if not isinstance(root, str | os.PathLike):
        raise UsageError('a lifespan is made by a call: write lifespan=resqpy.lifespan(".")')

    @asynccontextmanager
    async def living(_app: Any) -> AsyncIterator[None]:
        async with _alive(root, worker=worker, scheduler=scheduler, tasks=tasks):
            yield

    return living


@asynccontextmanager
async def _alive(
    root: Root, *, worker: bool | None, scheduler: bool | None, tasks: Sequence[str] | None
) -> AsyncIterator[Process]:
    """A project's process; an unexpected end of its worker is logged."""
    project = Project.load(root, tasks=tasks)
    configure_if_nobody_did(project.config.logger, project.name)
    async with Process(project, worker, scheduler) as process:
        watch = asyncio.create_task(_watch(process))
        try:
            yield process
        finally:
            watch.cancel()


async def _watch(process: Process) -> None:
    """The other program continues; without the log nobody would know that its jobs wait."""
    try:
        await process.wait()
    except Exception as error:
        get_logger().critical("this process no longer runs jobs", error=repr_of(error))
