"""A Redis as full as an installation may be, written by scripts in it, so that millions are there in a minute;
the console's pages that read it, and what they cost.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from redis.asyncio import Redis

from resqpy.base.clock import SYSTEM_CLOCK, iso_utc
from resqpy.base.history import GRAINS, MOST_NAMES
from resqpy.base.keys import Keys
from resqpy.engine.worker.identity import life, worker_id
from resqpy.store import workers
from resqpy.store.connection.client import Store
from resqpy.tracked.verbs import Tracked

_STEP = 5000  # of a script: some ten milliseconds of the server
_CLASSES = 50
_SLOTS = 50  # workers of a process


@dataclass(frozen=True)
class Fill:
    """How much there is.

    Attributes:
        waiting: jobs, half of them in one queue.
        delayed: jobs, four at a second, but for a tenth, which are all due at the same one.
        ran: tasks and queues that have run in each slot of the history.
    """

    queues: int = 10_000
    waiting: int = 1_000_000
    delayed: int = 1_000_000
    failed: int = 100_000
    workers: int = 1000
    tracked: int = 1_000_000
    ran: int = 50

    def __mul__(self, times: float) -> Fill:
        return Fill(**{name: max(1, int(n * times)) for name, n in asdict(self).items()})


DEEP, SECOND = "mail", 4_000_000_000
_OUR_OWN = {"info", "config|resetstat"}
PATHS = (
    "/",
    "/queues",
    "/queues?q=mail",
    f"/queues/{DEEP}",
    f"/queues/{DEEP}?from=400000",
    f"/queues/{DEEP}?class=Nobody",
    "/failed",
    "/failed/entries",
    "/failed/entries?class=Task7",
    "/failed/entries?class=Nobody",
    "/delayed",
    f"/delayed/{SECOND}",
    "/schedules",
    "/tasks",
    "/tasks?status=cancelled&type=task2",
    "/workers",
    "/metrics",
    "/metrics?period=8h",
    "/metrics?period=72h",
    "/metrics?period=30d",
    "/limits",
    "/redis",
    "/audit",
    "/access",
)

_QUEUES = """
for i = ARGV[1], ARGV[2] do
  redis.call('SADD', KEYS[1], 'q' .. i)
  for n = 1, ARGV[3] do
    redis.call('RPUSH', KEYS[2] .. 'q' .. i, '{"class":"Task' .. i % 50 .. '","args":[{"to":"ada-' .. n .. '"}]}')
  end
end
"""
_DEEP = """
for i = ARGV[1], ARGV[2] do
  redis.call('RPUSH', KEYS[1], '{"class":"SendMail","args":[{"to":"ada-' .. i .. '"}]}')
end
"""
_DELAYED = """
for i = ARGV[1], ARGV[2] do
  local second = ARGV[3] + (i > tonumber(ARGV[4]) and math.floor(i / 4) or 0)
  second = string.format('%.0f', second)
  local job = '{"class":"Remind","queue":"later","args":[' .. i .. ']}'
  redis.call('ZADD', KEYS[1], second, second)
  redis.call('RPUSH', KEYS[2] .. second, job)
  redis.call('SADD', KEYS[3] .. job, 'delayed:' .. second)
end
"""
_FAILED = """
for i = ARGV[1], ARGV[2] do
  local text = ARGV[3]:gsub('@class', 'Task' .. i % 50):gsub('@error', 'Error' .. i % 7):gsub('@number', i)
  redis.call('RPUSH', KEYS[1], (text:gsub('@minute', string.format('%02d', math.floor(i / 60) % 60))))
end
"""
_FOREIGN = """
for i = ARGV[1], ARGV[2] do
  local id = 'host-' .. i % 50 .. ':' .. i .. ':' .. (i % 3 == 0 and '*' or 'mail,q' .. i)
  redis.call('SADD', KEYS[1], id)
  redis.call('HSET', KEYS[2], id, ARGV[3])
  if i % 2 == 0 then
    local job = '"payload":{"class":"SendMail","args":[]}'
    redis.call('SET', KEYS[3] .. id, '{"queue":"mail","run_at":"' .. ARGV[3] .. '",' .. job .. '}')
  end
end
"""
# Each of these is in the indexes in which the one is that it was made like.
_ALIKE = """
local found = redis.call('HGETALL', KEYS[1] .. ARGV[3])
local indexes = {}
for n = 2, #KEYS do
  local score = redis.call('ZSCORE', KEYS[n], ARGV[3])
  if score then indexes[#indexes + 1] = { KEYS[n], tonumber(score) } end
end
for i = ARGV[1], ARGV[2] do
  local id = ARGV[3]:sub(1, -9) .. string.format('%08d', i)
  redis.call('HSET', KEYS[1] .. id, unpack(found))
  for _, each in ipairs(indexes) do redis.call('ZADD', each[1], string.format('%.0f', each[2] + i), id) end
end
"""
_RAN = """
for slot = ARGV[1], ARGV[2] do
  local key = KEYS[1] .. string.format('%.0f', ARGV[4] - slot * ARGV[5])
  for n = 1, ARGV[3] do redis.call('HSET', key, ARGV[6] .. n, '40,2,1,0,900,40,300,20,10,5,3,2') end
end
"""


def _portions(number: int, step: int = _STEP) -> Iterator[tuple[int, int]]:
    for first in range(1, number + 1, step):
        yield first, min(first + step - 1, number)


async def fill(redis: Redis, store: Store, wanted: Fill) -> None:
    """Fill it.

    Args:
        redis: the same as the store's, for what only tests write.
    """
    keys, (now_s, _) = Keys(), await redis.time()

    async def run(
        text: str, names: list[str], number: int, *args: str | int, step: int = _STEP
    ) -> None:
        script = redis.register_script(text)
        for first, last in _portions(number, step):
            await script(names, [first, last, *args])

    each = max(1, wanted.waiting // 2 // wanted.queues)
    await run(
        _QUEUES, [keys.queues, keys.queue("")], wanted.queues, each, step=max(1, _STEP // each)
    )
    await redis.sadd(keys.queues, DEEP)
    await run(_DEEP, [keys.queue(DEEP)], wanted.waiting - each * wanted.queues)
    names = [keys.schedule, keys.delayed(""), keys.key("timestamps:")]
    await run(_DELAYED, names, wanted.delayed, SECOND, wanted.delayed // 10)
    await run(_FAILED, [keys.failed], wanted.failed, _entry())
    await redis.set(keys.stat("failed"), wanted.failed)
    beat = iso_utc(now_s * 1_000_000)
    await run(_FOREIGN, [keys.workers, keys.heartbeats, keys.worker("")], wanted.workers // 2, beat)
    await _register(store, wanted.workers - wanted.workers // 2)
    await _track(redis, store, wanted.tracked)
    for grain in GRAINS:
        slots, last = grain.kept_s // grain.step_s, now_s - now_s % grain.step_s
        for kind, name in (("tasks", "Task"), ("queues", "q")):
            ran = min(wanted.ran, MOST_NAMES)
            key = keys.history(kind, grain.name, "")
            await run(_RAN, [key], slots, ran, last, grain.step_s, name, step=max(1, _STEP // ran))


def _entry() -> str:
    trace = [f"/app/lib/tasks/part_{n}.rb:{n * 7}:in `call'" for n in range(12)]
    return json.dumps(
        {
            "failed_at": "2026/11/29 10:@minute:00 UTC", "queue": "mail", "worker": "host-1:7:mail",
            "payload": {"class": "@class", "args": [{"n": "@number"}]},
            "exception": "@error", "error": "the service answered 503 for @number", "backtrace": trace,
        }
    )  # fmt: skip


async def _register(store: Store, number: int) -> None:
    """Processes of resqpy."""
    for first, last in _portions(number, _SLOTS):
        incarnation = f"{first:08d}"
        ids = [worker_id(n, incarnation, "*", f"app-{first}") for n in range(1, last - first + 2)]
        await workers.register(
            store, incarnation, ids, iso_utc(SYSTEM_CLOCK.now_ms() * 1000), life=life(len(ids), "*")
        )


async def _track(redis: Redis, store: Store, number: int) -> None:
    """Tasks in three states."""
    tracked = Tracked(store)
    for part in range(3):
        delay = 86_400_000 if part else None
        task = await tracked.create(
            f"task{part}", {"n": part}, queue="tracked", tags=["every"], delay=delay
        )
        if part == 2:
            await tracked.cancel(task.id)
        indexes = [
            each.decode()
            async for each in redis.scan_iter(f"{store.keys.own('tasks')}:*", count=1000)
        ]
        script = redis.register_script(_ALIKE)
        for first, last in _portions(number // 3):
            await script([store.keys.task(""), *indexes], [first, last, task.id])


async def commands(redis: Redis) -> int:
    """How many Redis has got since the last reset, those of scripts too."""
    stats: dict[str, Any] = await redis.info("commandstats")
    names = {name: name.partition("_")[2] for name in stats}
    return sum(stats[name]["calls"] for name in stats if names[name] not in _OUR_OWN)
