"""A worker whose number of task processors follows the delay of the event loop."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from resqpy.base.clock import SYSTEM_CLOCK, Clock
from resqpy.base.concurrency.own_tasks import loop_delays
from resqpy.base.errors import StoreError, UsageError
from resqpy.engine.options import FROM_OPTIONS, ScalingOptions, WorkerOptions
from resqpy.engine.role import Connection
from resqpy.engine.worker.slots import Slot
from resqpy.engine.worker.worker import BaseWorker

# The number of task processors: node-resque's rule, with better measurements.
#
# Pure functions over measurements, and a sampler that measures. node-resque looks at one instant and one late
# timer; we use the share of the interval in which slots were busy and the upper quartile of many samples. We
# remember the size at which the loop was blocked, so that mixed work settles instead of oscillating; and
# steps in one direction double, so that a hundred processors are reached in four seconds instead of fifty.

GROW, SHRINK, STAY, STOP = "+", "-", "x", "--"

_FIRST_PATIENCE = 10  # checks before a size that blocked the loop is retried
_MAX_PATIENCE = 160
_SATURATED, _BUSY, _IDLE = 0.95, 0.8, 0.5  # shares of busy slots; no change between the last two


@dataclass(frozen=True, slots=True)
class Reading:
    """The measurements since the last decision.

    Attributes:
        busy: average number of busy slots.
        delay_ms: how late the event loop was.
    """

    size: int
    busy: float
    delay_ms: float


@dataclass(frozen=True, slots=True)
class Memory:
    """What earlier decisions have shown.

    Attributes:
        ceiling: the size at which the loop was last blocked; None: none.
        patience: checks left until the ceiling is forgotten.
        last_patience: the previous patience; it doubles each time.
        step: by how many the last decision grew, or, negative, shrank.
    """

    ceiling: int | None = None
    patience: int = 0
    last_patience: int = 0
    step: int = 0


@dataclass(frozen=True, slots=True)
class ScalingDecision:
    """A decision and its reason.

    Attributes:
        count: how many more or fewer.
    """

    verb: str
    reason: str
    memory: Memory
    count: int = 0


def decide(reading: Reading, options: ScalingOptions, memory: Memory) -> ScalingDecision:
    """The next step."""
    late = f"the loop is {reading.delay_ms:.1f} ms late"
    least = options.min_task_processors
    if reading.size < max(least, 1):
        return _grow(reading, options, memory, "fewer than the minimum")
    if reading.delay_ms > options.max_event_loop_delay_ms:
        return _when_blocked(reading, least, memory, late)
    memory = _older(memory)
    share = reading.busy / reading.size
    said = f"{reading.busy:.1f} of {reading.size} busy, {late}"
    if share > _BUSY:
        return _grow(reading, options, memory, said)
    if share < _IDLE and reading.size > max(least, 1):
        return _shrink(reading, least, memory, said)
    return _stay(memory, said)


def _when_blocked(reading: Reading, least: int, memory: Memory, late: str) -> ScalingDecision:
    if reading.size <= max(least, 1):
        return _stay(memory, f"{late}, but this is the minimum")
    patience = min(max(memory.last_patience * 2, _FIRST_PATIENCE), _MAX_PATIENCE)
    undo = -(memory.step // 2) if memory.step > 0 else memory.step  # the next step doubles it
    blocked = Memory(reading.size, patience, patience, undo)
    return _shrink(reading, least, blocked, late)


def _grow(reading: Reading, options: ScalingOptions, memory: Memory, said: str) -> ScalingDecision:
    most, why = options.max_task_processors, said
    if memory.ceiling is not None and memory.ceiling - 1 < most:
        most, why = memory.ceiling - 1, f"{memory.ceiling} blocked the loop before; {said}"
    room = most - reading.size
    if room <= 0:
        return _stay(memory, why)
    saturated = reading.busy >= _SATURATED * reading.size
    count = min(max(memory.step * 2, 1) if saturated else 1, room)
    return ScalingDecision(GROW, said, _stepped(memory, count), count)


def _shrink(reading: Reading, least: int, memory: Memory, said: str) -> ScalingDecision:
    count = min(max(memory.step * -2, 1), reading.size - max(least, 1))
    return ScalingDecision(SHRINK, said, _stepped(memory, -count), count)


def _stay(memory: Memory, said: str) -> ScalingDecision:
    return ScalingDecision(STAY, said, _stepped(memory, 0))


def _stepped(memory: Memory, step: int) -> Memory:
    return Memory(memory.ceiling, memory.patience, memory.last_patience, step)


def _older(memory: Memory) -> Memory:
    if memory.ceiling is None:
        return memory
    if memory.patience > 1:
        return Memory(memory.ceiling, memory.patience - 1, memory.last_patience, memory.step)
    return Memory(None, 0, memory.last_patience, memory.step)


class Sampler:
    """Measures the delay of the event loop and how many slots are busy.

    Args:
        busy: returns how many slots are busy now.
        every_s: average seconds between samples: at regular intervals, jobs that come in waves would be met
            always, or never.
    """

    def __init__(self, busy: Callable[[], int], every_s: float) -> None:
        self._busy = busy
        self._every_s = every_s
        self._delays_ms: list[float] = []
        self._busy_seen: list[int] = []

    async def run(self) -> None:
        """Sample until cancelled."""
        async for delay_s in loop_delays(lambda: self._every_s * random.uniform(0.5, 1.5)):
            self._delays_ms.append(delay_s * 1000)
            self._busy_seen.append(self._busy())

    def read(self) -> tuple[float, float]:
        """The upper quartile of the delays in ms and the average of busy slots since the last call."""
        delays, busy = self._delays_ms or [0.0], self._busy_seen or [self._busy()]
        self._delays_ms, self._busy_seen = [], []
        delays.sort()
        return delays[(len(delays) * 3) // 4 - (len(delays) > 3)], sum(busy) / len(busy)


def _check_bounds(least: int, most: int) -> None:
    if not 0 <= least <= most or most < 1:
        raise UsageError(
            f"cannot run between {least} and {most} task processors; 0 <= min_task_processors <= "
            "max_task_processors and max_task_processors >= 1 are required"
        )


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
        _check_bounds(least, most)
        self._scaled = False

    def _size(self) -> int:
        return max(1, self.scaling.min_task_processors)

    async def _begin(self) -> None:
        await super()._begin()
        if self.scaling.min_task_processors < self.scaling.max_task_processors:
            self._begin_to_scale()

    async def rescale(self, least: int, most: int) -> None:
        """Work with between so many and so many task processors from now on.

        Raises:
            UsageError: these are no bounds.
        """
        _check_bounds(least, most)
        scales = self.scaling.min_task_processors < self.scaling.max_task_processors
        self.scaling = replace(self.scaling, min_task_processors=least, max_task_processors=most)
        size = self.pool.slots.size
        if size < max(least, 1):
            await self.pool.open_slots(max(least, 1) - size)
        self._keep_bounds()
        if least < most and not scales and not self._scaled:
            self._begin_to_scale()

    def _keep_bounds(self) -> None:
        """While slots were opened, others were, or the bounds have changed."""
        too_many = self.pool.slots.size - self.scaling.max_task_processors
        if too_many > 0:
            self.pool.close_slots(too_many)

    def _begin_to_scale(self) -> None:
        self._scaled = True
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
                self._keep_bounds()
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
