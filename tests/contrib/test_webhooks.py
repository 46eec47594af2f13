"""`resqpy.contrib.webhooks`, with a receiver that checks what it gets as Standard Webhooks says."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy import Process, api
from resqpy.base.errors import UsageError
from resqpy.base.imports import import_dotted
from resqpy.base.periodic import AT
from resqpy.contrib.webhooks import WebhookEndpoint
from resqpy.testing import drain
from tests.framework.conftest import MakeProject

KEY = b"a key of the receiver"
SECRET = "whsec_" + base64.b64encode(KEY).decode()

TASKS = """
from resqpy import task
from resqpy.contrib.webhooks import WebhookEndpoint, WebhookDelivery, WebhookMiddleware

ENDPOINTS = {{
    "ops": WebhookEndpoint({url!r}, secret={secret!r}, events={events!r}, tasks={tasks!r}),
}}

class Webhooks(WebhookMiddleware):
    endpoints = ENDPOINTS
    late_after = {late_after}

class DeliverWebhook(WebhookDelivery):
    endpoints = ENDPOINTS
    queue = "hooks"

@task
async def charge(order: int, password: str = "", fails: bool = True):
    if fails:
        raise LookupError("no card")

@task(retry=1)
async def again():
    RUNS.append(1)
    if len(RUNS) == 1:
        raise OSError("away")

RUNS = []

@task(frequency=3_600_000)
async def hourly(): ...
"""


class Receiver:
    """Keeps requests; answers what `answers` says, then 204."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.answers: list[int] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.requests.append((self.path, headers, body))
                self.send_response(receiver.answers.pop(0) if receiver.answers else 204)
                self.send_header("location", "/elsewhere")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?team=1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def events(self) -> list[dict[str, Any]]:
        """Of the requests, each of which is signed by the secret."""
        for path, headers, body in self.requests:
            signed = b".".join(
                [headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body]
            )
            signature = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
            assert headers["webhook-signature"] == f"v1,{signature}"
            assert headers["content-type"] == "application/json"
            assert path == "/hook?team=1"
        return [json.loads(body) for _, _, body in self.requests]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver."""
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


def tasks_of(
    receiver: Receiver,
    events: tuple[str, ...] = ("job.failed",),
    tasks: tuple[str, ...] = ("*",),
    late_after: int = 60_000,
) -> str:
    """A module of tasks that tells a receiver."""
    return TASKS.format(
        url=receiver.url, secret=SECRET, events=events, tasks=tasks, late_after=late_after
    )


async def test_a_job_that_failed_for_good_is_told(
    make_project: MakeProject, receiver: Receiver, redis: Redis
) -> None:
    """By a job, which has neither the secret nor what the log hides."""
    async with Process(make_project(tasks__a=tasks_of(receiver))):
        await api.tasks.enqueue("charge", {"order": 7, "password": "s3cret"})
        first = await drain("default")
        waiting = await redis.lrange("resque:queue:hooks", 0, -1)
        await drain()

    assert [each.end for each in first.jobs] == ["failure"]
    assert [json.loads(raw)["class"] for raw in waiting] == ["resqpy.webhook"]
    assert b"s3cret" not in waiting[0]
    assert SECRET.encode() not in waiting[0]
    [event] = receiver.events()
    assert event["type"] == "job.failed"
    data = event["data"]
    assert (data["task"], data["queue"], data["attempt"]) == ("charge", "default", 1)
    assert (data["exception"], data["message"]) == ("LookupError", "no card")
    assert data["args"][0]["order"] == 7
    assert "s3cret" not in json.dumps(event)


async def test_what_is_retried_or_succeeds_is_not_told(
    make_project: MakeProject, receiver: Receiver
) -> None:
    """An endpoint hears of the events that it names alone."""
    async with Process(make_project(tasks__a=tasks_of(receiver))):
        await api.tasks.enqueue("again")
        await api.tasks.enqueue("charge", {"order": 1, "fails": False})
        drained = await drain(delayed=True)

    assert sorted(each.end for each in drained.jobs) == ["re_enqueue", "success", "success"]
    assert receiver.requests == []


async def test_jobs_that_nobody_could_run_are_told(
    make_project: MakeProject, receiver: Receiver, redis: Redis
) -> None:
    """Unknown classes, and what can't be read."""
    await redis.sadd("resque:queues", "default")
    await redis.rpush("resque:queue:default", b'{"class":"gone","args":[]}', b"\xff")
    async with Process(make_project(tasks__a=tasks_of(receiver))):
        await drain()

    found = {each["data"]["task"]: each["data"]["exception"] for each in receiver.events()}
    assert found == {"gone": "UnknownTask", "": "PayloadError"}


async def test_a_finished_job_is_told(make_project: MakeProject, receiver: Receiver) -> None:
    """Of tasks that the endpoint names; deliveries are not told of, and so never end."""
    text = tasks_of(receiver, ("job.finished",), ("cha*", "resqpy.*"))
    async with Process(make_project(tasks__a=text)):
        await api.tasks.enqueue("charge", {"order": 1, "fails": False})
        await api.tasks.enqueue("charge", {"order": 2})
        await api.tasks.enqueue("hourly")
        await drain()

    [event] = receiver.events()
    assert (event["type"], event["data"]["task"]) == ("job.finished", "charge")
    assert event["data"]["duration_ms"] >= 0


async def test_a_late_run_of_a_schedule_is_told(
    make_project: MakeProject, receiver: Receiver, redis: Redis
) -> None:
    """With when it was planned; a run in time is not, nor one that nobody planned."""
    text = tasks_of(receiver, ("schedule.late",))
    async with Process(make_project(tasks__a=text)):
        now_ms = await api.redis.time_us() // 1000
        for at_ms in (now_ms - 3_600_000, now_ms):
            raw = f'{{"class":"hourly","queue":"default","args":[],"{AT}":{at_ms}}}'
            await redis.rpush("resque:queue:default", raw)
        await redis.sadd("resque:queues", "default")
        await api.tasks.enqueue("hourly")
        drained = await drain()

    assert [each.end for each in drained.jobs] == ["success"] * 4
    [event] = receiver.events()
    assert event["data"]["task"] == "hourly"
    assert event["data"]["planned"] == datetime.fromtimestamp(
        (now_ms - 3_600_000) / 1000, UTC
    ).isoformat(timespec="milliseconds")
    assert event["data"]["late_ms"] >= 3_600_000


async def test_a_refused_delivery_is_tried_again(
    make_project: MakeProject, receiver: Receiver
) -> None:
    """With the same id, so that a receiver can tell it from another event; a redirection is a refusal."""
    receiver.answers = [503, 302]
    async with Process(make_project(tasks__a=tasks_of(receiver))):
        await api.tasks.enqueue("charge", {"order": 7})
        drained = await drain(delayed=True)

    ends = [each.end for each in drained.jobs]
    assert ends == ["failure", "re_enqueue", "re_enqueue", "success"]
    assert len({headers["webhook-id"] for _, headers, _ in receiver.requests}) == 1
    assert len(receiver.events()) == 3


async def test_a_receiver_that_is_gone_is_not_tried_again(
    make_project: MakeProject, receiver: Receiver
) -> None:
    """410; and its failure is no event."""
    receiver.answers = [410]
    async with Process(make_project(tasks__a=tasks_of(receiver))):
        await api.tasks.enqueue("charge", {"order": 7})
        drained = await drain(delayed=True)

    assert [each.end for each in drained.jobs] == ["failure", "failure"]
    assert "team=1" not in str(drained.jobs[1].error)
    assert len(receiver.requests) == 1


async def test_a_webhook_that_can_not_be_enqueued_fails_no_job(
    make_project: MakeProject, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """Its queue is full; the log says which was not told."""
    text = tasks_of(receiver, ("job.finished",))
    limits = {"tasks.queue_limits": {"hooks": 1}, "tasks.full_queue_wait": 0}
    async with Process(make_project(limits, tasks__a=text)):
        for order in range(2):
            await api.tasks.enqueue("charge", {"order": order, "fails": False})
        drained = await drain("default")

    assert [each.end for each in drained.jobs] == ["success", "success"]
    assert "job.finished" in caplog.text
    assert "hooks" in caplog.text


HOSTILE = """
from resqpy import Middleware, task

class Tenant(Middleware):
    everywhere = True

    def pre_enqueue(self, job):
        if job.class_name == "resqpy.webhook":
            if MODE == ["raises"]:
                raise PermissionError("no tenant")
            return False

MODE = []

@task
async def odd(name: str = "", number: float = 0):
    raise FileNotFoundError(name + chr(0xdce9))
"""


@pytest.mark.parametrize("mode", ["raises", "forbids"])
async def test_a_hook_that_refuses_a_webhook_fails_no_job(
    make_project: MakeProject, receiver: Receiver, caplog: pytest.LogCaptureFixture, mode: str
) -> None:
    """The job has succeeded, and the log says what was not told."""
    files = {"tasks__a": tasks_of(receiver, ("job.finished",)), "tasks__b": HOSTILE}
    async with Process(make_project(**files)) as process:
        import_dotted("tasks.b:MODE").append(mode)
        assert process.project is not None
        await api.tasks.enqueue("charge", {"order": 1, "fails": False})
        drained = await drain()

    assert [each.end for each in drained.jobs] == ["success"]
    assert "the webhook job.finished for 'ops' was not enqueued" in caplog.text
    assert ("PermissionError: no tenant" if mode == "raises" else "forbade it") in caplog.text


async def test_an_error_that_is_no_text_in_utf_8_is_told(
    make_project: MakeProject, receiver: Receiver, redis: Redis
) -> None:
    """The name of a file, say; and numbers of a foreign job that are none to others."""
    files = {"tasks__a": tasks_of(receiver), "tasks__b": HOSTILE.replace("everywhere = True", "")}
    big = "1" + "0" * 400
    async with Process(make_project(**files)):
        await api.tasks.enqueue("odd")
        await redis.rpush(
            "resque:queue:default", f'{{"class":"charge","args":[{{"order":{big}}}]}}'
        )
        await drain()

    first, second = receiver.events()
    assert first["data"]["message"] == "\\udce9"
    assert second["data"]["args"] == [{"order": big}]


async def test_a_receiver_that_never_comes_to_an_end_is_left(make_project: MakeProject) -> None:
    """It sends a letter of a header again and again, each in time."""
    gone = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            taken, _ = server.accept()
            with taken, suppress(OSError):
                taken.sendall(b"HTTP/1.1 200 OK\r\nx-more: ")
                while not gone.wait(0.05):
                    taken.sendall(b"1")

        dripping = threading.Thread(target=drip, daemon=True)
        dripping.start()
        text = TASKS.format(
            url=f"http://127.0.0.1:{server.getsockname()[1]}/", secret=SECRET,
            events=("job.failed",), tasks=("*",), late_after=60_000,
        ).replace(", tasks=", ", timeout=200, tasks=")  # fmt: skip
        async with Process(make_project(tasks__a=text)):
            await api.tasks.enqueue("charge", {"order": 1})
            drained = await drain()
        gone.set()
        dripping.join()

    assert [each.end for each in drained.jobs] == ["failure", "re_enqueue"]


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"events": ["job.fail"]}, "job.failed"),
        ({"events": "job.failed"}, "lists"),
        ({"events": []}, "hears nothing"),
        ({"url": "ops.example/jobs"}, "http://"),
        ({"url": "https://me:pw@ops.example"}, "login"),
        ({"secret": ""}, "secret"),
        ({"secret": "whsec_%%%"}, "Base64"),
        ({"secret": "half \ud83d"}, "UTF-8"),
        ({"secret": "whsec_"}, "secret"),
        ({"secret": 5}, "secret"),
        ({"tasks": []}, "hears nothing"),
        ({"timeout": 0}, "timeout"),
        ({"url": "https://:pw@ops.example"}, "login"),
        ({"url": "https://ops.example:99999/"}, "http://"),
        ({"url": "https://ops.example:http/"}, "http://"),
        ({"url": "https://[::1/"}, "http://"),
        ({"url": "https://ops.example/a b"}, "blanks"),
        ({"url": "https://ops.example/jöbs"}, "%C3%A4"),
        ({"url": "https://ops.example/\n"}, "blanks"),
        ({"url": None}, "http://"),
        ({"timeout": -1}, "timeout"),
    ],
)
def test_what_an_endpoint_can_not_be(wrong: dict[str, Any], word: str) -> None:
    """Told where it is written; no secret is shown."""
    with pytest.raises(UsageError, match=word) as raised:
        WebhookEndpoint(**{"url": "https://ops.example/jobs", "secret": "hush", **wrong})
    assert "hush" not in str(raised.value)
    assert "pw" not in str(raised.value)
    assert "hush" not in repr(WebhookEndpoint("https://ops.example", secret="hush"))
