"""The jobs that wait, in queues and for their time: the part of the `Inspector` that lists them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from resqpy.base import reading
from resqpy.base.job_filter import JobFilter
from resqpy.base.model import Job
from resqpy.base.queue_priority import family
from resqpy.base.when import Moment, ceil_second, moment_ms
from resqpy.engine.inspect.inspecting import Inspecting
from resqpy.engine.inspect.walking import DelayedWalk
from resqpy.store import delayed, queues
from resqpy.store.connection.client import Store
from resqpy.store.sweep import every

_HEAD = 20  # most times have few jobs; these are read with those of others


class WaitingJobs(Inspecting):
    """Lists queues and delayed jobs. What can't be read as a job is shown as an `UnreadableJob`."""

    # -- queues --

    async def queues(self) -> list[str]:
        """The names of all queues, sorted bytewise."""
        return await queues.names(self.store)

    async def length(self, queue: str) -> int:
        """How many jobs wait in a queue and its sub-queues; delayed ones don't count."""
        return sum(await queues.lengths(self.store, family(queue)))

    async def lengths(self) -> dict[str, int]:
        """How many jobs wait in each queue. Two round trips for any number of queues."""
        names = await queues.names(self.store)
        return dict(zip(names, await queues.lengths(self.store, names), strict=True))

    async def queued(self, queue: str, start: int = 0, stop: int = 99) -> list[Job]:
        """Jobs of a queue by position, both ends included; -1 is the last.

        Without bounds the first hundred; `each_queued` walks through all.
        """
        raws = await queues.page(self.store, self.store.keys.queue(queue), start, stop)
        return [reading.show_job(raw, queue) for raw in raws]

    async def each_queued(self, queue: str) -> AsyncGenerator[Job, None]:
        """All jobs that wait in a queue now, the next to run first, page by page.

        Jobs that are taken meanwhile are not missed by those that follow them.
        """
        async for raw in every(self.store, self.store.keys.queue(queue)):
            yield reading.show_job(raw, queue)

    # -- delayed --

    async def scheduled_at(
        self, queue: str, class_name: str, args: Sequence[Any] = ()
    ) -> list[int]:
        """When a job is due, whichever language wrote it: milliseconds since the epoch, sorted.

        One round trip where nothing else is delayed. Else all that is delayed is looked at, for the job may be
        written otherwise: one more for each five hundred times at which something is due.
        (node-resque answers in seconds here and in milliseconds in `timestamps`.)
        """
        wanted = JobFilter.of(class_name, args, queue)
        known, index = await delayed.seconds_and_index(self.store, wanted.texts())
        found = set(known)
        if any(int(each) not in found for each in filter(delayed.is_second, index)):
            found |= (await DelayedWalk(self.store, wanted).everywhere(but=set(known))).times
        return [second * 1000 for second in sorted(found)]

    async def timestamps(self, start: int = 0, stop: int = 999) -> list[int]:
        """The times at which something is due, earliest first: milliseconds since the epoch.

        By position, both ends included; without bounds the first thousand. What a foreign client
        left in the index and is no second, or a second that was emptied, is not shown.
        """
        members = await delayed.seconds(self.store, start, stop)
        due = [member for member in members if delayed.is_second(member)]
        return [int(member) * 1000 for member in await delayed.filled(self.store, due)]

    async def delayed_at(self, timestamp: Moment, start: int = 0, stop: int = 99) -> list[Job]:
        """Jobs that are due at a time (milliseconds or an aware datetime), in their order.

        The time is rounded up to a second, as in `enqueue_at`. Without bounds the first hundred.
        """
        key = self.store.keys.delayed(ceil_second(moment_ms(timestamp)))
        return [
            reading.show_delayed(raw) for raw in await queues.page(self.store, key, start, stop)
        ]

    async def delayed_count(self) -> int:
        """At how many times something is due."""
        return await delayed.count(self.store)

    async def all_delayed(self, limit: int = 1000) -> dict[int, list[Job]]:
        """The first delayed jobs by their time, in milliseconds; `limit` jobs at the most."""
        found: dict[int, list[Job]] = {}
        left = limit
        async with aclosing(self.each_delayed()) as jobs:
            while left > 0 and (pair := await anext(aiter(jobs), None)) is not None:
                found.setdefault(pair[0], []).append(pair[1])
                left -= 1
        return found

    async def each_delayed(self) -> AsyncGenerator[tuple[int, Job], None]:
        """All delayed jobs with their time in milliseconds, earliest first, page by page.

        One round trip for some hundred times, and further ones for those with many jobs.
        """
        async for second, raw in delayed_items(self.store):
            yield second * 1000, reading.show_delayed(raw)


async def delayed_items(store: Store) -> AsyncGenerator[tuple[int, bytes], None]:
    """The bytes of all delayed jobs with their second, earliest first, page by page."""
    async for page in delayed.every_head(store, _HEAD):
        for second, head in page:
            async for raw in _items(store, second, head):
                yield second, raw


async def _items(store: Store, second: int, head: list[bytes]) -> AsyncGenerator[bytes, None]:
    """All items of a second whose first ones are known."""
    if len(head) < _HEAD:
        for raw in head:
            yield raw
        return
    async for raw in every(store, store.keys.delayed(second)):
        yield raw
