"""Limits and locks, and what Redis says of itself."""

from __future__ import annotations

import re

import pytest
from redis.asyncio import Redis

from resqpy import Rate
from resqpy.embedded import PrivateServer
from resqpy.embedded.process import find_binary
from resqpy.store.connection.options import RedisOptions
from resqpy.web.app import Console, ConsoleOptions
from tests.cli.roles import Guarded, users
from tests.web.conftest import Browser, MakeConsole, as_role
from tests.web.test_pages import words


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
        "sms 10 in 1 m by hand 0 0 – has room",
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
