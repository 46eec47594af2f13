"""`config/tasks.py`: workers and scheduler. The names are ActionHero's in snake case."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from resqpy.base import codec
from resqpy.framework.kinds import (
    DURATION,
    EVENT_LEVEL,
    FINE_DELAY,
    FLAG,
    MAPPING,
    PART,
    QUEUES,
    SIZE,
    TEXT_OR_NONE,
    TIME,
    choice,
    whole,
)
from resqpy.framework.options import Historic, option, part, seconds

Queues = tuple[str, ...] | Callable[[], list[str] | Awaitable[list[str]]]


def _interval(text: str) -> str | None:
    """Resque's INTERVAL: seconds; 0 means "until the queues are empty", see `process.burst`."""
    return seconds(text) if text.strip("0. ") else None


@dataclass(frozen=True, kw_only=True)
class WorkerLogging:
    """The level at which each event of a worker is logged; None: not at all."""

    failure: str | None = option("error", EVENT_LEVEL, "A task failed.")
    success: str | None = option(
        "info", EVENT_LEVEL, "A task succeeded, or its run was forbidden: the one line of a job."
    )
    re_enqueue: str | None = option("info", EVENT_LEVEL, "A job is delayed: retry, lock.")
    start: str | None = option("debug", EVENT_LEVEL, "A task processor begins.")
    end: str | None = option("debug", EVENT_LEVEL, "A task processor ends.")
    cleaning_worker: str | None = option(
        "info", EVENT_LEVEL, "A dead worker is removed, its job put back."
    )
    poll: str | None = option("debug", EVENT_LEVEL, "A task processor looks for work.")
    ping: str | None = option("debug", EVENT_LEVEL, "A sign of life was sent.")
    job: str | None = option("debug", EVENT_LEVEL, "A job was taken and begins.")
    pause: str | None = option("debug", EVENT_LEVEL, "There is no work.")
    internal_error: str | None = option("error", EVENT_LEVEL, "An error of the worker itself.")
    multi_worker_action: str | None = option("debug", EVENT_LEVEL, "More or fewer processors.")


@dataclass(frozen=True, kw_only=True)
class SchedulerLogging:
    """The level at which each event of the scheduler is logged; None: not at all."""

    start: str | None = option("info", EVENT_LEVEL, "The scheduler begins.")
    end: str | None = option("info", EVENT_LEVEL, "The scheduler ends.")
    leader: str | None = option("info", EVENT_LEVEL, "This scheduler leads from now on.")
    follower: str | None = option("info", EVENT_LEVEL, "Another scheduler leads from now on.")
    poll: str | None = option("debug", EVENT_LEVEL, "The scheduler looks for what is due.")
    enqueue: str | None = option("debug", EVENT_LEVEL, "A delayed or periodic job was enqueued.")
    re_enqueue: str | None = option(
        "debug", EVENT_LEVEL, "The job of a periodic task was lost: it is enqueued anew."
    )
    working_timestamp: str | None = option("debug", EVENT_LEVEL, "Jobs of a second are moved.")
    transferred_job: str | None = option("debug", EVENT_LEVEL, "A delayed job entered its queue.")
    cleaning_worker: str | None = option(
        "info", EVENT_LEVEL, "A dead worker is removed, its job put back."
    )
    internal_error: str | None = option("error", EVENT_LEVEL, "An error of the scheduler itself.")


@dataclass(frozen=True, kw_only=True)
class ResqueOverrides:
    """Replacements of parts: each a dotted path, a class or a factory; None: ours."""

    queue: Any = option(None, PART, "Instead of resqpy.Queue.")
    multi_worker: Any = option(None, PART, "Instead of resqpy.MultiWorker.")
    scheduler: Any = option(None, PART, "Instead of resqpy.Scheduler.")


@dataclass(frozen=True, kw_only=True)
class TasksConfig:
    """Workers and scheduler."""

    IN_ENVIRONMENT: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "test": {"timeout": 100, "check_timeout": 50},
    }

    scheduler: bool = option(
        False, FLAG, "Whether this process runs a scheduler: delayed and periodic jobs need one."
    )
    queues: Queues = option(
        ("*",),
        QUEUES,
        "The queues to work, in order of priority: names, globs, '*', '!not_this'; "
        "or a function, also an async one, that returns such a list when the process starts.",
        "QUEUES",
        "QUEUE",
    )
    worker_logging: WorkerLogging = part(WorkerLogging)
    scheduler_logging: SchedulerLogging = part(SchedulerLogging)
    timeout: int = option(
        5000,
        TIME,
        "How long to sleep between looks for work where Redis can't wake us up.",
        Historic("INTERVAL", _interval),
    )
    min_task_processors: int = option(
        0, whole(0, "a whole number, 0 or more"), "The fewest jobs at a time; 0: none need run."
    )
    max_task_processors: int = option(
        0,
        whole(0, "a whole number, 0 or more"),
        "The most jobs at a time; 0: this process works none "
        "(`resqpy worker` and `resqpy start` then take 10).",
    )
    check_timeout: int = option(
        500, TIME, "How often to decide whether more or fewer task processors are needed."
    )
    max_event_loop_delay: float = option(
        5.0, FINE_DELAY, "An event loop later than this gets no more task processors."
    )
    to_disconnect_processors: bool = option(
        True,
        FLAG,
        "Accepted and without effect: all task processors share one connection to Redis, "
        "so there is none to close when one ends.",
    )
    resque_overrides: ResqueOverrides = part(ResqueOverrides)
    connection_options: Mapping[str, Any] = option(
        {}, MAPPING, "Further keywords of redis-py's Connection for workers, queue and scheduler."
    )
    stuck_worker_timeout: int = option(
        3_600_000,
        DURATION,
        "A foreign worker that has been silent or busy for so long counts as dead; 0: never.",
    )
    retry_stuck_jobs: bool = option(
        False, FLAG, "Whether the job of a dead worker is enqueued again instead of failing."
    )
    stop_timeout: int = option(
        25_000,
        DURATION,
        "How long running jobs may go on at a stop before they are cancelled and put back.",
        Historic("RESQUE_TERM_TIMEOUT", seconds),
    )
    cancel_timeout: int = option(
        2000, DURATION, "How long a cancelled job may take to end before it is given up."
    )
    heartbeat: int = option(10_000, TIME, "How often a worker gives a sign of life.")
    max_payload: int = option(
        codec.MAX_PAYLOAD, SIZE, "Larger jobs are not run; they go to the failed list."
    )
    max_threads: int | None = option(
        None,
        whole(1, "a whole number above 0, or None", optional=True),
        "Plain (not async) tasks that run at a time; None: one for each task processor.",
    )
    host: str | None = option(
        None, TEXT_OR_NONE, "The host part of worker ids; None: this machine's name."
    )
    tracked_preset: str = option(
        "irontask",
        choice("irontask", "extra_horizon", "twin"),
        "What a tracked task is like where its creator says nothing: as in which system.",
    )
