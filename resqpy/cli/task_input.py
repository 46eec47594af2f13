"""A task and its inputs as `resqpy task enqueue` and `run` take them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from resqpy.cli.completing import task_names
from resqpy.cli.option_types import Json, json_or_text, read_pairs
from resqpy.cli.options import option, options

if TYPE_CHECKING:
    from resqpy.framework.spec import TaskSpec

# And ActionHero's `--name` and `--args`.
NAME_AND_INPUTS = options(
    click.argument(
        "inputs", nargs=-1, metavar="[NAME] [KEY=VALUE]…", shell_complete=task_names
    ),
    option("--args", "-a", type=Json(), metavar="JSON",
           help="The inputs as a JSON object, besides KEY=VALUE; - reads standard input."),
    option("--name", "-n", "named", metavar="NAME", shell_complete=task_names,
           help="The task, where it is no argument."),
)  # fmt: skip


def read_name_and_inputs(
    named: str | None, args: Any, inputs: tuple[str, ...]
) -> tuple[str, dict[str, Any], dict[str, str]]:
    """The task's name, its inputs from JSON, and those that are words."""
    words = list(inputs)
    name = named or (words.pop(0) if words and "=" not in words[0] else None)
    if name is None:
        raise click.UsageError("say which task: `resqpy task list` shows them")
    if args is not None and not isinstance(args, dict):
        raise click.UsageError("--args: the inputs of a task are an object: '{\"name\": 1}'")
    given = args or {}
    return name, given, read_pairs(words, "KEY=VALUE", given)


def checked_inputs(task: TaskSpec, given: dict[str, Any], words: dict[str, str]) -> dict[str, Any]:
    """All inputs.

    Raises:
        InvalidInputs: all that is wrong.
    """
    found = {**given, **{key: _value(task, key, word) for key, word in words.items()}}
    task.inputs.check(found)
    return found


def _value(task: TaskSpec, key: str, text: str) -> Any:
    """A word as JSON, unless it is none, or the input is a text and nothing else."""
    value = json_or_text(text)
    return value if task.inputs.fits(key, value) or not task.inputs.fits(key, text) else text
