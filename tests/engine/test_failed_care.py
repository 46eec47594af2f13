"""Failed lists are kept to a number or an age, by choice; an archive has what they lose."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from resqpy.base.clock import failed_at_utc
from resqpy.base.model import FailedJob
from resqpy.engine.inspect.inspector import Inspector
from resqpy.engine.options import LeaderOptions
from resqpy.engine.scheduler.failed_care import FailedCareChore
from tests.support.inspecting import failed_entry
from tests.support.leading import Leading

NOW_MS, DAY_MS = 1_790_000_000_000, 86_400_000


@pytest.fixture
async def leading(redis_url: str, redis: Any) -> AsyncIterator[Leading]:
    """A leader by a clock of the test."""
    async with Leading(redis_url, NOW_MS) as leading:
        yield leading


class Care(FailedCareChore):
    """The chore, with what it tells."""

    def __init__(self, leading: Leading, **options: Any) -> None:
        self.told: list[tuple[Any, ...]] = []
        super().__init__(
            Inspector(leading.store), LeaderOptions(**options), lambda *told: self.told.append(told)
        )


async def push(redis: Any, *days: int | None, name: str = "failed") -> list[bytes]:
    """Entries that failed so many days ago; None: nobody can read when."""
    entries = [
        failed_entry(
            worker=f"h:{n}:q",
            failed_at="yesterday" if each is None else failed_at_utc(NOW_MS - each * DAY_MS),
        )
        for n, each in enumerate(days)
    ]
    await redis.rpush(f"resque:{name}", *entries)
    return entries


async def left(redis: Any, name: str = "failed") -> list[bytes]:
    """The entries of a list."""
    return list(await redis.lrange(f"resque:{name}", 0, -1))


async def test_by_default_all_are_kept(leading: Leading, redis: Any) -> None:
    """As in Resque; nothing is asked of Redis."""
    entries = await push(redis, 1000, 999)
    asked = (await redis.info("stats"))["total_commands_processed"]
    await leading.run(Care(leading))

    assert (await redis.info("stats"))["total_commands_processed"] == asked + 1  # this one
    assert await left(redis) == entries


@pytest.mark.parametrize(
    ("options", "days", "kept"),
    [
        ({"failed_keep": 2}, [5, 4, 3, 2], 2),
        ({"failed_keep": 0}, [5, 4], 0),
        ({"failed_keep": 10}, [5, 4], 2),
        ({"failed_for_ms": 3 * DAY_MS}, [9, 8, 2, 1], 2),
        ({"failed_for_ms": 3 * DAY_MS}, [2, 9, 1], 3),  # those in front of it are not old
        ({"failed_for_ms": 3 * DAY_MS}, [9, None, 1], 2),  # nobody knows whether it is old
        ({"failed_for_ms": 3 * DAY_MS}, [None, None], 2),
        ({"failed_for_ms": 3 * DAY_MS}, [None, 9, None, 8, None, 1], 2),  # before an old one it is
        ({"failed_keep": 1, "failed_for_ms": 3 * DAY_MS}, [None, None], 1),
        ({"failed_keep": 1, "failed_for_ms": 3 * DAY_MS}, [9, 2, 1], 1),
        ({"failed_keep": 3, "failed_for_ms": 3 * DAY_MS}, [9, 8, 1], 1),
    ],
)
async def test_the_oldest_go(
    leading: Leading, redis: Any, options: dict[str, int], days: list[int | None], kept: int
) -> None:
    """Beyond the number, and beyond the age; and it is told."""
    entries, care = await push(redis, *days), Care(leading, **options)
    await leading.run(care)

    assert await left(redis) == entries[len(entries) - kept :]
    gone = len(entries) - kept
    assert care.told == ([("failed_removed", "failed", gone)] if gone else [])


async def test_many_go_in_steps_and_of_each_list(leading: Leading, redis: Any) -> None:
    """Some hundred at once; the bytes kept for a large unreadable job go with its entry."""
    await push(redis, *[5] * 1200)
    await push(redis, 5, 5, name="mail_failed")
    await redis.sadd("resque:failed_queues", "mail_failed")
    care = Care(leading, failed_keep=1)
    waits = [await leading.run(care) for _ in range(3)]

    assert waits == [0.0, 0.0, 60.0]
    assert (len(await left(redis)), len(await left(redis, "mail_failed"))) == (1, 1)
    assert sum(each[2] for each in care.told) == 1200


async def test_an_archive_has_them_first(leading: Leading, redis: Any) -> None:
    """Plain or async; where it raises, nothing is lost."""
    entries = await push(redis, 9, 8, 7)
    seen: list[list[bytes]] = []

    async def archive(entries: list[FailedJob]) -> None:
        seen.append([each.raw for each in entries])
        if len(seen) == 1:
            raise OSError("disk full")

    care = Care(leading, failed_keep=1, failed_archive=archive)
    with pytest.raises(OSError, match="disk full"):
        await leading.run(care)
    assert await left(redis) == entries

    await leading.run(care)
    assert seen == [entries[:2], entries[:2]]
    assert await left(redis) == entries[2:]
