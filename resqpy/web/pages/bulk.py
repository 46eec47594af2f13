"""Many failed jobs at once: the question with their number, the run that retries or removes them, its progress."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.responses import Response

from resqpy.base.foreign_time import moment_of
from resqpy.web import bulk, trash
from resqpy.web.asking import Refusal
from resqpy.web.pages.failed import NONE
from resqpy.web.pages.parts import back, fields_of, number_in, part_of
from resqpy.web.rendering import page
from resqpy.web.views import FailedRow, Shown, failed_row
from resqpy.web.visit import Visit

_TYPED = 1000  # more are confirmed by typing their number
_QUICK_S = 1.0  # whoever waits for a run sees its end at once if it comes by then
_SOON_S = "2"


@dataclass(frozen=True)
class BulkView:
    """What is to be confirmed."""

    verb: str
    chosen: Mapping[str, str]
    count: int
    retried: int
    first_ms: int | None
    last_ms: int | None
    example: FailedRow | None
    typed: bool
    undoable: bool


def _chosen(values: Mapping[str, str]) -> dict[str, str]:
    """The filter of a query or form."""
    chosen = {name: values[name] for name in bulk.FILTERS if values.get(name)}
    if NONE in (chosen.get("class"), chosen.get("exception")) or not chosen:
        raise Refusal(
            400, "Choose a task or an exception", "Entries without a task are handled one by one."
        )
    return chosen


async def bulk_page(visit: Visit) -> Response:
    """Ask before a group is retried or removed, with the number."""
    query = visit.request.query_params
    verb = query.get("verb", "")
    if verb not in bulk.VERBS:
        raise Refusal(400, "This can't be done with a group", f"The verb is {verb[:60]!r}.")
    chosen, shown = _chosen(query), Shown(visit)
    found = await bulk.selected(visit.resque, bulk.wanted_by(verb, chosen))
    view = BulkView(
        verb,
        chosen,
        found.count,
        found.retried,
        None if found.first is None else moment_of(found.first.failed_at),
        None if found.last is None else moment_of(found.last.failed_at),
        None if found.last is None else failed_row(shown, 0, found.last),
        typed=found.count > _TYPED,
        undoable=found.count <= trash.MOST,
    )
    return page(visit, "failed_bulk", view=view)


async def start(visit: Visit) -> Response:
    """Retry or remove what was confirmed, in the background; what is quickly done is told at once."""
    fields = await fields_of(visit)
    chosen, expected, verb = _chosen(fields), number_in(fields, "expected"), fields.get("verb", "")
    if verb not in bulk.VERBS or not expected:
        raise Refusal(400, "This can't be done with a group")
    if expected > _TYPED and fields.get("typed", "").replace(",", "").strip() != str(expected):
        raise Refusal(
            400,
            "The number is not the one that was asked for",
            f"You typed {fields.get('typed')!r}.",
        )
    run_id, work = await visit.console.bulk.begin(visit, verb, chosen, expected)
    await asyncio.wait([work], timeout=_QUICK_S)
    run = await bulk.look(visit.resque.store, run_id) if work.done() else None
    if run is None or run.state != bulk.DONE or run.done != expected:
        return back(visit, f"/failed/runs/{run_id}", "")
    done = "retried" if verb == "retry" else "removed"
    return back(visit, "/failed", done, run.done, undo=run.undo)


async def runs_page(visit: Visit) -> Response:
    """The runs of the last day."""
    return page(visit, "runs", runs=await bulk.latest(visit.resque.store))


async def _run(visit: Visit) -> bulk.BulkRun:
    found = await bulk.look(visit.resque.store, part_of(visit, "run"))
    if found is None:
        raise Refusal(404, "There is no such run", "Runs are kept for a day.")
    return found


async def run_page(visit: Visit) -> Response:
    """How far a run is; it is read again by itself while somebody works on it."""
    run = await _run(visit)
    response = page(visit, "run", run=run)
    if run.works:
        response.headers["refresh"] = _SOON_S
    return response


async def cancel(visit: Visit) -> Response:
    """End a run where it is."""
    run = await _run(visit)
    done = await visit.console.bulk.cancel(visit, run)
    return back(visit, f"/failed/runs/{run.id}", "cancelled" if done else "ended")


async def go_on(visit: Visit) -> Response:
    """Go on with a run that was interrupted, or with as many as were confirmed, though there are more now."""
    run = await _run(visit)
    done = await visit.console.bulk.go_on(visit, run)
    return back(visit, f"/failed/runs/{run.id}", "going_on" if done else "ended")
