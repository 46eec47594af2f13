"""What ran, how long it took and how long it waited: of an hour up to a month."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from resqpy.base.errors import printable
from resqpy.base.history import new_record
from resqpy.base.imports import near_match
from resqpy.diagnosis.history import PERIODS, Point, RunHistory, RunStats
from resqpy.store.history import HistoryMark
from resqpy.web import charts
from resqpy.web.asking import Refusal
from resqpy.web.charts import Spread
from resqpy.web.pages.parts import text_in
from resqpy.web.rendering import page
from resqpy.web.views import cut
from resqpy.web.visit import Visit

_ROWS = 100
_MARKS = 20
_TABLES = ("points", "tasks", "queues")
_FORMULA = ("=", "+", "-", "@")  # where a cell begins
_READ_ONLY = "this console is read-only, and no scheduler of resqpy leads."
_NOT_YET = "the scheduler of resqpy that leads takes them once a minute, or a console that may write to Redis."


@dataclass(frozen=True)
class MetricsView:
    """What is shown of a period.

    Attributes:
        tasks: the names and numbers of those that ran most.
        more_tasks: how many others ran.
        queues: each with how many jobs waited at most; None: nobody has looked.
        others: what other programs did; None: not known.
        spread: how many ran how long; None: nothing ran.
        places: where the marks stand in the charts.
        ends: what stands below the charts.
    """

    empty: bool
    total: RunStats
    tasks: Sequence[tuple[str, RunStats]]
    more_tasks: int
    queues: Sequence[tuple[str, RunStats, int | None]]
    others: tuple[int, int] | None
    points: Sequence[Point]
    charts: Sequence[charts.Chart]
    spread: Spread | None
    places: Sequence[tuple[float, HistoryMark]]
    marks: Sequence[HistoryMark]
    ends: Sequence[str]


async def metrics_page(visit: Visit) -> Response:
    """The charts and tables of a period, of all tasks or of one; a table of them as CSV if that is asked for."""
    period, task = visit.request.query_params.get("period", "1h"), text_in(visit, "task")
    if period not in PERIODS:
        near = near_match(period, PERIODS)
        raise Refusal(
            400,
            "There is no such period",
            f"{period[:60]!r} is none of {', '.join(PERIODS)}{near}.",
        )
    ran = visit.console.everything.ran(period, task or None)
    found = await ran.soon()
    if visit.wants_csv:
        return _csv(found, text_in(visit, "of") or "points", f"{task or 'tasks'}-{period}")
    unsampled = _READ_ONLY if visit.console.options.read_only else _NOT_YET
    return page(
        visit, "metrics", view=_view(found, period), period=period, periods=PERIODS, task=task,
        unsampled=unsampled, read=ran.as_of,
    )  # fmt: skip


def _csv(found: RunHistory, of: str, name: str) -> Response:
    """A table for other programs: by time (`points`), task or queue."""
    if of not in _TABLES:
        tables = f"{of[:60]!r} is none of {', '.join(_TABLES)}{near_match(of, _TABLES)}."
        raise Refusal(400, "There is no such table", tables)
    rows, text = found.as_json()[of], io.StringIO()
    writer = csv.DictWriter(text, [*rows[0]] if rows else [of.removesuffix("s")])
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    safe = "".join(each if each.isascii() and each.isalnum() else "-" for each in name)[:80]
    headers = {"content-disposition": f'attachment; filename="{safe}.csv"'}
    return Response(text.getvalue().encode("utf-8", "backslashreplace"), 200, headers, "text/csv")


def _cell(value: Any) -> Any:
    """A text that no spreadsheet takes for a formula."""
    if not isinstance(value, str):
        return value
    shown = printable(value)
    return f"'{shown}" if shown.startswith(_FORMULA) else shown


def _view(found: RunHistory, period: str) -> MetricsView:
    point_ms = PERIODS[period].point_s * 1000
    queues = [(name, each, found.longest.get(name)) for name, each in found.queues.items()]
    idle = [
        (name, RunStats(new_record()), most)
        for name, most in found.longest.items()
        if name not in found.queues
    ]
    idle.sort(key=lambda each: -(each[2] or 0))
    waited, spread = any(each.waiting for each in found.points), Spread.of(found.points)
    return MetricsView(
        empty=not (found.total.runs or found.total.retried or found.total.lost or waited),
        total=found.total,
        tasks=[*found.tasks.items()][:_ROWS],
        more_tasks=max(0, len(found.tasks) - _ROWS),
        queues=[*queues, *idle][:_ROWS],
        others=found.others,
        points=found.points,
        charts=[
            charts.runs(found.points, PERIODS[period].step),
            charts.run_times(found.points),
            *([spread.chart()] if spread else []),
            *([charts.waiting(found.points)] if waited else []),
        ],
        spread=spread,
        places=charts.mark_places(found, point_ms),
        marks=[
            HistoryMark(each.at_ms, cut(each.text, 80), each.by) for each in found.marks[-_MARKS:]
        ],
        ends=charts.ends(found, point_ms),
    )
