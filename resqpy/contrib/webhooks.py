"""Webhooks: what became of jobs is told to other programs over HTTP, signed, by jobs of our own, which are
retried. No extra is needed. The form is that of Standard Webhooks 1.0 (https://www.standardwebhooks.com).

    # tasks/webhooks.py
    ENDPOINTS = {"ops": WebhookEndpoint("https://ops.example/jobs", secret=os.environ["OPS_SECRET"])}

    class Webhooks(WebhookMiddleware):
        endpoints = ENDPOINTS

    class DeliverWebhook(WebhookDelivery):
        endpoints = ENDPOINTS
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import logging
import re
import secrets
import ssl
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any, ClassVar
from urllib.parse import urlsplit

from resqpy.base import codec, errors
from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.errors import UsageError
from resqpy.base.imports import near_match
from resqpy.base.json_rules import explain
from resqpy.base.periodic import to_datetime, to_ms
from resqpy.base.when import Duration, duration_s
from resqpy.framework.api.api import api
from resqpy.framework.tasks.failures import JobFailure
from resqpy.framework.tasks.middleware import Middleware, TaskCall
from resqpy.framework.tasks.task import Task

_log = logging.getLogger("resqpy.contrib.webhooks")

FAILED, FINISHED, LATE = "job.failed", "job.finished", "schedule.late"
EVENTS = (FAILED, FINISHED, LATE)
TASK_NAME = "resqpy.webhook"

_MOST = 10_000  # characters of a message
_AGAIN_MS = [5_000, 60_000, 300_000, 1_800_000, 7_200_000, 18_000_000, 36_000_000, 36_000_000]


class WebhookRefused(Exception):
    """The receiver did not take an event: it answered with another status than 2xx."""


class WebhookGone(Exception):
    """The receiver answered 410: it wants no more events. It is not retried."""


@dataclass(frozen=True)
class WebhookEndpoint:
    """Who is told.

    Attributes:
        url: to which events are posted; http or https. A redirection is not followed: it counts as refused.
        secret: what events are signed with: any text, or `whsec_` and Base64 as Standard Webhooks has it.
        events: `job.failed` (for good: not while it is retried), `job.finished`, `schedule.late`.
        tasks: names of tasks, with `*` as a wildcard.
        timeout: of one delivery, milliseconds or a timedelta.

    Raises:
        UsageError: one of them can't be.
    """

    url: str
    secret: str = field(repr=False)
    events: Collection[str] = (FAILED,)
    tasks: Collection[str] = ("*",)
    timeout: Duration = 15_000

    def __post_init__(self) -> None:
        if isinstance(self.events, str) or isinstance(self.tasks, str):
            raise UsageError("the events and tasks of a WebhookEndpoint are lists of names")
        for event in self.events:
            if event not in EVENTS:
                raise UsageError(f"there is no event {event!r}{near_match(event, EVENTS)}")
        if not self.events or not self.tasks:
            raise UsageError(
                f"a WebhookEndpoint without events or tasks hears nothing; name some of {EVENTS}, and tasks"
            )
        if not _is_url(self.url):
            raise UsageError(
                "the url of a WebhookEndpoint begins with http:// or https:// and a host, without a login, and "
                "has no blanks; write other letters than those of ASCII as %C3%A4, and those of a host as xn--"
            )
        if not duration_s(self.timeout, "the timeout of a WebhookEndpoint"):
            raise UsageError("the timeout of a WebhookEndpoint is 0, in which nobody can answer")
        self.key()

    def key(self) -> bytes:
        """The secret's bytes."""
        secret: Any = self.secret
        if not isinstance(secret, str) or secret in ("", "whsec_"):
            raise UsageError(
                "a WebhookEndpoint needs a secret, with which its receiver checks events"
            )
        try:
            if not self.secret.startswith("whsec_"):
                return self.secret.encode()
            return base64.b64decode(self.secret.removeprefix("whsec_"), validate=True)
        except ValueError:  # half of a surrogate pair, from an environment variable
            raise UsageError(
                "the secret of a WebhookEndpoint is no UTF-8, or no Base64 behind 'whsec_'"
            ) from None

    def wants(self, event: str, task: str) -> bool:
        """Whether it wants an event of this task."""
        return event in self.events and any(fnmatchcase(task, each) for each in self.tasks)


def sign(key: bytes, event_id: str, second: int, body: bytes) -> str:
    """The signature of Standard Webhooks: of id, time and body, by HMAC-SHA256."""
    text = f"{event_id}.{second}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()


class WebhookMiddleware(Middleware):
    """Enqueues a delivery for each event that an endpoint wants; derive from it beside the tasks.

    Attributes:
        endpoints: by name; the same as those of the `WebhookDelivery`.
        late_after: how much later than planned the run of a periodic task may begin (milliseconds or a timedelta).
    """

    everywhere: ClassVar[bool] = True
    priority: ClassVar[int] = 1  # around all others
    endpoints: ClassVar[Mapping[str, WebhookEndpoint]] = {}
    late_after: ClassVar[Duration] = 60_000
    # what enqueues has its own limits, and a job is not to blame that it was slow
    hook_timeout: ClassVar[Duration | None] = None

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        wanted = {event for each in cls.endpoints.values() for event in each.events}
        duration_s(cls.late_after, "late_after")
        # a middleware without hooks of runs takes no part in them
        for hook, event in (("pre_processor", LATE), ("post_processor", FINISHED)):
            if event not in wanted:
                setattr(cls, hook, getattr(Middleware, hook))

    async def pre_processor(self, call: TaskCall) -> None:
        """`schedule.late`, if it is."""
        planned = call.run.scheduled_at
        if planned is None:
            return
        planned_ms = to_ms(planned)
        late_ms = call.run.clock.now_ms() - planned_ms
        if late_ms > duration_s(self.late_after, "late_after") * 1000:
            data = {"planned": _iso(planned_ms), "late_ms": late_ms}
            await self._tell(LATE, call.task.name, call.run.queue, data)

    async def post_processor(self, call: TaskCall) -> None:
        """`job.finished`, unless it failed, or ended in another way."""
        run = call.run
        if call.error is None and run.outcome is None and not (run.vetoed or run.shadow):
            took_ms = int((SYSTEM_CLOCK.monotonic() - run.started) * 1000)
            await self._tell(FINISHED, call.task.name, run.queue, {"duration_ms": took_ms})

    async def on_failure(self, failure: JobFailure) -> None:
        """`job.failed`, if it is for good."""
        if failure.will_retry:
            return
        data = {
            "attempt": failure.attempt,
            "args": failure.args,
            "exception": failure.exception,
            "message": failure.message[:_MOST],
            "worker": failure.worker,
            **({"id": failure.id} if failure.id else {}),
        }
        await self._tell(FAILED, failure.name, failure.queue, data)

    async def _tell(self, event: str, task: str, queue: str, data: Mapping[str, Any]) -> None:
        if task == TASK_NAME:  # a receiver that is away is not told that it is
            return
        for name, endpoint in self.endpoints.items():
            if endpoint.wants(event, task):
                told = {
                    "type": event,
                    "timestamp": _iso(SYSTEM_CLOCK.now_ms()),
                    "data": {"task": task, "queue": queue, **data},
                }
                inputs = {
                    "endpoint": name,
                    "event_id": f"evt_{secrets.token_hex(12)}",
                    "event": _fit(told),
                }
                try:
                    done = await api.tasks.enqueue(TASK_NAME, inputs)
                    why = "" if done else "a plugin or middleware forbade it"
                except Exception as error:  # whatever a hook raises: the job itself is not to blame
                    why = errors.told(error)
                if why:
                    _log.error("the webhook %s for %r was not enqueued: %s", event, name, why)


def _is_url(url: object) -> bool:
    if not isinstance(url, str) or not url.isascii() or re.search(r"[^!-~]", url):
        return False
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    known = parts.scheme in ("http", "https") and port != 0
    return known and bool(parts.hostname) and "@" not in parts.netloc


def _fit(value: Any) -> Any:
    """A value as JSON that may be enqueued: messages, and arguments of foreign jobs, may hold anything."""
    if explain(value) is None:
        return value
    if isinstance(value, dict):
        return {str(_fit(str(key))): _fit(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_fit(each) for each in value]
    return str(value).encode("utf-8", "backslashreplace").decode()


class WebhookDelivery(Task):
    """The task that delivers; derive from it beside the middleware. It is retried eight times, within a day.

    Its `time_limit`, unless it has another, is a second more than the longest timeout of its endpoints: that ends
    what answers a little at a time.
    """

    name = TASK_NAME
    endpoints: ClassVar[Mapping[str, WebhookEndpoint]] = {}
    retry: ClassVar[Any] = {
        "retry_limit": len(_AGAIN_MS) + 1,
        "backoff_strategy": _AGAIN_MS,
        "retry_jitter": 0.2,
        "retry_exceptions": [WebhookRefused, errors.JobTimeout, OSError, http.client.HTTPException],
    }

    def __init_subclass__(cls, **more: Any) -> None:
        super().__init_subclass__(**more)
        if cls.endpoints and cls.time_limit is None:
            longest_s = max(duration_s(each.timeout, "timeout") for each in cls.endpoints.values())
            cls.time_limit = timedelta(seconds=longest_s + 1)

    def run(self, endpoint: str, event_id: str, event: dict[str, Any]) -> int:
        """Post an event; the status of the answer.

        Raises:
            WebhookGone: it answered 410.
            WebhookRefused: it answered with another status than 2xx.
            UsageError: there is no endpoint of that name.
            OSError: it can't be reached in time.
        """
        to = self.endpoints.get(endpoint)
        if to is None:
            near = near_match(endpoint, self.endpoints)
            raise UsageError(f"there is no endpoint {endpoint!r} for webhooks{near}")
        body = codec.encode_text(event)
        status = _post(to, event_id, body)
        if status == http.client.GONE:
            raise WebhookGone(f"{_place(to)} answered 410: it wants no more events; remove it")
        if not 200 <= status < 300:
            raise WebhookRefused(f"{_place(to)} answered {status}")
        return status


def _post(to: WebhookEndpoint, event_id: str, body: bytes) -> int:
    parts, second = urlsplit(to.url), SYSTEM_CLOCK.now_ms() // 1000
    timeout_s = duration_s(to.timeout, "the timeout of a WebhookEndpoint")
    host, port = parts.hostname or "", parts.port
    connection = (
        http.client.HTTPSConnection(
            host, port, timeout=timeout_s, context=ssl.create_default_context()
        )
        if parts.scheme == "https"
        else http.client.HTTPConnection(host, port, timeout=timeout_s)
    )
    headers = {
        "content-type": "application/json",
        "user-agent": "resqpy",
        "webhook-id": event_id,
        "webhook-timestamp": str(second),
        "webhook-signature": sign(to.key(), event_id, second, body),
    }
    try:
        path = parts.path or "/"
        connection.request("POST", f"{path}?{parts.query}" if parts.query else path, body, headers)
        return connection.getresponse().status
    finally:
        connection.close()


def _place(to: WebhookEndpoint) -> str:
    """Where it is, without what may be secret in its path or query."""
    parts = urlsplit(to.url)
    return f"{parts.scheme}://{parts.netloc}"


def _iso(at_ms: int) -> str:
    return to_datetime(at_ms).isoformat(timespec="milliseconds")
