"""Delayed jobs by the time at which they are due; run one now, or remove it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.responses import Response

from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.imports import near_match
from resqpy.diagnosis.browsing import PAGE, coming, delayed_page, due_page, find_near
from resqpy.store.sweep import Item
from resqpy.web import charts
from resqpy.web.asking import Refusal
from resqpy.web.changing import remove_delayed, run_delayed
from resqpy.web.pages.parts import back, fields_of, number_in
from resqpy.web.rendering import page
from resqpy.web.views import JobRow, Shown, job_row
from resqpy.web.visit import Visit

# How far it looks ahead: its name, seconds and number of the steps, and what one is called.
AHEAD = {
    "1h": ("hour", 60, 60, "a minute"),
    "24h": ("day", 1800, 48, "in half an hour"),
    "7d": ("week", 10_800, 56, "in 3 hours"),
}


@dataclass(frozen=True)
class DueLoad:
    """What is due in the next steps of time.

    Attributes:
        chart: None: nothing is.
        table: the steps in which something is due, by their first second.
    """

    chart: charts.Chart | None
    ends: Sequence[str]
    table: Sequence[tuple[int, int]]


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
    ahead = visit.request.query_params.get("ahead", "1h")
    if ahead not in AHEAD:
        near = near_match(ahead, AHEAD)
        raise Refusal(
            400, "There is no such time", f"{ahead[:60]!r} is none of {', '.join(AHEAD)}{near}."
        )
    found, load = await asyncio.gather(delayed_page(visit.resque, since), _load(visit, ahead))
    rows = [
        DueRow(each.second, [job_row(shown, n, job) for n, job in enumerate(each.jobs)], each.total)
        for each in found.times
    ]
    return page(
        visit, "delayed", rows=rows, found=found, since=since, load=load, ahead=ahead, names=AHEAD
    )


async def _load(visit: Visit, ahead: str) -> DueLoad:
    """What comes from this step of time on."""
    _, step_s, steps, words = AHEAD[ahead]
    first_s = SYSTEM_CLOCK.now_ms() // 1000 // step_s * step_s
    counts = await coming(visit.resque.store, first_s, step_s, steps)
    chart = charts.coming(counts, first_s, step_s, words) if any(counts) else None
    table = [(first_s + n * step_s, each) for n, each in enumerate(counts) if each]
    middle_s = first_s + steps * step_s // 2
    ends = ["now", *(charts.utc(each * 1000) for each in (middle_s, first_s + steps * step_s))]
    return DueLoad(chart, ends, table)


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
