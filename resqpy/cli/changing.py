"""What commands that change many jobs have in common: they count, ask, do it, and tell."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import click

from resqpy.cli import output
from resqpy.cli.session import ask
from resqpy.cli.settings import current
from resqpy.engine.resque import Resque

Work = Callable[[Resque], Awaitable[int]]


def change(
    count: Work,
    do: Work,
    question: Callable[[str], str],
    *,
    noun: str,
    done: str,
    dry_run: bool,
    where: str = "",
) -> None:
    """Do something to jobs, after asking.

    Args:
        count: how many there are.
        do: does it; to how many it did.
        question: what a person is asked, given "3 jobs".
        noun: what they are: "job".
        done: what became of them: "removed".
        where: stands behind that in what is told.
    """
    found = number = ask(current(), count)
    if found and not dry_run:
        output.confirm(question(output.counted(found, noun)))
        number = ask(current(), do)
    words = f"would be {done}" if dry_run else done
    output.show(
        {"found": found, done: 0 if dry_run else number, "dry_run": dry_run},
        lambda: click.echo(f"{output.counted(number, noun)} {words}{where}"),
    )
