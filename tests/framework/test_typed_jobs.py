"""Typed inputs on their way through Redis: each way of enqueueing, each way of running, results."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from resqpy import InvalidInputs, api
from resqpy.cli.interactive.prompt import _evaluated, _names
from resqpy.framework.process.process import Process
from resqpy.testing import (
    delete_enqueued,
    drain,
    find_enqueued,
    manual_clock,
    run_full_task,
    run_task,
)
from tests.framework.conftest import MakeProject, until

TASKS = """
from __future__ import annotations
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from uuid import UUID

from resqpy import Middleware, Task, task

class Color(Enum):
    RED = "red"

@dataclass
class Item:
    name: str
    qty: int = 1

got = []

@task(queue="q")
async def order(
    at: datetime, items: list[Item] = (), wait: timedelta | None = None, price: Decimal = Decimal(1),
    id: UUID | None = None, color: Color = Color.RED, days: set[date] = frozenset(),
):
    "I take all kinds."
    got.append(dict(locals()))
    return {"at": at, "items": items, "price": price, "days": days}

@task(queue="q", frequency=1000)
def often(at: datetime = datetime(2026, 1, 2, tzinfo=timezone.utc)):
    "I run by myself."
    got.append(at)

class Locked(Task):
    "I run once at a time for each day."
    queue = "q"
    plugins = ("QueueLock",)

    def run(self, params):
        got.append(params)
        return params["day"]

    inputs = {"day": {"type": date, "required": True}}
"""
NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
ID = UUID("0b5cf0f6-6a29-4a43-9b3f-0c8f0a3e4d11")
JSON = {
    "at": "2026-11-29T12:00:00Z",
    "items": [{"name": "a", "qty": 2}],
    "wait": "PT90S",
    "price": "12.30",
    "id": str(ID),
    "color": "red",
    "days": ["2026-01-01", "2026-01-02"],
}


@dataclass
class Tasks:
    """The tasks of a loaded project, and the inputs of one order."""

    order: Any
    locked: Any
    got: list[dict[str, Any]]
    inputs: dict[str, Any]


def of(process: Process) -> Tasks:
    """They are of the module that the project has loaded."""
    order = process.project.registry.task("order").defined
    names = order.function.__globals__
    inputs = {
        "at": NOON,
        "items": [names["Item"]("a", 2)],
        "wait": timedelta(seconds=90),
        "price": Decimal("12.30"),
        "id": ID,
        "color": names["Color"].RED,
        "days": {date(2026, 1, 2), date(2026, 1, 1)},
    }
    return Tasks(order, names["Locked"], names["got"], inputs)


async def test_each_way_of_enqueueing_writes_the_same(make_project: MakeProject) -> None:
    """And what any of them wrote is run with the same values."""
    async with Process(make_project(tasks__a=TASKS)) as process:
        tasks = of(process)
        order, inputs = tasks.order, tasks.inputs
        await order.enqueue(**inputs)
        await order.enqueue_in(60_000, **inputs)
        await order.enqueue_at(datetime(2030, 1, 1, tzinfo=UTC), **inputs)
        await order.on("low").enqueue(**inputs)
        await order.enqueue_many([order.job(**inputs), inputs, JSON])
        await order.once("a").enqueue(**inputs)
        again = await order.once("a").enqueue(**JSON)
        await api.tasks.enqueue("order", inputs)
        await api.tasks.enqueue_many([("order", JSON), (order, inputs)])
        await asyncio.to_thread(order.sync.enqueue, **inputs)
        found = await find_enqueued("order", inputs)
        drained = await drain(delayed=True)

    assert again.refused == "once"
    assert [each.inputs for each in found] == [JSON] * 12
    assert {json.dumps(each.args[0]) for each in found} == {json.dumps(JSON)}
    assert len(drained.succeeded) == 12
    assert tasks.got == [inputs] * 12


async def test_each_way_of_running_gives_the_same(make_project: MakeProject) -> None:
    """Of values and of JSON; what is returned here is returned as it is."""
    async with Process(make_project(tasks__a=TASKS)) as process:
        tasks = of(process)
        inline = process.resque.inline_worker()
        for given in (tasks.inputs, JSON):
            results = [
                await run_task("order", given),
                await run_full_task(tasks.order, given),
                await inline.perform_inline("order", [given]),
            ]
            assert [each["price"] for each in results] == [Decimal("12.30")] * 3
        with pytest.raises(InvalidInputs, match=r"'items\[0\].qty' must be int, got '2'"):
            await run_task("order", {"at": NOON, "items": [{"name": "a", "qty": "2"}]})

    assert tasks.got == [tasks.inputs] * 6


async def test_jobs_are_found_and_removed_by_values(make_project: MakeProject) -> None:
    """By what stands in Redis."""
    async with Process(make_project(tasks__a=TASKS)) as process:
        tasks = of(process)
        args = tasks.inputs
        for _ in range(3):
            await tasks.order.enqueue(**args)
        await tasks.order.enqueue_in(60_000, **args)
        await tasks.order.enqueue_at(NOON.replace(year=2050), **args)

        assert len(await api.tasks.scheduled_at("q", "order", args)) == 2
        assert await api.tasks.move("q", "low", "order", args, most=1) == 1
        assert await api.tasks.delete("q", "order", args, 1) == 1
        assert await api.tasks.delete("q", "order", JSON) == 1
        assert await api.tasks.enqueue_delayed("order", args, most=1) == 1
        assert len(await api.tasks.del_delayed("q", "order", args)) == 1
        assert await delete_enqueued("order", args) == 2


async def test_locks_know_equal_values(make_project: MakeProject) -> None:
    """A `QueueLock` for the same day, as a value or a text."""
    async with Process(make_project(tasks__a=TASKS)) as process:
        tasks = of(process)
        day = date(2026, 1, 2)
        done = [
            await api.tasks.enqueue("locked", {"day": each})
            for each in (day, "2026-01-02", date(2026, 1, 3))
        ]
        await drain()

    assert done == [True, False, True]
    assert tasks.got == [{"day": day}, {"day": date(2026, 1, 3)}]


async def test_a_foreign_job_with_these_texts_works_and_a_wrong_one_fails(
    make_project: MakeProject,
) -> None:
    """With the place, the value and what was expected, and no retry."""
    async with Process(make_project(tasks__a=TASKS), worker=True) as process:
        tasks = of(process)
        wrong = {**JSON, "items": [{"name": "a"}, {"name": "b", "qty": "two"}], "price": 1.5}
        await process.resque.queue.enqueue("q", "order", [JSON])
        await process.resque.queue.enqueue("q", "order", [wrong])
        await until(lambda: _has_failed(1))
        await until(lambda: tasks.got)
        [failed] = await api.tasks.failed()

    assert tasks.got == [tasks.inputs]
    assert (failed.exception, failed.error) == (
        "InvalidInputs",
        (
            "task 'order': input 'items[1].qty' must be int, got 'two' (str); input 'price' must be a decimal "
            "number as text, such as '12.30', got 1.5 (float)"
        ),
    )


async def _has_failed(number: int) -> bool:
    return await api.tasks.failed_count() == number


async def test_a_tracked_task_takes_and_returns_them(make_project: MakeProject) -> None:
    """Its payload and its result are JSON; whoever reads the record needs no class."""
    async with Process(make_project(tasks__a=TASKS), worker=True) as process:
        tasks = of(process)
        task = await api.tracked.create("order", tasks.inputs)
        await task.wait()
        with pytest.raises(InvalidInputs, match="'at' must be a datetime"):
            await api.tracked.create("order", {"at": "tomorrow"})

    assert task.payload == JSON
    assert task.result == {name: JSON[name] for name in ("at", "items", "price", "days")}
    assert tasks.got == [tasks.inputs]


async def test_a_periodic_task_gets_its_defaults(make_project: MakeProject) -> None:
    """As values: nothing of them is in Redis."""
    async with Process(make_project(tasks__a=TASKS)) as process:
        tasks = of(process)
        with manual_clock() as clock:
            await api.tasks.enqueue_recurrent_job("often")
            await clock.advance(1000)
            [job, *_] = await find_enqueued("often")
            await drain()

    assert job.inputs == {}
    assert tasks.got[0] == datetime(2026, 1, 2, tzinfo=UTC)


async def test_a_console_takes_and_shows_them(make_project: MakeProject) -> None:
    """Tasks are in scope there by their names."""
    async with Process(make_project(tasks__a=TASKS)) as process:
        text = "from datetime import date; await Locked.enqueue_many([{'day': date(2026, 1, 2)}])"
        done = await _evaluated(text, _names(process))
        [job] = await find_enqueued("locked")

    assert [bool(each) for each in done] == [True]
    assert job.inputs == {"day": "2026-01-02"}


MIDDLEWARE = """
from datetime import date, timedelta
from resqpy import Middleware

class NextDay(Middleware):
    everywhere = True

    def pre_enqueue(self, job):
        job.args[0]["day"] = date.fromisoformat(job.args[0]["day"]) + timedelta(days=1)

    def pre_processor(self, call):
        call.params["day"] += timedelta(days=1)
"""


async def test_middleware_sees_json_before_and_values_in_the_run(make_project: MakeProject) -> None:
    """What it makes of the arguments may be a value, and is written like one."""
    project = make_project(middleware__all=MIDDLEWARE, tasks__a=TASKS)
    async with Process(project) as process:
        tasks = of(process)
        await api.tasks.enqueue("locked", {"day": date(2026, 1, 2)})
        [job] = await find_enqueued("locked")
        await drain()

    assert job.inputs == {"day": "2026-01-03"}
    assert tasks.got == [{"day": date(2026, 1, 4)}]
