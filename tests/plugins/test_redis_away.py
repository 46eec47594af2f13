"""Redis is away when a plugin asks it: the job waits for it and does not fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy import Worker
from resqpy.base.errors import OutcomeUnknown, StoreUnavailable
from resqpy.base.model import Job, WorkerId
from resqpy.embedded import PrivateServer
from resqpy.engine.definition import define
from resqpy.engine.run import Run
from resqpy.plugins.locks import patiently
from resqpy.store.exchange import JobClaim
from tests.plugins.stage import Gate, Stage


@pytest.fixture
async def server() -> AsyncIterator[PrivateServer]:
    """A Redis of one's own that keeps its data, to be killed."""
    with PrivateServer(persistent=True) as server:
        yield server


async def test_a_job_that_fails_meanwhile_is_retried_all_the_same(server: PrivateServer) -> None:
    """Its attempt is counted when Redis is back."""
    gate = Gate()

    async def fail(*_: Any) -> None:
        gate.entered.set()
        await gate.open.wait()
        raise ValueError("boo")

    options = {"Retry": {"retryLimit": 3}}
    jobs = {"job": define("job", fail, plugins=["JobLock", "Retry"], plugin_options=options)}
    async with Redis.from_url(server.url) as redis:
        stage = Stage(redis, server.url, jobs)
        await stage.queue.enqueue("q", "job", [1])
        async with stage.working():
            await gate.entered.wait()
            await asyncio.to_thread(server.kill)
            gate.open.set()
            await asyncio.sleep(0)
            await asyncio.to_thread(server.restart)
            await stage.until_idle()
        await stage.queue.close()

        assert [name for name, _ in stage.events] == ["re_enqueue"]
        assert await redis.get("resque:resque-retry:job:1") == b"0"
        assert not await redis.exists("resque:failed")
        assert not await redis.exists("resque:workerslock:job:q:[1]")


async def test_asking_again_says_whether_it_may_have_been_done(redis_url: str) -> None:
    """Refused, it was not; after a lost reply, it may have been, from then on."""
    worker = Worker(redis_url, {})
    run = Run(Job("job", [], "q", b"{}"), None, WorkerId("h", "1", "q"), worker.store)
    inline, run.claim = run.claim, JobClaim("q", b"{")
    errors = [StoreUnavailable(), OutcomeUnknown(), StoreUnavailable()]
    asked: list[bool] = []

    async def ask(again: bool) -> str:
        asked.append(again)
        if errors:
            raise errors.pop(0)
        return "answer"

    assert await patiently(run, ask) == "answer"
    assert asked == [False, False, True, True]

    run.claim = inline
    errors.append(StoreUnavailable())
    with pytest.raises(StoreUnavailable):
        await patiently(run, ask)
    await worker.stop()
