"""Deleting what waits: the part of the `Queue` that takes jobs away again."""

from __future__ import annotations

from asyncio import gather
from collections.abc import Callable, Sequence
from typing import Any

from resqpy.base import codec, reading
from resqpy.base.errors import UsageError
from resqpy.base.when import Moment, ceil_second, moment_ms
from resqpy.engine.client import Client
from resqpy.store import delayed, queues
from resqpy.store.sweep import Sweep


class Removing(Client):
    """Deletes queues, jobs and delayed jobs, whichever language wrote them."""

    async def del_queue(self, queue: str) -> int:
        """Delete a queue and all its jobs; how many there were."""
        return await queues.delete(self.store, queue)

    async def delete(
        self, queue: str, class_name: str, args: Sequence[Any] = (), count: int = 0
    ) -> int:
        """Remove jobs by name and arguments, whichever language wrote them.

        Args:
            count: how many at the most; 0: all; negative: from the tail.

        Returns:
            How many were removed.
        """
        texts = codec.spellings(class_name, queue, args)
        return await queues.remove(self.store, queue, texts, count)

    async def del_by_function(
        self, queue: str, class_name: str, start: int = 0, stop: int = -1
    ) -> int:
        """Remove all jobs of one task from a part of a queue, both ends included.

        A round trip for some thousand jobs, safe while others enqueue and work. What is enqueued
        after this has begun stays.

        Returns:
            How many were removed.
        """
        if start < 0 or stop < -1:
            raise UsageError(f"del_by_function: {start}…{stop} counts from the end; not supported")
        most = None if stop < 0 else max(0, stop - start + 1)
        sweep = Sweep(
            self.store, self.store.keys.queue(queue), start=start, most=most, step=_JOBS_PER_STEP
        )
        removed = 0
        while page := await sweep.page():
            mine = [item for item in page if codec.class_of(item.raw) == class_name]
            gone = await queues.drop(self.store, queue, mine)
            sweep.removed({item.index for item in gone})
            removed += len(gone)
        return removed

    async def del_delayed(self, queue: str, class_name: str, args: Sequence[Any] = ()) -> list[int]:
        """Remove a job from all times at which it is due, whichever language wrote it.

        Returns:
            The times at which it was, in milliseconds since the epoch, sorted.
        """
        texts = codec.spellings(class_name, queue, args)
        return [second * 1000 for second in await delayed.remove(self.store, texts)]

    async def del_delayed_by_function(
        self, class_name: str, *, queue: str | None = None, args: Sequence[Any] | None = None
    ) -> int:
        """Remove the delayed jobs of one task, whenever they are due; how many.

        A few round trips for some hundred times, safe while others enqueue and a scheduler works.
        What is enqueued after this has begun may stay.

        Args:
            queue: only jobs for this queue; None: for any.
            args: only jobs with these arguments; None: whatever they are.
        """
        wanted = None if args is None else list(args)

        def fits(raw: bytes) -> bool:
            job = reading.show_delayed(raw)
            return (
                job.class_name == class_name
                and queue in {None, job.queue}
                and wanted in (None, job.args)
            )

        removed = 0
        async for page in delayed.every_page(self.store):
            times = [int(second) for second in page if delayed.is_second(second)]
            removed += sum(await gather(*(self._del_at(second, fits) for second in times)))
        return removed

    async def _del_at(self, second: int, fits: Callable[[bytes], bool]) -> int:
        sweep, removed = Sweep(self.store, self.store.keys.delayed(second)), 0
        while page := await sweep.page():
            chosen = [item for item in page if fits(item.raw)]
            gone = await delayed.drop(self.store, second, chosen)
            sweep.removed(gone)
            removed += len(gone)
        return removed

    async def del_delayed_at(self, timestamp: Moment) -> int:
        """Remove everything that is due at one time; how many jobs there were.

        Args:
            timestamp: milliseconds or an aware datetime; rounded up to a second, as `enqueue_at`
                does.
        """
        return await delayed.remove_at(self.store, ceil_second(moment_ms(timestamp)))


_JOBS_PER_STEP = 5000  # each step moves what is behind it in the list: few large ones cost less
