"""`resqpy workers`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from resqpy.base.imports import near_match
from resqpy.base.model import WorkerId
from resqpy.cli.arguments.flags import MILLISECONDS, option
from resqpy.cli.arguments.session import ask, tasks_of
from resqpy.cli.group import Command, Group
from resqpy.cli.output import cells as views, printing as output
from resqpy.cli.output.printing import Exit
from resqpy.diagnosis import texts

if TYPE_CHECKING:
    from resqpy.diagnosis.workers import SeenWorker
    from resqpy.engine.inspect.inspector import Resque


@click.group(cls=Group, default="list")
def workers() -> None:
    """Show the workers of all languages; clean up after dead ones, cancel the job of one."""


@workers.command("list")
@option("--working", is_flag=True, help="Only those that are running a job.")
@option("--queue", metavar="NAME", help="Only those that name this queue.")
def list_(*, working: bool, queue: str | None) -> None:
    """Show registered workers, their jobs, and their last heartbeats.

    Also workers that are not registered but have a record, perhaps with a job, as far as a scan of some ten
    thousand keys finds them; `resqpy doctor` scans all.
    """
    from resqpy.diagnosis.workers import all_workers, unregistered_workers
    from resqpy.framework.tasks.arguments import shown_payload

    async def look(resque: Resque) -> tuple[int, list[SeenWorker], tuple[list[SeenWorker], bool]]:
        found = await all_workers(resque)
        return await resque.now_ms(), found, await unregistered_workers(resque)

    now_ms, found, (others, everything) = ask(look)
    chosen = [
        each
        for each in [*found, *others]
        if (each.work or not working) and (queue is None or queue in each.queues.split(","))
    ]
    tasks = tasks_of(chosen) if output.wants_json() else {}
    output.listing(
        chosen,
        lambda each: each.as_json(lambda job: shown_payload(tasks, job, output.redaction())),
        views.WORKER_HEADS,
        lambda each: views.worker_cells(each, now_ms),
        empty="no workers",
    )
    if others:
        what = texts.counted(len(others), "worker that is", "workers that are")
        output.warn(f"{what} not registered, but whose record has a job: see resqpy doctor")
    views.tell_how_far(everything=everything)


@workers.command(cls=Command, destroys=True)
@click.argument("worker", required=False)
@option(
    "--older-than",
    type=MILLISECONDS,
    metavar="DURATION",
    help="All whose job has run for longer, such as 2h.",
)
@option(
    "--spare-live", is_flag=True, help="With --older-than: skip those seen in the last 5 minutes."
)
@option("--dry-run", is_flag=True, help="Only show which ones would be cleaned up.")  # fmt: skip
def clean(worker: str | None, *, older_than: int | None, spare_live: bool, dry_run: bool) -> int:
    """Remove a dead worker (host:pid, or its full id) from Redis; its job goes to the failed list.

    This does not end a process: a running job continues, so a retry may run it twice. Exit code 6 if no job
    has run for that long.
    """
    from resqpy.store.sweep import Progress

    if (worker is None) == (older_than is None):
        raise click.UsageError("specify a worker, or --older-than DURATION")

    async def look(resque: Resque) -> list[str]:
        if older_than is not None:
            return await _older(resque, older_than, spare_live=spare_live)
        return await _named(resque, str(worker))

    async def do(resque: Resque) -> int:
        walk, jobs = Progress("workers", len(chosen)), 0
        for each in chosen:
            jobs += await resque.force_clean_worker(each) is not None
            walk.step(1)
        return jobs

    chosen, jobs = ask(look), 0
    if chosen and not dry_run:
        output.confirm(f"Clean up after {texts.counted(len(chosen), 'worker')}?")
        jobs = ask(do)
    message = (
        "would be removed"
        if dry_run
        else f"removed; {texts.counted(jobs, 'job')} moved to the failed list"
    )
    why = "" if chosen else ": none has run its job for that long (see `resqpy workers`)"
    output.show(
        {"workers": chosen, "failed_jobs": jobs, "dry_run": dry_run},
        lambda: output.say(f"{texts.counted(len(chosen), 'worker')} {message}{why}"),
    )
    return Exit.OK if chosen else Exit.NO


async def _older(resque: Resque, older_than: int, *, spare_live: bool) -> list[str]:
    """Workers whose job has run for longer."""
    from resqpy.diagnosis.workers import all_workers

    now_ms, found = await resque.now_ms(), await all_workers(resque)
    old = [
        each for each in found if each.began_ms is not None and each.began_ms < now_ms - older_than
    ]
    return [each.worker_id for each in old if not (spare_live and each.lives(now_ms))]


async def _named(resque: Resque, worker: str) -> list[str]:
    """Those with a name, or the one with an id; including unregistered ones with a record."""
    from resqpy.store import workers
    from resqpy.store.repair import checkup

    known = await resque.workers()
    if found := [each for each, who in known.items() if worker in {each, who.name}]:
        return found
    if (await workers.records(resque.store, [worker]))[0] is not None:
        return [worker]
    others = (await checkup.look(resque.store)).records
    if found := [each for each in others if WorkerId.parse(each).name == worker]:
        return found
    near = near_match(worker, [*(who.name for who in known.values()), *others])
    message = f"there is no worker {worker!r}{near} (see `resqpy workers`)"
    raise output.fail(Exit.NOT_FOUND, message)


@workers.command()
@click.argument("worker")
def cancel(worker: str) -> int:
    """Cancel the job that a resqpy worker (host:pid, or its full id) runs: it fails as JobCancelled."""
    from resqpy.store.workers import publish_cancel

    async def do(resque: Resque) -> dict[str, int]:
        busy = {each: work for each, work in (await resque.all_working_on()).items() if work}
        found = [each for each in busy if worker in {each, WorkerId.parse(each).name}]
        if not found:
            message = f"no worker {worker!r} is running a job{near_match(worker, busy)}"
            raise output.fail(Exit.NOT_FOUND, message)
        return {each: await publish_cancel(resque.store, each, busy[each].run_at) for each in found}

    asked = ask(do)
    deaf = list(asked.values()).count(0)
    message = "asked to cancel"
    if deaf:
        message = "nobody listens: it is not a resqpy worker, or it is dead"
    if 0 < deaf < len(asked):
        message = (
            f"{len(asked) - deaf} of {len(asked)} workers asked to cancel; of the others {message}"
        )
    output.show(
        {"workers": list(asked), "heard_by": max(asked.values())}, lambda: output.say(message)
    )
    return Exit.NO if deaf else Exit.OK
