"""Schedulers in tests: started with a few words, stopped with the test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from resqpy.engine.scheduler.scheduler import Chore
from resqpy.framework.api.scheduler import Scheduler
from resqpy.framework.config.sections import SchedulerOptions

StartScheduler = Callable[..., Awaitable[Scheduler]]


@asynccontextmanager
async def schedulers(
    url: str, *, errors: list[Exception] | None = None, **defaults: Any
) -> AsyncIterator[StartScheduler]:
    """A function that starts a scheduler (jobs, `chores` in place of its own, options).

    Args:
        errors: gets what goes wrong in any of them.
        defaults: options of all of them.
    """
    async with AsyncExitStack() as stack:

        async def start(
            jobs: Mapping[str, Any] | None = None,
            chores: Sequence[Chore] | None = None,
            **options: Any,
        ) -> Scheduler:
            scheduler = Scheduler(url, jobs, SchedulerOptions(**{**defaults, **options}))
            if chores is not None:
                scheduler.chores = list(chores)
            if errors is not None:
                scheduler.on("error", errors.append)
            stack.push_async_callback(scheduler.stop)
            await scheduler.start()
            return scheduler

        yield start
