"""`resqpy`: finds the command, runs it, and turns what went wrong into one line and an exit code."""

from __future__ import annotations

import os
import sys
from typing import Any, NoReturn

import click

from resqpy.cli.exits import Exit, code_of
from resqpy.cli.group import Entry, LazyGroup
from resqpy.cli.settings import Settings

RUN, LOOK, TASKS, PROJECT = "Run", "Look and repair", "Tasks", "Project"

COMMANDS = {
    "start": Entry("start:start", "Worker and scheduler in one process, reloading on change.", RUN),
    "worker": Entry("worker:worker", "Work jobs.", RUN),
    "scheduler": Entry(
        "scheduler:scheduler", "Move delayed and periodic jobs to their queues.", RUN
    ),
    "healthcheck": Entry("healthcheck:healthcheck", "Say whether all is well, for probes.", RUN),
    "info": Entry("overall:info", "The whole at a glance.", LOOK),
    "queues": Entry("queues:queues", "Queues with their jobs; delete one.", LOOK),
    "jobs": Entry("jobs:jobs", "Jobs that wait; remove some.", LOOK),
    "delayed": Entry("delayed:delayed", "Jobs that wait for their time; remove some.", LOOK),
    "failed": Entry("failed:failed", "Failed jobs; retry or remove them.", LOOK),
    "workers": Entry(
        "workers:workers", "Workers of all languages; clean up after dead ones.", LOOK
    ),
    "schedule": Entry("schedule:schedule", "What runs by itself, and when.", LOOK),
    "locks": Entry("locks:locks", "Locks of tasks; remove one.", LOOK),
    "leader": Entry("overall:leader", "Who leads among the schedulers of all languages.", LOOK),
    "stats": Entry("overall:stats", "Counters.", LOOK),
    "pause": Entry("overall:pause", "Let all workers rest.", LOOK),
    "resume": Entry("overall:resume", "Let all workers work again.", LOOK),
    "tracked": Entry(
        "tracked:tracked", "Tracked tasks: create, find, cancel, retry, watch.", TASKS
    ),
    "task": Entry("task:task", "Show, enqueue, run and explain the project's tasks.", TASKS),
    "config": Entry("config:config", "Show the config, and where each value came from.", PROJECT),
    "version": Entry("version:version", "Show versions.", PROJECT),
}


class Root(LazyGroup):
    """`resqpy` itself."""

    def main(self, *args: Any, **more: Any) -> Any:
        return super().main(*args, **{"standalone_mode": False, **more})


@click.group(
    cls=Root,
    entries=COMMANDS,
    context_settings={"help_option_names": ["--help", "-h"], "auto_envvar_prefix": "RESQPY"},
    epilog="Exit codes: 0 done, 1 error, 2 wrong usage, 3 wrong project or config, 4 no Redis, "
    "5 not found, 6 the answer is no, 7 runs already, 130 interrupted.",
)
@click.version_option(package_name="resqpy", prog_name="resqpy")
def cli() -> None:
    """Background jobs on the Resque layout in Redis: run, look and repair.

    Each option has an environment variable, shown in the command's help; a flag wins over it.
    """


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run a command line and exit."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Run a command line; the exit code."""
    settings = Settings(debug=_wants_debug(arguments))
    color = False if os.environ.get("NO_COLOR") else None
    try:
        result = cli.main(arguments, prog_name="resqpy", obj=settings, color=color)
    except click.ClickException as error:
        error.show()
        return getattr(error, "code", error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return Exit.INTERRUPTED
    except BrokenPipeError:  # `resqpy jobs … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK
    except Exception as error:
        if settings.debug:
            raise
        return _told(error)
    return result if isinstance(result, int) else Exit.OK


def _wants_debug(arguments: list[str]) -> bool:
    """Asked before anything is parsed, so that an error of the parsing can be seen as well."""
    return "--debug" in arguments or os.environ.get("RESQPY_DEBUG", "0") not in {"", "0"}


def _told(error: Exception) -> int:
    """Tell of an error in one line (the problems of a project have one each)."""
    from resqpy.base.errors import ResqpyError

    code = code_of(error)
    if isinstance(error, ResqpyError):
        click.echo(f"{click.style('resqpy:', fg='red')} {error}", err=True)
    else:
        words = f"{type(error).__name__}: {error} (--debug shows where)"
        click.echo(f"{click.style('resqpy:', fg='red')} unexpected {words}", err=True)
    return code
