"""`resqpy top`."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING

import click

from resqpy.base.when import parse_duration
from resqpy.cli.arguments.flags import WITH_UNIT, option
from resqpy.cli.arguments.session import ask
from resqpy.cli.group import command
from resqpy.cli.output import printing as output
from resqpy.cli.output.printing import Exit

if TYPE_CHECKING:
    from resqpy.engine.inspect.inspector import Resque


@command(json=False)
@option(
    "--interval",
    type=WITH_UNIT,
    default="1s",
    show_default=True,
    metavar="DURATION",
    help="Seconds or duration between updates.",
)
@option("--rounds", type=click.IntRange(1), metavar="N",
        help="Stop after N updates (default: until q or Ctrl-C).")  # fmt: skip
def top(*, interval: str, rounds: int | None) -> int:
    """Show queues, workers and rates, live. q or Ctrl-C quits, any other key updates immediately.

    Ctrl-Z suspends it until `fg`. While Redis is unreachable it waits.
    """
    from resqpy.cli.interactive import top as live
    from resqpy.cli.interactive.top import terminal

    if rounds is None and not sys.stdout.isatty():
        raise output.fail(Exit.USAGE, "top is for a terminal; `resqpy info --json` is for programs")
    seconds = parse_duration(interval) / 1000

    async def look(resque: Resque) -> None:
        with terminal() as place, live.interruptible(place):
            await live.watch(resque, place, seconds, rounds)

    with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):  # ways to quit
        ask(look)
    return Exit.OK
