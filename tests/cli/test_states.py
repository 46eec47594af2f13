"""What commands say of workers that take no jobs: paused, quiet, stuck; and of whom a pause does not bind."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from redis import Redis

from resqpy.cli.output.printing import Exit
from tests.cli.conftest import Call

QUEUE = "default"  # of the task sendMail


def worker(client: Redis, number: int, state: str = "", host: str = "h") -> str:
    """A live worker of ours, in a process of its own."""
    incarnation = f"aaaaaaa{number}"
    name = f"{host}+resqpy:{number}-1-{incarnation}:{QUEUE}"
    client.sadd("resque:workers", name)
    client.hset(
        "resque:workers:heartbeat", name, time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
    )
    client.zadd("resque:resqpy:processes", {incarnation: time.time()})
    if state:
        client.set(f"resque:resqpy:state:{incarnation}", state)
    return name


@pytest.mark.parametrize("state", ["paused", "quiet", "stopping", "stuck"])
def test_a_state_is_shown_by_all(resqpy: Call, client: Redis, state: str) -> None:
    """`explain` does not assert that the queue is worked, and exits with 6."""
    worker(client, 1, state)
    client.sadd("resque:queues", QUEUE)
    client.rpush(
        f"resque:queue:{QUEUE}", json.dumps({"class": "sendMail", "args": [{"to": "a@b"}]})
    )

    explained = resqpy("task", "explain", "sendMail", "--json")
    [shown] = resqpy("workers", "--json").json
    problems = {each["name"]: each for each in resqpy("doctor", "--json").json}

    assert explained.code == Exit.NO
    assert state in [each["kind"] for each in explained.json]
    assert (shown["state"], state in resqpy("workers").out) == (state, True)
    assert (shown["host"], shown["pid"], shown["queues"]) == ("h", "1", QUEUE)
    assert (f"{state} workers" in problems) == (state != "stopping")
    assert ("unworked queue" in problems) == (state != "paused")
    if state != "stopping":
        assert problems[f"{state} workers"]["grave"] == (state == "stuck")


def test_one_that_works_is_enough(resqpy: Call, client: Redis) -> None:
    """Of several, one takes the job; an unknown state of a later version counts as none that works."""
    worker(client, 1, "paused")
    assert resqpy("task", "explain", "sendMail").code == Exit.NO
    worker(client, 2)
    assert resqpy("task", "explain", "sendMail").code == Exit.OK
    client.set("resque:resqpy:state:aaaaaaa2", "dreaming\x1b")
    said = resqpy("task", "explain", "sendMail")
    assert (said.code, "dreaming\\x1b" in said.out) == (Exit.NO, True)


@pytest.mark.parametrize(
    ("states", "blocks", "counts"),
    [
        (["", "paused", "busy"], False, {"busy": 1, "idle": 1, "paused": 1}),
        (["busy", "paused", "busy"], True, {"busy": 2, "paused": 1}),
        (["quiet", "paused", "paused"], True, {"paused": 2, "quiet": 1}),
    ],
)
@pytest.mark.parametrize("nodes", [0, 2])
def test_each_worker_is_counted_once(
    resqpy: Call, client: Redis, states: list[str], blocks: bool, counts: dict[str, int], nodes: int
) -> None:
    """By what it does, and others' workers, which do not know the task, by themselves."""
    for number, state in enumerate(states):
        name = worker(client, number, state if state != "busy" else "")
        if state == "busy":
            work = {"queue": QUEUE, "run_at": "x", "payload": {"class": "else", "args": []}}
            client.set(f"resque:worker:{name}", json.dumps(work))
    for number in range(nodes):
        client.sadd("resque:workers", f"node:{number}:{QUEUE}")
        client.set(f"resque:worker:ping:node:{number}", json.dumps({"time": int(time.time())}))

    told = resqpy("task", "explain", "sendMail", "--json")
    [found] = [each for each in told.json if "live worker" in each["words"]]

    shown = ", ".join(f"{number} {state}" for state, number in counts.items())
    assert found["words"].startswith("3 live workers ")
    assert f": {shown}" in found["words"]
    assert ("2 live Node workers" in found["words"]) == bool(nodes)
    assert (found["blocks"], told.code) == (blocks, Exit.NO if blocks else Exit.OK)


@pytest.mark.parametrize("command", [("pause",), ("task", "explain", "sendMail"), ("doctor",)])
def test_who_is_not_bound_by_a_pause_is_named(resqpy: Call, client: Redis, command: Any) -> None:
    """Node's workers know nothing of the key."""
    client.sadd("resque:workers", f"node-host:7:{QUEUE}")
    client.set(
        "resque:worker:ping:node-host:7",
        json.dumps({"time": int(time.time()), "name": "node-host:7"}),
    )
    if command != ("pause",):
        client.set("resque:pause-all-workers", "true")
    said = resqpy(*command)

    assert "node-host:7" in said.out + said.err
    assert "Node" in said.out + said.err


JOB = '{"queue":"mail","run_at":"2026/11/20 19:27:20 UTC","payload":{"class":"%s","args":[1]}%s}'
RECORDS = {
    "ruby-host:7:mail": JOB % ("Mail", ""),
    "node-host:8+1:mail": JOB % ("Sms", ',"worker":"node-host:8+1"'),
    "h+1-aaaaaaa1:9:mail": "{",
}


def test_who_is_not_registered_and_has_a_record_is_shown(resqpy: Call, client: Redis) -> None:
    """What is on record may be a job; and the remedy takes it to the failed list."""
    registered = worker(client, 1)
    for name, record in RECORDS.items():
        client.set(f"resque:worker:{name}", record)
    for other in ("ping:node-host:8", "ruby-host:7:mail:started", f"{registered}:started"):
        client.set(f"resque:worker:{other}", "x")
    client.lpush("resque:worker:odd:1:q", "of another kind")

    listed, said, info = (resqpy("workers", "--json"), resqpy("workers"), resqpy("info", "--json"))

    assert {each["id"]: each["registered"] for each in listed.json} == {
        registered: True, **dict.fromkeys(RECORDS, False),
    }  # fmt: skip
    assert all(name.rpartition(":")[0] in said.out for name in RECORDS)
    assert said.out.count("not registered") == 3
    assert "3 workers that are not registered" in said.err
    assert (info.json["workers"], info.json["unregistered"]) == (1, 3)
    assert "3 more unregistered" in resqpy("info").out
    lost = [
        each
        for each in resqpy("task", "explain", "Mail", "--json").json
        if each["kind"] == "unregistered"
    ]
    assert [each["remedy"].rpartition(" ")[2] for each in lost] == ["ruby-host:7:mail"]
    for name, left in zip(["ruby-host:7", "node-host:8+1:mail"], (2, 1), strict=True):
        assert resqpy("workers", "clean", name, "--yes", "--json").json["failed_jobs"] == 1
        assert resqpy("info", "--json").json["unregistered"] == left
    assert [each["class"] for each in resqpy("failed", "--json").json] == ["Sms", "Mail"]


def test_how_far_they_were_looked_for_is_told(
    resqpy: Call, client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there are more keys than a view looks at; and an id that is named is found all the same."""
    client.mset({f"resque:other:{n}": 1 for n in range(9000)})
    for name, record in RECORDS.items():
        client.set(f"resque:worker:{name}", record)
    assert "resqpy doctor scans all" not in resqpy("workers").err
    monkeypatch.setattr("resqpy.store.repair.checkup._STEPS", 1)

    for view in ("workers", "info"):
        assert "resqpy doctor scans all" in resqpy(view).err
    for name in RECORDS:
        assert resqpy("workers", "clean", name, "--dry-run", "--json").json["workers"] == [name]
