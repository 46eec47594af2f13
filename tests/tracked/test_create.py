"""When a new task runs: irontask's client suite, '#create', on a real Redis."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from redis.asyncio import Redis

from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.tracked.verbs import Tracked
from tests.tracked.support import KEYS, known


def now() -> datetime:
    """Now, by the clock that tasks are created by."""
    return datetime.fromtimestamp(SYSTEM_CLOCK.now_ms() / 1000, UTC)


async def test_once_and_now(tracked: Tracked) -> None:
    """'creates a one-time task scheduled for now by default'."""
    before = now()
    task = await tracked.create("mail", {"hello": "world"})
    assert (task.type, task.enabled, task.status) == ("mail", True, "pending")
    assert task.next_run_time is not None
    assert before <= task.create_time <= now()
    assert before <= task.next_run_time <= now()
    assert before <= task.last_updated_time <= now()
    assert (task.last_run, task.current_run_start_time, task.interval) == (None, None, None)
    assert (task.runs, task.attempts, task.deliveries) == (0, 0, 0)
    assert task.payload == {"hello": "world"}


async def test_at_a_time(tracked: Tracked, redis: Redis) -> None:
    """'allows the task to be scheduled for a custom time': any scheduler promotes it then."""
    start = now() + timedelta(minutes=5, milliseconds=1)
    task = await tracked.create("mail", start=start)
    assert (task.status, task.next_run_time) == ("scheduled", start)
    second = -int(-start.timestamp() // 1)
    assert await redis.llen(KEYS.delayed(second)) == 1
    assert await redis.zrange(KEYS.schedule, 0, -1) == [str(second).encode()]
    assert await redis.llen(KEYS.queue("default")) == 0


async def test_after_a_time(tracked: Tracked) -> None:
    """A delay counts from now."""
    task = await tracked.create("mail", delay=timedelta(minutes=5))
    assert task.status == "scheduled"
    assert task.next_run_time is not None
    assert (
        timedelta()
        <= task.next_run_time - task.create_time - timedelta(minutes=5)
        < timedelta(seconds=1)
    )


async def test_at_a_time_that_has_passed(tracked: Tracked, redis: Redis) -> None:
    """A start in the past is kept, and the task is pending."""
    start = now() - timedelta(minutes=1)
    task = await tracked.create("mail", start=start)
    assert (task.status, task.next_run_time) == ("pending", start)
    assert await redis.llen(KEYS.queue("default")) == 1


async def test_a_numeric_interval(tracked: Tracked) -> None:
    """'supports repeating tasks with a numeric interval, setting the first run to the current time'."""
    before = now()
    task = await tracked.create("mail", interval=60_000)
    assert task.next_run_time is not None
    assert before <= task.next_run_time <= now()
    assert (task.status, task.interval) == ("pending", 60_000)


async def test_a_cron_interval(tracked: Tracked) -> None:
    """'supports repeating tasks with a cron string interval'; it means the clock of its zone."""
    due = (now() + timedelta(minutes=5)).replace(second=0, microsecond=0)
    task = await tracked.create("mail", interval=f"{due.minute} * * * *")
    assert (task.status, task.interval) == ("scheduled", f"{due.minute} * * * *")
    assert task.next_run_time == due
    berlin = await tracked.create("mail", interval="30 12 1 7 *", timezone="Europe/Berlin")
    assert berlin.next_run_time is not None
    assert berlin.next_run_time.strftime("%m-%d %H:%M") == "07-01 10:30"
    assert (await known(tracked, berlin.id)).to_json()["timezone"] == "Europe/Berlin"


async def test_an_interval_with_a_first_run(tracked: Tracked) -> None:
    """'supports repeating tasks paired with a custom first run time'."""
    start = now() + timedelta(minutes=5)
    for interval in (60_000, "* * * * *"):
        task = await tracked.create("mail", interval=interval, start=start)
        assert (task.status, task.next_run_time, task.interval) == ("scheduled", start, interval)


async def test_an_end(tracked: Tracked, redis: Redis) -> None:
    """'supports ending a task at a user defined end date': one that never runs has failed."""
    end = now() + timedelta(minutes=4)
    over = await tracked.create("mail", interval=60_000, start=end + timedelta(minutes=1), end=end)
    assert (over.status, over.next_run_time, over.interval) == ("failed", None, 60_000)
    assert over.error is not None
    assert over.error.name == "neverRuns"
    assert over.to_json()["end_time"] == end.isoformat(timespec="milliseconds")
    assert await redis.zcard(KEYS.schedule) == 0
    begins = await tracked.create("mail", interval=60_000, start=end - timedelta(1), end=end)
    assert begins.status == "pending"


async def test_disabled(tracked: Tracked, redis: Redis) -> None:
    """'supports tasks that are disabled by default': no worker of any language finds its job."""
    task = await tracked.create("mail", enabled=False)
    assert (task.status, task.enabled) == ("disabled", False)
    assert task.next_run_time is not None
    assert task.next_run_time <= now()
    assert await redis.exists(KEYS.queue("default"), KEYS.schedule) == 0


async def test_what_get_gives(tracked: Tracked) -> None:
    """'returns the requested task with all of the same data returned upon creation'."""
    for options in ({}, {"interval": "0 0 * * *", "enabled": False, "tags": ["a"], "priority": 3}):
        task = await tracked.create("mail", {"hello": "world"}, **options)  # type: ignore[arg-type]
        found = await known(tracked, task.id)
        assert found.to_json() == task.to_json()
        assert found.record == task.record
        assert found.payload == {"hello": "world"}
