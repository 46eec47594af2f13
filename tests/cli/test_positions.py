"""Jobs with arguments by position are shown with the names that their task gives them."""

from __future__ import annotations

import json
from pathlib import Path

from redis import Redis

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
