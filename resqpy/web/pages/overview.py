"""The overview: what waits, what failed, who works, who leads, what is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.responses import PlainTextResponse, Response

from resqpy.diagnosis.browsing import SeenQueue, queues_page
from resqpy.diagnosis.checks import Problem
from resqpy.diagnosis.history import PERIODS, RunHistory, RunStats
from resqpy.store.history import HistoryMark
from resqpy.store.leader import LeaderLock, led, standing
from resqpy.web import charts
from resqpy.web.remembering import oldest
from resqpy.web.rendering import page
from resqpy.web.visit import Visit

_QUEUES = 10
_WORST = 5
_MINUTE_MS = 60_000
_PATIENCE_S = 0.5  # for the checks, which are made in the background


@dataclass(frozen=True)
class OverviewView:
    """The overview.

    Attributes:
        due_times: seconds at which something is delayed to.
        silent: workers without a recent heartbeat.
        leader: who leads; "": nobody.
        problems: what `resqpy doctor` finds without scans; None: not known yet.
        ran: the runs of the last hour; None: nothing ran.
        ends, places: what stands below it, and its marks.
        worst: the tasks that failed most in that time.
    """

    waiting: int
    queues: Sequence[SeenQueue]
    queue_count: int
    failed: int
    failed_ever: int
    processed: int
    due_times: int
    workers: int
    working: int
    silent: int
    paused: bool
    leader: str
    idle: str
    problems: Sequence[Problem] | None
    ran: charts.Chart | None
    ends: Sequence[str]
    places: Sequence[tuple[float, HistoryMark]]
    worst: Sequence[tuple[str, RunStats]]


async def healthz(_visit: Visit) -> Response:
    """For probes of the console itself; says nothing of Redis."""
    return PlainTextResponse("ok\n")


async def overview_page(visit: Visit) -> Response:
    """A few numbers, the longest queues, and what is wrong."""
    resque, console, everything = visit.resque, visit.console, visit.console.everything
    hour, known, workers, locks, problems = await asyncio.gather(
        everything.history["1h"].soon(),
        everything.queues.soon(),
        everything.workers.soon(),
        standing(resque.store, console.options.leader.ruby_lock_prefix),
        console.problems.get(_PATIENCE_S),
    )
    numbers = known.numbers
    longest = await queues_page(resque, known, workers, size=_QUEUES)
    leaders = _leaders(locks)
    return page(
        visit,
        "overview",
        view=OverviewView(
            waiting=sum(numbers.queues.values()),
            queues=longest.rows,
            queue_count=longest.total,
            failed=sum(numbers.failed.values()),
            failed_ever=numbers.stats.get("failed", 0),
            processed=numbers.stats.get("processed", 0),
            due_times=numbers.delayed,
            workers=workers.live,
            working=workers.working,
            silent=len(workers.found) - workers.live,
            paused=numbers.paused,
            leader="; ".join(leaders),
            idle="" if leaders else led(locks).idle,
            ran=charts.runs(hour.points, PERIODS["1h"].step) if hour.total.runs else None,
            ends=charts.ends(hour, _MINUTE_MS),
            places=charts.mark_places(hour, _MINUTE_MS),
            worst=_worst(hour),
            problems=problems and sorted(problems, key=lambda each: not each.grave),
        ),
        read=oldest(everything.queues, everything.workers),
    )


def _leaders(locks: Sequence[LeaderLock]) -> list[str]:
    """Who leads, and of which languages that one holds the locks."""
    held: dict[str, list[str]] = {}
    for each in locks:
        if each.holder:
            held.setdefault(each.holder, []).append(each.language)
    return [f"{holder} ({', '.join(languages)})" for holder, languages in held.items()]


def _worst(hour: RunHistory) -> list[tuple[str, RunStats]]:
    failing = [pair for pair in hour.tasks.items() if pair[1].failed]
    return sorted(failing, key=lambda pair: -pair[1].failed)[:_WORST]
