"""`resqpy locks`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from resqpy.base.imports import near_match
from resqpy.cli.arguments.flags import option
from resqpy.cli.arguments.session import ask
from resqpy.cli.group import Command, Group
from resqpy.cli.output import printing as output
from resqpy.cli.output.printing import Exit
from resqpy.diagnosis import texts

if TYPE_CHECKING:
    from resqpy.engine.inspect.inspector import Resque

_NAMES = 1000  # searched for the nearest


@click.group(cls=Group, default="list")
def locks() -> None:
    """Show the locks of QueueLock and JobLock, of all languages; remove one."""


@locks.command("list")
@option(
    "--limit",
    type=click.IntRange(1),
    default=1000,
    show_default=True,
    help="At most this many.",
)
def list_(*, limit: int) -> None:
    """Show the locks and when each expires. It scans all keys of the database, in steps."""
    from resqpy.store import locks

    async def look(resque: Resque) -> tuple[int, dict[str, str]]:
        return await resque.now_ms(), await locks.some(resque.store, limit + 1)

    now_ms, found = ask(look)
    more, names = len(found) > limit, sorted(found)[:limit]
    output.listing(
        [(name, locks.ends_ms(found[name])) for name in names],
        lambda e: {"lock": e[0], "ends_at": texts.iso(e[1]), "ends_at_ms": e[1]},
        ("ends", "lock"),
        lambda e: (texts.distance(e[1], now_ms), e[0]),
        empty="no locks",
    )
    if more:
        output.note(f"(there are more than these {limit:,}: see --limit)")


@locks.command(cls=Command, destroys=True)
@click.argument("name")
@option("--dry-run", is_flag=True, help="Only show whether it exists.")
def remove(name: str, *, dry_run: bool) -> int:
    """Remove a lock by its name in `resqpy locks`. Exit code 6 if it is gone meanwhile."""
    from resqpy.store import locks

    async def look(resque: Resque) -> str:
        if await locks.exists(resque.store, name):
            return name
        return _only(name, list(await resque.locks()))

    found, removed = ask(look), 0
    if not dry_run:
        output.confirm(f"Remove the lock {name!r}, which may still be in use?")
        removed = ask(lambda resque: resque.del_lock(found))
    gone = not dry_run and not removed
    message = "would be removed" if dry_run else "removed" if removed else "not removed: it is gone"
    result = {"lock": name, "removed": removed, "dry_run": dry_run}
    output.show(result, lambda: output.say(f"{name} {message}"))
    return Exit.NO if gone else Exit.OK


def _only(name: str, locks: list[str]) -> str:
    """The lock with a displayed name, which lacks characters that are unsafe for a terminal."""
    found = [each for each in locks if output.text(each) == name]
    if len(found) > 1:
        raise output.fail(Exit.USAGE, f"{len(found)} locks are shown as {name!r}")
    if not found:
        message = (
            f"there is no lock {name!r}{near_match(name, locks[:_NAMES])} (see `resqpy locks`)"
        )
        raise output.fail(Exit.NOT_FOUND, message)
    return found[0]
