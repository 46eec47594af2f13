"""A greatest length for queues, by choice: an enqueue waits for room, or is refused."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.errors import QueueFull
from resqpy.base.model import FULL, Enqueued
from resqpy.store import queues
from resqpy.store.connection.client import Store
from resqpy.store.queues import Guard, Push

_FIRST_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 1.0
_NO_ROOM = Guard("room", "", owner=FULL)


class Room:
    """What may be pushed while so many jobs wait. Redis asks in the step that pushes, so that no two producers
    fill the same room.

    Args:
        store: its options say how many may wait in which queue, and how long an enqueue waits.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._wait_s = store.options.full_queue_wait_s
        self.limits: Mapping[str, int] = store.options.queue_limits or {}

    async def push(self, jobs: Sequence[Push], *, front: bool) -> list[Guard | None]:
        """As `queues.push`; what finds no room is pushed when there is some. The time to wait restarts
        with each job that finds room.
        """
        told: list[Guard | None] = [_NO_ROOM] * len(jobs)
        left, pause_s = [*range(len(jobs))], _FIRST_PAUSE_S
        until_s = SYSTEM_CLOCK.monotonic() + self._wait_s
        while True:
            some = self._that_may_fit(jobs, left)
            asked = [self._limited(jobs[at]) for at in some]
            for at, guard in zip(
                some, await queues.push(self._store, asked, front=front), strict=True
            ):
                told[at] = guard
            before, left = len(left), [at for at in left if _is_full(told[at])]
            now_s = SYSTEM_CLOCK.monotonic()
            if len(left) < before:
                until_s, pause_s = now_s + self._wait_s, _FIRST_PAUSE_S
            if not left or now_s >= until_s:
                return told
            await asyncio.sleep(min(pause_s, until_s - now_s))
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    def _that_may_fit(self, jobs: Sequence[Push], left: Sequence[int]) -> list[int]:
        """Those for which there would be room in an empty queue: a million need not be sent to be refused."""
        found, counts = list[int](), Counter[str]()
        for at in left:
            counts[queue := jobs[at].queue] += 1
            if counts[queue] <= self.limits.get(queue, counts[queue]):
                found.append(at)
        return found

    def _limited(self, job: Push) -> Push:
        limit = self.limits.get(job.queue)
        if limit is None:
            return job
        room = replace(_NO_ROOM, key=self._store.keys.queue(job.queue), seconds=limit)
        return replace(job, guards=(*job.guards, room))  # the last: an equal of it needs no room

    def need(self, jobs: Sequence[Push], told: Sequence[Enqueued]) -> None:
        """Raise where one found no room."""
        full = [job.queue for job, each in zip(jobs, told, strict=True) if each.refused == FULL]
        if not full:
            return
        queue, done = full[0], sum(map(bool, told))
        waited = f" after {self._wait_s:g} s" if self._wait_s else ""
        error = QueueFull(
            f"the queue {queue!r} has the {self.limits[queue]} jobs that it may have (queue_limits){waited}: "
            f"{done} of {len(told)} jobs were enqueued"
        )
        error.queue, error.limit, error.enqueued = queue, self.limits[queue], done
        raise error


def _is_full(guard: Guard | None) -> bool:
    return guard is not None and guard.owner == FULL
