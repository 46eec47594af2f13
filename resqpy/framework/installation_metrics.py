"""What is in Redis in numbers, for `GET /metrics` and `resqpy info --prometheus`: the same from whatever
process one asks.
"""

from __future__ import annotations

import asyncio

from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.errors import OutcomeUnknown, StoreError, StoreUnavailable
from resqpy.base.model import NoList
from resqpy.base.prometheus import Metric, metric
from resqpy.framework.log import get_logger
from resqpy.store import overview
from resqpy.store.client import Store
from resqpy.tracked.record_index import status_sets

_KEPT_S = 5.0  # so that however many ask us, Redis is asked seldom
_REDIS_WITHIN_S = 2.0


class Installation:
    """Asks Redis, and keeps what it said for a while."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: list[Metric] = []
        self._until = float("-inf")
        self._asking = asyncio.Lock()
        self._trouble = ""

    async def metrics(self) -> list[Metric]:
        """What there is; only `resqpy_redis_up` where Redis does not answer."""
        async with self._asking:
            if SYSTEM_CLOCK.monotonic() >= self._until:
                self._kept = await self._ask()
                self._until = SYSTEM_CLOCK.monotonic() + _KEPT_S
        return self._kept

    async def _ask(self) -> list[Metric]:
        try:
            self._store.junk.clear()
            async with asyncio.timeout(_REDIS_WITHIN_S):
                found = metrics_of(await count_all(self._store))
        except (StoreError, TimeoutError) as error:
            away = isinstance(error, StoreUnavailable | OutcomeUnknown | TimeoutError)
            self._tell(str(error) or repr(error))
            found = []
        else:
            away, self._trouble = False, ""
        words = "Whether Redis answers this process."
        return [metric("resqpy_redis_up", "gauge", words, int(not away)), *found]

    def _tell(self, trouble: str) -> None:
        if trouble != self._trouble:
            get_logger().warning("no metrics from Redis", error=trouble)
        self._trouble = trouble


async def count_all(store: Store) -> overview.Numbers:
    """Count everything, tracked tasks by their status too."""
    return await overview.count(store, status_sets(store.keys))


def metrics_of(numbers: overview.Numbers) -> list[Metric]:
    """The numbers of an installation."""
    queues = Metric("resqpy_queue_jobs", "gauge", "Jobs that wait.")
    odd = Metric(
        "resqpy_odd_keys", "gauge", "Keys that are not of the kind that Resque keeps there."
    )
    for name, count in numbers.queues.items():
        if isinstance(count, NoList):
            odd.add(1, key=f"queue:{name}")
        else:
            queues.add(count, queue=name)
    for key in numbers.odd:
        odd.add(1, key=key)
    failed = Metric("resqpy_failed_jobs", "gauge", "Jobs on the failed lists.")
    for name, count in numbers.failed.items():
        failed.add(count, list=name)
    tracked = Metric("resqpy_tracked_tasks", "gauge", "Tracked tasks.")
    for status, count in numbers.sets.items():
        tracked.add(count, status=status)
    times = "Seconds at which something that is delayed is due."
    return [
        queues,
        failed,
        metric("resqpy_delayed_times", "gauge", times, numbers.delayed),
        metric("resqpy_workers", "gauge", "Workers of all languages.", numbers.workers),
        metric("resqpy_paused", "gauge", "Whether all workers are paused.", int(numbers.paused)),
        *(
            metric(f"resqpy_stat_{name}_total", "counter", f"Resque's counter stat:{name}.", count)
            for name, count in numbers.stats.items()
        ),
        tracked,
        odd,
    ]
