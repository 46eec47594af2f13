"""Tracking: what makes a job with a task's id run by its record. The outermost plugin of any task.

A job without an id passes at the cost of one look at its arguments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from resqpy.base.task_id import task_id_of
from resqpy.engine.definition import Definition
from resqpy.engine.plugin import CallNext, Plugin
from resqpy.engine.run import Run
from resqpy.engine.tracked.delivery import Deliveries


class Tracking(Plugin):
    """Runs tracked tasks.

    Args:
        deliveries: those of the process.
    """

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


def with_tracking(
    definitions: Mapping[str, Definition], deliveries: Deliveries
) -> dict[str, Definition]:
    """The same tasks, each of which may be created as a tracked one."""
    tracking = Tracking(deliveries)
    return {
        name: replace(definition, around=(tracking, *definition.around))
        for name, definition in definitions.items()
    }
