"""php-resque beside us: the status that it follows, its workers, its delayed jobs without an index."""

from __future__ import annotations

import json
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy import Queue
from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.php import php_status, started_in_php
from resqpy.diagnosis.workers import all_workers, unbound_by_pause
from resqpy.engine.inspect.inspector import Resque
from resqpy.store import workers
from tests.engine.test_foreign_care import Scene as CareScene
from tests.engine.test_rescue import Scene, die_with, worker_id
from tests.support.recordings import replay
from tests.support.waiting import wait_for
from tests.support.working import working

KEY = "resque:job:b3:status"


async def _job(redis: Redis, name: str, **more: Any) -> None:
    job = {
        "class": name,
        "args": [{}],
        "id": "b3",
        "prefix": "",
        "queue_time": 1795941038.46,
        **more,
    }
    await redis.sadd("resque:queues", "q")
    await redis.rpush("resque:queue:q", json.dumps(job))


async def _status(redis: Redis, key: str = KEY) -> Any:
    return json.loads(await redis.get(key) or b"null")


def ok(_: Any) -> Any:
    """Succeed."""
    return {"sent": 1}


def odd(_: Any) -> Any:
    """Return what JSON has no value for."""
    return object()


def wrong(_: Any) -> Any:
    """Fail."""
    raise ValueError("no")


@pytest.mark.parametrize(
    ("name", "status", "result"), [("ok", 4, {"sent": 1}), ("odd", 4, None), ("wrong", 3, None)]
)
async def test_a_status_that_php_made_is_followed_to_its_end(
    redis_url: str, redis: Redis, name: str, status: int, result: Any
) -> None:
    """With the result, in the step that ends the job; it is kept for a day, as PHP keeps it."""
    await redis.set(KEY, '{"status":1,"updated":1,"started":1,"result":null}')
    await _job(redis, name)
    async with working(redis_url, {"ok": ok, "odd": odd, "wrong": wrong}, "q") as work:
        await work.until(1)

    found = await _status(redis)
    assert found.pop("updated") > 1_700_000_000
    assert found == {"status": status, "started": 1795941038, "result": result}
    assert 86_000 < await redis.ttl(KEY) <= 86_400


async def test_it_says_that_the_job_runs(redis_url: str, redis: Redis) -> None:
    """While it does."""
    await redis.set(KEY, "{}")
    await _job(redis, "looks")
    seen = []

    async def looks(_: Any) -> None:
        seen.append(await _status(redis))

    async with working(redis_url, {"looks": looks}, "q") as work:
        await work.until(1)

    assert [each["status"] for each in seen] == [2]
    assert (await _status(redis))["status"] == 4


async def test_a_job_that_waits_again_says_so_and_keeps_its_id(
    redis_url: str, redis: Redis
) -> None:
    """A retry needs the id to be followed on."""
    await redis.set("resque:job:shop_b3:status", "{}")
    await _job(redis, "wrong", prefix="shop")
    plugins = {"Retry": {"retry_limit": 2, "retry_delay": 60_000}}
    jobs = {"wrong": {"perform": wrong, "plugins": ["Retry"], "plugin_options": plugins}}
    async with working(redis_url, jobs, "q") as work:
        await wait_for(lambda: work.args("re_enqueue"))
    async with Resque(redis_url) as resque:
        [(_, delayed)] = [each async for each in resque.each_delayed()]

    assert (await _status(redis, "resque:job:shop_b3:status"))["status"] == 1
    assert await redis.ttl("resque:job:shop_b3:status") == -1
    assert php_status(delayed.extra) == ("shop_b3", 1795941038)
    assert json.loads(delayed.raw)["queue"] == "q"


async def test_a_status_that_nobody_asked_for_is_not_made(redis_url: str, redis: Redis) -> None:
    """PHP makes the key for those jobs alone whose status it wants."""
    await _job(redis, "ok")
    async with working(redis_url, {"ok": ok}, "q") as work:
        await work.until(1)

    assert await redis.exists(KEY) == 0


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"id": "a"},
        {"id": "", "queue_time": 1},
        {"id": 5, "queue_time": 1},
        {"id": "a", "queue_time": "1"},
    ],
)
def test_what_is_not_php_s_has_no_status(extra: dict[str, Any]) -> None:
    """Other programs have keys of these names, too."""
    assert php_status(extra) is None


@pytest.mark.parametrize("once", [False, True])
async def test_the_status_of_a_job_whose_worker_died(
    redis_url: str, redis: Redis, *, once: bool
) -> None:
    """It waits again, or has failed if it may run only once."""
    job = {"class": "Echo", "args": [], "id": "b3", "prefix": "", "queue_time": 1.5}
    await redis.set(KEY, "{}")
    async with Scene(redis_url) as scene:
        [taken] = await die_with(scene.store, json.dumps(job).encode())
        if once:
            name = str(worker_id(1))
            await workers.mark_at_most_once(scene.store, name, taken.claim.beginning)
        await scene.look()

    assert (await _status(redis))["status"] == (3 if once else 1)


async def test_its_workers_are_shown_and_never_taken_for_dead(redis_url: str, redis: Redis) -> None:
    """They send no sign of life; how they write their start tells the language."""
    await replay(redis, "php-04-killed")
    async with Resque(redis_url) as resque:
        [found] = await all_workers(resque)
        now_ms = SYSTEM_CLOCK.now_ms()
        assert (found.language, found.class_name, found.life(now_ms)) == (
            "php",
            "Sleeping",
            "can't tell",
        )
        assert unbound_by_pause([found], now_ms) == [found]
    async with CareScene(redis_url) as scene:
        await scene.look()
        assert scene.told_of("clean_stuck_worker") == []

    assert await redis.scard("resque:workers") == 1


@pytest.mark.parametrize(
    ("started", "is_php"),
    [
        (b"2026-11-29T12:16:30+00:00", True),
        (b"Sun Nov 29 08:45:36 CET 2020", True),
        (b"2026-11-20 19:27:20 -0500", False),  # Ruby's
        (b"1795220840", False),  # Node's
        (b"2012-08-16T13:44:15.123+0000", False),
        (b"", False),
        (None, False),
    ],
)
def test_how_a_start_is_written(started: bytes | None, is_php: bool) -> None:
    """By each language."""
    assert started_in_php(started) is is_php


async def test_its_delayed_jobs_are_found_without_an_index(redis_url: str, redis: Redis) -> None:
    """Two equal ones at one time, and one without inputs."""
    await replay(redis, "php-02-delayed")
    async with Resque(redis_url) as resque, Queue(redis_url) as queue:
        assert await resque.scheduled_at("mail", "Echoed", [{"n": 1}]) == [4_000_000_000_000]
        assert await resque.scheduled_at("mail", "Echoed", [[]]) == [4_000_000_001_000]
        assert await queue.del_delayed("mail", "Echoed", [{"n": 1}]) == [4_000_000_000_000]
        assert await queue.enqueue_delayed("Echoed") == 1
    [raw] = await redis.lrange("resque:queue:mail", 0, -1)
    assert raw == b'{"class":"Echoed","args":[[]],"queue":"mail"}'
