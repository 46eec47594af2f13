"""Children of jobs: processes of the standard library as without us; a fork that comes back works nothing."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy import Queue
from tests.cli.conftest import Program
from tests.cli.processes import ended, lives, registered
from tests.support.waiting import wait_for

TASKS = '''
    import asyncio, multiprocessing, os, signal, subprocess, sys, threading, time
    from pathlib import Path
    from resqpy import api, task

    def note(words):
        with open("notes", "a") as file:
            file.write(f"{words} {os.getpid()}\\n")

    def sleeper(ready):
        ready.set()
        time.sleep(60)

    def square(n):
        return n * n

    @task
    def terminates(method: str) -> int | None:
        """Terminate a child."""
        context = multiprocessing.get_context(method)
        ready = context.Event()
        child = context.Process(target=sleeper, args=(ready,))
        child.start()
        if method != "fork":
            ready.wait()
        child.terminate()  # of a fork: as soon as ever may be
        child.join(20)
        code = child.exitcode
        child.kill()
        return code

    @task
    async def terminates_on_the_loop(method: str) -> int | None:
        """The same on the event loop."""
        return terminates(method)

    @task
    def leaves_one(method: str) -> int:
        """Leave a daemonic child behind."""
        child = multiprocessing.get_context(method).Process(target=time.sleep, args=(600,), daemon=True)
        child.start()
        return child.pid

    @task
    def pools(method: str) -> list[int]:
        """The textbook pool, of processes."""
        with multiprocessing.get_context(method).Pool(2) as pool:
            return pool.map(square, range(3))

    @task
    def handlers(method: str) -> str:
        """What a child does at signals, and hears."""
        child = os.fork()
        if child == 0:
            found = {signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)}
            own = signal.getsignal(signal.SIGINT) is signal.default_int_handler
            right = found == {signal.SIG_DFL} and own and signal.set_wakeup_fd(-1) == -1
            right = right and not signal.pthread_sigmask(signal.SIG_BLOCK, [])
            os._exit(0 if right else 1)
        return str(os.waitpid(child, 0)[1])

    @task
    async def comes_back() -> int:
        """Go on in the child as well."""
        return os.fork() and 1

    @task
    async def comes_back_to_the_loop() -> int:
        """Wait in the child as well."""
        child = os.fork()
        await asyncio.sleep(0)
        note("slept")
        await api.tasks.enqueue("counted", {"n": 1000})
        return child and 1

    @task
    def comes_back_to_its_thread() -> int:
        """Return in the child as well."""
        return os.fork() and 1

    @task
    async def raises_in_the_child() -> int:
        """Raise in the child."""
        if os.fork() == 0:
            raise ValueError("in the child")
        return 1

    @task
    async def counted(n: int) -> None:
        """Note what runs, a step at a time."""
        for step in range(20):
            note(f"step {n}")
            await asyncio.sleep(0)
'''


@pytest.fixture
def project(root: Path) -> Path:
    """The project, with tasks that have children."""
    (root / "tasks" / "children.py").write_text(dedent(TASKS))
    return root


async def result(redis_url: str, log: Path, task: str, inputs: dict[str, Any]) -> Any:
    """What a job returned, from its line in the log."""
    async with Queue(redis_url) as queue:
        await queue.enqueue("q", task, [inputs])

    def found() -> list[Any]:
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        return [
            [line.get("result", line.get("error"))]
            for line in lines
            if line["event"].startswith("job ") and line["task"] == task
        ]

    [value] = (await wait_for(found, timeout=120))[-1]
    return value


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
async def test_the_standard_library_works_as_without_us(
    program: Program, redis: Redis, redis_url: str, project: Path, method: str
) -> None:
    """A child ends by TERM, which nobody else hears; pools of processes work; the worker lives on."""
    log = project.parent / "log"
    worker = program("worker", "--logfile", str(log))
    await registered(redis)
    inputs = {"method": method}

    assert await result(redis_url, log, "terminates", inputs) == -signal.SIGTERM
    assert await result(redis_url, log, "terminates_on_the_loop", inputs) == -signal.SIGTERM
    assert await result(redis_url, log, "pools", inputs) == [0, 1, 4]
    assert await result(redis_url, log, "handlers", inputs) == "0"
    left = await result(redis_url, log, "leaves_one", inputs)
    assert "stopping" not in log.read_text()
    worker.send_signal(signal.SIGTERM)
    assert ended(worker)[0] == 0
    await wait_for(lambda: not lives(left))


async def test_a_fork_that_comes_back_is_ended(
    program: Program, redis: Redis, redis_url: str, project: Path
) -> None:
    """It works no job, writes nothing to Redis, and logs nothing twice; it is told."""
    log = project.parent / "log"
    worker = program("worker", "--logfile", str(log), "--min", "10")
    await registered(redis)
    async with Queue(redis_url) as queue:
        await queue.enqueue_many([("q", "counted", [{"n": n}]) for n in range(8)])
    names = (
        "comes_back",
        "comes_back_to_the_loop",
        "comes_back_to_its_thread",
        "raises_in_the_child",
    )

    for name in names:
        assert await result(redis_url, log, name, {}) == 1
    await wait_for(lambda: (project / "notes").read_text().count("step") >= 9 * 20, timeout=120)
    worker.send_signal(signal.SIGTERM)
    code, output = ended(worker)

    assert code == 0
    notes = (project / "notes").read_text().splitlines()
    assert {line.split()[-1] for line in notes} == {str(worker.pid)}
    assert len(notes) == 9 * 20 + 1
    assert output.count("forked child of a worker") == len(names)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    jobs = [line for line in lines if line["event"] == "job succeeded"]
    assert len(jobs) == 8 + len(names) + 1
    assert int(await redis.get("resque:stat:processed") or 0) == 8 + len(names) + 1
