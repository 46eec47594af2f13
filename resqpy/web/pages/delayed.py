"""Delayed jobs by the time at which they are due; run one now, or remove it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.responses import Response

from resqpy.diagnosis.browsing import PAGE, delayed_page, due_page, find_near
from resqpy.store.sweep import Item
from resqpy.web.changing import remove_delayed, run_delayed
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
        visit, "delayed_time", second=second, rows=rows, total=found.total, start=start, size=PAGE
    )


async def _sought(visit: Visit) -> tuple[int, Item | None]:
    """The job that is meant, and its second."""
    second = number_in(visit.request.path_params, "second")
    at, store = number_in(await fields_of(visit), "at"), visit.resque.store
    digest = visit.request.path_params["digest"]
    return second, await find_near(store, store.keys.delayed(second), digest, at)


async def run_now(visit: Visit) -> Response:
    """Move a delayed job to its queue, with its exact bytes."""
    second, item = await _sought(visit)
    if item is None:
        return back(visit, "/delayed", "gone")
    done = await run_delayed(visit, second, item)
    return back(visit, "/delayed", "enqueued" if done else "not_enqueued")


async def remove(visit: Visit) -> Response:
    """Remove a delayed job."""
    second, item = await _sought(visit)
    done = item is not None and await remove_delayed(visit, second, item)
    return back(visit, "/delayed", "removed" if done else "gone")
