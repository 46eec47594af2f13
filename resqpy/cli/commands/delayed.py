"""`resqpy delayed`."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from resqpy.cli import output, views
from resqpy.cli.group import Command, Group
from resqpy.cli.option_types import Json, Moment
from resqpy.cli.options import option, options
from resqpy.cli.settings import current
from resqpy.diagnosis import texts
from resqpy.diagnosis.views import job_json

if TYPE_CHECKING:
    from resqpy.base.job_filter import JobFilter
    from resqpy.base.model import Job
    from resqpy.engine.resque import Resque
    from resqpy.engine.walking import Walked

ARGS_HELP = "Only jobs with these arguments: an object of inputs, or a list."


@click.group(cls=Group, default="list")
def delayed() -> None:
    """Show jobs that wait for their time; remove some, or let them run now."""


@delayed.command("list")
@option("--class", "class_name", metavar="NAME", help="Only jobs of this task.")
@option("--queue", metavar="NAME", help="Only jobs for this queue.")
@option("--args", type=Json(), metavar="JSON", help=ARGS_HELP)
@option("--overdue", is_flag=True, help="Only jobs whose time has come.")
@option("--limit", default=50, show_default=True, help="At the most so many.")
def list_(
    *, class_name: str | None, queue: str | None, args: Any, overdue: bool, limit: int
) -> None:  # fmt: skip
    """Show delayed jobs, the next first."""
    from resqpy.base import reading
    from resqpy.base.job_filter import JobFilter
    from resqpy.cli.session import ask
    from resqpy.engine.waiting_jobs import delayed_items

    wanted = _wanted(class_name, queue, args)

    async def look(resque: Resque) -> tuple[int, list[tuple[int, Job]]]:
        now_ms = await resque.now_ms()
        found: list[tuple[int, Job]] = []
        async for second, raw in delayed_items(resque.store):
            if len(found) == limit or (overdue and second * 1000 > now_ms):
                break
            if wanted.means(raw):
                found.append((second * 1000, reading.show_delayed(raw)))
        return now_ms, found

    now_ms, found = ask(current(), look)
    output.show(
        [{"at": texts.iso(ms), "at_ms": ms, **job_json(job, output.redaction())} for ms, job in found],
        lambda: output.table(
            ("at", "due", "class", "queue", "args"),
            [
                (texts.local(ms), texts.distance(ms, now_ms), views.job_name(job), job.queue,
                 views.job_args(job))
                for ms, job in found
            ],
            empty="no delayed jobs" if wanted == JobFilter() and not overdue else "no such delayed jobs",
        ),
    )  # fmt: skip


def _wanted(class_name: str | None, queue: str | None, args: Any) -> JobFilter:
    from resqpy.base.job_filter import JobFilter
    from resqpy.framework.tasks_api import as_args

    return JobFilter.of(class_name, None if args is None else as_args(args), queue)


CHOICE = options(
    option(
        "--at",
        type=Moment(),
        metavar="TIME",
        help="Everything that is due at this time: ISO 8601, `now`, `+1d`, or milliseconds.",
    ),
    option("--class", "class_name", metavar="NAME", help="Jobs of this task."),
    option("--queue", metavar="NAME", help="With --class: only for this queue."),
    option("--args", type=Json(), metavar="JSON", help="With --class: only with these arguments."),
)


def _chosen(
    at: datetime | int | None, class_name: str | None, queue: str | None, args: Any
) -> JobFilter:
    if (at is None) == (class_name is None):
        raise click.UsageError("say which: --at TIME, or --class NAME")
    return _wanted(class_name, queue, args)


@delayed.command(cls=Command, destroys=True)
@CHOICE
@option("--dry-run", is_flag=True, help="Only tell how many there are.")
def remove(
    *, at: datetime | int | None, class_name: str | None, queue: str | None, args: Any, dry_run: bool
) -> int:  # fmt: skip
    """Remove delayed jobs: all of a time, or those of a task.

    Whichever language wrote them. Exit code 6 if there is none, or fewer were removed than were found.
    """
    from resqpy.cli.changing import JobChange, change
    from resqpy.engine.removing import delete_delayed_jobs

    wanted = _chosen(at, class_name, queue, args)

    async def walk(resque: Resque, dry_run: bool) -> Walked:
        return await delete_delayed_jobs(resque.store, wanted, at=at, dry_run=dry_run)

    what = JobChange(
        walk, lambda jobs: f"Remove {jobs}?", noun="delayed job", done="removed", at=at
    )
    return change(what, wanted, dry_run=dry_run)


@delayed.command("run", cls=Command, destroys=True)
@CHOICE
@option("--limit", type=click.IntRange(1), metavar="N", help="The first N of them (default: all).")
@option("--dry-run", is_flag=True, help="Only tell how many there are.")
def run(
    *, at: datetime | int | None, class_name: str | None, queue: str | None, args: Any,
    limit: int | None, dry_run: bool,
) -> int:  # fmt: skip
    """Let delayed jobs run now: all of a time, or those of a task.

    Each goes to the tail of its queue with its exact bytes, in the step in which it leaves its time. What
    a hook or lock of its task forbids stays delayed; so do tracked tasks. Exit code 6 if there is none,
    or fewer were enqueued than were found.
    """
    from resqpy.cli.changing import JobChange, change
    from resqpy.engine.advancing import Advancing

    wanted = _chosen(at, class_name, queue, args)

    async def walk(resque: Resque, dry_run: bool) -> Walked:
        return await Advancing(resque).walk(wanted, at=at, most=limit, dry_run=dry_run)

    what = JobChange(
        walk,
        lambda jobs: f"Let {jobs} run now?",
        noun="delayed job",
        done="enqueued",
        why_less="were gone meanwhile, or a plugin forbids them",
        hooks=True,
        at=at,
    )
    return change(what, wanted, dry_run=dry_run)
