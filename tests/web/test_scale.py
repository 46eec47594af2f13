"""What pages cost does not grow with what there is."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy.diagnosis.limiting import LimitView, limit_views
from resqpy.web.app import Console
from tests.support.filled import PATHS, Fill, commands, fill
from tests.web.asking import ApiClient
from tests.web.conftest import Browser, MakeConsole, as_role

SMALL = Fill(queues=120, waiting=600, delayed=600, failed=300, workers=120, tracked=300, ran=3)


async def costs(console: Console, redis: Redis, path: str) -> tuple[int, int, int]:
    """Round trips, commands, and bytes of a page, where what is read of everything there is has been read."""
    async with Browser(console, shares=True) as browser:
        await browser.get(path)  # its scripts are loaded now
        console.pages.forget()
        line = console.resque.store.line
        await redis.config_resetstat()
        before = line.round_trips
        answer = await browser.get(path)
        assert answer.status_code == 200
        return line.round_trips - before, await commands(redis), len(answer.content)


@pytest.mark.timeout(60)
async def test_ten_times_as_much_costs_the_same(make_console: MakeConsole, redis: Redis) -> None:
    """Of jobs, failed jobs, delayed ones, tracked tasks, queues and workers: for each page."""
    found = []
    for wanted in (SMALL, SMALL * 10):
        await redis.flushdb()
        console = make_console(authenticate=as_role("admin"))
        await console.open()
        await fill(redis, console.resque.store, wanted)
        all_of = console.everything
        kept: list[Any] = [
            *all_of.history.values(), all_of.queues, all_of.workers, all_of.processes,
            console.problems, console.groups,
        ]  # fmt: skip
        for each in kept:
            await each.get()
            each._until_s = float("inf")
        found.append({path: await costs(console, redis, path) for path in PATHS})
        await console.close()
    few, many = found
    for path in PATHS:
        if "class=" in path:  # looks at no more than five windows of a thousand
            assert many[path][0] <= few[path][0] + 5, path
            assert many[path][1] <= few[path][1] + 5, path
        else:
            assert many[path][:2] == few[path][:2], path
        assert many[path][2] < 300_000, path


async def test_all_queues_and_workers_are_read_in_proportion_to_their_number(
    make_console: MakeConsole, redis: Redis
) -> None:
    """In portions, between which others are answered; whatever waits in the queues."""
    console = make_console(authenticate=as_role("admin"))
    await console.open()
    await fill(redis, console.resque.store, Fill(2500, 10_000, 1, 1, 500, 3, 1))
    line, cost = console.resque.store.line, []
    everything: list[Any] = [console.everything.queues, console.everything.workers]
    for each in everything:
        await redis.config_resetstat()
        before = line.round_trips
        await each.get()
        cost.append((line.round_trips - before, await commands(redis)))
    [of_queues, of_workers] = cost
    assert of_queues[0] <= 6
    assert 2500 < of_queues[1] < 2530
    assert of_workers[0] <= 4
    assert of_workers[1] < 20


async def test_limits_of_many_queues_are_read_in_as_many_round_trips_as_of_few(
    make_console: MakeConsole, redis: Redis
) -> None:
    """With how many jobs wait in each."""
    console = make_console(authenticate=as_role("admin"))
    await console.open()
    line, trips, views = console.resque.store.line, list[int](), list[LimitView]()
    for number in (2, 40):
        for n in range(number):
            await console.resque.limit_running(f"q{n}", 3)
            await redis.rpush(f"resque:queue:q{n}", "{}")
        before = line.round_trips
        views = await limit_views(console.resque)
        trips.append(line.round_trips - before)
    assert len(views) == 40
    assert [each.waiting for each in views if each.name in ("q0", "q39")] == [2, 1]
    assert trips[0] == trips[1]


async def api_costs(console: Console, redis: Redis, api: ApiClient, path: str) -> tuple[int, int]:
    """Round trips and commands of a request, without those of its token."""
    line = console.resque.store.line
    await api(f"GET {path}")  # its scripts are loaded now
    await redis.config_resetstat()
    before = line.round_trips
    assert (await api(f"GET {path}")).status == 200
    return line.round_trips - before, await commands(redis)


API = (
    "/overview", "/queues", "/queues?name=q1&size=5", "/queues/mail", "/workers", "/workers?size=5", "/history",
    "/history?period=30d", "/history?period=30d&task=Task1",
)  # fmt: skip


@pytest.mark.timeout(60)
async def test_ten_times_as_much_costs_a_program_the_same(
    make_console: MakeConsole, redis: Redis
) -> None:
    """What is read of everything is read once for pages and programs."""
    found = []
    for wanted in (SMALL, SMALL * 10):
        await redis.flushdb()
        console = make_console()
        await console.open()
        await fill(redis, console.resque.store, wanted)
        all_of = console.everything
        kept: list[Any] = [*all_of.history.values(), all_of.queues, all_of.workers]
        for each in kept:
            await each.get()
            each._until_s = float("inf")
        api = ApiClient(console, shares=True)
        found.append({path: await api_costs(console, redis, api, path) for path in API})
        await console.close()
    assert found[0] == found[1]
    assert max(trips for trips, _ in found[0].values()) <= 6, found[0]


async def test_what_one_task_did_in_a_month_is_read_at_once(
    make_console: MakeConsole, redis: Redis
) -> None:
    """And kept for the next who asks; however many tasks are asked for, little is kept."""
    console = make_console(authenticate=as_role("viewer"))
    await console.open()
    await fill(redis, console.resque.store, SMALL)
    line, trips = console.resque.store.line, list[int]()
    async with Browser(console, shares=True) as browser:
        for n in range(60):
            before = line.round_trips
            answer = await browser.get(f"/metrics?period=30d&task=Task{max(n, 1)}")
            assert answer.status_code == 200
            trips.append(line.round_trips - before)
    assert max(trips) <= 3
    assert len(console.everything._of_tasks) <= 50
