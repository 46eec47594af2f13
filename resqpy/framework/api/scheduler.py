"""The scheduler, with all that it does while it leads."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from resqpy.base.clock import SYSTEM_CLOCK, Clock
from resqpy.engine.inspect.inspector import Inspector
from resqpy.engine.queue.client import Connection
from resqpy.engine.scheduler.chores import Chore
from resqpy.engine.scheduler.claims import Claims
from resqpy.engine.scheduler.due import Judge
from resqpy.engine.scheduler.foreign_care import ForeignCareChore
from resqpy.engine.scheduler.orphans import Orphans
from resqpy.engine.scheduler.promotion import Promotion, Teller
from resqpy.engine.scheduler.rescue import RescueChore
from resqpy.engine.scheduler.schedule_chores import schedule_chores
from resqpy.engine.scheduler.scheduler import SchedulerRole
from resqpy.framework.config.sections import SchedulerOptions
from resqpy.tracked.recovery import TrackedChore


class Scheduler(SchedulerRole):
    """Moves due jobs to their queues, and what else one process of a cluster has to do.

    Any number may run; one leads, whatever language the others are written in.

    Args:
        connection: a `Store`, `RedisOptions` or a URL.
        jobs: tasks by name, for their plugins' hooks.

    Attributes:
        name: who we are in the locks.
        queue: enqueues for the chores, with the tasks' hooks.
        announcer: tells the others which periodic tasks there are here.
        chores: what is done as leader; to be changed before `start` only.

    Events: `start`, `end`, `poll`, `leader`, `follower`, `clean_stuck_worker` (worker name, failed
    entry, seconds), `put_back` (worker name, queue, class, times) of a job that was lost so many times with
    its worker, `error` (error), `working_timestamp` (second), `transferred_job` (second, job),
    `enqueue` (ms, job) of a periodic task, `re_enqueue` (ms, job) of one whose chain was broken.
    """

    options: SchedulerOptions

    def __init__(
        self,
        connection: Connection = None,
        jobs: Mapping[str, Any] | None = None,
        options: SchedulerOptions | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        super().__init__(connection, jobs, options or SchedulerOptions(), clock)
        self.chores = standard_chores(self)


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
