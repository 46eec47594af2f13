"""`resqpy workers`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from resqpy.cli import output, times
from resqpy.cli.exits import Exit
from resqpy.cli.group import Command, Group
from resqpy.cli.options import option
from resqpy.cli.settings import current

if TYPE_CHECKING:
    from resqpy.cli.workers_view import SeenWorker
    from resqpy.engine.resque import Resque


@click.group(cls=Group, default="list")
def workers() -> None:
    """Show the workers of all languages; clean up after dead ones, cancel what one runs."""


@workers.command("list")
@option("--working", is_flag=True, help="Only those that work on a job.")
@option("--queue", metavar="NAME", help="Only those that name this queue.")
def list_(*, working: bool, queue: str | None) -> None:
    """Show who is registered, what they work on, and when they were last seen."""
    from resqpy.cli.session import ask
    from resqpy.cli.workers_view import all_workers, print_table

    async def look(resque: Resque) -> tuple[int, list[SeenWorker]]:
        return await resque.now_ms(), await all_workers(resque)

    now_ms, found = ask(current(), look)
    chosen = [
        each
        for each in found
        if (each.work or not working) and (queue is None or queue in each.queues.split(","))
    ]
    output.show([each.as_json() for each in chosen], lambda: print_table(chosen, now_ms))


@workers.command(cls=Command, destroys=True)
@click.argument("worker", required=False)
@option(
    "--older-than",
    type=times.Milliseconds(),
    metavar="DURATION",
    help="All whose job runs for longer, as 2h.",
)
@option(
    "--spare-live", is_flag=True, help="With --older-than: not those seen in the last 5 minutes."
)
@option("--dry-run", is_flag=True, help="Only tell who would be cleaned up.")  # fmt: skip
def clean(worker: str | None, *, older_than: int | None, spare_live: bool, dry_run: bool) -> None:
    """Take a dead worker (host:pid, or its full id) out of Redis; its job goes to the failed list.

    It ends no process: a job that still runs goes on, so a retry may run it twice.
    """
    from resqpy.cli.session import ask
    from resqpy.store.walk import Walk

    if (worker is None) == (older_than is None):
        raise click.UsageError("say who: a worker, or --older-than DURATION")

    async def look(resque: Resque) -> list[str]:
        return await _chosen(resque, worker, older_than, spare_live=spare_live)

    async def do(resque: Resque) -> int:
        walk, jobs = Walk("workers", len(chosen)), 0
        for each in chosen:
            jobs += await resque.force_clean_worker(each) is not None
            walk.step(1)
        return jobs

    chosen = ask(current(), look)
    if not chosen and worker is not None:
        raise output.fail(Exit.NOT_FOUND, f"there is no worker {worker!r} (see `resqpy workers`)")
    jobs = 0
    if chosen and not dry_run:
        output.confirm(f"Clean up after {output.counted(len(chosen), 'worker')}?")
        jobs = ask(current(), do)
    words = "would be removed" if dry_run else f"removed, {output.counted(jobs, 'job')} to failed"
    output.show(
        {"workers": chosen, "failed_jobs": jobs, "dry_run": dry_run},
        lambda: output.say(f"{output.counted(len(chosen), 'worker')} {words}"),
    )


async def _chosen(
    resque: Resque, worker: str | None, older_than: int | None, *, spare_live: bool
) -> list[str]:
    from resqpy.cli.workers_view import all_workers

    now_ms, found = await resque.now_ms(), await all_workers(resque)
    if older_than is None:
        return [
            each.worker_id
            for each in found
            if worker in {each.worker_id, each.worker_id.rsplit(":", 1)[0]}
        ]
    old = [
        each for each in found if each.began_ms is not None and each.began_ms < now_ms - older_than
    ]
    return [each.worker_id for each in old if not (spare_live and each.lives(now_ms))]


@workers.command()
@click.argument("worker")
def cancel(worker: str) -> int:
    """Cancel the job that a resqpy worker (host:pid, or its full id) runs: it fails as JobCancelled."""
    from resqpy.cli.session import ask
    from resqpy.store.workers import publish_cancel

    async def do(resque: Resque) -> tuple[list[str], int]:
        busy = {each: work for each, work in (await resque.all_working_on()).items() if work}
        found = [each for each in busy if worker in {each, each.rsplit(":", 1)[0]}]
        asked = [await publish_cancel(resque.store, each, busy[each].run_at) for each in found]
        return found, max(asked, default=0)

    found, heard = ask(current(), do)
    if not found:
        raise output.fail(Exit.NOT_FOUND, f"no worker {worker!r} works on a job")
    output.show(
        {"workers": found, "heard_by": heard},
        lambda: output.say(
            "asked to cancel" if heard else "nobody listens: it is no resqpy worker, or it is dead"
        ),
    )
    return Exit.OK if heard else Exit.NO
