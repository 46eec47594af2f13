"""Finds tracked tasks: page by page, one after the other, or only their number."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Unpack

from resqpy.base.errors import StoreMisconfigured
from resqpy.store.connection.client import Arg, RedisClock, Store
from resqpy.tracked import records
from resqpy.tracked.handle import (
    MAX_PAGE_SIZE,
    Conditions,
    Position,
    Query,
    QueryOptions,
    Section,
    SortBy,
    TrackedTask,
    check_page_size,
    make_query,
    read_cursor,
    write_cursor,
)
from resqpy.tracked.processing import VerbInterceptor, intercepted
from resqpy.tracked.record import Record, TaskStatus
from resqpy.tracked.recovery import settle_due

_WINDOW = 500
_MAX_IDS = 5000  # examined in one call
Found = tuple[int, bytes, bytes]  # the number of the section from 1, id, score
_MAX_CALLS = 5  # of the script, for a page that has a task; each examines up to 2,000 ids
DEFAULT_PAGE_SIZE = 25
_TIME_KEPT_S = 60.0  # monotonic clocks drift by less than a millisecond in this time


@dataclass(frozen=True, slots=True)
class Row:
    """A position in the order."""

    section: int
    task_id: str
    score: int


async def next_rows(
    store: Store, sections: Sequence[Section], most: int, *, ascending: bool
) -> tuple[list[Row], Row | None]:
    """The next rows. One round trip; without scripts, a few.

    Returns:
        The rows, and, if the script stopped after many ids that don't match, the position to continue from.
    """
    if not store.scripts:
        found, stopped = await walk(store, sections, most, ascending=ascending)
        return [_row(*row) for row in found], _row(*stopped) if stopped else None
    args: list[Arg] = ["asc" if ascending else "desc", most, len(sections)]
    for section in sections:
        score, task_id = section.after or ("", "")
        counts = (len(section.sets), len(section.others), len(section.one_of))
        args += (*counts, score, task_id)
    names = [name for each in sections for name in (*each.sets, *each.others, *each.one_of)]
    rows, *given_up = await store.run("task_page", names, args)
    return [_row(*row) for row in rows], _row(*given_up[0]) if given_up else None


def _row(section: int, task_id: bytes, score: bytes) -> Row:
    return Row(section - 1, task_id.decode(), int(float(score)))


async def sizes_of(store: Store, sets: Sequence[str]) -> list[int]:
    """The size of several sorted sets."""
    return await store.pipeline([("ZCARD", name) for name in sets])


async def walk(
    store: Store, sections: Sequence[Section], most: int, *, ascending: bool
) -> tuple[list[Found], Found | None]:
    """The result of `lua/task_page.lua`, for Redis users that may not run scripts; in a few round trips."""
    rows: list[Found] = []
    left = _MAX_IDS
    for number, section in enumerate(sections, 1):
        sizes = await store.pipeline([("ZCARD", name) for name in section.sets])
        key = section.sets[sizes.index(min(sizes))]
        others = [name for name in (*section.sets, *section.others) if name != key]
        offset = 0
        while len(rows) < most:
            window = await _window(store, key, section, offset, ascending=ascending)
            later = [pair for pair in window if _is_after(pair, section, ascending=ascending)]
            wanted = await _in_all(store, [each for each, _ in later], others)
            rows += [(number, *pair) for pair, right in zip(later, wanted, strict=True) if right]
            left -= len(window)
            if len(window) < _WINDOW:
                break
            if left <= 0 and len(rows) < most:
                return rows, (number, *window[-1])
            offset += _WINDOW
        if len(rows) >= most:
            break
    return rows[:most], None


async def _window(
    store: Store, key: str, section: Section, offset: int, *, ascending: bool
) -> list[tuple[bytes, bytes]]:
    begin = str(section.after[0]) if section.after else "-inf" if ascending else "+inf"
    verb, end = ("ZRANGEBYSCORE", "+inf") if ascending else ("ZREVRANGEBYSCORE", "-inf")
    flat = await store.call(verb, key, begin, end, "WITHSCORES", "LIMIT", offset, _WINDOW)
    return list(zip(flat[::2], flat[1::2], strict=True))


def _is_after(pair: tuple[bytes, bytes], section: Section, *, ascending: bool) -> bool:
    if section.after is None:
        return True
    place, after = (float(pair[1]), pair[0]), (section.after[0], section.after[1].encode())
    return place > after if ascending else place < after


async def _in_all(store: Store, ids: Sequence[bytes], sets: Sequence[str]) -> list[bool]:
    asked = [("ZSCORE", name, each) for each in ids for name in sets]
    scores, each = await store.pipeline(asked), len(sets)
    return [None not in scores[at * each : (at + 1) * each] for at in range(len(ids))]


@dataclass(frozen=True, slots=True)
class RecordPage:
    """Some records, and where to continue; no cursor: that was all."""

    records: list[Record]
    cursor: str | None


async def page(
    store: Store, query: Query, place: Position | None, size: int, now_ms: int
) -> RecordPage:
    """The next page; one with a cursor is never empty. Its cost depends on its size, not on the number of
    tasks.

    Redis finds the ids that are in the sorted sets of all conditions; only matching records are read. If
    few ids meet all conditions, the script stops after a number of ids once the page has a task: then it
    has fewer tasks than requested, but still a cursor. A page without any continues.
    """
    found: list[Record] = []
    calls = 0
    while calls < _MAX_CALLS or not found:
        calls += 1
        wanted = size - len(found) + 1
        rows, given_up = await next_rows(
            store, query.sections(store.keys, place), wanted, ascending=query.ascending
        )
        statuses = query.in_order(place) if query.sort is SortBy.STATUS else []
        known = (
            await records.get_many(store, [row.task_id for row in rows], shown=True) if rows else []
        )
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


def _full(query: Query, found: list[Record], place: Position | None) -> RecordPage:
    return RecordPage(found, None if place is None else write_cursor(query, place))


def _place(row: Row, statuses: list[TaskStatus]) -> Position:
    return Position(row.score, row.task_id, statuses[row.section] if statuses else None)


@dataclass(frozen=True, slots=True)
class Page:
    """Tasks, and where the next page begins; no cursor: that was all."""

    tasks: list[TrackedTask]
    cursor: str | None


class TaskQueries:
    """The verbs of `Tracked` for all tasks together."""

    store: Store
    clock: RedisClock
    interceptors: list[VerbInterceptor]

    def _task(self, record: Record) -> TrackedTask:
        raise NotImplementedError

    async def _hear_time(self, *, again: bool = False) -> None:
        """Get Redis' time, unless we got it recently."""
        if again or self.clock.age_s > _TIME_KEPT_S:
            asked_s = self.clock.monotonic()
            self.clock.note_between(await self.store.time_us(), asked_s)

    @intercepted("query")
    async def query(
        self,
        *,
        cursor: str | None = None,
        page_size: int = DEFAULT_PAGE_SIZE,
        **conditions: Unpack[QueryOptions],
    ) -> Page:
        """A page of tasks.

        Args:
            cursor: of the previous page; the conditions must be the same.
            conditions: see `QueryOptions`.

        Raises:
            WrongCursor, UsageError: what is wrong.
        """
        query = make_query(conditions)
        size = check_page_size(page_size)
        place = None if cursor is None else read_cursor(query, cursor)
        await self._hear_time()
        await self._settle(query)
        found = await page(self.store, query, place, size, self.clock.now_ms())
        return Page([self._task(record) for record in found.records], found.cursor)

    async def _settle(self, query: Query) -> None:
        """Update the sets by status with what has changed by time alone; whoever may only read finds them as they
        are.
        """
        if query.statuses or query.sort is SortBy.STATUS:
            with suppress(StoreMisconfigured):
                await settle_due(self.store)

    async def iterate(
        self, page_size: int = 100, **conditions: Unpack[QueryOptions]
    ) -> AsyncGenerator[TrackedTask, None]:
        """All tasks that `query` would give, page by page."""
        cursor: str | None = None
        while True:
            page = await self.query(cursor=cursor, page_size=page_size, **conditions)
            for task in page.tasks:
                yield task
            cursor = page.cursor
            if cursor is None:
                return

    @intercepted("count")
    async def count(self, **conditions: Unpack[Conditions]) -> int:
        """The number of tasks.

        One round trip for a type, statuses, both, one tag, an application or a user; for other conditions,
        and combinations, the matching records are read.

        Args:
            conditions: see `Conditions`.
        """
        query = make_query(conditions)
        await self._hear_time()
        await self._settle(query)
        if sets := query.whole_sets(self.store.keys):
            return sum(await sizes_of(self.store, sets))
        return await self._count_records(query)

    async def _count_records(self, query: Query) -> int:
        count, place = 0, None
        while True:
            now_ms = self.clock.now_ms()
            found = await page(self.store, query, place, MAX_PAGE_SIZE, now_ms)
            count += len(found.records)
            if found.cursor is None:
                return count
            place = read_cursor(query, found.cursor)
