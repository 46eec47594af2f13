"""`resqpy queues`."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import click

from resqpy.base.imports import near_match
from resqpy.base.model import NoList
from resqpy.cli.arguments.flags import option
from resqpy.cli.arguments.session import ask
from resqpy.cli.group import Command, Group
from resqpy.cli.output import cells as views, printing as output
from resqpy.cli.output.printing import Exit
from resqpy.diagnosis import texts

if TYPE_CHECKING:
    from resqpy.engine.inspect.inspector import Inspector


@click.group(cls=Group, default="list")
def queues() -> None:
    """Show queues with their jobs; delete one."""


@queues.command("list")
@option("--match", default="*", metavar="GLOB", help="Only queues whose name matches.")
@option("--waiting", is_flag=True, help="Only queues with waiting jobs.")
def list_(*, match: str, waiting: bool) -> None:
    """Show all queues and how many jobs wait in each."""

    def as_json(pair: tuple[str, int]) -> dict[str, Any]:
        name, length = pair
        problem = {"problem": length.words} if isinstance(length, NoList) else {}
        return {"queue": name, "jobs": length, **problem}

    found = [
        (name, length)
        for name, length in ask(lambda resque: resque.lengths()).items()
        if fnmatchcase(name, match) and (length or not waiting or isinstance(length, NoList))
    ]
    output.listing(
        found, as_json, ("queue", "jobs"), lambda pair: (pair[0], views.length(pair[1])),
        empty="no queues", right=("jobs",),
    )  # fmt: skip


@queues.command(cls=Command, destroys=True)
@click.argument("name")
@option("--dry-run", is_flag=True, help="Only show what would be done.")
def delete(name: str, *, dry_run: bool) -> None:
    """Delete a queue and all its jobs."""
    from resqpy.store.queues import lengths

    async def look(inspector: Inspector) -> int:
        names = await inspector.queues()
        [length] = await lengths(inspector.store, [name])
        if name not in names and not length:
            message = f"there is no queue {name!r}{near_match(name, names)}"
            raise output.fail(Exit.NOT_FOUND, message)
        return length

    length = ask(look)
    if not dry_run:
        output.confirm(f"Delete the queue {name!r} with {texts.counted(length, 'job')}?")
        length = ask(lambda resque: resque.del_queue(name))
    message = "would be deleted" if dry_run else "deleted"
    output.show(
        {"queue": name, "jobs": length, "dry_run": dry_run},
        lambda: output.say(f"{texts.counted(length, 'job')} {message} with the queue {name!r}"),
    )
