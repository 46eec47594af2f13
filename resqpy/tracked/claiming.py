"""Claims a tracked task whose job was delivered, or finds out why it must not run.

Most tasks were claimed by the exchange that took their jobs (`TakenTask`). This handles the rest: jobs
spelled differently from ours, and tasks that can't simply be claimed.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Collection, Sequence
from enum import Enum
from typing import Any, ClassVar

from resqpy.base import job_records
from resqpy.base.clock import Clock, failed_at_utc
from resqpy.base.codec import task_id_of
from resqpy.base.errors import OutcomeUnknown, StoreError, StoreUnavailable, WorkerDied
from resqpy.base.foreign_time import moment_of
from resqpy.base.keys import FAILED, Keys
from resqpy.base.model import FailedJob, LostJob
from resqpy.engine.lifecycle import PLAIN, SKIPPED, Command, JobLifecycle, Outcome, OutcomeKind
from resqpy.engine.run import Run
from resqpy.engine.worker.endings import failed_commands
from resqpy.engine.worker.identity import incarnation_of
from resqpy.store import delayed, failures, queues
from resqpy.store.connection.client import Store
from resqpy.store.exchange import ClaimExtension, ExtensionReply
from resqpy.tracked import locks, records
from resqpy.tracked.active import ActiveTask
from resqpy.tracked.checks import new_task_id
from resqpy.tracked.errors import MalformedTask, TrackedError, UnknownTaskId
from resqpy.tracked.locks import ClaimResult
from resqpy.tracked.record import Record, RunEnd, RunEndKind, TaskError, TaskStatus, error_of
from resqpy.tracked.transitions import (
    ZOMBIE,
    Change,
    change_of,
    due,
    ended_unrun,
    expired,
    revived,
    untaken,
)

# Cleanup of abandoned tasks: steps taken by whoever comes across one.

_STEP = 500
Fence = Sequence[Command]


async def entries_of(store: Store, ids: Collection[str]) -> AsyncIterator[tuple[str, FailedJob]]:
    """Id and entry of failed tasks that nobody has retried: Ruby's `requeue` leaves them, marked. Costs one
    round trip per 500 entries of the failed list.
    """
    names = [FAILED] if not store.options.failed_per_queue else await failures.lists(store)
    for name in names:
        async for entry in _entries(store, name):
            task_id = task_id_of(entry.args)
            if task_id in ids and entry.retried_at is None:
                assert task_id is not None
                yield task_id, entry


async def _entries(store: Store, name: str) -> AsyncIterator[FailedJob]:
    at = 0
    while entries := await failures.page(store, name, at, at + _STEP - 1):
        for entry in entries:
            yield entry
        at += _STEP


def tells(record: Record, entry: FailedJob) -> bool:
    """Whether a foreign worker wrote an entry about a waiting task, and not about an earlier run: entries
    of our workers are known from the record. Their times are whole seconds.
    """
    if entry.exception == ZOMBIE or incarnation_of(entry.worker or "") is not None:
        return False
    before_ms = 0 if record.last_run is None else record.last_run.finish_ms
    failed_ms = moment_of(entry.failed_at)
    return failed_ms is None or failed_ms + 999 >= max(record.next_run_ms or 0, before_ms)


async def step(
    store: Store,
    change: Change,
    *,
    place: bool = True,
    fence: Fence = (),
    more: Sequence[Command] = (),
) -> bool:
    """Write a step, and more commands with it, if the record has not changed."""
    assert change.before is not None
    version = records.same_version(store, change.before)
    commands = [*fence, version, *more, *placed(store, change, place=place)]
    return await records.write(store, commands)


def placed(store: Store, change: Change, *, place: bool = True) -> list[Command]:
    """The commands of a step; tasks with an earlier start are placed further ahead in their queue."""
    commands = records.end_commands(store, change, place=place)
    after = change.after
    if after is None or after.next_run_ms is None or after.next_run_ms * 1000 >= after.updated_us:
        return commands
    return records.place_by_start(store, commands, after)


async def fall_due(store: Store, record: Record, now_us: int) -> bool:
    """A scheduled task is due. If its time is not a whole second, its job is still in the delayed list:
    move it to its queue now. If its end has passed, it runs no more.
    """
    if record.past_end(now_us // 1000):
        return await end_unrun(store, record, now_us)
    commands: list[Command] = [records.same_version(store, record)]
    if record.next_run_ms is not None and record.next_run_ms % 1000:
        commands.append(records.hasten_command(store, record))
    commands += records.end_commands(store, due(record, now_us), place=False)
    return await records.write(store, commands)


async def recover(
    store: Store, record: Record, now_us: int, *, place: bool = True, fence: Fence = ()
) -> Record | None:
    """Finish a run whose worker is gone, by its record; returns the new record, None if there is none or
    somebody else was faster.

    Args:
        place: put its job into its queue, if it is to run again.
        fence: an additional condition.
    """
    change = expired(record, now_us, new_task_id() if record.retries.linked else "")
    unchanged = (records.same_version(store, record), records.same_term(store, record))
    commands: list[Command] = [*fence, *unchanged]
    if _failed_now(record, change):
        commands += _entry(store, record, change)
    commands += placed(store, change, place=place)
    if place and record.status is TaskStatus.PENDING and change.after is not None:
        commands += records.place_again(store, change.after, now_us // 1000)
    if not await records.write(store, commands):
        return None
    if record.ending is None and change.after is not None:  # else its own worker has told of it
        _tell(store, record, change.after, will_retry=not _failed_now(record, change))
    return change.after


def _tell(store: Store, record: Record, after: Record, *, will_retry: bool) -> None:
    worker = "" if record.lock is None else record.lock.token.rpartition("#")[0]
    error = after.error or TaskError("WorkerDied", "its worker died; its job is back in its queue")
    facts = _attempt_of(record)
    job, queue = records.job_of(record), records.queue_of(record)
    lost = WorkerDied(f"{error.name}: {error.message}")
    store.on_lost(LostJob(job, queue, worker, lost, will_retry=will_retry, facts=facts))


def _attempt_of(record: Record) -> dict[str, Any]:
    facts: dict[str, Any] = {"id": record.id, "attempt": record.attempts + 1}
    if record.attempts_left is not None:
        facts["of"] = record.attempts + 1 + record.attempts_left
    return facts


def _failed_now(record: Record, change: Change) -> bool:
    """Whether this step is the failure, and not one that was already written with its entry."""
    after = change.after
    return record.ending is None and after is not None and after.entry and after.runs > record.runs


def _entry(store: Store, record: Record, change: Change) -> Sequence[Command]:
    """The failed entry of a run whose outcome is unknown."""
    assert change.after is not None
    error = change.after.error
    worker = "" if record.lock is None else record.lock.token.rpartition("#")[0]
    entry = job_records.encode_failed(
        job_json=records.job_of(record),
        queue=records.queue_of(record),
        worker=worker,
        exception="" if error is None else error.name,
        error="" if error is None else error.message,
        backtrace=[] if error is None else list(error.backtrace),
        failed_at=failed_at_utc(change.after.updated_us // 1000),
    )
    return failures.push_commands(store, records.queue_of(record), entry)


async def end_unrun(store: Store, record: Record, now_us: int, *, place: bool = True) -> bool:
    """Its end has passed while it waited; False if somebody else was faster."""
    change = ended_unrun(record, now_us)
    entry = _entry(store, record, change) if _failed_now(record, change) else ()
    done = await step(store, change, place=place, more=entry)
    if done and change.after is not None and change.after.status is TaskStatus.FAILED:
        _tell(store, record, change.after, will_retry=False)
    return done


async def revive(store: Store, record: Record, now_us: int) -> bool:
    """Let a failed task run once more, if its failed entry is gone or marked as retried."""
    async for _ in entries_of(store, [record.id]):
        return False
    return await step(store, revived(record, now_us), place=False)


async def forgotten(store: Store, record: Record) -> list[Command]:
    """The commands that remove a failed task from the failed list, so that it is not retried there."""
    return [
        ("LREM", store.keys.failed_list(entry.source), 1, entry.raw)
        async for _, entry in entries_of(store, [record.id])
    ]


_TRIES = 4  # of a claim: each removes one obstacle
_WAIT_MS = 2000  # a task that comes at most this early is waited for in its slot
_UNANSWERED = (0.1, 0.5, 2.0, 5.0)  # seconds between attempts to find out whether a claim succeeded

_ACTIVE = (TaskStatus.RUNNING, TaskStatus.DISABLING)
_WAITING = (TaskStatus.SCHEDULED, TaskStatus.PENDING)


class Obstacle(Enum):
    """Why a task could not be claimed, which decides what to do with its job."""

    DROP = "drop"  # somebody else runs it, or nobody wants it any more
    EARLY = "early"  # its time has not come
    RECOVER = "recover"  # its worker is gone: recover it, then claim again
    ENDED = "ended"  # its end has passed: it never runs again
    REVIVE = "revive"  # it failed; perhaps its failed entry was retried
    STRANGER = "stranger"  # the record is of another type


def obstacle_of(record: Record, kind: str, now_ms: int) -> Obstacle:
    """What a delivery means.

    | record | delivery |
    |---|---|
    | of another type | fails |
    | running, its lock valid | dropped |
    | running, its lock expired or its end noted | recovered, then claimed |
    | waiting, its end passed | ends with that reason |
    | scheduled, not due | postponed |
    | failed, and in the failed list when last seen | claimed, if it is no longer there |
    | any other | dropped |
    """
    if record.type != kind:
        return Obstacle.STRANGER
    if record.status in _ACTIVE:
        over = record.ending is not None or record.left_alone(now_ms)
        return Obstacle.RECOVER if over else Obstacle.DROP
    if record.status in _WAITING and record.past_end(now_ms):
        return Obstacle.ENDED
    if record.status is TaskStatus.SCHEDULED:
        return Obstacle.EARLY
    if record.status is TaskStatus.FAILED and record.entry:
        return Obstacle.REVIVE
    return Obstacle.DROP


class Claimed(JobLifecycle):
    """The lifecycle of a run whose task is claimed.

    Attributes:
        task: what the handler receives, once it runs.
    """

    plain: ClassVar[bool] = False

    def __init__(self, claim: ClaimResult, task: ActiveTask | None = None) -> None:
        assert claim.record is not None
        self.task = task
        self.claim = claim
        self.claimed: Record = claim.record

    def facts(self) -> dict[str, Any]:
        """Which task it is, the number of the attempt, and how long the task has been due."""
        record = self.claimed
        facts = _attempt_of(record)
        if record.next_run_ms is not None:
            facts["waited_ms"] = max(0, self.claim.now_us // 1000 - record.next_run_ms)
        return facts


class TakenTask(Claimed):
    """The lifecycle of a run whose task was claimed with its job, until its delivery begins."""

    @classmethod
    def takes_along(cls, keys: Keys) -> ClaimExtension | None:
        """Also claims the task of each job that has one."""
        return ClaimExtension((keys.task(""), *locks.claim_keys(keys)), keys.events)

    @classmethod
    def begun(cls, along: ExtensionReply) -> JobLifecycle:
        """The task is ours."""
        task_id, *reply = along.reply
        return cls(locks.read_claim(task_id.decode(), reply, along.asked_s))

    def end(self, run: Run, outcome: Outcome) -> Sequence[Command]:
        """It was never started: its job could not be read, or it was cancelled, or goes back."""
        record, now_us, error, store = self.claimed, self.claim.now_us, outcome.error, run.store
        if outcome.kind is OutcomeKind.FAILURE and error is not None:
            ending = RunEnd(RunEndKind.FAIL, now_us, error=error_of(error))
            change = change_of(record, ending)
            before = failed_commands(run, error, run.clock)
        else:
            ending = RunEnd(RunEndKind.RELEASE, now_us)
            change = untaken(record, now_us)
            before = [queues.return_command(store, run.queue, run.job.raw)]
        return records.guarded(store, record, ending, before, change, place=False)


class _Unanswered(JobLifecycle):
    """The lifecycle of a run whose claim got no reply."""

    plain: ClassVar[bool] = False

    def __init__(self, task_id: str, token: str, clock: Clock) -> None:
        self._task_id = task_id
        self._token = token
        self._clock = clock

    def end(self, run: Run, outcome: Outcome) -> Sequence[Command]:
        """The job goes back, and the task too if it is ours."""
        store = run.store
        commands: list[Command] = []
        if outcome.kind is OutcomeKind.RETURNED:
            commands.append(queues.return_command(store, run.queue, run.job.raw))
        ending = RunEnd(RunEndKind.RELEASE, self._clock.now_us())
        return [
            *commands,
            ("REQUIRE", store.keys.task(self._task_id), "lock", self._token),
            *records.note_commands(store, self._task_id, ending),
            ("OTHERWISE",),
        ]


async def claim(run: Run, task_id: str, clock: Clock) -> ClaimResult | None:
    """Claim the task; None if it must not run: what becomes of the job is then set in the run.

    Raises:
        OutcomeUnknown, StoreUnavailable: it may be ours or not; the lifecycle handles that.
    """
    lifecycle = run.lifecycle
    if isinstance(lifecycle, TakenTask) and _still_holds(lifecycle.claim, task_id, clock):
        return lifecycle.claim
    token = f"{run.worker_id}#{run.run_at or secrets.token_hex(6)}"
    run.lifecycle = _Unanswered(task_id, token, clock)
    for _ in range(_TRIES):
        try:
            reply = await _ask(run, task_id, token, clock)
        except (OutcomeUnknown, StoreUnavailable):
            raise
        except (StoreError, MalformedTask):  # it would happen again: the job fails
            run.lifecycle = PLAIN
            await records.get(run.store, task_id)  # raises what is malformed, if that was the cause
            raise
        if reply.record is None:
            run.error = UnknownTaskId(_unknown(task_id))
            break
        if reply.ours:
            return reply
        if not await _clear_way(run, reply):
            break
    else:
        run.outcome = SKIPPED
    run.lifecycle = PLAIN
    return None


def _still_holds(claim: ClaimResult, task_id: str, clock: Clock) -> bool:
    """Whether the task claimed with the job is this one, and its lock is still valid."""
    record = claim.record
    if record is None or record.lock is None or record.id != task_id:
        return False
    left_s = (record.lock.until_ms * 1000 - claim.now_us) / 1_000_000
    return clock.monotonic() < claim.asked_s + left_s


async def _ask(run: Run, task_id: str, token: str, clock: Clock) -> ClaimResult:
    """Claim; if the reply was lost, ask again: the token shows whether it was done."""
    store, kind = run.store, run.class_name
    for pause_s in _UNANSWERED:
        try:
            return await locks.claim(store, task_id, kind, token, clock.monotonic())
        except OutcomeUnknown:
            await asyncio.sleep(pause_s)
    return await locks.claim(store, task_id, kind, token, clock.monotonic())


async def _clear_way(run: Run, claim: ClaimResult) -> bool:
    """Remove what keeps a task from being claimed; False: it must not run."""
    record = claim.record
    assert record is not None
    obstacle = obstacle_of(record, run.class_name, claim.now_us // 1000)
    if obstacle is Obstacle.STRANGER:
        run.error = TrackedError(f"task {record.id!r} is {record.type!r}, not {run.class_name!r}")
        return False
    if obstacle is Obstacle.RECOVER:
        await recover(run.store, record, claim.now_us, place=False)
        return True
    if obstacle is Obstacle.ENDED and not await _end_unrun(run, claim):
        return True
    if obstacle is Obstacle.EARLY and await _wait(run, record, claim.now_us // 1000):
        return True
    if obstacle is Obstacle.REVIVE and await revive(run.store, record, claim.now_us):
        return True
    run.outcome = SKIPPED
    return False


async def _end_unrun(run: Run, claim: ClaimResult) -> bool:
    assert claim.record is not None
    return await end_unrun(run.store, claim.record, claim.now_us, place=False)


async def _wait(run: Run, record: Record, now_ms: int) -> bool:
    """Wait for a task that is due soon; a later one is left to the delayed list."""
    assert record.next_run_ms is not None
    left_ms = record.next_run_ms - now_ms
    if left_ms <= _WAIT_MS:
        await asyncio.sleep(left_ms / 1000)
        return True
    job = records.job_of(record)
    added = await delayed.add(run.store, job, [job], at_ms=record.next_run_ms)
    return added.due


def _unknown(task_id: str) -> str:
    return f"no record knows the tracked task {task_id!r}: it was removed, or its retention is over"
