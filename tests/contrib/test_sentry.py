"""`resqpy.contrib.sentry`, with Sentry's own SDK, which sends to a server of the test."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk
from redis.asyncio import Redis

from resqpy import Process, Project, api
from resqpy.contrib.sentry import monitor_config
from resqpy.testing import drain
from tests.framework.conftest import Files, MakeProject

MIDDLEWARE = """
from resqpy.contrib.sentry import SentryMiddleware

class Sentry(SentryMiddleware):
    monitor_periodic_tasks = True
"""
TASKS = """
import sentry_sdk
from resqpy import task, JobCancelled

@task(retry={"retry_limit": 3, "retry_delay": 1000})
def charge(token="", fails: int = 3):
    sentry_sdk.set_tag("card", "visa")
    sentry_sdk.add_breadcrumb(message=f"charging {fails}")
    charge_card(fails)

def charge_card(fails):
    CALLS.append(1)
    if len(CALLS) <= fails:
        raise LookupError("no card")

CALLS = []

@task
async def awaited(word: str):
    sentry_sdk.set_tag("word", word)
    raise ValueError(word)

@task
async def cancelled():
    raise JobCancelled()

@task(cron="*/5 * * * *", timezone="Europe/Berlin")
async def nightly(): ...

@task(frequency=7_200_000)
async def often():
    raise OSError("disk")

@task(frequency=90_000)
async def odd(): ...

@task(cron="0 */5 * * * *")
async def with_seconds(): ...
"""


class Server:
    """What Sentry is for its SDK: it takes envelopes."""

    def __init__(self) -> None:
        items: list[dict[str, Any]] = []
        self.items = items

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                lines = [json.loads(each) for each in body.splitlines() if each]
                for head, item in zip(lines[1::2], lines[2::2], strict=True):
                    items.append({**item, "kind": head["type"]})
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.dsn = f"http://key@127.0.0.1:{self.server.server_port}/1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def of(self, kind: str) -> list[dict[str, Any]]:
        """What came of a kind, once all that was sent is here."""
        sentry_sdk.flush(timeout=100)
        return [each for each in self.items if each["kind"] == kind]


@pytest.fixture
def server() -> Iterator[Server]:
    """A server."""
    made = Server()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def sentry(server: Server) -> Iterator[Server]:
    """Sentry in this process, without what it changes in the standard library."""
    sentry_sdk.init(dsn=server.dsn, default_integrations=False, traces_sample_rate=1.0)
    yield server
    sentry_sdk.flush(timeout=100)
    sentry_sdk.get_client().close()
    sentry_sdk.get_global_scope().set_client(None)


@pytest.fixture
def project(make_project: MakeProject) -> Project:
    """A project that reports."""
    return make_project(middleware__sentry=MIDDLEWARE, tasks__a=TASKS)


async def test_one_event_for_a_job_that_has_failed_for_good(
    project: Project, sentry: Server
) -> None:
    """With what its last run did, the frames of the task, and tags; without its inputs."""
    async with Process(project):
        await api.tasks.enqueue("charge", {"token": "s3cret"})
        drained = await drain(delayed=True)

    assert [each.end for each in drained.jobs] == ["re_enqueue", "re_enqueue", "failure"]
    [event] = sentry.of("event")
    tags = event["tags"]
    assert (tags["job.task"], tags["job.queue"], tags["job.attempt"]) == (
        "charge",
        "default",
        3,
    )
    assert tags["card"] == "visa"
    assert len(tags["job.id"]) == 12
    assert tags["job.worker"]
    [error] = event["exception"]["values"]
    assert (error["type"], error["value"]) == ("LookupError", "no card")
    assert error["mechanism"] == {"type": "resqpy", "handled": False}
    assert [each["function"] for each in error["stacktrace"]["frames"]][-2:] == [
        "charge",
        "charge_card",
    ]
    assert [each["message"] for each in event["breadcrumbs"]["values"]] == ["charging 3"]
    assert "s3cret" not in json.dumps({**event, "exception": None})
    assert "job" not in event["contexts"]
    transactions = sentry.of("transaction")
    assert [each["transaction"] for each in transactions] == ["charge"] * 3
    assert {each["contexts"]["trace"]["status"] for each in transactions} == {"internal_error"}
    assert (
        event["contexts"]["trace"]["trace_id"] == transactions[-1]["contexts"]["trace"]["trace_id"]
    )


async def test_a_retry_that_succeeds_is_no_event(project: Project, sentry: Server) -> None:
    """Nor is a job that somebody cancelled."""
    async with Process(project):
        await api.tasks.enqueue("charge", {"fails": 1})
        await api.tasks.enqueue("cancelled")
        drained = await drain(delayed=True)

    assert len(drained.succeeded) == 1
    assert sentry.of("event") == []


async def test_jobs_without_a_run_are_events(
    project: Project, sentry: Server, redis: Redis
) -> None:
    """Unknown tasks, and what can't be read."""
    await redis.sadd("resque:queues", "default")
    await redis.rpush("resque:queue:default", b'{"class":"gone","args":[]}', b"\xff")
    async with Process(project):
        await drain()

    found = {
        each["tags"]["job.task"]: each["exception"]["values"][0]["type"]
        for each in sentry.of("event")
    }
    assert found == {"gone": "UnknownTask", "(unreadable)": "PayloadError"}


@pytest.mark.filterwarnings("ignore:The send_default_pii option is deprecated")
@pytest.mark.parametrize(
    "choice", [{"send_default_pii": True}, {"data_collection": {"queues": True}}]
)
async def test_each_run_has_its_own_scope(
    project: Project, sentry: Server, choice: dict[str, Any]
) -> None:
    """Nothing of it is in another job's event; inputs are sent by choice, and without secrets."""
    sentry_sdk.init(dsn=sentry.dsn, default_integrations=False, **choice)
    async with Process(project):
        for word in ("one", "two"):
            await api.tasks.enqueue("awaited", {"word": word})
        await api.tasks.enqueue("charge", {"token": "s3cret", "fails": 99})
        await drain(delayed=True)

    events = {each["exception"]["values"][0]["value"]: each for each in sentry.of("event")}
    assert {key: each["tags"].get("word") for key, each in events.items()} == {
        "one": "one", "two": "two", "no card": None,
    }  # fmt: skip
    assert events["one"]["contexts"]["job"]["args"] == [{"word": "one"}]
    assert events["no card"]["contexts"]["job"]["args"] == [{"token": "[FILTERED]", "fails": 99}]


async def test_a_trace_goes_on(project: Project, sentry: Server, redis: Redis) -> None:
    """Of a job that carries it at its top."""
    trace = "0123456789abcdef" * 2
    job = {
        "class": "awaited",
        "sentry-trace": f"{trace}-0123456789abcdef-1",
        "args": [{"word": "x"}],
    }
    await redis.rpush("resque:queue:default", json.dumps(job))
    await redis.sadd("resque:queues", "default")
    async with Process(project):
        await drain()

    [transaction], [event] = sentry.of("transaction"), sentry.of("event")
    assert transaction["contexts"]["trace"]["trace_id"] == trace
    assert transaction["contexts"]["trace"]["op"] == "queue.task.resqpy"
    assert event["contexts"]["trace"]["trace_id"] == trace


async def test_check_ins_of_planned_runs(project: Project, sentry: Server, redis: Redis) -> None:
    """At the beginning and at the end; not of what somebody enqueued by hand."""
    tasks = project.registry.definitions
    now_ms = 1_800_000_000_000
    for name in ("nightly", "often", "odd"):
        periodic = tasks[name].periodic
        assert periodic is not None
        await redis.rpush("resque:queue:default", periodic.job(name, now_ms))
    await redis.sadd("resque:queues", "default")
    async with Process(project):
        await api.tasks.enqueue("nightly")
        await drain()

    told = [(each["monitor_slug"], each["status"]) for each in sentry.of("check_in")]
    assert told == [
        ("nightly", "in_progress"), ("nightly", "ok"), ("often", "in_progress"), ("often", "error"),
    ]  # fmt: skip
    first = sentry.of("check_in")[0]
    assert first["monitor_config"] == {
        "schedule": {"type": "crontab", "value": "*/5 * * * *"}, "timezone": "Europe/Berlin",
    }  # fmt: skip


def test_the_schedules_that_sentry_knows(project: Project) -> None:
    """Five fields, and whole minutes, in the largest unit."""
    found = {name: monitor_config(each) for name, each in project.registry.tasks.items()}
    assert found["often"] == {"schedule": {"type": "interval", "value": 2, "unit": "hour"}}
    assert [name for name, each in found.items() if each is None] == [
        "charge", "awaited", "cancelled", "odd", "with_seconds",
    ]  # fmt: skip


async def test_without_init_it_says_so_once(
    project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    """Rather than to be silent about failures."""
    async with Process(project):
        for _ in range(2):
            await api.tasks.enqueue("awaited", {"word": "x"})
        await drain()

    told = [each.message for each in caplog.records if "sentry_sdk.init" in each.message]
    assert told == ["Sentry sends nothing: sentry_sdk.init was not called"]


MAIN = """
import os
import sentry_sdk
from resqpy.contrib.sentry import SentryMiddleware

sentry_sdk.init(dsn=os.environ["SENTRY_DSN"])

class Sentry(SentryMiddleware):
    pass
"""


def test_a_worker_as_users_start_it(files: Files, server: Server, redis_url: str) -> None:
    """With Sentry's usual integrations: one event, which is sent before the process is gone."""
    root: Path = files.write(middleware__sentry=MAIN, tasks__a=TASKS)
    environ = {
        **os.environ,
        "SENTRY_DSN": server.dsn,
        "REDIS_URL": redis_url,
        "RESQPY_ENV": "production",
    }
    resqpy = [sys.executable, "-m", "resqpy.cli"]
    enqueue = ["task", "enqueue", "awaited", "word=boo"]
    for command in (enqueue, ["worker", "--burst"]):
        done = subprocess.run(
            [*resqpy, *command], cwd=root, env=environ, capture_output=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
    events = [each for each in server.items if each["kind"] == "event"]
    assert [each["exception"]["values"][0]["value"] for each in events] == ["boo"]
