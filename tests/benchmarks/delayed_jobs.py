"""Delayed jobs, written as any client writes them, for the measurements of the scheduler."""

from __future__ import annotations

import json

from tests.benchmarks.runner import QUEUE, TASK, Bench

# Server side, so that a million of them are there in seconds.
_FILL = """
local text, first, last, second, seconds = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
for i = first, last do
  local item = string.gsub(text, '%%N', i)
  local due = string.format('%.0f', second + (i - 1) % seconds)
  redis.call('RPUSH', KEYS[2] .. due, item)
  redis.call('SADD', KEYS[3] .. item, 'delayed:' .. due)
  redis.call('ZADD', KEYS[1], due, due)
end
"""
_STEP = 10_000


def fill(
    bench: Bench,
    count: int,
    first_second: int,
    seconds: int,
    *,
    queue: str = QUEUE,
    task: str = TASK,
) -> None:
    """Jobs whose one argument counts from 1, spread evenly over the seconds."""
    text = json.dumps({"class": task, "queue": queue, "args": ["N"]}, separators=(",", ":"))
    keys: list[str | bytes] = [
        bench.keys.schedule,
        bench.keys.delayed(""),
        bench.keys.timestamps(""),
    ]
    for start in range(1, count + 1, _STEP):
        stop = min(start + _STEP - 1, count)
        span: list[str | int] = [text.replace('"N"', "%N"), start, stop, first_second, seconds]
        bench.redis.eval(_FILL, len(keys), *keys, *span)


def at(bench: Bench, second: int, args: list[int], *, queue: str, task: str) -> None:
    """One job."""
    keys = bench.keys
    job = {"class": task, "queue": queue, "args": args}
    item = json.dumps(job, separators=(",", ":"))
    with bench.redis.pipeline() as pipe:
        pipe.rpush(keys.delayed(second), item)
        pipe.sadd(keys.timestamps(item), keys.delayed_member(second))
        pipe.zadd(keys.schedule, {str(second): second})
        pipe.execute()
