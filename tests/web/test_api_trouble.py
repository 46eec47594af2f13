"""A Redis that is away, that answers too late, that refuses: 503, 504 and 502 say which; and what pages cost."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy.base.errors import StoreError
from resqpy.engine.inspect.inspector import Resque
from resqpy.framework.api.tracking import TrackedApi
from resqpy.store.connection.options import RedisOptions
from resqpy.web.app import Console, ConsoleOptions
from tests.support.proxy import Proxy
from tests.support.waiting import wait_for as until
from tests.web.asking import ApiClient
from tests.web.conftest import Browser, as_role
from tests.web.test_api_events import watched
from tests.web.test_api_reads import is_problem, job
from tests.web.test_pages import audit

MAIL = {"task": "Mail", "queue": "mail"}


@pytest.fixture
async def proxy(redis_url: str) -> AsyncIterator[Proxy]:
    """Before the test's Redis."""
    async with Proxy(redis_url) as made:
        yield made


@pytest.fixture
async def behind(proxy: Proxy) -> AsyncIterator[ApiClient]:
    """An API whose Redis is behind the proxy."""
    console = Console(lambda: RedisOptions(url=proxy.url))
    await console.open()
    yield ApiClient(console)
    await console.close()


async def test_a_lost_reply_may_have_happened_and_the_key_makes_sure(
    behind: ApiClient, proxy: Proxy, redis: Redis
) -> None:
    """504, not 503: the job is there. The same request, repeated, makes no second one."""
    await behind("POST /jobs", MAIL, headers={"Idempotency-Key": "first"})  # scripts are loaded now
    proxy.lose_reply(1)

    lost = await behind("POST /jobs", MAIL, headers={"Idempotency-Key": "second"})
    again = await behind("POST /jobs", MAIL, headers={"Idempotency-Key": "second"})

    assert (lost.status, is_problem(lost, "outcome-unknown")) == (504, True)
    assert (again.status, again.json["refused"]) == (200, "once")
    assert await redis.llen("resque:queue:mail") == 2


async def test_what_may_have_happened_is_noted(
    behind: ApiClient, proxy: Proxy, redis: Redis
) -> None:
    """Who did what is asked for just then."""
    await behind("POST /queues/mail/pause")
    proxy.needle = rb"DEL"
    proxy.lose_reply(1)

    lost = await behind("POST /queues/mail/resume")

    assert (lost.status, is_problem(lost, "outcome-unknown")) == (504, True)
    note = (await audit(redis))[-1]
    assert (note["verb"], note["what"]) == ("resume", "queue mail")
    assert json.loads(note["more"]) == {"outcome": "may have happened"}


async def test_a_redis_that_is_away_did_nothing_and_comes_back(
    behind: ApiClient, proxy: Proxy, redis: Redis
) -> None:
    """503 with a time to repeat it; then it goes on by itself."""
    await behind.token("operate")
    await proxy.refuse()
    proxy.reset()

    away = [
        await behind(line, body) for line, body in (("GET /queues", None), ("POST /jobs", MAIL))
    ]
    ready = await behind("GET /ready", scopes=())
    await proxy.listen()
    back = await behind("POST /jobs", MAIL)

    assert [each.status for each in away] == [503, 503]
    assert all("retry-after" in each.headers and is_problem(each, "redis-away") for each in away)
    assert (ready.status, back.status) == (503, 201)
    assert await redis.llen("resque:queue:mail") == 1


def going_away_after(
    monkeypatch: pytest.MonkeyPatch, proxy: Proxy, behind: ApiClient, kind: type, verb: str
) -> None:
    """Redis goes away when a verb has been done once, and the console notices."""
    real, done = getattr(kind, verb), list[Any]()

    async def act(*given: Any, **more: Any) -> Any:
        made = await real(*given, **more)
        if not done:
            await proxy.refuse()
            proxy.reset()
            with contextlib.suppress(StoreError):
                await behind.app.resque.store.time_us()
        done.append(made)
        return made

    monkeypatch.setattr(kind, verb, act)


@pytest.mark.parametrize("verb", ["enqueued_many", "enqueued_later"])
async def test_a_list_that_is_half_enqueued_may_have_happened(
    behind: ApiClient,
    proxy: Proxy,
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
) -> None:
    """503 would say that nothing was done; with the key a repetition does the rest."""
    jobs = [MAIL, *({**MAIL, "delay_ms": 3_600_000 * n, "inputs": {"n": n}} for n in (1, 2))]
    key = {"Idempotency-Key": "half"}
    await behind.token("operate")
    going_away_after(monkeypatch, proxy, behind, Resque, verb)

    half = await behind("POST /jobs", jobs, headers=key)
    await proxy.listen()
    await redis.delete(*await redis.keys("resque:resqpy:web:request:*"))  # it ends after a minute
    again = await behind("POST /jobs", jobs, headers=key)

    assert (half.status, is_problem(half, "outcome-unknown")) == (504, True)
    assert again.status in (200, 201)
    assert await redis.llen("resque:queue:mail") == 1
    assert await redis.zcard("resque:delayed_queue_schedule") == 2


async def test_a_list_of_which_nothing_is_enqueued_is_told_so(
    behind: ApiClient, proxy: Proxy, redis: Redis
) -> None:
    """It may be repeated also without a key."""
    await behind.token("operate")
    await proxy.refuse()
    proxy.reset()

    answer = await behind("POST /jobs", [{**MAIL, "delay_ms": 3_600_000}] * 2)

    assert (answer.status, is_problem(answer, "redis-away")) == (503, True)


async def test_a_change_of_a_task_that_is_not_read_again_may_have_happened(
    behind: ApiClient, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has been written."""
    made = (await behind("POST /tasks", {"type": "Mail", "payload": {"n": 1}})).json
    going_away_after(monkeypatch, proxy, behind, TrackedApi, "save_patch")

    answer = await behind(f"PATCH /tasks/{made['id']}", {"payload": {"n": 2}})
    await proxy.listen()

    assert (answer.status, is_problem(answer, "outcome-unknown")) == (504, True)
    assert (await behind(f"GET /tasks/{made['id']}")).json["payload"] == {"n": 2}


@pytest.mark.parametrize("path", ["/queues/mail", "/api/v1/queues/mail/jobs"])
async def test_a_look_whose_reply_is_lost_did_nothing(
    proxy: Proxy, redis: Redis, path: str
) -> None:
    """On pages as in the API."""
    await redis.sadd("resque:queues", "mail")
    options = ConsoleOptions(authenticate=as_role("admin"))
    console = Console(lambda: RedisOptions(url=proxy.url), options)
    proxy.needle = rb"LRANGE"
    proxy.lose_reply(1)
    async with Browser(console) as browser:
        answer = await browser.get(path)
        assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
        assert (await browser.get(path)).status_code == 200
    await console.close()


async def test_pages_come_back_with_redis(proxy: Proxy, redis: Redis) -> None:
    """For who has signed in; a page that refreshes itself goes on to do so."""
    await redis.sadd("resque:queues", "mail")
    console = Console(lambda: RedisOptions(url=proxy.url))
    async with Browser(console) as browser:
        await browser.sign_in(console)
        assert "mail" in (await browser.get("/queues?refresh=10")).text
        for _ in range(2):
            await proxy.refuse()
            proxy.reset()
            away = [await browser.get(path) for path in ("/queues?refresh=10", "/", "/failed")]
            assert {(each.status_code, each.headers["refresh"]) for each in away} == {(503, "5")}
            await proxy.listen()
            assert "mail" in (await browser.get("/queues?refresh=10")).text
    await console.close()


async def test_a_stream_goes_on_after_a_restart_of_redis(
    behind: ApiClient, proxy: Proxy, redis: Redis
) -> None:
    """It says that something may have been missed, and then what has changed."""
    async with watched(behind) as stream:
        await until(lambda: bool(stream.events("counts")))
        await proxy.refuse()
        proxy.reset()
        await redis.rpush("resque:failed", json.dumps({"payload": {"class": "A"}}))
        await proxy.listen()
        await until(lambda: bool(stream.events("resync")))
        await until(lambda: stream.events("counts")[-1]["failed"] == 1)


LINES = [
    *(
        (f"GET {path}", None)
        for path in ("/overview", "/queues", "/failed", "/delayed", "/workers")
    ),
    ("GET /tasks", None),  # by a script, unless the console is read-only
    ("POST /jobs", MAIL),
]


async def test_a_redis_user_that_may_only_read(
    api: ApiClient, redis: Redis, redis_url: str
) -> None:
    """Sees all, with --read-only; a change is refused."""
    token = await api.token("operate")
    commands = ["+@read", "+@connection", "+time", "+info"]
    await redis.acl_setuser("looker", enabled=True, passwords="+pw", keys=[], commands=commands)
    await redis.execute_command("ACL", "SETUSER", "looker", "%R~resque:*")  # type: ignore[no-untyped-call]  # redis-py
    headers, statuses = {"authorization": f"Bearer {token}"}, []
    options = RedisOptions(url=redis_url.replace("://", "://looker:pw@"))
    for read_only in (False, True):
        console = Console(lambda: options, ConsoleOptions(read_only=read_only))
        await console.open()
        looker = ApiClient(console)
        for line, body in LINES:
            answer = await looker(line, body, scopes=(), headers=headers)
            statuses.append(answer.status)
        await console.close()
    await redis.acl_deluser("looker")

    assert statuses == [*[200] * 5, 502, 502, *[200] * 6, 403]


@pytest.mark.parametrize(
    ("path", "most"),
    [
        ("/health", 9),
        ("/overview", 30),
        ("/queues?size=5", 40),
        ("/queues/q000/jobs?size=5", 7),
        ("/failed?size=5", 8),
        ("/delayed?size=5", 16),
        ("/tasks?size=5", 14),
    ],
)
async def test_a_page_costs_what_it_shows(
    api: ApiClient, redis: Redis, path: str, most: int
) -> None:
    """However much there is: commands are counted, those of the token included."""
    await api.token("operate")
    counts = []
    for number in (10, 300):
        for n in range(number):
            await redis.rpush("resque:queue:q000", job(n))
            await redis.rpush("resque:failed", json.dumps({"n": n, "payload": {"class": "A"}}))
            await redis.zadd("resque:delayed_queue_schedule", {str(2_000_000_000 + n): n + 1})
            await redis.sadd("resque:queues", f"q{n:03}")
        await api("POST /tasks", {"type": "T"})
        await api(f"GET {path}")  # scripts are loaded now
        await redis.config_resetstat()
        assert (await api(f"GET {path}")).status == 200
        stats = await redis.info("commandstats")
        own = {"info", "config|resetstat"}
        counts.append(
            sum(each["calls"] for name, each in stats.items() if name.partition("_")[2] not in own)
        )

    # it counts all of them, or knows them from the request before
    queues = 290 if path in ("/overview", "/queues?size=5") else 0
    assert counts[0] <= most
    assert counts[1] <= counts[0] + queues + 1  # there is one more task
