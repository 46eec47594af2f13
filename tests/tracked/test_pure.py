"""The pure parts: status, transitions, next runs, backoff, merging."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, strategies as st

from resqpy.base import codec
from resqpy.base.codec import task_id_of, without_task_id
from resqpy.base.errors import UsageError
from resqpy.base.keys import Keys
from resqpy.base.when import Backoff
from resqpy.tracked import record_fields, records
from resqpy.tracked.checks import check_task_id, new_task_id
from resqpy.tracked.record import (
    LastRun,
    Record,
    Retries,
    RunEnd,
    RunEndKind,
    TaskError,
    TaskLock,
    TaskStatus,
    difference,
    merged,
)
from resqpy.tracked.transitions import ZOMBIE, apply, expired, fails, first_run, following_run

NOW = 1_700_000_000_000
DAY = 86_400_000
OK = LastRun(NOW - DAY, NOW - DAY + 1, succeeded=True)
BAD = LastRun(NOW - DAY, NOW - DAY + 1, succeeded=False)
HELD = TaskLock("t", NOW + 60_000, NOW - 30_000)
OVER = TaskLock("t", NOW - 10_000, NOW - 60_000)


def record(**values: Any) -> Record:
    """A record of a task that was created a day ago."""
    return Record("id", "mail", "default", created_us=(NOW - DAY) * 1000, **values)


# irontask's '#taskStatus' suite by its names, then what the other two systems add.
STATUS = [
    ("complete if not enabled and finished", {"enabled": False, "last_run": OK}, "completed"),
    ("failed if not enabled and its last run failed", {"enabled": False, "last_run": BAD}, "failed"),
    ("disabled if not enabled and not run yet",
     {"enabled": False, "next_run_ms": NOW + 60_000}, "disabled"),
    ("disabled if not enabled and waiting to run",
     {"enabled": False, "next_run_ms": NOW - 1, "last_run": OK}, "disabled"),
    ("disabled if not enabled and its run is expired",
     {"enabled": False, "next_run_ms": NOW - 1, "lock": OVER}, "disabled"),
    ("disabling if not enabled and running",
     {"enabled": False, "next_run_ms": NOW - 1, "lock": HELD}, "disabling"),
    ("completed if enabled and finished", {"last_run": OK, "runs": 1}, "completed"),
    ("failed if enabled and without past or future runs", {}, "failed"),
    ("failed if enabled and its last run failed", {"last_run": BAD}, "failed"),
    ("scheduled if enabled and not run yet",
     {"next_run_ms": NOW + 60_000, "last_run": OK}, "scheduled"),
    ("pending if it should run and does not", {"next_run_ms": NOW - 5000, "last_run": OK}, "pending"),
    ("pending if its lock is over", {"next_run_ms": NOW - 60_000, "lock": OVER}, "pending"),
    ("running if it has a lock", {"next_run_ms": NOW - 30_000, "lock": HELD}, "running"),
    ("pending at the very moment", {"next_run_ms": NOW}, "pending"),
    ("cancelled, whatever else", {"cancelled_ms": NOW, "next_run_ms": NOW - 1}, "cancelled"),
    ("retried by another", {"retried_by": "x", "last_run": BAD}, "retried"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "status"), [row[1:] for row in STATUS], ids=[r[0] for r in STATUS]
)
def test_status(fields: dict[str, Any], status: str) -> None:
    """The status is a function of the record and the time."""
    assert record(**fields).status_at(NOW) == status


@pytest.mark.parametrize("status", TaskStatus)
def test_final(status: TaskStatus) -> None:
    """Irontask's '#isFinished': completed and failed are final; so are cancelled and retried."""
    assert status.final == (status in {"completed", "failed", "cancelled", "retried"})


def test_next_runs() -> None:
    """Irontask's '#computeNextRun' and '#isValidNextRun'."""
    past = NOW - 1_230_000
    assert first_run(None, None, NOW) == NOW
    assert first_run(5000, None, NOW) == NOW
    assert first_run(5000, None, NOW, start_ms=NOW + 7) == NOW + 7
    assert first_run("*/5 * * * *", None, NOW) == NOW - NOW % 300_000 + 300_000
    assert following_run(record(), past) is None
    assert following_run(record(interval=5000), past) == past + 5000
    twelve = following_run(record(interval="*/12 * * * *"), past)
    assert twelve is not None
    assert datetime.fromtimestamp(twelve / 1000, UTC).minute % 12 == 0
    assert past < twelve <= past + 12 * 60_000
    assert following_run(record(interval=10_000, end_ms=NOW + 1000), NOW - 100) is None
    assert following_run(record(interval="*/10 * * * *", end_ms=NOW + 1), NOW) is None
    assert first_run(1000, None, NOW, start_ms=NOW + 5, end_ms=NOW + 4) is None
    assert first_run(1000, None, NOW, end_ms=NOW + 1) == NOW
    assert first_run(None, None, NOW, end_ms=NOW) is None
    last_day = first_run("10 20 L * *", None, NOW)
    assert last_day is not None
    assert (datetime.fromtimestamp(last_day / 1000, UTC) + timedelta(days=1)).day == 1


def test_cron_in_a_zone() -> None:
    """A cron expression means the clock of its zone."""
    noon = first_run("0 12 * * *", "Europe/Berlin", NOW)
    assert noon is not None
    assert datetime.fromtimestamp(noon / 1000, UTC).hour == 11


def running(**values: Any) -> Record:
    """A record of a task that runs."""
    usual: dict[str, Any] = {
        "status": TaskStatus.RUNNING,
        "next_run_ms": NOW - 30_000,
        "run_start_ms": NOW - 20_000,
        "lock": HELD,
        "attempts": 1,
        "deliveries": 2,
    }
    return record(**{**usual, **values})


def ended(kind: RunEndKind, was: Record | None = None, **values: Any) -> Record:
    """What an end makes of it."""
    error = TaskError("E", "m") if kind in (RunEndKind.FAIL, RunEndKind.RETRY) else None
    change = apply(was or running(), RunEnd(kind, NOW * 1000, error=error, **values))
    assert change.after is not None
    assert change.after.lock is None
    return change.after


def test_complete() -> None:
    """A completed run counts, and the counters of the run begin anew."""
    after = ended(RunEndKind.COMPLETE, result="1")
    assert (after.status, after.runs, after.attempts, after.deliveries) == ("completed", 1, 0, 0)
    assert after.last_run == LastRun(NOW - 20_000, NOW, succeeded=True)
    assert (after.run_start_ms, after.next_run_ms, after.result) == (None, None, "1")
    assert (after.completed_us, after.retain_until_ms) == (NOW * 1000, None)
    assert ended(RunEndKind.COMPLETE, running(retain_ms=500)).retain_until_ms == NOW + 500


def test_complete_of_a_recurring_task() -> None:
    """It runs again an interval after the start of this delivery, or after the delay given."""
    after = ended(RunEndKind.COMPLETE, running(interval=60_000))
    assert (after.status, after.next_run_ms) == ("scheduled", NOW + 30_000)
    assert after.completed_us is None
    late = ended(RunEndKind.COMPLETE, running(interval=1000))
    assert (late.status, late.next_run_ms) == ("pending", NOW - 29_000)
    assert ended(RunEndKind.COMPLETE, delay_ms=7).next_run_ms == NOW + 7


def test_fail() -> None:
    """A failed run is over; a recurring task goes on all the same."""
    after = ended(RunEndKind.FAIL)
    assert (after.status, after.runs, after.error) == ("failed", 1, TaskError("E", "m"))
    assert ended(RunEndKind.FAIL, running(interval=60_000)).status == "scheduled"


def test_retry() -> None:
    """A retry waits for the backoff of its attempt, and fails where none is left."""
    after = ended(RunEndKind.RETRY)
    assert (after.status, after.next_run_ms) == ("scheduled", NOW + 3500)
    assert (after.attempts, after.deliveries, after.runs) == (2, 3, 0)
    assert after.run_start_ms == NOW - 20_000
    assert ended(RunEndKind.RETRY, delay_ms=5).next_run_ms == NOW + 5
    assert ended(RunEndKind.RETRY, running(attempts=4)).status == "failed"
    assert ended(RunEndKind.RETRY, running(attempts=4), delay_ms=5).next_run_ms is None
    for_ever = running(attempts=999, retries=Retries(None, Backoff.fixed(5)))
    assert ended(RunEndKind.RETRY, for_ever).next_run_ms == NOW + 5
    assert fails(running(attempts=4), RunEnd(RunEndKind.RETRY, 0))
    assert not fails(running(), RunEnd(RunEndKind.RETRY, 0))


def test_linked_retry() -> None:
    """Extra Horizon's retry: a new task with the same properties, the two linked."""
    was = running(
        retries=Retries(3, Backoff.fixed(5), linked=True), retry_for=("older",), tags=("t",)
    )
    change = apply(
        was, RunEnd(RunEndKind.RETRY, NOW * 1000, error=TaskError("E", "m"), new_id="new")
    )
    old, new = change.after, change.created
    assert old is not None
    assert new is not None
    assert (old.status, old.retried_by, old.next_run_ms) == ("retried", "new", None)
    assert (old.completed_us, old.error) == (NOW * 1000, TaskError("E", "m"))
    assert (new.id, new.status, new.next_run_ms) == ("new", "scheduled", NOW + 5)
    assert (new.retry_for, new.tags, new.payload) == (("older", "id"), ("t",), was.payload)
    assert (new.attempts, new.deliveries, new.runs, new.error) == (2, 0, 0, None)
    assert (new.version, new.lock, new.run_start_ms) == (1, None, None)


def test_linked_retries_without_limit() -> None:
    """A record names a hundred tasks that it retries at most: the first, and those before it."""
    task = running(retries=Retries(None, Backoff.fixed(5), linked=True))
    for count in range(1, 251):
        ending = RunEnd(RunEndKind.RETRY, NOW * 1000, new_id=f"task-{count}")
        new = apply(task, ending).created
        assert new is not None
        task = replace(new, status=TaskStatus.RUNNING, lock=HELD)
        assert len(task.retry_for) == min(count, 100)
    assert task.retry_for == ("id", *(f"task-{count}" for count in range(151, 250)))
    assert task.attempts == 1 + 250


def test_defer_and_release() -> None:
    """Neither is a failure."""
    deferred = ended(RunEndKind.DEFER, delay_ms=9)
    assert (deferred.status, deferred.next_run_ms) == ("scheduled", NOW + 9)
    assert (deferred.attempts, deferred.deliveries, deferred.snoozed) == (1, 3, 0)
    snoozed = ended(RunEndKind.DEFER, delay_ms=9, snoozed=True)
    assert (snoozed.status, snoozed.attempts, snoozed.snoozed) == ("scheduled", 1, 1)
    end = RunEnd(RunEndKind.DEFER, 1, snoozed=True)
    assert (RunEnd.from_dict(end.to_dict()), end.bare) == (end, False)
    assert ended(RunEndKind.RETRY, running(snoozed=3)).snoozed == 3
    assert ended(RunEndKind.COMPLETE, running(snoozed=3)).snoozed == 0
    released = ended(RunEndKind.RELEASE)
    assert (released.status, released.next_run_ms) == ("pending", NOW - 30_000)
    assert (released.attempts, released.deliveries) == (1, 3)
    assert ended(RunEndKind.RELEASE, running(enabled=False)).status == "disabled"


def test_expired() -> None:
    """A lock that expires is an attempt while one is left, then the end as a zombie."""
    again = expired(running(), NOW * 1000).after
    assert again is not None
    assert (again.status, again.attempts, again.deliveries, again.lock) == ("pending", 2, 3, None)
    for last in (running(attempts=4), running(retries=Retries(0, at_most_once=True))):
        zombie = expired(last, NOW * 1000).after
        assert zombie is not None
        assert zombie.status == "failed"
        assert zombie.error is not None
        assert zombie.error.name == ZOMBIE == "zombieTaskCleaned"


def test_an_end_that_was_noted_is_applied() -> None:
    """Who comes across a noted end applies that, and nothing else."""
    ending = RunEnd(RunEndKind.COMPLETE, NOW * 1000, result='"done"', patch={"set": {"a": 1}})
    noted = running(ending=codec.encode_text(ending.to_dict()).decode(), attempts=4)
    after = expired(noted, (NOW + 5) * 1000).after
    assert after is not None
    assert (after.status, after.result, after.payload) == ("completed", '"done"', '{"a":1}')
    assert after.ending is None


RECORDS = [
    record(next_run_ms=NOW),
    running(),
    record(
        priority=-3, sent="{}", payload='{"a":1}', result="[1]", tags=("a", "b ü"), enabled=False,
        error=TaskError("N", "m", "runtime", ("l1", "l2")), interval=5000, start_ms=1, end_ms=2,
        next_run_ms=3, last_run=BAD, runs=1, deliveries=7, retry_for=("a",), retried_by="b",
        application="app", user="me", updated_us=9, completed_us=8, cancelled_ms=7, changed_ms=6,
        retain_ms=0, retain_until_ms=4, longest_ms=5, lock_ms=100, entry=True, version=12,
    ),
    record(interval="* * * * *", timezone="Europe/Berlin"),
    record(retries=Retries(None, Backoff(1, 2.5, 9, randomize=True))),
    record(retries=Retries(0, at_most_once=True)),
    record(retries=Retries(2, Backoff.fixed(7), linked=True)),
]  # fmt: skip


@pytest.mark.parametrize("one", RECORDS)
def test_fields(one: Record) -> None:
    """A record comes back from its fields as it was."""
    fields = record_fields.to_fields(one).items()
    back = record_fields.from_flat(one.id, [word.encode() for pair in fields for word in pair])
    assert back == replace(one, retries=replace(one.retries, backoff=back.retries.backoff))
    assert back.retries.backoff == one.retries.backoff or one.retries.most == 0


def test_backoff() -> None:
    """The waits of irontask's default options."""
    assert [Backoff().delay_ms(attempt) for attempt in range(4)] == [1000, 3500, 12_250, 42_875]
    assert Backoff(1000, 10.0, 5000).delay_ms(3) == 5000
    assert Backoff.fixed(7).delay_ms(99) == 7
    assert Backoff(1000, 2.0, randomize=True).delay_ms(0, lambda: 0.5) == 1500
    assert Backoff(1000, 10.0).delay_ms(10_000) < 10**13
    assert Backoff.parse(Backoff(3, 1.5, 8, randomize=True).text()) == Backoff(
        3, 1.5, 8, randomize=True
    )
    with pytest.raises(UsageError, match="-1"):
        Backoff(-1)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=2),
    lambda inside: st.lists(inside, max_size=2) | st.dictionaries(st.text(max_size=1), inside),
    max_leaves=8,
)


@given(JSON, JSON)
def test_merge(before: Any, after: Any) -> None:
    """A difference makes the one of the other, None included, and nothing of nothing."""
    assert merged(before, difference(before, after)) == after
    assert difference(after, after) == {}


def test_merge_keeps_what_others_changed() -> None:
    """Two who change different parts both get their way."""
    base = {"a": 1, "b": {"x": 1, "y": [1]}, "c": 0}
    mine = difference(base, {"a": 1, "b": {"x": 2, "y": [1]}, "c": 0, "n": None})
    theirs = merged(base, difference(base, {"a": True, "b": {"x": 1, "y": [1]}}))
    assert merged(theirs, mine) == {"a": True, "b": {"x": 2, "y": [1]}, "n": None}


def test_task_ids() -> None:
    """The id travels in the first argument and is stripped for all other ends."""
    assert task_id_of([{"_task_id": "x", "a": 1}]) == "x"
    assert without_task_id([{"_task_id": "x", "a": 1}, 2]) == [{"a": 1}, 2]
    for args in ([], ["x"], [{"a": 1}], [{"_task_id": 5}], [{"_task_id": ""}]):
        assert task_id_of(args) is None
    assert without_task_id([{"a": 1}]) == [{"a": 1}]
    assert len({new_task_id() for _ in range(100)}) == 100
    assert check_task_id("background-task:entity-storage:0a") == "background-task:entity-storage:0a"
    for wrong in ("", "a b", "x" * 201, None, 'a"b', "ä"):
        with pytest.raises(UsageError, match="task id"):
            check_task_id(wrong)


@pytest.mark.parametrize("before", RECORDS)
@pytest.mark.parametrize("after", RECORDS)
def test_what_changed(before: Record, after: Record) -> None:
    """What a step writes is the difference: of the fields, and of the sorted sets."""
    after = replace(after, type=before.type, tags=before.tags, created_us=before.created_us)
    after = replace(after, application=before.application, user=before.user)
    old, new = record_fields.to_fields(before), record_fields.to_fields(after)
    fields, gone = record_fields.changed(before, after)
    assert {name: text for name, text in {**old, **fields}.items() if name not in gone} == new

    keys = Keys()
    sets: dict[str, Any] = {
        **records.entries(keys, before),
        **dict(records.moves(keys, before, after)),
    }
    assert {key: score for key, score in sets.items() if score != ""} == dict(
        records.entries(keys, after)
    )
