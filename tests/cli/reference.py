"""The generated part of docs/reference/cli.md: `python -m tests.cli.reference` writes it anew."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import click

from resqpy.cli.arguments.flags import CommandOption
from resqpy.cli.main import COMMANDS, cli
from resqpy.cli.output.printing import Exit

DOC = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"
BEGIN = "<!-- generated: python -m tests.cli.reference -->\n"
END = "<!-- end of what is generated -->\n"

EXITS = {
    Exit.OK: "done; yes",
    Exit.ERROR: "something went wrong that is none of the others; a task that was run raised",
    Exit.USAGE: "an option, an argument or a task's inputs are wrong",
    Exit.PROJECT: "the project's files or its config are wrong: each problem with file and line",
    Exit.REDIS: "Redis can't be reached, or refuses",
    Exit.NOT_FOUND: "no such task, queue, job, worker or lock",
    Exit.NO: "the answer is no: not healthy, problems found, forbidden by a plugin, a file exists; or less was "
    "done than was asked for, or nothing, as a line says",
    Exit.RUNNING: "such a process runs already (`--pidfile`)",
    Exit.INTERRUPTED: "Ctrl-C",
}
SHARED = ("root", "app", "env", "redis", "namespace", "debug", "json", "yes")


def commands() -> Iterator[tuple[click.Context, click.Command]]:
    """All commands with their contexts, groups resolved to their commands."""
    top = click.Context(cli, info_name="resqpy", auto_envvar_prefix="RESQPY")
    yield from _below(top, cli)


def _below(ctx: click.Context, group: click.Group) -> Iterator[tuple[click.Context, click.Command]]:
    names = list(COMMANDS) if group is cli else group.list_commands(ctx)
    for name in names:
        command = group.get_command(ctx, name)
        assert command is not None
        inner = click.Context(command, parent=ctx, info_name=name, **command.context_settings)
        if isinstance(command, click.Group):
            yield from _below(inner, command)
        else:
            yield inner, command


def generated() -> str:
    """The exit codes, and all commands with their options."""
    lines = ["## Exit codes", "", "| code | meaning |", "|---|---|"]
    lines += [f"| {code.value} | {words} |" for code, words in EXITS.items()]
    sections: dict[str, list[str]] = {}
    for ctx, command in commands():
        entry = COMMANDS[ctx.command_path.split()[1]]
        sections.setdefault(entry.section, []).extend(_of_command(ctx, command))
    for section, own in sections.items():
        lines += ["", f"## {section}", *own]
    return "\n".join(lines) + "\n"


def _of_command(ctx: click.Context, command: click.Command) -> Iterator[str]:
    arguments = " ".join(
        param.make_metavar(ctx) for param in command.params if isinstance(param, click.Argument)
    )
    yield from ("", f"### `{f'{ctx.command_path} {arguments}'.strip()}`", "")
    parent = ctx.parent
    if parent is not None and getattr(parent.command, "default", None) == ctx.info_name:
        yield from (f"Also `{parent.command_path}`.", "")
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    yield "\n\n".join(" ".join(each.split()) for each in paragraphs)
    own = [
        param
        for param in command.params
        if isinstance(param, CommandOption) and param.name not in SHARED
    ]
    if own:
        yield from ("", "| option | | variable |", "|---|---|---|")
        yield from (_row(ctx, param) for param in own)


def _row(ctx: click.Context, option: CommandOption) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    value = "" if option.is_flag else f" `{option.make_metavar(ctx)}`"
    variables = ", ".join(f"`{name}`" for name in option.variables(ctx))
    words = (option.help or "").replace("|", "\\|")
    return f"| {names}{value} | {words} | {variables} |"


def in_document(text: str) -> str:
    """A document with its generated part as it should be."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{generated()}\n{END}{rest.partition(END)[2]}"


__all__ = ["DOC", "in_document"]

if __name__ == "__main__":
    DOC.write_text(in_document(DOC.read_text()))
