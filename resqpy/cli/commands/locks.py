"""`resqpy locks`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from resqpy.cli import output, times
from resqpy.cli.exits import Exit
from resqpy.cli.group import Command, Group
from resqpy.cli.options import option
from resqpy.cli.settings import current

if TYPE_CHECKING:
    from resqpy.engine.resque import Resque


@click.group(cls=Group, default="list")
def locks() -> None:
    """Show the locks of QueueLock and JobLock, of all languages; remove one."""


@locks.command("list")
@option(
    "--limit", type=click.IntRange(1), default=1000, show_default=True, help="At the most so many."
)
def list_(*, limit: int) -> None:
    """Show the locks and when each ends. It looks at every key of the database, in steps."""
    from resqpy.cli.session import ask
    from resqpy.store import locks

    async def look(resque: Resque) -> tuple[int, dict[str, str]]:
        return await resque.now_ms(), await locks.some(resque.store, limit + 1)

    now_ms, found = ask(current(), look)
    more, names = len(found) > limit, sorted(found)[:limit]
    ends = {name: _ends_ms(found[name]) for name in names}
    output.show(
        [{"lock": name, "ends_at": times.iso(ms), "ends_at_ms": ms} for name, ms in ends.items()],
        lambda: output.table(
            ("ends", "lock"),
            [(times.distance(ms, now_ms), name) for name, ms in ends.items()],
            empty="no locks",
        ),
    )
    if more:
        output.note(f"(there are more than these {limit:,}: see --limit)")


def _ends_ms(value: str) -> int | None:
    return int(value) * 1000 if value.isascii() and value.isdigit() and len(value) < 12 else None


@locks.command(cls=Command, destroys=True)
@click.argument("name")
@option("--dry-run", is_flag=True, help="Only tell whether it is there.")
def remove(name: str, *, dry_run: bool) -> None:
    """Remove a lock by its name, as `resqpy locks` shows it."""
    from resqpy.cli.session import ask
    from resqpy.store import locks

    async def look(resque: Resque) -> list[str]:
        if await locks.exists(resque.store, name):
            return [name]
        return [each for each in await resque.locks() if output.text(each) == name]

    async def do(resque: Resque) -> int:
        return await resque.del_lock(found[0])

    found = ask(current(), look)
    if not found:
        raise output.fail(Exit.NOT_FOUND, f"there is no lock {name!r}")
    if len(found) > 1:
        raise output.fail(Exit.USAGE, f"{len(found)} locks are shown as {name!r}")
    if not dry_run:
        output.confirm(f"Remove the lock {name!r}, which somebody may rely on?")
        ask(current(), do)
    words = "would be removed" if dry_run else "removed"
    output.show({"lock": name, "dry_run": dry_run}, lambda: output.say(f"{name} {words}"))
