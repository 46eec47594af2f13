"""How many task processors: node-resque's rule, made honest.

Pure functions over what was measured, and a sampler that measures. node-resque asks how many are
busy at one instant and takes one late timer for the whole truth; we use the share of the interval
that slots were busy and the upper quartile of many samples, and remember the size at which the loop
was blocked, so that mixed work settles instead of swinging.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from resqpy.engine.options import ScalingOptions

GROW, SHRINK, STAY, STOP = "+", "-", "x", "--"

_FIRST_PATIENCE = 10  # checks to wait before a size that blocked the loop is tried again
_MOST_PATIENCE = 160
_BUSY_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Reading:
    """What was measured since the last decision.

    Attributes:
        delay_ms: how late the event loop was.
        busy: slots busy, on the average.
    """

    running: bool
    size: int
    busy: float
    delay_ms: float


@dataclass(frozen=True, slots=True)
class Memory:
    """What earlier decisions teach.

    Attributes:
        ceiling: the size at which the loop was blocked last; None: none.
        patience: checks left until the ceiling is forgotten.
        last_patience: how long the patience was; it doubles each time.
    """

    ceiling: int | None = None
    patience: int = 0
    last_patience: int = 0


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, and why."""

    verb: str
    reason: str
    memory: Memory


def decide(reading: Reading, options: ScalingOptions, memory: Memory) -> Decision:
    """The next step."""
    if not reading.running:
        verb = STOP if reading.size else STAY
        return Decision(verb, "stopping", memory)
    late = f"the loop is {reading.delay_ms:.1f} ms late"
    if reading.delay_ms > options.max_event_loop_delay_ms:
        return _when_blocked(reading, options, memory, late)
    memory = _older(memory)
    if reading.size < options.min_task_processors:
        return Decision(GROW, "fewer than the least", memory)
    share = reading.busy / reading.size if reading.size else 1.0
    said = f"{reading.busy:.1f} of {reading.size} busy, {late}"
    if share > _BUSY_SHARE and reading.size < options.max_task_processors:
        if memory.ceiling is not None and reading.size + 1 >= memory.ceiling:
            return Decision(STAY, f"{memory.ceiling} blocked the loop before; {said}", memory)
        return Decision(GROW, said, memory)
    if share < _BUSY_SHARE and reading.size > options.min_task_processors:
        return Decision(SHRINK, said, memory)
    return Decision(STAY, said, memory)


def _when_blocked(reading: Reading, options: ScalingOptions, memory: Memory, late: str) -> Decision:
    if reading.size == 0 and options.min_task_processors > 0:
        return Decision(GROW, "fewer than the least", memory)  # we are not what blocks it
    if reading.size <= options.min_task_processors:
        return Decision(STAY, f"{late}, but this is the least", memory)
    patience = min(max(memory.last_patience * 2, _FIRST_PATIENCE), _MOST_PATIENCE)
    return Decision(SHRINK, late, Memory(reading.size, patience, patience))


def _older(memory: Memory) -> Memory:
    if memory.ceiling is None:
        return memory
    if memory.patience > 1:
        return Memory(memory.ceiling, memory.patience - 1, memory.last_patience)
    return Memory(None, 0, memory.last_patience)


class Sampler:
    """Measures the delay of the event loop and how many slots are busy.

    Args:
        busy: how many slots are busy now.
        every_s: seconds between samples.
    """

    def __init__(self, busy: Callable[[], int], every_s: float) -> None:
        self._busy = busy
        self._every_s = every_s
        self._delays_ms: list[float] = []
        self._busy_seen: list[int] = []

    async def run(self) -> None:
        """Sample until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            asked = loop.time() + self._every_s
            await asyncio.sleep(self._every_s)
            self._delays_ms.append((loop.time() - asked) * 1000)
            self._busy_seen.append(self._busy())

    def read(self) -> tuple[float, float]:
        """The upper quartile of the delays in ms and the average of busy slots since the last time."""
        delays, busy = self._delays_ms or [0.0], self._busy_seen or [self._busy()]
        self._delays_ms, self._busy_seen = [], []
        delays.sort()
        return max(0.0, delays[(len(delays) * 3) // 4 - (len(delays) > 3)]), sum(busy) / len(busy)
