"""What somebody else wrote reaches no terminal as it is: no escape sequences, no direction marks, nothing
unseen, and no line of its own; in no structure of the layout, by no command that looks.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator

import click
import pytest
from redis import Redis

from resqpy import Resque
from resqpy.base.errors import printable, printable_json
from resqpy.cli.interactive.top import Counted, Sample, screen
from resqpy.diagnosis.queues import ages
from tests.cli.conftest import Call

# Colours, a title, a C1 sequence, a deletion, direction marks, a soft hyphen, unseen letters, a line.
EVIL = "\x1b[31m\x1b]0;title\x07\x9b2J\x7f\u202e\u2066\u200b\u200f\ufeff\u00ad\u3164\u034f\u2028\U000e0041"
LINE = "\n✗ forged: remove all"
NAME = f"x{EVIL}{LINE}"
RAW = NAME.encode() + b"\xff\xfe"

COMMANDS = [
    "info", "info --prometheus", "queues", "jobs", "delayed", "failed list", "failed groups", "workers",
    "workers --working", "schedule", "schedule fires --limit 3", "locks", "leader", "stats", "stats --every",
    "leave --dry-run",
    "doctor", "healthcheck", "task list", "task explain sendMail", "task explain fails", "tracked list",
    "jobs absent", "failed show 0123456789", "tracked get absent", "doctor --jobs", "config show",
]  # fmt: skip


@pytest.fixture
def hostile(client: Redis) -> Redis:
    """The text in every structure of the layout, as a name, as a class, as a value and as rubbish."""
    second, now = int(time.time()) - 100, time.time()
    job = json.dumps({"class": NAME, "args": [{NAME: NAME}], "queue": NAME})
    mine = json.dumps({"class": "sendMail", "args": [{"to": NAME}], "queue": NAME})
    worker = f"{NAME.replace(':', ';')}:1:{NAME}"
    for queue in (NAME.encode(), RAW, b"default"):
        client.sadd("resque:queues", queue)
        client.rpush(b"resque:queue:" + queue, job, mine, RAW, NAME)
    working = {"queue": NAME, "run_at": NAME, "payload": json.loads(job)}
    for each in (worker.encode(), RAW, b"h:1:default"):
        client.sadd("resque:workers", each)
        client.set(b"resque:worker:" + each, json.dumps(working))
        client.hset("resque:workers:heartbeat", each, NAME)
        client.set(b"resque:worker:ping:" + each, NAME)
        client.set(b"resque:stat:processed:" + each, 1)
    failed = {
        "failed_at": NAME, "payload": json.loads(job), "exception": NAME, "error": NAME,
        "backtrace": [NAME], "worker": worker, "queue": NAME, "retried_at": NAME,
    }  # fmt: skip
    client.sadd("resque:failed_queues", NAME, RAW)
    for each in (b"failed", NAME.encode(), RAW):
        client.rpush(
            b"resque:" + each, json.dumps(failed), RAW, json.dumps({**failed, "payload": 1})
        )
    client.zadd("resque:delayed_queue_schedule", {str(second): second, NAME: second})
    client.zadd("resque:delayed_queue_schedule", {RAW: 5})
    client.rpush(f"resque:delayed:{second}", job, mine, RAW)
    client.sadd(b"resque:timestamps:" + RAW, NAME)
    schedule = json.dumps({"class": NAME, "cron": "* * * * *", "args": [NAME], "queue": NAME})
    client.hset("resque:persistent_schedules", mapping={NAME: schedule, RAW: NAME, "odd": NAME})
    client.sadd("resque:schedules_changed", NAME)
    client.hset("resque:delayed:last_enqueued_at", mapping={NAME: NAME, RAW: NAME})
    for key in (
        "resque:resque:resque_scheduler_master_lock",
        "resque:resque_scheduler_leader_lock",
    ):
        client.set(key, NAME)
    client.set(f"resque:lock:sendMail:{NAME}:[]", int(now) + 99)
    client.set(b"resque:workerslock:fails:" + RAW, NAME)
    periodic = {"name": NAME, "class": NAME, "queue": NAME, "frequency": 1000}
    client.hset("resque:resqpy:periodic:tasks", mapping={NAME: json.dumps(periodic), RAW: NAME})
    client.zadd("resque:resqpy:periodic:seen", {NAME: now * 1000})
    client.zadd("resque:resqpy:periodic:due", {NAME: now * 1000})
    client.hset("resque:resqpy:periodic:stopped", NAME, NAME)
    client.zadd("resque:resqpy:processes", {NAME: now})
    client.zadd("resque:resqpy:processes", {RAW: now})
    client.hset("resque:resqpy:at_most_once", NAME, NAME)
    client.hset("resque:resqpy:rescues", NAME, NAME)
    client.rpush("resque:resqpy:claimed", NAME, RAW)
    client.set("resque:resqpy:leader", NAME)
    return client


def seen_signs(text: str) -> Iterator[str]:
    """What of a text must not reach a terminal."""
    return (sign for sign in text if sign != "\n" and printable(sign) != sign)


@pytest.mark.parametrize("command", COMMANDS)
def test_no_foreign_text_reaches_the_terminal(
    hostile: Redis, resqpy: Call, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither out nor err, for people and as JSON."""
    monkeypatch.setenv("NO_COLOR", "1")
    for more in ([], ["--json"]):
        said = resqpy(*command.split(), *more)

        assert "Traceback" not in said.err, said.err
        assert [*seen_signs(said.out + said.err)] == [], (command, more)
        assert not any(line.startswith("✗ forged") for line in said.out.splitlines())
        if more and said.out.startswith(("[", "{")) and "NaN" not in said.out:
            json.loads(said.out)


def test_top(hostile: Redis, resqpy: Call, redis_url: str) -> None:
    """Its lines are made elsewhere; colours are all that steers the terminal there."""

    async def look() -> list[str]:
        async with Resque(redis_url) as resque:
            details, found = await resque.details(), await ages(resque)
        counted = Counted(0.0, 1, 1)
        return screen(Sample(details, counted, None, found), NAME, 200, 60)

    shown = click.unstyle("\n".join(asyncio.run(look())))
    assert "forged" in shown
    assert [*seen_signs(shown)] == []


def test_tracked_tasks(client: Redis, resqpy: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a field holds that others wrote, of a task that is found by its id, and in a list."""
    monkeypatch.setenv("NO_COLOR", "1")
    made = resqpy("tracked", "create", "sendMail", "to=a@b", "--json").json["id"]
    [key] = [
        each
        for each in client.keys("resque:*")
        if client.type(each) == b"hash" and made.encode() in each
    ]
    fields = client.hgetall(key)
    for field in fields:
        client.hset(key, field, json.dumps([NAME]) if field in {b"tags", b"payload"} else NAME)
        for command in (f"get {made}", "list"):
            said = resqpy("tracked", *command.split())
            assert "Traceback" not in said.err, (field, said.err)
            assert [*seen_signs(said.out + said.err)] == [], (field, command)
        client.hset(key, field, fields[field])


def test_json_says_the_same_value(hostile: Redis, resqpy: Call) -> None:
    """What is escaped there is read as it was."""
    queues = {each["queue"] for each in resqpy("queues", "--json").json}

    assert NAME in queues


def test_a_name_is_found_as_it_is_shown(hostile: Redis, resqpy: Call) -> None:
    """A lock with hostile signs can be removed by what `resqpy locks` prints."""
    [shown] = {
        line.split("  ")[-1] for line in resqpy("locks").out.splitlines() if "lock:sendMail" in line
    }
    assert resqpy("locks", "remove", shown, "--yes").code == 0
    assert "lock:sendMail" not in resqpy("locks").out


@pytest.mark.parametrize("text", [EVIL, NAME, "ä → ✗ 漢", "a\\b", "\ud800", "🙂\u200d🙂"])
def test_texts_and_json(text: str) -> None:
    """Escaped once, then as it is; JSON reads the same value."""
    assert printable(text).isprintable()
    assert printable(printable(text)) == printable(text)
    if not any("\ud800" <= sign <= "\udfff" for sign in text):
        made = printable_json(json.dumps(text, ensure_ascii=False))
        assert made.isprintable()
        assert json.loads(made) == text
