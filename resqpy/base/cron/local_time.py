"""Time zones as stretches of one UTC offset, in whole seconds since 1970; used by `base/cron` only.

The zoneinfo module does not say when an offset changes, so it is asked for each day, and the exact second
is found by bisection. No zone of the tz database changes its offset and back within a day.
"""

from __future__ import annotations

from datetime import MAXYEAR, UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from resqpy.base.when import EPOCH

if TYPE_CHECKING:
    from collections.abc import Iterator

EPOCH_ORDINAL = EPOCH.toordinal()
DAY_S = 86_400
ONE_SECOND = timedelta(seconds=1)
FIRST_YEAR, LAST_YEAR = 2, MAXYEAR - 1  # local times of these years still fit a datetime


class Stretch(NamedTuple):
    """A period with one UTC offset; also cut at the ends of UTC years, where the offset does not change."""

    start: int  # the first second of it, UTC
    end: int  # the first second after it, UTC
    offset: int  # seconds to add to UTC for local time
    before: int  # the offset just before `start`
    after: int  # the offset from `end` onwards


def floor_s(moment: datetime) -> int:
    """The whole second that contains an aware moment."""
    return (moment - EPOCH) // ONE_SECOND


def ceil_s(moment: datetime) -> int:
    """The first whole second that is not before an aware moment."""
    return -((EPOCH - moment) // ONE_SECOND)


def stretches_from(zone: tzinfo, second: int) -> Iterator[Stretch]:
    """The stretch that contains a second and all later ones, to the end of the calendar."""
    for year in range(max(_year(second), FIRST_YEAR), LAST_YEAR + 1):
        yield from (stretch for stretch in stretches(zone, year) if stretch.end > second)


def stretches_until(zone: tzinfo, second: int) -> Iterator[Stretch]:
    """The stretch of the last second before `second`, then the earlier ones, newest first."""
    for year in range(min(_year(second), LAST_YEAR), FIRST_YEAR - 1, -1):
        yield from (s for s in reversed(stretches(zone, year)) if s.start < second)


@lru_cache(maxsize=4096)
def stretches(zone: tzinfo, year: int) -> tuple[Stretch, ...]:
    """The stretches of one UTC year in order."""
    first, last = _january(year), _january(year + 1)
    edges = [first, *_changes(zone, first, last), last]
    offsets = [_offset(zone, edge) for edge in edges]
    offsets.insert(0, _offset(zone, first - 1))
    return tuple(
        Stretch(edges[i], edges[i + 1], offsets[i + 1], offsets[i], offsets[i + 2])
        for i in range(len(edges) - 1)
    )


def _changes(zone: tzinfo, first: int, last: int) -> Iterator[int]:
    """Each second within `first < second < last` at which the offset changes."""
    if isinstance(zone, timezone):
        return
    known = first
    for asked in (*range(first + DAY_S, last, DAY_S), last - 1):
        while _offset(zone, known) != _offset(zone, asked):
            known = _next_change(zone, known, asked)
            yield known
        known = asked


def _next_change(zone: tzinfo, low: int, high: int) -> int:
    offset = _offset(zone, low)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _offset(zone, middle) == offset else (low, middle)
    return high


def _offset(zone: tzinfo, second: int) -> int:
    local = (EPOCH + timedelta(seconds=second)).astimezone(zone)
    return (local.replace(tzinfo=UTC) - EPOCH) // ONE_SECOND - second


def _year(second: int) -> int:
    return (EPOCH + timedelta(seconds=second)).year


def _january(year: int) -> int:
    return (datetime(year, 1, 1, tzinfo=UTC) - EPOCH) // ONE_SECOND
