"""The scheduler, with everything that it does while it leads."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from resqpy.base.clock import SYSTEM_CLOCK, Clock
from resqpy.engine.inspect.inspector import Inspector
from resqpy.engine.role import Connection
from resqpy.engine.scheduler.failed_care import FailedCareChore
from resqpy.engine.scheduler.foreign_care import ForeignCareChore, Orphans
from resqpy.engine.scheduler.foreign_limits import ForeignLimitsChore
from resqpy.engine.scheduler.promotion import Claims, DueItemPolicy, EventReporter, Promotion
from resqpy.engine.scheduler.queue_ages import QueueAgesChore, SampleChore
from resqpy.engine.scheduler.rescue import RescueChore
from resqpy.engine.scheduler.schedule_chores import schedule_chores
from resqpy.engine.scheduler.scheduler import Chore, SchedulerRole
from resqpy.framework.config.sections import SchedulerOptions
from resqpy.tracked.recovery import TrackedChore


class Scheduler(SchedulerRole):
    """Moves due jobs to their queues, and does the other work of which there must be only one in a cluster.

    Any number may run; one leads, even among schedulers in other languages.

    Args:
        connection: a `Store`, `RedisOptions` or a URL.
        jobs: tasks by name, for their plugins' hooks.

    Attributes:
        name: our name in the locks.
        queue: enqueues for the chores, with the tasks' hooks.
        announcer: announces the periodic tasks of this process.
        chores: the work of a leader; may be changed before `start` only.

    Events: `start`, `end`, `poll`, `leader`, `follower`, `clean_stuck_worker` (worker name, failed entry,
    seconds), `put_back` (worker name, queue, class, times) of a job whose worker died that many times,
    `error` (error), `working_timestamp` (second), `transferred_job` (second, job),
    `failed_removed` (list, number) of old failed entries,
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
    """All built-in chores, new objects for each scheduler."""
    queue, options, emit = scheduler.queue, scheduler.options, scheduler.emit
    policy, reporter = (
        DueItemPolicy(queue, scheduler.name),
        EventReporter(emit, scheduler.has_listeners, scheduler.store),
    )
    return [
        Promotion(
            scheduler.store,
            policy,
            reporter,
            on_claimed=partial(scheduler.wake, Claims.name),
            longest_s=options.timeout_s,
        ),
        Claims(queue, policy, reporter),
        Orphans(scheduler.store, emit),
        RescueChore(scheduler.store, options.rescue_after_s, emit),
        ForeignCareChore(Inspector(queue), options, emit),
        *schedule_chores(queue, scheduler.announcer, options, emit),
        TrackedChore(scheduler.store, options.task_lost_after_ms, options.timeout_s),
        ForeignLimitsChore(scheduler.store),
        QueueAgesChore(scheduler.store),
        SampleChore(scheduler.store),
        FailedCareChore(Inspector(queue), options, emit),
    ]
