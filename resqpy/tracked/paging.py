"""Pages of a query: what a page costs is what it holds, at ten tasks or a million.

Redis finds the ids that stand in the sorted sets of all conditions; only records that are asked for
are read. Where few of many ids meet conditions together, a page that has found a task looks at so many
and no more: it may have fewer tasks than asked for, and still a cursor. One without any goes on.
"""

from __future__ import annotations

from dataclasses import dataclass

from resqpy.store.client import Store
from resqpy.tracked import record_pages, records
from resqpy.tracked.query import Place, Query, SortBy, write_cursor
from resqpy.tracked.record import Record
from resqpy.tracked.status import TaskStatus

_MOST_CALLS = 5  # of the script, in a page that has a task; each looks at up to 2,000 ids


@dataclass(frozen=True, slots=True)
class RecordPage:
    """Some records, and where to go on; no cursor: that was all."""

    records: list[Record]
    cursor: str | None


async def page(
    store: Store, query: Query, place: Place | None, size: int, now_ms: int
) -> RecordPage:
    """The next page; one with a cursor is never empty."""
    found: list[Record] = []
    calls = 0
    while calls < _MOST_CALLS or not found:
        calls += 1
        wanted = size - len(found) + 1
        rows, given_up = await record_pages.page(
            store, query.sections(store.keys, place), wanted, ascending=query.ascending
        )
        statuses = query.in_order(place) if query.sort is SortBy.STATUS else []
        known = await records.get_many(store, [row.task_id for row in rows]) if rows else []
        for row, record in zip(rows, known, strict=True):
            if query.beyond(row.score):
                return RecordPage(found, None)
            if len(found) == size:
                return _full(query, found, place)
            place = _place(row, statuses)
            if record is not None and query.matches(record, now_ms):
                found.append(record)
        if given_up is not None and query.beyond(given_up.score):
            return RecordPage(found, None)
        if given_up is not None:
            place = _place(given_up, statuses)
        elif len(rows) < wanted:
            return RecordPage(found, None)
    return _full(query, found, place)


def _full(query: Query, found: list[Record], place: Place | None) -> RecordPage:
    return RecordPage(found, None if place is None else write_cursor(query, place))


def _place(row: record_pages.Row, statuses: list[TaskStatus]) -> Place:
    return Place(row.score, row.task_id, statuses[row.section] if statuses else None)
