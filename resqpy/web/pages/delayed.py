"""Delayed jobs by the time at which they are due; run one now, or remove it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.responses import Response

from resqpy.base import reading
from resqpy.diagnosis.browsing import PAGE, delayed_page, due_page, find_item
from resqpy.engine.queue.removing import Advancing
from resqpy.store import delayed
from resqpy.store.sweep import Item
from resqpy.web.changing import audited
from resqpy.web.pages.parts import back, fields_of, number_in
from resqpy.web.rendering import page
from resqpy.web.views import JobRow, Shown, job_row
from resqpy.web.visit import Visit


@dataclass(frozen=True)
class DueRow:
    """What is due at one second.

    Attributes:
        total: how many jobs; more than `jobs` if there are many.
    """

    second: int
    jobs: Sequence[JobRow]
    total: int


async def all_delayed(visit: Visit) -> Response:
    """Delayed jobs, the next first."""
    since, shown = number_in(visit.request.query_params, "from"), Shown(visit)
    found = await delayed_page(visit.resque, since)
    rows = [
        DueRow(each.second, [job_row(shown, n, job) for n, job in enumerate(each.jobs)], each.total)
        for each in found.times
    ]
    return page(visit, "delayed", rows=rows, found=found, since=since)


async def one_time(visit: Visit) -> Response:
    """All jobs that are due at one second."""
    second = number_in(visit.request.path_params, "second")
    start, shown = number_in(visit.request.query_params, "from"), Shown(visit)
    found = await due_page(visit.resque, second, start)
    rows = [job_row(shown, at, job) for at, job in found.rows]
    return page(
        visit, "delayed_time", second=second, rows=rows, total=found.total, start=start,
        more=start + PAGE < found.total,
    )  # fmt: skip


async def _item(visit: Visit, second: int, at: int) -> Item | None:
    store = visit.resque.store
    digest = visit.request.path_params["digest"]
    return await find_item(store, store.keys.delayed(second), digest, at)


async def run_now(visit: Visit) -> Response:
    """Move a delayed job to its queue, with its exact bytes."""
    second = number_in(visit.request.path_params, "second")
    at = number_in(await fields_of(visit), "at")

    async def act() -> int:
        item = await _item(visit, second, at)
        advancing = Advancing(visit.resque)
        if item is None or advancing.stays(reading.show_delayed(item.raw)):
            return 0
        return len(await advancing.advance(second, [item]))

    number = await audited(visit, "run now", _what(visit, second), act)
    return back(visit, "/delayed", "enqueued" if number else "not_enqueued")


async def remove(visit: Visit) -> Response:
    """Remove a delayed job."""
    second = number_in(visit.request.path_params, "second")
    at = number_in(await fields_of(visit), "at")

    async def act() -> int:
        item = await _item(visit, second, at)
        return 0 if item is None else len(await delayed.drop(visit.resque.store, second, [item]))

    number = await audited(visit, "remove", _what(visit, second), act)
    return back(visit, "/delayed", "removed" if number else "gone")


def _what(visit: Visit, second: int) -> str:
    return f"delayed job {visit.request.path_params['digest'][:10]} of {second}"
