"""The console on a Redis that is full: each page's first byte, beside a page that only PINGs, in the same run;
what each costs Redis; Redis' slowest command, and the memory of the process.
"""

from __future__ import annotations

import asyncio
import json
import resource
import time
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from starlette.responses import Response
from starlette.routing import Route

from resqpy.store.connection.client import Store
from resqpy.web.access import Access
from resqpy.web.app import Console, ConsoleOptions
from resqpy.web.asking import Refusal
from resqpy.web.pages.area import PAGES
from resqpy.web.rendering import page
from resqpy.web.visit import Endpoint, Visit
from tests.benchmarks.python.common import Params, options, run, say, stdin_ends
from tests.support.filled import PATHS, Fill, commands, fill
from tests.support.served import served

PING, LARGE = "/ping", "large"
_LARGE_BYTES = 50_000_000
_TIMES = 40


async def _ping(visit: Visit) -> Response:
    """A page of the same frame that asks Redis for nothing."""
    await visit.resque.store.call("PING")
    return page(visit, "refused", refusal=Refusal(200, "PONG"), again=False, soon="")


async def main(params: Params) -> None:
    """Fill it, then ask for each page, in turn with the other."""
    redis, store = Redis(unix_socket_path=params["socket"]), Store(options(params))
    await store.connect()
    wanted = Fill(workers=5000) * params["times"]
    begun_s = time.monotonic()
    await fill(redis, store, wanted)
    await redis.sadd("resque:queues", LARGE)
    text = "x" * int(_LARGE_BYTES * params["times"])
    await redis.rpush(f"resque:queue:{LARGE}", json.dumps({"class": "Large", "args": [text]}))
    del text
    filled_s = time.monotonic() - begun_s
    memory = int((await redis.info("memory"))["used_memory"])
    console = Console(
        lambda: options(params), ConsoleOptions(authenticate=lambda _: Access("ann", "admin"))
    )
    area, routes = console._routes[-1]
    assert area is PAGES
    routes.insert(0, (Endpoint(PING, _ping), Route(PING, lambda _: Response())))
    await redis.config_set("slowlog-log-slower-than", 1000)
    pages = {path: await _page(console, redis, path) for path in (*PATHS, f"/queues/{LARGE}")}
    await console.close()
    result = {"pages": pages, "fill_s": filled_s, "memory": memory, "rss": _rss()}
    say(ready=True, result=result)
    await stdin_ends()
    await store.close()
    await redis.aclose()


async def _page(console: Console, redis: Redis, path: str) -> dict[str, Any]:
    async with served(console) as port:
        await first_byte(port, PING)
        cold_s, _ = await first_byte(port, path)
        everything = console.everything
        await everything.queues.current()
        await everything.workers.current()
        for of in everything.history.values():
            await of.current()
        await console.problems.get()
        await console.groups.get()
        console.problems._until_s = console.groups._until_s = float("inf")
        times: dict[str, list[float]] = {PING: [], path: []}
        await redis.slowlog_reset()
        for _ in range(_TIMES):
            for each, found in times.items():
                console.pages.forget()  # the time for which many share a page is over
                found.append((await first_byte(port, each))[0])
        slow = [each["duration"] for each in await redis.slowlog_get(128)]
        console.pages.forget()
        line = console.resque.store.line
        await redis.config_resetstat()
        before = line.round_trips
        _, size = await first_byte(port, path)
        trips, asked = line.round_trips - before, await commands(redis)
    await console.close()
    return {
        "ms": min(times[path]) * 1000, "ping_ms": min(times[PING]) * 1000, "first_ms": cold_s * 1000,
        "round_trips": trips, "commands": asked, "bytes": size, "rss": _rss(),
        "p95_ms": sorted(times[path])[_TIMES * 95 // 100] * 1000, "slow_ms": max(slow, default=0) / 1000,
    }  # fmt: skip


def _rss() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


async def first_byte(port: int, path: str) -> tuple[float, int]:
    """Seconds until the first byte of the answer, and how long that is."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    begun_s = time.perf_counter()
    lines = (f"GET {path} HTTP/1.1", "host: localhost", "connection: close", "", "")
    writer.write("\r\n".join(lines).encode())
    first = await reader.read(1)
    seconds = time.perf_counter() - begun_s
    rest = await reader.read()
    writer.close()
    assert (first + rest).startswith((b"HTTP/1.1 200", b"HTTP/1.1 202")), (path, rest[:400])
    return seconds, len(rest)


if __name__ == "__main__":
    run(main)
