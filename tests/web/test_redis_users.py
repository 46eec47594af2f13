"""The console as the users of Redis that `resqpy new` writes: one that may only read, and its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from resqpy.base import codec
from resqpy.embedded import PrivateServer
from resqpy.embedded.process import find_binary
from resqpy.store.connection.options import RedisOptions
from resqpy.tracked.verbs import Tracked
from resqpy.web.app import Console, ConsoleOptions
from tests.cli.roles import Guarded, users
from tests.web.conftest import Browser, as_role
from tests.web.test_hostile import crawl
from tests.web.test_pages import entry


@pytest.fixture
def guarded() -> Iterator[Guarded]:
    """A Redis with these users."""
    binary = find_binary()
    with PrivateServer(binary=binary, config=users(binary)) as server:
        yield Guarded(server)


def console_as(guarded: Guarded, role: str, *, read_only: bool) -> Console:
    """A console that signs in to Redis so."""
    options = ConsoleOptions(authenticate=as_role("admin"), read_only=read_only)
    return Console(lambda: RedisOptions(guarded.url(role)), options)


async def test_a_viewer_of_redis_sees_all(guarded: Guarded) -> None:
    """With --read-only: no page needs a right to write, or to run a script."""
    redis = guarded.redis
    redis.rpush("resque:failed", entry(1))
    redis.sadd("resque:queues", "mail")
    redis.rpush("resque:queue:mail", b"{}")
    redis.sadd("resque:workers", "host:1:mail")
    redis.zadd("resque:delayed_queue_schedule", {"4000000000": 4_000_000_000})
    redis.rpush("resque:delayed:4000000000", b'{"class":"x","queue":"mail","args":[]}')
    full = Console(lambda: RedisOptions(guarded.url("console")), ConsoleOptions())
    await full.open()
    task = await Tracked(full.resque.store).create("Send", {"a": 1}, delay=1)
    await full.close()
    guarded.refused()

    console = console_as(guarded, "viewer", read_only=True)
    async with Browser(console) as browser:
        seen = await crawl(browser)
        for path in ("/tasks?status=scheduled", "/tasks?type=Send", "/failed/entries?class=Send"):
            assert (await browser.get(path)).status_code == 200
    await console.close()

    # the look at statuses would note what is due by now, and goes on without
    assert {each.split()[0] for each in guarded.refused()} <= {"command"}
    assert task is not None
    assert {f"/tasks/{task.id}", "/audit", "/workers", "/queues/mail"} <= set(seen)
    assert any(each.startswith(f"/failed/entries/{codec.digest(entry(1))}") for each in seen)
    assert all('<form method="post"' not in text for text in seen.values())


async def test_the_console_of_redis_may_do_its_work(guarded: Guarded) -> None:
    """Sign in, look, retry, remove, undo, pause; each change is noted."""
    guarded.redis.rpush("resque:failed", entry(1), entry(2))
    console = Console(lambda: RedisOptions(guarded.url("console")), ConsoleOptions())
    async with Browser(console) as browser:
        await browser.sign_in(console)
        one, two = (f"/failed/entries/{codec.digest(entry(n))}" for n in (1, 2))
        assert (await browser.post(f"{one}/retry", data={"list": "failed"})).status_code == 303
        remove = await browser.post(f"{two}/remove", data={"list": "failed"})
        undo = remove.headers["location"].rpartition("undo=")[2].partition("&")[0]
        assert (await browser.post(f"/failed/undo/{undo}")).headers["location"].endswith("n=1")
        job = {"class": "x", "queue": "mail", "args": "[]", "in": "1h", "once": "1"}
        assert (await browser.post("/enqueue", data=job)).status_code == 303
        group = {"verb": "remove", "class": "Send", "expected": "1"}
        removed = (await browser.post("/failed/bulk", data=group)).headers["location"]
        assert removed.startswith("/failed?done=removed")
        undo = removed.rpartition("undo=")[2]
        assert (await browser.post(f"/failed/undo/{undo}")).headers["location"].endswith("n=1")
        assert (await browser.get("/failed/runs")).status_code == 200
        assert (await browser.get("/access")).status_code == 200
        await browser.post("/access/tokens/x/revoke")
        schedule = {"name": "s", "task": "x", "foreign": True, "queue": "mail", "every_ms": 60_000}
        assert (await browser.post("/api/v1/schedules", json=schedule)).status_code == 201
        assert (await browser.delete("/api/v1/schedules/s")).status_code == 200
        await browser.post("/queues/mail/pause", data={"reason": "x"})
        await browser.post("/queues/mail/resume")
        assert "removal" in (await browser.get("/audit")).text
    await console.close()

    assert guarded.refused() == []
    assert guarded.redis.llen("resque:failed") == 1
