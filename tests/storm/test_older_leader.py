"""A leader of an older version, which can't read the ids of today's workers, beside these."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resqpy.engine.worker import identity
from resqpy.store import workers
from resqpy.store.connection.client import Store
from resqpy.store.connection.options import RedisOptions
from resqpy.store.exchange import Exchange, SlotRef
from tests.storm.fleet import PROJECT
from tests.support.waiting import wait_for
from tests.support.working import working

DEAD = "abcd1234"
JOB = b'{"class":"Echo","queue":"mail","args":[1]}'


@pytest.fixture
def leader(older: Path, redis_url: str, tmp_path: Path) -> Iterator[None]:
    """A scheduler with the code of the older commit."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("RESQPY")}
    settings = {
        "PYTHONPATH": str(older),
        "RESQPY_SCHEDULER_RESCUE_AFTER": "1000",
        "STORM_NOTES": str(tmp_path / "notes"),
    }
    words = ["scheduler", "-C", str(PROJECT), "-r", redis_url]
    process = subprocess.Popen(
        [sys.executable, "-m", "resqpy.cli", *words], env=clean | settings, cwd=tmp_path
    )
    yield
    process.terminate()
    process.wait(30)


async def die_with(redis_url: str, job: bytes) -> str:
    """Let a process of today take a job and die; the worker that has it."""
    store = Store(RedisOptions(redis_url))
    me = identity.worker_id(1, DEAD, "mail")
    life = identity.life(1, "mail")
    started = "2026-11-21 00:00:00 +0000"
    try:
        await workers.register(store, DEAD, [me], started, epoch=1, life=life)
        await store.call("RPUSH", "resque:queue:mail", job)
        exchange = Exchange(store)
        reply = await exchange.run([], [SlotRef.of(me)], ["mail"], "2026-11-21T00:00:00.000001Z")
        assert len(reply.taken) == 1
        await exchange.close()
    finally:
        await store.close()
    return str(me)


@pytest.mark.parametrize("forgotten", [True, False])
@pytest.mark.usefixtures("leader")
async def test_jobs_of_a_killed_worker_come_back_once(
    redis_url: str, redis: Any, *, forgotten: bool
) -> None:
    """By another worker of today, whether the leader has forgotten the dead process by then or not."""
    ran: list[Any] = []
    await wait_for(lambda: redis.get("resque:resqpy:leader"), timeout=120)
    older = (await redis.get("resque:resqpy:leader")).decode()
    assert not identity.reads_our_ids(older)
    dead = await die_with(redis_url, JOB)
    if forgotten:
        await wait_for(lambda: _is_forgotten(redis), timeout=120)
        assert await redis.exists(f"resque:worker:{dead}")
        assert await redis.sismember("resque:workers", dead)

    jobs = {"Echo": lambda *args: ran.append(args)}
    options: dict[str, Any] = {"heartbeat_s": 0.1, "rescue_after_s": 1.0}
    async with working(redis_url, jobs, "mail", **options) as work:
        await wait_for(lambda: bool(ran), timeout=120)
        await wait_for(lambda: _nothing_is_left(redis), timeout=120)
        await work.until(1)

    assert ran == [(1,)]
    assert await redis.llen("resque:queue:mail") == await redis.llen("resque:failed") == 0
    assert (await redis.get("resque:resqpy:leader")).decode() == older


async def _is_forgotten(redis: Any) -> bool:
    return await redis.zscore("resque:resqpy:processes", DEAD) is None


async def _nothing_is_left(redis: Any) -> bool:
    named = [await redis.smembers("resque:workers"), await redis.hkeys("resque:workers:heartbeat")]
    ours = [each for each in (*named[0], *named[1]) if DEAD.encode() in each]
    kept = await redis.hexists("resque:resqpy:lives", DEAD)
    return not ours and not kept and await _is_forgotten(redis)
