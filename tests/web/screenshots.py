"""The pictures of the console in the documentation: `python -m tests.web.screenshots` writes docs/images.

It fills a Redis of its own as a small shop's might be, and has Chromium open the pages.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import tempfile
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from resqpy.base.clock import iso_utc
from resqpy.base.history import (
    BOUNDS_MS,
    BUCKETS,
    FAILED,
    RUN_MS,
    RUNS,
    WAIT_MS,
    WAITED,
    new_record,
)
from resqpy.base.keys import Keys
from resqpy.embedded import PrivateServer
from resqpy.engine.worker.identity import life, worker_id
from resqpy.store import workers
from resqpy.store.connection.client import Store
from resqpy.store.connection.options import RedisOptions
from resqpy.web.access import Access
from resqpy.web.app import Console, ConsoleOptions
from tests.web.test_chromium import CHROMIUM, served_at

IMAGES = Path(__file__).parents[2] / "docs" / "images"
# Of each picture the page, its height, and whether it is dark.
PICTURES: dict[str, tuple[str, int, bool]] = {
    "console-overview.png": ("/", 640, False),
    "console-overview-dark.png": ("/", 640, True),
    "console-failed.png": ("/failed", 415, False),
    "console-failed-dark.png": ("/failed", 415, True),
    "console-metrics.png": ("/metrics?period=8h&task=ChargeCard", 712, False),
}
_WIDTH = 1000

_TASKS = {  # queue, runs a minute, the share that fails, milliseconds
    "SendReceipt": ("mail", 42, 0.004, 70),
    "ChargeCard": ("billing", 18, 0.021, 410),
    "UpdateStock": ("default", 63, 0.0, 12),
    "RenderInvoice": ("reports", 7, 0.008, 2300),
    "IndexProduct": ("search", 31, 0.002, 35),
}
_WAITING = {"mail": 184, "billing": 12, "default": 46, "reports": 1204, "search": 0}
_FAILURES = (
    ("ChargeCard", "CardDeclined", "the bank answered: unknown currency", 61, 2),
    ("RenderInvoice", "TimeoutError", "no answer from pdf.internal:9000 within 10 s", 23, 8),
    ("SendReceipt", "SMTPServerDisconnected", "connection lost during DATA", 9, 190),
    ("Billing::SyncLedger", "Net::ReadTimeout", "Net::ReadTimeout with #<TCPSocket:(closed)>", 4, 260),
    ("IndexProduct", "KeyError", "'sku'", 2, 15),
)  # fmt: skip


async def fill(redis: Redis, store: Store, now_s: int) -> None:
    """Queues, workers of two languages, failures, delayed jobs, and eight hours of runs."""
    keys, chance = Keys(), random.Random(7)
    for queue, number in _WAITING.items():
        await redis.sadd(keys.queues, queue)
        job = {
            "class": next(n for n, each in _TASKS.items() if each[0] == queue),
            "args": [{"order": 4711}],
        }
        if number:
            await redis.rpush(keys.queue(queue), *[json.dumps(job)] * number)
    for name, exception, error, number, ago_min in _FAILURES:
        for n in range(number):
            failed_at = iso_utc((now_s - ago_min * 60 - n * 23) * 1_000_000)
            entry = {
                "failed_at": failed_at, "payload": {"class": name, "args": [{"order": 4711 + n}]},
                "exception": exception, "error": error, "backtrace": [], "worker": "app-1:7:billing",
                "queue": _TASKS.get(name, ("billing",))[0],
            }  # fmt: skip
            await redis.rpush(keys.failed, json.dumps(entry))
    for n in range(240):
        second = now_s + 60 + n * 37
        await redis.zadd(keys.schedule, {str(second): second})
        reminder = '{"class":"SendReceipt","queue":"mail","args":[' + str(n) + "]}"
        await redis.rpush(keys.delayed(second), reminder)
        await redis.sadd(keys.timestamps(reminder), keys.delayed_member(second))
    for first, host in ((1, "app-1"), (2, "app-2")):
        ids = [worker_id(n, f"app{first:05d}", "*", host) for n in range(1, 9)]
        told = life(8, "*", host)
        await workers.register(store, f"app{first:05d}", ids, iso_utc(now_s * 1_000_000), life=told)
        for n, each in enumerate(ids[: 3 + first]):
            name = [*_TASKS][n % len(_TASKS)]
            work = {"queue": _TASKS[name][0], "run_at": iso_utc((now_s - 2) * 1_000_000),
                    "payload": {"class": name, "args": [{"order": 4720 + n}]}}  # fmt: skip
            await redis.set(keys.worker(str(each)), json.dumps(work))
    ruby = "legacy-1:3121:billing"
    await redis.sadd(keys.workers, ruby)
    await redis.hset(keys.heartbeats, ruby, iso_utc(now_s * 1_000_000))
    for lock in (keys.leader, keys.leader_foreign, keys.node_leader, keys.ruby_leader()):
        await redis.set(lock, "app-1+resqpy:4021", px=600_000)
    await redis.set(keys.queue_pause("reports"), '{"by":"ann","reason":"the PDF service moves"}')
    await redis.mset({keys.stat("processed"): 1_204_511, keys.stat("failed"): 2187})
    await _ran(redis, keys, now_s, chance)


async def _ran(redis: Redis, keys: Keys, now_s: int, chance: random.Random) -> None:
    """More by day than in the evening; and a deploy, since which cards are declined."""
    for step, name, slots in ((60, "1m", 60), (600, "10m", 48)):
        for ago in range(slots):
            slot = now_s - now_s % step - ago * step
            load = 1 + 0.45 * math.sin(slot / 4300) + 0.15 * chance.random()
            for task, (queue, per_min, share, ms) in _TASKS.items():
                runs = max(1, round(per_min * load * step / 60 * (0.6 if ago == 0 else 1)))
                broken = task == "ChargeCard" and ago * step < 1500
                failed = round(runs * (0.35 if broken else share) * (0.5 + chance.random()))
                values = _record(runs, failed, round(ms * (0.7 + load / 3)))
                await redis.hset(keys.history("tasks", name, str(slot)), task, values)
                waited = _record(runs, 0, {"reports": 4100}.get(queue, 40))
                await redis.hset(keys.history("queues", name, str(slot)), queue, waited)
            waiting = {each: round(number * load) for each, number in _WAITING.items() if number}
            sample: dict[Any, Any] = {
                each: f"{number},{number * 3}" for each, number in waiting.items()
            }
            total = sum(waiting.values())
            done = 1_204_511 - round(ago * step / 60 * sum(each[1] for each in _TASKS.values()))
            sample[""] = f"{done},2187,{total},99,17,9"
            await redis.hset(keys.history("sample", name, str(slot)), mapping=sample)
    mark: Any = {"text": "v2.14", "by": "deploy"}
    await redis.xadd(keys.history("marks"), mark, id=f"{(now_s - 1500) * 1000}-0")


def _record(runs: int, failed: int, ms: int) -> str:
    made = new_record()
    made[RUNS], made[FAILED], made[RUN_MS] = runs, failed, runs * ms
    made[WAITED], made[WAIT_MS] = runs, runs * 30
    middle = next(n for n, bound in enumerate(BOUNDS_MS) if bound >= ms)
    made[BUCKETS + middle - 1], made[BUCKETS + middle] = runs // 4, runs - runs // 4 - runs // 20
    made[BUCKETS + middle + 1] = runs // 20
    return ",".join(map(str, made))


async def main() -> None:
    """Write the pictures."""
    IMAGES.mkdir(exist_ok=True)
    with (
        PrivateServer(config=["appendonly yes"]) as server,
        tempfile.TemporaryDirectory() as profile,
    ):
        redis, store = (
            Redis(unix_socket_path=str(server.socket_path)),
            Store(RedisOptions(server.url)),
        )
        await store.connect()
        now_s, _ = await redis.time()
        await fill(redis, store, now_s)
        by = Access("ann", "operator")
        options = ConsoleOptions(authenticate=lambda _: by, environment="production")
        console = Console(lambda: RedisOptions(server.url), options)
        async with served_at(console) as base:
            await console.open()
            await console.problems.get()
            for name, (path, height, dark) in PICTURES.items():
                await _picture(f"{base}{path}", IMAGES / name, height, profile, dark=dark)
        await console.close()
        await store.close()
        await redis.aclose()


async def _picture(url: str, path: Path, height: int, profile: str, *, dark: bool) -> None:
    process = await asyncio.create_subprocess_exec(
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
        "--hide-scrollbars", "--disable-lcd-text", f"--window-size={_WIDTH},{height}", f"--screenshot={path}",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}", url,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    async with asyncio.timeout(60):
        await process.wait()


if __name__ == "__main__":
    asyncio.run(main())
