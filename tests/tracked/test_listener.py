"""irontask's listener suite, behaviour by behaviour, on a real Redis.

Each test says in its docstring which of theirs it stands for.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy.base.errors import UsageError
from resqpy.engine.options import WorkerOptions
from resqpy.store.connection.client import Store
from resqpy.tracked.active import ActiveTask
from resqpy.tracked.delivery import Listener
from resqpy.tracked.errors import (
    AlreadyFinished,
    FinishInProgress,
    ListenerDestroyed,
    LockLost,
    TrackedError,
)
from resqpy.tracked.processing import Finished, ProcessingState
from resqpy.tracked.verbs import Tracked
from tests.support.waiting import wait_for
from tests.tracked.support import KEYS, Listen, counts, known, processed, promoting, status_is

UPDATED = {"updated": "data"}


def begins(listener: Listener) -> bool:
    """Whether a listener begins tasks."""
    return listener.running


async def test_completes_on_return(tracked: Tracked, listen: Listen) -> None:
    """'receives and completes a pending task automatically on return'."""
    created = await tracked.create("simple", {"initial": "data"}, queue="simple")
    seen: list[Any] = []

    async def handler(task: ActiveTask) -> None:
        seen.append((task.id, task.type, task.status, task.enabled, task.locked, task.payload))
        seen.append((task.create_time, task.next_run_time, task.last_run, task.interval))
        seen.append((task.deliveries, task.attempts, task.runs))
        assert task.current_run_start_time is not None
        assert task.last_updated_time >= created.last_updated_time
        task.once("finished", lambda finished: seen.append(finished.result))
        task.payload = UPDATED

    await processed(await listen("simple", handler))

    assert seen == [
        (created.id, "simple", "running", True, True, {"initial": "data"}),
        (created.create_time, created.next_run_time, None, None),
        (0, 0, 0),
        "complete",
    ]
    after = await known(tracked, created.id)
    assert (after.status, after.next_run_time, after.runs) == ("completed", None, 1)
    assert after.last_updated_time >= created.last_updated_time
    assert after.last_run is not None
    assert after.last_run.succeeded
    assert after.current_run_start_time is None
    assert after.payload == UPDATED


async def test_update_while_processing(tracked: Tracked, listen: Listen) -> None:
    """'allows the task to be updated while processing'."""
    created = await tracked.create("simple", {"initial": "data"}, queue="simple")
    seen: list[Any] = []

    async def handler(task: ActiveTask) -> None:
        task.payload = dict(UPDATED)
        await task.save()
        seen.append((await known(tracked, task.id)).payload)
        task.payload["more"] = 1
        await task.save()

    await processed(await listen("simple", handler))

    after = await known(tracked, created.id)
    assert seen == [UPDATED]
    assert (after.status, after.runs, after.payload) == ("completed", 1, {**UPDATED, "more": 1})


async def test_renews_the_lock(tracked: Tracked, listen: Listen) -> None:
    """'renews the lock before it expires'."""
    created = await tracked.create("renew", {"initial": "data"}, queue="renew", lock_duration=1200)

    async def handler(task: ActiveTask) -> None:
        renewed = asyncio.Event()
        task.once("lock_renewed", renewed.set)
        await renewed.wait()
        assert task.locked
        task.payload = UPDATED

    await processed(await listen("renew", handler))

    after = await known(tracked, created.id)
    assert (after.status, after.runs, after.payload) == ("completed", 1, UPDATED)


async def test_renews_the_lock_again(tracked: Tracked, listen: Listen) -> None:
    """'renews the lock multiple times if necessary'; and not oftener."""
    created = await tracked.create("renew", {}, queue="renew", lock_duration=1200)
    renewals: list[float] = []

    async def handler(task: ActiveTask) -> None:
        renewals.append(time.monotonic())
        task.on("lock_renewed", lambda: renewals.append(time.monotonic()))
        await wait_for(lambda: len(renewals) == 3)

    await processed(await listen("renew", handler))

    gaps = [after - before for before, after in itertools.pairwise(renewals)]
    assert min(gaps) > 0.4  # 0.8 s, as far as we heard of it in time
    assert (await known(tracked, created.id)).status == "completed"


async def test_retries_if_it_raises(
    tracked: Tracked, listen: Listen, redis: Redis, store: Store
) -> None:
    """'retries if the handler throws'; the start of the run stays that of its first attempt."""
    created = await tracked.create("throw", {"initial": "data"}, queue="throw", backoff=10)
    seen: list[Any] = []

    async def handler(task: ActiveTask) -> None:
        seen.append((task.attempts, task.deliveries, task.current_run_start_time, task.payload))
        task.payload = UPDATED
        if task.attempts == 0:
            raise ValueError("failed")

    async with promoting(redis, store):
        await processed(await listen("throw", handler), 2)

    after = await known(tracked, created.id)
    assert (after.status, after.runs, after.payload) == ("completed", 1, UPDATED)
    assert after.current_run_start_time is None
    first, second = seen
    assert first[:2] == (0, 0)
    assert second == (1, 1, first[2], {"initial": "data"})  # what it changed was not saved


async def test_explicitly_completed(tracked: Tracked, listen: Listen) -> None:
    """'can be explicitly completed'."""
    created = await tracked.create("complete", {"initial": "data"}, queue="complete")
    seen: list[Any] = []

    async def handler(task: ActiveTask) -> None:
        task.payload = UPDATED
        await task.complete()
        seen.append((task.locked, task.processing_state, (await known(tracked, task.id)).status))

    await processed(await listen("complete", handler))
    await wait_for(lambda: seen)  # the handler goes on after its end

    after = await known(tracked, created.id)
    assert seen == [(False, ProcessingState.FINISHED, "completed")]
    assert (after.status, after.runs, after.payload) == ("completed", 1, UPDATED)


async def test_completed_without_its_payload(tracked: Tracked, listen: Listen) -> None:
    """The save-payload choice of a finishing call."""
    created = await tracked.create("complete", {"initial": "data"}, queue="complete")

    async def handler(task: ActiveTask) -> None:
        task.payload = UPDATED
        await task.complete(save_payload=False)

    await processed(await listen("complete", handler))

    assert (await known(tracked, created.id)).payload == {"initial": "data"}


async def test_completed_with_a_next_run(
    tracked: Tracked, listen: Listen, redis: Redis, store: Store
) -> None:
    """'can be completed with an overridden next run time'."""
    created = await tracked.create("again", {"initial": "data"}, queue="again")

    async def handler(task: ActiveTask) -> None:
        task.payload = UPDATED
        await task.complete(300 if task.runs == 0 else None)

    async with promoting(redis, store):
        await processed(await listen("again", handler), 2)

    after = await known(tracked, created.id)
    assert (after.status, after.next_run_time, after.runs) == ("completed", None, 2)
    assert after.payload == UPDATED


async def test_explicitly_retried(
    tracked: Tracked, listen: Listen, redis: Redis, store: Store
) -> None:
    """'can be explicitly retried'."""
    created = await tracked.create("retry", {"initial": "data"}, queue="retry", backoff=10)

    async def handler(task: ActiveTask) -> None:
        if task.deliveries == 0:
            task.payload = UPDATED
            await task.retry(ValueError("retrying"))

    async with promoting(redis, store):
        await processed(await listen("retry", handler), 2)

    after = await known(tracked, created.id)
    assert (after.status, after.runs, after.payload) == ("completed", 1, UPDATED)


async def test_retried_with_a_delay(tracked: Tracked, listen: Listen) -> None:
    """'can be passed a custom delay on retry'."""
    created = await tracked.create("retry", {"initial": "data"}, queue="retry")
    started: list[Any] = []

    async def handler(task: ActiveTask) -> None:
        started.append(task.current_run_start_time)
        task.payload = UPDATED
        await task.retry(ValueError("retrying"), 30_000)

    await processed(await listen("retry", handler))

    after = await known(tracked, created.id)
    assert after.status == "scheduled"
    assert after.next_run_time is not None
    assert (after.next_run_time - after.last_updated_time).total_seconds() == pytest.approx(30, 0.1)
    assert (after.runs, after.attempts, after.deliveries) == (0, 1, 1)
    assert (after.payload, after.last_run) == (UPDATED, None)
    assert after.current_run_start_time == started[0]
    assert after.error is not None
    assert (after.error.name, after.error.message) == ("ValueError", "retrying")


async def test_explicitly_failed(tracked: Tracked, listen: Listen, redis: Redis) -> None:
    """'can be explicitly failed for permanent errors'; it stands in Resque's failed list."""
    created = await tracked.create("fail", {"initial": "data"}, queue="fail")

    async def handler(task: ActiveTask) -> None:
        task.payload = UPDATED
        await task.fail(ValueError("failing"))

    await processed(await listen("fail", handler))

    after = await known(tracked, created.id)
    assert (after.status, after.next_run_time, after.runs) == ("failed", None, 1)
    assert after.last_run is not None
    assert not after.last_run.succeeded
    assert (after.payload, after.current_run_start_time) == (UPDATED, None)
    assert await redis.llen("resque:failed") == 1


async def test_deferred(tracked: Tracked, listen: Listen, redis: Redis, store: Store) -> None:
    """'can be deferred to be redelivered without consuming retries'."""
    created = await tracked.create("defer", {"initial": "data"}, queue="defer")
    seen: list[tuple[int, int]] = []

    async def handler(task: ActiveTask) -> None:
        seen.append((task.attempts, task.deliveries))
        if task.deliveries == 0:
            task.payload = UPDATED
            await task.defer(200)

    async with promoting(redis, store):
        await processed(await listen("defer", handler), 2)

    after = await known(tracked, created.id)
    assert seen == [(0, 0), (0, 1)]
    assert (after.status, after.runs, after.payload) == ("completed", 1, UPDATED)


async def test_released(tracked: Tracked, listen: Listen) -> None:
    """'can be released to be redelivered immediately without consuming retries'."""
    created = await tracked.create("release", {"initial": "data"}, queue="release")
    seen: list[tuple[int, int]] = []

    async def handler(task: ActiveTask) -> None:
        seen.append((task.attempts, task.deliveries))
        if task.deliveries == 0:
            task.payload = UPDATED
            await task.release()

    await processed(await listen("release", handler), 2)

    after = await known(tracked, created.id)
    assert seen == [(0, 0), (0, 1)]
    assert (after.status, after.runs, after.payload) == ("completed", 1, UPDATED)


async def test_deleted_while_processing(tracked: Tracked, listen: Listen) -> None:
    """'can be deleted while processing'; also if somebody else was faster."""
    first = await tracked.create("delete", queue="delete")
    second = await tracked.create("delete", queue="delete")

    async def handler(task: ActiveTask) -> None:
        if task.id == second.id:
            await tracked.remove(task.id)
        await task.delete()

    await processed(await listen("delete", handler), 2)

    assert await tracked.get(first.id) is None
    assert await tracked.get(second.id) is None


async def test_force_released(tracked: Tracked, listen: Listen) -> None:
    """'can be force released to stop processing without informing the database'."""
    created = await tracked.create("force", {"initial": "data"}, queue="force")
    started: list[Any] = []

    async def handler(task: ActiveTask) -> None:
        started.append(task.current_run_start_time)
        task.payload = UPDATED
        task.force_release()

    await processed(await listen("force", handler))

    after = await known(tracked, created.id)
    assert (after.status, after.payload, after.runs) == ("running", {"initial": "data"}, 0)
    assert after.next_run_time == created.next_run_time
    assert (after.last_run, after.current_run_start_time) == (None, started[0])


async def test_no_retry(tracked: Tracked, listen: Listen) -> None:
    """'does not retry if the NO_RETRY constant is provided'."""
    created = await tracked.create("throw", {"initial": "data"}, queue="throw", retries=0)

    async def handler(task: ActiveTask) -> None:
        task.payload = UPDATED
        raise ValueError("failed")

    await processed(await listen("throw", handler))

    after = await known(tracked, created.id)
    assert (after.status, after.next_run_time, after.runs) == ("failed", None, 1)
    assert after.payload == {"initial": "data"}  # raising does not save
    assert after.last_run is not None
    assert not after.last_run.succeeded


async def test_two_finishing_calls_at_once(tracked: Tracked, listen: Listen) -> None:
    """'does not allow multiple finishing calls to be made concurrently'."""
    created = await tracked.create("concurrent", {"initial": "data"}, queue="concurrent")
    refused: list[type[BaseException]] = []

    async def handler(task: ActiveTask) -> None:
        task.payload = UPDATED
        completing = asyncio.create_task(task.complete())
        await asyncio.sleep(0)
        with pytest.raises(FinishInProgress) as caught:
            await task.retry(ValueError("boom"))
        refused.append(caught.type)
        await completing

    await processed(await listen("concurrent", handler))

    after = await known(tracked, created.id)
    assert refused == [FinishInProgress]
    assert (after.status, after.runs, after.payload) == ("completed", 1, UPDATED)


async def test_two_finishing_calls_one_after_the_other(tracked: Tracked, listen: Listen) -> None:
    """'does not allow multiple finishing calls to be made consecutively if already finished'."""
    created = await tracked.create("finished", {"initial": "data"}, queue="finished")
    refused: list[type[BaseException]] = []

    async def handler(task: ActiveTask) -> None:
        task.payload = UPDATED
        await task.complete()
        with pytest.raises(AlreadyFinished) as caught:
            await task.fail(ValueError("boom"))
        refused.append(caught.type)
        with pytest.raises(AlreadyFinished):
            await task.save()

    await processed(await listen("finished", handler))

    after = await known(tracked, created.id)
    assert refused == [AlreadyFinished]
    assert (after.status, after.runs, after.payload) == ("completed", 1, UPDATED)


async def test_no_finishing_without_the_lock(tracked: Tracked, listen: Listen) -> None:
    """'does not allow finishing calls to be made if the lock was already lost'; a longest execution
    time ends the renewal.
    """
    created = await tracked.create(
        "lost", {"initial": "data"}, queue="lost", lock_duration=1000, longest_execution=200
    )
    seen: list[Any] = []

    async def handler(task: ActiveTask) -> None:
        seen.append(task.current_run_start_time)
        task.payload = UPDATED
        listener.stop()
        lost = asyncio.Event()
        task.once("lock_lost", lost.set)
        await lost.wait()
        with pytest.raises(LockLost) as caught:
            await task.complete()
        seen.append((caught.type, task.locked, task.processing_state))

    listener = await listen("lost", handler, start=False, concurrency=1)
    await listener.start()
    await processed(listener)
    after = await status_is(tracked, created.id, "pending")
    assert len(seen) == 2
    assert seen[1] == (LockLost, False, ProcessingState.LOCK_LOST)
    assert (after.runs, after.payload, after.last_run) == (0, {"initial": "data"}, None)
    assert after.current_run_start_time == seen[0]
    assert await tracked.count(type="lost", status="pending") == 1  # which lets the records say so
    after = await known(tracked, created.id)
    assert (after.deliveries, after.attempts) == (1, 1)


async def test_is_told_that_it_was_disabled(
    tracked: Tracked, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """'is notified if the currently running task is disabled'."""
    monkeypatch.setattr("resqpy.tracked.locks.REFRESH_S", 0.05)
    created = await tracked.create("disable", {"initial": "data"}, queue="disable")
    started: list[Any] = []

    async def handler(task: ActiveTask) -> None:
        started.append(task.current_run_start_time)
        task.payload = UPDATED
        told = asyncio.Event()
        task.once("disabled", told.set)
        await created.disable()
        assert created.status == "disabling"
        await told.wait()
        assert not task.enabled
        await task.release()

    await processed(await listen("disable", handler))

    after = await known(tracked, created.id)
    assert (after.status, after.payload, after.runs) == ("disabled", UPDATED, 0)
    assert after.next_run_time is not None
    assert (after.deliveries, after.attempts, after.last_run) == (1, 0, None)
    assert after.current_run_start_time == started[0]


async def test_late_force_release(tracked: Tracked, listen: Listen) -> None:
    """'does nothing if forceRelease is called after task processing finishes'."""
    created = await tracked.create("late", {"initial": "data"}, queue="late")
    told: list[str] = []

    async def handler(task: ActiveTask) -> None:
        task.on("finished", lambda finished: told.append(finished.result))
        task.payload = UPDATED
        await task.complete()
        task.force_release()
        told.append("the end")

    await listen("late", handler)
    await wait_for(lambda: "the end" in told)
    assert told == ["complete", "the end"]

    after = await known(tracked, created.id)
    assert (after.status, after.runs, after.payload) == ("completed", 1, UPDATED)


async def test_to_json(tracked: Tracked, listen: Listen) -> None:
    """'can be serialized with toJSON()' and 'via util inspect'."""
    created = await tracked.create("json", {"initial": "data"}, queue="json")
    seen: list[dict[str, Any]] = []
    shown: list[str] = []

    async def handler(task: ActiveTask) -> None:
        seen.append(task.to_json())
        shown.append(repr(task))

    await processed(await listen("json", handler))

    wanted = {
        "id": created.id,
        "type": "json",
        "status": "running",
        "enabled": True,
        "create_time": created.create_time.isoformat(timespec="milliseconds"),
        "last_run": None,
        "deliveries": 0,
        "attempts": 0,
        "runs": 0,
        "payload": {"initial": "data"},
        "interval": None,
        "locked": True,
    }
    assert {name: seen[0][name] for name in wanted} == wanted
    assert created.id in shown[0]


async def test_concurrency(tracked: Tracked, listen: Listen) -> None:
    """'limits the number of active tasks to the concurrency specified'."""
    for index in range(12):
        await tracked.create("many", {"index": index}, queue="many")
    most: list[int] = []

    async def handler(_: ActiveTask) -> None:
        most.append(listener.active_count)
        await asyncio.sleep(0.03)
        most.append(listener.active_count)

    listener = await listen("many", handler, start=False, concurrency=5)
    await listener.start()
    assert begins(listener)
    await processed(listener, 12)
    await listener.destroy()

    assert not begins(listener)
    assert max(most) == 5
    assert [task.status async for task in tracked.iterate(type="many")] == ["completed"] * 12


async def test_stop_lets_tasks_finish(tracked: Tracked, listen: Listen) -> None:
    """'lets currently running tasks finish when stopping', and goes on when started again."""
    first = await tracked.create("stop", {"index": 1}, queue="stop")
    second = await tracked.create("stop", {"index": 2}, queue="stop")

    async def handler(task: ActiveTask) -> None:
        listener.stop()
        await task.complete()

    listener = await listen("stop", handler, start=False, concurrency=1)
    await listener.start()
    await processed(listener, 1)
    assert not begins(listener)
    assert (await known(tracked, first.id)).status == "completed"
    assert (await known(tracked, second.id)).status == "pending"

    await listener.start()
    assert begins(listener)
    await processed(listener, 2)
    assert not begins(listener)
    assert (await known(tracked, second.id)).status == "completed"


async def test_destroy_releases(tracked: Tracked, listen: Listen) -> None:
    """'automatically releases all active tasks when destroying'."""
    created = await tracked.create("destroy", {"index": 1}, queue="destroy")
    refused: list[type[BaseException]] = []

    async def handler(task: ActiveTask) -> None:
        await listener.destroy()
        with pytest.raises(AlreadyFinished) as caught:
            await task.complete()
        refused.append(caught.type)

    listener = await listen("destroy", handler, start=False)
    await listener.start()
    await processed(listener, 1)

    assert not begins(listener)
    await listener.wait_destroyed()
    after = await known(tracked, created.id)
    assert (after.status, after.runs, after.attempts, after.deliveries) == ("pending", 0, 0, 1)
    assert refused == [AlreadyFinished]


async def test_destroy_lets_what_is_finishing_finish(tracked: Tracked, listen: Listen) -> None:
    """'lets tasks that are currently finishing finish before releasing them when destroying'."""
    created = await tracked.create("destroy", {"index": 1}, queue="destroy")
    told: list[str] = []

    async def handler(task: ActiveTask) -> None:
        task.on("finished", lambda finished: told.append(finished.result))
        completing = asyncio.create_task(task.complete())
        await asyncio.sleep(0)
        await asyncio.gather(completing, listener.destroy())

    listener = await listen("destroy", handler, start=False)
    await listener.start()
    await processed(listener, 1)

    after = await known(tracked, created.id)
    assert (after.status, after.runs, after.attempts, after.deliveries) == ("completed", 1, 0, 0)
    assert told == ["complete"]


async def test_destroy_twice(listen: Listen) -> None:
    """'does not allow an already destroyed client to be destroyed again'."""

    async def handler(_: ActiveTask) -> None:
        return

    listener = await listen("twice", handler)
    destroying = asyncio.create_task(listener.destroy())
    await asyncio.sleep(0)
    with pytest.raises(ListenerDestroyed):
        await listener.destroy()
    await destroying
    with pytest.raises(ListenerDestroyed):
        await listener.start()


async def test_destroy_before_start(listen: Listen) -> None:
    """A listener that never started can be destroyed, and not be started afterwards."""
    listener = await listen("never", lambda _: None, start=False)
    await listener.destroy()
    with pytest.raises(ListenerDestroyed):
        await listener.start()


async def test_start_and_stop_again(tracked: Tracked, listen: Listen) -> None:
    """Starting what runs, and stopping what doesn't, does nothing."""
    listener = await listen("again", lambda _: None, start=False)
    listener.stop()
    assert not begins(listener)
    for _ in range(2):
        await asyncio.gather(listener.start(), listener.start())
        assert begins(listener)
    await tracked.create("again", queue="again")
    await processed(listener)
    for _ in range(2):
        listener.stop()
        assert not begins(listener)
    created = await tracked.create("again", queue="again")
    await asyncio.sleep(0.05)
    assert (await known(tracked, created.id)).status == "pending"


async def test_woken_at_once(tracked: Tracked, listen: Listen) -> None:
    """A listener that found nothing says so, and does not wait for its next look when a task comes."""
    polled: list[str] = []
    listener = await listen(
        "woken", lambda _: None, start=False, options=WorkerOptions(timeout_s=60)
    )
    listener.on("polled", polled.append)
    await listener.start()
    await wait_for(lambda: "woken" in polled)
    await tracked.create("woken", queue="woken")
    await processed(listener)
    assert listener.active_count == 0


async def test_looks_by_itself(redis: Redis, tracked: Tracked, listen: Listen) -> None:
    """It looks again after a time, even where nothing can wake it."""
    created = await tracked.create("looks", queue="looks")
    await redis.rename(KEYS.queue("looks"), "aside")
    listener = await listen("looks", lambda _: None, options=WorkerOptions(timeout_s=0.2))
    await asyncio.sleep(0.05)
    await redis.rename("aside", KEYS.queue("looks"))  # no push: nobody is told
    await processed(listener)
    assert (await known(tracked, created.id)).status == "completed"


async def test_errors_are_told(redis: Redis, tracked: Tracked, listen: Listen) -> None:
    """What keeps a listener from its tasks is told as `error`, and it goes on when that is over."""
    await redis.set(KEYS.queue("broken"), "no list")
    listener = await listen(
        "broken", lambda _: None, start=False, options=WorkerOptions(timeout_s=0.1)
    )
    errors = counts[listener].errors
    await listener.start()
    await wait_for(lambda: errors)
    assert "WRONGTYPE" in str(errors[0])
    await redis.delete(KEYS.queue("broken"))
    created = await tracked.create("broken", queue="broken")
    await status_is(tracked, created.id, "completed")
    errors.clear()


async def test_interceptor(tracked: Tracked, listen: Listen) -> None:
    """Interceptors: 'captures information about the request'."""
    created = await tracked.create("intercepted", queue="intercepted")
    seen: list[Any] = []

    async def interceptor(task: ActiveTask, call_next: Any) -> None:
        seen.append((task.id, task.type))
        seen.append(await call_next())

    async def handler(_: ActiveTask) -> None:
        return

    await processed(await listen("intercepted", handler, interceptor=interceptor))
    await wait_for(lambda: len(seen) == 2)

    assert seen == [(created.id, "intercepted"), Finished("complete")]
    assert (await known(tracked, created.id)).status == "completed"


async def test_interceptor_sees_errors(tracked: Tracked, listen: Listen) -> None:
    """Interceptors: 'reports processing errors'."""
    await tracked.create("intercepted", queue="intercepted")
    seen: list[Finished] = []
    error = ValueError("something went wrong")

    async def interceptor(_: ActiveTask, call_next: Any) -> None:
        seen.append(await call_next())

    async def handler(task: ActiveTask) -> None:
        await task.retry(error, 500)

    await processed(await listen("intercepted", handler, interceptor=interceptor))
    await wait_for(lambda: seen)

    assert seen == [Finished("retry", error, 500)]


async def test_interceptor_calls_twice(tracked: Tracked, listen: Listen) -> None:
    """Interceptors: 'throws if it tries to call next multiple times'."""
    created = await tracked.create("intercepted", queue="intercepted")
    refused: list[str] = []

    async def interceptor(_: ActiveTask, call_next: Any) -> None:
        await call_next()
        try:
            await call_next()
        except TrackedError as error:
            refused.append(str(error))
            raise

    async def handler(_: ActiveTask) -> None:
        return

    await processed(await listen("intercepted", handler, interceptor=interceptor))

    assert refused == ["an interceptor may call the next function only once"]
    assert (await known(tracked, created.id)).status == "completed"


async def test_a_plain_handler(tracked: Tracked, listen: Listen) -> None:
    """A handler that is not async runs in a thread, and its calls return when they are done."""
    created = await tracked.create("plain", {"initial": "data"}, queue="plain")
    failing = await tracked.create("plain", {"fail": True}, queue="plain", retries=0)
    seen: list[Any] = []

    def handler(task: Any) -> None:
        seen.append((task.locked, threading.current_thread() is threading.main_thread()))
        if task.payload.get("fail"):
            raise ValueError("plainly")
        task.payload["updated"] = 1
        task.save()
        task.payload = UPDATED
        task.complete()
        with pytest.raises(AlreadyFinished):
            task.fail(ValueError("boom"))
        seen.append(task.processing_state)

    await processed(await listen("plain", handler), 2)
    await wait_for(lambda: len(seen) == 3)  # the thread goes on after its task's end

    after = await known(tracked, created.id)
    assert (after.status, after.payload) == ("completed", UPDATED)
    assert (await known(tracked, failing.id)).status == "failed"
    assert sorted(map(str, seen)) == ["(True, False)", "(True, False)", "finished"]


async def test_a_plain_handler_and_events(tracked: Tracked, listen: Listen) -> None:
    """Listeners of a plain handler's task are called on the loop, whoever's call it is; a method that
    waits is refused there, as the loop would wait for itself.
    """
    created = await tracked.create("plain", queue="plain")
    threads: list[bool] = []
    refused: list[str] = []

    def handler(task: Any) -> None:
        def on_finished(_: Finished) -> None:
            threads.append(threading.current_thread() is threading.main_thread())
            try:
                task.release()
            except UsageError as error:
                refused.append(str(error))
            assert task.to_json()["id"] == task.id

        task.on("finished", on_finished)
        task.force_release("enough")

    await processed(await listen("plain", handler))

    assert threads == [True]
    assert refused[0].startswith("release()")
    assert (await known(tracked, created.id)).status == "running"


async def test_a_handler_without_its_lock_is_cancelled(
    tracked: Tracked, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handler that goes on although its lock is lost gives its slot back in the end."""
    monkeypatch.setattr("resqpy.tracked.run._LOST_GRACE_S", 0.05)
    await tracked.create(
        "hangs", queue="hangs", lock_duration=1000, longest_execution=100, retries=0
    )
    cancelled = asyncio.Event()

    async def handler(_: ActiveTask) -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    await listen("hangs", handler)
    async with asyncio.timeout(20):
        await cancelled.wait()
