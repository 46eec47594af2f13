"""`config/scheduler.py`: how this process' scheduler leads; whether it has one is `tasks.scheduler`."""

from __future__ import annotations

from dataclasses import dataclass

from resqpy.framework.kinds import DURATION_OR_NONE, FLAG, TEXT_OR_NONE, TIME, Kind
from resqpy.framework.options import Historic, option, seconds

ANY_TEXT = Kind("a text", lambda value: TEXT_OR_NONE.check(value) or "")


@dataclass(frozen=True, kw_only=True)
class SchedulerConfig:
    """The scheduler."""

    timeout: int | None = option(
        None,
        DURATION_OR_NONE,
        "How long to sleep between looks for due jobs where Redis can't wake us up; "
        "None: tasks.timeout.",
        Historic("RESQUE_SCHEDULER_INTERVAL", seconds),
    )
    lease: int = option(10_000, TIME, "A leader that is silent for so long is replaced.")
    foreign_lock_ttl: int = option(
        180_000,
        TIME,
        "How long Ruby's and Node's leader locks live.",
        Historic("LOCK_TIMEOUT", seconds),
    )
    ruby_lock_prefix: str = option(
        "",
        ANY_TEXT,
        "resque-scheduler's prefix of its leader lock.",
        "RESQUE_SCHEDULER_MASTER_LOCK_PREFIX",
    )
    name: str | None = option(
        None, TEXT_OR_NONE, "Who we are in the locks; None: host, pid and a random part."
    )
    rescue_after: int = option(
        30_000, TIME, "A resqpy worker without a sign of life for so long is dead."
    )
    task_lost_after: int = option(
        300_000,
        TIME,
        "A tracked task that has been pending for so long without a job anywhere was lost.",
    )
    ruby_leads: bool = option(
        False,
        FLAG,
        "A Ruby scheduler runs beside this one: its lock is left to it, with delayed jobs and Ruby's "
        "schedules; this one does only what is resqpy's own.",
    )
    ruby_prune_after: int | None = option(
        None,
        DURATION_OR_NONE,
        "A Ruby worker without a heartbeat for so long is dead: the shop's Resque.prune_interval; "
        "None: 5 minutes, and more where its workers are seen to beat seldom.",
    )
    ruby_env: str | None = option(
        None,
        TEXT_OR_NONE,
        "Which of Ruby's schedules that name an environment are run; None: none of them.",
        "RAILS_ENV",
    )
    ruby_timezone: str | None = option(
        None,
        TEXT_OR_NONE,
        "The time zone of Ruby's schedules that name none; None: this machine's, as in Ruby.",
    )
