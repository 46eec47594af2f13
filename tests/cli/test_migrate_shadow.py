"""`resqpy migrate --shadow`: when it is refused, and how both sides are compared."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from resqpy.base.activejob import WRAPPER
from resqpy.cli.output.printing import Exit
from resqpy.store.migrations import job_key
from tests.cli.conftest import Call
from tests.cli.test_migrate import LIMITS, works

NOTES, RULE = "resque:resqpy:limits:migration:Billing::Charge", "{migrate}Billing::Charge"
SHADOW = ("migrate", "Billing::Charge", "--shadow")
TASK = '''
from resqpy import task

@task(name="Billing::Charge", queue="mail", shadow={ready})
def charge(number: int, /) -> None:
    """Charge."""
'''


@pytest.fixture
def project(root: Path) -> Path:
    """With a task that asks `run.shadow`."""
    (root / "tasks" / "billing.py").write_text(TASK.format(ready=True))
    return root


@pytest.fixture
def ours(client: Redis, project: Path) -> Redis:
    """A process of resqpy works the queue, and has the class; Ruby's worker works its own."""
    works(client, "here+resqpy:7-1-abcd1234:mail")
    works(client, "ruby-host:1:mail.ruby")
    client.zadd("resque:resqpy:processes", {"abcd1234": time.time()})
    client.hset("resque:resqpy:known_tasks", "abcd1234", '["Billing::Charge"]')
    return client


def test_it_is_a_rule_beside_the_share(resqpy: Call, ours: Redis) -> None:
    """That older processes don't know; each other share ends it."""
    told = resqpy(*SHADOW, "--to=ruby", "--json")
    assert (told.code, told.json["share"], told.json["shadow"]) == (Exit.OK, 0, 100)
    assert ours.hget(LIMITS, RULE) == b"0 100 500 0 ruby mail"
    assert ours.hget(LIMITS, "{shadow}Billing::Charge") == b"10000"
    assert resqpy("migrate", "billing.charge", "--shadow", "2.5%").code == Exit.OK
    assert ours.hget(LIMITS, "{shadow}Billing::Charge") == b"250"
    assert resqpy("migrate", "Billing::Charge", "--canary=5%").code == Exit.OK
    assert ours.hget(LIMITS, "{shadow}Billing::Charge") is None


@pytest.mark.parametrize("text", [TASK.format(ready=False), ""])
def test_a_task_that_would_send_its_mails_twice(
    resqpy: Call, ours: Redis, project: Path, text: str
) -> None:
    """Is refused, with what to do; nothing is written."""
    (project / "tasks" / "billing.py").write_text(text)
    refused = resqpy(*SHADOW, "--to=ruby", "--queue=mail")
    assert (refused.code, "shadow=True" in refused.err) == (Exit.NO, True)
    assert ours.exists(LIMITS) == 0
    assert resqpy(*SHADOW, "--to=ruby", "--queue=mail", "--anyway").code == Exit.OK


@pytest.mark.parametrize(
    "words",
    [
        ["Billing::Charge", "--shadow", "0%"],
        ["Billing::Charge", "--shadow", "101"],
        ["Billing::Charge", "--shadow", "--canary=5%"],
        ["--shadow", "Billing::Charge"],
        ["*", "--shadow", "--queue=mail"],
    ],
)
def test_what_is_wrong(resqpy: Call, ours: Redis, words: list[str]) -> None:
    """And nothing is written."""
    assert resqpy("migrate", *words, "--to=ruby").code == Exit.USAGE
    assert ours.exists(LIMITS) == 0


def test_where_nobody_has_the_task(resqpy: Call, ours: Redis) -> None:
    """Then no copy would run; that others work the queue, too, only makes less of it."""
    works(ours, "ruby-host:2:mail")
    allowed = resqpy(*SHADOW, "--to=ruby")
    assert (allowed.code, "ruby-host:2" in allowed.err) == (Exit.OK, True)
    ours.delete("resque:resqpy:known_tasks")
    refused = resqpy(*SHADOW)
    assert (refused.code, "Billing::Charge" in refused.err) == (Exit.NO, True)


# -- the comparison --


def _job(number: Any) -> dict[str, Any]:
    return {"class": "Billing::Charge", "args": [number]}


def _begin(client: Redis, copied: int, sent: int) -> None:
    client.hset(NOTES, mapping={"copied": copied, "theirs": sent})


def _ran(client: Redis, number: int, arg: Any, error: str | None = None, **more: Any) -> None:
    """Here, as a worker notes it."""
    ended = "succeeded" if error is None else "failed"
    at, key = int(time.time()), job_key(_job(arg))
    said = {"n": number, "at": at, "ms": 20, "key": key, "args": f"[{arg}]", **more}
    said |= {} if error is None else {"error": error}
    client.rpush(f"resque:resqpy:limits:shadows:{ended}:Billing::Charge", json.dumps(said))
    client.hincrby(NOTES, f"shadow_{ended}", 1)
    client.hincrby(NOTES, "shadow_ms", 20)


def _failed(client: Redis, arg: Any, seconds: int = 0, queue: str = "mail.ruby") -> None:
    """There, as Ruby writes it."""
    at = time.strftime("%Y/%m/%d %H:%M:%S UTC", time.gmtime(time.time() + seconds))
    entry = {"payload": _job(arg), "queue": queue, "exception": "E", "error": "e", "failed_at": at}
    client.rpush("resque:failed", json.dumps(entry))


def _status(resqpy: Call) -> tuple[int, dict[str, Any]]:
    said = resqpy("migrate", "Billing::Charge", "status", "--json")
    return said.code, said.json[0]["shadow"]


def _compared(seen: dict[str, Any]) -> Sequence[int]:
    return [*seen["compared"].values()]


def test_both_sides_are_compared(resqpy: Call, ours: Redis) -> None:
    """By the jobs' arguments: what has not failed, and is gone from the other side's queue, succeeded there."""
    resqpy(*SHADOW, "--to=ruby")
    _begin(ours, 7, 7)
    jobs = [{"class": "Mail", "queue": "post", "args": "[1]"}]
    _ran(ours, 1, 1, wanted=12, jobs=jobs)
    _ran(ours, 2, 2.0, "ValueError: bad")
    _ran(ours, 3, 3, "TypeError: worse")
    _ran(ours, 4, 4)
    _ran(ours, 5, 5)
    _ran(ours, 6, 6)
    ours.rpush("resque:queue:mail.ruby", json.dumps(_job(6)), json.dumps(_job(7)))
    _failed(ours, 2)
    _failed(ours, 4)
    _failed(ours, 1, queue="mail")  # ours, of earlier
    work = {"queue": "mail.ruby", "run_at": "x", "payload": _job(5)}
    ours.set("resque:worker:ruby-host:1:mail.ruby", json.dumps(work))

    code, seen = _status(resqpy)
    shown = resqpy("migrate", "Billing::Charge").out
    [problem] = [e for e in resqpy("doctor", "--json").json if e["name"] == "class in the shadow"]

    assert (code, _compared(seen)) == (Exit.NO, [1, 1, 1, 1, 2])
    assert [each["here"] for each in seen["only_here"]] == ["TypeError: worse"]
    assert [each["there"] for each in seen["only_there"]] == ["E: e"]
    assert seen["would_enqueue"] == [{"class": "Mail", "queue": "post", "count": 1}]
    assert (seen["would_enqueue_more"], seen["not_known"], seen["share"]) == (11, 1, 100)
    assert (seen["succeeded"], seen["failed"], seen["ms"]) == (4, 2, 120)
    for words in (
        "TypeError: worse, with [3]",
        "1 failed only here",
        "2 not known yet",
        "'Mail' in 'post'",
    ):
        assert words in shown
    assert (problem["grave"], "1 shadow run" in problem["problem"]) == (False, True)
    ours.delete("resque:queue:mail.ruby", "resque:worker:ruby-host:1:mail.ruby")
    assert _compared(_status(resqpy)[1]) == [3, 1, 1, 1, 0]


def test_equal_jobs_are_told_apart_by_their_times(resqpy: Call, ours: Redis) -> None:
    """One failure is one of them; what failed long before the first is none."""
    resqpy(*SHADOW, "--to=ruby")
    _begin(ours, 3, 3)
    for number in (1, 2, 3):
        _ran(ours, number, 1)
    _failed(ours, 1, -3600)
    assert _compared(_status(resqpy)[1]) == [3, 0, 0, 0, 0]
    _failed(ours, 1)
    _failed(ours, 1.0)
    assert _compared(_status(resqpy)[1]) == [1, 0, 0, 2, 0]


def test_what_to_do_next(resqpy: Call, ours: Redis) -> None:
    """Wait, find out, deploy, or begin."""
    resqpy(*SHADOW, "--to=ruby")

    def said() -> str:
        return resqpy("migrate", "Billing::Charge").out.rpartition("next: ")[2]

    assert said().startswith("wait")
    _begin(ours, 150, 150)
    for number in range(150):
        _ran(ours, number + 1, number)
    assert "resqpy migrate Billing::Charge --canary 1%" in said()
    assert resqpy("migrate", "Billing::Charge").code == Exit.OK
    _ran(ours, 1, 1000, "E: e")
    assert said().startswith("find out")
    refused = resqpy("migrate", "Billing::Charge", "--canary=1%")
    assert (refused.code, "1 shadow run" in refused.err) == (Exit.NO, True)
    ours.hincrby(NOTES, "shadow_unable", 1)
    assert said().startswith("deploy")
    assert resqpy("migrate", "Billing::Charge", "--shadow").code == Exit.OK  # it begins again
    assert resqpy("migrate", "Billing::Charge", "--canary=1%").code == Exit.OK


def test_entries_of_somebody_else(resqpy: Call, ours: Redis) -> None:
    """Break nothing that looks at them."""
    resqpy(*SHADOW, "--to=ruby")
    key = "resque:resqpy:limits:shadows:failed:Billing::Charge"
    junk = [
        "x",
        "[]",
        '{"n":"1","at":1}',
        '{"n":1,"at":1e400}',
        '{"n":1,"at":9,"jobs":[1],"wanted":"x"}',
    ]
    ours.rpush(key, *junk, '{"n":' + "9" * 50 + ',"at":1}')
    ours.hset(LIMITS, "{shadow}Billing::Charge", "9" * 20)
    ours.hset(NOTES, mapping={"copied": "x", "shadow_ms": "9" * 40})
    for words in (["migrate"], ["migrate", "--json"], ["doctor"]):
        assert resqpy(*words).code in (Exit.OK, Exit.NO)
    ours.delete(key)
    ours.set(key, "x")
    assert resqpy("migrate").code in (Exit.OK, Exit.NO)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (1, 1.0, True), (2**64, 18446744073709552000, True), ({"a": 1, "b": []}, {"b": {}, "a": 1.0}, True),
        (1, True, False), ("1", 1, False), (None, [], False), ([1, 2], [2, 1], False), ("é", "\u00e9", True),
    ],
)  # fmt: skip
def test_what_is_the_same_job(one: object, other: object, *, same: bool) -> None:
    """As another language spells it."""
    assert (job_key(_job(one)) == job_key(_job(other))) is same


def test_a_job_of_rails_is_the_same_by_its_id() -> None:
    """However often it was tried."""
    jobs = [
        {"class": WRAPPER, "args": [{"job_class": "C", "job_id": name, "arguments": [1], **more}]}
        for name, more in (
            ("a", {"executions": 0}),
            ("a", {"executions": 3}),
            ("b", {"executions": 0}),
        )
    ]
    first, again, other = map(job_key, jobs)
    assert first == again != other
