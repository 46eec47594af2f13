"""The active task: its events, whether the payload is saved, what is refused, and its defaults."""

from __future__ import annotations

import asyncio
import enum
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy.base.errors import InvalidJob, UsageError
from resqpy.tracked.active import ActiveTask
from resqpy.tracked.checks import PRESETS, preset
from resqpy.tracked.errors import AlreadyFinished, AlreadySaving, FinishInProgress, LockLost
from resqpy.tracked.verbs import Tracked
from tests.support.waiting import wait_for
from tests.tracked.support import Listen, known, processed, status_is

INITIAL, UPDATED = {"initial": "data"}, {"updated": "data"}
LATER = timedelta(minutes=5)

# How a run is finished: the call, what it is called afterwards, and the status then.
Ends = dict[str, tuple[Callable[..., Awaitable[None]], str, str | None]]
FINISHING: Ends = {
    "complete": (lambda task, **more: task.complete(**more), "complete", "completed"),
    "complete, and run again": (lambda task, **more: task.complete(LATER, **more), "complete", "scheduled"),
    "fail": (lambda task, **more: task.fail(ValueError("x"), **more), "fail", "failed"),
    "fail, and run again": (lambda task, **more: task.fail(None, LATER, **more), "fail", "scheduled"),
    "retry": (lambda task, **more: task.retry(ValueError("x"), LATER, **more), "retry", "scheduled"),
    "defer": (lambda task, **more: task.defer(LATER, **more), "defer", "scheduled"),
}  # fmt: skip


async def delete(task: ActiveTask) -> None:
    """Has no payload to save."""
    await task.delete()


async def release(task: ActiveTask, **more: Any) -> None:
    """Leaves it to another; which there is not, as the listener stops."""
    await task.release(**more)


def heard_by(task: ActiveTask) -> list[Any]:
    """All events of a task, as they come."""
    heard: list[Any] = []
    task.on("state_changed", lambda state: heard.append(str(state)))
    task.on("finished", lambda finished: heard.append(("finished", finished.result)))
    for name in ("lock_renewed", "lock_lost", "disabled", "inactive"):
        task.on(name, lambda name=name: heard.append(name))
    return heard


# -- events --


@pytest.mark.parametrize("how", [*FINISHING, "delete", "release"])
async def test_events_of_a_finishing_call(tracked: Tracked, listen: Listen, how: str) -> None:
    """It is finishing, then finished, which is told with the result, and then inactive."""
    others = {"delete": (delete, "delete", None), "release": (release, "release", "pending")}
    call, result, status = (FINISHING | others)[how]
    created = await tracked.create("events", queue="events")
    heard: list[list[Any]] = []

    async def handler(task: ActiveTask) -> None:
        listener.stop()
        heard.append(heard_by(task))
        await call(task)

    listener = await listen("events", handler, start=False, concurrency=1)
    await listener.start()
    await processed(listener)

    assert heard == [["finishing", "finished", ("finished", result), "inactive"]]
    after = await tracked.get(created.id)
    assert (None if after is None else after.status) == status


@pytest.mark.parametrize(("raises", "result"), [(False, "complete"), (True, "retry")])
async def test_events_of_returning(
    tracked: Tracked, listen: Listen, raises: bool, result: str
) -> None:
    """Returning completes, raising retries: that is told when it is written."""
    await tracked.create("events", queue="events", backoff=60_000)
    heard: list[list[Any]] = []

    async def handler(task: ActiveTask) -> None:
        heard.append(heard_by(task))
        if raises:
            raise ValueError("x")

    await processed(await listen("events", handler))

    assert heard == [["finished", ("finished", result), "inactive"]]


async def test_what_finished_tells(tracked: Tracked, listen: Listen) -> None:
    """The event has the error and the delay, also one that was computed."""
    await tracked.create("told", {"how": "retry"}, queue="told", backoff=70_000)
    await tracked.create("told", {"how": "raise"}, queue="told", backoff=80_000)
    await tracked.create("told", {"how": "defer"}, queue="told")
    told: dict[str, Any] = {}
    error = ValueError("x")

    async def handler(task: ActiveTask) -> None:
        how = task.payload["how"]
        task.on("finished", lambda finished: told.update({how: finished}))
        if how == "retry":
            await task.retry(error)
        elif how == "defer":
            await task.defer(9000)
        else:
            raise error

    await processed(await listen("told", handler), 3)

    assert (told["retry"].error, told["retry"].delay_ms) == (error, 70_000)
    assert (told["raise"].error, told["raise"].delay_ms) == (error, 80_000)
    assert (told["defer"].error, told["defer"].delay_ms) == (None, 9000)


async def test_events_of_a_lost_lock(tracked: Tracked, listen: Listen) -> None:
    """A lock that is lost is told as state, result and event, in this order."""
    await tracked.create("lost", queue="lost", lock_duration=1000, longest_execution=100, retries=0)
    heard: list[list[Any]] = []

    async def handler(task: ActiveTask) -> None:
        heard.append(heard_by(task))
        inactive = asyncio.Event()
        task.once("inactive", inactive.set)
        await inactive.wait()

    await processed(await listen("lost", handler))

    assert heard == [["lock_lost", ("finished", "lock_lost"), "lock_lost", "inactive"]]


async def test_events_of_a_long_run(
    tracked: Tracked, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Renewals are told each time, being disabled once; a listener that is taken off hears nothing."""
    monkeypatch.setattr("resqpy.tracked.locks.REFRESH_S", 0.05)
    created = await tracked.create("long", queue="long", lock_duration=1200)
    heard: list[list[Any]] = []
    deaf: list[Any] = []

    async def handler(task: ActiveTask) -> None:
        heard.append(heard_by(task))
        for name in ("lock_renewed", "disabled", "finished"):
            task.on(name, deaf.append)
            task.off(name, deaf.append)
        await created.disable()
        renewed = asyncio.Event()
        task.once("lock_renewed", renewed.set)
        await renewed.wait()
        await asyncio.sleep(0.15)  # two more looks
        await task.complete()

    await processed(await listen("long", handler))

    assert "lock_renewed" in heard[0]
    others = [each for each in heard[0] if each != "lock_renewed"]
    end = ["finishing", "finished", ("finished", "complete"), "inactive"]
    assert others == ["disabled", *end]
    assert deaf == []
    assert (await known(tracked, created.id)).status == "completed"


# -- the payload --


@pytest.mark.parametrize("save", [True, False, None], ids=["saved", "not saved", "by default"])
@pytest.mark.parametrize("how", [*FINISHING, "release"])
async def test_whether_the_payload_is_saved(
    tracked: Tracked, listen: Listen, how: str, save: bool | None
) -> None:
    """Each finishing call saves the payload, unless it is told not to."""
    call = FINISHING[how][0] if how in FINISHING else release
    created = await tracked.create("saves", INITIAL, queue="saves")

    async def handler(task: ActiveTask) -> None:
        listener.stop()
        task.payload = UPDATED
        await call(task, **({} if save is None else {"save_payload": save}))

    listener = await listen("saves", handler, start=False, concurrency=1)
    await listener.start()
    await processed(listener)

    assert (await known(tracked, created.id)).payload == (INITIAL if save is False else UPDATED)


async def test_returning_saves_and_raising_does_not(tracked: Tracked, listen: Listen) -> None:
    """What was saved before stays, in either case."""
    returning = await tracked.create("ends", {"raises": False}, queue="ends")
    raising = await tracked.create("ends", {"raises": True}, queue="ends", retries=0)

    async def handler(task: ActiveTask) -> None:
        task.payload["first"] = 1
        await task.save()
        task.payload["second"] = 2
        if task.payload["raises"]:
            raise ValueError("x")

    await processed(await listen("ends", handler), 2)

    assert (await known(tracked, returning.id)).payload == {
        "raises": False,
        "first": 1,
        "second": 2,
    }
    assert (await known(tracked, raising.id)).payload == {"raises": True, "first": 1}


async def test_saves_beside_others(tracked: Tracked, listen: Listen) -> None:
    """What somebody else changed in another part of the payload stays, whoever saves last."""
    created = await tracked.create("beside", {"mine": 1, "theirs": 1}, queue="beside")

    async def handler(task: ActiveTask) -> None:
        created.payload["theirs"] = 2
        await created.save()
        task.payload["mine"] = 2
        await task.save()
        assert task.payload == {"mine": 2, "theirs": 1}
        created.payload["theirs"] = 3
        await created.save()
        task.payload["mine"] = 3

    await processed(await listen("beside", handler))

    assert (await known(tracked, created.id)).payload == {"mine": 3, "theirs": 3}


async def test_a_payload_that_is_no_json(tracked: Tracked, listen: Listen) -> None:
    """A call refuses to save it and the run goes on; returning with it is an attempt that failed."""
    created = await tracked.create("broken", INITIAL, queue="broken", backoff=60_000)

    async def handler(task: ActiveTask) -> None:
        task.payload = {"when": {1, 2}}
        for call in (task.save, task.complete, task.fail, task.retry, task.release):
            with pytest.raises(InvalidJob, match=r"payload\.when: set is not JSON"):
                await call()
        assert task.processing_state == "active"
        assert task.locked

    await processed(await listen("broken", handler))

    after = await status_is(tracked, created.id, "scheduled")
    assert (after.attempts, after.payload) == (1, INITIAL)
    assert after.error is not None
    assert after.error.name == "InvalidJob"


# -- what is refused --


CALLS: dict[str, Callable[[ActiveTask], Awaitable[None]]] = {
    "save": lambda task: task.save(),
    "complete": lambda task: task.complete(),
    "fail": lambda task: task.fail(),
    "retry": lambda task: task.retry(),
    "defer": lambda task: task.defer(1000),
    "release": lambda task: task.release(),
    "delete": lambda task: task.delete(),
}


class Level(enum.IntEnum):
    """JSON says it as a number."""

    HIGH = 3


@pytest.mark.parametrize(
    ("result", "kept", "words"),
    [
        ((1, Level.HIGH, OrderedDict(a="b")), [1, 3, {"a": "b"}], ""),
        (
            {"days": {date(2026, 1, 2)}, "price": Decimal("1.0")},
            {"days": ["2026-01-02"], "price": "1.0"},
            "",
        ),
        (datetime(2026, 1, 2), None, "has no time zone"),  # noqa: DTZ001 - what is dropped
        ({"when": object()}, None, "result.when: object is not JSON"),
        ([float("nan")], None, "result[0]: nan is not JSON"),
        ("\ud800", None, "lone surrogate"),
    ],
)
async def test_a_result(
    tracked: Tracked,
    listen: Listen,
    caplog: pytest.LogCaptureFixture,
    result: object,
    kept: object,
    words: str,
) -> None:
    """What JSON can say of a result is kept; the run is completed anyway, and a warning says why."""

    async def handler(_: ActiveTask) -> object:
        return result

    await listen("a", handler)
    task = await tracked.create("a", queue="a")
    after = await status_is(tracked, task.id, "completed")
    assert after.result == kept
    told = [record.getMessage() for record in caplog.records if record.name == "resqpy.tracked"]
    assert bool(told) is bool(words)
    assert all(words in each and f"task {task.id} (a)" in each for each in told)


@pytest.mark.parametrize("how", [*FINISHING, "force release"])
async def test_no_second_finishing_call(tracked: Tracked, listen: Listen, how: str) -> None:
    """After the first, each other call is refused with what is the matter, and changes nothing."""
    created = await tracked.create("second", queue="second")
    heard: list[list[Any]] = []
    refused: list[str] = []
    records: list[Any] = []

    async def handler(task: ActiveTask) -> None:
        task.force_release() if how == "force release" else await FINISHING[how][0](task)
        heard.append(heard_by(task))
        records.append((await known(tracked, task.id)).record)
        for name, call in CALLS.items():
            with pytest.raises(AlreadyFinished, match="finished"):
                await call(task)
            refused.append(name)
        task.force_release()
        refused.append(f"locked: {task.locked}")

    await listen("second", handler)
    await wait_for(lambda: len(refused) > len(CALLS))

    assert refused == [*CALLS, "locked: False"]
    assert heard == [[]]
    assert records == [(await known(tracked, created.id)).record]


async def test_nothing_without_the_lock(tracked: Tracked, listen: Listen) -> None:
    """A handler whose lock is lost can write nothing more."""
    created = await tracked.create(
        "lost", INITIAL, queue="lost", lock_duration=1000, longest_execution=100
    )
    refused: list[str] = []
    records: list[Any] = []

    async def handler(task: ActiveTask) -> None:
        listener.stop()
        lost = asyncio.Event()
        task.once("lock_lost", lost.set)
        await lost.wait()
        records.append((await known(tracked, task.id)).record)
        task.payload = UPDATED
        for name, call in CALLS.items():
            with pytest.raises(LockLost, match="lock"):
                await call(task)
            refused.append(name)

    listener = await listen("lost", handler, start=False)
    await listener.start()
    await wait_for(lambda: len(refused) == len(CALLS))

    assert refused == list(CALLS)
    assert records == [(await known(tracked, created.id)).record]
    assert records[0].payload == '{"initial":"data"}'


async def test_nothing_for_a_removed_task(tracked: Tracked, listen: Listen) -> None:
    """A task that was removed while it runs stays removed, whatever its handler does."""
    created = await tracked.create("gone", queue="gone")
    lost: list[bool] = []

    async def handler(task: ActiveTask) -> None:
        await created.remove()
        task.payload = UPDATED
        with pytest.raises(LockLost):
            await task.save()
        lost.append(not task.locked)

    await listen("gone", handler)
    await wait_for(lambda: lost)

    assert lost == [True]
    assert await tracked.get(created.id) is None


async def test_saving_at_the_same_time(tracked: Tracked, listen: Listen) -> None:
    """One save at a time, and no finishing call that saves meanwhile; one that doesn't may."""
    created = await tracked.create("saving", INITIAL, queue="saving")

    async def handler(task: ActiveTask) -> None:
        task.payload = UPDATED
        saving = asyncio.create_task(task.save())
        await asyncio.sleep(0)
        for call in (task.save, task.complete):
            with pytest.raises(AlreadySaving):
                await call()
        await saving
        completing = asyncio.create_task(task.complete())
        await asyncio.sleep(0)
        for refused in (task.complete, task.fail, task.release, task.delete):
            with pytest.raises(FinishInProgress):
                await refused()
        await completing

    await processed(await listen("saving", handler))

    after = await known(tracked, created.id)
    assert (after.status, after.payload) == ("completed", UPDATED)


@pytest.mark.parametrize("wrong", [-1, "5s", None, 10**30, True])
async def test_a_delay_that_is_none(tracked: Tracked, listen: Listen, wrong: Any) -> None:
    """A wrong delay is refused, and the run goes on."""
    created = await tracked.create("wrong", queue="wrong")

    async def handler(task: ActiveTask) -> None:
        calls = [task.defer(wrong)]
        if wrong is not None:
            calls += [task.complete(wrong), task.fail(None, wrong), task.retry(None, wrong)]
        for call in calls:
            with pytest.raises(UsageError, match="delay"):
                await call
        assert task.processing_state == "active"

    await processed(await listen("wrong", handler))

    assert (await known(tracked, created.id)).status == "completed"


# -- errors and retries --


async def test_an_error_in_words(tracked: Tracked, listen: Listen, redis: Redis) -> None:
    """Why a task fails may be said as an exception, in words, or not at all; nothing else."""
    for how in ("words", "nothing"):
        await tracked.create("words", id=how, queue="words")

    async def handler(task: ActiveTask) -> None:
        with pytest.raises(UsageError, match="neither an exception nor a text"):
            await task.fail({"why": 1})  # type: ignore[arg-type]
        if task.id == "words":
            await task.fail("out of paper")
        else:
            await task.fail()

    await processed(await listen("words", handler), 2)

    words, nothing = await known(tracked, "words"), await known(tracked, "nothing")
    assert words.error is not None
    assert nothing.error is not None
    assert words.error.message == "out of paper"
    assert nothing.error.message == "the handler failed the task without an error"
    assert await redis.llen("resque:failed") == 2


async def test_a_retry_too_many(tracked: Tracked, listen: Listen, redis: Redis) -> None:
    """Where no attempt is left, `retry` is `fail`: told so, and in the failed list."""
    created = await tracked.create("limit", INITIAL, queue="limit", retries=0)
    told: list[str] = []

    async def handler(task: ActiveTask) -> None:
        task.on("finished", lambda finished: told.append(finished.result))
        task.payload = UPDATED
        await task.retry(ValueError("the last"), 1000)

    await processed(await listen("limit", handler))

    after = await known(tracked, created.id)
    assert told == ["fail"]
    assert (after.status, after.next_run_time, after.runs) == ("failed", None, 1)
    assert after.payload == UPDATED
    assert after.error is not None
    assert after.error.message == "the last"
    assert await redis.llen("resque:failed") == 1


async def test_a_delay_instead_of_the_interval(tracked: Tracked, listen: Listen) -> None:
    """`complete` and `fail` with a delay run a recurring task then, and a one-time task once more."""
    for how in ("complete", "fail"):
        await tracked.create("again", {"how": how}, id=how, queue="again", interval=3_600_000)

    async def handler(task: ActiveTask) -> None:
        await (task.complete(LATER) if task.id == "complete" else task.fail("x", LATER))

    await processed(await listen("again", handler), 2)

    for how, succeeded in (("complete", True), ("fail", False)):
        after = await known(tracked, how)
        assert (after.status, after.runs) == ("scheduled", 1)
        assert after.last_run is not None
        assert after.last_run.succeeded is succeeded
        assert after.next_run_time == after.last_run.finish_time + LATER


async def test_deferred_without_limit(tracked: Tracked, listen: Listen) -> None:
    """Neither `defer` nor `release` costs an attempt, however often: no retry is needed for them."""
    created = await tracked.create("often", queue="often", retries=0)

    async def handler(task: ActiveTask) -> None:
        assert task.attempts == 0
        if task.deliveries < 6:
            await (task.defer(0) if task.deliveries % 2 else task.release())

    await processed(await listen("often", handler), 7)

    after = await known(tracked, created.id)
    assert (after.status, after.runs, after.deliveries) == ("completed", 1, 0)


def test_defaults() -> None:
    """irontask's: four retries after 1 s, then 3.5 times as long each, locks of 30 s, half an hour."""
    assert preset("irontask") == PRESETS["irontask"]
    defaults = preset("irontask")
    assert (defaults.retries.most, defaults.retries.linked) == (4, False)
    waits = [defaults.retries.backoff.delay_ms(attempt) for attempt in range(4)]
    assert waits == [1000, 3500, 12_250, 42_875]
    assert (defaults.lock_ms, defaults.longest_ms) == (30_000, 1_800_000)
    assert (defaults.retain_ms, defaults.priority) == (None, 0)
