"""Tracked tasks from the shell."""

from __future__ import annotations

import json
import subprocess

import pytest
from redis import Redis

from tests.cli.conftest import (  # noqa: F401 - fixtures
    Call,
    Program,
    environ,
    program,
    resqpy,
    root,
)
from tests.tracked.support import KEYS


@pytest.fixture
def client(redis_url: str) -> Redis:
    """The test's Redis."""
    return Redis.from_url(redis_url)


def test_create_and_get(resqpy: Call, client: Redis) -> None:  # noqa: F811
    """A task is created with what was said of it, and shown."""
    made = resqpy(
        "tracked", "create", "sendMail", "to=a@b.c", "copies=2", "--id", "one", "--tag", "x",
        "--priority", "5", "--retries", "forever", "--backoff", "5s", "--retain-for", "1d",
        "--delay", "1h", "--application", "shell", "--json",
    ).json  # fmt: skip
    wanted = {
        "id": "one", "status": "scheduled", "payload": {"to": "a@b.c", "copies": 2},
        "tags": ["x"], "priority": 5, "retries": None, "retry_interval": 5000,
        "retain_for": 86_400_000, "created_by_application": "shell", "queue": "default",
    }  # fmt: skip
    assert {name: made[name] for name in wanted} == wanted
    assert resqpy("tracked", "get", "one", "--json").json == made
    shown = resqpy("tracked", "get", "one").out
    assert "payload" in shown
    assert '{"to":"a@b.c","copies":2}' in shown
    assert client.zcard(KEYS.schedule) == 1


def test_create_from_json(resqpy: Call) -> None:  # noqa: F811
    """A payload may be one JSON object; the task's own queue is known."""
    made = resqpy("tracked", "create", "fails", '{"reason": "x"}', "--json").json
    assert (made["payload"], made["queue"], made["status"]) == ({"reason": "x"}, "slow", "pending")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("sendMial",), "did you mean 'sendMail'"),
        (("sendMail", "to"), "is no name=value"),
        (("sendMail", "{broken"), "no JSON"),
        (("sendMail", "--delay", "soon"), "--delay"),
        (("sendMail", "--delay=-5s"), "is not a duration"),
        (("pay",), "define it"),
        (("sendMail", "--interval", "61 * * * *"), "cron expression"),
        (("sendMail", "--retries", "x"), "not `forever`"),
        (("sendMail", "--start", "tomorrow"), "is no time"),
        (("sendMail", "--priority", "12"), "from -9 to 9"),
    ],
)
def test_bad_input(resqpy: Call, client: Redis, arguments: tuple[str, ...], words: str) -> None:  # noqa: F811
    """What is wrong is told in one line, and nothing is written."""
    said = resqpy("tracked", "create", *arguments)
    assert said.code == (5 if arguments[0] in ("sendMial", "pay") else 2)  # 5: no such task
    assert words in said.err
    assert "Traceback" not in said.err
    assert client.keys("resque:resqpy:task*") == []


def test_list(resqpy: Call) -> None:  # noqa: F811
    """Tasks are found by what they are, page by page."""
    for index in range(5):
        tag = "even" if index % 2 == 0 else "odd"
        arguments = ("sendMail", f"to={index}@x.y", "--id", f"t{index}", "--tag", tag)
        assert resqpy("tracked", "create", *arguments).code == 0
    assert resqpy("tracked", "cancel", "t1").code == 0
    first = resqpy("tracked", "list", "--limit", "2", "--json").json
    assert [task["id"] for task in first["tasks"]] == ["t0", "t1"]
    rest = resqpy("tracked", "list", "--limit", "9", "--cursor", first["cursor"], "--json").json
    assert [task["id"] for task in rest["tasks"]] == ["t2", "t3", "t4"]
    assert rest["cursor"] is None
    even = resqpy("tracked", "list", "--tag", "even", "--desc", "--json").json
    assert [task["id"] for task in even["tasks"]] == ["t4", "t2", "t0"]
    cancelled = resqpy("tracked", "list", "--status", "cancelled").out
    assert "t1" in cancelled
    assert "t0" not in cancelled
    assert "did you mean" in resqpy("tracked", "list", "--status", "canceled").err
    assert resqpy("tracked", "list", "--type", "nothing").out.strip() == "no tracked tasks"
    wrong = resqpy("tracked", "list", "--type", "sendMail", "--cursor", first["cursor"])
    assert "belongs to another query" in wrong.err


def test_changes(resqpy: Call) -> None:  # noqa: F811
    """Cancel, retry, disable, enable and remove; what can't be done is told."""
    for task_id in ("a", "b"):
        resqpy("tracked", "create", "sendMail", "to=x@y", "--id", task_id, "--delay", "1h")
    assert resqpy("tracked", "retry", "a", "--json").json == {"a": "pending"}
    assert resqpy("tracked", "disable", "a").out == "a  disabled\n"
    assert resqpy("tracked", "enable", "a").out == "a  enabled\n"
    said = resqpy("tracked", "cancel", "a", "gone", "b")
    assert (said.code, said.out) == (1, "a  cancelled\nb  cancelled\n")
    assert "there is no task 'gone'" in said.err
    assert "is cancelled and can't be cancelled" in resqpy("tracked", "cancel", "a").err
    assert "--yes" in resqpy("tracked", "remove", "a").err
    assert resqpy("tracked", "remove", "a", "--yes").out == "a  removed\n"
    for verb in (("get",), ("cancel",), ("retry",), ("enable",), ("remove", "--yes")):
        assert resqpy("tracked", *verb, "a").code == 5


def test_watch(resqpy: Call, program: Program) -> None:  # noqa: F811
    """`watch` follows the changes of a task live, and says by its exit code how it ended."""
    resqpy("tracked", "create", "sendMail", "to=x@y", "--id", "good")
    resqpy("tracked", "create", "sendMail", "to=nobody", "--id", "bad")
    well = program("tracked", "watch", "good", "--until-ended", "--json")
    ill = program("tracked", "watch", "bad", "--until-ended")
    for each in (well, ill):
        assert each.stdout is not None
        assert "watching" in each.stdout.readline()
    program("worker", "--burst")
    out, _ = well.communicate(timeout=20)
    events = [json.loads(line) for line in out.splitlines()]
    kinds = [event["type"] for event in events]
    assert kinds[0] in ("task_pending", "task_running")
    assert kinds[-1] == "task_completed"
    assert events[-1]["content"]["id"] == "good"
    assert well.returncode == 0
    out, _ = ill.communicate(timeout=20)
    assert "failed  InvalidInputs" in out
    assert ill.returncode == 6


def test_help(environ: dict[str, str]) -> None:  # noqa: F811
    """The help names all commands."""
    import sys

    said = subprocess.run(
        [sys.executable, "-m", "resqpy.cli", "tracked", "--help"],
        env=environ, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for word in ("create", "get", "list", "cancel", "retry", "remove", "enable", "watch"):
        assert word in said


def test_in_the_group_of_tasks(resqpy: Call) -> None:  # noqa: F811
    """`resqpy task` has the same commands, beside those on definitions."""
    assert resqpy("task", "create", "sendMail", "to=x@y", "--id", "one", "--delay", "1h").code == 0
    assert resqpy("task", "get", "one", "--json").json["status"] == "scheduled"
    assert "fails" in resqpy("task", "list").out
    tracked = resqpy("task", "list", "--tracked", "--json").json
    assert [task["id"] for task in tracked["tasks"]] == ["one"]
    assert resqpy("task", "list", "--status", "failed").out.strip() == "no tracked tasks"
    assert resqpy("task", "cancel", "one").out == "one  cancelled\n"
    assert resqpy("task", "remove", "one", "--yes").out == "one  removed\n"
    shown = resqpy("task", "--help").out
    for word in ("create", "watch", "enqueue", "explain"):
        assert word in shown
