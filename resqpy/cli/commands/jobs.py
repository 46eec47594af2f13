"""`resqpy jobs`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import click

from resqpy.cli import output
from resqpy.cli.exits import Exit
from resqpy.cli.group import Command, Group
from resqpy.cli.json_type import Json
from resqpy.cli.options import option
from resqpy.cli.settings import current

if TYPE_CHECKING:
    from resqpy.base.model import Job
    from resqpy.engine.resque import Resque


@click.group(cls=Group, default="list", default_takes_words=True)
def jobs() -> None:
    """Show the jobs that wait in a queue, or in all; remove some.

    `resqpy jobs QUEUE` is `resqpy jobs list QUEUE`.
    """


@jobs.command("list")
@click.argument("queue", required=False)
@option("--class", "class_name", metavar="NAME", help="Only jobs of this task.")
@option("--limit", default=50, show_default=True, help="At the most so many.")
@option("--offset", default=0, help="Leave out so many.")
def list_(queue: str | None, *, class_name: str | None, limit: int, offset: int) -> None:
    """Show jobs, the next to run first."""
    from resqpy.cli import views
    from resqpy.cli.session import ask

    async def look(inspector: Resque) -> list[Job]:
        names = await inspector.queues()
        if queue is not None and queue not in names:
            raise output.fail(Exit.NOT_FOUND, f"there is no queue {queue!r}")
        found = _jobs(inspector, names if queue is None else [queue], class_name)
        return await _page(found, offset, limit)

    found = ask(current(), look)
    output.show(
        [views.job_json(job) for job in found],
        lambda: output.table(
            ("queue", "class", "args"),
            [(job.queue, views.job_name(job), views.job_args(job)) for job in found],
            empty="no jobs",
        ),
    )


async def _jobs(inspector: Resque, queues: list[str], class_name: str | None) -> AsyncIterator[Job]:
    for queue in queues:
        async for job in inspector.each_queued(queue):
            if class_name is None or job.class_name == class_name:
                yield job


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
@option(
    "--args",
    type=Json(),
    metavar="JSON",
    help="Only jobs with these arguments: an object of inputs, or a list.",
)
@option("--dry-run", is_flag=True, help="Only tell how many there are.")  # fmt: skip
def remove(queue: str, *, class_name: str, args: Any, dry_run: bool) -> None:
    """Remove jobs from a queue by their task, and by their arguments."""
    from resqpy.cli.session import ask
    from resqpy.framework.tasks_api import as_args

    wanted = None if args is None else as_args(args)

    async def count(inspector: Resque) -> int:
        number = 0
        async for job in _jobs(inspector, [queue], class_name):
            number += wanted is None or job.args == wanted
        return number

    async def do(resque: Resque) -> int:
        if wanted is None:
            return await resque.del_by_function(queue, class_name)
        return await resque.delete(queue, class_name, wanted)

    number = ask(current(), count)
    if number and not dry_run:
        output.confirm(f"Remove {output.counted(number, 'job')} of {class_name} from {queue!r}?")
        number = ask(current(), do)
    words = "would be removed" if dry_run else "removed"
    output.show(
        {"removed": 0 if dry_run else number, "found": number, "dry_run": dry_run},
        lambda: click.echo(f"{output.counted(number, 'job')} {words}"),
    )
