"""Jobs with arguments by position are shown with the names that their task gives them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from resqpy.base.activejob import WRAPPER
from resqpy.cli.output.printing import Exit
from tests.cli.conftest import Call

TASK = """
from resqpy import task

@task(name="SendInvoice", queue="mail")
async def send_invoice(id: int, token: str = "", /) -> None:
    "As Ruby's perform(id, token)."
"""


def _ruby(client: Redis, root: Path) -> None:
    (root / "tasks" / "invoice.py").write_text(TASK)
    client.sadd("resque:queues", "mail")
    client.rpush("resque:queue:mail", '{"class":"SendInvoice","args":[7,"s3cret"]}')


def test_waiting_jobs(resqpy: Call, root: Path, client: Redis) -> None:
    """Also in JSON, whose `args` stay what they are; what a name hides is hidden in both."""
    _ruby(client, root)

    assert '{"id":7,"token":"[FILTERED]"}' in resqpy("jobs").out
    [shown] = resqpy("jobs", "--json").json
    assert shown["args"] == [7, "[FILTERED]"]
    assert shown["inputs"] == {"id": 7, "token": "[FILTERED]"}


@pytest.mark.parametrize("args", [[7, "s3cret", 9], [9, 7, "s3cret"], ["7", "s3cret"]])
def test_no_secret_of_what_does_not_fit(
    args: list[Any], resqpy: Call, root: Path, client: Redis
) -> None:
    """One argument too many, or of another type, changes nothing about which of them is a secret."""
    _ruby(client, root)
    job = {"class": "SendInvoice", "args": args}
    wrapper = {"job_class": "SendInvoice", "arguments": args}
    client.delete("resque:queue:mail")
    client.rpush(
        "resque:queue:mail", json.dumps(job), json.dumps({"class": WRAPPER, "args": [wrapper]})
    )
    client.rpush("resque:failed", json.dumps({"payload": job, "queue": "mail", "error": "no"}))
    for at, each in enumerate(
        [job, {"class": WRAPPER, "args": [wrapper]}, {"class": "SendInvoice"}]
    ):
        client.sadd("resque:workers", f"h:{at}:mail")
        record = {"queue": "mail", "run_at": "2026-01-01T00:00:00Z", "payload": each}
        client.set(f"resque:worker:h:{at}:mail", json.dumps(record))

    looks = ("jobs", "jobs --json", "failed --json", "workers", "workers --json")
    shown = [resqpy(*each.split()).out for each in looks]
    shown.append(resqpy("failed", "show", json.loads(shown[2])[0]["id"]).out)
    assert "s3cret" not in "".join(shown)
    assert "[FILTERED]" in shown[0]
    workers = {each["pid"]: each["payload"] for each in json.loads(shown[4])}
    [inside] = workers["1"]["args"]
    assert workers["0"]["args"] == inside["arguments"] == json.loads(shown[1])[0]["args"]
    assert workers["2"] == {"class": "SendInvoice"}


def test_failed_and_delayed_jobs(resqpy: Call, root: Path, client: Redis) -> None:
    """The same, each where it waits."""
    _ruby(client, root)
    entry = {
        "payload": {"class": "SendInvoice", "args": [7, "s3cret"]},
        "queue": "mail",
        "error": "no",
    }
    client.rpush("resque:failed", json.dumps(entry))
    resqpy("task", "enqueue", "SendInvoice", "id=8", "--in", "1h")

    [failed] = resqpy("failed", "--json").json
    assert failed["inputs"] == {"id": 7, "token": "[FILTERED]"}
    assert '{"id":7,"token":"[FILTERED]"}' in resqpy("failed", "show", failed["id"]).out
    [delayed] = resqpy("delayed", "--json").json
    assert (delayed["args"], delayed["inputs"]) == ([8], {"id": 8})


def test_a_project_that_cannot_be_loaded_hides_no_jobs(
    resqpy: Call, root: Path, client: Redis
) -> None:
    """They are shown without names, and it is told why."""
    _ruby(client, root)
    (root / "tasks" / "broken.py").write_text("raise ValueError('no')\n")

    said = resqpy("jobs")

    assert '[7,"s3cret"]' in said.out
    assert "without names" in said.err


def test_it_is_enqueued_and_run_by_position(resqpy: Call, root: Path, client: Redis) -> None:
    """Or by name; an input that is given twice is told."""
    _ruby(client, root)
    client.delete("resque:queue:mail")

    assert resqpy("task", "enqueue", "SendInvoice", "--args", '[7,"x"]').code == Exit.OK
    assert resqpy("task", "enqueue", "SendInvoice", "--args", "[8]", "token=y").code == Exit.OK
    assert resqpy("task", "run", "SendInvoice", "--args", "[9]").code == Exit.OK
    assert (
        "'id' is given twice" in resqpy("task", "enqueue", "SendInvoice", "-a", "[8]", "id=1").err
    )
    assert "takes 2 inputs by position" in resqpy("task", "run", "SendInvoice", "-a", "[1,2,3]").err

    jobs = [json.loads(each)["args"] for each in client.lrange("resque:queue:mail", 0, -1)]
    assert jobs == [[7, "x"], [8, "y"]]
