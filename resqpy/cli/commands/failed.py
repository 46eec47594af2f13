"""`resqpy failed`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from resqpy.cli import output, times
from resqpy.cli.exits import Exit
from resqpy.cli.group import Command, Group
from resqpy.cli.options import option, options
from resqpy.cli.settings import current

if TYPE_CHECKING:
    from resqpy.base.model import FailedJob
    from resqpy.engine.resque import Resque

Function = Callable[..., Any]


@dataclass(frozen=True)
class Filters:
    """Which failed jobs are meant; empty: any."""

    class_name: tuple[str, ...]
    exception: tuple[str, ...]
    queue: tuple[str, ...]

    @property
    def keywords(self) -> dict[str, Any]:
        """As the `Inspector` takes them."""
        return {name: list(each) or None for name, each in vars(self).items()}

    def __bool__(self) -> bool:
        return any(vars(self).values())


FILTERS = options(
    option("--class", "class_name", multiple=True, metavar="NAME",
           help="Only jobs of this task (may be repeated)."),
    option("--exception", multiple=True, metavar="NAME",
           help="Only jobs that failed by this exception (may be repeated)."),
    option("--queue", multiple=True, metavar="NAME",
           help="Only jobs that failed in this queue (may be repeated)."),
)  # fmt: skip


@click.group(cls=Group, default="list")
def failed() -> None:
    """Show failed jobs; retry or remove them, by id or by class, exception and queue."""


@failed.command("list")
@FILTERS
@option("--limit", default=20, show_default=True, help="At the most so many.")
@option("--oldest", is_flag=True, help="The oldest first, not the latest.")
def list_(*, limit: int, oldest: bool, **wanted: tuple[str, ...]) -> None:
    """Show failed jobs, the latest first."""
    from resqpy.cli import views
    from resqpy.cli.session import ask

    async def look(inspector: Resque) -> tuple[int, list[FailedJob]]:
        count = await inspector.failed_count()
        if not Filters(**wanted):
            edge = (0, limit - 1) if oldest else (-limit, -1)
            return count, (await inspector.failed(*edge) if limit > 0 else [])
        chosen = [each async for each in inspector.each_failed(**Filters(**wanted).keywords)]
        return len(chosen), chosen[:limit] if oldest else chosen[-limit:]

    count, found = ask(current(), look)
    found = found if oldest else found[::-1]
    output.show(
        [views.failed_json(each, backtrace=False) for each in found], lambda: _print(found, count)
    )


def _print(found: Sequence[FailedJob], count: int) -> None:
    from resqpy.cli import views

    rows = [views.failed_cells(each) for each in found]
    output.table(views.FAILED_HEADS, rows, empty="no failed jobs")
    if count > len(found) > 0:
        output.note(f"({len(found)} of {count:,}; --limit shows more)")


@failed.command()
@click.argument("id")
def show(id: str) -> None:  # noqa: A002 - what the user types
    """Show one failed job with its arguments and backtrace."""
    from resqpy.cli import views
    from resqpy.cli.session import ask

    [entry] = ask(current(), lambda inspector: _by_ids(inspector, [id]))
    output.show(views.failed_json(entry, backtrace=True), lambda: _print_one(entry))


def _print_one(entry: FailedJob) -> None:
    from resqpy.base.foreign_time import moment_of
    from resqpy.cli import views

    failed_ms = moment_of(entry.failed_at)
    output.properties(
        {
            "id": views.failed_id(entry),
            "class": entry.class_name,
            "queue": entry.queue,
            "args": views.args(entry.args),
            "failed": f"{times.local(failed_ms)}, {times.distance(failed_ms)}"
            if failed_ms
            else entry.failed_at,
            "worker": entry.worker,
            "exception": entry.exception,
            "error": entry.error,
        }
    )
    for line in entry.backtrace:
        click.echo(f"  {output.text(line)}")


@failed.command(cls=Command, destroys=True)
@click.argument("ids", nargs=-1, metavar="[ID]…")
@FILTERS
@option("--all", "all_of_them", is_flag=True, help="All failed jobs.")
@option(
    "--to-queue", metavar="NAME", help="Not to the queue in which they failed, but to this one."
)
@option("--dry-run", is_flag=True, help="Only tell what would be retried.")
def retry(
    ids: tuple[str, ...], *, all_of_them: bool, to_queue: str | None, dry_run: bool,
    **wanted: tuple[str, ...],
) -> int:  # fmt: skip
    """Put failed jobs back into their queues, with their exact bytes.

    The locks and enqueue hooks of their tasks are asked; a job that they forbid stays. Exit code 6 if
    one of several ids was forbidden.
    """
    choice = _Choice(ids, Filters(**wanted), all_of_them=all_of_them)

    async def one(resque: Resque, entry: FailedJob) -> bool:
        return await resque.retry_and_remove_failed(entry, to_queue)

    async def many(resque: Resque) -> int:
        return await resque.retry_all_failed(**choice.filters.keywords, to_queue=to_queue)

    return _do(choice, "retry", "retried", one, many, dry_run=dry_run, ask=False)


@failed.command(cls=Command, destroys=True)
@click.argument("ids", nargs=-1, metavar="[ID]…")
@FILTERS
@option("--all", "all_of_them", is_flag=True, help="All failed jobs.")
@option("--dry-run", is_flag=True, help="Only tell what would be removed.")
def remove(
    ids: tuple[str, ...], *, all_of_them: bool, dry_run: bool, **wanted: tuple[str, ...]
) -> int:
    """Remove failed jobs for ever."""
    choice = _Choice(ids, Filters(**wanted), all_of_them=all_of_them)

    async def one(resque: Resque, entry: FailedJob) -> bool:
        return await resque.remove_failed(entry) == 1

    async def many(resque: Resque) -> int:
        return await resque.remove_all_failed(**choice.filters.keywords)

    return _do(choice, "remove", "removed", one, many, dry_run=dry_run, ask=True)


class _Choice:
    """The failed jobs that a command is about."""

    def __init__(self, ids: Sequence[str], filters: Filters, *, all_of_them: bool) -> None:
        if bool(ids) + bool(filters) + all_of_them != 1:
            raise click.UsageError(
                "say which: ids (see `resqpy failed list`), or --class, --exception or --queue, "
                "or --all"
            )
        self.ids = ids
        self.filters = filters

    async def entries(self, resque: Resque) -> list[FailedJob]:
        """Those that are there."""
        if self.ids:
            return await _by_ids(resque, self.ids)
        return [each async for each in resque.each_failed(**self.filters.keywords)]

    async def count(self, resque: Resque) -> int:
        """How many there are."""
        if self.ids or self.filters:
            return len(await self.entries(resque))
        return await resque.failed_count()


def _do(
    choice: _Choice, verb: str, done: str, one: Function, many: Function, *, dry_run: bool, ask: bool
) -> int:  # fmt: skip
    from resqpy.cli.session import ask_with_tasks

    async def look(resque: Resque, _: Any) -> int:
        return await choice.count(resque)

    async def act(resque: Resque, _: Any) -> int:
        if choice.ids:
            return sum([await one(resque, entry) for entry in await choice.entries(resque)])
        return int(await many(resque))

    found = ask_with_tasks(current(), look)
    if found and not dry_run and (ask or not choice.ids):
        output.confirm(f"{verb.capitalize()} {output.counted(found, 'failed job')}?")
    number = found if dry_run else ask_with_tasks(current(), act) if found else 0
    words = f"would be {done}" if dry_run else done
    result = {"found": found, done: 0 if dry_run else number, "dry_run": dry_run}
    output.show(result, lambda: click.echo(f"{output.counted(number, 'failed job')} {words}"))
    return Exit.NO if choice.ids and number < found else Exit.OK


async def _by_ids(inspector: Resque, ids: Sequence[str]) -> list[FailedJob]:
    """The entries whose ids begin so.

    Raises:
        click.ClickException: there is none, or there are several.
    """
    from resqpy.cli import views

    found: dict[str, dict[str, FailedJob]] = {each.lower(): {} for each in ids}
    async for entry in inspector.each_failed():
        digest = views.failed_id(entry)
        for wanted, matches in found.items():
            if digest.startswith(wanted):
                matches[digest] = entry
    for wanted, matches in found.items():
        if len(matches) != 1:
            what = "no failed job has" if not matches else f"{len(matches)} failed jobs have"
            raise output.fail(Exit.NOT_FOUND, f"{what} an id that begins with {wanted!r}")
    return [entry for matches in found.values() for entry in matches.values()]
