"""Tracking: what makes a job with a task's id run by its record. The outermost plugin of any task.

A job without an id passes at the cost of one look at its arguments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from resqpy.base.model import Job
from resqpy.base.task_id import task_id_of
from resqpy.base.when import Duration
from resqpy.engine.definition import Definition, Definitions
from resqpy.engine.execute import failure, unknown_task
from resqpy.engine.plugin import CallNext, Plugin
from resqpy.engine.run import Run, current_run
from resqpy.tracked.claiming import TakenTask
from resqpy.tracked.delivery import Deliveries


class Tracking(Plugin):
    """Runs tracked tasks.

    Args:
        deliveries: those of the process.
    """

    hook_timeout: ClassVar[Duration | None] = None  # it waits for Redis for as long as it must

    def __init__(self, deliveries: Deliveries, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(options)
        self._deliveries = deliveries

    async def around(self, run: Run, call_next: CallNext) -> None:
        """The whole run, if it is that of a tracked task."""
        task_id = task_id_of(run.args)
        if task_id is None:
            await call_next()
        else:
            await self._deliveries.around(run, task_id, call_next)


def with_tracking(definitions: Mapping[str, Definition], deliveries: Deliveries) -> Definitions:
    """The same tasks, each of which may be created as a tracked one.

    A tracked task that is none of them fails at once, with its record, instead of leaving that to
    the search for lost tasks.
    """
    tracking = Tracking(deliveries)

    def unknown(job: Job) -> Definition | None:
        if task_id_of(job.args) is None:
            return None
        return Definition(job.class_name, _no_such_task, is_async=True, around=(tracking,))

    known = {
        name: replace(definition, around=(tracking, *definition.around))
        for name, definition in definitions.items()
    }
    return Definitions(known, unknown, lifecycle=TakenTask)


async def _no_such_task(*_: Any) -> None:
    """Fail the run for good: this worker would not know the task the next time either."""
    run = current_run.get()
    run.outcome = failure(unknown_task(run.class_name))
