"""Queues, the jobs that wait in one, and what can be done with both."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.responses import Response

from resqpy.base.model import QueuePause, RunningLimit
from resqpy.diagnosis.browsing import PAGE, find_item, queue_page, queues_page
from resqpy.store import overview, queues as queue_store
from resqpy.web.asking import Refusal, segment
from resqpy.web.changing import audited
from resqpy.web.pages.parts import back, fields_of, number_in, part_of, text_in
from resqpy.web.rendering import page
from resqpy.web.views import JobRow, Shown, job_row
from resqpy.web.visit import Visit


@dataclass(frozen=True)
class QueueView:
    """A queue and a page of its jobs.

    Attributes:
        waiting: a `NoList` if its key is not a list.
        parked: how many wait for a limit of their task, beside the list.
        start: the position of the first row.
    """

    name: str
    waiting: int
    parked: int
    pause: QueuePause | None
    limit: RunningLimit | None
    rows: Sequence[JobRow]
    start: int
    more: bool


async def all_queues(visit: Visit) -> Response:
    """The queues, the longest first."""
    query = visit.request.query_params
    start, text = number_in(query, "from"), text_in(visit, "q")
    found = await queues_page(visit.resque, text=text, start=start)
    return page(visit, "queues", view=found, text=text, start=start, size=PAGE)


async def one_queue(visit: Visit) -> Response:
    """The jobs of a queue, the next first."""
    name, start = part_of(visit, "name"), number_in(visit.request.query_params, "from")
    store, shown = visit.resque.store, Shown(visit)
    found, pauses, limits = await asyncio.gather(
        queue_page(visit.resque, name, start),
        overview.queue_pauses(store, [name]),
        visit.resque.running_limits(),
    )
    view = QueueView(
        name,
        found.total,
        found.parked,
        pauses.get(name),
        limits.get(name),
        [job_row(shown, at, job) for at, job in found.rows],
        start,
        start + PAGE < found.total,
    )
    return page(visit, "queue", view=view)


async def pause_queue(visit: Visit) -> Response:
    """Pause a queue."""
    name, fields = part_of(visit, "name"), await fields_of(visit)
    reason = fields.get("reason", "")[:200]

    async def act() -> int:
        return int(await visit.resque.pause_queue(name, reason=reason, by=visit.who.who))

    await audited(visit, "pause", f"queue {name}", act)
    return back(visit, f"/queues/{segment(name)}", "paused")


async def resume_queue(visit: Visit) -> Response:
    """End the pause of a queue."""
    name = part_of(visit, "name")

    async def act() -> int:
        return int(await visit.resque.resume_queue(name))

    await audited(visit, "resume", f"queue {name}", act)
    return back(visit, f"/queues/{segment(name)}", "resumed")


async def remove_job(visit: Visit) -> Response:
    """Remove a waiting job by its exact bytes."""
    name, digest = part_of(visit, "name"), part_of(visit, "digest")
    fields, store = await fields_of(visit), visit.resque.store

    async def act() -> int:
        at = number_in(fields, "at")
        item = await find_item(store, store.keys.queue(name), digest, at)
        return 0 if item is None else len(await queue_store.drop(store, name, [item]))

    number = await audited(visit, "remove", f"job {digest[:10]} of queue {name}", act)
    return back(visit, f"/queues/{segment(name)}", "removed" if number else "gone")


async def delete_page(visit: Visit) -> Response:
    """Ask before a queue is deleted."""
    name = part_of(visit, "name")
    waiting = await visit.resque.lengths()
    if name not in waiting:
        raise Refusal(404, "There is no such queue")
    return page(visit, "queue_delete", name=name, waiting=waiting[name])


async def delete_queue(visit: Visit) -> Response:
    """Delete a queue with all its jobs, if their number is the one that was confirmed."""
    name, fields = part_of(visit, "name"), await fields_of(visit)
    expected, typed = (
        number_in(fields, "expected"),
        fields.get("typed", "").replace(",", "").strip(),
    )
    if typed != str(expected):
        raise Refusal(400, "The number is not the one that was asked for", f"You typed {typed!r}.")
    waiting = (await visit.resque.lengths()).get(name, 0)
    if waiting > expected:
        raise Refusal(
            409,
            "There are more jobs now",
            f"{waiting:,} wait in {name!r}, {expected:,} were confirmed.",
        )

    async def act() -> int:
        return await visit.resque.del_queue(name)

    number = await audited(visit, "delete", f"queue {name}", act)
    return back(visit, "/queues", "deleted", number)


async def pause_all(visit: Visit) -> Response:
    """Pause all workers."""

    async def act() -> int:
        return int(await overview.pause(visit.resque.store))

    await audited(visit, "pause", "all workers", act)
    visit.console.problems.forget()
    return back(visit, "/workers", "paused")


async def resume_all(visit: Visit) -> Response:
    """Resume all workers."""

    async def act() -> int:
        return int(await overview.resume(visit.resque.store))

    await audited(visit, "resume", "all workers", act)
    visit.console.problems.forget()
    return back(visit, "/workers", "resumed")
