"""Programs of workers: who has registered, and how they ended."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import cast

from redis.asyncio import Redis

from resqpy.base.model import WorkerId
from resqpy.engine.worker.identity import place_of
from tests.support.waiting import wait_for


def ended(process: subprocess.Popen[str], timeout: float = 120) -> tuple[int, str]:
    """Wait for its end: exit code and what it printed."""
    output, _ = process.communicate(timeout=timeout)
    return process.returncode, output


async def registered(redis: Redis, count: int = 1) -> set[str]:
    """Wait until so many processes have workers: their pids."""

    async def counted() -> list[set[str]]:
        found = await pids(redis)
        return [found] if len(found) == count else []

    return (await wait_for(counted, timeout=120))[0]


async def pids(redis: Redis) -> set[str]:
    """The processes that have workers."""
    members = await redis.smembers("resque:workers")
    return {place_of(WorkerId.parse(cast(bytes, each).decode()))[1] for each in members}


def lives(pid: int) -> bool:
    """Whether a process runs, and is no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
