"""Rails' jobs as a project's tasks, and jobs for Rails."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy import InvalidInputs, UsageError, api
from resqpy.base.activejob import WRAPPER, wrapped
from resqpy.contrib.activejob import ActiveJob, GlobalID, Range, Symbol
from resqpy.framework.process.process import Process
from resqpy.testing import drain
from tests.framework.conftest import MakeProject
from tests.support.recordings import replay

TASKS = """
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from resqpy import current_run, task
from resqpy.contrib.activejob import GlobalID, Range

@task(name="ReportJob", queue="reports")
async def report(*args: Any, note: str = "", kinds: list[str] = ()):
    "All that Rails sends."
    return [args, note, list(kinds)]

@task(name="TypedJob", queue="reports")
def typed(
    at: datetime, day: date, wait: timedelta, price: Decimal, user: GlobalID, days: Range[date], /, *, kw: int
):
    "By my type hints."
    return [at, day, wait, price, user, days, kw]

@task(name="NamedJob", queue="reports")
def named(user: GlobalID, note: str):
    "All by name."
    return [user.id, note]

@task(name="Shop::FlakyJob", queue="reports", retry={"retry_limit": 3, "retry_delay": 1000})
def flaky(number: int, /):
    "I fail."
    raise ValueError("no")

@task(name="LockedJob", queue="reports", plugins=["QueueLock"])
def locked(number: int, /):
    "Once at a time for each number."
    return number
"""


@pytest.fixture
def project(make_project: MakeProject) -> Any:
    """The tasks above."""
    return make_project(tasks__one=TASKS)


async def _push(redis: Redis, *jobs: Any) -> None:
    await redis.sadd("resque:queues", "reports")
    raws = [
        each if isinstance(each, str) else json.dumps(each, separators=(",", ":")) for each in jobs
    ]
    await redis.rpush("resque:queue:reports", *raws)


def _job(name: str, *args: Any, **keywords: Any) -> dict[str, Any]:
    """As Rails writes it."""
    return {"class": WRAPPER, "args": [wrapped(name, "reports", args, keywords, 1_800_000_000_000)]}


async def test_what_rails_wrote_runs_as_tasks_of_its_classes(project: Any, redis: Redis) -> None:
    """The recorded jobs of a real ActiveJob, the delayed one too."""
    await replay(redis, "rails-activejob")
    async with Process(project):
        done = await drain(["reports", "later"], delayed=True)

    assert {(each.task, each.end) for each in done.jobs} == {("ReportJob", "success")}
    assert [each.result for each in done.jobs] == [
        [(1, 2.5, 2**60, None, True, "text", "sym"), "", []],
        [({"a": 1}, {"b": {"c": "d"}}, [1, ["e"]]), "", []],
        [
            (
                "2026-01-02T03:04:05.678901000Z",
                "2026-01-02",
                "PT5400S",
                "2026-07-01T12:00:00.000000000+02:00",
            ),
            "",
            [],
        ],
        [
            ("2026-01-02T03:04:05.000000000+00:00", "ReportJob", "gid://shop/User/17", {"x": 1}),
            "",
            [],
        ],
        [(1,), "hi", ["a"]],
        [(), "only", []],
        [(), "", []],
        [(5,), "", []],
    ]


async def test_type_hints_read_what_its_serializers_wrote(project: Any, redis: Redis) -> None:
    """Times, dates, durations, decimals, ranges and references are values of Python."""
    at, day = datetime(2026, 1, 2, 3, tzinfo=UTC), date(2026, 1, 2)
    user, days = GlobalID("shop", "User", "17"), Range(day, day, exclude_end=True)
    wait, price = timedelta(seconds=90), Decimal("1.50")
    await _push(redis, _job("TypedJob", at, day, wait, price, user, days, kw=1))
    await _push(redis, _job("NamedJob", user=user, note="hi"))
    async with Process(project):
        done = await drain("reports")

    assert [each.result for each in done.jobs] == [
        [at, day, wait, price, user, days, 1],
        ["17", "hi"],
    ]


async def test_an_unknown_serializer_fails_with_its_name(project: Any, redis: Redis) -> None:
    """Nothing in a job decides what code reads it; its bytes stay, and its class is found."""
    job = _job("ReportJob", 1)
    job["args"][0]["arguments"].append({"_aj_serialized": "Kernel", "value": "exit"})
    await _push(redis, job)
    async with Process(project):
        done = await drain("reports")
        [entry] = await api.tasks.failed()
        [group] = await api.resque.inspector.failed_groups(class_name="ReportJob")

    assert [type(each.error) for each in done.failed] == [InvalidInputs]
    assert "argument 1 of the ActiveJob can't be read: resqpy knows no serializer 'Kernel'" in str(
        entry.error
    )
    assert (entry.class_name, group.count) == ("ReportJob", 1)
    assert json.loads(entry.job_raw or b"") == job


async def test_retries_are_counted_in_the_job(project: Any, redis: Redis) -> None:
    """As Rails counts them, by text: nothing else in the bytes changes; what Rails tried counts."""
    odd = json.dumps(_job("Shop::FlakyJob", 7), separators=(",", ":")).replace(
        '"locale":null', '"x":1.0e+15,"y":[1E2 ]'
    )
    await _push(redis, odd)
    async with Process(project):
        await drain("reports")
        [(_, delayed)] = [each async for each in api.resque.inspector.each_delayed()]
        text = delayed.raw.decode()
        assert text == odd[:-1].replace('"executions":0', '"executions":1') + ',"queue":"reports"}'
        done = await drain("reports", delayed=True)
        [entry] = await api.tasks.failed()

    assert [each.end for each in done.jobs] == ["re_enqueue", "failure"]
    assert b'"executions":2' in (entry.job_raw or b"")
    assert [each async for each in redis.scan_iter("resque:resque-retry:*")] == []


async def test_locks_and_removal_go_by_its_class_and_arguments(project: Any, redis: Redis) -> None:
    """Not by the wrapper, in which each job differs."""
    await _push(redis, _job("LockedJob", 1), _job("LockedJob", 1), _job("LockedJob", 2))
    async with Process(project):
        assert await api.tasks.enqueue("LockedJob", {"number": 5})
        assert await api.tasks.delete("reports", "LockedJob", {"number": 1}) == 2
        assert await api.tasks.del_by_function("reports", "LockedJob") == 2


async def test_a_job_for_rails(project: Any, redis: Redis) -> None:
    """In its wrapper, now and later; a task of that name here would run it."""
    welcome = ActiveJob("NamedJob", queue="reports")
    user = GlobalID("shop", "User", "17")
    async with Process(project):
        assert await welcome.enqueue(user=user, note="now")
        assert await welcome.enqueue_in(60_000, user=user, note=Symbol("in"))
        assert await welcome.enqueue_at(datetime(2090, 1, 1, tzinfo=UTC), user=user, note="at")
        assert await api.resque.queue.enqueue_many([welcome.job(user=user, note="many")]) == [True]
        raws = await redis.lrange("resque:queue:reports", 0, -1)
        [at] = [each for each in await api.tasks.timestamps() if each > 3e12]
        done = await drain("reports", delayed=True)

    [first, _] = [json.loads(each) for each in raws]
    assert first["class"] == WRAPPER
    assert first["args"][0]["arguments"] == [
        {"user": {"_aj_globalid": "gid://shop/User/17"}, "note": "now",
         "_aj_ruby2_keywords": ["user", "note"]}
    ]  # fmt: skip
    assert at == datetime(2090, 1, 1, tzinfo=UTC).timestamp() * 1000
    assert [each.result for each in done.jobs] == [
        ["17", each] for each in ("now", "many", "in", "at")
    ]


@pytest.mark.parametrize("name", ["", None, 5])
def test_a_class_without_a_name_is_told(name: Any) -> None:
    """As soon as it is made."""
    with pytest.raises(UsageError):
        ActiveJob(name)
