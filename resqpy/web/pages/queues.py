"""Queues, the jobs that wait in one, and what can be done with both."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from starlette.responses import Response

from resqpy.base.model import Job, QueuePause, RunningLimit
from resqpy.diagnosis.browsing import (
    PAGE,
    brief_job,
    find_jobs,
    find_near,
    is_queue,
    queue_page,
    queues_page,
)
from resqpy.store import overview, queues as queue_store
from resqpy.web import changing
from resqpy.web.asking import Refusal, segment
from resqpy.web.pages.parts import back, fields_of, number_in, part_of, text_in
from resqpy.web.remembering import oldest
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
        looked_at: of a search: how many jobs it looked at; None: all are shown.
        end: where it goes on; None: it has seen all.
    """

    name: str
    waiting: int
    parked: int
    pause: QueuePause | None
    limit: RunningLimit | None
    rows: Sequence[JobRow]
    start: int
    looked_at: int | None = None
    end: int | None = None


async def all_queues(visit: Visit) -> Response:
    """The queues, the longest first."""
    query = visit.request.query_params
    start, text = number_in(query, "from"), text_in(visit, "q")
    everything = visit.console.everything
    known, workers = await asyncio.gather(everything.queues.soon(), everything.workers.soon())
    found = await queues_page(visit.resque, known, workers, text=text, start=start)
    read = oldest(everything.queues, everything.workers)
    return page(visit, "queues", view=found, text=text, start=start, size=PAGE, read=read)


async def one_queue(visit: Visit) -> Response:
    """The jobs of a queue, the next first."""
    name, start = part_of(visit, "name"), number_in(visit.request.query_params, "from")
    store, shown = visit.resque.store, Shown(visit)
    task, text = text_in(visit, "class"), text_in(visit, "q")
    if text and not shown.arguments:
        raise Refusal(403, "You may not look for arguments", "Your role does not see them.")
    sought = task or text
    match = partial(_sought, shown, name, task, text)
    found, page_of, pauses, limits = await asyncio.gather(
        find_jobs(visit.resque, name, match, start) if sought else _nothing(),
        queue_page(visit.resque, name, start, 1 if sought else PAGE),
        overview.queue_pauses(store, [name]),
        visit.resque.running_limits(),
    )
    view = QueueView(
        name,
        page_of.total,
        page_of.parked,
        pauses.get(name),
        limits.get(name),
        [job_row(shown, at, job) for at, job in (found or page_of).rows],
        start,
        found.looked_at if found else None,
        found.end if found else None,
    )
    return page(visit, "queue", view=view, size=PAGE, task=task, text=text, may_see=shown.arguments)


async def _nothing() -> None:
    """Where nothing is looked for."""


def _sought(shown: Shown, queue: str, task: str, text: str, raw: bytes) -> Job | None:
    """A job, if its task has one text in its name and its arguments have another, as they are shown: nobody finds
    by trying what is hidden from them.
    """
    if b"\\" not in raw:  # no character is written in another way than it is
        plain = (each for each in (task, text) if each.isalnum())
        if not all(each.encode("utf-8", "surrogateescape") in raw for each in plain):
            return None
    job = brief_job(raw, queue)
    fits = task in (job.class_name or "") and (not text or text in shown.args_line(job))
    return job if fits else None


async def pause_queue(visit: Visit) -> Response:
    """Pause a queue."""
    name, fields = part_of(visit, "name"), await fields_of(visit)
    await changing.pause_queue(visit, name, fields.get("reason", "")[:200])
    return back(visit, f"/queues/{segment(name)}", "paused")


async def resume_queue(visit: Visit) -> Response:
    """End the pause of a queue."""
    name = part_of(visit, "name")
    await changing.resume_queue(visit, name)
    return back(visit, f"/queues/{segment(name)}", "resumed")


async def remove_job(visit: Visit) -> Response:
    """Remove a waiting job by its exact bytes."""
    name, digest = part_of(visit, "name"), part_of(visit, "digest")
    fields, store = await fields_of(visit), visit.resque.store
    item = await find_near(store, store.keys.queue(name), digest, number_in(fields, "at"))
    done = item is not None and await changing.remove_waiting(visit, name, item)
    kept = {part: fields.get(part) or None for part in ("from", "class", "q")}
    return back(visit, f"/queues/{segment(name)}", "removed" if done else "gone", kept=kept)


async def _length(visit: Visit, name: str) -> int:
    store = visit.resque.store
    if not await is_queue(store, name):
        raise Refusal(404, "There is no such queue")
    return (await queue_store.lengths(store, [name]))[0]


async def delete_page(visit: Visit) -> Response:
    """Ask before a queue is deleted."""
    name = part_of(visit, "name")
    return page(visit, "queue_delete", name=name, waiting=await _length(visit, name))


async def delete_queue(visit: Visit) -> Response:
    """Delete a queue with all its jobs, if their number is the one that was confirmed."""
    name, fields = part_of(visit, "name"), await fields_of(visit)
    expected, typed = (
        number_in(fields, "expected"),
        fields.get("typed", "").replace(",", "").strip(),
    )
    if typed != str(expected):
        raise Refusal(400, "The number is not the one that was asked for", f"You typed {typed!r}.")
    waiting = await _length(visit, name)
    if waiting > expected:
        raise Refusal(
            409,
            "There are more jobs now",
            f"{waiting:,} wait in {name!r}, {expected:,} were confirmed.",
        )
    return back(visit, "/queues", "deleted", await changing.delete_queue(visit, name))


async def pause_all(visit: Visit) -> Response:
    """Pause all workers."""
    await changing.audited(
        visit, "pause", "all workers", partial(overview.pause, visit.resque.store)
    )
    visit.console.problems.forget()
    return back(visit, "/workers", "paused")


async def resume_all(visit: Visit) -> Response:
    """Resume all workers."""
    await changing.audited(
        visit, "resume", "all workers", partial(overview.resume, visit.resque.store)
    )
    visit.console.problems.forget()
    return back(visit, "/workers", "resumed")
