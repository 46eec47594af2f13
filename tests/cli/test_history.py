"""`resqpy mark`, and what the history keeps of a process that is killed."""

from __future__ import annotations

import os
import pwd
import signal
from socket import gethostname
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.cli.conftest import Call, Program
from tests.support.waiting import wait_for


def test_a_mark(resqpy: Call, client: Any) -> None:
    """With who set it."""
    assert resqpy("mark", " v1.2 ", "--by", "ci").out.split() == ["marked:", "v1.2"]
    assert resqpy("mark", "v1.3", "--by", "ci", "--json").json == {"mark": "v1.3", "by": "ci"}
    found = [fields for _, fields in client.xrange("resque:resqpy:history:marks")]
    assert found == [{b"text": text, b"by": b"ci"} for text in (b"v1.2", b"v1.3")]


@pytest.mark.parametrize("name", [None, "caf\udcc3", ""])
def test_who_it_was_without_a_name(
    resqpy: Call, client: Any, monkeypatch: pytest.MonkeyPatch, name: str | None
) -> None:
    """A container may run under a user id that has no name there, or one that is no text."""

    def none(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", none)
    for each in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(each, raising=False)
    if name is not None:
        monkeypatch.setenv("LOGNAME", name)
    assert resqpy("mark", "v1", "--json").code == 0
    client.sadd("resque:queues", "default")
    assert resqpy("queues", "pause", "default").code == 0
    [(_, mark)] = client.xrange("resque:resqpy:history:marks")
    user = str(os.getuid()) if not name else "caf?"
    assert mark[b"by"].decode() == f"{user}@{gethostname()}"
    paused = resqpy("queues", "list", "--json").out
    assert f"{user}@{gethostname()}" in paused


@pytest.mark.parametrize("text", ["", "  ", "x" * 201])
def test_a_mark_that_can_not_be_shown(resqpy: Call, client: Any, text: str) -> None:
    """It is refused, and nothing is written."""
    said = resqpy("mark", text)
    assert said.code == 2
    assert "1 to 200 characters" in said.err
    assert client.keys("*") == []


@pytest.mark.timeout(240)
async def test_a_kill_loses_no_more_than_what_was_not_written(
    program: Program, redis: Redis
) -> None:
    """What a heartbeat has written stays, and the next process adds to it."""

    async def runs() -> int:
        total = 0
        for key in await redis.keys("resque:resqpy:history:tasks:1h:*"):
            record: Any = await redis.hget(key, "sendMail") or b"0"
            total += int(record.split(b",")[0])
        return total

    async def are(number: int) -> bool:
        return await runs() == number

    job = '{"class":"sendMail","queue":"default","args":[{"to":"a@b"}]}'
    await redis.sadd("resque:queues", "default")
    for total in (20, 40):
        process = program("worker", RESQPY_TASKS_HEARTBEAT="300")
        await redis.rpush("resque:queue:default", *[job] * 20)
        await wait_for(lambda total=total: are(total), timeout=120)  # type: ignore[misc]
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert await runs() == 40
