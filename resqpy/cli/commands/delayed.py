"""`resqpy delayed`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from resqpy.cli import output, times
from resqpy.cli.group import Command, Group
from resqpy.cli.json_type import Json
from resqpy.cli.options import option
from resqpy.cli.settings import current

if TYPE_CHECKING:
    from resqpy.base.model import Job
    from resqpy.engine.resque import Resque


@click.group(cls=Group, default="list")
def delayed() -> None:
    """Show jobs that wait for their time; remove some."""


@delayed.command("list")
@option("--class", "class_name", metavar="NAME", help="Only jobs of this task.")
@option("--queue", metavar="NAME", help="Only jobs for this queue.")
@option("--overdue", is_flag=True, help="Only jobs whose time has come.")
@option("--limit", default=50, show_default=True, help="At the most so many.")
def list_(*, class_name: str | None, queue: str | None, overdue: bool, limit: int) -> None:
    """Show delayed jobs, the next first."""
    from resqpy.cli import views
    from resqpy.cli.session import ask

    async def look(resque: Resque) -> tuple[int, list[tuple[int, Job]]]:
        now_ms = resque.clock.now_ms()
        found: list[tuple[int, Job]] = []
        async for due_ms, job in _jobs(resque, class_name, queue):
            if len(found) == limit or (overdue and due_ms > now_ms):
                break
            found.append((due_ms, job))
        return now_ms, found

    now_ms, found = ask(current(), look)
    output.show(
        [{"at": times.iso(ms), "at_ms": ms, **views.job_json(job)} for ms, job in found],
        lambda: output.table(
            ("at", "due", "class", "queue", "args"),
            [
                (times.local(ms), times.distance(ms, now_ms), views.job_name(job), job.queue,
                 views.job_args(job))
                for ms, job in found
            ],
            empty="no delayed jobs",
        ),
    )  # fmt: skip


async def _jobs(
    resque: Resque, class_name: str | None, queue: str | None
) -> AsyncIterator[tuple[int, Job]]:
    async for due_ms, job in resque.each_delayed():
        if class_name in {None, job.class_name} and queue in {None, job.queue}:
            yield due_ms, job


@delayed.command(cls=Command, destroys=True)
@option(
    "--at",
    type=times.Moment(),
    metavar="TIME",
    help="Everything that is due at this time: ISO 8601, or milliseconds.",
)
@option("--class", "class_name", metavar="NAME", help="Jobs of this task.")
@option("--queue", metavar="NAME", help="With --class: only for this queue.")
@option("--args", type=Json(), metavar="JSON", help="With --class: only with these arguments.")
@option("--dry-run", is_flag=True, help="Only tell how many there are.")  # fmt: skip
def remove(
    *, at: datetime | int | None, class_name: str | None, queue: str | None, args: Any, dry_run: bool
) -> None:  # fmt: skip
    """Remove delayed jobs: all of a time, or those of a task."""
    from resqpy.cli.changing import change
    from resqpy.framework.tasks_api import as_args

    if (at is None) == (class_name is None):
        raise click.UsageError("say which: --at TIME, or --class NAME")
    wanted = None if args is None else as_args(args)

    async def count(resque: Resque) -> int:
        if at is not None:
            return len(await resque.delayed_at(at, 0, -1))
        jobs = _jobs(resque, class_name, queue)
        return sum([wanted is None or job.args == wanted async for _, job in jobs])

    async def do(resque: Resque) -> int:
        if class_name is None:
            return await resque.del_delayed_at(at or 0)
        return await resque.del_delayed_by_function(class_name, queue=queue, args=wanted)

    change(
        count,
        do,
        lambda jobs: f"Remove {jobs}?",
        noun="delayed job",
        done="removed",
        dry_run=dry_run,
    )
