"""`resqpy top`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from resqpy.cli import output
from resqpy.cli.exits import Exit
from resqpy.cli.group import command
from resqpy.cli.options import WithUnit, option
from resqpy.cli.settings import current

if TYPE_CHECKING:
    from resqpy.engine.resque import Resque


@command(json=False)
@option(
    "--interval",
    type=WithUnit(),
    default="1s",
    show_default=True,
    metavar="DURATION",
    help="How often to look.",
)
@option("--rounds", type=int, metavar="N", help="End after N looks (default: Ctrl-C ends it).")  # fmt: skip
def top(*, interval: str, rounds: int | None) -> int:
    """Show queues, workers and rates, live. Ctrl-C ends it."""
    from resqpy.cli import live
    from resqpy.cli.session import ask
    from resqpy.framework.kinds import parse_duration

    if rounds is None and not sys.stdout.isatty():
        raise output.fail(Exit.USAGE, "top is for a terminal; `resqpy info --json` is for programs")
    seconds = parse_duration(interval) / 1000

    async def look(resque: Resque) -> None:
        await live.watch(resque, seconds, rounds)

    try:
        ask(current(), look)
    except KeyboardInterrupt:
        click.echo()
    return Exit.OK
