"""What commands say of workers that take no jobs: paused, quiet, stuck; and of whom a pause does not bind."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from redis import Redis

from resqpy.cli.exits import Exit
from tests.cli.conftest import Call

QUEUE = "default"  # of the task sendMail


def worker(client: Redis, number: int, state: str = "", host: str = "h") -> str:
    """A live worker of ours, in a process of its own."""
    incarnation = f"aaaaaaa{number}"
    name = f"{host}+1-{incarnation}:{number}:{QUEUE}"
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
