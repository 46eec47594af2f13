"""The settings of workers and leaders: the one place of their defaults, which the config and the docs read."""

from __future__ import annotations

from dataclasses import dataclass

from resqpy.base import codec
from resqpy.base.model import described

MOST_RESCUES = 3  # after so many, the next loss sends a job to the failed list, if it was alone
RUNS_ALONE_AFTER = 2  # losses after which a job runs alone, so that it is known who kills
FROM_OPTIONS = -1.0  # in place of the seconds that a stop gives: those of the options


@dataclass(frozen=True, kw_only=True)
class RescueOptions:
    """When a process counts as dead."""

    rescue_after_s: float = described(
        30.0, "A resqpy worker without a sign of life for so long is dead."
    )


@dataclass(frozen=True)
class WorkerOptions(RescueOptions):
    """How workers work."""

    timeout_s: float = described(
        5.0, "How long to sleep between looks for work where Redis can't wake us up."
    )
    stop_timeout_s: float = described(
        25.0, "How long running jobs may go on at a stop before they are cancelled and put back."
    )
    cancel_timeout_s: float = described(
        2.0, "How long a cancelled job may take to end before it is given up."
    )
    heartbeat_s: float = described(10.0, "How often a worker gives a sign of life.")
    max_payload: int = described(
        codec.MAX_PAYLOAD, "Larger jobs are not run; they go to the failed list."
    )
    max_threads: int | None = described(
        None, "Plain (not async) tasks that run at a time; None: one for each task processor."
    )
    host: str | None = described(None, "The host part of worker ids; None: this machine's name.")


@dataclass(frozen=True)
class ScalingOptions:
    """Between how many task processors a `MultiWorker` moves, and by what."""

    min_task_processors: int = described(1, "The fewest jobs at a time.")
    max_task_processors: int = described(10, "The most jobs at a time.")
    check_s: float = described(
        0.5, "How often to decide whether more or fewer task processors are needed."
    )
    max_event_loop_delay_ms: float = described(
        5.0, "An event loop later than this gets no more task processors."
    )


@dataclass(frozen=True)
class LeaderOptions(RescueOptions):
    """How a scheduler leads and what it does."""

    timeout_s: float = described(
        WorkerOptions.timeout_s,
        "How long to sleep between looks for due jobs where Redis can't wake us up.",
    )
    lease_s: float = described(10.0, "A leader that is silent for so long is replaced.")
    foreign_lock_ttl_s: int = described(180, "How long Ruby's and Node's leader locks live.")
    ruby_lock_prefix: str = described("", "resque-scheduler's prefix of its leader lock.")
    name: str | None = described(
        None, "Who we are in the locks; None: host, pid and a random part."
    )
    stuck_worker_timeout_ms: int = described(
        3_600_000,
        "A foreign worker that has been silent or busy for so long counts as dead; 0: never.",
    )
    retry_stuck_jobs: bool = described(
        False, "Whether the job of a dead worker is enqueued again instead of failing."
    )
    ruby_prune_after_ms: int | None = described(
        None,
        "A Ruby worker without a heartbeat for so long is dead: the shop's Resque.prune_interval; "
        "None: 5 minutes, and more where its workers are seen to beat seldom.",
    )
    ruby_leads: bool = described(
        False,
        "A Ruby scheduler runs beside this one: its lock is left to it, with delayed jobs and Ruby's "
        "schedules; this one does only what is resqpy's own.",
    )
    ruby_env: str | None = described(
        None, "Which of Ruby's schedules that name an environment are run; None: none of them."
    )
    ruby_timezone: str | None = described(
        None, "The time zone of Ruby's schedules that name none; None: this machine's, as in Ruby."
    )
