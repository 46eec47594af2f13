"""The status of Ruby's resque-status moves while Python runs its jobs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy import api
from resqpy.framework.process.process import Process
from resqpy.store.migrations import ALL, Migration, migrate, migrations
from resqpy.testing import drain
from tests.framework.conftest import MakeProject

UUID = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
TASKS = """
from resqpy import task
from resqpy.contrib.resque_status import ResqueStatus, at

SEEN = []

@task(name="ReportJob", queue="statused", middleware=[ResqueStatus])
async def report(uuid: str, options: dict, /):
    "As resque-status has them."
    await at(1, 4, "rendering")
    SEEN.append(options)
    if options.get("fail"):
        raise ValueError("no paper")
    if options.get("kill"):
        from resqpy import api
        await api.redis.call("SADD", "resque:_kill", uuid)
        await at(2, 4)
        SEEN.append("not reached")
"""


@pytest.fixture
def project(make_project: MakeProject) -> Any:
    """With such a task."""
    return make_project(tasks__one=TASKS)


async def run(project: Any, redis: Redis, options: str, status: str | None = None) -> Any:
    """What became of one that Ruby created; and its status, as text."""
    made = f'{{"time":1700000000,"status":"queued","uuid":"{UUID}","options":{options}}}'
    if status != "":
        await redis.set(f"resque:status:{UUID}", status or made, ex=1000)
    await redis.sadd("resque:queues", "statused")
    await redis.rpush(
        "resque:queue:statused", f'{{"class":"ReportJob","args":["{UUID}",{options}]}}'
    )
    async with Process(project):
        done = await drain("statused")
    raw: Any = await redis.get(f"resque:status:{UUID}")
    return done.jobs[0].end if done.jobs else "skipped", None if raw is None else raw.decode()


async def test_it_is_completed(project: Any, redis: Redis) -> None:
    """Bytes of Ruby's that are not the status' own stay, and so does its expiry."""
    options = '{"a":1.0,"b":1152921504606846977,"status":"mine","c":"\\u2028"}'
    end, raw = await run(project, redis, options)

    status = json.loads(raw)
    assert end == "success"
    assert f'"options":{options}' in raw
    assert raw.startswith('{"time":')
    assert (status["status"], status["num"], status["total"]) == ("completed", 1, 4)
    assert status["message"].startswith("Completed at 20")
    assert status["name"].startswith("ReportJob({")
    assert status["time"] > 1_700_000_000
    assert 0 < await redis.ttl(f"resque:status:{UUID}") <= 1000


async def test_it_fails(project: Any, redis: Redis) -> None:
    """With the message that Ruby writes."""
    end, raw = await run(project, redis, '{"fail":true}')
    status = json.loads(raw)
    assert (end, status["status"]) == ("failure", "failed")
    assert status["message"] == "The task failed because of an error: no paper"


async def test_what_cannot_run_has_failed(project: Any, redis: Redis) -> None:
    """Its inputs are refused before anything of it runs."""
    end, raw = await run(project, redis, "7")
    assert (end, json.loads(raw)["status"]) == ("failure", "failed")


@pytest.mark.parametrize("before", [True, False])
async def test_it_is_killed(project: Any, redis: Redis, before: bool) -> None:
    """By Ruby's `kill`, before it runs or at its next step; it has not failed."""
    if before:
        await redis.sadd("resque:_kill", UUID)
    _, raw = await run(project, redis, "{}" if before else '{"kill":true}')
    assert json.loads(raw)["status"] == "killed"
    assert await redis.exists("resque:failed", "resque:_kill") == 0


@pytest.mark.parametrize("status", ["", "[]", "no JSON", "{}"])
async def test_no_status_or_none_of_rubys(project: Any, redis: Redis, status: str) -> None:
    """It has expired, or somebody else wrote it: the job runs, and what is no object stays."""
    end, raw = await run(project, redis, "{}", status)
    assert end == "success"
    if status == "{}":
        assert json.loads(raw)["status"] == "completed"
    else:
        assert raw == (status or None)


@pytest.mark.parametrize("options", ["{}", '{"fail":true}'])
async def test_not_in_the_shadow(make_project: MakeProject, redis: Redis, options: str) -> None:
    """The status is that of Ruby's run, whatever became of the shadow."""
    text = TASKS.replace("middleware=", "shadow=True, middleware=")
    project = make_project(tasks__one=text)
    made = f'{{"time":1700000000,"status":"queued","uuid":"{UUID}","options":{options}}}'
    await redis.set(f"resque:status:{UUID}", made)
    await redis.sadd("resque:queues", "statused")
    await redis.rpush(
        "resque:queue:statused", f'{{"class":"ReportJob","args":["{UUID}",{options}]}}'
    )
    async with Process(project):
        store, rule = api.resque.store, Migration("statused", "ruby", 0, 1, 0, 0, shadow=ALL)
        await migrate(store, "ReportJob", rule)
        assert (await drain("statused")).jobs == []
        rule = (await migrations(store))["ReportJob"]

    ended = (rule.count("shadow_succeeded"), rule.count("shadow_failed"))
    assert ended == ((1, 0) if options == "{}" else (0, 1))
    assert await redis.get(f"resque:status:{UUID}") == made.encode()
