"""A verb for all tasks that meet some conditions, and how many there are: irontask's client suite."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy.base.errors import UnknownOption, UsageError
from resqpy.tracked import locks
from resqpy.tracked.verbs import Tracked
from tests.tracked.support import KEYS, known


@pytest.fixture
async def groups(tracked: Tracked) -> dict[str, list[str]]:
    """Ids by group: two types, two tags."""
    ids: dict[str, list[str]] = {}
    for kind, tag in (("mail", "a"), ("mail", "b"), ("mail", "a"), ("other", "a")):
        task = await tracked.create(kind, tags=[tag], user="me" if tag == "a" else None)
        for group in ("all", kind, tag, kind + tag):
            ids.setdefault(group, []).append(task.id)
    return ids


SELECTIONS: list[tuple[dict[str, Any], str]] = [
    ({}, "all"),
    ({"type": "mail"}, "mail"),
    ({"tags": ["a"]}, "a"),
    ({"type": "mail", "tags": ["a"]}, "maila"),
    ({"user": "me"}, "a"),
]


@pytest.mark.parametrize(("conditions", "group"), SELECTIONS)
async def test_disable_and_enable(
    tracked: Tracked, groups: dict[str, list[str]], conditions: dict[str, Any], group: str
) -> None:
    """'disables all tasks of the type', 'can be filtered to certain tasks'; the same of enabling."""
    ids = set(groups[group])
    assert await tracked.all(**conditions).disable() == len(ids)
    disabled = {task.id async for task in tracked.iterate() if not task.enabled}
    assert disabled == ids
    assert {task.id async for task in tracked.iterate(status="disabled")} == ids
    assert await tracked.all(**conditions).enable() == len(ids)
    assert await tracked.count(status="pending") == 4


@pytest.mark.parametrize(("conditions", "group"), SELECTIONS)
async def test_remove(
    tracked: Tracked,
    redis: Redis,
    groups: dict[str, list[str]],
    conditions: dict[str, Any],
    group: str,
) -> None:
    """'deletes all tasks of the type', 'can be filtered to certain tasks', with their jobs."""
    rest = [each for each in groups["all"] if each not in groups[group]]
    assert await tracked.all(**conditions).remove() == len(groups[group])
    assert [task.id async for task in tracked.iterate()] == rest
    assert await redis.llen(KEYS.queue("default")) == len(rest)


async def test_cancel_and_retry(tracked: Tracked) -> None:
    """A task in whose status the verb is refused is left as it is, and not counted."""
    later = await tracked.create("mail", delay=60_000)
    running = await tracked.create("mail")
    assert (await locks.claim(tracked.store, running.id, "mail", "x:1:y#z")).ours
    assert await tracked.all(type="mail").retry() == 1
    assert (await known(tracked, later.id)).status == "pending"
    assert await tracked.all().cancel() == 1
    assert (await known(tracked, later.id)).status == "cancelled"
    assert (await known(tracked, running.id)).status == "running"


async def test_enable_with_a_new_next_run(tracked: Tracked) -> None:
    """All recurring tasks run at the next time their intervals name, not at those that have passed."""
    task = await tracked.create("mail", enabled=False, interval="*/5 * * * *", start=10**12)
    assert await tracked.all(type="mail").enable(recompute_next_run=True) == 1
    assert (await known(tracked, task.id)).status == "scheduled"


async def test_many_at_once(tracked: Tracked) -> None:
    """More than a page of them, and those whose status is asked for while it changes."""
    for _ in range(250):
        await tracked.create("mail")
    assert await tracked.all(status="pending").cancel() == 250
    assert await tracked.all(status="pending").cancel() == 0
    assert await tracked.all(status="cancelled", type="mail").remove() == 250
    assert await tracked.count() == 0


COUNTS: list[tuple[dict[str, Any], int]] = [
    ({}, 4),
    ({"type": "mail"}, 3),
    ({"type": "nonexistent"}, 0),
    ({"status": "pending"}, 3),
    ({"type": "mail", "status": "pending"}, 2),
    ({"tags": ["a"]}, 3),
    ({"tags": ["b"]}, 1),
    ({"tags": ["a", "b"]}, 0),
    ({"user": "me"}, 3),
    ({"application": "none"}, 0),
    ({"type": "mail", "tags": ["a"]}, 2),
    ({"status": "disabled", "tags": ["a"], "type": "mail"}, 1),
    ({"user": "me", "tags": ["a"], "status": "pending"}, 2),
]


@pytest.mark.parametrize(("conditions", "count"), COUNTS)
async def test_count(
    tracked: Tracked, groups: dict[str, list[str]], conditions: dict[str, Any], count: int
) -> None:
    """How many there are under any conditions; one set answers, or the records are read."""
    await tracked.disable(groups["maila"][0])
    assert await tracked.count(**conditions) == count
    assert len([task async for task in tracked.iterate(**conditions)]) == count


async def test_count_of_the_smallest_set(tracked: Tracked, groups: dict[str, list[str]]) -> None:
    """Whichever set is read, the other conditions are asked of each record."""
    await tracked.disable(groups["b"][0])
    assert await tracked.count(status="pending", tags=["b"]) == 0
    assert await tracked.count(status="disabled", tags=["b"]) == 1
    assert await tracked.all(status="pending", tags=["b"]).remove() == 0


async def test_wrong_conditions(tracked: Tracked) -> None:
    """What can't be asked for is refused before anything is done."""
    await tracked.create("mail")
    with pytest.raises(UnknownOption, match="did you mean 'type'"):
        tracked.all(typ="mail")  # type: ignore[call-arg]
    with pytest.raises(UsageError, match="status 'paused'"):
        tracked.all(status="paused")
    with pytest.raises(UsageError, match="status 'paused'"):
        await tracked.count(status="paused")
    assert await tracked.count(status="pending") == 1
