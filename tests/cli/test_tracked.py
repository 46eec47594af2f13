"""Tracked tasks from the shell."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from collections.abc import AsyncIterator

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from resqpy.cli.output.printing import Exit
from resqpy.tracked import claiming, locks
from resqpy.tracked.creating import CreateOptions
from resqpy.tracked.record import RunEnd, RunEndKind, TaskError
from resqpy.tracked.transitions import apply
from resqpy.tracked.verbs import Tracked
from tests.cli.conftest import Call, Program
from tests.tracked.support import KEYS, checked_store


def test_create_and_get(resqpy: Call, client: Redis) -> None:
    """A task is created with what was said of it, and shown."""
    made = resqpy(
        "tracked", "create", "sendMail", "to=a@b.c", "subject=hi", "--id", "one", "--tag", "x",
        "--priority", "5", "--retries", "forever", "--backoff", "5s", "--retain-for", "1d",
        "--delay", "1h", "--application", "shell", "--json",
    ).json  # fmt: skip
    wanted = {
        "id": "one", "status": "scheduled", "payload": {"to": "a@b.c", "subject": "hi"},
        "tags": ["x"], "priority": 5, "retries": None, "retry_interval": 5000,
        "retain_for": 86_400_000, "created_by_application": "shell", "queue": "default",
    }  # fmt: skip
    assert {name: made[name] for name in wanted} == wanted
    assert resqpy("tracked", "get", "one", "--json").json == made
    shown = resqpy("tracked", "get", "one").out
    assert "payload" in shown
    assert '{"to":"a@b.c","subject":"hi"}' in shown
    assert client.zcard(KEYS.schedule) == 1


def test_create_with_every_option(resqpy: Call) -> None:
    """Whatever `create` takes can be said on the command line."""
    said = {
        "--id": "all", "--queue": "q", "--priority": "-3", "--tag": "x", "--tag=y": "",
        "--start": "2037-01-01T00:00:00+01:00", "--end": "2120182800000", "--interval": "0 9 * * *",
        "--timezone": "Europe/Berlin", "--retries": "2", "--backoff": "5s", "--linked": "",
        "--retain-for": "forever", "--lock-duration": "4s", "--longest-execution": "1m",
        "--disabled": "", "--application": "shell", "--user": "me",
    }  # fmt: skip
    words = [word for pair in said.items() for word in pair if word]
    made = resqpy("tracked", "create", "sendMail", "to=a@b.c", *words, "--json").json
    wanted = {
        "id": "all", "queue": "q", "priority": -3, "tags": ["x", "y"], "enabled": False,
        "start_time": "2036-12-31T23:00:00.000+00:00", "end_time": "2037-03-09T03:40:00.000+00:00",
        "interval": "0 9 * * *", "timezone": "Europe/Berlin", "retries": 2, "retry_interval": 5000,
        "linked": True, "retain_for": None, "lock_duration": 4000, "longest_execution": 60_000,
        "created_by_application": "shell", "created_by_user": "me", "status": "disabled",
    }  # fmt: skip
    assert {name: made[name] for name in wanted} == wanted
    once = resqpy("tracked", "create", "pay", "--any-type", "--at-most-once", "--json").json
    assert (once["type"], once["at_most_once"], once["retries"]) == ("pay", True, 0)
    shown = resqpy("tracked", "create", "--help").out
    names = CreateOptions.__annotations__.keys() - {"enabled", "tags"}
    assert [name for name in names if f"--{name.replace('_', '-')}" not in shown] == []


def test_the_preset_counts_for_any_type(resqpy: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that the project doesn't define has the defaults of the project's preset, too."""
    monkeypatch.setenv("RESQPY_TASKS_TRACKED_PRESET", "twin")
    for words in (("sendMail", "to=a@b.c"), ("pay", "--any-type")):
        made = resqpy("tracked", "create", *words, "--json").json
        assert (made["retries"], made["retain_for"]) == (None, 0)


def test_create_from_json(resqpy: Call) -> None:
    """A payload may be one JSON object; the task's own queue is known."""
    made = resqpy("tracked", "create", "fails", '{"reason": "x"}', "--json").json
    assert (made["payload"], made["queue"], made["status"]) == ({"reason": "x"}, "slow", "pending")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("sendMial",), "did you mean 'sendMail'"),
        (("sendMail", "to"), "is not NAME=VALUE"),
        (("sendMail", "to=a@x", "to=b@x"), "'to' is given twice"),
        (("sendMail", "{broken"), "not JSON"),
        (("sendMail",), "input 'to' is required"),
        (("sendMail", "to=nobody"), "input 'to'"),
        (("sendMail", "to=a@x", "copies=2"), "input 'copies' is unknown"),
        (("sendMail", "--delay", "soon"), "--delay"),
        (("sendMail", "--delay=-5s"), "is not a duration"),
        (("pay",), "define it"),
        (("sendMail", "to=a@x", "--interval", "61 * * * *"), "cron expression"),
        (("sendMail", "--retries", "x"), "`forever`"),
        (("sendMail", "--start", "tomorrow"), "'tomorrow'"),
        (("sendMail", "to=a@x", "--priority", "12"), "from -9 to 9"),
    ],
)
def test_bad_input(resqpy: Call, client: Redis, arguments: tuple[str, ...], words: str) -> None:
    """What is wrong is told in one line, and nothing is written."""
    said = resqpy("tracked", "create", *arguments)
    assert said.code == (5 if arguments[0] in ("sendMial", "pay") else 2)  # 5: no such task
    assert words in said.err
    assert "Traceback" not in said.err
    assert client.keys("resque:resqpy:task*") == []


def test_list(resqpy: Call) -> None:
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


def test_changes(resqpy: Call) -> None:
    """Cancel, retry, disable, enable and remove; what can't be done is told."""
    for task_id in ("a", "b"):
        resqpy("tracked", "create", "sendMail", "to=x@y", "--id", task_id, "--delay", "1h")
    assert resqpy("tracked", "retry", "a", "--json").json == {"a": "pending"}
    assert resqpy("tracked", "disable", "a").out == "a  disabled\n"
    assert resqpy("tracked", "enable", "a").out == "a  enabled\n"
    said = resqpy("tracked", "cancel", "a", "gone", "b")
    assert (said.code, said.out) == (6, "a  cancelled\nb  cancelled\n")
    assert "there is no task 'gone'" in said.err
    assert "is cancelled and can't be cancelled" in resqpy("tracked", "cancel", "a").err
    assert "--yes" in resqpy("tracked", "remove", "a").err
    assert resqpy("tracked", "remove", "a", "--yes").out == "a  removed\n"
    for verb in (("get",), ("cancel",), ("retry",), ("enable",), ("remove", "--yes")):
        assert resqpy("tracked", *verb, "a").code == 5


VERBS = ("cancel", "retry", "enable", "disable", "remove")
REFUSED = {  # the exit codes of those verbs, by what a task is at
    "pending": (0, 0, 0, 0, 0),
    "scheduled": (0, 0, 0, 0, 0),
    "disabled": (0, 6, 0, 0, 0),
    "running": (6, 6, 0, 0, 0),
    "completed": (6, 6, 0, 0, 0),
    "failed": (6, 0, 0, 0, 0),
    "cancelled": (6, 6, 0, 0, 0),
    "nothing": (5, 5, 5, 5, 5),
}


@pytest.fixture
async def tracked(redis_url: str, redis: AsyncRedis) -> AsyncIterator[Tracked]:
    """The verbs in Python."""
    async with checked_store(redis_url, redis) as store:
        yield Tracked(store)


@pytest.mark.parametrize("status", REFUSED)
async def test_each_verb_in_each_status(resqpy: Call, tracked: Tracked, status: str) -> None:
    """What can't be done with a task in its status is told, and its exit code says so (5: no task)."""
    for verb, code in zip(VERBS, REFUSED[status], strict=True):
        if status != "nothing":
            await brought_to(tracked, verb, status)
        words = (verb, "--yes") if verb == "remove" else (verb,)
        said = await asyncio.to_thread(resqpy, "tracked", *words, verb, "--json")
        assert (verb, said.code) == (verb, code)
        assert set(said.json) == {verb}
        assert said.json[verb].startswith(f"task '{verb}' is {status} and can't be") == (code == 6)
        assert said.json[verb].startswith("there is no task") == (code == 5)


async def brought_to(tracked: Tracked, task_id: str, status: str) -> None:
    """A task with a status."""
    later = 60_000 if status == "scheduled" else 0
    task = await tracked.create("sendMail", id=task_id, delay=later, enabled=status != "disabled")
    if status == "cancelled":
        await task.cancel()
    if status in ("running", "completed", "failed"):
        claim = await locks.claim(tracked.store, task_id, "sendMail", "me:1:q#x")
        assert claim.record is not None
        if status != "running":
            kind = RunEndKind.COMPLETE if status == "completed" else RunEndKind.FAIL
            change = apply(claim.record, RunEnd(kind, claim.now_us, error=TaskError("E", "no")))
            assert await claiming.step(tracked.store, change)
    assert (await tracked.fetch(task_id)).status == status


def test_watch(resqpy: Call, program: Program) -> None:
    """`watch` follows the changes of a task live, and says by its exit code how it ended."""
    resqpy("tracked", "create", "sendMail", "to=x@y", "--id", "good")
    resqpy("tracked", "create", "sendMail", "to=nobody", "--id", "bad", "--any-type")
    well = program("tracked", "watch", "good", "--until-ended", "--json")
    ill = program("tracked", "watch", "bad", "--until-ended")
    for each in (well, ill):
        assert each.stdout is not None
        assert "watching" in each.stdout.readline()
    program("worker", "--burst")
    out, _ = well.communicate(timeout=100)
    events = [json.loads(line) for line in out.splitlines()]
    kinds = [event["type"] for event in events]
    assert kinds[0] in ("task_pending", "task_running")
    assert kinds[-1] == "task_completed"
    assert events[-1]["content"]["id"] == "good"
    assert well.returncode == 0
    out, _ = ill.communicate(timeout=100)
    assert "failed  InvalidInputs" in out
    assert ill.returncode == 6


def test_watch_of_types(resqpy: Call, program: Program) -> None:
    """All tasks of a type are followed, those that come later too, until Ctrl-C (130)."""
    watch = program("tracked", "watch", "--type", "fails", "--json")
    assert watch.stdout is not None
    assert "watching" in watch.stdout.readline()
    resqpy("tracked", "create", "sendMail", "to=x@y", "--id", "other")
    resqpy("tracked", "create", "fails", "reason=x", "--id", "bad", "--delay", "1h")
    resqpy("tracked", "cancel", "bad")
    lines = [json.loads(watch.stdout.readline()) for _ in range(2)]
    kinds = [(line["type"], line["content"]["id"]) for line in lines]
    assert kinds == [("task_created", "bad"), ("task_cancelled", "bad")]
    watch.send_signal(signal.SIGINT)
    assert watch.wait(20) == 130


def test_watch_over_a_break(resqpy: Call, program: Program, client: Redis) -> None:
    """What ends while Redis is away is seen afterwards; several tasks, each in its order."""
    for task_id in ("a", "b", "c"):
        resqpy("tracked", "create", "sendMail", "to=x@y", "--id", task_id, "--delay", "1h")
    watch = program("tracked", "watch", "a", "b", "c", "--until-ended")
    assert watch.stdout is not None
    assert "watching" in watch.stdout.readline()
    assert [watch.stdout.readline().split()[1] for _ in range(3)] == ["a", "b", "c"]
    resqpy("tracked", "cancel", "a")
    assert "cancelled" in watch.stdout.readline()
    client.client_kill_filter(_type="pubsub")
    resqpy("tracked", "cancel", "b")
    resqpy("tracked", "remove", "c", "--yes")
    out, _ = watch.communicate(timeout=100)
    assert "b  sendMail  cancelled" in out
    assert watch.returncode == 6  # one was removed: nobody knows how it would have ended


def test_watch_of_what_has_ended(resqpy: Call, program: Program) -> None:
    """A task that has failed already is shown with its error, as the event had it."""
    resqpy("tracked", "create", "fails", "reason=x", "--id", "bad", "--retries", "0")
    program("worker", "--burst").wait(20)
    said = resqpy("tracked", "watch", "bad", "--until-ended", "--json")
    assert said.code == 6
    error = {"type": "runtime", "name": "ValueError", "message": "x"}
    content = {"id": "bad", "functionName": "fails", "error": error}
    assert said.json["content"] == content
    assert resqpy("tracked", "watch", "nobody").code == 5
    assert resqpy("tracked", "watch", "--until-ended").code == 2


def test_help(environ: dict[str, str]) -> None:
    """The help names all commands."""
    import sys

    said = subprocess.run(
        [sys.executable, "-m", "resqpy.cli", "tracked", "--help"],
        env=environ, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for word in ("create", "get", "list", "cancel", "retry", "remove", "enable", "watch"):
        assert word in said


def test_in_the_group_of_tasks(resqpy: Call) -> None:
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


@pytest.mark.parametrize("number", ["²", "9" * 5000], ids=["superscript", "long"])
def test_what_is_no_number(resqpy: Call, number: str) -> None:
    """A wrong use, as any other text."""
    for option in ("--retries", "--start", "--end"):
        assert resqpy("tracked", "create", "pay", option, number).code == Exit.USAGE
    assert resqpy("schedule", "fires", "--from", number).code == Exit.USAGE
