"""The fastest shape of a worker, with nothing in it: what the machine allows on this Redis.

One dispatcher; all ended slots reported and all free slots filled by one script, each job an
`asyncio` task. No decoding, no plugins, no events, no safety: a job that is lost stays lost.
"""

from __future__ import annotations

import asyncio
from typing import Any

from redis.asyncio import Redis

from tests.benchmarks.python.common import Params, run, say, stdin_ends
from tests.benchmarks.python.drain import Watch

# KEYS: queue, stat:processed; ARGV: prefix of records, prefix of statistics, number of ended, their
# slots, the free slots. Returns the payloads, in the order of the free slots.
_EXCHANGE = """
local ended = tonumber(ARGV[3])
for i = 4, 3 + ended do
  redis.call('DEL', ARGV[1] .. ARGV[i])
  redis.call('INCR', ARGV[2] .. ARGV[i])
end
if ended > 0 then redis.call('INCRBY', KEYS[2], ended) end
local first = 4 + ended
if #ARGV < first then return {} end
local taken = redis.call('LPOP', KEYS[1], #ARGV - first + 1) or {}
for i = 1, #taken do
  redis.call('SET', ARGV[1] .. ARGV[first + i - 1], '{"payload":' .. taken[i] .. '}')
end
return taken
"""


class Prototype:
    """The dispatcher."""

    def __init__(self, redis: Redis, slots: int, watch: Watch) -> None:
        self._exchange = redis.register_script(_EXCHANGE)
        self._slots = slots
        self._free = list(range(slots))
        self._ended: list[int] = []
        self._wake = asyncio.Event()
        self._watch = watch
        self._tasks: dict[int, asyncio.Task[None]] = {}

    async def dispatch(self) -> None:
        """Serve the slots; poll until there is something."""
        while not self._watch.all_done.is_set():
            ended, self._ended = self._ended, []
            free, self._free = self._free + ended, []
            taken = await self._call(ended, free)
            self._free = free[len(taken) :]
            for slot, _ in zip(free, taken, strict=False):
                self._tasks[slot] = asyncio.create_task(self._work(slot))
            if len(self._free) == self._slots:
                await asyncio.sleep(0.005)
            elif not self._ended:
                self._wake.clear()
                await self._wake.wait()

    async def _call(self, ended: list[int], free: list[int]) -> list[Any]:
        keys = ["resque:queue:default", "resque:stat:processed"]
        args: list[str | int] = [
            "resque:worker:",
            "resque:stat:processed:",
            len(ended),
            *ended,
            *free,
        ]
        taken: list[Any] = await self._exchange(keys=keys, args=args)
        return taken

    async def _work(self, slot: int) -> None:
        await self._watch.perform()
        self._ended.append(slot)
        self._wake.set()


async def main(params: Params) -> None:
    """As `drain`."""
    watch = Watch(params["jobs"], params["processors"], 0.0)
    async with Redis(unix_socket_path=params["socket"]) as redis:
        dispatcher = asyncio.create_task(Prototype(redis, params["processors"], watch).dispatch())
        await redis.ping()
        say(ready=True)
        await watch.all_done.wait()
        say(result={"rate": watch.rate})
        await dispatcher
        await stdin_ends()


if __name__ == "__main__":
    run(main)
