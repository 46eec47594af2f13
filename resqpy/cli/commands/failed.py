"""`resqpy failed`."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import click

from resqpy.cli.arguments.flags import MILLISECONDS, option, options
from resqpy.cli.arguments.session import ask, tasks_of
from resqpy.cli.group import Command, Group
from resqpy.cli.output import cells as views, printing as output
from resqpy.cli.output.printing import Exit
from resqpy.diagnosis import texts
from resqpy.diagnosis.workers import ID_LENGTH, failed_id, failed_json, group_json

if TYPE_CHECKING:
    from resqpy.base.model import FailedJob
    from resqpy.engine.inspect.inspector import Resque
    from resqpy.engine.inspect.retry_watch import WatchedRetry

FILTERS = options(
    option("--class", "class_name", multiple=True, metavar="NAME",
           help="Only jobs of this task (may be repeated)."),
    option("--exception", multiple=True, metavar="NAME",
           help="Only jobs that failed with this exception (may be repeated)."),
    option("--queue", multiple=True, metavar="NAME",
           help="Only jobs that failed in this queue (may be repeated)."),
)  # fmt: skip


@click.group(cls=Group, default="list")
def failed() -> None:
    """Show and count failed jobs; retry or remove them, by id or by class, exception and queue."""


@failed.command("list")
@FILTERS
@option("--limit", default=20, show_default=True, help="At most this many.")
@option("--oldest", is_flag=True, help="Oldest first.")
def list_(*, limit: int, oldest: bool, **wanted: Any) -> None:
    """Show failed jobs, the latest first."""
    from resqpy.cli.selection.failed import Filters

    async def look(inspector: Resque) -> tuple[int, list[FailedJob]]:
        count = await inspector.failed_count()
        if not Filters(**wanted):
            edge = (0, limit - 1) if oldest else (-limit, -1)
            return count, (await inspector.failed(*edge) if limit > 0 else [])
        count, kept = 0, deque["FailedJob"](maxlen=None if oldest else max(limit, 0))
        async for each in inspector.each_failed(**Filters(**wanted).keywords):
            if not oldest or count < limit:
                kept.append(each)
            count += 1
        return count, list(kept)

    count, found = ask(look)
    found = found if oldest else found[::-1]
    tasks = tasks_of(found) if output.wants_json() else {}
    output.listing(
        found,
        lambda each: _json(each, tasks, backtrace=False),
        views.FAILED_HEADS,
        views.failed_cells,
        empty=_none(wanted),
    )
    if count > len(found) > 0 and not output.wants_json():
        output.note(f"({len(found)} of {count:,}; --limit shows more)")


def _none(wanted: dict[str, Any]) -> str:
    return "no such failed jobs" if any(wanted.values()) else "no failed jobs"


@failed.command()
@FILTERS
@option("--limit", default=20, show_default=True, help="Show at most this many groups.")
def groups(*, limit: int, **wanted: Any) -> None:
    """Count failed jobs by task and exception, the largest group first."""
    from resqpy.cli.selection.failed import Filters

    found = ask(lambda resque: resque.failed_groups(**Filters(**wanted).keywords))
    shown = found[:limit]
    output.listing(
        shown,
        group_json,
        views.GROUP_HEADS,
        views.group_cells,
        empty=_none(wanted),
        right=("jobs",),
    )
    if len(found) > len(shown) > 0 and not output.wants_json():
        output.note(f"({len(shown)} of {len(found):,} groups; --limit shows more)")


@failed.command()
@click.argument("id")
def show(id: str) -> None:  # noqa: A002 - what the user types
    """Show one failed job with its arguments and backtrace."""
    from resqpy.cli.selection.failed import by_ids

    [entry] = ask(lambda inspector: by_ids(inspector, [id]))
    tasks = tasks_of([entry])
    output.show(_json(entry, tasks, backtrace=True), lambda: _print_one(entry, tasks))


def _json(entry: FailedJob, tasks: views.Tasks, *, backtrace: bool) -> dict[str, Any]:
    shown = failed_json(entry, output.redaction(), backtrace=backtrace)
    return views.with_inputs(shown, entry, tasks)


def _print_one(entry: FailedJob, tasks: views.Tasks) -> None:
    shown = {
        "id": failed_id(entry),
        "class": entry.class_name,
        "queue": entry.queue,
        "args": views.job_args(entry, tasks),
        "failed": _when(entry.failed_at),
    }
    if entry.retried_at is not None:
        shown["retried"] = f"{_when(entry.retried_at)}, by Ruby, which keeps it in the list"
    shown |= {"worker": entry.worker, "exception": entry.exception, "error": entry.error}
    output.properties(shown)
    for line in entry.backtrace:
        output.say("  ", line)


def _when(written: Any) -> Any:
    """A time for display; unchanged if it can't be parsed."""
    from resqpy.base.foreign_time import moment_of

    ms = moment_of(written)
    return f"{texts.local(ms)}, {texts.distance(ms)}" if ms else written


@failed.command(cls=Command, destroys=True)
@click.argument("ids", nargs=-1, metavar="[ID]…")
@FILTERS
@option("--all", "all_of_them", is_flag=True, help="All failed jobs.")
@option(
    "--to-queue", metavar="NAME", help="Use this queue instead of the one in which they failed."
)
@option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    metavar="N",
    help="At most this many per second, to limit the load.",
)
@option(
    "--retried",
    is_flag=True,
    help="Include those that Ruby has retried already, which it keeps in the list.",
)
@option(
    "--watch",
    "watch_ms",
    type=MILLISECONDS,
    metavar="DURATION",
    help="Retry 1, 2, 4, … jobs, wait this long after each step, such as 10s, and stop if they fail again.",
)
@option("--dry-run", is_flag=True, help="Only show what would be retried.")
def retry(
    ids: tuple[str, ...], *, all_of_them: bool, to_queue: str | None, rate: float | None,
    retried: bool, watch_ms: int | None, dry_run: bool, **wanted: Any,
) -> int:  # fmt: skip
    """Put failed jobs back into their queues, with their exact bytes.

    The locks and enqueue hooks of their tasks apply; a job that they forbid stays. Exit code 6 if no job
    matches, or fewer were retried than found; with --watch, if one failed again in the same way (task and
    exception), or still waits after a step: what was not retried by then stays.
    """
    from resqpy.cli.selection.failed import FailedChoice, Filters, carry_out
    from resqpy.engine.inspect.retry_watch import retry_watched

    choice = FailedChoice(ids, Filters(**wanted), all_of_them=all_of_them, again=retried)
    if ids and (rate or watch_ms):
        name = "--rate" if rate else "--watch"
        raise click.UsageError(f"{name} is for --all and filters, not for single ids")
    if watch_ms is not None and (rate or retried):
        raise click.UsageError("--watch has a pace of its own, without --rate and --retried")

    async def one(resque: Resque, entry: FailedJob) -> bool:
        return await resque.retry_and_remove_failed(entry, to_queue)

    stopped: list[str] = []

    async def many(resque: Resque) -> int:
        if watch_ms is not None:
            done = await retry_watched(
                resque, watch_ms / 1000, to_queue=to_queue, **choice.filters.keywords
            )
            stopped.extend(_stopped(done))
            return done.retried
        wanted = choice.filters.keywords | {"to_queue": to_queue, "rate": rate}
        return await resque.retry_all_failed(**wanted, retried=retried)

    why = "stay: gone meanwhile, without a job, or forbidden by a lock or hook of their task"
    why += ", or left since it was stopped" if watch_ms is not None else ""
    question = "" if ids else "Retry"
    code = carry_out(
        choice, "retried", one, many, dry_run=dry_run, question=question, why_less=why, rate=rate
    )
    for each in stopped:
        output.warn(f"stopped: {each}")
    return Exit.NO if stopped else code


def _stopped(done: WatchedRetry) -> list[str]:
    """Why it ended early, if it did."""
    if (back := done.back) is not None:
        what = ": ".join(filter(None, (back.exception, back.error)))
        return [f"{back.class_name} failed again ({failed_id(back)[:ID_LENGTH]}): {what}"]
    if done.unserved:
        words = f"what was retried still waits in the queue {done.unserved!r}, so it may fail again"
        return [f"{words}: start a worker, or give --watch more time"]
    return []


@failed.command(cls=Command, destroys=True)
@click.argument("ids", nargs=-1, metavar="[ID]…")
@FILTERS
@option(
    "--older-than",
    type=MILLISECONDS,
    metavar="DURATION",
    help="Only those that failed longer ago than this: 30d, 12h.",
)
@option(
    "--retried",
    "only_retried",
    is_flag=True,
    help="Only those that Ruby has retried already, which it keeps in the list.",
)
@option("--all", "all_of_them", is_flag=True, help="All failed jobs.")
@option("--dry-run", is_flag=True, help="Only show what would be removed.")
def remove(ids: tuple[str, ...], *, all_of_them: bool, dry_run: bool, **wanted: Any) -> int:
    """Remove failed jobs permanently.

    Exit code 6 if no job matches, or fewer were removed than found.
    """
    from resqpy.cli.selection.failed import FailedChoice, Filters, carry_out

    choice = FailedChoice(ids, Filters(**wanted), all_of_them=all_of_them)

    async def one(resque: Resque, entry: FailedJob) -> bool:
        return await resque.remove_failed(entry) == 1

    async def many(resque: Resque) -> int:
        return await resque.remove_all_failed(**choice.filters.keywords)

    return carry_out(choice, "removed", one, many, dry_run=dry_run, question="Remove")
