"""One queue is paused and resumed, and everybody who looks is told why it gives no jobs."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from redis import Redis

from resqpy.cli.output.printing import Exit
from tests.cli.conftest import Call

JOB = '{"class":"SendMail","queue":"mail","args":[{"to":"a@b"}]}'
KEY = "resque:pause:queue:mail"


@pytest.fixture
def mail(client: Redis) -> Redis:
    """A queue with a job."""
    client.sadd("resque:queues", "mail", "mail^5", "other")
    client.rpush("resque:queue:mail", JOB)
    return client


def paused(resqpy: Call) -> dict[str, Any]:
    """The pauses that `resqpy queues` shows, by queue."""
    return {e["queue"]: e["pause"] for e in resqpy("queues", "--json").json if "pause" in e}


def test_it_is_paused_with_a_reason_and_an_end(resqpy: Call, mail: Redis) -> None:
    """The key is resque-pause's; paused again, it has the new end; the queue of a sub-queue is its own."""
    first = resqpy("queues", "pause", "mail", "--for", "1h", "--reason", "deploy", "--by", "ann")
    left = mail.pttl(KEY)
    shown = paused(resqpy)
    again = resqpy("queues", "pause", "mail", "--json")

    assert (first.code, "ann" in first.out, "deploy" in first.out) == (Exit.OK, True, True)
    assert 3_590_000 < left <= 3_600_000
    assert shown["mail"] == shown["mail^5"]
    assert (shown["mail"]["by"], shown["mail"]["reason"]) == ("ann", "deploy")
    assert shown["mail"]["until"] > shown["mail"]["since"]
    assert again.json == {"queue": "mail", "paused": True, "changed": False}
    assert mail.pttl(KEY) == -1
    assert "@" in paused(resqpy)["mail"]["by"]
    assert "other" not in shown


def test_whoever_paused_it_it_is_resumed(resqpy: Call, mail: Redis) -> None:
    """Also what Ruby's resque-pause wrote; a second time there is nothing to do."""
    mail.set(KEY, "true")
    shown, told = paused(resqpy)["mail"], resqpy("queues").err

    first, second = (resqpy("queues", "resume", "mail", "--json") for _ in range(2))

    assert shown == {"reason": "", "by": "", "since": None, "until": None}
    assert "'mail' is paused (by resque-pause)" in told
    assert (first.json["changed"], second.json["changed"]) == (True, False)
    assert (first.code, second.code, mail.exists(KEY)) == (Exit.OK, Exit.OK, 0)


def test_a_sub_queue_rests_as_long_as_its_queue(resqpy: Call, mail: Redis) -> None:
    """So what was asked for is not done, and what would do it is named."""
    mail.set(KEY, "true")

    said = resqpy("queues", "resume", "mail^5")

    assert (said.code, "resqpy queues resume mail" in said.err) == (Exit.NO, True)


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_a_queue_that_is_not_there(resqpy: Call, mail: Redis, verb: str) -> None:
    """A misspelled name would stop nothing, silently."""
    said = resqpy("queues", verb, "mial")

    assert (said.code, "'mail'" in said.err) == (Exit.NOT_FOUND, True)
    assert ("--new" in said.err) == (verb == "pause")
    assert mail.exists("resque:pause:queue:mial") == 0
    if verb == "pause":
        assert resqpy("queues", "pause", "soon", "--new").code == Exit.OK
        assert resqpy("queues", "resume", "soon", "--json").json["changed"] is True


@pytest.mark.parametrize("duration", ["0", "-1h", "soon"])
def test_an_end_that_is_none(resqpy: Call, mail: Redis, duration: str) -> None:
    """It is refused, and nothing is paused."""
    assert resqpy("queues", "pause", "mail", f"--for={duration}").code == Exit.USAGE
    assert mail.exists(KEY) == 0


def test_who_asks_why_is_told(resqpy: Call, mail: Redis) -> None:
    """`task explain`, `doctor`, the metrics; with the workers that take its jobs all the same."""
    node = {"time": int(time.time()), "name": "node-host:7"}
    mail.sadd("resque:workers", "node-host:7:mail")
    mail.set("resque:worker:ping:node-host:7", json.dumps(node))
    said = resqpy("queues", "pause", "mail", "--reason", "deploy")

    found = resqpy("task", "explain", "sendMail", "--queue", "mail", "--json").json
    problems = resqpy("doctor", "--json").json
    metrics = resqpy("info", "--prometheus").out

    assert "node-host:7" in said.err
    [why] = [each for each in found if each["kind"] == "paused queue"]
    assert (why["blocks"], why["remedy"]) == (True, "resqpy queues resume mail")
    assert "deploy" in why["words"]
    assert "node-host:7" in why["words"]
    named = {e["problem"]: e["grave"] for e in problems if e["name"] == "paused queue"}
    assert [("deploy" in words, grave) for words, grave in named.items()] == [(True, False)] * 2
    assert 'resqpy_queue_paused{queue="mail"} 1\n' in metrics
    assert 'resqpy_queue_paused{queue="mail^5"} 1\n' in metrics
    assert 'resqpy_queue_paused{queue="other"}' not in metrics


@pytest.mark.parametrize(
    "junk", [b"", b"\xff", b"[]", b'{"by":1,"reason":[],"since":"x"}', b"\x1b[31m"]
)
def test_what_others_write_there(resqpy: Call, mail: Redis, junk: bytes) -> None:
    """Anything pauses, and nothing of it breaks who looks."""
    mail.set(KEY, junk)

    assert paused(resqpy)["mail"] == {"reason": "", "by": "", "since": None, "until": None}


def test_a_key_of_another_kind_pauses_nothing(resqpy: Call, mail: Redis) -> None:
    """As workers see it; a pause is refused then, and says why."""
    mail.rpush(KEY, "x")

    assert paused(resqpy) == {}
    said = resqpy("queues", "pause", "mail")
    assert (said.code, KEY in said.err) == (Exit.REDIS, True)
