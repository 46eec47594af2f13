"""Which fires of a cron schedule are due: pure rules, no Redis.

A fire is on time up to half a minute late, so that a new leader (within 15 s) makes up for all of them,
whatever the task says of missed ones. Later it was missed, and the task decides:

- "skip": missed fires are left out;
- "once": if any was missed, one job stands for all that is due, with the latest of the times;
- "all": a job for each.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from resqpy.base.cron import CronSchedule
from resqpy.base.periodic import Periodic, to_datetime, to_ms

ON_TIME_MS = 30_000
MOST = 500  # fires in one step


class Plan(NamedTuple):
    """What is to be done.

    Attributes:
        fires: the times (ms) that get a job each, in order.
        settled_ms: up to which time all is settled when that is done.
        more: there are further ones.
    """

    fires: list[int]
    settled_ms: int
    more: bool = False


def plan(task: Periodic, settled_ms: int, now_ms: int) -> Plan:
    """What is due by now, if all up to `settled_ms` is settled and something after it is due."""
    schedule = task.cron
    assert schedule is not None
    on_time_ms = max(settled_ms, now_ms - ON_TIME_MS)
    looks_back_ms = 0 if task.missed == "skip" else task.window_ms
    oldest_ms = max(settled_ms, min(on_time_ms, now_ms - looks_back_ms))
    due = fires(schedule, oldest_ms, now_ms)
    if task.missed == "once":
        return _once(schedule, due, on_time_ms, now_ms)
    some = list(islice(due, MOST + 1))
    more, some = len(some) > MOST, some[:MOST]
    return Plan(some, some[-1] if some else now_ms, more)


def _once(schedule: CronSchedule, due: Iterator[int], on_time_ms: int, now_ms: int) -> Plan:
    first = next(due, None)
    if first is None:
        return Plan([], now_ms)
    if first > on_time_ms:
        some = [first, *due]
        return Plan(some, some[-1])
    last = schedule.previous_before(to_datetime(now_ms + 1))
    assert last is not None
    return Plan([to_ms(last)], to_ms(last))


def fires(schedule: CronSchedule, after_ms: int, until_ms: int) -> Iterator[int]:
    """The times (ms) within `after < time <= until`."""
    found = schedule.between(to_datetime(after_ms + 1), to_datetime(until_ms + 1))
    return (to_ms(fire.at) for fire in found)


def next_ms(schedule: CronSchedule, after_ms: int) -> int | None:
    """The first fire (ms) later than a time."""
    following = schedule.next_after(to_datetime(after_ms))
    return None if following is None else to_ms(following)
