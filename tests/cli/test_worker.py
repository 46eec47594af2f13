"""`resqpy worker`, `scheduler` and `start`, as programs."""

from __future__ import annotations

import signal
from pathlib import Path
from textwrap import dedent

import pytest
from redis.asyncio import Redis

from resqpy import Queue
from resqpy.cli.output.printing import Exit
from tests.cli.conftest import Call, Program
from tests.cli.processes import ended, registered
from tests.support.waiting import wait_for


async def test_it_works_without_any_option(program: Program, redis: Redis, redis_url: str) -> None:
    """It takes jobs from all queues although the config's defaults say 0 processors; TERM ends it."""
    async with Queue(redis_url) as queue:
        await queue.enqueue("anything", "sendMail", [{"to": "ada@example.com"}])

    worker = program("worker")
    await wait_for(lambda: redis.get("resque:stat:processed"), timeout=15)
    worker.send_signal(signal.SIGTERM)
    code, output = ended(worker)

    assert code == 0
    assert "mail to ada@example.com" in output
    assert await redis.smembers("resque:workers") == set()


async def test_burst_ends_when_the_queues_are_empty(
    program: Program, redis: Redis, redis_url: str
) -> None:
    """`--burst`, and Resque's INTERVAL=0, do what waits and end with 0."""
    async with Queue(redis_url) as queue:
        await queue.enqueue_many([("q", "sendMail", [{"to": f"{n}@x"}]) for n in range(20)])

    code, _ = ended(program("worker", "--burst"))
    again, _ = ended(program("worker", INTERVAL="0"))

    assert (code, again) == (0, 0)
    assert await redis.get("resque:stat:processed") == b"20"


async def test_a_stuck_thread_does_not_hold_it(
    program: Program, redis: Redis, redis_url: str, root: Path
) -> None:
    """A plain task that never returns is put back at a stop, and the process ends all the same."""
    (root / "tasks" / "stuck.py").write_text(
        dedent('''
            import time
            from resqpy import task

            @task()
            def stuck() -> None:
                """Never return."""
                print("stuck now", flush=True)
                time.sleep(600)
        ''')
    )
    async with Queue(redis_url) as queue:
        await queue.enqueue("q", "stuck", [{}])

    worker = program("worker", "--timeout", "100ms", RESQPY_TASKS_CANCEL_TIMEOUT="100")
    await wait_for(lambda: _is_taken(redis), timeout=15)
    worker.send_signal(signal.SIGTERM)
    code, _ = ended(worker)

    assert code == 0
    assert await redis.llen("resque:queue:q") == 1


async def _is_taken(redis: Redis) -> bool:
    return bool(await redis.exists("resque:queues")) and await redis.llen("resque:queue:q") == 0


async def test_a_scheduler_works_no_jobs(program: Program, redis: Redis) -> None:
    """`resqpy scheduler` leads, and registers no worker."""
    scheduler = program("scheduler")
    await wait_for(lambda: redis.get("resque:resqpy:leader"), timeout=15)

    workers = await redis.scard("resque:workers")
    scheduler.send_signal(signal.SIGTERM)

    assert workers == 0
    assert ended(scheduler)[0] == 0


async def test_a_project_without_tasks_is_refused(program: Program, root: Path) -> None:
    """A worker without tasks would fail every job as unknown."""
    (root / "tasks" / "mail.py").unlink()

    code, output = ended(program("worker"))

    assert (code, "there is no task in" in output) == (Exit.USAGE, True)


@pytest.mark.parametrize("host", [None, "app:1"])
async def test_healthcheck_knows_a_live_worker(
    program: Program, redis: Redis, environ: dict[str, str], host: str | None
) -> None:
    """0 while a live worker on this host, however the config names it, and a scheduler leads; 6 before."""
    if host is not None:
        environ["RESQPY_TASKS_HOST"] = host
    before, _ = ended(program("healthcheck", "--worker", "--scheduler"))
    program("worker", "--scheduler")
    await registered(redis)
    await wait_for(lambda: redis.get("resque:resqpy:leader"), timeout=15)

    after, output = ended(program("healthcheck", "--worker", "--scheduler"))

    assert (before, after) == (Exit.NO, Exit.OK)
    assert "a live worker on this host" in output


@pytest.mark.parametrize("arguments", [["--json"], []])
def test_versions(resqpy: Call, arguments: list[str]) -> None:
    """Of resqpy, Python and the Redis client."""
    assert "resqpy" in resqpy("version", *arguments).out


# What only other commands, schedulers, tests and web applications need.
NOT_FOR_A_WORKER = {
    "croniter", "dateutil", "multiprocessing", "unittest", "sqlite3", "resqpy.testing",
    "resqpy.diagnosis.doctor", "resqpy.diagnosis.explaining", "resqpy.diagnosis.workers",
    "resqpy.embedded", "resqpy.cli.interactive", "resqpy.cli.scaffold",
    "resqpy.cli.selection", "resqpy.framework.api.sync", "resqpy.framework.api.blocking",
    "resqpy.framework.api.loop_thread", "resqpy.store.connection.blocking", "resqpy.framework.process.embedding",
}  # fmt: skip
TELLS = """
    import sys
    from pathlib import Path

    from resqpy import task

    @task()
    def tell(file: str):
        "Write down what is imported."
        Path(file).write_text(" ".join(sys.modules))
"""


async def test_what_a_worker_does_not_import(
    program: Program, root: Path, redis: Redis, redis_url: str
) -> None:
    """Each module is memory of each process, for as long as it lives."""
    (root / "tasks" / "tells.py").write_text(dedent(TELLS))
    told = root.parent / "modules"
    async with Queue(redis_url) as queue:
        await queue.enqueue("default", "tell", [{"file": str(told)}])
    code, output = ended(program("worker", "--queues", "default", "--burst"), 60)
    assert code == 0, output
    imported = set(told.read_text().split())
    assert imported & NOT_FOR_A_WORKER == set()
    commands = {each for each in imported if each.startswith("resqpy.cli.commands.")}
    assert commands == {"resqpy.cli.commands.worker"}
