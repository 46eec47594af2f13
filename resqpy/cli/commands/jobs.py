"""`resqpy jobs`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from resqpy.base.imports import near_match
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
    """Show the jobs that wait in a queue, or in all; move or remove some.

    `resqpy jobs QUEUE` is `resqpy jobs list QUEUE`.
    """


ARGS_HELP = "Only jobs with these arguments: an object of inputs, or a list."


@dataclass(frozen=True)
class Filter:
    """Which jobs are meant.

    Attributes:
        class_name: only this task's; None: any.
        args: only with these arguments, as they stand in the job; None: any.
    """

    class_name: str | None
    args: list[Any] | None

    @classmethod
    def of(cls, class_name: str | None, args: Any) -> Filter:
        """From options."""
        from resqpy.framework.tasks_api import as_args

        return cls(class_name, None if args is None else as_args(args))

    def fits(self, job: Job) -> bool:
        """Whether a job is meant."""
        return self.class_name in {None, job.class_name} and self.args in (None, job.args)

    def __str__(self) -> str:
        return f" of {self.class_name}" if self.class_name else ""


@jobs.command("list")
@click.argument("queue", required=False)
@option("--class", "class_name", metavar="NAME", help="Only jobs of this task.")
@option("--args", type=Json(), metavar="JSON", help=ARGS_HELP)
@option(
    "--limit", type=click.IntRange(0), default=50, show_default=True, help="At the most so many."
)
@option("--offset", type=click.IntRange(0), default=0, help="Leave out so many.")
def list_(
    queue: str | None, *, class_name: str | None, args: Any, limit: int, offset: int
) -> None:  # fmt: skip
    """Show jobs, the next to run first."""
    from resqpy.cli import views
    from resqpy.cli.session import ask

    wanted = Filter.of(class_name, args)

    async def look(inspector: Resque) -> list[Job]:
        names = await (inspector.queues() if queue is None else _known(inspector, queue))
        return await _page(_jobs(inspector, names, wanted), offset, limit + 1)

    found = ask(current(), look)
    more, found = len(found) > limit, found[:limit]
    output.show(
        [views.job_json(job) for job in found],
        lambda: output.table(
            ("queue", "class", "args"),
            [(job.queue, views.job_name(job), views.job_args(job)) for job in found],
            empty="no jobs",
        ),
    )
    if more:
        output.note(f"(there are more than these {limit:,}: see --limit and --offset)")


async def _known(resque: Resque, queue: str) -> list[str]:
    """The queue, if there is one of this name; one may hold jobs and not be in the set of queues."""
    names = await resque.queues()
    if queue not in names and not await resque.length(queue):
        raise output.fail(Exit.NOT_FOUND, f"there is no queue {queue!r}{near_match(queue, names)}")
    return [queue]


async def _jobs(resque: Resque, queues: list[str], wanted: Filter) -> AsyncIterator[Job]:
    for queue in queues:
        async for job in resque.each_queued(queue):
            if wanted.fits(job):
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
@option("--args", type=Json(), metavar="JSON", help=ARGS_HELP)
@option("--dry-run", is_flag=True, help="Only tell how many there are.")
def remove(queue: str, *, class_name: str, args: Any, dry_run: bool) -> None:
    """Remove jobs from a queue by their task, and by their arguments."""
    from resqpy.cli.changing import change

    wanted = Filter.of(class_name, args)

    async def count(resque: Resque) -> int:
        names = await _known(resque, queue)
        return len([job async for job in _jobs(resque, names, wanted)])

    async def do(resque: Resque) -> int:
        if wanted.args is None:
            return await resque.del_by_function(queue, class_name)
        return await resque.delete(queue, class_name, wanted.args)

    change(
        count,
        do,
        lambda jobs: f"Remove {jobs}{wanted} from {queue!r}?",
        noun="job",
        done="removed",
        dry_run=dry_run,
    )


@jobs.command(cls=Command, destroys=True)
@click.argument("queue")
@click.argument("to_queue")
@option("--class", "class_name", metavar="NAME", help="Only jobs of this task.")
@option("--args", type=Json(), metavar="JSON", help=ARGS_HELP)
@option("--limit", type=click.IntRange(1), metavar="N", help="The first N of them (default: all).")
@option("--dry-run", is_flag=True, help="Only tell how many there are.")
def move(
    queue: str, to_queue: str, *, class_name: str | None, args: Any, limit: int | None, dry_run: bool
) -> None:  # fmt: skip
    """Move jobs that wait to the tail of another queue, in their order.

    Each is in one of both queues all the time, and takes its QueueLock with it. Tracked tasks stay, and
    jobs whose equal waits in the other queue under such a lock.
    """
    from resqpy.base.keys import check_queue_name
    from resqpy.cli.changing import change
    from resqpy.engine.moving import can_move

    wanted = Filter.of(class_name, args)
    check_queue_name(to_queue)

    async def count(resque: Resque) -> int:
        jobs = _jobs(resque, await _known(resque, queue), wanted)
        number = sum([can_move(job, class_name, wanted.args) async for job in jobs])
        return number if limit is None else min(limit, number)

    async def do(resque: Resque) -> int:
        return await resque.move(
            queue, to_queue, class_name=class_name, args=wanted.args, most=limit
        )

    change(
        count,
        do,
        lambda jobs: f"Move {jobs}{wanted} from {queue!r} to {to_queue!r}?",
        noun="job",
        done="moved",
        dry_run=dry_run,
        where=f" to {to_queue!r}",
    )
