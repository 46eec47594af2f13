"""`resqpy`: finds the command, runs it, and turns errors into one line and an exit code."""

from __future__ import annotations

import ast
import contextlib
import gc
import io
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

import resqpy
from resqpy.base.imports import DISTRIBUTION, refuse_namesake
from resqpy.cli.arguments.settings import Settings
from resqpy.cli.group import Entry, LazyGroup
from resqpy.cli.output import printing as output
from resqpy.cli.output.printing import Exit, code_of
from resqpy.framework.project.root import project_root

RUN, LOOK, TASKS, PROJECT = "Run", "Look and repair", "Tasks", "Project"

COMMANDS = {
    "start": Entry(
        "worker:start", "Worker and scheduler in one process, reloading on change.", RUN
    ),
    "worker": Entry("worker:worker", "Run jobs.", RUN),
    "scheduler": Entry("worker:scheduler", "Move delayed and periodic jobs to their queues.", RUN),
    "web": Entry("web:web", "The console: pages and an HTTP API.", RUN),
    "healthcheck": Entry("overall:healthcheck", "Health check for probes.", RUN),
    "doctor": Entry("doctor:doctor", "Find problems, and fix them.", LOOK),
    "top": Entry("top:top", "Queues, workers and rates, live.", LOOK),
    "info": Entry("overall:info", "Summary of the installation.", LOOK),
    "queues": Entry("queues:queues", "Queues with their jobs; delete one.", LOOK),
    "limits": Entry("limits:limits", "How many jobs of a queue run at once.", LOOK),
    "jobs": Entry("jobs:jobs", "Waiting jobs; move or remove some.", LOOK),
    "delayed": Entry("delayed:delayed", "Delayed jobs; remove some, or run them now.", LOOK),
    "failed": Entry("failed:failed", "Failed jobs; retry or remove them.", LOOK),
    "workers": Entry(
        "workers:workers", "Workers of all languages; clean up after dead ones.", LOOK
    ),
    "process": Entry("process:process", "Worker processes; order them to stop, scale, ….", LOOK),
    "schedule": Entry("schedule:schedule", "Periodic tasks and schedules, and their times.", LOOK),
    "locks": Entry("locks:locks", "Locks of tasks; remove one.", LOOK),
    "leader": Entry("overall:leader", "Which scheduler leads, in all languages.", LOOK),
    "stats": Entry("overall:stats", "Counters.", LOOK),
    "migrate": Entry("migrate:migrate", "Move a class of jobs between languages.", LOOK),
    "leave": Entry("leave:leave", "Go back to plain Resque; show what is left.", LOOK),
    "mark": Entry("overall:mark", "Mark this moment in the history, such as a deploy.", LOOK),
    "pause": Entry("overall:pause", "Pause all workers.", LOOK),
    "resume": Entry("overall:resume", "Resume all workers.", LOOK),
    "tracked": Entry(
        "tracked:tracked", "Tracked tasks: create, find, cancel, retry, watch.", TASKS
    ),
    "task": Entry("task:task", "Show, enqueue, run and explain the project's tasks.", TASKS),
    "new": Entry("new:new", "Create a project.", PROJECT),
    "init": Entry("init:init", "Make a project of an application that is there.", PROJECT),
    "generate": Entry("generate:generate", "Write a task, plugin, … with its test.", PROJECT),
    "config": Entry("config:config", "Show the config, and where each value comes from.", PROJECT),
    "console": Entry("console:console", "A Python prompt with the project started.", PROJECT),
    "completion": Entry("console:completion", "Completion for bash, zsh and fish.", PROJECT),
    "version": Entry("console:version", "Show versions.", PROJECT),
}


COMPLETE_VARIABLE = "_RESQPY_COMPLETE"


class Root(LazyGroup):
    """`resqpy` itself, with the commands of the project in this directory."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), *own_names()]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.entries and cmd_name in own_names():
            return _load_own(cmd_name)
        return super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        return super().resolve_command(ctx, self._as_two_words(ctx, args))

    def _as_two_words(self, ctx: click.Context, args: list[str]) -> list[str]:
        """`generate-task` is `generate task`, as in ActionHero; `generate project` is `new`."""
        first, dash, second = args[0].partition("-")
        if dash and first in self.entries and args[0] not in self.list_commands(ctx):
            args = [first, second, *args[1:]]
        return ["new", *args[2:]] if args[:2] == ["generate", "project"] else args

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        super().format_commands(ctx, formatter)
        own = [(name, _words_of_own(name)) for name in own_names()]
        if own:
            with formatter.section("This project's own"):
                formatter.write_dl(own)

    def main(self, *args: Any, **more: Any) -> Any:
        return super().main(*args, **{"standalone_mode": False, **more})


@click.group(
    cls=Root,
    entries=COMMANDS,
    context_settings={"help_option_names": ["--help", "-h"], "auto_envvar_prefix": "RESQPY"},
    epilog="Exit codes: 0 done, 1 error, 2 wrong usage, 3 wrong project or config, 4 no Redis, 5 not found, 6 the "
    "answer is no, 7 already running, 130 interrupted.",
)
@click.version_option(package_name=DISTRIBUTION, prog_name="resqpy")
def cli() -> None:
    """Background jobs on the Resque layout in Redis: run, look and repair.

    Each option has an environment variable, shown in the command's help; a flag takes precedence.
    """


cli.elsewhere = {
    word: f"; did you mean '{meant}'?"
    for word, meant in {
        "enqueue": "task enqueue", "run": "worker' or 'task run", "list": "task list", "retry": "failed retry",
        "flower": "top", "beat": "scheduler", "status": "info", "shell": "console", "purge": "queues delete",
    }.items()
}  # fmt: skip


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run a command line and exit."""
    if arguments is None:
        _hide_login()
    code = run(sys.argv[1:] if arguments is None else arguments)
    gc.freeze()  # a last garbage collection takes a tenth of a quick command
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run a command line; the exit code."""
    settings = Settings(debug=_wants_debug(arguments))
    out = sys.stdout
    color = False if os.environ.get("NO_COLOR") else None
    try:
        refuse_namesake(resqpy.__file__)  # whose `__init__` may be the other project's
        result = cli.main(
            arguments, prog_name="resqpy", complete_var=COMPLETE_VARIABLE, obj=settings, color=color
        )
    except click.ClickException as error:
        vars(error)["message"] = output.fit(error.message, settings)
        with contextlib.suppress(OSError):  # nobody can be told; the exit code says it
            error.show()
        return getattr(error, "code", error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        with contextlib.suppress(OSError):
            output.note("interrupted")
        return Exit.INTERRUPTED
    except BrokenPipeError:
        return _unread()
    except SystemExit:
        if sys.stdout is out or isinstance(sys.stdout, io.TextIOBase):
            raise
        return _unread()  # click replaced it with one that writes nothing
    except Exception as error:
        if settings.debug:
            raise
        return _told(error, settings)
    return result if isinstance(result, int) else Exit.OK


def _unread() -> int:
    """`resqpy jobs … | head`: nobody reads any more, which is not an error (click would exit with 1)."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno() if sys.__stdout__ else 1)
    return Exit.OK


def _wants_debug(arguments: list[str]) -> bool:
    """Checked before anything is parsed, so that parsing errors can be shown too."""
    return "--debug" in arguments or os.environ.get("RESQPY_DEBUG", "0") not in {"", "0"}


def _told(error: Exception, settings: Settings) -> int:
    """Report an error in one line (the problems of a project have one each)."""
    from resqpy.base.errors import ResqpyError, told

    code = code_of(error)
    words = str(error)
    if not isinstance(error, ResqpyError):
        words = f"unexpected {told(error)} (use --debug for a traceback)"
    with contextlib.suppress(OSError):
        output.trouble(words, settings)
    return code


# -- a login in `--redis` --


_VARIABLE = "RESQPY_REDIS_URL"
_NAMES = ("--redis", "-r")
_LOGIN = re.compile(r"\w+://.*@", re.DOTALL)


def _hide_login() -> None:
    """If our command line has a Redis URL with a login, run the same program again in our place, with the
    URL in its environment instead.
    """
    kept, url = without_login(sys.orig_argv)
    if url is not None:
        environ = {**os.environ, _VARIABLE: url}
        os.execve(sys.executable, kept, environ)  # noqa: S606 - the same program


def without_login(arguments: Sequence[str]) -> tuple[list[str], str | None]:
    """A command line without the Redis URLs that have a login, and the last of them."""
    kept: list[str] = []
    url: str | None = None
    for word in arguments:
        if kept and kept[-1] in _NAMES and _LOGIN.match(word):
            kept.pop()
            url = word
            continue
        given = next(
            (word[len(start) :] for start in ("--redis=", "-r") if word.startswith(start)), ""
        )
        if _LOGIN.match(given):
            url = given
        else:
            kept.append(word)
    return kept, url


# -- commands of the project: `commands/NAME.py` with a click command named `command` --


def _folder() -> Path:
    return project_root() / "commands"


def own_names() -> list[str]:
    """Their names: those of the files, with `-` for `_`."""
    files = sorted(_folder().glob("[!_]*.py"))
    return [path.stem.replace("_", "-") for path in files]


def _words_of_own(name: str) -> str:
    """The first line of a file's docstring; the file is not run."""
    try:
        doc = ast.get_docstring(ast.parse(_file_of_own(name).read_text(encoding="utf-8")))
    except (OSError, SyntaxError, ValueError):
        return "(can't be read)"
    return (doc or "").partition("\n")[0]


def _load_own(name: str) -> click.Command:
    """The command.

    Raises:
        click.ClickException: the file has none.
    """
    from resqpy.base.imports import import_file

    path = _file_of_own(name)
    found = getattr(import_file(path, f"_resqpy_commands.{path.stem}"), "command", None)
    if not isinstance(found, click.Command):
        raise output.fail(
            Exit.PROJECT, f"{path} has no click command named `command` (resqpy generate command)"
        )
    return found


def _file_of_own(name: str) -> Path:
    return _folder() / f"{name.replace('-', '_')}.py"
