"""What `resqpy schedule` shows and does."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from resqpy.base.errors import UnknownTask
from resqpy.engine.inspect.schedule_view import ScheduleView
from resqpy.engine.queue.periodic import RecurrentJobs
from resqpy.engine.queue.queue import Queue
from resqpy.framework.config.sections import SchedulerOptions
from resqpy.schedules.schedule import Schedule

JOBS: dict[str, Any] = {
    "tick": {"perform": print, "frequency": 1000, "queue": "q"},
    "night": {"perform": print, "cron": "30 2 * * *", "timezone": "Europe/Berlin"},
    "wild": {"perform": print, "cron": "*/30 2 * * * Europe/Berlin"},
    "plain": print,
}


@pytest.fixture
async def queue(redis_url: str) -> AsyncIterator[Queue]:
    """A queue with some periodic tasks, which are announced."""
    async with Queue(redis_url, JOBS) as queue:
        await RecurrentJobs(queue).enqueue_all_recurrent_jobs()
        yield queue


@pytest.fixture
def view(queue: Queue) -> ScheduleView:
    """The view on it."""
    return ScheduleView(queue, SchedulerOptions(ruby_timezone="UTC"))


async def entries(view: ScheduleView) -> dict[str, Schedule]:
    """All entries by name."""
    return {entry.name: entry for entry in (await view.load()).entries}


async def test_every_periodic_task_with_last_and_next(
    view: ScheduleView, queue: Queue, redis: Any
) -> None:
    """Ours and Ruby's, sorted; what can't be run says why."""
    await redis.hset(
        "resque:persistent_schedules", "ruby", '{"class":"J","queue":"q","cron":"0 0 1 1 *"}'
    )
    await redis.hset("resque:persistent_schedules", "bad", '{"class":"J","queue":"q"}')
    await redis.hset(
        "resque:persistent_schedules", "env", '{"class":"J","queue":"q","every":"1h","env":"x"}'
    )
    await redis.hset("resque:delayed:last_enqueued_at", "ruby", "2026-01-01 01:00:00 +0100")
    await redis.hset("resque:resqpy:periodic:tasks", "odd", "{}")
    table = await view.load()
    found = {entry.name: entry for entry in table.entries}
    assert list(found) == ["bad", "env", "night", "odd", "ruby", "tick", "wild"]
    assert [entry.kind for entry in table.entries] == [
        "ruby", "ruby", "cron", "cron", "ruby", "frequency", "cron",
    ]  # fmt: skip
    assert (found["tick"].timing, found["tick"].queue, found["tick"].state) == (
        "every 1 s",
        "q",
        "waiting",
    )
    assert found["tick"].next is not None
    assert found["tick"].last is None
    assert found["night"].timing == "30 2 * * * Europe/Berlin"
    assert found["wild"].timing == "*/30 2 * * * Europe/Berlin"
    assert found["night"].next is not None
    assert found["night"].next > table.now
    assert found["ruby"].last == datetime(2026, 1, 1, tzinfo=UTC)
    assert found["ruby"].next is not None
    assert "neither" in found["bad"].problem
    assert (found["odd"].state, found["env"].state) == ("invalid", "inactive")


async def test_states(view: ScheduleView, queue: Queue, redis: Any) -> None:
    """Under way, paused, stopped, failed, inactive."""
    verbs = RecurrentJobs(queue)
    assert await view.trigger("tick")
    found = (await entries(view))["tick"]
    assert (found.state, found.next) == ("under way", None)
    assert found.last is not None
    assert await view.pause("tick")
    assert (await entries(view))["tick"].state == "paused"
    await verbs.stop_recurrent_job("tick")
    assert (await entries(view))["tick"].state == "stopped"
    await redis.hset("resque:resqpy:periodic:stopped", "tick", "failed")
    assert (await entries(view))["tick"].state == "failed"
    await redis.zadd("resque:resqpy:periodic:seen", {"gone": 1000})
    await redis.hset(
        "resque:resqpy:periodic:tasks", "gone", '{"queue":"q","args":[],"frequency":1}'
    )
    assert (await entries(view))["gone"].state == "inactive"


async def test_all_fires_between_two_dates(view: ScheduleView, redis: Any) -> None:
    """In order, in local time and UTC, with what clocks skip and double."""
    await redis.hset(
        "resque:persistent_schedules", "ruby", '{"class":"J","queue":"q","cron":"0 0 * * *"}'
    )
    await view.pause("tick")
    table = await view.load()
    spring = datetime(2026, 3, 29, tzinfo=UTC)
    shown = [
        (fire.name, fire.at.strftime("%H:%M"), f"{fire.local:%H:%M %Z}", fire.mark, fire.runs)
        for fire in table.fires(spring, spring + timedelta(days=1))
    ]
    assert shown == [
        ("ruby", "00:00", "00:00 UTC", "normal", True),
        ("night", "01:00", "03:00 CEST", "skipped", True),
        ("wild", "01:00", "03:00 CEST", "skipped", False),
        ("wild", "01:00", "03:00 CEST", "skipped", False),
    ]
    autumn = datetime(2026, 10, 25, tzinfo=UTC)
    shown = [
        (fire.name, fire.at.strftime("%H:%M"), f"{fire.local:%H:%M %Z}", fire.mark, fire.runs)
        for fire in table.fires(autumn, autumn + timedelta(hours=2))
        if fire.name == "night"
    ]
    assert shown == [
        ("night", "00:30", "02:30 CEST", "doubled", True),
        ("night", "01:30", "02:30 CET", "doubled", False),
    ]


async def test_the_fires_of_a_frequency(view: ScheduleView, queue: Queue) -> None:
    """As if each run ended within its period; none before the next."""
    table = await view.load()
    start = table.now + timedelta(seconds=10)
    fires = [
        fire for fire in table.fires(start, start + timedelta(seconds=5)) if fire.name == "tick"
    ]
    assert len(fires) == 5
    past = list(table.fires(table.now - timedelta(hours=2), table.now - timedelta(hours=1)))
    assert [fire for fire in past if fire.name == "tick"] == []


async def test_pause_resume_and_trigger_by_name(view: ScheduleView, redis: Any) -> None:
    """Tasks first, then Ruby's schedules; an unknown name is told with the nearest."""
    await redis.hset(
        "resque:persistent_schedules", "ruby", '{"class":"J","queue":"r","every":"1h"}'
    )
    for name in ("night", "ruby"):
        assert await view.pause(name)
        assert not await view.pause(name)
        assert (await entries(view))[name].state == "paused"
        assert await view.resume(name)
        assert not await view.resume(name)
        assert await view.trigger(name)
    assert await redis.lrange("resque:queue:r", 0, -1) == [b'{"class":"J","args":[]}']
    assert json.loads((await redis.lrange("resque:queue:default", 0, -1))[0])["class"] == "night"
    with pytest.raises(UnknownTask, match="ruby"):
        await view.trigger("rubi")
