"""`resqpy completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from resqpy.cli import output
from resqpy.cli.group import command

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
