"""How many jobs of a queue run at once: set, shown and removed; who asks why a job waits is told."""

from __future__ import annotations

import json
import time

import pytest
from redis import Redis

from resqpy.cli.output.printing import Exit
from tests.cli.conftest import Call

JOB = '{"class":"SendMail","queue":"mail","args":[{"to":"a@b"}]}'


@pytest.fixture
def mail(client: Redis) -> Redis:
    """A queue with two jobs, of which a Ruby worker runs a third."""
    client.sadd("resque:queues", "mail", "mail^5")
    client.rpush("resque:queue:mail", JOB)
    client.rpush("resque:queue:mail^5", JOB)
    client.sadd("resque:workers", "ruby-host:7:mail")
    client.hset(
        "resque:workers:heartbeat",
        "ruby-host:7:mail",
        time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()),
    )
    client.set("resque:worker:ruby-host:7:mail", f'{{"queue":"mail","run_at":"x","payload":{JOB}}}')
    return client


def test_a_limit_is_set_shown_and_removed(resqpy: Call, mail: Redis) -> None:
    """With what runs, and who does not know of it."""
    none, first = resqpy("limits"), resqpy("limits", "set", "mail", "4")
    again = resqpy("limits", "set", "mail", "2", "--json")
    listed = resqpy("limits", "--json")
    metrics = resqpy("info", "--prometheus").out
    removed, gone = resqpy("limits", "remove", "mail", "--json"), resqpy("limits", "remove", "mail")

    assert (none.out, first.code, "ruby-host:7" in first.err) == ("no limits\n", Exit.OK, True)
    assert again.json == {"queue": "mail", "limit": 2, "before": 4}
    assert listed.json == [
        {"queue": "mail", "limit": 2, "running": ["ruby-host:7:mail"], "waiting": 2}
    ]
    assert 'resqpy_queue_limit{queue="mail"} 2\n' in metrics
    assert 'resqpy_queue_limit_running{queue="mail"} 1\n' in metrics
    assert removed.json == {"queue": "mail", "limit": None, "before": 2}
    assert (gone.code, "resqpy limits" in gone.err) == (Exit.NOT_FOUND, True)
    assert [key for key in mail.scan_iter() if b"limits" in key] == []


def test_a_queue_that_is_not_there(resqpy: Call, mail: Redis) -> None:
    """A misspelled name would limit nothing, silently; a new one is said to be."""
    wrong = resqpy("limits", "set", "mial", "3")

    assert (wrong.code, "'mail'" in wrong.err) == (Exit.NOT_FOUND, True)
    assert resqpy("limits", "set", "bulk", "3", "--new").code == Exit.OK
    assert resqpy("limits", "--json").json[0]["queue"] == "bulk"


@pytest.mark.parametrize("given", [("mail", "-1"), ("mail", "many"), ("mail^5", "1")])
def test_a_limit_that_is_none(resqpy: Call, mail: Redis, given: tuple[str, ...]) -> None:
    """It is refused, and nothing is limited."""
    assert resqpy("limits", "set", "--", *given).code == Exit.USAGE
    assert mail.exists("resque:resqpy:limits") == 0


def test_who_asks_why_is_told(resqpy: Call, mail: Redis) -> None:
    """`task explain`, also of a sub-queue; `doctor`, where somebody does not know of it, or nothing runs."""
    resqpy("limits", "set", "mail", "0")

    [why] = [
        each
        for each in resqpy("task", "explain", "sendMail", "--queue", "mail^5", "--json").json
        if each["kind"] == "limited queue"
    ]
    [found] = [e for e in resqpy("doctor", "--json").json if e["name"] == "limited queue"]

    assert why["blocks"]
    assert "ruby-host:7" in found["problem"]
    assert json.dumps(found["grave"]) == "false"
