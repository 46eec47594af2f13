"""Searches in waiting jobs, page by page: jobs are found by content and changed by exact bytes.

A dry run and a real run use the same search; the real one also changes what was found.
"""

from __future__ import annotations

from asyncio import gather
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from resqpy.base import reading
from resqpy.base.model import Job
from resqpy.base.reading import JobFilter
from resqpy.store import delayed
from resqpy.store.connection.client import Store
from resqpy.store.queues import lists_of
from resqpy.store.sweep import Item, Sweep

WINDOW = 1000
_HEAD = 20  # most times have few jobs; these are read together with those of other times

Chosen = Sequence[Item]
Act = Callable[[Chosen], Awaitable[set[int]]]  # the indices of those that were changed
ActAt = Callable[[int, Chosen], Awaitable[set[int]]]  # with the second at which they are due


@dataclass(slots=True)
class SearchResult:
    """Result of a search.

    Attributes:
        looked_at: number of jobs examined.
        found: number of matching jobs.
        first: in a queue: how many of the jobs examined are before the first match.
        done: how many were changed: others were gone meanwhile, or had to stay.
        times: the seconds at which delayed ones were found, or were changed.
    """

    looked_at: int = 0
    found: int = 0
    first: int = 0
    done: int = 0
    times: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class QueueRange:
    """Which part of a queue is searched.

    Attributes:
        start: the first position.
        visits: maximum number of jobs examined; None: as many as there are now.
        most: maximum number chosen; None: all.
    """

    start: int = 0
    visits: int | None = None
    most: int | None = None


ALL = QueueRange()


async def search_queue(
    store: Store,
    queue: str,
    wanted: JobFilter,
    act: Act | None = None,
    *,
    part: QueueRange = ALL,
    but: Callable[[Job], bool] | None = None,
) -> SearchResult:
    """Search a queue; what is enqueued after this has begun is not examined.

    Args:
        act: changes what is found; None: a dry run.
        but: jobs to skip although they match.
    """
    walked, left = SearchResult(), part.most
    if left == 0:
        return walked
    whole = not part.start and part.visits is None
    lists = await lists_of(store, queue) if whole else [store.keys.queue(queue)]
    pages = _pages(store, lists, part)
    async for sweep, key, page in pages:
        chosen = [
            replace(item, key=key)
            for item in page
            if wanted.means(item.raw, queue)
            and not (but is not None and but(reading.show_job(item.raw, queue)))
        ][:left]
        if chosen and not walked.found:
            walked.first = walked.looked_at + page.index(replace(chosen[0], key=""))
        walked.looked_at += len(page)
        walked.found += len(chosen)
        done = len(chosen)
        if act is not None:
            gone = await act(chosen) if chosen else set()
            sweep.removed(gone)
            done = len(gone)
            walked.done += done
        left = None if left is None else left - done
        if left == 0:
            break
    return walked


async def _pages(
    store: Store, lists: Sequence[str], part: QueueRange
) -> AsyncIterator[tuple[Sweep, str, list[Item]]]:
    for key in lists:
        sweep = Sweep(store, key, start=part.start, most=part.visits, step=WINDOW)
        while page := await sweep.page():
            yield sweep, key, page


class DelayedSearch:
    """A search in delayed jobs.

    Args:
        act: changes what is found; None: a dry run.
        but: jobs to skip although they match.
        most: maximum number chosen, the earliest first; None: all.
    """

    def __init__(
        self,
        store: Store,
        wanted: JobFilter,
        act: ActAt | None = None,
        *,
        but: Callable[[Job], bool] | None = None,
        most: int | None = None,
    ) -> None:
        self._store = store
        self._wanted = wanted
        self._act = act
        self._but = but
        self._left = most
        self.walked: SearchResult = SearchResult()

    async def everywhere(self, *, but: Collection[int] = ()) -> SearchResult:
        """All delayed jobs, a few hundred times per round trip; not the seconds in `but`."""
        async for page in delayed.every_head(self._store, _HEAD):
            further: list[Coroutine[Any, Any, object]] = []
            for second, head in page:
                if second in but or (step := self._begin(second, head)) is None:
                    continue
                if self._left is None:
                    further.append(step)
                else:
                    await step
            await gather(*further)
            if self._left == 0:
                break
        return self.walked

    def _begin(self, second: int, head: Sequence[bytes]) -> Coroutine[Any, Any, object] | None:
        """Examine the first jobs of a second; returns what else is to be done there."""
        if len(head) >= _HEAD:
            return self.at(second)
        chosen = self._choose(list(map(Item, count(), head)))
        if chosen and self._act is not None:
            return self._act_on(second, chosen)
        self._note(second, len(chosen))
        return None

    async def at(self, second: int) -> SearchResult:
        """What is due at one second."""
        sweep = Sweep(self._store, self._store.keys.delayed(second), step=WINDOW)
        while self._left != 0 and (page := await sweep.page()):
            chosen = self._choose(page)
            if chosen and self._act is not None:
                sweep.removed(await self._act_on(second, chosen))
            else:
                self._note(second, len(chosen))
        return self.walked

    def _choose(self, items: Sequence[Item]) -> Chosen:
        chosen = [
            item
            for item in items
            if self._wanted.means(item.raw)
            and not (self._but is not None and self._but(reading.show_delayed(item.raw)))
        ][: self._left]
        self.walked.looked_at += len(items)
        self.walked.found += len(chosen)
        return chosen

    async def _act_on(self, second: int, chosen: Chosen) -> set[int]:
        gone = await self._act(second, chosen) if self._act is not None else set[int]()
        self.walked.done += len(gone)
        self._note(second, len(gone))
        return gone

    def _note(self, second: int, number: int) -> None:
        """Count jobs found at a second, or changed there."""
        if number:
            self.walked.times.add(second)
        if self._left is not None:
            self._left -= number
