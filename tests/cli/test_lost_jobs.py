"""Jobs that were lost with their worker, as the log of a program shows them."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.cli.conftest import Program
from tests.cli.processes import ended
from tests.support.waiting import wait_for

SOON = {"RESQPY_SCHEDULER_RESCUE_AFTER": "2000", "RESQPY_TASKS_HEARTBEAT": "500"}
OURS = "box+1-abcdefgh:77:mail"  # a worker of ours that nobody knows
FOREIGN = "box+1-abcdefgh:77"


def record(worker: str) -> str:
    """What stands on a worker's record."""
    words = {"queue": "mail", "run_at": "2026-11-29T09:56:51Z", "payload": JOB, "worker": worker}
    return json.dumps(words, separators=(",", ":"))


JOB: Any = {"class": "send", "queue": "mail", "args": [{"to": "ada"}]}


@pytest.mark.parametrize("role", ["worker", "scheduler"])
async def test_one_that_may_not_be_repeated_is_told_as_failed(
    program: Program, redis: Redis, role: str
) -> None:
    """Whoever rescues says which job failed, and why: the worker that ran it can't any more."""
    await redis.set(f"resque:worker:{OURS}", record(FOREIGN))
    await redis.sadd("resque:workers", OURS)
    mark = record(FOREIGN).partition('{"class"')[0]
    await redis.hset("resque:resqpy:at_most_once", OURS, mark)
    process = program(role, *(["--queues", "other"] if role == "worker" else []), **SOON)
    await wait_for(lambda: redis.llen("resque:failed"), timeout=120)
    process.send_signal(signal.SIGTERM)
    code, output = ended(process)
    assert code == 0, output
    [line] = [json.loads(line) for line in output.splitlines() if '"job failed"' in line]
    assert (line["task"], line["queue"], line["worker"]) == ("send", "mail", OURS)
    assert line["error"].startswith("WorkerDied: ")
    assert line["level"] == "error"


@pytest.mark.parametrize("worker", [OURS, FOREIGN])
async def test_a_record_of_a_worker_that_nobody_knows(
    program: Program, redis: Redis, worker: str
) -> None:
    """It is found, and its job is put back, whether it names its worker by the id or by the name."""
    await redis.set(f"resque:worker:{OURS}", record(worker))
    process = program("scheduler", **SOON)
    await wait_for(lambda: redis.llen("resque:queue:mail"), timeout=120)
    process.send_signal(signal.SIGTERM)
    code, output = ended(process)
    assert code == 0, output
    assert [json.loads(each) for each in await redis.lrange("resque:queue:mail", 0, -1)] == [JOB]
    assert not await redis.exists("resque:failed", f"resque:worker:{OURS}")
    [line] = [json.loads(each) for each in output.splitlines() if "job put back" in each]
    assert (line["task"], line["queue"], line["worker"], line["times_lost"]) == (
        "send",
        "mail",
        OURS,
        1,
    )
