"""`GET /events`: what happens, as server-sent events; and the numbers for Prometheus."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.concurrency.own_tasks import first_of
from resqpy.base.errors import OutcomeUnknown, StoreError, StoreUnavailable
from resqpy.framework.process.metrics import CONTENT_TYPE, render
from resqpy.web.api.endpoint import Answer, ApiEndpoint, Call, Parameter
from resqpy.web.api.problems import ApiProblem
from resqpy.web.api.serving import encoded
from resqpy.web.live import END, RESYNC, TASK, Event, LiveEvents, Watcher

_LOOK_S = 15.0  # after which it is looked whether who asks may still watch; a comment keeps the connection
_NOTHING = ""  # has happened
_RETRY_MS = 5000  # after which a browser connects again

LAST = Parameter(
    "Last-Event-ID",
    {"type": "string", "maxLength": 100},
    "The id of the last event that was seen: the stream begins with `resync`, since events are not kept.",
    "header",
)
ID_FILTER = Parameter(
    "task",
    {"type": "string", "minLength": 1, "maxLength": 200},
    "Only events of this tracked task.",
)


class EventStream(Response):
    """A response that goes on until its events end or the client goes.

    Args:
        events: the bytes that are sent.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes, None]) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        await first_of(self._sent(send), _gone(receive))

    async def _sent(self, send: Send) -> None:
        async with aclosing(self._events) as events:
            async for each in events:
                await send({"type": "http.response.body", "body": each, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _events(call: Call) -> Answer:
    live: LiveEvents = call.visit.console.live
    if live.full or live.ended:
        raise ApiProblem(
            "too-many-streams", "connect again in a moment", headers={"Retry-After": "5"}
        )
    began = await call.parts.resque.store.time_us() // 1000  # so that 503 is said while it can be
    if call.visit.request.method == "HEAD":
        return Answer(response=Response(media_type=EventStream.media_type))
    return Answer(response=EventStream(_stream(call, live, began)))


async def _stream(call: Call, live: LiveEvents, began: int) -> AsyncGenerator[bytes, None]:
    number = 0
    yield f"retry: {_RETRY_MS}\n\n".encode()
    if LAST.name in call.values:
        yield _text(f"{began}-0", RESYNC, {"why": "events are not kept"})
    async with aclosing(_heard(call, live)) as events:
        async for kind, told in events:
            number += 1
            if kind == _NOTHING:
                yield b": still here\n\n"
            elif _wanted(call, kind, told):
                yield _text(f"{began}-{number}", kind, call.parts.redaction.shown(told))


async def _heard(call: Call, live: LiveEvents) -> AsyncGenerator[Event, None]:
    """The events until the end; a stream that Redis does not let begin ends, and its client tries again."""
    looks = _Looks(call)
    with contextlib.suppress(StoreError):
        async with live.watching() as watcher:
            while (event := await looks.next(watcher))[0] != END:
                yield event


class _Looks:
    """Looks from time to time whether who asks may still watch, whatever happens meanwhile."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._next_s = SYSTEM_CLOCK.monotonic() + _LOOK_S

    async def next(self, watcher: Watcher) -> Event:
        """The next event; nothing if there is none for a while; the end where they may not."""
        left_s = self._next_s - SYSTEM_CLOCK.monotonic()
        if left_s > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    return await watcher.waiting.get()
        self._next_s = SYSTEM_CLOCK.monotonic() + _LOOK_S
        may = await self._call.visit.still_may(*self._call.endpoint.scopes)
        return (_NOTHING if may else END), {}


def _wanted(call: Call, kind: str, told: Any) -> bool:
    wanted = call.values.get(ID_FILTER.name)
    if wanted is None or kind == RESYNC:
        return True
    content = told.get("content") if kind == TASK else None
    return isinstance(content, dict) and content.get("id") == wanted


def _text(event_id: str, kind: str, told: Any) -> bytes:
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (event_id.encode(), kind.encode(), encoded(told))


# -- for Prometheus and probes --


async def _metrics(call: Call) -> Answer:
    metrics = await call.visit.console.installation.metrics()
    return Answer(response=Response(render(metrics), media_type=CONTENT_TYPE))


async def _ready(call: Call) -> Answer:
    try:
        await call.parts.resque.store.time_us()
    except (StoreUnavailable, OutcomeUnknown) as error:
        raise ApiProblem(
            "redis-away", "Redis does not answer", headers={"Retry-After": "5"}
        ) from error
    return Answer(status=204)


EVENTS = [
    ApiEndpoint("GET", "/events", ("read",), "What happens, as server-sent events: `task` (a tracked task has "
                "another status), `counts` (numbers have changed), `resync` (events may have been missed: read "
                "again).", _events, (ID_FILTER, LAST), answer=None, problems=("too-many-streams",)),
    ApiEndpoint("GET", "/metrics", ("metrics", "read"), "The installation's numbers for Prometheus.", _metrics,
                answer=None),
    ApiEndpoint("GET", "/ready", (), "Whether Redis answers, for probes. Needs no token.", _ready, answer=None,
                status=204),
]  # fmt: skip
