"""How many jobs of a queue run at once: set, shown and removed; who asks why a job waits is told."""

from __future__ import annotations

import json
import time
from hashlib import sha1

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
        {
            "queue": "mail",
            "limit": 2,
            "running": ["ruby-host:7:mail"],
            "foreign": {"ruby": 1},
            "waiting": 2,
        }
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


@pytest.fixture
def parked(mail: Redis) -> Redis:
    """A task with limits, of which two jobs wait for one key."""
    mail.hset(
        "resque:resqpy:limits",
        mapping={
            "{task}SendMail": "SendMail\t\nSendMail:to\tto",
            "{limit}SendMail": 9,
            "{limit}SendMail:to": 2,
        },
    )
    mail.zadd("resque:resqpy:limits:parked", {"SendMail:to=a@b\nmail": 1_700_000_000_000})
    mail.sadd("resque:resqpy:limits:queues:SendMail:to=a@b", "mail")
    mail.rpush("resque:resqpy:limits:jobs:15:SendMail:to=a@b:mail", JOB, JOB)
    return mail


def test_limits_of_tasks_are_shown(resqpy: Call, parked: Redis) -> None:
    """With the keys for which jobs wait; who counts, lists and asks why sees these jobs."""
    listed = resqpy("limits", "--json").json
    table = resqpy("limits").out
    jobs, queues = resqpy("jobs", "list", "mail", "--json").json, resqpy("queues", "--json").json
    why = resqpy("task", "explain", "SendMail", "--queue", "mail", "--json").json
    [found] = [e for e in resqpy("doctor", "--json").json if e["name"] == "parked"]

    assert [(each["key"], each["limit"], each["parked"], each["tasks"]) for each in listed] == [
        ("SendMail", 9, {}, ["SendMail"]),
        ("SendMail:to", 2, {}, ["SendMail"]),
        ("SendMail:to=a@b", 2, {"mail": 2}, ["SendMail"]),
    ]
    assert listed[2]["since"].startswith("2023-11-14")
    assert "SendMail:to=a@b" in table
    assert len(jobs) == 3
    assert {each["queue"]: each["jobs"] for each in queues} == {"mail": 3, "mail^5": 1}
    assert len([each for each in why if each["kind"] == "limited task"]) == 2
    assert "resqpy limits put-back mail" in found["remedy"]


def test_limits_of_tasks_are_set(resqpy: Call, parked: Redis) -> None:
    """Of all keys and of one; removed, the code decides; a task without a limit gets one, if it is known."""
    one = resqpy("limits", "set", "SendMail:to=a@b", "0", "--json")
    every = resqpy("limits", "set", "SendMail:to", "5", "--json")
    listed = {each["key"]: each["limit"] for each in resqpy("limits", "--json").json}
    back = resqpy("limits", "remove", "SendMail:to=a@b", "--json")
    again = resqpy("limits", "remove", "SendMail:to=a@b")
    unknown = resqpy("limits", "set", "sendMial", "1", "--task")
    new = resqpy("limits", "set", "other", "1", "--task", "--new")
    gone = resqpy("limits", "remove", "other", "--json")

    assert (one.json["before"], every.json["before"]) == (2, 2)
    assert (listed["SendMail:to=a@b"], listed["SendMail:to"]) == (0, 5)
    assert back.json == {"queue": "SendMail:to=a@b", "limit": 5, "before": 0}
    assert (again.code, unknown.code) == (Exit.NOT_FOUND, Exit.NOT_FOUND)
    assert "SendMail" in unknown.err
    assert (new.code, gone.json["limit"]) == (Exit.OK, None)
    assert parked.hkeys("resque:resqpy:limits") == [
        b"{task}SendMail", b"{limit}SendMail", b"{limit}SendMail:to", b"{set}SendMail:to",
    ]  # fmt: skip


def test_a_name_that_is_both(resqpy: Call, parked: Redis) -> None:
    """Of a queue and of a limit: whose must be said."""
    parked.hset("resque:resqpy:limits", "{limit}mail", "7")
    parked.hset("resque:resqpy:limits", "{task}Other", "mail\t")

    both, gone = resqpy("limits", "set", "mail", "3"), resqpy("limits", "remove", "mail")
    assert (both.code, gone.code, "--queue" in both.err) == (Exit.USAGE, Exit.USAGE, True)
    assert resqpy("limits", "set", "mail", "3", "--task", "--json").json["before"] == 7
    assert resqpy("limits", "set", "mail", "4", "--queue", "--json").json["before"] is None
    assert resqpy("limits", "remove", "mail", "--queue", "--json").json["before"] == 4
    assert resqpy("limits", "remove", "mail", "--task", "--json").json["before"] == 3


def test_what_waits_is_put_back_by_hand(resqpy: Call, parked: Redis) -> None:
    """To the head of its queue; nothing is left of it."""
    assert resqpy("limits", "put-back", "other", "--json").json == {"put_back": 0}
    assert resqpy("limits", "put-back", "--json").json == {"put_back": 2}
    assert parked.llen("resque:queue:mail") == 3
    assert parked.keys("resque:resqpy:limits:*") == []


def test_rates_are_shown_set_and_shut(resqpy: Call, parked: Redis) -> None:
    """In the units that people type; of a queue there are none."""
    parked.hset("resque:resqpy:limits", "{limit}SendMail:to", "10/1000/20")
    shown = {e["key"]: e["limit"] for e in resqpy("limits", "--json").json}
    table = resqpy("limits").out
    changed = resqpy("limits", "set", "SendMail:to", "5/1m", "--json")
    said = resqpy("limits", "remove", "SendMail:to").out
    shut = resqpy("limits", "shut", "SendMail:to=x", "1h", "--json")
    why = resqpy("task", "explain", "SendMail", "--queue", "mail", "--json").json

    assert shown["SendMail:to"] == "10/1000/20"
    assert "10/1s/20" in table
    assert changed.json == {"queue": "SendMail:to", "limit": "5/60000/1", "before": "10/1000/20"}
    assert ("10 jobs" in said, "5/1m" in said) == (True, True)
    assert shut.json["until"] > "2026"
    assert [each["blocks"] for each in why if "SendMail:to=x" in each["words"]] == [True]
    assert resqpy("limits", "shut", "SendMial", "1h").code == Exit.NOT_FOUND
    assert "SendMail:to=x (shut for another 59 m" in resqpy("limits").out
    opened = resqpy("limits", "open", "SendMail:to=x", "--json")
    assert opened.json == {"key": "SendMail:to=x", "until": None}
    assert not parked.hexists("resque:resqpy:limits", "{shut}SendMail:to=x")
    assert resqpy("limits", "open", "SendMail:to=x").code == Exit.NOT_FOUND
    for bad in ("5/x", "x/1s", "5/1s/2/3", "0/1s"):
        assert resqpy("limits", "set", "SendMail:to", bad).code == Exit.USAGE
    assert resqpy("limits", "set", "mail", "5/1s").code == Exit.USAGE


def test_a_long_value_of_a_key(resqpy: Call, parked: Redis) -> None:
    """It is set under the name that the exchange gives it."""
    long = "x" * 200
    assert resqpy("limits", "set", f"SendMail:to={long}", "1").code == Exit.OK
    key = f"SendMail:to=#{sha1(long.encode()).hexdigest()}"
    assert parked.hget("resque:resqpy:limits", f"{{set}}{key}") == b"1"
    assert resqpy("limits", "remove", f"SendMail:to={long}").code == Exit.OK


def test_foreign_jobs_that_are_counted(resqpy: Call, parked: Redis) -> None:
    """They are shown by their language; `doctor` warns only where nobody counts."""
    parked.hset("resque:resqpy:limits:foreign", "SendMail:to", "count")
    holder = "slot:foreign:ruby-host:7:mail"
    parked.hset("resque:resqpy:limits:holds", holder, f"{holder}\nSendMail:to=a@b\n")
    parked.set(f"resque:resqpy:limits:lease:{holder}", f'{{"run_at":"{holder}"', px=60_000)
    listed = {each["key"]: each for each in resqpy("limits", "--json").json}
    table, why = resqpy("limits").out, resqpy("doctor", "--json").json
    parked.set("resque:resqpy:leader", "somebody/1")
    led = resqpy("doctor", "--json").json

    key = listed["SendMail:to=a@b"]
    assert (key["running"], key["foreign"], key["counts_foreign"]) == (
        ["ruby-host:7:mail"], {"ruby": 1}, True,
    )  # fmt: skip
    assert (listed["SendMail"]["foreign"], listed["SendMail"]["counts_foreign"]) == ({}, False)
    assert "1 (1 ruby)" in table
    assert ["counted" in e["problem"] for e in why if e["name"] == "limited task"] == [True]
    assert [each for each in led if each["name"] == "limited task"] == []
