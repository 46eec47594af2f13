"""Queries against a plain model in Python, while tasks come, change and go between the pages."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

from hypothesis import HealthCheck, given, settings, strategies as st
from redis import Redis

from resqpy.store.connection.client import Store
from resqpy.store.connection.options import RedisOptions
from resqpy.tracked import claiming, locks, records
from resqpy.tracked.handle import SortBy
from resqpy.tracked.record import Record, RunEnd, RunEndKind, TaskError, TaskStatus
from resqpy.tracked.transitions import apply
from resqpy.tracked.verbs import Tracked

STATUSES = ("pending", "disabled", "cancelled", "completed", "failed")
queries = st.fixed_dictionaries(
    {
        "type": st.sampled_from([None, "a"]),
        "status": st.sampled_from([None, None, None, *STATUSES]),
        "tags": st.sampled_from([(), (), ("x",), ("x", "y")]),
        "application": st.sampled_from([None, None, "app"]),
        "user": st.sampled_from([None, None, "u"]),
        "sort": st.sampled_from(list(SortBy)),
        "direction": st.sampled_from(["asc", "desc"]),
    }
)
new_tasks = st.fixed_dictionaries(
    {
        "task_type": st.sampled_from(["a", "b"]),
        "tags": st.sampled_from([(), ("x",), ("y", "x")]),
        "application": st.sampled_from([None, "app"]),
        "user": st.sampled_from([None, "u"]),
    }
)
changes = st.sampled_from(["cancel", "disable", "enable", "save", "complete", "fail", "remove"])
steps = st.one_of(
    st.tuples(st.just("create"), new_tasks),
    st.tuples(changes, st.integers(0, 9)),
    st.tuples(st.just("page"), st.integers(1, 4)),
)


class Seen(NamedTuple):
    """Where a page ended, as the order has it."""

    status: int
    score: int
    task_id: str


def place_of(record: Record, sort: str) -> Seen | None:
    """Where a task stands in an order; None: not in it."""
    scores = {"modified": record.updated_us, "completed": record.completed_us}
    score = scores.get(sort, record.created_us)
    status = list(TaskStatus).index(record.status) if sort == "status" else 0
    return None if score is None else Seen(status, score, record.id)


def expected(all_of_them: list[Record], query: dict[str, Any], after: Seen | None) -> list[Seen]:
    """All that a query has behind a place."""
    found = []
    for record in all_of_them:
        place = place_of(record, query["sort"])
        wanted = all(
            query[name] in (None, getattr(record, name))
            for name in ("type", "status", "application", "user")
        )
        if place is not None and wanted and set(query["tags"]) <= set(record.tags):
            found.append(place)
    found.sort(reverse=query["direction"] == "desc")
    if after is None:
        return found
    if query["direction"] == "desc":
        return [place for place in found if place < after]
    return [place for place in found if place > after]


class Session:
    """Does steps on Redis, and compares each page with the model."""

    def __init__(self, store: Store, query: dict[str, Any]) -> None:
        self._store = store
        self._tracked = Tracked(store)
        self._query = query
        self._ids: list[str] = []
        self._after: Seen | None = None
        self._cursor: str | None = None

    async def create(self, options: dict[str, Any]) -> None:
        """Create a task."""
        self._ids.append((await self._tracked.create(**options)).id)

    async def change(self, verb: str, index: int) -> None:
        """Do something with a task, if its status allows it."""
        if not self._ids:
            return
        task_id = self._ids[index % len(self._ids)]
        task = await self._tracked.fetch(task_id)
        if verb in ("complete", "fail"):
            await self._run(task_id, task.type, verb)
        elif verb == "save":
            task.payload["n"] = task.payload.get("n", 0) + 1
            await task.save()
        elif verb != "cancel" or task.status in ("pending", "disabled"):
            await getattr(task, verb)()
        if verb == "remove":
            self._ids.remove(task_id)

    async def _run(self, task_id: str, kind: str, verb: str) -> None:
        claim = await locks.claim(self._store, task_id, kind, "me:1:q#x")
        if claim.ours and claim.record is not None:
            error = None if verb == "complete" else TaskError("E", "no")
            ending = RunEnd(RunEndKind(verb), claim.now_us + 1, error=error)
            assert await claiming.step(self._store, apply(claim.record, ending))

    async def page(self, size: int) -> None:
        """Read the next page; behind the last, begin anew."""
        known = [each for each in await records.get_many(self._store, self._ids) if each]
        wanted = expected(known, self._query, self._after)
        page = await self._tracked.query(cursor=self._cursor, page_size=size, **self._query)
        assert [task.id for task in page.tasks] == [place.task_id for place in wanted[:size]]
        assert (page.cursor is None) == (len(wanted) <= size)
        self._cursor = page.cursor
        self._after = None if page.cursor is None else wanted[size - 1]
        if self._query["sort"] in ("created", "status"):
            conditions = {name: self._query[name] for name in self._query if name in CONDITIONS}
            assert await self._tracked.count(**conditions) == len(
                expected(known, self._query, None)
            )


CONDITIONS = ("type", "status", "tags", "application", "user")


async def play(url: str, query: dict[str, Any], plan: list[tuple[str, Any]]) -> None:
    """Do all steps, and read the rest."""
    store = Store(RedisOptions(url))
    try:
        session = Session(store, query)
        for what, value in [*plan, ("page", 2), ("page", 5)]:
            if what in ("create", "page"):
                await getattr(session, what)(value)
            else:
                await session.change(what, value)
    finally:
        await store.close()


@settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(query=queries, first=st.lists(new_tasks, max_size=8), plan=st.lists(steps, max_size=14))
def test_any_query(
    redis_url: str,
    query: dict[str, Any],
    first: list[dict[str, Any]],
    plan: list[tuple[str, Any]],
) -> None:
    """Each page is what a plain filter and sort of all records has behind the last one's end."""
    client = Redis.from_url(redis_url)
    client.flushdb()
    client.close()
    asyncio.run(play(redis_url, query, [*(("create", each) for each in first), *plan]))
