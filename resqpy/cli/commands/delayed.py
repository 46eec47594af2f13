"""`resqpy delayed`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from resqpy.cli.arguments.flags import JSON, MOMENT, option, options
from resqpy.cli.arguments.session import ask, tasks_of
from resqpy.cli.commands.jobs import ARGS_HELP, wanted_jobs
from resqpy.cli.group import Command, Group
from resqpy.cli.output import cells as views, printing as output
from resqpy.diagnosis import texts
from resqpy.diagnosis.workers import job_json

if TYPE_CHECKING:
    from resqpy.base.model import Job
    from resqpy.base.reading import JobFilter
    from resqpy.engine.inspect.inspector import Resque
    from resqpy.engine.inspect.walking import SearchResult


@click.group(cls=Group, default="list")
def delayed() -> None:
    """Show delayed jobs; remove some, or run them now."""


@delayed.command("list")
@option("--class", "class_name", metavar="NAME", help="Only jobs of this task.")
@option("--queue", metavar="NAME", help="Only jobs for this queue.")
@option("--args", type=JSON, metavar="JSON", help=ARGS_HELP)
@option("--overdue", is_flag=True, help="Only jobs that are overdue.")
@option("--limit", default=50, show_default=True, help="At most this many.")
def list_(
    *, class_name: str | None, queue: str | None, args: Any, overdue: bool, limit: int
) -> None:  # fmt: skip
    """Show delayed jobs, the next first."""
    from resqpy.base import reading
    from resqpy.base.reading import JobFilter
    from resqpy.engine.inspect.waiting_jobs import delayed_items

    wanted = wanted_jobs(class_name, args, queue)

    async def look(resque: Resque) -> tuple[int, list[tuple[int, Job]]]:
        now_ms = await resque.now_ms()
        found: list[tuple[int, Job]] = []
        async for second, raw in delayed_items(resque.store):
            if len(found) == limit or (overdue and second * 1000 > now_ms):
                break
            if wanted.means(raw):
                found.append((second * 1000, reading.show_delayed(raw)))
        return now_ms, found

    def cells(each: tuple[int, Job]) -> tuple[str | None, ...]:
        ms, job = each
        class_name, args = views.job_cells(job, tasks)
        return texts.local(ms), texts.distance(ms, now_ms), class_name, job.queue, args

    def as_json(each: tuple[int, Job]) -> dict[str, Any]:
        ms, job = each
        shown = views.with_inputs(job_json(job, output.redaction()), job, tasks)
        return {"at": texts.iso(ms), "at_ms": ms, **shown}

    now_ms, found = ask(look)
    tasks = tasks_of(job for _, job in found)
    output.listing(
        found,
        as_json,
        ("at", "due", "class", "queue", "args"),
        cells,
        empty="no delayed jobs"
        if wanted == JobFilter() and not overdue
        else "no such delayed jobs",
    )


CHOICE = options(
    option(
        "--at",
        type=MOMENT,
        metavar="TIME",
        help="Everything due at this time: ISO 8601, `now`, `+1d`, or milliseconds.",
    ),
    option("--class", "class_name", metavar="NAME", help="Jobs of this task."),
    option("--queue", metavar="NAME", help="With --class: only for this queue."),
    option("--args", type=JSON, metavar="JSON", help="With --class: only with these arguments."),
)


def _chosen(
    at: datetime | int | None, class_name: str | None, queue: str | None, args: Any
) -> JobFilter:
    if (at is None) == (class_name is None):
        raise click.UsageError("specify --at TIME or --class NAME")
    return wanted_jobs(class_name, args, queue)


@delayed.command(cls=Command, destroys=True)
@CHOICE
@option("--dry-run", is_flag=True, help="Only show how many there are.")
def remove(
    *, at: datetime | int | None, class_name: str | None, queue: str | None, args: Any, dry_run: bool
) -> int:  # fmt: skip
    """Remove delayed jobs: all of a time, or those of a task.

    Whichever language wrote them. Exit code 6 if there is none, or fewer were removed than found.
    """
    from resqpy.cli.selection.changing import BulkChange, change
    from resqpy.engine.queue.removing import delete_delayed_jobs

    wanted = _chosen(at, class_name, queue, args)

    async def walk(resque: Resque, dry_run: bool) -> SearchResult:
        return await delete_delayed_jobs(resque.store, wanted, at=at, dry_run=dry_run)

    what = BulkChange("delayed job", "removed", lambda jobs: f"Remove {jobs}?")
    return change(what, walk, wanted, dry_run=dry_run, at=at)


@delayed.command("run", cls=Command, destroys=True)
@CHOICE
@option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N (default: all).")
@option("--dry-run", is_flag=True, help="Only show how many there are.")
def run(
    *, at: datetime | int | None, class_name: str | None, queue: str | None, args: Any,
    limit: int | None, dry_run: bool,
) -> int:  # fmt: skip
    """Run delayed jobs now: all of a time, or those of a task.

    Each moves to the tail of its queue with its exact bytes, in one step. Jobs that a hook or lock of their
    task forbids stay delayed; so do tracked tasks. Exit code 6 if there is none, or fewer were enqueued
    than found.
    """
    from resqpy.cli.selection.changing import BulkChange, change
    from resqpy.engine.queue.removing import Advancing

    wanted = _chosen(at, class_name, queue, args)

    async def walk(resque: Resque, dry_run: bool) -> SearchResult:
        return await Advancing(resque).walk(wanted, at=at, most=limit, dry_run=dry_run)

    what = BulkChange(
        "delayed job",
        "enqueued",
        lambda jobs: f"Run {jobs} now?",
        "were gone meanwhile, or a plugin forbids them",
    )
    return change(what, walk, wanted, dry_run=dry_run, hooks=True, at=at)
