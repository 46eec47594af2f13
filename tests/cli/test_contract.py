"""`resqpy doctor --jobs`: whether the project's tasks take the jobs that are there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from resqpy.cli.output.printing import Exit
from resqpy.diagnosis.contract import MAXIMUM
from tests.cli.conftest import Call
from tests.support.inspecting import dumps, failed_entry

LATER = 4_000_000_000


@pytest.fixture
def client(redis_url: str) -> Redis:
    """A client that needs no event loop."""
    return Redis.from_url(redis_url)


def _job(name: str, *args: Any) -> bytes:
    return dumps({"class": name, "args": list(args)})


def _wait(client: Redis, queue: str, *jobs: bytes) -> None:
    client.sadd("resque:queues", queue)
    client.rpush(f"resque:queue:{queue}", *jobs)


def test_all_is_well(resqpy: Call, client: Redis) -> None:
    """Jobs that fit, of all kinds, also tracked ones; what can't be read is another check's."""
    _wait(
        client, "default", _job("sendMail", {"to": "a@b"}), _job("fails", {"reason": "x"}), b"junk"
    )
    client.rpush("resque:failed", failed_entry(_job("sendMail", {"to": "a@b"})), b"junk")
    resqpy("tracked", "create", "sendMail", "to=a@b", "--priority", "3")

    said = resqpy("doctor", "--jobs")

    assert (said.code, said.out) == (0, "✓ nothing is wrong\n")


def test_what_would_fail_is_told_by_task_and_reason(resqpy: Call, client: Redis) -> None:
    """Counted, waiting jobs first, with one example and all that is wrong with it; exit code 6."""
    old = [_job("sendMail", {"to": "a@b", "subject": n, "cc": n}) for n in range(3)]
    _wait(client, "default", *old, _job("sendMail", {"subject": "x"}), _job("sendMail", "a", "b"))
    _wait(client, "slow", _job("fails", {"reason": 5}))
    client.zadd("resque:delayed_queue_schedule", {str(LATER): LATER})
    client.rpush(f"resque:delayed:{LATER}", dumps({"class": "fails", "queue": "slow", "args": []}))
    client.rpush("resque:failed", failed_entry(_job("sendMail", {"to": "nobody"})))

    said = resqpy("doctor", "--jobs", "--json")
    found = [(each["where"], each["class"], each["reason"], each["count"]) for each in said.json]

    assert said.code == Exit.NO
    assert found == [
        ("waiting", "sendMail", "input 'cc' is unknown; input 'subject' must be str", 3),
        ("waiting", "sendMail", "input 'to' is required", 1),
        ("waiting", "sendMail", "task 'sendMail' takes one object with its inputs as its only argument", 1),
        ("waiting", "fails", "input 'reason' must be str", 1),
        ("delayed", "fails", "input 'reason' is required", 1),
        ("failed", "sendMail", "input 'to' is not valid", 1),
    ]  # fmt: skip
    assert said.json[0]["example"] == {
        "queue": "default", "args": [{"to": "a@b", "subject": 0, "cc": 0}],
        "why": "input 'cc' is unknown; input 'subject' must be str, got 0 (int)",
    }  # fmt: skip
    assert [each["grave"] for each in said.json] == [True] * 5 + [False]
    told = resqpy("doctor", "--jobs").out
    assert "✗ refused jobs: 3 waiting jobs of 'sendMail': input 'cc' is unknown" in told
    assert 'one of them has [{"to":"a@b"' in told


def test_only_failed_jobs_hold_nothing_up(resqpy: Call, client: Redis) -> None:
    """They are told, and the exit code is 0: they wait for a person."""
    client.rpush("resque:failed", failed_entry(_job("sendMail", {})))

    said = resqpy("doctor", "--jobs")

    assert said.code == 0
    assert "1 failed job of 'sendMail': input 'to' is required" in said.out


def test_classes_that_nobody_defines_are_named(resqpy: Call, client: Redis) -> None:
    """With a near match; grave in a queue of the project's tasks, elsewhere they may be Ruby's. Failed ones are
    nobody's concern.
    """
    _wait(client, "default", _job("sendMial", {"to": "a@b"}))
    _wait(client, "ruby", _job("Invoice", 1))
    client.rpush("resque:failed", failed_entry())

    said = resqpy("doctor", "--jobs", "--json")

    assert said.code == Exit.NO
    assert [(each["name"], each["class"], each["grave"]) for each in said.json] == [
        ("unknown class", "sendMial", True), ("unknown class", "Invoice", False),
    ]  # fmt: skip
    assert "did you mean 'sendMail'?" in said.json[0]["problem"]


def test_names_without_end_fill_no_memory(resqpy: Call, client: Redis) -> None:
    """So many kinds are kept, the others are counted."""
    _wait(client, "ruby", *[_job(f"Made{n}") for n in range(MAXIMUM + 50)])

    found = resqpy("doctor", "--jobs", "--json").json

    assert len(found) == MAXIMUM + 1
    assert "50 jobs of other classes" in found[-1]["problem"]


def test_it_needs_a_project_and_changes_nothing(
    resqpy: Call, tmp_path: Path, client: Redis
) -> None:
    """A broken project is told as elsewhere; --fix is refused."""
    broken = tmp_path / "broken" / "tasks"
    broken.mkdir(parents=True)
    (broken / "a.py").write_text("def")

    assert resqpy("doctor", "--jobs", "--root", str(broken.parent)).code == Exit.PROJECT
    assert resqpy("doctor", "--jobs", "--fix").code == Exit.USAGE
