"""`resqpy console`, `completion`, `version`."""

from __future__ import annotations

import platform

import click
from click.shell_completion import get_completion_class

from resqpy.base.imports import own_version, package_version
from resqpy.cli.arguments.flags import option
from resqpy.cli.group import command
from resqpy.cli.output import printing as output


@command(json=False)
@option(
    "--code", "-c", metavar="PYTHON", help="Run this instead of asking for input; await is allowed."
)
def console(*, code: str | None) -> int:
    """A Python prompt with the project started: `await api.tasks.enqueue(…)`.

    `api`, `project` and `process` are defined, and the project's tasks by their Python names. It runs no
    worker.
    """
    from resqpy.base.concurrency.loops import LOST, Pending
    from resqpy.cli.interactive import prompt

    lost = [*LOST]
    result = prompt.run(code)
    if result is not None and not isinstance(result, Pending):
        output.say(repr(result))
    del result  # the log says that nobody awaited it
    if [*LOST] != lost and code is not None:
        return output.Exit.ERROR
    return output.Exit.OK


@command(project=False)
def version() -> None:
    """Show the versions of resqpy, Python and the Redis client."""
    versions = {
        "resqpy": own_version(),
        "python": platform.python_version(),
        "redis-py": package_version("redis"),
    }
    if output.wants_json():
        output.json(versions)
    else:
        for name, number in versions.items():
            output.say(f"{name:<9} {number}")


FILES = {"bash": "~/.bashrc", "zsh": "~/.zshrc", "fish": "~/.config/fish/completions/resqpy.fish"}


@command(json=False, project=False)
@click.argument("shell", type=click.Choice(sorted(FILES)))
def completion(shell: str) -> None:
    """Print the completion script of a shell.

    bash, zsh: add the line `eval "$(resqpy completion bash)"` to ~/.bashrc or ~/.zshrc; fish: resqpy
    completion fish > ~/.config/fish/completions/resqpy.fish
    """
    from resqpy.cli.main import COMPLETE_VARIABLE, cli

    kind = get_completion_class(shell)
    assert kind is not None  # click knows all three
    output.say_block(kind(cli, {}, "resqpy", COMPLETE_VARIABLE).source() + "\n")
