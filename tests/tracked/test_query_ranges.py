"""Queries by several statuses, by priority and by ranges of time: what a walk over all records finds."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

import pytest

from resqpy.base.errors import UsageError, WrongCursor
from resqpy.tracked.handle import TrackedTask
from resqpy.tracked.verbs import Tracked

HOUR = 3_600_000
STATUSES = ("pending", "scheduled", "cancelled", "disabled")


@pytest.fixture
async def tasks(tracked: Tracked) -> list[TrackedTask]:
    """Some of each, as they are at last."""
    chance = random.Random(7)
    made = []
    for n in range(60):
        task = await tracked.create(
            "mail" if n % 3 else "post",
            {},
            queue="q",
            priority=chance.choice([-1, 0, 5]),
            tags=["even"] if n % 2 == 0 else [],
            delay=chance.choice([0, HOUR, 2 * HOUR]),
        )
        if (verb := chance.choice(["", "", "cancel", "disable"])) != "":
            await getattr(task, verb)()
        made.append(task)
    return [await tracked.fetch(each.id) for each in made]


def times_of(task: TrackedTask, name: str) -> int | None:
    """One of its times, in microseconds."""
    record = task.record
    due_us = None if record.next_run_ms is None else record.next_run_ms * 1000
    named = {"created": record.created_us, "modified": record.updated_us, "due": due_us}
    return named.get(name, record.completed_us)


def expected(tasks: list[TrackedTask], wanted: dict[str, Any]) -> list[str]:
    """The ids in the order of the query."""

    def fits(task: TrackedTask) -> bool:
        for name in ("created", "modified", "completed", "due"):
            if (given := wanted.get(name)) is not None:
                time_us = times_of(task, name)
                since, until = (
                    (each or bound) for each, bound in zip(given, (0, 1e14), strict=True)
                )
                if time_us is None or not since * 1000 <= time_us < until * 1000:
                    return False
        status = wanted.get("status", STATUSES)
        return (
            task.status in ([status] if isinstance(status, str) else status)
            and wanted.get("type") in (None, task.type)
            and set(wanted.get("tags", ())) <= set(task.tags)
            and wanted.get("priority") in (None, task.priority)
        )

    sort = wanted.get("sort", "created")
    chosen = [task for task in tasks if fits(task)]
    if sort == "completed":
        chosen = [task for task in chosen if task.record.completed_us is not None]
    chosen.sort(key=lambda task: times_of(task, sort) or 0)
    ids = [task.id for task in chosen]
    return ids[::-1] if wanted.get("direction") == "desc" else ids


async def test_what_a_walk_finds(tracked: Tracked, tasks: list[TrackedTask]) -> None:
    """Any conditions together, in any order, in pages of any size; and as many are counted."""
    chance = random.Random(11)
    stamps = sorted(each.record.created_us // 1000 for each in tasks)
    for _ in range(60):
        wanted: dict[str, Any] = {}
        if chance.random() < 0.6:
            wanted["status"] = chance.sample(STATUSES, chance.randint(1, 3))
        if chance.random() < 0.3:
            wanted["type"] = chance.choice(["mail", "post"])
        if chance.random() < 0.3:
            wanted["tags"] = ["even"]
        if chance.random() < 0.3:
            wanted["priority"] = chance.choice([-1, 0, 5])
        for name in ("created", "modified", "completed"):
            if chance.random() < 0.3:
                bounds = sorted(chance.sample(stamps, 2))
                wanted[name] = tuple(each if chance.random() < 0.8 else None for each in bounds)
        if chance.random() < 0.3:
            wanted["due"] = (
                stamps[0] + HOUR // 2,
                chance.choice([None, stamps[0] + HOUR * 3 // 2]),
            )
        right = expected(tasks, wanted)
        assert await tracked.count(**wanted) == len(right)
        order: dict[str, Any] = {
            "sort": chance.choice(["created", "modified", "completed"]),
            "direction": chance.choice(["asc", "desc"]),
        }
        size = chance.choice([1, 3, 100])
        found = [each.id async for each in tracked.iterate(page_size=size, **wanted, **order)]
        assert found == expected(tasks, {**wanted, **order}), (wanted, order, size)


async def test_several_statuses_sorted_by_status(
    tracked: Tracked, tasks: list[TrackedTask]
) -> None:
    """One status after the other, each by creation."""
    page = await tracked.query(status=["disabled", "pending"], sort="status", page_size=100)
    found = [(each.status.value, each.record.created_us) for each in page.tasks]
    order = list(dict.fromkeys(status for status, _ in found))
    assert sorted(order) == ["disabled", "pending"]
    assert found == sorted(found, key=lambda each: (order.index(each[0]), each[1]))


async def test_a_verb_for_several_statuses(tracked: Tracked, tasks: list[TrackedTask]) -> None:
    """A selection takes the same conditions."""
    wanted = expected(tasks, {"status": ["pending", "scheduled"], "priority": 5})
    done = await tracked.all(status=["pending", "scheduled"], priority=5).cancel()
    assert done == len(wanted)
    assert {(await tracked.fetch(each)).status for each in wanted} == {"cancelled"}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"status": []}, "status"),
        ({"status": ["pending", "pendign"]}, "did you mean"),
        ({"created": 5}, "since, until"),
        ({"created": (1_700_000_000, None)}, "1700000000000"),
        ({"due": (datetime(2026, 1, 1), None)}, "no time zone"),  # noqa: DTZ001
        ({"priority": 10}, "priority"),
        ({"createdd": (None, None)}, "created"),
    ],
)
async def test_what_is_wrong(tracked: Tracked, wrong: Any, words: str) -> None:
    """It is said."""
    with pytest.raises(UsageError, match=words):
        await tracked.query(**wrong)


async def test_a_cursor_of_other_conditions(tracked: Tracked, tasks: list[TrackedTask]) -> None:
    """Other ranges or statuses are another query."""
    since = datetime(2020, 1, 1, tzinfo=UTC)
    page = await tracked.query(created=(since, None), status=["pending", "disabled"], page_size=1)
    assert page.cursor is not None
    for other in ({"status": ["pending"]}, {"created": (None, since)}, {"priority": 0}):
        with pytest.raises(WrongCursor):
            await tracked.query(cursor=page.cursor, page_size=1, **other)
