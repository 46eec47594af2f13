"""What runs by itself: periodic tasks and Ruby's schedules; run one now, pause and resume it."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.responses import Response

from resqpy.base.cron.words import cron_words
from resqpy.diagnosis import texts
from resqpy.engine.inspect.schedule_view import ScheduleView
from resqpy.schedules.schedule import RESTING, Schedule
from resqpy.web.changing import change_schedule
from resqpy.web.pages.parts import back, number_in, part_of, text_in
from resqpy.web.rendering import page
from resqpy.web.views import cut
from resqpy.web.visit import Visit

_ROWS = 100


@dataclass(frozen=True)
class ScheduleRow:
    """A schedule.

    Attributes:
        words: its cron expression in words, if it is a common one.
        late: its next time has passed by more than a minute.
    """

    name: str
    kind: str
    timing: str
    words: str
    class_name: str
    queue: str
    state: str
    resting: bool
    problem: str
    last_ms: int | None
    next_ms: int | None
    late: bool


def _row(entry: Schedule, now_ms: int) -> ScheduleRow:
    next_ms = texts.ms_of(entry.next)
    return ScheduleRow(
        name=entry.name,
        kind=entry.kind,
        timing=cut(entry.timing, 80),
        words=cron_words(entry.timing),
        class_name=cut(entry.class_name),
        queue=cut(entry.queue),
        state=entry.state,
        resting=entry.state in RESTING,
        problem=cut(entry.problem),
        last_ms=texts.ms_of(entry.last),
        next_ms=next_ms,
        late=next_ms is not None and next_ms < now_ms - 60_000,
    )


async def all_schedules(visit: Visit) -> Response:
    """Everything that runs by itself, by name."""
    start, text = number_in(visit.request.query_params, "from"), text_in(visit, "q").lower()
    found = await ScheduleView(visit.resque, visit.console.options.leader).load()
    now_ms = texts.ms_of(found.now) or 0
    rows = [_row(each, now_ms) for each in found.entries if text in each.name.lower()]
    return page(
        visit, "schedules", rows=rows[start : start + _ROWS], total=len(rows), start=start,
        size=_ROWS, text=text_in(visit, "q"),
    )  # fmt: skip


async def run_schedule(visit: Visit) -> Response:
    """Enqueue its job now."""
    done = await change_schedule(visit, "run now", part_of(visit, "name"))
    return back(visit, "/schedules", "enqueued" if done else "not_enqueued")


async def pause_schedule(visit: Visit) -> Response:
    """Pause it."""
    await change_schedule(visit, "pause", part_of(visit, "name"))
    return back(visit, "/schedules", "paused")


async def resume_schedule(visit: Visit) -> Response:
    """Resume it."""
    await change_schedule(visit, "resume", part_of(visit, "name"))
    return back(visit, "/schedules", "resumed")
