"""Limits and locks, and what Redis says of itself."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from time import gmtime, strftime
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy import Rate
from resqpy.base import codec
from resqpy.embedded import PrivateServer
from resqpy.embedded.process import find_binary
from resqpy.store.connection.options import RedisOptions
from resqpy.web.app import Console, ConsoleOptions
from resqpy.web.asking import segment
from tests.cli.roles import Guarded, users
from tests.web.conftest import Browser, MakeConsole, as_role
from tests.web.test_pages import audit, forms, words

JOB = '{"class":"Send","queue":"mail","args":[{"to":"ada"}]}'


async def test_limits_and_who_waits(make_console: MakeConsole, redis: Redis) -> None:
    """Of queues and tasks; those with waiting jobs first."""
    console = make_console(authenticate=as_role("viewer"))
    await console.open()
    resque = console.resque
    await redis.sadd("resque:queues", "mail")
    await redis.rpush("resque:queue:mail", "{}", "{}")
    await resque.limit_running("mail", 0)
    await resque.set_limit("api", 3)
    await resque.set_limit("sms", Rate(10, 60_000))
    async with Browser(console) as browser:
        page = (await browser.get("/limits")).text
    table = page.split("<tbody>")[1].split("</tbody>")[0]
    rows = [words(f"<main>{row}</main>") for row in table.split("</tr>")[:-1]]
    assert rows == [
        "mail queue 0 0 2 – full",
        "api 3 by hand 0 0 – has room",
        "sms 10/1m by hand 0 0 – has room",
    ]


async def test_a_viewer_sees_no_value_of_an_input(make_console: MakeConsole, redis: Redis) -> None:
    """Which is part of the name of a limit's key; an operator sees it."""
    for role, expected in (("viewer", "stripe=…"), ("operator", "stripe=ada-1")):
        console = make_console(authenticate=as_role(role))
        await console.open()
        await console.resque.set_limit("stripe=ada-1", 3)
        async with Browser(console) as browser:
            page = (await browser.get("/limits")).text
        assert expected in page
        assert ("ada-1" in page) == (role == "operator")


@pytest.fixture
async def operator(make_console: MakeConsole, redis: Redis) -> AsyncIterator[Browser]:
    """An operator of a queue, a limit of tasks, and a job that waits for one of its keys."""
    await redis.sadd("resque:queues", "mail")
    await redis.rpush("resque:queue:mail", "{}")
    await redis.hset(
        "resque:resqpy:limits", mapping={"{task}Send": "Send:to\tto", "{limit}Send:to": "2"}
    )
    await redis.zadd("resque:resqpy:limits:parked", {"Send:to=ada\nmail": 1})
    await redis.sadd("resque:resqpy:limits:queues:Send:to=ada", "mail")
    await redis.rpush("resque:resqpy:limits:jobs:11:Send:to=ada:mail", JOB)
    async with Browser(make_console(authenticate=as_role("operator"))) as browser:
        yield browser


async def rules(redis: Redis) -> dict[str, str]:
    """What is set."""
    found: Any = await redis.hgetall("resque:resqpy:limits")
    return {name.decode(): value.decode() for name, value in found.items() if b"task}" not in name}


async def test_limits_are_changed_by_forms_alone(operator: Browser, redis: Redis) -> None:
    """Set, shut, opened and removed with what the pages hold, without a script; each is noted, with what was."""
    page = (await operator.get("/limits")).text
    for typed in ({"name": "mail", "most": "4"}, {"name": "Send:to=ada", "most": "5/1m/2"}):
        [(where, fields)] = forms(page, "/limits/set")
        answer = await operator.post(where, data={**fields, "of": "", **typed})
        assert answer.status_code == 303
        changed = (await operator.get(answer.headers["location"])).text
        assert "The limit is set" in changed
        assert f'value="{typed["most"]}"' in changed
    assert await rules(redis) == {
        "mail": "4",
        "{limit}Send:to": "2",
        "{set}Send:to=ada": "5/60000/2",
    }

    there = (await operator.get(f"/limits/task/{segment('Send:to=ada')}")).text
    buttons = dict(forms(there, ""))
    assert {"/limits/shut", "/limits/remove", "/limits/set"} <= {*buttons}
    shut = await operator.post("/limits/shut", data={**buttons["/limits/shut"], "duration": "1h"})
    opened = await operator.get(shut.headers["location"])
    await operator.post("/limits/open", data=dict(forms(opened.text, ""))["/limits/open"])
    assert "{shut}Send:to=ada" not in await rules(redis)
    await operator.post("/limits/remove", data=buttons["/limits/remove"])
    await operator.post("/limits/remove", data={"of": "queue", "name": "mail"})
    assert await rules(redis) == {"{limit}Send:to": "2"}
    told = [(each["verb"], each["what"], json.loads(each["more"])) for each in await audit(redis)]
    assert told.pop(2)[2]["until"] > "2026"
    assert told == [
        ("limit", "limit mail", {"limit": 4}),
        ("limit", "limit Send:to=ada", {"limit": "5/60000/2", "before": 2}),
        ("open", "limit Send:to=ada", {}),
        ("remove limit", "limit Send:to=ada", {"limit": 2, "before": "5/60000/2"}),
        ("remove limit", "queue mail", {"before": 4}),
    ]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (
            {"name": "mial", "most": "4"},
            "There is no queue &#39;mial&#39;; did you mean &#39;mail&#39;?",
        ),
        ({"name": "mail", "most": "many"}, "&#39;many&#39; is no limit"),
        ({"name": "mail", "most": "10/1m"}, "rates are for tasks"),
        ({"name": "Send:to", "most": "0/1m"}, "count is 0"),
        ({"name": "Send", "most": "2", "of": "task"}, "no limit &#39;Send&#39;"),
        ({"name": "mail", "most": "2", "of": "list"}, "neither a queue nor a task"),
    ],
)
async def test_what_is_wrong_is_said_and_kept(
    operator: Browser, redis: Redis, typed: dict[str, str], said: str
) -> None:
    """Nothing is set, nor noted."""
    before = await rules(redis)
    answer = await operator.post("/limits/set", data=typed)
    assert answer.status_code == 422
    assert said in answer.text or said in answer.text.replace("task or a limit", "no limit")
    assert f'value="{typed["name"]}"' in answer.text
    assert (await rules(redis), await audit(redis)) == (before, [])


async def test_jobs_that_wait_are_put_back(operator: Browser, redis: Redis) -> None:
    """To the head of their queue, if one types how many they are."""
    page = (await operator.get(f"/limits/task/{segment('Send:to=ada')}")).text
    assert "/limits/put_back/mail" in page
    [(there, asked)] = forms((await operator.get("/limits/put_back/mail")).text, "/put_back/mail")
    wrong = await operator.post("/limits/put_back", data={**asked, "typed": "2"})
    assert (wrong.status_code, await redis.llen("resque:queue:mail")) == (400, 1)
    done = await operator.post(there, data={**asked, "typed": "1"})
    assert "n=1" in done.headers["location"]
    assert await redis.lrange("resque:queue:mail", 0, -1) == [JOB.encode(), b"{}"]
    assert [each["verb"] for each in await audit(redis)] == ["put back"]


async def test_who_does_not_know_of_a_limit_is_named(operator: Browser, redis: Redis) -> None:
    """A Ruby worker of the queue, on the page of the limit."""
    await redis.sadd("resque:workers", "ruby-host:7:mail")
    now = strftime("%Y-%m-%dT%H:%M:%S+00:00", gmtime())
    await redis.hset("resque:workers:heartbeat", "ruby-host:7:mail", now)
    await operator.post("/limits/set", data={"of": "queue", "name": "mail", "most": "1"})
    page = (await operator.get("/limits/queue/mail")).text
    assert "ruby-host:7" in page
    assert (await operator.get("/limits/task/mail")).status_code == 404


async def test_locks_are_looked_for_on_request(make_console: MakeConsole, redis: Redis) -> None:
    """They have no index: an open page must not scan all keys."""
    lock = 'lock:Send:mail:[{"to":"ada-1","password":"canary-1"}]'
    await redis.set(f"resque:{lock}", 4_000_000_000)
    await redis.set("resque:lock:Ruby:ada-1-2", 4_000_000_000)
    async with Browser(make_console(authenticate=as_role("viewer"))) as browser:
        hidden = (await browser.get("/limits?locks=1")).text
        assert "ada-1" not in hidden
        assert "your role does not see" in hidden
    async with Browser(make_console(authenticate=as_role("operator"))) as browser:
        await redis.config_resetstat()
        without = words((await browser.get("/limits")).text)
        assert "cmdstat_scan" not in await redis.info("commandstats")
        found = words((await browser.get("/limits?locks=1")).text)
    assert "No limits" in without
    assert "look for them" in without
    assert "lock:Send:mail:[{&quot;to&quot;:&quot;ada-1&quot;" in found.replace("&#34;", "&quot;")
    assert "canary-1" not in found
    assert "lock:Ruby:ada-1-2" in found
    assert re.search(r"in \d+ y", found)


async def test_what_redis_says(make_console: MakeConsole, redis: Redis) -> None:
    """Numbers, and what the checks find; no address, no password."""
    await redis.config_set("maxmemory", "1gb")
    await redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        console = make_console(authenticate=as_role("viewer"))
        await console.open()
        await console.problems.get()
        async with Browser(console) as browser:
            page = (await browser.get("/redis")).text
    finally:
        await redis.config_set("maxmemory", "0")
        await redis.config_set("maxmemory-policy", "noeviction")
    said = words(page)
    assert re.search(r"Used [\d.,]+ MiB At most 1,024.0 MiB", said)
    assert "When it is full allkeys-lru" in said
    assert "eviction Redis may evict jobs" in said
    assert re.search(r"Slow log \d+ ", said)
    assert "redis.sock" not in page
    assert "nobody leads" not in said  # which is on the overview


@pytest.mark.timeout(120)
async def test_a_redis_user_that_may_not_see_the_slow_log() -> None:
    """The rest is shown."""
    binary = find_binary()
    with PrivateServer(binary=binary, config=users(binary)) as server:
        options = ConsoleOptions(authenticate=as_role("viewer"), read_only=True)
        console = Console(lambda: RedisOptions(Guarded(server).url("viewer")), options)
        async with Browser(console) as browser:
            said = words((await browser.get("/redis")).text)
        await console.close()
    assert "Slow log not allowed to this Redis user" in said
    assert "Role master" in said


async def test_a_lock_whose_job_is_gone_is_freed(make_console: MakeConsole, redis: Redis) -> None:
    """By what stands for its name: no secret in it is sent. It is noted, without the secret."""
    lock = 'lock:Send:mail:[{"to":"ada-1","password":"canary-1"}]'
    await redis.set(f"resque:{lock}", 4_000_000_000)
    await redis.set("resque:lock:Ruby:ada-1-2", 4_000_000_000)
    async with Browser(make_console(authenticate=as_role("admin"))) as eve:
        page = (await eve.get("/limits?locks=1")).text
        assert "canary-1" not in page
        [free] = [
            action for action, _ in forms(page, "/free") if codec.digest(lock.encode()) in action
        ]
        answer = await eve.post(free, data={})
        assert answer.headers["location"] == "/limits?locks=1&done=freed&n=1"
        again = await eve.post(free, data={})
        assert "done=gone" in again.headers["location"]
        audit = (await eve.get("/audit")).text
    assert [await redis.exists(f"resque:{each}") for each in (lock, "lock:Ruby:ada-1-2")] == [0, 1]
    assert "free" in words(audit)
    assert "ada-1" in audit
    assert "canary-1" not in audit
