"""A worker whose number of task processors follows the delay of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from resqpy.base.clock import SYSTEM_CLOCK, Clock
from resqpy.base.errors import StoreError, UsageError
from resqpy.engine.options import FROM_OPTIONS, ScalingOptions, WorkerOptions
from resqpy.engine.queue.client import Connection
from resqpy.engine.worker.autoscale import (
    GROW,
    SHRINK,
    STOP,
    Memory,
    Reading,
    Sampler,
    ScalingDecision,
    decide,
)
from resqpy.engine.worker.slots import Slot
from resqpy.engine.worker.worker import BaseWorker


class MultiWorker(BaseWorker):
    """Between `min_task_processors` and `max_task_processors` slots in one process.

    Events: those of `Worker` with the slot number first (after the error in `error`), and
    `multi_worker_action` (verb, delay in ms, reason) at each decision: `+` more, `-` fewer, `x` unchanged,
    `--` stop.
    """

    def __init__(
        self,
        connection: Connection,
        jobs: Mapping[str, Any],
        queues: str | Sequence[str] = "*",
        options: WorkerOptions | None = None,
        scaling: ScalingOptions | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        super().__init__(connection, jobs, queues, options, clock)
        self.scaling: ScalingOptions = scaling or ScalingOptions()
        least, most = self.scaling.min_task_processors, self.scaling.max_task_processors
        if not 0 <= least <= most or most < 1:
            raise UsageError(
                f"cannot run between {least} and {most} task processors; 0 <= min_task_processors <= "
                "max_task_processors and max_task_processors >= 1 are required"
            )

    def _size(self) -> int:
        return max(1, self.scaling.min_task_processors)

    async def _begin(self) -> None:
        await super()._begin()
        if self.scaling.min_task_processors < self.scaling.max_task_processors:
            sampler = Sampler(lambda: len(self.pool.slots.busy), self.scaling.check_s / 10)
            self.spawn(sampler.run)
            self.spawn(partial(self._scale, sampler))

    async def _scale(self, sampler: Sampler) -> None:
        memory = Memory()
        while True:
            await asyncio.sleep(self.scaling.check_s)
            delay_ms, busy = sampler.read()
            pool = self.pool
            if pool.quiet or pool.stopping or pool.paused:
                continue
            decision = decide(Reading(pool.slots.size, busy, delay_ms), self.scaling, memory)
            memory = decision.memory
            self.emit("multi_worker_action", decision.verb, delay_ms, decision.reason)
            await self._act(decision)

    async def _act(self, decision: ScalingDecision) -> None:
        if decision.verb == SHRINK:
            self.pool.close_slots(decision.count)
        elif decision.verb == GROW:
            try:
                await self.pool.open_slots(decision.count)
            except StoreError as error:
                self.tell("error", None, error, None, None)

    async def stop(self, timeout_s: float | None = FROM_OPTIONS) -> None:
        """As `Worker.stop`; emits `--` first."""
        if self._pool is not None and self._stopped is None:
            self.emit("multi_worker_action", STOP, 0.0, "stopping")
        await super().stop(timeout_s)

    def tell(self, event: str, slot: Slot | None, *details: Any) -> None:
        """Call the listeners, with the slot number."""
        number = slot.number if slot is not None else 0
        if event == "error":
            self.emit(event, details[0], number, *details[1:])
        else:
            self.emit(event, number, *details)
