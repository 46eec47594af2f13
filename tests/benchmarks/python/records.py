"""Pages of many tracked tasks: at the start, in the middle and at the end of what a query finds."""

from __future__ import annotations

import asyncio
import time
from statistics import median
from typing import Any

from resqpy.store.connection.client import Store
from resqpy.tracked.verbs import Tracked
from tests.benchmarks.python.common import Params, options, run, say, stdin_ends

_AT_ONCE, _TIMES = 500, 100
_QUERIES: dict[str, dict[str, Any]] = {
    "all, by creation": {},
    "of a type and status": {"type": "noop", "status": "pending"},
    "of a tag, newest first": {"tags": ["every"], "direction": "desc"},
}


async def main(params: Params) -> None:
    """Create, then time pages of 25."""
    store = Store(options(params))
    await store.connect()
    tracked, count = Tracked(store), params["records"]
    for at in range(0, count, _AT_ONCE):
        some = (tracked.create("noop", {"n": at + n}, tags=["every"]) for n in range(_AT_ONCE))
        await asyncio.gather(*some)
    pages = {name: await places(tracked, query, count) for name, query in _QUERIES.items()}
    say(ready=True, result=pages)
    await stdin_ends()
    await store.close()


async def places(tracked: Tracked, query: dict[str, Any], count: int) -> list[float]:
    """Milliseconds of a page at the start, in the middle and at the end; the median."""
    cursors, cursor, seen = [None], None, 0
    while True:
        page = await tracked.query(**query, cursor=cursor, page_size=1000)
        cursor, before = page.cursor, seen
        seen += len(page.tasks)
        if before < count // 2 <= seen or before < count - 1000 <= seen:
            cursors.append(cursor)  # type: ignore[arg-type]
        if cursor is None:
            assert seen == count
            return [await timed(tracked, query, each) for each in cursors]


async def timed(tracked: Tracked, query: dict[str, Any], cursor: str | None) -> float:
    """One place."""
    found = []
    for _ in range(_TIMES):
        start = time.perf_counter()
        page = await tracked.query(**query, cursor=cursor, page_size=25)
        found.append((time.perf_counter() - start) * 1000)
        assert len(page.tasks) == 25
    return median(found)


if __name__ == "__main__":
    run(main)
