"""`resqpy limits`."""

from __future__ import annotations

from typing import Any

import click

from resqpy.base.model import RunningLimit
from resqpy.cli.arguments.flags import option
from resqpy.cli.arguments.session import ask
from resqpy.cli.commands.queues import known_queue
from resqpy.cli.group import Group
from resqpy.cli.output import printing as output
from resqpy.cli.output.printing import Exit
from resqpy.diagnosis.workers import all_workers, limit_words, unbound_by_queue_rule
from resqpy.engine.inspect.inspector import Resque


@click.group(cls=Group, default="list")
def limits() -> None:
    """Show and set how many jobs of a queue may run at once, in all processes of resqpy."""


@limits.command("list")
def list_() -> None:
    """Show all limits, and how many jobs run and wait."""

    async def look(resque: Resque) -> list[tuple[str, RunningLimit, int]]:
        found = await resque.running_limits()
        return [(name, found[name], await resque.length(name)) for name in sorted(found)]

    def as_json(row: tuple[str, RunningLimit, int]) -> dict[str, Any]:
        name, limit, waiting = row
        return {
            "queue": name,
            "limit": limit.most,
            "running": list(limit.running),
            "waiting": waiting,
        }

    output.listing(
        ask(look), as_json, ("queue", "limit", "running", "waiting"),
        lambda row: (row[0], str(row[1].most), str(len(row[1].running)), str(row[2])),
        empty="no limits", right=("limit", "running", "waiting"),
    )  # fmt: skip


@limits.command("set")
@click.argument("queue")
@click.argument("most", type=int)
@option("--new", is_flag=True, help="The queue may be one that has no jobs yet.")
def set_(queue: str, most: int, *, new: bool) -> None:
    """Let at most MOST jobs of a queue and its sub-queues run at once; 0: none.

    Jobs that run go on, also where there are more of them. It holds until it is removed. Ruby's, Node's and
    PHP's workers don't know of it.
    """

    async def do(resque: Resque) -> tuple[int | None, str]:
        if not new:
            await known_queue(resque, queue, "; if it is to come: --new")
        before = await resque.limit_running(queue, most)
        found, now_ms = await all_workers(resque), await resque.now_ms()
        return before, unbound_by_queue_rule(found, queue, now_ms)

    before, unbound = ask(do)
    was = "" if before is None else f" (before: {before})"
    words = f"{limit_words(queue, most)}{was}"
    output.show({"queue": queue, "limit": most, "before": before}, lambda: output.say(words))
    if unbound:
        output.warn(f"{words}{unbound}")


@limits.command()
@click.argument("queue")
def remove(queue: str) -> None:
    """Remove the limit of a queue."""
    before = ask(lambda resque: resque.limit_running(queue, None))
    if before is None:
        raise output.fail(Exit.NOT_FOUND, f"the queue {queue!r} has no limit: resqpy limits")
    output.show(
        {"queue": queue, "limit": None, "before": before},
        lambda: output.say(f"the queue {queue!r} has no limit any more (before: {before})"),
    )
