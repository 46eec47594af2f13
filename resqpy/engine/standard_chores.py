"""What a scheduler does while it leads, unless it is told otherwise."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from resqpy.engine.chores import Chore
from resqpy.engine.claims import Claims
from resqpy.engine.due import Judge
from resqpy.engine.foreign_care import ForeignCareChore
from resqpy.engine.inspector import Inspector
from resqpy.engine.orphans import Orphans
from resqpy.engine.promotion import Promotion, Teller
from resqpy.engine.rescue import RescueChore
from resqpy.engine.schedule_chores import schedule_chores
from resqpy.engine.tracked.recovery import TrackedChore

if TYPE_CHECKING:
    from resqpy.engine.scheduler import Scheduler


def standard_chores(scheduler: Scheduler) -> list[Chore]:
    """All built-in chores, new ones for each scheduler."""
    queue, options, emit = scheduler.queue, scheduler.options, scheduler.emit
    judge, teller = Judge(queue, scheduler.name), Teller(emit, scheduler.heard)
    return [
        Promotion(
            scheduler.store,
            judge,
            teller,
            on_claimed=partial(scheduler.wake, Claims.name),
            longest_s=options.timeout_s,
        ),
        Claims(queue, judge, teller),
        Orphans(scheduler.store, emit),
        RescueChore(scheduler.store, options.rescue_after_s, emit),
        ForeignCareChore(Inspector(queue), options, emit),
        *schedule_chores(queue, scheduler.announcer, options, emit),
        TrackedChore(scheduler.store, options.task_lost_after_ms, options.timeout_s),
    ]
