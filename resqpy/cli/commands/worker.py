"""`resqpy worker`, `scheduler`, `start`."""

from __future__ import annotations

from typing import NoReturn

import click

from resqpy.cli.arguments.flags import WITH_UNIT, Decorator, flag, option, options, setting
from resqpy.cli.arguments.settings import Settings, current
from resqpy.cli.group import command

WORKING: tuple[Decorator, ...] = (
    setting("tasks.queues", "--queues", "-q", metavar="LIST",
            help="Queues by priority: names, globs, '*', '!not_this'; critical=6,default=3 share by weight "
                 "(default: *)."),
    setting("tasks.min_task_processors", "--min", type=int, metavar="N",
            help="Minimum number of concurrent jobs (default: 1)."),
    setting("tasks.max_task_processors", "--max", type=int, metavar="N",
            help="Maximum number of concurrent jobs (default: 10)."),
    setting("tasks.timeout", "--interval", type=WITH_UNIT, metavar="DURATION",
            help="How long to wait between checks for work if Redis can't wake us up, as 5s; 0: as "
                 "--burst."),
    setting("tasks.stop_timeout", "--timeout", "-t", type=WITH_UNIT, metavar="DURATION",
            help="How long running jobs may continue at a stop (default: 25s)."),
)  # fmt: skip

LIMITS: tuple[Decorator, ...] = (
    flag("process.burst", "--burst", help="Stop when the queues are empty."),
    setting("process.max_jobs", "--max-jobs", type=int, metavar="N", help="Stop after N jobs."),
    setting("process.max_memory", "--max-memory", metavar="SIZE",
            help="Stop when the process has more memory than this, such as 512MB."),
)  # fmt: skip

SURROUNDINGS: tuple[Decorator, ...] = (
    setting("process.pidfile", "--pidfile", metavar="FILE", help="Write the process id here."),
    flag("process.daemon", "--daemon", help="Go to the background."),
    setting("process.health_port", "--health-port", type=int, metavar="PORT",
            help="Serve GET /live, /ready and /metrics on this port, for probes and Prometheus."),
    setting("process.health_host", "--health-host", metavar="ADDRESS",
            help="Serve them on this address (default: 127.0.0.1; 0.0.0.0: on all)."),
    setting("logger.file", "--logfile", metavar="FILE", help="Append the log to this file."),
    setting("logger.format", "--json-logs", is_flag=True, flag_value="json",
            help="Log JSON, also on a terminal."),
    setting("logger.level", "--log-level", metavar="LEVEL", help="debug, info, warning, error."),
)  # fmt: skip


_OF_GROUPS = {
    "tasks.queues": "--queues",
    "tasks.min_task_processors": "--min",
    "tasks.max_task_processors": "--max",
    "process.processes": "--processes",
}


@command(json=False)
@options(
    *WORKING,
    setting("process.processes", "--processes", "-p", type=int, metavar="N",
            help="Run and supervise N processes (default: 1)."),
    setting("process.pool", "--pool", metavar="FILE",
            help="Supervise a process for each group of queues in this resque-pool.yml."),
    flag("tasks.scheduler", "--scheduler/--no-scheduler",
         help="Also run a scheduler, which delayed and periodic jobs need somewhere."),
    *LIMITS,
    *SURROUNDINGS,
)  # fmt: skip
def worker() -> NoReturn:
    """Run jobs until told to stop.

    TERM or Ctrl-C: running jobs get time to finish; a second one: stop now. QUIT: they get unlimited time.
    USR2 and CONT pause and resume, TSTP takes no more jobs, USR1 cancels running jobs, TTIN writes all
    stacks to the log, HUP replaces the processes one by one (with --processes).
    """
    settings = current()
    _interval_zero_means_burst(settings)
    if settings.overrides.get("process.pool"):
        _refuse_beside_pool(settings)
    from resqpy.cli.processes import fleet

    fleet.worker(settings)


def _refuse_beside_pool(settings: Settings) -> None:
    for path, flags in _OF_GROUPS.items():
        if path in settings.overrides:
            raise click.UsageError(
                f"{flags} and --pool can't be combined: the file says it for each group"
            )


def _interval_zero_means_burst(settings: Settings) -> None:
    value = settings.overrides.get("tasks.timeout")
    if isinstance(value, str) and not value.strip("0.sm "):
        settings.overrides.pop("tasks.timeout")
        settings.override("process.burst", value=True, flag="--interval")


@command(json=False)
@options(
    setting("scheduler.timeout", "--interval", type=WITH_UNIT, metavar="DURATION",
            help="How long to wait between checks if Redis can't wake us up, such as 5s or 500ms."),
    setting("scheduler.foreign_lock_ttl", "--lock-timeout", type=WITH_UNIT, metavar="DURATION",
            help="Lifetime of Ruby's and Node's leader locks (default: 180s)."),
    *SURROUNDINGS,
)  # fmt: skip
def scheduler() -> NoReturn:
    """Move delayed and periodic jobs to their queues; run none.

    Any number may run: one leads, also among the schedulers of Ruby and Node.
    """
    from resqpy.cli.processes import fleet

    fleet.scheduler(current())


@command(json=False)
@options(
    *WORKING,
    *SURROUNDINGS[2:],
    option("--reload/--no-reload", default=True, help="Restart when a file changes."),
    option("--console/--no-console", default=None,
           help="Serve the console too (default: in the environment development, if it is installed)."),
)  # fmt: skip
def start(*, reload: bool, console: bool | None) -> int:
    """Worker and scheduler in one process, for development.

    When a Python file of the project changes (not in tests/), the running jobs finish and a new process
    starts. Ctrl-C stops it after the running jobs; a second one immediately. It prints a link to the console,
    which works once, for ten minutes.
    """
    from resqpy.cli.arguments.session import load_watched
    from resqpy.cli.commands.web import missing_packages, need_packages

    if console:
        need_packages()
    wanted = "" if missing_packages() else {None: "development", True: "always", False: ""}[console]
    place = load_watched(current())
    from resqpy.cli.processes import fleet  # while the embedded Redis starts

    return fleet.start(current(), place, reload=reload, console=wanted)
