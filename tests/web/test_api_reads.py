"""What `/api/v1` shows: checked requests, pages that survive a moving list, nothing hidden shown."""

from __future__ import annotations

import json
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy import task
from resqpy.base import codec
from resqpy.base.queue_age import QueueAge
from resqpy.framework.project.registry import registry_of
from resqpy.store.connection.options import RedisOptions
from tests.web.asking import ApiClient, Reply
from tests.web.conftest import Browser, MakeConsole

CANARY = "canary-7391"


async def fill(redis: Redis) -> None:
    """Some of everything, with a secret in it."""
    await redis.sadd("resque:queues", "mail", "a/b", b"br\xff")
    for number in range(7):
        await redis.rpush("resque:queue:mail", job(number))
    await redis.rpush("resque:queue:a/b", job(0))
    for number in range(12):
        await redis.rpush("resque:failed", failed(number))
    await redis.zadd("resque:delayed_queue_schedule", {"1900000000": 1900000000, "junk": 1})
    await redis.rpush("resque:delayed:1900000000", job(1), job(2))
    await redis.sadd("resque:workers", "h:1:mail")
    record = {"queue": "mail", "run_at": "2026-11-30T00:00:00Z", "payload": json.loads(job(3))}
    await redis.set("resque:worker:h:1:mail", json.dumps(record))


def job(number: int) -> str:
    """A job with a secret."""
    args = [{"number": number, "to": CANARY, "password": "hunter2"}]
    return json.dumps({"class": "Mail", "queue": "mail", "args": args})


def failed(number: int) -> str:
    """A failed job."""
    return json.dumps(
        {
            "failed_at": f"2026/11/30 00:00:{number:02} UTC",
            "payload": json.loads(job(number)),
            "exception": "Timeout" if number % 2 else "KeyError",
            "error": f'number {number} {{"password": "hunter2"}}',
            "backtrace": ["a.py:1", '"token": "hunter2"'],
            "worker": "h:1:mail",
            "queue": "mail",
        }
    )


READS = (
    "/health", "/overview", "/queues", "/queues/mail", "/queues/mail/jobs", "/failed", "/failed/groups",
    "/delayed", "/schedules", "/workers", "/history", "/history?period=30d",
)  # fmt: skip


@pytest.mark.parametrize("path", READS)
async def test_secrets_are_in_no_answer(api: ApiClient, redis: Redis, path: str) -> None:
    """And arguments in none for a viewer."""
    await fill(redis)

    operator, viewer = await api(f"GET {path}"), await api(f"GET {path}", scopes=["read"])

    assert (operator.status, viewer.status) == (200, 200)
    assert b"hunter2" not in operator.content
    assert b"hunter2" not in viewer.content
    assert CANARY.encode() not in viewer.content


async def test_since_when_jobs_wait(api: ApiClient, redis: Redis) -> None:
    """As far as a leader of resqpy knows it; else null."""
    await redis.sadd("resque:queues", "mail")
    await redis.rpush("resque:queue:mail", job(1))
    unknown = (await api("GET /queues/mail")).json
    now_ms = (await redis.time())[0] * 1000
    age = QueueAge(now_ms, 1, now_ms - 3_600_000, 1000, "at_most", 1, 0, 0.5, 0.25, counted=True)
    await redis.hset("resque:resqpy:ages", mapping={"": now_ms, "mail": age.text()})
    known = (await api("GET /queues/mail")).json
    [listed] = (await api("GET /queues")).json["data"]

    facts = [
        name for name in unknown if name not in {"name", "waiting", "limit", "running", "pause"}
    ]
    assert len(facts) == 7
    assert [unknown[name] for name in facts] == [None] * 7
    assert 3_600_000 <= known["age_ms"] < 3_700_000
    assert (known["age_accuracy"], known["age_within_ms"]) == ("at_most", 1000)
    assert (known["rates_complete"], known["drain_s"]) == (True, None)
    assert 0 < known["departures_s"] <= 0.25
    assert listed.keys() == known.keys()


@task
def login(user: str, password: str, /) -> None:
    """By position."""


PAGES = ("/queues/mail", "/delayed/1900000000", "/failed/entries", "/workers")


@pytest.mark.parametrize("more", [[], [1]])
async def test_secrets_by_position_are_in_no_answer(
    make_console: MakeConsole, redis: Redis, more: list[Any]
) -> None:
    """Nor on a page: the task knows them, whether or not the arguments fit."""
    console = make_console(registry=registry_of(login))
    await console.open()
    api = ApiClient(console)
    made = {"class": "login", "queue": "mail", "args": ["ann", "hunter2", *more]}
    text = json.dumps(made)
    await redis.sadd("resque:queues", "mail")
    await redis.rpush("resque:queue:mail", text)
    await redis.rpush(
        "resque:failed", json.dumps({"payload": made, "queue": "mail", "error": "no"})
    )
    await redis.zadd("resque:delayed_queue_schedule", {"1900000000": 1900000000})
    await redis.rpush("resque:delayed:1900000000", text)
    await redis.sadd("resque:workers", "h:1:mail")
    record = {"queue": "mail", "run_at": "2026-11-30T00:00:00Z", "payload": made}
    await redis.set("resque:worker:h:1:mail", json.dumps(record))

    [entry] = (await api("GET /failed")).json["data"]
    answers = [(path, await api(f"GET {path}")) for path in (*READS, f"/failed/{entry['id']}")]
    shown = [(path, each.status, each.content) for path, each in answers]
    async with Browser(console) as admin:
        await admin.sign_in(console)
        for path in (*PAGES, f"/failed/entries/{entry['id']}"):
            page = await admin.get(path)
            shown.append((path, page.status_code, page.content))
    assert [path for path, status, text in shown if status != 200 or b"hunter2" in text] == []
    assert sum(b"[FILTERED]" in text for _, _, text in shown) >= 9


async def test_what_else_a_job_carries_is_hidden_from_viewers(api: ApiClient, redis: Redis) -> None:
    """Such as the context that travels with it; an operator sees it."""
    text = json.dumps({**json.loads(job(0)), "context": {"user": CANARY}, CANARY: 1})
    await redis.sadd("resque:queues", "mail")
    await redis.rpush("resque:queue:mail", text, "{")
    await redis.zadd("resque:delayed_queue_schedule", {"1900000000": 1900000000})
    await redis.rpush("resque:delayed:1900000000", text)

    for path in ("/queues/mail/jobs", "/delayed"):
        assert CANARY.encode() not in (await api(f"GET {path}", scopes=["read"])).content
        assert CANARY.encode() in (await api(f"GET {path}")).content
    shown = (await api("GET /queues/mail/jobs", scopes=["read"])).json["data"]
    assert shown[0] == {
        "at": 0, "id": codec.digest(text.encode()), "class": "Mail", "queue": "mail", "args": "[FILTERED]",
    }  # fmt: skip
    assert set(shown[1]) == {"at", "id", "queue", "problem", "bytes"}


async def test_an_operator_sees_arguments(api: ApiClient, redis: Redis) -> None:
    """But those that are hidden everywhere."""
    await fill(redis)

    jobs = (await api("GET /queues/mail/jobs?size=1")).json["data"]

    assert jobs[0]["args"] == [{"number": 0, "to": CANARY, "password": "[FILTERED]"}]
    assert jobs[0]["id"] == codec.digest(job(0).encode())


@pytest.mark.parametrize("path", READS)
async def test_each_needs_a_token(api: ApiClient, path: str) -> None:
    """With a scope."""
    nobody = await api(f"GET {path}", scopes=())
    other = await api(f"GET {path}", scopes=["tasks:read"])

    assert (nobody.status, nobody.headers["www-authenticate"]) == (401, "Bearer")
    assert (other.status, is_problem(other, "no-scope")) == (403, True)


def is_problem(answer: Reply, kind: str) -> bool:
    """Whether it is a problem of this kind, in RFC 9457's form."""
    right = answer.headers["content-type"] == "application/problem+json"
    body = answer.json
    return (
        right
        and body["type"] == f"urn:resqpy:problem:{kind}"
        and body["status"] == answer.status
        and bool(body["title"])
        and bool(body["detail"])
    )


@pytest.mark.parametrize(
    ("request_", "status", "kind", "near"),
    [
        ("GET /queues?sise=3", 400, "wrong-request", "size"),
        ("GET /queues?size=x", 400, "wrong-request", None),
        ("GET /queues?size=501", 400, "wrong-request", None),
        ("GET /queues?size=1&size=2", 400, "wrong-request", None),
        ("GET /queues?name=%ff", 400, "wrong-request", None),
        ("GET /queues?cursor=x", 400, "wrong-cursor", None),
        ("GET /queue", 404, "unknown-path", "/queues"),
        ("GET /queues/mial", 404, "not-found", "mail"),
        ("GET /queues/~%%%", 404, "not-found", None),
        ("GET /failed?list=queues", 404, "not-found", None),
        ("GET /failed/0000", 400, "wrong-request", None),
        (f"GET /failed/{'0' * 40}", 404, "not-found", None),
        ("DELETE /queues", 405, "wrong-method", None),
        ("PUT /queues", 405, "wrong-method", None),
        ("OPTIONS /queues/mail", 405, "wrong-method", None),
    ],
)
async def test_what_is_wrong_is_named(
    api: ApiClient, redis: Redis, request_: str, status: int, kind: str, near: str | None
) -> None:
    """With the name that was probably meant."""
    await fill(redis)

    answer = await api(request_)

    assert (answer.status, answer.json.get("near")) == (status, near)
    assert is_problem(answer, kind)
    assert answer.headers.get("allow") == ALLOWED.get(request_)


ALLOWED = {
    "DELETE /queues": "GET",
    "PUT /queues": "GET",
    "OPTIONS /queues/mail": "DELETE, GET",
}


@pytest.mark.parametrize("part", ["a%2Fb", "~YS9i", "br%FF", "~YnL_"])
async def test_any_name_has_a_path(api: ApiClient, redis: Redis, part: str) -> None:
    """As base64, whatever is in it."""
    await fill(redis)

    answer = await api(f"GET /queues/{part}")

    if part.startswith("~"):
        assert (answer.status, answer.json["waiting"]) == (200, 1 if "YS9i" in part else 0)
    else:  # servers decode these before we see them
        assert answer.status == 404


async def pages(api: ApiClient, path: str) -> list[list[Any]]:
    """All pages of a list."""
    found, cursor = [], ""
    while True:
        answer = await api(f"GET {path}{cursor}")
        assert answer.status == 200, answer.content
        found.append(answer.json["data"])
        if answer.json["next"] is None:
            return found
        cursor = f"&cursor={answer.json['next']}"


@pytest.mark.parametrize(
    ("path", "sizes"),
    [
        ("/queues?size=2", [2, 1]),
        ("/queues/mail/jobs?size=3", [3, 3, 1]),
        ("/failed?size=5", [5, 5, 2]),
        ("/failed?size=4&exception=Timeout", [4, 2]),
        ("/delayed?size=1", [0, 1]),
        ("/workers?size=1", [1]),
    ],
)
async def test_pages_have_all_of_it_once(
    api: ApiClient, redis: Redis, path: str, sizes: list[int]
) -> None:
    """From cursor to cursor."""
    await fill(redis)

    found = await pages(api, path)

    assert [len(page) for page in found if page] == [size for size in sizes if size]
    shown = [json.dumps(each) for page in found for each in page]
    assert len(shown) == len({*shown})


async def test_a_page_goes_on_where_the_list_has_moved(api: ApiClient, redis: Redis) -> None:
    """Failed jobs are popped from the head and appended at the tail meanwhile: none is shown twice."""
    await fill(redis)
    first = (await api("GET /failed?size=5")).json

    await redis.lpop("resque:failed", 3)
    await redis.rpush("resque:failed", failed(50), failed(51))
    second = (await api(f"GET /failed?size=5&cursor={first['next']}")).json

    numbers = [each["args"][0]["number"] for each in first["data"] + second["data"]]
    assert numbers == [11, 10, 9, 8, 7, 6, 5, 4, 3]
    assert second["next"] is None


async def test_a_list_that_is_another_one_is_said(api: ApiClient, redis: Redis) -> None:
    """Rather than a page that has some twice."""
    await fill(redis)
    first = (await api("GET /queues/mail/jobs?size=2")).json
    await redis.delete("resque:queue:mail")
    await redis.rpush("resque:queue:mail", *map(job, range(20, 40)))

    answer = await api(f"GET /queues/mail/jobs?size=2&cursor={first['next']}")

    assert answer.status == 410
    assert is_problem(answer, "list-changed")


async def test_an_entry_is_found_by_its_digest(api: ApiClient, redis: Redis) -> None:
    """With a hint, where it was, or without."""
    await fill(redis)
    entry = (await api("GET /failed?size=1")).json["data"][0]
    await redis.lpop("resque:failed", 2)

    hinted = await api(f"GET /failed/{entry['id']}?at={entry['at']}")
    plain = await api(f"GET /failed/{entry['id']}")

    assert hinted.json == plain.json
    assert (plain.json["args"][0]["number"], plain.json["backtrace"][0]) == (11, "a.py:1")


async def test_a_redis_that_is_away_is_said(api: ApiClient) -> None:
    """Nothing was done; and nobody was let in."""
    token = await api.token("read")
    await api.app.close()
    api.app._connection = lambda: RedisOptions(url="redis://127.0.0.1:1/0")

    answer = await api("GET /overview", scopes=(), headers={"authorization": f"Bearer {token}"})

    assert (answer.status, "retry-after" in answer.headers) == (503, True)
    assert is_problem(answer, "redis-away")


async def test_groups_are_those_of_the_newest(
    api: ApiClient, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And say how many were looked at; a filter narrows them."""
    await fill(redis)

    whole = (await api("GET /failed/groups")).json
    narrow = (await api("GET /failed/groups?exception=Timeout")).json
    monkeypatch.setattr("resqpy.diagnosis.browsing.WITHIN", 5)
    api.app.groups.forget()
    newest = (await api("GET /failed/groups")).json

    assert [(each["exception"], each["count"]) for each in whole["data"]] == [
        ("KeyError", 6),
        ("Timeout", 6),
    ]
    assert [each["exception"] for each in narrow["data"]] == ["Timeout"]
    assert sum(each["count"] for each in newest["data"]) == 5
    assert (whole["looked_at"], newest["looked_at"], newest["total"]) == (12, 5, 12)
    assert "hunter2" not in json.dumps(whole)
