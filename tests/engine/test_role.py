"""The life of a role: started once, stopped in a limited time, and dead with a cause."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from asyncio.subprocess import PIPE
from typing import Any

import pytest

from resqpy import MultiWorker, Scheduler, Worker
from resqpy.base.errors import PoolStateError, ResqpyError
from resqpy.engine.role import Role, State
from tests.support.waiting import wait_for

KINDS = ["Worker", "MultiWorker", "Scheduler"]


async def no_op(*_: Any) -> None:
    """A task."""


def new_role(kind: str, url: str) -> Role:
    """A role that is not started."""
    if kind == "Scheduler":
        return Scheduler(url, {"t": no_op})
    return (Worker if kind == "Worker" else MultiWorker)(url, {"t": no_op})


@pytest.mark.parametrize("kind", KINDS)
async def test_it_is_started_once(redis_url: str, redis: Any, kind: str) -> None:
    """Alike for all roles: a second start is refused while it runs, stops, and after its stop; the stop
    works all the same, and leaves nothing behind.
    """
    role = new_role(kind, redis_url)
    assert (role.state, role.running) == (State.NEW, False)
    await role.start()
    assert (role.state, role.running) == (State.RUNNING, True)
    with pytest.raises(PoolStateError, match="running"):
        await role.start()
    stopping = asyncio.ensure_future(role.stop())
    await asyncio.sleep(0)
    with pytest.raises(PoolStateError, match="stopping"):
        await role.start()
    await stopping
    with pytest.raises(PoolStateError, match="stopped"):
        await role.start()
    await role.stop()
    await role.wait()
    assert (role.state, role.running) == (State.STOPPED, False)
    assert not await redis.keys("resque:worker*")
    assert not await redis.exists("resque:resqpy:leader")


@pytest.mark.parametrize("kind", KINDS)
async def test_what_could_not_start_may_be_started_again(redis_url: str, kind: str) -> None:
    """A Redis that is not there yet, say."""
    role = new_role(kind, redis_url)
    connect, calls = role.connect, 0

    async def away() -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ResqpyError("away")
        await connect()

    role.connect = away  # type: ignore[method-assign]
    with pytest.raises(ResqpyError, match="away"):
        await role.start()
    states = [role.state]
    await role.start()
    await role.stop()
    assert [*states, role.state] == [State.NEW, State.STOPPED]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cause", [ValueError("boom"), SystemExit(3), GeneratorExit()])
async def test_its_death_has_a_cause(
    redis_url: str,
    redis: Any,
    caplog: pytest.LogCaptureFixture,
    kind: str,
    cause: BaseException,
) -> None:
    """A part that raises ends the role: the error itself comes out of `wait`, and is logged with its
    traceback; a stop still leaves everything in order.
    """

    async def breaks() -> None:
        raise cause

    role = new_role(kind, redis_url)
    role.spawn(breaks)
    await role.start()
    with pytest.raises(Exception) as raised:  # noqa: PT011 - whatever it is
        await role.wait()
    assert cause in (raised.value, raised.value.__cause__)
    assert (role.state, role.running) == (State.DIED, False)
    [told] = [each for each in caplog.records if each.levelno == logging.CRITICAL]
    assert told.exc_info is not None
    assert told.exc_info[1] is cause
    assert cause.__traceback__ is not None
    with pytest.raises(PoolStateError, match="died"):
        await role.start()
    await role.stop()
    assert role.state is State.DIED
    assert not await redis.keys("resque:worker*")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_part_that_leaks_a_cancellation_begins_again(redis_url: str, kind: str) -> None:
    """What nobody asked for (a library leaks a CancelledError) ends nothing."""
    begun: list[int] = []

    async def leaks() -> None:
        begun.append(1)
        if len(begun) < 3:
            raise asyncio.CancelledError
        await asyncio.sleep(3600)

    role = new_role(kind, redis_url)
    role.spawn(leaks)
    async with role:
        await wait_for(lambda: len(begun) == 3)
        assert role.state is State.RUNNING


@pytest.mark.parametrize("kind", KINDS)
async def test_a_part_that_does_not_end_is_left(
    redis_url: str, redis: Any, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stop goes on without what swallows its cancellation."""
    monkeypatch.setattr("resqpy.engine.role._END_WITHIN_S", 0.05)
    over = asyncio.Event()

    async def stubborn() -> None:
        while not over.is_set():
            try:
                await over.wait()
            except asyncio.CancelledError:
                continue

    role = new_role(kind, redis_url)
    role.spawn(stubborn)
    await role.start()
    await role.stop()
    assert role.state is State.STOPPED
    assert not await redis.keys("resque:worker*")
    over.set()


PROGRAM = """
import asyncio, json, sys
from resqpy import MultiWorker, Queue, Scheduler, ScalingOptions

url, sweep, where = sys.argv[1:]
SWEEPS = {
    "all": lambda: [task.cancel() for task in asyncio.all_tasks()],
    "others": lambda: [
        task.cancel() for task in asyncio.all_tasks() if task is not asyncio.current_task()
    ],
    "loop": lambda: asyncio.get_running_loop().stop(),
}
seen, gate = [], None

async def child():
    SWEEPS[sweep]()

async def sweeps():
    loop = asyncio.get_running_loop()
    if where == "child":
        await asyncio.create_task(child())
    elif where == "callback":
        loop.call_soon(SWEEPS[sweep])
    else:
        SWEEPS[sweep]()
    await asyncio.sleep(0.05)

async def waits():
    await gate.wait()

def plain():
    def all_of_them():
        SWEEPS[sweep]()
    main.call_soon_threadsafe(all_of_them)

def told(how):
    def listener(_number, _queue, job, *_):
        seen.append((job.class_name, how))
        if len(seen) == 2:
            gate.set()
        if len(seen) == 3:
            asyncio.get_running_loop().call_soon(stop)
    return listener

def stop():
    stopping.append(asyncio.ensure_future(worker.stop()))

stopping = []

async def run():
    global gate, main, worker
    gate, main = asyncio.Event(), asyncio.get_running_loop()
    jobs = {"sweeps": plain if where == "thread" else sweeps, "waits": waits}
    worker = MultiWorker(url, jobs, "q", scaling=ScalingOptions(3, 3))
    for how in ("success", "failure"):
        worker.on(how, told(how))
    async with Scheduler(url) as scheduler:
        async with Queue(url) as queue:
            await queue.enqueue_many([("q", "waits", []), ("q", "sweeps", []), ("q", "sweeps", [])])
        async with worker:
            await worker.wait()
            print(json.dumps([worker.state, scheduler.state, sorted(seen)]))

asyncio.run(run())
"""


@pytest.mark.parametrize("sweep", ["all", "others", "loop"])
@pytest.mark.parametrize("where", ["task", "child", "callback", "thread"])
async def test_a_job_that_cancels_all_tasks(
    redis_url: str, redis: Any, sweep: str, where: str
) -> None:
    """It ends as itself: other jobs go on, and so do dispatcher, tracker, poller and scheduler, and who
    waits for the worker.
    """
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, redis_url, sweep, where, stdout=PIPE, stderr=PIPE
    )
    out, said = await asyncio.wait_for(program.communicate(), 60)
    assert program.returncode == 0, said.decode()
    worker, scheduler, seen = json.loads(out)
    assert (worker, scheduler) == ("stopped", "running")
    names = [name for name, _ in seen]
    assert sorted(names) == ["sweeps", "sweeps", "waits"]
    assert ["waits", "success"] in seen
    assert b"job" in said
    assert await redis.llen("resque:queue:q") == 0
    assert not await redis.keys("resque:worker*")
