"""Walks over jobs that wait, in windows: they find by content, and what is done is done to exact bytes.

A dry run and an act are the same walk; the act only does something to what was found.
"""

from __future__ import annotations

from asyncio import gather
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field

from resqpy.base import reading
from resqpy.base.job_filter import JobFilter
from resqpy.base.model import Job
from resqpy.store import delayed
from resqpy.store.client import Store
from resqpy.store.sweep import Item, Sweep

WINDOW = 1000
_HEAD = 20  # most times have few jobs; these are read with those of others

Chosen = Sequence[tuple[Item, Job]]
Act = Callable[[Chosen], Awaitable[set[int]]]  # the indices of those to which it was done
ActAt = Callable[[int, Chosen], Awaitable[set[int]]]  # with the second at which they are due


@dataclass(slots=True)
class Walked:
    """What came of a walk.

    Attributes:
        looked_at: jobs it looked at.
        found: how many are meant.
        done: how many of them it was done to: others were gone meanwhile, or had to stay.
        times: at which seconds delayed ones were found, or were changed.
    """

    looked_at: int = 0
    found: int = 0
    done: int = 0
    times: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Range:
    """Which part of a queue is walked over.

    Attributes:
        start: the first position.
        visits: so many jobs are looked at; None: as many as there are now.
        most: so many are chosen at the most; None: all.
    """

    start: int = 0
    visits: int | None = None
    most: int | None = None


ALL = Range()


async def walk_queue(
    store: Store,
    queue: str,
    wanted: JobFilter,
    act: Act | None = None,
    *,
    part: Range = ALL,
    but: Callable[[Job], bool] | None = None,
) -> Walked:
    """Walk over a queue; what is enqueued after this has begun is not looked at.

    Args:
        act: done to what is found; None: a dry run.
        but: jobs that are left out, though they are meant.
    """
    sweep = Sweep(
        store, store.keys.queue(queue), start=part.start, most=part.visits, step=WINDOW
    )  # fmt: skip
    walked, left = Walked(), part.most
    while left != 0 and (page := await sweep.page()):
        walked.looked_at += len(page)
        chosen = [
            (item, job)
            for item in page
            if wanted.may_fit(item.raw)
            and wanted.fits(job := reading.show_job(item.raw, queue))
            and not (but is not None and but(job))
        ][:left]
        walked.found += len(chosen)
        done = len(chosen)
        if act is not None:
            gone = await act(chosen) if chosen else set()
            sweep.removed(gone)
            done = len(gone)
            walked.done += done
        left = None if left is None else left - done
    return walked


class DelayedWalk:
    """A walk over delayed jobs.

    Args:
        act: done to what is found; None: a dry run.
        but: jobs that are left out, though they are meant.
        most: so many are chosen at the most, the earliest first; None: all.
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
        self.walked: Walked = Walked()

    async def everywhere(self, *, but: Collection[int] = ()) -> Walked:
        """All that is delayed, some hundred times in two round trips; not the seconds of `but`."""
        async for page in delayed.every_page(self._store):
            seconds = [int(member) for member in page if delayed.is_second(member)]
            seconds = [each for each in seconds if each not in but]
            heads = await delayed.heads(self._store, list(map(str, seconds)), _HEAD)
            pairs = zip(seconds, heads, strict=True)
            worth = [(second, head) for second, head in pairs if self._is_worth(head)]
            if self._left is None:
                await gather(*(self._from_head(*each) for each in worth))
                continue
            for second, head in worth:
                await self._from_head(second, head)
            if self._left == 0:
                break
        return self.walked

    def _is_worth(self, head: Sequence[bytes]) -> bool:
        """Whether a second must be looked at further than by its first jobs' bytes."""
        worth = len(head) >= _HEAD or any(map(self._wanted.may_fit, head))
        self.walked.looked_at += 0 if worth else len(head)
        return worth

    async def _from_head(self, second: int, head: Sequence[bytes]) -> None:
        """What is due at one second, whose first jobs are known."""
        if len(head) < _HEAD:
            await self._look_at(second, [Item(place, raw) for place, raw in enumerate(head)])
        else:
            await self.at(second)

    async def at(self, second: int) -> Walked:
        """What is due at one second."""
        sweep = Sweep(self._store, self._store.keys.delayed(second), step=WINDOW)
        while self._left != 0 and (page := await sweep.page()):
            sweep.removed(await self._look_at(second, page))
        return self.walked

    async def _look_at(self, second: int, page: Sequence[Item]) -> set[int]:
        chosen = [
            (item, job)
            for item in page
            if self._wanted.may_fit(item.raw)
            and self._wanted.fits(job := reading.show_delayed(item.raw))
            and not (self._but is not None and self._but(job))
        ][: self._left]
        gone: set[int] = set()
        if chosen and self._act is not None:
            gone = await self._act(second, chosen)
        done = len(chosen) if self._act is None else len(gone)
        self.walked.looked_at += len(page)
        self.walked.found += len(chosen)
        self.walked.done += len(gone)
        if done:
            self.walked.times.add(second)
        if self._left is not None:
            self._left -= done
        return gone
