"""`/api/v1/limits`: what `resqpy limits` does."""

from __future__ import annotations

import json
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.web.asking import ApiClient
from tests.web.test_api_reads import is_problem
from tests.web.test_limits_page import JOB, rules
from tests.web.test_pages import audit


@pytest.fixture(autouse=True)
async def _limits(redis: Redis) -> None:
    """A queue, a limit of a task and each value of an input, and a job that waits for one."""
    await redis.sadd("resque:queues", "mail", "a/b")
    await redis.hset(
        "resque:resqpy:limits", mapping={"{task}Send": "Send:to\tto", "{limit}Send:to": "2"}
    )
    await redis.zadd("resque:resqpy:limits:parked", {"Send:to=ada\nmail": 1_700_000_000_000})
    await redis.sadd("resque:resqpy:limits:queues:Send:to=ada", "mail")
    await redis.rpush("resque:resqpy:limits:jobs:11:Send:to=ada:mail", JOB)


async def test_limits_are_shown(api: ApiClient) -> None:
    """In pages; values of inputs not to viewers."""
    await api("PUT /limits/queues/mail", {"limit": 3})
    shown = (await api("GET /limits")).json["data"]
    first = (await api("GET /limits?size=2", scopes=["read"])).json
    rest = (await api(f"GET /limits?size=2&cursor={first['next']}", scopes=["read"])).json

    assert shown[0] == {"queue": "mail", "limit": 3, "running": [], "foreign": {}, "waiting": 1}
    assert [(each.get("key"), each["limit"], each["waiting"]) for each in shown[1:]] == [
        ("Send:to", 2, 0), ("Send:to=ada", 2, 1),
    ]  # fmt: skip
    assert (shown[2]["parked"], shown[2]["since"][:10]) == ({"mail": 1}, "2023-11-14")
    assert [each.get("key", each.get("queue")) for each in first["data"] + rest["data"]] == [
        "mail", "Send:to", "Send:to=…",
    ]  # fmt: skip
    assert rest["next"] is None


async def test_limits_are_set_shut_opened_and_removed(api: ApiClient, redis: Redis) -> None:
    """Of queues, tasks and keys; who it was is noted, with what was before."""
    key = "/limits/keys/Send:to=ada".replace("=", "%3D")
    told = [
        (await api(*line)).json
        for line in (
            ("PUT /limits/queues/mail", {"limit": 4}),
            ("PUT /limits/queues/~YS9i", {"limit": 1}),
            ("PUT /limits/keys/Send:to", {"limit": "10/1m/20"}),
            (f"PUT {key}", {"limit": 0}),
            ("PUT /limits/keys/New", {"limit": 1, "new": True}),
            (f"DELETE {key}",),
            ("DELETE /limits/queues/mail",),
        )
    ]
    shut = await api("POST /limits/keys/Send:to/shut", {"duration_ms": 60_000})
    was_shut = "{shut}Send:to" in await rules(redis)
    opened = await api("POST /limits/keys/Send:to/open")

    assert [(each["limit"], each["before"]) for each in told] == [
        (4, None), (1, None), ("10/60000/20", 2), (0, "10/60000/20"), (1, None), ("10/60000/20", 0), (None, 4),
    ]  # fmt: skip
    assert await rules(redis) == {
        "a/b": "1", "{limit}Send:to": "2", "{set}Send:to": "10/60000/20", "{set}New": "1", "{also}New": "New\t",
    }  # fmt: skip
    assert (shut.json["until"] > "2026", was_shut, opened.json) == (True, True, {"until": None})
    notes = await audit(redis)
    assert [(each["verb"], each["who"]) for each in notes] == [
        *[("limit", "t0")] * 5, *[("remove limit", "t0")] * 2, ("shut", "t0"), ("open", "t0"),
    ]  # fmt: skip
    assert (notes[3]["what"], json.loads(notes[3]["more"])) == (
        "limit Send:to=ada",
        {"limit": 0, "before": "10/60000/20"},
    )


async def test_jobs_that_wait_are_put_back(api: ApiClient, redis: Redis) -> None:
    """Of one queue, or all."""
    other = await api("POST /limits/put-back", {"queue": "other"})
    every = await api("POST /limits/put-back")

    assert (other.json, every.json) == ({"put_back": 0}, {"put_back": 1})
    assert await redis.lrange("resque:queue:mail", 0, -1) == [JOB.encode()]


@pytest.mark.parametrize(
    ("line", "body", "kind"),
    [
        ("PUT /limits/queues/mial", {"limit": 1}, "not-found"),
        ("PUT /limits/queues/mail", {"limit": -1}, "wrong-request"),
        ("PUT /limits/queues/mail", {"limit": 10_001}, "wrong-request"),
        ("PUT /limits/queues/mail", {"limit": 1.5}, "wrong-request"),
        ("PUT /limits/queues/mail", {"limit": None}, "wrong-request"),
        ("PUT /limits/queues/mail", {}, "wrong-request"),
        ("PUT /limits/queues/mail", {"limit": "many"}, "wrong-value"),
        ("PUT /limits/queues/mail", {"limit": "10001"}, "wrong-value"),
        ("PUT /limits/queues/mail", {"limit": "10/1m"}, "wrong-value"),
        ("PUT /limits/queues/mail^5", {"limit": 1, "new": True}, "wrong-value"),
        ("PUT /limits/keys/Send:to", {"limit": "0/1m"}, "wrong-value"),
        ("PUT /limits/keys/Snd:to", {"limit": 1}, "not-found"),
        ("PUT /limits/keys/a%7Bb", {"limit": 1, "new": True}, "wrong-value"),
        ("DELETE /limits/keys/Send:to", None, "not-found"),
        ("DELETE /limits/queues/mail", None, "not-found"),
        ("POST /limits/keys/None/shut", {"duration_ms": 1}, "not-found"),
        ("POST /limits/keys/Send:to/shut", {"duration_ms": 0}, "wrong-request"),
        ("POST /limits/keys/Send:to/open", None, "not-found"),
    ],
)
async def test_what_is_wrong_changes_nothing(
    api: ApiClient, redis: Redis, line: str, body: Any, kind: str
) -> None:
    """It is a problem with a name, and where a value is wrong a pointer."""
    before = await rules(redis)
    answer = await api(line, body)
    assert is_problem(answer, kind)
    assert (await rules(redis), await audit(redis)) == (before, [])
    if body and body.get("limit") == "many":
        assert answer.json["errors"][0]["pointer"] == "/limit"
    if "mial" in line:
        assert answer.json["near"] == "mail"


async def test_readers_change_nothing(api: ApiClient, redis: Redis) -> None:
    """Nor does a console that may not write."""
    from dataclasses import replace

    refused = await api("PUT /limits/queues/mail", {"limit": 1}, scopes=["read"])
    await api.token("operate")
    api.app.options = replace(api.app.options, read_only=True)
    unwritten = await api("PUT /limits/queues/mail", {"limit": 1})
    assert (refused.status, unwritten.status) == (403, 403)
    assert "mail" not in await rules(redis)
