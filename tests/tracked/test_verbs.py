"""The verbs from outside a run: irontask's task suite, TWIN's connector, and what is refused."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from redis.asyncio import Redis

from resqpy.base import codec
from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.when import Backoff
from resqpy.tracked import locks
from resqpy.tracked.errors import AlreadySaving, TaskStateError, UnknownTaskId
from resqpy.tracked.handle import TrackedTask
from resqpy.tracked.record import TaskError, error_to_dict
from resqpy.tracked.verbs import Tracked
from resqpy.tracked.view import RunTimes
from tests.support.redis_state import dump
from tests.tracked.support import KEYS, known

PAYLOAD = {"first": "property", "second": 123, "arr": [True, False]}


def now_ms() -> int:
    """Now."""
    return SYSTEM_CLOCK.now_ms()


# -- create --


async def test_create(tracked: Tracked, redis: Redis) -> None:
    """A task is a record and an ordinary job with the id in its first argument; one round trip."""
    trips = tracked.store.line.round_trips
    await tracked.create("mail", {"to": "a"})  # the first one loads the script, and asks the time
    trips = tracked.store.line.round_trips - trips
    before = tracked.store.line.round_trips
    task = await tracked.create("mail", {"to": "b"})
    assert tracked.store.line.round_trips - before == 1
    assert trips <= 4
    jobs = await redis.lrange(KEYS.queue("default"), -1, -1)
    text = '{"class":"mail","queue":"default","args":[{"to":"b","_task_id":"ID"}]}'
    assert jobs == [text.replace("ID", task.id).encode()]
    assert await redis.smembers(KEYS.queues) == {b"default"}
    assert (task.status, task.runs, task.attempts, task.deliveries) == ("pending", 0, 0, 0)
    assert (await known(tracked, task.id)).to_json() == task.to_json()


async def test_create_with_everything(tracked: Tracked) -> None:
    """All that can be said of a task is kept."""
    start = datetime(2040, 1, 1, tzinfo=UTC)
    task = await tracked.create(
        "mail", {"to": "ä"}, id="my.id", queue="q", priority=5, tags=["a", "b", "a"],
        interval=timedelta(minutes=1), start=start, end=start + timedelta(days=1), retries=None,
        backoff=Backoff(1, 2, 3, randomize=True), linked=True, retain_for=timedelta(days=1),
        lock_duration=1000, longest_execution=0, application="app", user="me",
    )  # fmt: skip
    shown = (await known(tracked, "my.id")).to_json()
    wanted = {
        "id": "my.id", "type": "mail", "queue": "q", "status": "scheduled", "priority": 5,
        "payload": {"to": "ä"}, "tags": ["a", "b"], "interval": 60_000, "enabled": True,
        "start_time": "2040-01-01T00:00:00.000+00:00", "end_time": "2040-01-02T00:00:00.000+00:00",
        "next_run_time": "2040-01-01T00:00:00.000+00:00", "retries": None, "linked": True,
        "retries_remaining": None, "retry_interval": 1, "backoff_factor": 2.0,
        "retain_for": 86_400_000, "lock_duration": 1000, "longest_execution": None,
        "created_by_application": "app", "created_by_user": "me", "at_most_once": False,
    }  # fmt: skip
    assert {name: shown[name] for name in wanted} == wanted
    assert task.to_json() == shown


async def test_each_field_is_a_property(tracked: Tracked, redis: Redis) -> None:
    """What `to_json` shows has a property of the same name, with its type."""
    task = await tracked.create("mail", id="old", retries=2, linked=True, delay=1, retain_for=9_000)
    claim = await locks.claim(tracked.store, task.id, "mail", "w#1")
    assert claim.record is not None
    for shown in (task, TrackedTask(claim.record, tracked), await ended(tracked, redis)):
        for name, value in shown.to_json().items():
            if name in {"retry_interval", "backoff_factor"}:
                assert value in {shown.backoff.first_ms, shown.backoff.factor}
            else:
                assert as_json(getattr(shown, name)) == value, name


async def ended(tracked: Tracked, redis: Redis) -> TrackedTask:
    """A task that was cancelled, which has an error as well."""
    task = await tracked.create("mail", tags=["a"], application="app", user="me", retain_for=9_000)
    await redis.hset(KEYS.task(task.id), "error", '{"type":"runtime","name":"E","message":"m"}')
    await tracked.cancel(task.id)
    return await known(tracked, task.id)


def as_json(value: object) -> object:
    """A property's value as `to_json` has it."""
    match value:
        case datetime():
            return iso(value)
        case RunTimes():
            return {name: as_json(each) for name, each in value._asdict().items()}
        case TaskError():
            return error_to_dict(value)
        case tuple():
            return list(value)
    return value


async def test_get_of_nothing(tracked: Tracked) -> None:
    """'returns undefined if the task is not found'."""
    assert await tracked.get("nonexistant-id") is None


# -- save --


async def test_save(tracked: Tracked) -> None:
    """'updates the task payload with any changes made'."""
    task = await tracked.create("mail", PAYLOAD)
    task.payload["first"] = "updated"
    await task.save()
    wanted = {**PAYLOAD, "first": "updated"}
    assert task.payload == wanted
    assert (await known(tracked, task.id)).payload == wanted


async def test_save_only_what_was_changed(tracked: Tracked) -> None:
    """'only changes information we updated and does not modify our payload with updates …'."""
    task = await tracked.create("mail", PAYLOAD)
    copy = await known(tracked, task.id)
    copy.payload = {"first": "server", "second": False, "arr": ["now"], "additional": None}
    await copy.save()
    task.payload["first"] = "updated"
    await task.save()
    assert task.payload == {**PAYLOAD, "first": "updated"}
    wanted = {"first": "updated", "second": False, "arr": ["now"], "additional": None}
    assert (await known(tracked, task.id)).payload == wanted


async def test_save_twice_at_once(tracked: Tracked) -> None:
    """'does not allow multiple saves to be performed concurrently'."""
    task = await tracked.create("mail", PAYLOAD)
    task.payload["first"] = "updated"
    saving = asyncio.create_task(task.save())
    await asyncio.sleep(0)
    task.payload["second"] = 456
    with pytest.raises(AlreadySaving):
        await task.save()
    await saving
    assert task.payload == {**PAYLOAD, "first": "updated", "second": 456}
    assert (await known(tracked, task.id)).payload == {**PAYLOAD, "first": "updated"}
    await task.save()
    assert (await known(tracked, task.id)).payload == task.payload


# -- enable, disable --


async def test_enable(tracked: Tracked, redis: Redis) -> None:
    """'enables the task if it was disabled': its job enters the queue."""
    task = await tracked.create("mail", enabled=False)
    assert await redis.llen(KEYS.queue("default")) == 0
    await task.enable()
    server = await known(tracked, task.id)
    assert (task.status, server.status, server.enabled) == ("pending", "pending", True)
    assert await redis.llen(KEYS.queue("default")) == 1


async def test_enable_with_a_new_next_run(tracked: Tracked) -> None:
    """'enables the task with options'."""
    past = now_ms() - 300_000
    task = await tracked.create("mail", enabled=False, interval="0 0 1 1 *", start=past)
    assert task.status == "disabled"
    await task.enable(recompute_next_run=True)
    server = await known(tracked, task.id)
    assert (task.status, server.status) == ("scheduled", "scheduled")
    assert server.record.next_run_ms is not None
    assert server.record.next_run_ms > now_ms()


async def test_enable_after_the_end(tracked: Tracked) -> None:
    """'completes a scheduled task if nextRunTime is greater than lastRunTime'; one that never ran has
    failed, and says why.
    """
    start, day = now_ms(), 86_400_000
    later = await tracked.create(
        "mail", enabled=False, interval=day, start=start, end=start + 2 * day
    )
    await later.enable(recompute_next_run=True)
    assert later.status == "scheduled"
    task = await tracked.create("mail", enabled=False, interval=day, start=start, end=start + 1000)
    await task.enable(recompute_next_run=True)
    server = await known(tracked, task.id)
    assert (task.status, server.status) == ("failed", "failed")
    assert (server.enabled, server.next_run_time) == (True, None)
    assert server.error is not None
    assert server.error.name == "neverRuns"


async def test_enable_of_an_enabled_task(tracked: Tracked, redis: Redis) -> None:
    """'does nothing for tasks that are already enabled'."""
    task = await tracked.create("mail")
    before = await dump(redis)
    await task.enable()
    assert await dump(redis) == before
    assert task.status == "pending"


async def test_enable_and_disable_leave_the_payload(tracked: Tracked) -> None:
    """'does not modify the task payload', neither here nor there."""
    task = await tracked.create("mail", {"hello": "world"}, enabled=False)
    copy = await known(tracked, task.id)
    copy.payload = {"hello": "redis"}
    await copy.save()
    await task.enable()
    assert task.payload == {"hello": "world"}
    assert (await known(tracked, task.id)).payload == {"hello": "redis"}
    await task.disable()
    assert task.payload == {"hello": "world"}
    assert (await known(tracked, task.id)).payload == {"hello": "redis"}


async def test_disable(tracked: Tracked, redis: Redis) -> None:
    """'disables the task if it was enabled': no foreign worker finds its job any more."""
    task = await tracked.create("mail")
    await task.disable()
    server = await known(tracked, task.id)
    assert (task.status, server.status, server.enabled) == ("disabled", "disabled", False)
    assert await redis.llen(KEYS.queue("default")) == 0
    before = await dump(redis)
    await task.disable()  # 'does nothing for tasks that are already disabled'
    assert await dump(redis) == before


# -- remove, cancel, retry --


async def test_remove(tracked: Tracked, redis: Redis) -> None:
    """'removes the task from the database', with its job; 'succeeds if … already been deleted'."""
    task = await tracked.create("mail", tags=["a"], application="app")
    later = await tracked.create("mail", delay=60_000)
    assert await task.remove()
    assert await later.remove()
    assert not await task.remove()
    state = await dump(redis)
    assert state.keys() <= {"resque:queues", "resque:delayed_queue_schedule"}


async def test_cancel(tracked: Tracked, redis: Redis) -> None:
    """TWIN: 'can create a task and cancel it'; no worker of any language finds its job."""
    task = await tracked.create("mail", {"counter": 0}, retain_for=10_000)
    later = await tracked.create("mail", delay=60_000)
    await task.cancel()
    await later.cancel()
    shown = (await known(tracked, task.id)).to_json()
    assert (shown["status"], shown["next_run_time"]) == ("cancelled", None)
    assert shown["cancelled_time"] is not None
    assert shown["retain_until"] is not None
    assert await redis.llen(KEYS.queue("default")) == 0
    with pytest.raises(TaskStateError, match="is cancelled and can't be cancelled; only one that"):
        await task.cancel()
    with pytest.raises(UnknownTaskId, match="there is no task 'x'"):
        await tracked.cancel("x")


async def test_retry_now(tracked: Tracked, redis: Redis) -> None:
    """A task that waits for its time runs at once."""
    task = await tracked.create("mail", delay=60_000)
    await task.retry()
    assert (await known(tracked, task.id)).status == "pending"
    assert await redis.llen(KEYS.queue("default")) == 1
    assert [key async for key in redis.scan_iter("resque:delayed:*")] == []
    await task.disable()
    with pytest.raises(TaskStateError, match="is disabled and can't be retried"):
        await task.retry()


async def test_to_json(tracked: Tracked) -> None:
    """'prints a JSON representation of the task', 'returns the JSON representation' as far as one looks."""
    task = await tracked.create("mail", {"some": "data"}, interval=60_000)
    shown = task.to_json()
    assert codec.decode_text(codec.encode_text(shown)) == shown
    wanted = {
        "id": task.id, "type": "mail", "status": "pending", "enabled": True,
        "create_time": iso(task.create_time), "last_updated_time": iso(task.last_updated_time),
        "next_run_time": iso(task.next_run_time), "last_run": None, "current_run_start_time": None,
        "deliveries": 0, "attempts": 0, "runs": 0, "payload": {"some": "data"}, "interval": 60_000,
    }  # fmt: skip
    assert {name: shown[name] for name in wanted} == wanted
    task.payload["some"] = "changed"
    assert task.to_json()["payload"] == {"some": "changed"}
    assert repr(task) == f"<TrackedTask {task.id} 'mail' pending>"


def iso(time: datetime | None) -> str:
    """As JSON has it."""
    assert time is not None
    return time.isoformat(timespec="milliseconds")


async def test_priority_queues(tracked: Tracked, redis: Redis) -> None:
    """A priority is a queue of its own that everybody sees."""
    for priority in (0, 9, -9):
        await tracked.create("mail", priority=priority)
    assert await redis.smembers(KEYS.queues) == {b"default", b"default^9", b"default^-9"}
