"""Workers that are killed where no scheduler runs: another worker process takes their jobs back, once."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from resqpy import Queue
from tests.cli.conftest import Program
from tests.cli.processes import ended, pids, registered
from tests.support.waiting import wait_for

TASKS = '''
    import asyncio, os, signal
    from pathlib import Path
    from resqpy import task

    @task(queue="q")
    async def hold(n: int) -> None:
        """Run until a file is there, and say where."""
        with Path("begun").open("a") as file:
            file.write(f"{n} {os.getpid()}\\n")
        while not Path("open").exists():
            await asyncio.sleep(0.05)

    @task(queue="q")
    def kills(n: int) -> None:
        """Kill the process."""
        os.kill(os.getpid(), signal.SIGKILL)
'''
FAST = {"RESQPY_SCHEDULER_RESCUE_AFTER": "1s", "RESQPY_TASKS_HEARTBEAT": "200ms"}
SLOTS = ("--min", "4", "--max", "4")


@pytest.fixture
def project(root: Path) -> Path:
    """With tasks that last, and that kill."""
    (root / "tasks" / "held.py").write_text(dedent(TASKS))
    return root


def begun(project: Path) -> list[tuple[int, int]]:
    """The runs: number and pid."""
    path = project / "begun"
    lines = path.read_text().splitlines() if path.exists() else []
    return [(int(n), int(pid)) for n, pid in map(str.split, lines)]


async def fill(url: str, name: str, count: int) -> None:
    """Enqueue jobs."""
    async with Queue(url) as queue:
        await queue.enqueue_many([("q", name, [{"n": n}]) for n in range(count)])


async def over(redis: Any) -> bool:
    """Whether nothing waits or runs."""
    held = [key for key in await redis.keys("resque:worker:*") if not key.endswith(b":started")]
    return not held and not await redis.exists("resque:queue:q")


@pytest.mark.promise("no scheduler", "plain")
@pytest.mark.parametrize("others", [1, 2])
async def test_one_of_several(
    program: Program, redis: Any, redis_url: str, project: Path, others: int
) -> None:
    """What the killed one ran is run by the others, each job once, though two might take it back."""
    first = program("worker", *SLOTS, **FAST)
    await registered(redis)
    await fill(redis_url, "hold", 4)
    await wait_for(lambda: len(begun(project)) == 4, 60)
    living = [program("worker", *SLOTS, **FAST) for _ in range(others)]
    await registered(redis, 1 + others)

    first.send_signal(signal.SIGKILL)
    await wait_for(lambda: len(begun(project)) == 8, 60, "the jobs run again")
    assert await redis.hlen("resque:resqpy:rescues") == 4
    (project / "open").touch()
    await wait_for(lambda: over(redis), 60)
    for each in living:
        each.send_signal(signal.SIGTERM)
        assert ended(each)[0] == 0

    again = begun(project)[4:]
    assert sorted(n for n, _ in again) == [0, 1, 2, 3]
    assert first.pid not in {pid for _, pid in again}
    assert await redis.get("resque:stat:processed") == b"4"
    assert not await redis.exists("resque:failed", "resque:workers", "resque:resqpy:processes")


@pytest.mark.promise("no scheduler", "plain")
async def test_the_only_one(program: Program, redis: Any, redis_url: str, project: Path) -> None:
    """One that starts later takes the jobs of the dead back."""
    first = program("worker", *SLOTS, **FAST)
    await registered(redis)
    await fill(redis_url, "hold", 4)
    await wait_for(lambda: len(begun(project)) == 4, 60)
    first.send_signal(signal.SIGKILL)
    first.wait(60)
    (project / "open").touch()

    second = program("worker", *SLOTS, **FAST)
    await wait_for(lambda: len(begun(project)) == 8, 60, "the jobs run again")
    await wait_for(lambda: over(redis), 60)
    assert await pids(redis) == {str(second.pid)}
    second.send_signal(signal.SIGTERM)
    assert ended(second)[0] == 0
    assert await redis.get("resque:stat:processed") == b"4"


async def test_a_job_that_kills(
    program: Program, redis: Any, redis_url: str, project: Path
) -> None:
    """It is counted as where a leader rescues: after three rescues it fails by name, and the rest is run."""
    await fill(redis_url, "kills", 1)
    workers = [program("worker", *SLOTS, **FAST) for _ in range(5)]

    async def condemned() -> bool:
        return bool(await redis.llen("resque:failed") == 1)

    await wait_for(condemned, 120, "it is condemned")
    killed = [each for each in workers if each.poll() == -signal.SIGKILL]
    assert len(killed) == 4
    entry = (await redis.lrange("resque:failed", 0, -1))[0]
    assert b'"PoisonPill"' in entry
    (project / "open").touch()
    await fill(redis_url, "hold", 3)
    await wait_for(lambda: len(begun(project)) == 3, 60)
    for each in workers:
        if each.poll() is None:
            os.kill(each.pid, signal.SIGTERM)
            assert ended(each)[0] == 0
