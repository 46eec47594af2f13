"""Waiting jobs, queued and delayed: the part of the `Inspector` that lists them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from resqpy.base import reading
from resqpy.base.errors import UsageError
from resqpy.base.keys import check_queue_name, family, split_priority
from resqpy.base.limits import Rate, check_limit_name, check_most
from resqpy.base.model import Job, KeyLimit, QueuePause, RunningLimit
from resqpy.base.reading import JobFilter
from resqpy.base.when import Duration, Moment, ceil_second, duration_ms, moment_ms
from resqpy.engine.inspect.inspecting import Inspecting
from resqpy.engine.inspect.walking import DelayedSearch
from resqpy.store import delayed, limits, overview, queues
from resqpy.store.connection.client import Store
from resqpy.store.sweep import every

_TO_THE_END = 2**53
_HEAD = 20  # most times have few jobs; these are read together with those of other times


class WaitingJobs(Inspecting):
    """Lists queues and delayed jobs, pauses and limits queues. What can't be read as a job is returned as an
    `UnreadableJob`.
    """

    # -- queues --

    async def queues(self) -> list[str]:
        """The names of all queues, sorted bytewise."""
        return await queues.names(self.store)

    async def length(self, queue: str) -> int:
        """How many jobs wait in a queue and its sub-queues, without delayed ones."""
        return sum(await queues.lengths(self.store, family(queue)))

    async def lengths(self) -> dict[str, int]:
        """How many jobs wait in each queue. Two round trips for any number of queues."""
        names = await queues.names(self.store)
        return dict(zip(names, await queues.lengths(self.store, names), strict=True))

    async def queued(self, queue: str, start: int = 0, stop: int = 99) -> list[Job]:
        """Jobs of a queue by position, both ends included; -1 is the last.

        The first hundred by default; `each_queued` iterates over all. Those that are parked for a limit are the
        first, unless positions are counted from the end.
        """
        raws: list[bytes] = []
        stop = _TO_THE_END if start >= 0 and stop == -1 else stop
        for some in await queues.parked(self.store, [queue]) if 0 <= start <= stop else ():
            if start < some.count and stop >= 0:
                raws += await queues.page(self.store, some.list_key(self.store), start, stop)
            start, stop = max(start - some.count, 0), stop - some.count
        if stop >= 0 or not raws:
            raws += await queues.page(self.store, self.store.keys.queue(queue), start, stop)
        return [reading.show_job(raw, queue) for raw in raws]

    async def each_queued(self, queue: str) -> AsyncGenerator[Job, None]:
        """All jobs that wait in a queue now, the next to run first, page by page.

        If jobs are taken meanwhile, no others are missed. Those that are parked for a limit are the first.
        """
        async for raw in queues.every_waiting(self.store, queue):
            yield reading.show_job(raw, queue)

    async def pause_queue(
        self, queue: str, duration: Duration | None = None, *, reason: str = "", by: str = ""
    ) -> bool:
        """Let no worker of resqpy take jobs from a queue and its sub-queues; running jobs go on, and jobs can
        be enqueued. Ruby's workers obey it only with the plugin resque-pause, Node's and PHP's never do.

        Args:
            duration: milliseconds or a timedelta, after which it ends by itself; None: it doesn't.
            reason, by: shown wherever the pause is.

        Returns:
            False if it was paused already; now it is with these values.
        """
        for_ms = None if duration is None else duration_ms(duration, "duration")
        if for_ms == 0:
            raise UsageError(f"duration: {duration!r} is less than a millisecond, so no pause")
        return await overview.pause_queue(self.store, check_queue_name(queue), for_ms, reason, by)

    async def resume_queue(self, queue: str) -> bool:
        """End the pause of a queue, whoever made it; False if it was not paused."""
        return await overview.resume_queue(self.store, queue)

    async def paused_queues(self) -> dict[str, QueuePause]:
        """The queues that are paused, of those that exist: sub-queues also by the pause of their queue. Three
        round trips at most.
        """
        return await overview.queue_pauses(self.store, await queues.names(self.store))

    async def limit_running(self, queue: str, most: int | None) -> int | None:
        """Let at most so many jobs of a queue and its sub-queues run at once, in all processes of resqpy. Where
        more run now, they go on, and none is taken until there are fewer. Workers of other languages, and of
        older versions of resqpy, don't know of it.

        Args:
            most: 0: none; None: there is no limit any more.

        Returns:
            The limit before; None: there was none.
        """
        name, (base, priority) = check_queue_name(queue), split_priority(queue)
        if priority:
            raise UsageError(
                f"queue {name!r}: its jobs count as those of {base!r}; limit that queue"
            )
        if bad := [char for char in name if char in '"\\']:
            raise UsageError(f"queue {name!r}: one with {bad[0]!r} in its name can't have a limit")
        if most is not None:
            check_most(most)
        return await limits.limit_running(self.store, name, most)

    async def running_limits(self) -> dict[str, RunningLimit]:
        """The limits of running jobs by queue, with the workers that run one. Three round trips at most."""
        return await limits.running_limits(self.store)

    async def set_limit(
        self, name: str, most: int | Rate | None, *, task: str = ""
    ) -> int | Rate | None:
        """Change how many jobs run at once under the limit of a task (`resqpy.Limit`), or begin in a time
        (`resqpy.Rate`), from now on, whatever its code says. Jobs that run go on.

        Args:
            name: of the limit: the task's name, `task:input` or `task:rate`, or the name that tasks share; or one
                of its keys, `name=value`.
            most: 0: none, a pause; None: what the code says.
            task: this task has the limit from now on, though its code says none.

        Returns:
            The number, or rate, before; None: there was none.
        """
        check_limit_name(name.partition("=")[0])
        if most is not None and not isinstance(most, Rate):
            check_most(most)
        return await limits.set_limit(self.store, name, most, task)

    async def shut_limit(self, name: str, duration: Duration | None) -> int:
        """Let no job under the limit or rate of a task begin for a while: a service has said when to come again.
        Jobs that run go on; those that would begin wait for their turn, without failing.

        Args:
            name: of the limit, or one of its keys, `name=value`.
            duration: milliseconds or a timedelta; one that was said before and ends later holds. None: end what
                was said, now.

        Returns:
            Until when, in milliseconds since the epoch; of what is ended until when it was, 0: it was not shut.
        """
        check_limit_name(name.partition("=")[0])
        for_ms = None if duration is None else duration_ms(duration, "duration")
        return await limits.shut(self.store, name, for_ms)

    async def limits(self) -> dict[str, KeyLimit]:
        """The limits of tasks, with who runs a job under them and how many are parked; also each of their keys
        under which jobs run or are parked. Four round trips at most.
        """
        return await limits.limits(self.store)

    async def put_back_parked(self, queue: str | None = None) -> int:
        """Put jobs that are parked for a limit back to the heads of their queues, in their order: those of one
        queue, or all. Workers that know the limit park them again. Returns how many.
        """
        done = 0
        for some in await queues.parked(self.store, None if queue is None else [queue]):
            left = 1
            while left:
                count, left = await queues.put_back(self.store, some)
                done += count
        return done

    # -- delayed --

    async def scheduled_at(
        self, queue: str, class_name: str, args: Sequence[Any] = ()
    ) -> list[int]:
        """When a job is due, whichever language wrote it: milliseconds since the epoch, sorted.

        One round trip if nothing else is delayed. Otherwise all delayed jobs are examined, because the job
        may be spelled differently: one more round trip per five hundred times at which something is due.
        (node-resque answers in seconds here and in milliseconds in `timestamps`.)
        """
        wanted = JobFilter.of(class_name, args, queue)
        known, index = await delayed.seconds_and_index(self.store, wanted.texts())
        found = set(known)
        if any(int(each) not in found for each in filter(delayed.is_second, index)):
            found |= (await DelayedSearch(self.store, wanted).everywhere(but=set(known))).times
        return [second * 1000 for second in sorted(found)]

    async def timestamps(self, start: int = 0, stop: int = 999) -> list[int]:
        """The times at which something is due, earliest first: milliseconds since the epoch.

        By position, both ends included; the first thousand by default. Index members that are not seconds,
        and seconds without jobs, are left out.
        """
        members = await delayed.seconds(self.store, start, stop)
        due = [member for member in members if delayed.is_second(member)]
        return [int(member) * 1000 for member in await delayed.filled(self.store, due)]

    async def delayed_at(self, timestamp: Moment, start: int = 0, stop: int = 99) -> list[Job]:
        """Jobs due at a time (milliseconds or an aware datetime), in order.

        The time is rounded up to a second, as in `enqueue_at`. The first hundred by default.
        """
        key = self.store.keys.delayed(ceil_second(moment_ms(timestamp)))
        return [
            reading.show_delayed(raw) for raw in await queues.page(self.store, key, start, stop)
        ]

    async def delayed_count(self) -> int:
        """At how many times something is due."""
        return await delayed.count(self.store)

    async def all_delayed(self, limit: int = 1000) -> dict[int, list[Job]]:
        """The earliest delayed jobs by time, in milliseconds; at most `limit` jobs."""
        found: dict[int, list[Job]] = {}
        left = limit
        async with aclosing(self.each_delayed()) as jobs:
            while left > 0 and (pair := await anext(aiter(jobs), None)) is not None:
                found.setdefault(pair[0], []).append(pair[1])
                left -= 1
        return found

    async def each_delayed(self) -> AsyncGenerator[tuple[int, Job], None]:
        """All delayed jobs with their time in milliseconds, earliest first, page by page.

        One round trip for a few hundred times, and more for those with many jobs.
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
    """All items of a second, given its first ones."""
    if len(head) < _HEAD:
        for raw in head:
            yield raw
        return
    async for raw in every(store, store.keys.delayed(second)):
        yield raw
