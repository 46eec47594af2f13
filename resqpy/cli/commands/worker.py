"""`resqpy worker`, `scheduler`, `start`."""

from __future__ import annotations

from typing import NoReturn

from resqpy.cli.arguments.flags import Decorator, flag, option, options, setting
from resqpy.cli.arguments.settings import Settings, current
from resqpy.cli.arguments.types import WITH_UNIT
from resqpy.cli.group import command

WORKING: tuple[Decorator, ...] = (
    setting("tasks.queues", "--queues", "-q", metavar="LIST",
            help="Queues by priority, with commas: names, globs, '*', '!not_this' (default: *)."),
    setting("tasks.min_task_processors", "--min", type=int, metavar="N",
            help="The fewest jobs at a time (default: 1)."),
    setting("tasks.max_task_processors", "--max", type=int, metavar="N",
            help="The most jobs at a time (default: 10)."),
    setting("tasks.timeout", "--interval", type=WITH_UNIT, metavar="DURATION",
            help="How long to sleep between looks for work where Redis can't wake us, as 5s or "
            "500ms; 0: as --burst."),
    setting("tasks.stop_timeout", "--timeout", "-t", type=WITH_UNIT, metavar="DURATION",
            help="How long running jobs may go on at a stop (default: 25s)."),
)  # fmt: skip

LIMITS: tuple[Decorator, ...] = (
    flag("process.burst", "--burst", help="Stop when the queues are empty."),
    setting("process.max_jobs", "--max-jobs", type=int, metavar="N", help="Stop after N jobs."),
    setting("process.max_memory", "--max-memory", metavar="SIZE",
            help="Stop when the process has more memory than this, as 512MB."),
)  # fmt: skip

SURROUNDINGS: tuple[Decorator, ...] = (
    setting("process.pidfile", "--pidfile", metavar="FILE", help="Write the process id there."),
    flag("process.daemon", "--daemon", help="Go to the background."),
    setting("process.health_port", "--health-port", type=int, metavar="PORT",
            help="Answer GET /live, /ready and /metrics there, for probes and Prometheus."),
    setting("process.health_host", "--health-host", metavar="ADDRESS",
            help="Answer them on this address (default: 127.0.0.1; 0.0.0.0: on all)."),
    setting("logger.file", "--logfile", metavar="FILE", help="Append the log there."),
    setting("logger.format", "--json-logs", is_flag=True, flag_value="json",
            help="Log JSON, also on a terminal."),
    setting("logger.level", "--log-level", metavar="LEVEL", help="debug, info, warning, error."),
)  # fmt: skip


@command(json=False)
@options(
    *WORKING,
    setting("process.processes", "--processes", "-p", type=int, metavar="N",
            help="Run and supervise N processes (default: 1)."),
    flag("tasks.scheduler", "--scheduler/--no-scheduler",
         help="Run a scheduler too; delayed and periodic jobs need one somewhere."),
    *LIMITS,
    *SURROUNDINGS,
)  # fmt: skip
def worker() -> NoReturn:
    """Work jobs until told to stop.

    TERM or Ctrl-C: running jobs get their time to end; a second one: now. QUIT: they get all time.
    USR2 and CONT pause and resume, TSTP takes no more jobs, USR1 cancels what runs, TTIN writes all
    stacks to the log, HUP replaces the processes one by one (with --processes).
    """
    settings = current()
    _interval_zero_means_burst(settings)
    from resqpy.cli.processes import fleet

    fleet.worker(settings)


def _interval_zero_means_burst(settings: Settings) -> None:
    value = settings.overrides.get("tasks.timeout")
    if isinstance(value, str) and not value.strip("0.sm "):
        settings.overrides.pop("tasks.timeout")
        settings.override("process.burst", value=True, flag="--interval")


@command(json=False)
@options(
    setting("scheduler.timeout", "--interval", type=WITH_UNIT, metavar="DURATION",
            help="How long to sleep between looks where Redis can't wake us, as 5s or 500ms."),
    setting("scheduler.foreign_lock_ttl", "--lock-timeout", type=WITH_UNIT, metavar="DURATION",
            help="How long Ruby's and Node's leader locks live (default: 180s)."),
    *SURROUNDINGS,
)  # fmt: skip
def scheduler() -> NoReturn:
    """Move delayed and periodic jobs to their queues; work none.

    Any number may run: one leads, also beside the schedulers of Ruby and Node.
    """
    from resqpy.cli.processes import fleet

    fleet.scheduler(current())


@command(json=False)
@options(
    *WORKING,
    *SURROUNDINGS[2:],
    option("--reload/--no-reload", default=True, help="Restart when a file changes."),
)
def start(*, reload: bool) -> int:
    """Worker and scheduler in one process, for development.

    When a Python file of the project changes (not in tests/), the running jobs end and a new process
    begins. Ctrl-C stops it when the running jobs have ended; a second one at once.
    """
    from resqpy.cli.processes import fleet

    return fleet.start(current(), reload=reload)
