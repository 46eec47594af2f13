"""`resqpy jobs`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from resqpy.base.imports import near_match
from resqpy.cli.arguments.flags import JSON, option
from resqpy.cli.arguments.session import ask, tasks_of
from resqpy.cli.group import Command, Group
from resqpy.cli.output import cells as views, printing as output
from resqpy.cli.output.printing import Exit
from resqpy.diagnosis.workers import job_json

if TYPE_CHECKING:
    from resqpy.base.model import Job
    from resqpy.base.reading import JobFilter
    from resqpy.engine.inspect.inspector import Resque
    from resqpy.engine.inspect.walking import SearchResult


@click.group(cls=Group, default="list", default_takes_words=True)
def jobs() -> None:
    """Show the waiting jobs of a queue, or of all; move or remove some.

    `resqpy jobs QUEUE` is `resqpy jobs list QUEUE`.
    """


ARGS_HELP = "Only jobs with these arguments: an object of inputs, or a list."


def wanted_jobs(class_name: str | None, args: Any, queue: str | None = None) -> JobFilter:
    """The jobs that match a command's options."""
    from resqpy.base.reading import JobFilter
    from resqpy.framework.api.tasks_api import as_args

    return JobFilter.of(class_name, None if args is None else as_args(args), queue)


@jobs.command("list")
@click.argument("queue", required=False)
@option("--class", "class_name", metavar="NAME", help="Only jobs of this task.")
@option("--args", type=JSON, metavar="JSON", help=ARGS_HELP)
@option("--limit", type=click.IntRange(0), default=50, show_default=True, help="At most this many.")
@option("--offset", type=click.IntRange(0), default=0, help="Skip this many.")
def list_(
    queue: str | None, *, class_name: str | None, args: Any, limit: int, offset: int
) -> None:  # fmt: skip
    """Show jobs, the next to run first."""
    wanted = wanted_jobs(class_name, args)

    async def look(inspector: Resque) -> list[Job]:
        names = await (inspector.queues() if queue is None else _known(inspector, queue))
        return await _page(_jobs(inspector, names, wanted), offset, limit + 1)

    found = ask(look)
    more, found = len(found) > limit, found[:limit]
    tasks = tasks_of(found)
    output.listing(
        found,
        lambda job: views.with_inputs(job_json(job, output.redaction()), job, tasks),
        ("queue", "class", "args"),
        lambda job: (job.queue, *views.job_cells(job, tasks)),
        empty="no jobs" if class_name is None and args is None else "no such jobs",
    )
    if more:
        output.note(f"(there are more than these {limit:,}: see --limit and --offset)")


async def _known(resque: Resque, queue: str) -> list[str]:
    """The queue, if there is one of this name, even if it is missing from the set of queues."""
    names = await resque.queues()
    if queue not in names and not await resque.length(queue):
        raise output.fail(Exit.NOT_FOUND, f"there is no queue {queue!r}{near_match(queue, names)}")
    return [queue]


async def _jobs(resque: Resque, queues: list[str], wanted: JobFilter) -> AsyncIterator[Job]:
    from resqpy.base import reading
    from resqpy.store.queues import every_waiting

    for queue in queues:
        async for raw in every_waiting(resque.store, queue):
            if wanted.means(raw, queue):
                yield reading.show_job(raw, queue)


async def _page(jobs: AsyncIterator[Job], offset: int, limit: int) -> list[Job]:
    found: list[Job] = []
    at = 0
    async for job in jobs:
        if len(found) == limit:
            break
        if at >= offset:
            found.append(job)
        at += 1
    return found


@jobs.command(cls=Command, destroys=True)
@click.argument("queue")
@option("--class", "class_name", required=True, metavar="NAME", help="The task's name.")
@option("--args", type=JSON, metavar="JSON", help=ARGS_HELP)
@option("--dry-run", is_flag=True, help="Only show how many there are.")
def remove(queue: str, *, class_name: str, args: Any, dry_run: bool) -> int:
    """Remove jobs from a queue by their task, and by their arguments.

    Whichever language wrote them. Exit code 6 if there is none, or fewer were removed than found.
    """
    from resqpy.cli.selection.changing import BulkChange, change
    from resqpy.engine.queue.removing import delete_jobs

    wanted = wanted_jobs(class_name, args)

    async def walk(resque: Resque, dry_run: bool) -> SearchResult:
        await _known(resque, queue)
        return await delete_jobs(resque.store, queue, wanted, dry_run=dry_run)

    what = BulkChange("job", "removed", lambda jobs: f"Remove {jobs}{wanted} from {queue!r}?")
    return change(what, walk, replace(wanted, queue=queue), dry_run=dry_run)


@jobs.command(cls=Command, destroys=True)
@click.argument("queue")
@click.argument("to_queue")
@option("--class", "class_name", metavar="NAME", help="Only jobs of this task.")
@option("--args", type=JSON, metavar="JSON", help=ARGS_HELP)
@option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N (default: all).")
@option("--dry-run", is_flag=True, help="Only show how many there are.")
def move(
    queue: str, to_queue: str, *, class_name: str | None, args: Any, limit: int | None, dry_run: bool
) -> int:  # fmt: skip
    """Move waiting jobs to the tail of another queue, in order.

    Each is always in exactly one of the two queues, and keeps its QueueLock. Tracked tasks stay, and jobs
    if an equal one waits in the other queue under such a lock. Exit code 6 if none or fewer were moved.
    """
    from resqpy.base.keys import check_queue_name
    from resqpy.cli.selection.changing import BulkChange, change
    from resqpy.engine.queue.removing import move_jobs

    wanted = wanted_jobs(class_name, args)
    check_queue_name(to_queue)

    async def walk(resque: Resque, dry_run: bool) -> SearchResult:
        await _known(resque, queue)
        return await move_jobs(resque.store, queue, to_queue, wanted, most=limit, dry_run=dry_run)

    what = BulkChange(
        "job",
        "moved",
        lambda jobs: f"Move {jobs}{wanted} from {queue!r} to {to_queue!r}?",
        "were gone meanwhile, or already wait there under a lock",
        f" to {to_queue!r}",
    )
    return change(what, walk, replace(wanted, queue=queue), dry_run=dry_run)
