"""The settings of workers and leaders: the one place for their defaults, which config and docs read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from resqpy.base import codec
from resqpy.base.model import FailedJob, described

MAX_RESCUES = 3  # the next loss sends a job to the failed list, if it ran alone
RUNS_ALONE_AFTER = 2  # losses after which a job runs alone, to find out which one kills the worker
FROM_OPTIONS = -1.0  # instead of the seconds for a stop: use the options'


@dataclass(frozen=True, kw_only=True)
class RescueOptions:
    """When a process counts as dead."""

    rescue_after_s: float = described(
        30.0, "A resqpy worker without a heartbeat for this long is dead."
    )


@dataclass(frozen=True)
class WorkerOptions(RescueOptions):
    """How workers work."""

    timeout_s: float = described(
        5.0, "How long to wait between checks for work if Redis can't wake us up."
    )
    stop_timeout_s: float = described(
        25.0, "How long running jobs may continue at a stop before they are cancelled and put back."
    )
    cancel_timeout_s: float = described(
        2.0, "How long a cancelled job may take to end before it is abandoned."
    )
    heartbeat_s: float = described(10.0, "The interval between a worker's heartbeats.")
    max_payload: int = described(
        codec.MAX_PAYLOAD, "Larger jobs are not run; they go to the failed list."
    )
    max_threads: int | None = described(
        None, "How many plain (not async) tasks may run at once; None: one per task processor."
    )
    running_limits: Mapping[str, int] | None = described(
        None,
        "How many jobs of a queue may run at once, by its name, in all processes together; `resqpy limits set` "
        "comes before it, and only `resqpy limits remove` ends it.",
    )
    host: str | None = described(None, "The host part of worker ids; None: this machine's name.")


@dataclass(frozen=True)
class ScalingOptions:
    """The range of task processors of a `MultiWorker`, and how it scales."""

    min_task_processors: int = described(1, "Minimum number of concurrent jobs.")
    max_task_processors: int = described(10, "Maximum number of concurrent jobs.")
    check_s: float = described(
        0.5, "The interval between decisions whether more or fewer task processors are needed."
    )
    max_event_loop_delay_ms: float = described(
        5.0, "If the event loop is later than this, no task processors are added."
    )


@dataclass(frozen=True)
class LeaderOptions(RescueOptions):
    """How a scheduler leads and what it does."""

    timeout_s: float = described(
        WorkerOptions.timeout_s,
        "How long to wait between checks for due jobs if Redis can't wake us up.",
    )
    lease_s: float = described(
        10.0, "A leader that does not renew its lease for this long is replaced."
    )
    foreign_lock_ttl_s: int = described(180, "Lifetime of Ruby's and Node's leader locks.")
    ruby_lock_prefix: str = described("", "resque-scheduler's prefix for its leader lock.")
    name: str | None = described(None, "Our name in the locks; None: host, pid and a random part.")
    stuck_worker_timeout_ms: int = described(
        3_600_000,
        "A foreign worker that has been silent or busy for this long counts as dead; 0: never.",
    )
    retry_stuck_jobs: bool = described(
        False, "Whether the job of a dead worker is enqueued again instead of failing."
    )
    ruby_prune_after_ms: int | None = described(
        None,
        "A Ruby worker without a heartbeat for this long is dead: your Resque.prune_interval; None: 5 minutes, "
        "or more if its workers are seen to send heartbeats rarely.",
    )
    failed_keep: int | None = described(
        None,
        "How many entries a failed list keeps; the leader removes the oldest. None: all, as in Resque.",
    )
    failed_for_ms: int | None = described(
        None, "How long a failed list keeps an entry; None: until somebody removes it."
    )
    failed_archive: Callable[[list[FailedJob]], Any] | None = described(
        None,
        "A function, plain or async, or its dotted path, that gets the entries before they are removed for "
        "their number or age: a list of `FailedJob`. If it raises, nothing is removed.",
    )
    ruby_leads: bool = described(
        False,
        "A Ruby scheduler runs beside this one: its lock, delayed jobs and Ruby's "
        "schedules are left to it; this one does only resqpy's own work.",
    )
    ruby_env: str | None = described(
        None, "Which of Ruby's schedules that name an environment run; None: none of them."
    )
    ruby_timezone: str | None = described(
        None, "The time zone of Ruby's schedules that name none; None: this machine's, as in Ruby."
    )
