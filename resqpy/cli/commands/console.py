"""`resqpy console`."""

from __future__ import annotations

from resqpy.cli import output
from resqpy.cli.group import command
from resqpy.cli.options import option
from resqpy.cli.settings import current


@command(json=False)
@option(
    "--code", "-c", metavar="PYTHON", help="Run this instead of asking for input; await is allowed."
)
def console(*, code: str | None) -> None:
    """A Python prompt with the project started: `await api.tasks.enqueue(…)`.

    `api`, `project` and `process` are there, and the project's tasks by their Python names. There is
    no worker in it.
    """
    from resqpy.cli import prompt

    result = prompt.run(current(), code)
    if result is not None:
        output.say(repr(result))
