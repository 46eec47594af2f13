"""`GET /events`: what happens is told to all who watch, by one subscription, and only while somebody watches."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from unittest.mock import patch

import pytest
from redis.asyncio import Redis
from starlette.types import Message

from resqpy.web import live
from tests.support.waiting import wait_for as until
from tests.web.asking import ApiClient, scope_of


class Stream:
    """A stream of events that is read as it comes."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()
        self.ended = False
        self.status = 0
        self.headers: dict[str, str] = {}
        self.text = ""

    async def receive(self) -> Message:
        """Nothing, until the client goes."""
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Take a part."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {n.decode(): v.decode() for n, v in message["headers"]}
            return
        self.text += message.get("body", b"").decode()
        self.ended = not message.get("more_body", False)

    def events(self, kind: str) -> list[Any]:
        """The events of a kind so far."""
        found = []
        for part in self.text.split("\n\n")[:-1]:
            fields = dict(line.split(": ", 1) for line in part.splitlines() if ": " in line)
            if fields.get("event") == kind:
                found.append(json.loads(fields["data"]))
        return found


@asynccontextmanager
async def watched(api: ApiClient, path: str = "/events", **headers: str) -> AsyncIterator[Stream]:
    """A client that watches; it goes with the block."""
    token, stream = await api.token("operate"), Stream()
    sent = {"authorization": f"Bearer {token}", **headers}
    scope = scope_of("GET", api.base + path, sent)
    running = asyncio.create_task(api.app(scope, stream.receive, stream.send))
    try:
        await until(lambda: bool(stream.text) or running.done())
        yield stream
    finally:
        stream.gone.set()
        await running


async def test_a_watcher_hears_of_tasks_and_numbers(api: ApiClient, redis: Redis) -> None:
    """Each with an id; secrets are hidden."""
    async with watched(api) as stream:
        assert (stream.status, stream.headers["content-type"]) == (
            200,
            "text/event-stream; charset=utf-8",
        )
        await until(lambda: bool(stream.events("counts")))
        body = {"type": "Mail", "payload": {}, "delay_ms": 3_600_000}
        made = (await api("POST /tasks", body)).json
        await until(lambda: len(stream.events("task")) >= 1)
        await redis.publish("resque:resqpy:events", '{"type":"x","content":{"password":"hunter2"}}')
        await until(lambda: len(stream.events("task")) >= 2)

    told = stream.events("task")
    assert told[0]["content"]["id"] == made["id"]
    assert "hunter2" not in stream.text
    assert stream.events("counts")[0]["waiting"] == 0
    assert "id: " in stream.text
    assert stream.text.startswith("retry: 5000\n\n")


async def test_only_one_subscription_and_none_when_nobody_watches(
    api: ApiClient, redis: Redis
) -> None:
    """However many watch."""

    async def subscribers() -> int:
        return int((await redis.pubsub_numsub("resque:resqpy:events"))[0][1])

    async with watched(api) as one, watched(api) as two, watched(api) as three:
        await until(lambda: all(each.events("counts") for each in (one, two, three)))
        assert await subscribers() == 1
    for _ in range(500):
        if not await subscribers():
            break
        await asyncio.sleep(0.02)

    assert await subscribers() == 0
    assert api.app.live._poll is None


async def test_a_task_can_be_watched_alone(api: ApiClient, redis: Redis) -> None:
    """By its id."""
    made = [(await api("POST /tasks", {"type": "Mail", "delay_ms": 3_600_000})).json for _ in "ab"]

    async with watched(api, f"/events?task={made[1]['id']}") as stream:
        await until(lambda: api.app.live._poll is not None)
        for each in made:
            await api(f"POST /tasks/{each['id']}/cancel")
        await until(lambda: bool(stream.events("task")))

    assert {each["content"]["id"] for each in stream.events("task")} == {made[1]["id"]}


async def test_who_connects_again_is_to_read_again(api: ApiClient) -> None:
    """Redis keeps no events."""
    async with watched(api, **{"last-event-id": "1-1"}) as stream:
        await until(lambda: bool(stream.events("resync")))

    assert stream.events("resync") == [{"why": "events are not kept"}]


async def test_who_is_too_slow_is_to_read_again() -> None:
    """Instead of what it can't follow."""
    watcher = live.Watcher()
    for number in range(1500):
        watcher.put(("task", {"number": number}))

    kinds = [watcher.waiting.get_nowait()[0] for _ in range(watcher.waiting.qsize())]

    assert kinds[0] == "resync"
    assert len(kinds) < 1000


async def test_no_more_streams_than_there_may_be(api: ApiClient) -> None:
    """The others are told to come back."""
    with patch.object(live, "MOST", 1):
        async with watched(api) as stream:
            await until(lambda: bool(stream.events("counts")))
            answer = await api("GET /events")

    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert answer.json["type"].endswith("too-many-streams")


async def test_streams_end_with_the_process(api: ApiClient) -> None:
    """At once, so that the server does not wait for them."""
    async with watched(api) as one, watched(api) as two:
        await until(lambda: all(each.events("counts") for each in (one, two)))
        api.app.live.end()
        await until(lambda: one.ended and two.ended)

    assert (await api("GET /events")).status == 503


async def test_a_stream_ends_with_the_token(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked at as often as nothing happens."""
    monkeypatch.setattr("resqpy.web.api.events._LOOK_S", 0.05)
    async with watched(api) as stream:
        await until(lambda: ": still here" in stream.text)
        await api.app.resque.store.call("DEL", api.app.resque.store.keys.web_tokens)
        await until(lambda: stream.ended)


async def test_a_stream_on_which_much_happens_ends_with_the_token_too(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events put off no look at whether it may go on."""
    monkeypatch.setattr("resqpy.web.api.events._LOOK_S", 0.05)
    async with watched(api) as stream:
        await until(lambda: bool(stream.events("counts")))
        await api.app.resque.store.call("DEL", api.app.resque.store.keys.web_tokens)

        def more() -> bool:
            api.app.live._tell(("task", {"type": "x"}))
            return stream.ended

        await until(more)


async def test_prometheus_and_probes_are_answered(api: ApiClient, redis: Redis) -> None:
    """Numbers for a token with the scope, and for anybody whether Redis answers."""
    await redis.rpush("resque:queue:mail", "{}")
    await redis.sadd("resque:queues", "mail")

    numbers = await api("GET /metrics", scopes=["metrics"])
    ready = await api("GET /ready", scopes=())

    assert b'resqpy_queue_jobs{queue="mail"} 1' in numbers.content
    assert numbers.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert (ready.status, ready.content) == (204, b"")


async def test_a_stream_that_can_t_begin_says_so(api: ApiClient) -> None:
    """Also a look at its head, which is no stream."""
    token = await api.token("read")
    head = await api("HEAD /events", scopes=(), headers={"authorization": f"Bearer {token}"})

    assert (head.status, head.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert api.app.live._poll is None


async def test_a_lost_connection_is_told_when_it_is_back(api: ApiClient, redis: Redis) -> None:
    """What happened in between was not heard."""
    async with watched(api) as stream:
        await until(lambda: bool(stream.events("counts")))
        await redis.client_kill_filter(_type="pubsub")
        await until(lambda: bool(stream.events("resync")))
        await api("POST /tasks", {"type": "Mail", "delay_ms": 3_600_000})
        await until(lambda: bool(stream.events("task")))

    assert stream.events("resync") == [{"why": "the connection to Redis was lost"}]
