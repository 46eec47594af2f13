"""What all commands have in common: help, options and their twins, errors, exit codes, a quick start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from resqpy.cli.arguments.flags import CommandOption
from resqpy.cli.main import COMMANDS
from resqpy.cli.output.printing import Exit
from tests.cli.conftest import Call
from tests.cli.reference import commands

HEAVY = (
    "redis",
    "structlog",
    "croniter",
    "asyncio",
    "resqpy.engine.queue.queue",
    "resqpy.store.connection.client",
    "ssl",
)


@pytest.mark.parametrize("arguments", [["--help"], ["worker", "--help"], ["version"], ["nonsense"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    """The help is there at once: no Redis client, no event loop, no logs are imported for it."""
    script = (
        "import sys; from resqpy.cli.main import run; code = run(sys.argv[1:]);"
        "print('\\nMODULES', *sys.modules)"
    )

    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True
    )
    modules = set(done.stdout.rpartition("MODULES")[2].split())

    assert [name for name in HEAVY if name in modules] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_can_be_called(name: str, resqpy: Call) -> None:
    """Its module is there, and its help shows environment variables and ends with 0."""
    said = resqpy(name, "--help")

    assert said.code == 0
    assert said.out.startswith(f"Usage: resqpy {name}")


def test_the_help_lists_all_commands_and_the_exit_codes(resqpy: Call) -> None:
    """Under headings, with a line each."""
    said = resqpy("--help")

    assert all(f"  {name} " in said.out for name, entry in COMMANDS.items() if entry.section)
    assert "Exit codes: 0 done" in said.out
    assert said.err == ""


def test_the_help_of_a_group_names_what_runs_without_a_command(resqpy: Call) -> None:
    """`resqpy failed --class Mail` is a way to call `list`, whose help has the options."""
    said = resqpy("failed", "--help")

    assert "Without a command: list. Its options: resqpy failed list --help" in said.out


def test_a_misspelled_command_gets_a_hint(resqpy: Call) -> None:
    """The nearest command is named."""
    said = resqpy("wroker")

    assert said.code == Exit.USAGE
    assert "there is no command 'wroker'; did you mean 'worker'?" in said.err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["worker", "--interval", "5"], Exit.USAGE, "5s or 5ms"),
        (["worker", "--queues", ","], Exit.USAGE, "--queues: "),
        (["worker", "--max-memory", "much"], Exit.USAGE, "--max-memory: 'much' is not"),
        (["healthcheck", "--redis", "redis://127.0.0.1:1/"], Exit.REDIS, "cannot reach Redis"),
        (["worker", "--health-port", "99999"], Exit.USAGE, "99999 is not a port number"),
        (["worker", "--logfile", "/dev/null/x"], Exit.USAGE, "cannot write the log file"),
        (["new", "/dev/null/x"], Exit.USAGE, "cannot write there"),
        (["new", "/dev/null/7 days"], Exit.USAGE, "--name"),
        (["config", "show", "taks"], Exit.NOT_FOUND, "did you mean 'tasks'?"),
        (["healthcheck", "--scheduler"], Exit.NO, ""),
    ],
)
def test_what_a_user_does_wrong_is_one_line_and_a_code(
    resqpy: Call, arguments: list[str], code: Exit, words: str
) -> None:
    """No traceback; the message names what was wrong."""
    said = resqpy(*arguments)

    assert (said.code, "Traceback" in said.err) == (code, False)
    assert words in said.err


@pytest.mark.parametrize(
    ("arguments", "right"),
    [
        (["--debug", "worker"], "--debug goes after the command: resqpy worker --debug"),
        (["--json", "queues"], "--json goes after the command: resqpy queues --json"),
        (["-C", "x", "task", "list"], "-C goes after the command: resqpy task list -C x"),
        (["--queues", "a, b", "worker"], "resqpy worker --queues 'a, b'"),
        (["--periodic", "task"], "resqpy task --periodic"),
        (["queues", "--json", "list"], "resqpy queues list --json"),
        (["generate", "--queue", "x", "task"], "resqpy generate task --queue x"),
    ],
)
def test_an_option_before_its_command_is_told_its_place(
    resqpy: Call, arguments: list[str], right: str
) -> None:
    """The error has the line as it should be."""
    said = resqpy(*arguments)

    assert said.code == Exit.USAGE
    assert f"goes after the command: {right.rpartition('command: ')[2]}" in said.err


@pytest.mark.parametrize("arguments", [["--queues", "task"], ["--nonsense", "worker"], ["--json"]])
def test_an_option_that_the_command_lacks_is_unknown(resqpy: Call, arguments: list[str]) -> None:
    """Nothing is said of a place where it would be right."""
    said = resqpy(*arguments)

    assert said.code == Exit.USAGE
    assert f"No such option '{arguments[0]}'" in said.err
    assert "goes after" not in said.err


@pytest.mark.parametrize(
    ("variable", "value"),
    [("RESQPY_ROOT", "/dev/null/x"), ("RESQPY_JSON", "maybe"), ("RESQPY_FAILED_LIST_LIMIT", "all")],
)
def test_a_variables_wrong_value_is_told_as_the_variables(
    resqpy: Call, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    """Nobody gave the flag of the same meaning."""
    monkeypatch.setenv(variable, value)

    said = resqpy("failed")

    assert said.code == Exit.USAGE
    assert f"Invalid value for the variable {variable}: " in said.err


def test_all_problems_of_a_project_are_told_together(resqpy: Call, root: Path) -> None:
    """With file and line, and exit code 3, before any worker starts."""
    (root / "tasks" / "broken.py").write_text("x = 1 +\n")
    (root / "tasks" / "other.py").write_text(
        "from resqpy import task\n\n@task(queeu='low')\ndef other() -> None:\n    '''Do.'''\n"
    )

    said = resqpy("worker", "--burst")

    assert said.code == Exit.PROJECT
    assert "2 problems in this project:" in said.err
    assert "tasks/broken.py:1: SyntaxError" in said.err
    assert "did you mean 'queue'?" in said.err


def test_debug_shows_where(resqpy: Call) -> None:
    """`--debug`, anywhere on the line, lets the error through."""
    with pytest.raises(Exception, match="cannot reach Redis"):
        resqpy("healthcheck", "--redis", "redis://127.0.0.1:1/", "--debug")


def test_a_folder_without_a_project_starts_no_redis(
    resqpy: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is in the wrong folder is told so, and nothing is made there."""
    monkeypatch.delenv("REDIS_URL")

    said = resqpy("healthcheck", "--root", str(tmp_path))

    assert said.code == Exit.USAGE
    assert "there is no project in" in said.err
    assert not (tmp_path / ".resqpy").exists()


def test_a_flag_beats_the_environment_which_beats_the_file(
    resqpy: Call, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And `config show --origin` tells which it was."""
    (root / "config").mkdir()
    (root / "config" / "redis.py").write_text("def default():\n    return {'namespace': 'file'}\n")

    def namespace(*more: str) -> tuple[str, str]:
        [found] = resqpy("config", "show", "redis.namespace", "--json", *more).json["settings"]
        return found["value"], found["origin"]

    assert namespace() == ("file", "config/redis.py default()")
    monkeypatch.setenv("RESQPY_REDIS_NAMESPACE", "variable")
    assert namespace() == ("variable", "environment RESQPY_REDIS_NAMESPACE")
    assert namespace("--namespace", "flag") == ("flag", "command line")


def test_secrets_are_not_shown(resqpy: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in the table nor as JSON."""
    monkeypatch.setenv("REDIS_URL", "redis://:topsecret@host/0")

    shown = resqpy("config", "show", "redis").out + resqpy("config", "show", "--json").out

    assert "topsecret" not in shown
    assert "***" in shown


def test_every_option_has_a_variable_in_the_help() -> None:
    """Each option of each command names its twin in the environment."""
    missing = [
        f"{ctx.command_path} {param.opts[-1]}"
        for ctx, command in commands()
        for param in command.params
        if isinstance(param, click.Option) and not param.hidden and not _variables(ctx, param)
    ]

    assert missing == []


def test_no_variable_is_refused_by_the_config(
    resqpy: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The config refuses variables of its sections that it does not know; no option has such a one."""
    for ctx, command in commands():
        for param in command.params:
            if isinstance(param, CommandOption) and param.setting is None and not param.is_eager:
                for name in _variables(ctx, param):
                    if name not in {"RESQPY_ROOT", "RESQPY_ENV"}:
                        monkeypatch.setenv(name, "0")

    assert resqpy("config", "show", "general").code == 0


def _variables(ctx: click.Context, param: click.Parameter) -> list[str]:
    return param.variables(ctx) if isinstance(param, CommandOption) else []
