"""`resqpy queues`."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import click

from resqpy.cli import output, views
from resqpy.cli.exits import Exit
from resqpy.cli.group import Command, Group
from resqpy.cli.options import option
from resqpy.cli.settings import current

if TYPE_CHECKING:
    from resqpy.engine.inspector import Inspector
    from resqpy.engine.resque import Resque


@click.group(cls=Group, default="list")
def queues() -> None:
    """Show queues with their jobs; delete one."""


@queues.command("list")
@option("--match", default="*", metavar="GLOB", help="Only queues whose name fits.")
@option("--waiting", is_flag=True, help="Only queues in which jobs wait.")
def list_(*, match: str, waiting: bool) -> None:
    """Show all queues and how many jobs wait in each."""
    from resqpy.base.model import NoList
    from resqpy.cli.session import ask

    async def look(inspector: Inspector) -> dict[str, int]:
        return await inspector.lengths()

    found = {
        name: length
        for name, length in ask(current(), look).items()
        if fnmatchcase(name, match) and (length or not waiting or isinstance(length, NoList))
    }
    output.show(
        [{"queue": name, "jobs": length, **_problem(length)} for name, length in found.items()],
        lambda: output.table(
            ("queue", "jobs"),
            [(name, views.length(length)) for name, length in found.items()],
            empty="no queues",
            right=("jobs",),
        ),
    )


def _problem(length: int) -> dict[str, str]:
    from resqpy.base.model import NoList

    return {"problem": length.words} if isinstance(length, NoList) else {}


@queues.command(cls=Command, destroys=True)
@click.argument("name")
@option("--dry-run", is_flag=True, help="Only tell what would be done.")
def delete(name: str, *, dry_run: bool) -> None:
    """Delete a queue and all jobs that wait in it."""
    from resqpy.base.imports import near_match
    from resqpy.cli.session import ask
    from resqpy.store.queues import lengths

    async def look(inspector: Inspector) -> int:
        names = await inspector.queues()
        [length] = await lengths(inspector.store, [name])
        if name not in names and not length:
            words = f"there is no queue {name!r}{near_match(name, names)}"
            raise output.fail(Exit.NOT_FOUND, words)
        return length

    length = ask(current(), look)
    if not dry_run:
        output.confirm(f"Delete the queue {name!r} with {output.counted(length, 'job')}?")

        async def do(queue: Resque) -> int:
            return await queue.del_queue(name)

        length = ask(current(), do)
    words = "would be deleted" if dry_run else "deleted"
    output.show(
        {"queue": name, "jobs": length, "dry_run": dry_run},
        lambda: output.say(f"{output.counted(length, 'job')} {words} with the queue {name!r}"),
    )
