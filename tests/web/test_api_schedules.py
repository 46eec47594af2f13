"""Schedules that are made, changed and removed by the API."""

from __future__ import annotations

import json
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy import task
from resqpy.framework.project.registry import registry_of
from resqpy.web.app import Console
from tests.web.asking import ApiClient
from tests.web.conftest import MakeConsole, text_of
from tests.web.test_pages import audit


@task(name="report", queue="reports")
def report(month: str, password: str = "") -> None:
    """A task."""


@pytest.fixture
async def api(make_console: MakeConsole) -> ApiClient:
    """The API of a console that knows a task."""
    console: Console = make_console(registry=registry_of(report), timezone="Europe/Berlin")
    await console.open()
    return ApiClient(console)


NIGHTLY = {
    "name": "nightly",
    "task": "report",
    "inputs": {"month": "10", "password": "canary-1"},
    "cron": "0 3 * * *",
}


async def stored(redis: Redis) -> dict[str, Any]:
    """The schedules as Ruby reads them."""
    found = await redis.hgetall("resque:persistent_schedules")
    return {text_of(name): json.loads(raw) for name, raw in found.items()}


async def test_a_schedule_is_added_changed_and_removed(api: ApiClient, redis: Redis) -> None:
    """Where all schedulers see it; each change is noted, and secrets are shown to nobody."""
    made = await api("POST /schedules", NIGHTLY)
    assert (made.status, made.json["name"], made.json["before"]) == (201, "nightly", None)
    entry = {
        "class": "report",
        "queue": "reports",
        "args": [NIGHTLY["inputs"]],
        "cron": "0 3 * * * Europe/Berlin",
    }
    assert await stored(redis) == {"nightly": entry}
    assert b"canary-1" not in made.content
    assert [each["name"] for each in (await api("GET /schedules")).json["data"]] == ["nightly"]

    changed = await api(
        "PATCH /schedules/nightly", {"every_ms": 3_600_000, "description": "now and then"}
    )
    assert changed.status == 200
    del entry["cron"]
    assert await stored(redis) == {
        "nightly": {**entry, "every": "3600s", "description": "now and then"}
    }
    same = await api("PATCH /schedules/nightly", {})
    assert same.json["before"] == same.json["after"]

    removed = await api("DELETE /schedules/nightly")
    assert (removed.status, removed.json["after"]) == (200, None)
    assert await stored(redis) == {}
    told = [(each["verb"], each["what"]) for each in await audit(redis)]
    assert told == [(verb, "schedule nightly") for verb in ("add", "change", "change", "remove")]
    assert "canary-1" not in str(await audit(redis))


async def test_a_class_of_another_language(api: ApiClient, redis: Redis) -> None:
    """With its queue, and arguments as it takes them."""
    given = {
        "name": "ruby",
        "task": "Ruby::Job",
        "foreign": True,
        "queue": "rails",
        "args": [1, "x"],
        "every_ms": 60_000,
    }
    assert (await api("POST /schedules", given)).status == 201
    assert await stored(redis) == {
        "ruby": {"class": "Ruby::Job", "queue": "rails", "args": [1, "x"], "every": "60s"}
    }


@pytest.mark.parametrize(
    ("asked", "body", "status", "kind", "near"),
    [
        ("POST /schedules", {**NIGHTLY, "task": "reprt"}, 422, "wrong-value", "report"),
        ("POST /schedules", {**NIGHTLY, "inputs": {"mnth": "1"}}, 422, "wrong-value", "month"),
        ("POST /schedules", {**NIGHTLY, "corn": "x"}, 400, "wrong-request", "cron"),
        ("POST /schedules", {**NIGHTLY, "cron": "0 99 * * *"}, 422, "wrong-value", ""),
        ("POST /schedules", {**NIGHTLY, "timezone": "Europe/Berln"}, 422, "wrong-value", "Europe/Berlin"),
        ("POST /schedules", {**NIGHTLY, "args": []}, 422, "wrong-value", ""),
        ("POST /schedules", {"name": "x", "task": "report"}, 422, "wrong-value", ""),
        ("POST /schedules", {**NIGHTLY, "name": "other"}, 409, "exists", ""),
        ("PATCH /schedules/othr", {"every_ms": 1000}, 404, "not-found", "other"),
        ("DELETE /schedules/othr", None, 404, "not-found", "other"),
        ("PATCH /schedules/other", {"every_ms": 1000, "cron": "* * * * *"}, 422, "wrong-value", ""),
    ],
)  # fmt: skip
async def test_what_is_wrong_is_said(
    api: ApiClient, redis: Redis, *, asked: str, body: Any, status: int, kind: str, near: str
) -> None:
    """With the near match; nothing is written, nothing noted."""
    await redis.hset(
        "resque:persistent_schedules", "other", '{"class":"X","queue":"q","every":"1h"}'
    )
    answer = await api(asked, body)
    assert (answer.status, answer.json["type"]) == (status, f"urn:resqpy:problem:{kind}"), (
        answer.json
    )
    assert answer.json.get("near", "") == near, answer.json
    assert (await stored(redis)).keys() == {"other"}
    assert await audit(redis) == []


async def test_who_may(api: ApiClient) -> None:
    """Operators."""
    assert (await api("POST /schedules", NIGHTLY, scopes=["read", "enqueue"])).status == 403
    assert (await api("DELETE /schedules/x", scopes=["read"])).status == 403
