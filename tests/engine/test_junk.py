"""Junk under the keys that only resqpy knows stops nobody; it is told, and none of it is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from resqpy import Queue
from resqpy.base.keys import Keys
from resqpy.store.repair.junk import own_kinds
from tests.support.junk import KINDS, put_junk
from tests.support.scheduling import schedulers
from tests.support.waiting import wait_for
from tests.support.working import Working, working

KINDS_OF_KEYS = own_kinds(Keys(), leading=True)
OPTIONS = {"lease_s": 2.0, "timeout_s": 0.1}


async def no_op(*_: Any) -> None:
    """A task."""


JOBS: dict[str, Any] = {
    "no_op": no_op,
    "often": {"perform": no_op, "frequency": 200, "queue": "q"},
    "ticks": {"perform": no_op, "cron": "* * * * * *", "queue": "q"},
    "once": {"perform": no_op, "at_most_once": True},
}


class Site:
    """A worker and a scheduler, with what they told."""

    def __init__(self, work: Working, errors: list[Exception]) -> None:
        self.work = work
        self.errors = errors

    @property
    def told(self) -> str:
        """The words of all errors."""
        notes = [note for each in self.errors for note in getattr(each, "__notes__", ())]
        notes += [n for args in self.work.args("error") for n in getattr(args[0], "__notes__", ())]
        return "\n".join([self.work.errors, *map(str, self.errors), *notes])

    def done(self, name: str) -> int:
        """How many jobs of a task have succeeded."""
        return sum(args[2].class_name == name for args in self.work.args("success"))


@asynccontextmanager
async def at_work(url: str) -> AsyncIterator[Site]:
    """Both, until the end of the block."""
    errors: list[Exception] = []
    async with schedulers(url, errors=errors, **OPTIONS) as start:
        await start(JOBS)
        async with working(url, JOBS, slots=2, heartbeat_s=0.2) as work:
            yield Site(work, errors)


async def all_is_done(url: str, site: Site) -> None:
    """Jobs of every kind are worked: plain, delayed, at most once, periodic and cron."""
    before = {name: site.done(name) for name in JOBS}
    async with Queue(url, JOBS) as queue:
        await queue.enqueue("q", "no_op", [1])
        await queue.enqueue_in(100, "q", "no_op", [2])
        await queue.enqueue("q", "once", [3])
    wanted = {"no_op": 2, "once": 1, "often": 1, "ticks": 1}

    def done() -> bool:
        return all(site.done(name) >= before[name] + count for name, count in wanted.items())

    try:
        await wait_for(done, 30)
    except AssertionError as error:
        counted = {name: site.done(name) - before[name] for name in wanted}
        raise AssertionError(f"{counted} of {wanted}: {site.told[-3000:]}") from error


async def wrong_ones(redis: Any, kind: str) -> list[str]:
    """Put junk of a kind wherever another is to be; the keys."""
    wrong = [key for key, right in KINDS_OF_KEYS.items() if right != kind]
    for key in wrong:
        await put_junk(redis, key, kind)
    return wrong


@pytest.mark.parametrize("kind", KINDS)
async def test_junk_that_was_there_before(redis_url: str, redis: Any, kind: str) -> None:
    """Worker and scheduler start, tell of each key once, and all jobs are worked; it is moved aside."""
    wrong = await wrong_ones(redis, kind)
    async with at_work(redis_url) as site:
        await all_is_done(redis_url, site)

    keys = Keys()
    assert [key for key in wrong if await redis.type(keys.junk(key)) != kind.encode()] == []
    assert [key for key in wrong if site.told.count(f"{key!r} was a {kind}") != 1] == []


@pytest.mark.parametrize("kind", KINDS)
async def test_junk_that_comes_while_they_run(redis_url: str, redis: Any, kind: str) -> None:
    """The same, though nobody starts anew."""
    async with at_work(redis_url) as site:
        await all_is_done(redis_url, site)
        await wrong_ones(redis, kind)
        await all_is_done(redis_url, site)


@pytest.mark.full
@pytest.mark.parametrize("key", KINDS_OF_KEYS)
@pytest.mark.parametrize("kind", KINDS)
async def test_each_key_by_itself(redis_url: str, redis: Any, key: str, kind: str) -> None:
    """No junk in one key hides what another would do."""
    await put_junk(redis, key, kind)
    async with at_work(redis_url) as site:
        await all_is_done(redis_url, site)


@pytest.mark.parametrize("word", ["junk", "junk:1", "9" * 400, "inf", "-1", "", "1e300", "{}"])
async def test_values_that_mean_nothing(redis_url: str, redis: Any, word: str) -> None:
    """Keys of the right kind, with values and scores that nobody of ours writes."""
    for key, kind in KINDS_OF_KEYS.items():
        await put_junk(redis, key, kind, word)
        if kind == "hash":
            await redis.hset(key, mapping=dict.fromkeys(JOBS, word))
        if kind == "zset" and "tasks" not in key:
            await redis.zadd(key, dict.fromkeys(JOBS, "inf"))
    async with at_work(redis_url) as site:
        await redis.delete("resque:resqpy:periodic:stopped")  # it means that they don't run
        await all_is_done(redis_url, site)
