"""What runs only while a scheduler leads, and none does that: a part of `resqpy doctor`."""

from __future__ import annotations

from collections.abc import Sequence

from resqpy.diagnosis.problem import Found, Problem
from resqpy.engine.options import LeaderOptions
from resqpy.engine.resque import Resque
from resqpy.engine.schedule_view import ScheduleView
from resqpy.store import delayed
from resqpy.store.leader import LeaderLock, led

_NAMED = 3
_LOOKED_AT = 1000  # times at which something is due


async def unled_problems(
    resque: Resque, options: LeaderOptions, locks: Sequence[LeaderLock]
) -> Found:
    """Periodic tasks, delayed jobs and Ruby's schedules that nobody moves, in one problem. Nothing is
    broken where nothing was started yet.
    """
    if not locks:
        return
    found, waits = led(locks), list[str]()
    timetable = await ScheduleView(resque, options).load()
    running = [each for each in timetable.entries if each.state in ("waiting", "under way")]
    if names := [each.name for each in running if each.kind != "ruby" and not found.periodic]:
        waits.append(_named("periodic tasks", names))
    jobs = 0 if found.delayed else await _delayed_jobs(resque)
    if jobs:
        waits.append(f"delayed jobs ({jobs:,})")
    if names := [each.name for each in running if each.kind == "ruby" and not found.delayed]:
        waits.append(_named("schedules of resque-scheduler", names))
    if waits:
        words = f"{found.who}: {' and '.join(waits)} don't run"
        at_work = bool(jobs or await resque.workers())
        yield Problem("no scheduler", words, found.remedy, grave=at_work)


async def _delayed_jobs(resque: Resque) -> int:
    seconds = await delayed.seconds(resque.store, 0, _LOOKED_AT - 1)
    return sum(await delayed.lengths(resque.store, seconds))


def _named(what: str, names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return f"{what} ({', '.join(names[:_NAMED])}{more})"
