"""This package for synchronous tests: of Django and Flask applications, of `unittest`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import ParamSpec, Self, TypeVar

from resqpy.framework.process.process import Process
from resqpy.framework.project.project import Project

P = ParamSpec("P")
R = TypeVar("R")


class SyncRunner:
    """A started process, without worker and scheduler, on a loop that runs during calls.

        with SyncRunner(Project.load(".", "test", {"redis.url": url})) as run:
            [job] = run(find_enqueued, "sendWelcomeEmail")
            drained = run(drain, delayed=True)

    `api` refers to the process. What the application itself enqueues uses its own connection, such as a
    `SyncQueue`'s, to the same Redis.
    """

    def __init__(self, project: Project) -> None:
        self._process = Process(project, worker=False, scheduler=False)
        self._runner = asyncio.Runner()

    def __call__(self, function: Callable[P, Awaitable[R]], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call an async function, and wait for its result.

        Raises:
            RuntimeError: called where a loop is running: in an async test, await the function itself.
        """
        asynchronous = self._awaited(lambda: function(*args, **kwargs))
        try:
            return self._runner.run(asynchronous)
        finally:
            asynchronous.close()

    @staticmethod
    async def _awaited(call: Callable[[], Awaitable[R]]) -> R:
        return await call()

    def __enter__(self) -> Self:
        """Start the process.

        Raises:
            ProjectErrors: all that is wrong with the project.
        """
        try:
            self(self._process.start)
        except BaseException:
            self._runner.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self(self._process.stop)
        finally:
            self._runner.close()
