"""`manual_clock`: time that tests move."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from resqpy import Process, api
from resqpy.base.errors import UsageError
from resqpy.testing import ManualClock, drain, find_enqueued, manual_clock


async def test_delayed_jobs_come_due(resqpy_clock: ManualClock) -> None:
    """When their time has come, not before, and in the order of their times."""
    await api.tasks.enqueue_in(120_000, "again", {"left": 2})
    await api.tasks.enqueue_in(60_000, "again", {"left": 1})

    assert await resqpy_clock.advance(58_000) == []
    moved = await resqpy_clock.advance(timedelta(minutes=3))

    assert [each.inputs for each in moved] == [{"left": 1}, {"left": 2}]
    assert [each.timestamp for each in await find_enqueued("again")] == [None, None]
    assert await api.tasks.timestamps() == []
    assert await api.tasks.scheduled_at("default", "again", {"left": 1}) == []


async def test_locks_of_plugins_count(resqpy_clock: ManualClock) -> None:
    """A delayed job whose equal waits is dropped, as by a scheduler."""
    await api.tasks.enqueue("count_words", {"text": "a"})
    await api.tasks.enqueue_in(1000, "count_words", {"text": "a"})

    assert await resqpy_clock.advance(2000) == []
    assert len(await find_enqueued("count_words")) == 1


async def test_retries_wait_for_their_time(resqpy_clock: ManualClock) -> None:
    """The workers of `drain` go by the same clock."""
    await api.tasks.enqueue("flaky")
    ends = [each.end for each in (await drain()).jobs]
    while await resqpy_clock.advance(61_000):
        ends += [each.end for each in (await drain()).jobs]

    assert ends == ["re_enqueue", "re_enqueue", "failure"]


async def test_a_task_with_a_frequency(resqpy_clock: ManualClock) -> None:
    """It begins when a test says so; there is one job of it at a time."""
    assert await resqpy_clock.advance(5000) == []
    await api.tasks.enqueue_recurrent_job("tick")
    assert [each.task for each in await resqpy_clock.advance(10_000)] == ["tick"]
    assert await resqpy_clock.advance(10_000) == []

    assert [each.result for each in (await drain()).jobs] == ["tick"]
    assert [each.task for each in await resqpy_clock.advance(1000)] == ["tick"]


async def test_a_task_begins_by_this_clock(resqpy_process: Process) -> None:
    """However much later than the clock's beginning it is by that of Redis."""
    with manual_clock(datetime.now(UTC) - timedelta(minutes=1)) as clock:
        await api.tasks.enqueue_recurrent_job("tick")
        assert [each.task for each in await clock.advance(1000)] == ["tick"]


async def test_a_task_with_a_cron(resqpy_process: Process) -> None:
    """Each of its times counts, those of long ago and those to come."""
    now = datetime.now(UTC)
    with manual_clock(now) as clock:
        await api.tasks.enqueue_all_recurrent_jobs()
        moved = await clock.advance(timedelta(days=3))

        assert [each.queue for each in moved if each.task == "report"] == ["cron"] * 3
        assert len(await find_enqueued("report")) == 3


async def test_time_goes_on_only(resqpy_clock: ManualClock) -> None:
    """And two schedulers of different clocks are refused."""
    with pytest.raises(UsageError):
        await resqpy_clock.advance_to(resqpy_clock.now_ms() - 1)


async def test_the_process_has_its_own_time_again(resqpy_process: Process) -> None:
    """After the block."""
    queue = resqpy_process.resque.queue
    with manual_clock(datetime(2030, 1, 1, tzinfo=UTC)) as clock:
        await api.tasks.enqueue_in(1000, "tick")
        assert await api.tasks.timestamps() == [1_893_456_001_000]
        assert queue.clock is clock
    assert queue.clock is not clock
