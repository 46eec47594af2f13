"""Queries: conditions, orders, cursors, and what a page costs."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy.base.errors import UnknownOption, UsageError
from resqpy.store.connection.client import Store
from resqpy.tracked import locks
from resqpy.tracked.verbs import Tracked
from tests.support.waiting import wait_for
from tests.tracked.support import KEYS, known

COUNT = 23


@pytest.fixture
async def many(tracked: Tracked) -> list[str]:
    """Tasks of two types, with tags and creators, in several statuses; their ids as created."""
    ids = []
    for index in range(COUNT):
        task = await tracked.create(
            "odd" if index % 2 else "even",
            {"index": index},
            id=f"t{(index * 7) % COUNT:02}",  # not in the order of creation
            tags=["all", f"third{index % 3}"],
            application="app" if index % 4 == 0 else None,
            user=f"user{index % 2}",
        )
        if index % 5 == 0:
            await task.cancel()
        elif index % 5 == 1:
            await task.disable()
        ids.append(task.id)
    return ids


async def all_ids(tracked: Tracked, page_size: int = 4, **conditions: Any) -> list[str]:
    """All ids of a query, page by page."""
    return [task.id async for task in tracked.iterate(page_size, **conditions)]


async def test_created(tracked: Tracked, many: list[str]) -> None:
    """Tasks come in the order of their creation, either way, whatever the size of a page."""
    for size in (1, 2, 7, COUNT, COUNT + 1, 100):
        assert await all_ids(tracked, size) == many
        assert await all_ids(tracked, size, direction="desc") == many[::-1]
    page = await tracked.query(page_size=COUNT)
    assert page.cursor is None
    assert (await tracked.query(page_size=COUNT - 1)).cursor is not None


CONDITIONS: list[tuple[dict[str, Any], Any]] = [
    ({"type": "odd"}, lambda i: i % 2 == 1),
    ({"status": "cancelled"}, lambda i: i % 5 == 0),
    ({"status": "disabled", "type": "even"}, lambda i: i % 5 == 1 and i % 2 == 0),
    ({"tags": ["third1"]}, lambda i: i % 3 == 1),
    ({"tags": ["all", "third2"]}, lambda i: i % 3 == 2),
    ({"application": "app"}, lambda i: i % 4 == 0),
    ({"user": "user1", "tags": ["third0"]}, lambda i: i % 2 == 1 and i % 3 == 0),
    ({"status": "pending", "application": "app"}, lambda i: i % 4 == 0 and i % 5 > 1),
    ({"type": "nothing"}, lambda _: False),
    ({"tags": ["nothing"]}, lambda _: False),
]


@pytest.mark.parametrize(("conditions", "wanted"), CONDITIONS)
@pytest.mark.parametrize("direction", ["asc", "desc"])
async def test_conditions(
    tracked: Tracked, many: list[str], conditions: dict[str, Any], wanted: Any, direction: str
) -> None:
    """All conditions must hold; they keep the order."""
    ids = [task_id for index, task_id in enumerate(many) if wanted(index)]
    ids = ids if direction == "asc" else ids[::-1]
    assert await all_ids(tracked, 3, direction=direction, **conditions) == ids


async def test_by_status(tracked: Tracked, many: list[str]) -> None:
    """By status, and then by creation; a type is no obstacle."""
    groups = {"pending": [2, 3, 4], "disabled": [1], "cancelled": [0]}
    wanted = [
        task_id
        for rests in groups.values()
        for index, task_id in enumerate(many)
        if index % 5 in rests
    ]
    assert await all_ids(tracked, 3, sort="status") == wanted
    assert await all_ids(tracked, 3, sort="status", direction="desc") == wanted[::-1]
    odd = [task_id for task_id in wanted if many.index(task_id) % 2]
    assert await all_ids(tracked, 3, sort="status", type="odd") == odd


async def test_by_modification(tracked: Tracked, many: list[str]) -> None:
    """By the last change."""
    changed = await known(tracked, many[2])
    changed.payload["x"] = 1
    await changed.save()
    wanted = [*[each for each in many if each != many[2]], many[2]]
    assert await all_ids(tracked, 5, sort="modified") == wanted
    even = [each for each in wanted if many.index(each) % 2 == 0]
    assert await all_ids(tracked, 5, sort="modified", direction="desc", type="even") == even[::-1]


async def test_by_completion(tracked: Tracked, many: list[str]) -> None:
    """By the end, of those that have ended."""
    await tracked.cancel(many[2])
    wanted = [*[each for index, each in enumerate(many) if index % 5 == 0], many[2]]
    assert await all_ids(tracked, 3, sort="completed") == wanted
    assert await all_ids(tracked, 3, sort="completed", direction="desc") == wanted[::-1]


async def test_tasks_come_and_go(tracked: Tracked, many: list[str]) -> None:
    """A cursor stays right: what was removed or added meanwhile shifts nothing."""
    first = await tracked.query(page_size=6)
    assert [task.id for task in first.tasks] == many[:6]
    for gone in (many[5], many[6], many[0]):
        await tracked.remove(gone)
    new = await tracked.create("odd")
    second = await tracked.query(page_size=100, cursor=first.cursor)
    assert [task.id for task in second.tasks] == [*many[7:], new.id]


async def test_tasks_of_one_moment(tracked: Tracked, redis: Redis) -> None:
    """Tasks that different processes created in one microsecond are all seen, once."""
    ids = sorted(f"t{index:02}" for index in range(30))
    for task_id in ids:
        task = await tracked.create("mail", id=task_id)
        scores = {task_id: 1_700_000_000_000_000}
        created = 1_700_000_000_000_000
        for key in (KEYS.tasks_by("created"), KEYS.tasks_by("created", "type", "mail")):
            await redis.zadd(key, scores)
        for of in ((), ("type", "mail")):
            await redis.zadd(KEYS.tasks_by("status", "pending", *of), scores)
        client: Any = redis
        await client.hset(KEYS.task(task.id), "created", created)
    assert await all_ids(tracked, 4) == ids
    assert await all_ids(tracked, 4, direction="desc") == ids[::-1]
    assert await all_ids(tracked, 40, status="pending") == ids


async def test_another_size_is_no_other_query(tracked: Tracked, many: list[str]) -> None:
    """A cursor goes on with pages of any size."""
    odd = [task_id for index, task_id in enumerate(many) if index % 2]
    cursor = (await tracked.query(page_size=2, type="odd")).cursor
    page = await tracked.query(page_size=9, type="odd", cursor=cursor)
    assert [task.id for task in page.tasks] == odd[2:11]


async def test_a_payload_is_no_condition(tracked: Tracked, many: list[str]) -> None:
    """What stands in it neither filters nor sorts: both are refused, with what there is instead."""
    for wrong in ({"payload": {"index": 3}}, {"filter": "index > 17"}, {"index": 3}):
        with pytest.raises(UnknownOption, match="tags"):
            await tracked.query(**wrong)
    with pytest.raises(UsageError, match="created, modified, completed, status"):
        await tracked.query(sort="payload.index")
    assert [each.payload async for each in tracked.iterate(tags=["third1"], page_size=3)] == [
        {"index": index} for index in range(1, COUNT, 3)
    ]


async def test_tasks_of_a_page(tracked: Tracked, many: list[str]) -> None:
    """Irontask's 'ReadonlyTask' suite: what a page gives can be enabled, disabled, saved and removed."""
    page = await tracked.query(status="pending", page_size=1)
    task = page.tasks[0]
    assert task.id == many[2]
    server = await known(tracked, task.id)
    server.payload["index"] = "changed"
    await server.save()
    await task.disable()
    await task.disable()
    assert (task.status, task.enabled, task.payload) == ("disabled", False, {"index": 2})
    server = await known(tracked, task.id)
    assert (server.status, server.payload) == ("disabled", {"index": "changed"})
    await task.enable()
    await task.enable()
    assert (task.status, task.enabled, task.payload) == ("pending", True, {"index": 2})
    server = await known(tracked, task.id)
    assert (server.status, server.payload) == ("pending", {"index": "changed"})
    assert task.to_json()["id"] == task.id
    assert repr(task) == f"<TrackedTask {task.id} 'even' pending>"
    assert await task.remove()
    assert not await task.remove()
    assert await tracked.get(task.id) is None


async def test_time_alone_changes_statuses(tracked: Tracked) -> None:
    """A scheduled task whose time has come is found as pending, an expired run as well."""
    made = [
        await tracked.create("mail", delay=delay, lock_duration=lasts)
        for delay, lasts in ((600_000, 100), (50, 100), (0, 600_000), (0, 100))
    ]
    later, soon, long, short = (task.id for task in made)
    for task_id in (long, short):
        assert (await locks.claim(tracked.store, task_id, "mail", "x:1:y#z")).ours

    async def both() -> bool:
        return await all_ids(tracked, status="pending") == [soon, short]

    await wait_for(both)
    assert await all_ids(tracked, status="scheduled") == [later]
    assert await all_ids(tracked, status="running") == [long]
    assert await tracked.count(status="pending") == 2


async def test_count(tracked: Tracked, many: list[str]) -> None:
    """How many there are, of a type, with a status, or both."""
    assert await tracked.count() == len(many)
    assert await tracked.count(type="odd") == 11
    assert await tracked.count(status="cancelled") == 5
    assert await tracked.count(type="odd", status="cancelled") == 2


async def commands(redis: Redis) -> int:
    """How many commands the server has processed, scripts' own included."""
    info: Any = await redis.info("commandstats")
    return sum(each["calls"] for name, each in info.items() if "info" not in name)


async def cost(redis: Redis, tracked: Tracked, **query: Any) -> tuple[int, int, str | None]:
    """Commands and round trips of one page, and its cursor."""
    trips, before = tracked.store.line.round_trips, await commands(redis)
    page = await tracked.query(page_size=20, **query)
    assert len(page.tasks) == 20
    after = await commands(redis)
    return after - before, tracked.store.line.round_trips - trips, page.cursor


async def bulk(store: Store, count: int, start: int = 0) -> None:
    """Create many records at once, by the same commands as `create`."""
    tracked = Tracked(store)
    for part in range(start, start + count, 500):
        rest = min(500, start + count - part)
        await asyncio.gather(
            *(
                tracked.create("odd" if index % 2 else "even", {"index": index}, tags=["t"])
                for index in range(part, part + rest)
            )
        )


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"type": "odd", "status": "pending"},
        {"tags": ["t"], "direction": "desc"},
        {"sort": "modified"},
        {"sort": "status"},
    ],
)
async def test_a_page_costs_what_it_holds(
    tracked: Tracked, redis: Redis, query: dict[str, Any]
) -> None:
    """A page costs the same at 60 tasks and at 1,000, at the start and in the middle."""
    await bulk(tracked.store, 60)
    small, _, _ = await cost(redis, tracked, **query)
    await bulk(tracked.store, 940, 60)
    large, trips, cursor = await cost(redis, tracked, **query)
    for _ in range(5):
        middle, _, cursor = await cost(redis, tracked, cursor=cursor, **query)
        assert middle <= small + 2
    assert large <= small + 2
    assert trips <= 4


async def calls(redis: Redis) -> Counter[str]:
    """How often the server has carried out each command, scripts' own included."""
    info: Any = await redis.info("commandstats")
    return Counter({name.removeprefix("cmdstat_"): each["calls"] for name, each in info.items()})


async def test_only_what_is_asked_for_is_read(tracked: Tracked, redis: Redis) -> None:
    """Whatever conditions and order: one call finds the ids, and no other record is read."""
    for start in range(0, 1200, 300):
        await asyncio.gather(
            *(
                tracked.create(
                    "odd" if index % 2 else "even",
                    id=f"t{index:04}",
                    tags=["all", *(["some"] if index % 5 == 0 else [])],
                    user="u" if index % 3 == 0 else None,
                    application="app",
                    enabled=index % 4 != 0,
                )
                for index in range(start, start + 300)
            )
        )
    choices: dict[str, list[Any]] = {
        "type": [None, "odd"],
        "status": [None, "pending"],
        "tags": [(), ("some",), ("some", "all")],
        "user": [None, "u"],
        "application": [None, "app"],
        "sort": ["created", "modified", "status"],
        "direction": ["asc", "desc"],
    }
    await tracked.query()  # now Redis knows the script
    for chosen in itertools.product(*choices.values()):
        query: dict[str, Any] = dict(zip(choices, chosen, strict=True))
        before, trips = await calls(redis), tracked.store.line.round_trips
        page = await tracked.query(page_size=10, **query)
        spent = await calls(redis) - before
        assert len(page.tasks) == 10, query
        assert spent["hgetall"] == 11, query  # one more tells that there is a next page
        assert spent["evalsha"] == 1, query
        assert spent["zscore"] <= 2000, query
        assert tracked.store.line.round_trips - trips <= 3


async def fill(redis: Redis, count: int, *, tag: str, kind: str, first: int = 0) -> None:
    """Ids of many tasks in the sorted sets that queries read; their records matter to nobody here."""
    scores = {f"x{index:05}": index for index in range(first, first + count)}
    for of in ((), ("tag", tag), ("type", kind)):
        await redis.zadd(KEYS.tasks_by("created", *of), scores)
    for of in ((), ("type", kind)):
        await redis.zadd(KEYS.tasks_by("modified", *of), scores)


async def test_a_rare_combination(tracked: Tracked, redis: Redis) -> None:
    """Of many tasks with a tag few are of a type: a page that has one looks at 10,000 ids at most, none
    that has a cursor is empty, and no task is left out; where few have a tag, only those are looked at.
    """
    await fill(redis, 12_000, tag="big", kind="much")
    await fill(redis, 12_000, tag="none", kind="rare", first=12_000)
    rare = await tracked.create("rare", tags=["big", "small"])
    rarer = await tracked.create("rare", tags=["big"])
    page = await tracked.query(type="rare", tags=["big"], page_size=1)
    assert ([task.id for task in page.tasks], page.cursor is None) == ([rare.id], False)
    page = await tracked.query(type="rare", tags=["big"], page_size=1, cursor=page.cursor)
    assert ([task.id for task in page.tasks], page.cursor) == ([rarer.id], None)
    before = await calls(redis)
    page = await tracked.query(type="rare", tags=["big"], direction="desc")
    assert [task.id for task in page.tasks] == [rarer.id, rare.id]
    assert (await calls(redis) - before)["zscore"] == 10_000
    page = await tracked.query(type="rare", tags=["big"], direction="desc", cursor=page.cursor)
    assert (page.tasks, page.cursor) == ([], None)
    for sort in ("created", "modified"):
        before = await calls(redis)
        page = await tracked.query(tags=["small"], sort=sort, direction="desc", type="rare")
        assert ([task.id for task in page.tasks], page.cursor) == ([rare.id], None)
        assert (await calls(redis) - before)["zscore"] <= 2
    await redis.flushdb()


@pytest.mark.full
@pytest.mark.timeout(600)
async def test_a_hundred_thousand(tracked: Tracked, redis: Redis) -> None:
    """100,000 records: pages cost the same at the start, in the middle and at the end; and memory."""
    before: Any = await redis.info("memory")
    await bulk(tracked.store, 100_000)
    after: Any = await redis.info("memory")
    await redis.delete(KEYS.queue("default"))
    without: Any = await redis.info("memory")
    job = (after["used_memory"] - without["used_memory"]) / 100_000
    each = (after["used_memory"] - before["used_memory"]) / 100_000 - job
    print(f"\n{each:.0f} bytes a record with its indexes, {job:.0f} bytes its job in the queue")
    await tracked.query(status="pending")
    loop, costs, times = asyncio.get_running_loop(), [], []
    cursor: str | None = None
    pages = 0
    while True:
        trips, began = tracked.store.line.round_trips, loop.time()
        page = await tracked.query(
            page_size=1000, cursor=cursor, type="odd", status="pending", sort="created"
        )
        times.append(loop.time() - began)
        costs.append(tracked.store.line.round_trips - trips)
        pages += 1
        cursor = page.cursor
        if cursor is None:
            break
    assert pages == 50
    assert max(costs) <= 4
    spots = (times[1], times[len(times) // 2], times[-1])
    print(
        "seconds of a page of 1,000 at the start, middle, end:", [f"{each:.3f}" for each in spots]
    )
