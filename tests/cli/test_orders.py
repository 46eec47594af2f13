"""`resqpy process`: worker processes are shown, and obey."""

from __future__ import annotations

import asyncio
from pathlib import Path

from redis.asyncio import Redis

from resqpy.cli.output.printing import Exit
from tests.cli.conftest import Call, Program
from tests.cli.processes import ended, registered
from tests.support.waiting import wait_for


async def test_processes_are_shown_and_ordered(
    program: Program, redis: Redis, resqpy: Call
) -> None:
    """By id, by host and pid, and all of them."""
    worker = program("worker")
    [pid] = await registered(redis)
    [one] = (await asyncio.to_thread(resqpy, "process", "--json")).json
    name = f"{one['host']}:{pid}"
    answers = {
        words: await asyncio.to_thread(resqpy, "process", *words.split(), "--json")
        for words in (
            f"ping {one['id'][:5]}",
            f"scale 2-3 {name}",
            f"stacks --host {one['host']}",
            "log-level debug --for 1h --all",
        )
    }
    [loud] = (await asyncio.to_thread(resqpy, "process", "--json")).json
    told = await asyncio.to_thread(resqpy, "process", "log-level", "default", "--all")
    shown = await asyncio.to_thread(resqpy, "process", "ping", "--all")
    stopped = await asyncio.to_thread(
        resqpy, "process", "stop", "--all", "--timeout", "1s", "--yes"
    )
    code, log = ended(worker)

    ping, scale, stacks, log_level = (said.json[0]["answer"] for said in answers.values())
    assert {said.code for said in answers.values()} == {Exit.OK}
    assert (str(one["pid"]), one["state"], str(ping["pid"])) == (pid, "working", pid)
    assert (scale["min"], scale["max"]) == (2, 3)
    assert "thread resqpy-heartbeat" in stacks["stacks"]
    assert (one["log_level"], loud["log_level"]) == ("info", log_level["log"]["now"])
    assert loud["log_until"] is not None
    assert told.out == f"{name} ({one['id']}): logs info and above\n"
    assert shown.out.startswith(f"{name} ({one['id']}): working")
    assert (stopped.code, code) == (Exit.OK, 0)
    assert "ordered by resqpy process" in log


def test_what_is_asked_wrongly(resqpy: Call) -> None:
    """Names what to do; nobody there is an error, too."""
    assert resqpy("process", "ping").code == Exit.USAGE
    assert resqpy("process", "ping", "x", "--all").code == Exit.USAGE
    assert resqpy("process", "scale", "many", "--all").code == Exit.USAGE
    assert resqpy("process", "scale", "5-1", "--all").code == Exit.USAGE
    assert resqpy("process", "scale", "5-10001", "--all").code == Exit.USAGE
    assert resqpy("process", "scale", "9" * 5000, "--all").code == Exit.USAGE
    wrong = resqpy("process", "log-level", "dbug", "--all")
    assert (wrong.code, "did you mean 'debug'" in wrong.err) == (Exit.USAGE, True)
    assert resqpy("process", "log-level", "default", "--for", "1m", "--all").code == Exit.USAGE
    assert resqpy("process", "ping", "nobody:1").code == Exit.NOT_FOUND
    assert resqpy("process", "ping", "--all").code == Exit.NOT_FOUND
    assert resqpy("process", "--json").json == []


async def test_who_does_not_answer_is_named(redis: Redis, resqpy: Call) -> None:
    """A process that is away; its order waits for it and expires."""
    seconds, _ = await redis.time()
    await redis.zadd("resque:resqpy:processes", {"gone1234": seconds})
    life = '{"host":"far","pid":7,"queues":"*","most":1,"form":2}'
    await redis.hset("resque:resqpy:lives", "gone1234", life)
    said = await asyncio.to_thread(resqpy, "process", "quiet", "far:7", "--wait", "300ms", "--yes")

    assert (said.code, "no answer" in said.out) == (Exit.NO, True)
    await redis.zadd(
        "resque:resqpy:processes", {"gone1234": seconds - 45}
    )  # by its tasks.heartbeat
    for which in ("--all", "--host far"):
        words = f"process ping {which} --wait 300ms --json"
        late = await asyncio.to_thread(resqpy, *words.split())
        assert (late.code, [each["id"] for each in late.json]) == (Exit.NO, ["gone1234"])
    # the pings wait for 300 ms, and do not take the other order along
    assert 30_000 < await redis.pttl("resque:resqpy:orders:gone1234") <= 300_000


async def test_who_has_not_obeyed_yet_is_no_success(
    program: Program, redis: Redis, resqpy: Call, root: Path
) -> None:
    """A loop that is blocked: exit code 6; one that is named twice is asked once."""
    code = "import time\nfrom resqpy import task\n@task\nasync def blocks():\n    'B.'\n    time.sleep(600)\n"
    (root / "tasks" / "blocks.py").write_text(code)
    worker = program("worker")
    [pid] = await registered(redis)
    await asyncio.to_thread(resqpy, "task", "enqueue", "blocks")
    await wait_for(lambda: _works(redis))
    [one] = (await asyncio.to_thread(resqpy, "process", "--json")).json
    words = f"process quiet {one['id']} {one['host']}:{pid} --yes --json"
    said = await asyncio.to_thread(resqpy, *words.split())
    worker.kill()

    [shown] = said.json
    assert (said.code, "waits" in shown["answer"]) == (Exit.NO, True)


async def _works(redis: Redis) -> bool:
    return any(
        [
            each
            async for each in redis.scan_iter("resque:worker:*:*")
            if not each.endswith(b":started")
        ]
    )
