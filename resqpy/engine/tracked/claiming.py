"""Claiming a tracked task whose job was delivered, or learning that it is not to be run.

Most tasks were claimed by the exchange that took their jobs (`begin_claimed`). What is left for here are
jobs in another spelling than ours, and tasks in whose way something stands.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from functools import partial

from resqpy.base.clock import Clock
from resqpy.base.errors import (
    OutcomeUnknown,
    StoreError,
    StoreUnavailable,
    TrackedError,
    UnknownTaskId,
)
from resqpy.base.task_ending import Ending, EndKind
from resqpy.base.task_record import Record
from resqpy.engine.endings import failed_commands
from resqpy.engine.outcome import SKIPPED, Command, Kind, Outcome
from resqpy.engine.run import Run
from resqpy.engine.tracked import settling
from resqpy.engine.tracked.finishing import change_of, error_of, guarded, note_commands
from resqpy.engine.tracked.transitions import untaken
from resqpy.engine.tracked.verdict import Verdict, verdict
from resqpy.store import delayed, queues, records, task_locks
from resqpy.store.task_locks import Claim

_TRIES = 4  # of a claim: each settles something that stood in its way
_WAIT_MS = 2000  # a task that comes this early is waited for in its slot
_UNANSWERED = (0.1, 0.5, 2.0, 5.0)  # seconds between the tries to hear what came of a claim


def begin_claimed(run: Run, claim: Claim) -> None:
    """The task was taken with its job: until its delivery begins, the end of the run is its own."""
    run.claim = claim
    run.ender = partial(_end_unbegun, run, claim)


def _end_unbegun(run: Run, claim: Claim, outcome: Outcome) -> Sequence[Command]:
    """A run that was not begun: its job could not be read, or it was cancelled, or goes back."""
    record, error, store = claim.record, outcome.error, run.store
    assert record is not None
    if outcome.kind is Kind.FAILURE and error is not None:
        ending = Ending(EndKind.FAIL, claim.now_us, error=error_of(error))
        change = change_of(record, ending)
        before = failed_commands(run, error, run.clock)
    else:
        ending = Ending(EndKind.RELEASE, claim.now_us)
        change = untaken(record, claim.now_us)
        before = [queues.return_command(store, run.queue, run.job.raw)]
    return guarded(store, record, ending, before, change, place=False)


async def claim(run: Run, task_id: str, clock: Clock) -> Claim | None:
    """Claim the task; None where it is not to be run: what becomes of the job stands in the run.

    Raises:
        OutcomeUnknown, StoreUnavailable: it may be ours or not; `run.ender` sees to that.
    """
    known, run.claim = run.claim, None
    if known is not None and _still_holds(known, task_id, clock):
        return known
    token = f"{run.worker_id}#{run.run_at or secrets.token_hex(6)}"
    run.ender = partial(_end_unanswered, run, task_id, token, clock)
    for _ in range(_TRIES):
        try:
            reply = await _ask(run, task_id, token, clock)
        except (OutcomeUnknown, StoreUnavailable):
            raise
        except StoreError:  # Redis refuses it, and will again: the job fails
            run.ender = None
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
    run.ender = None
    return None


def _end_unanswered(
    run: Run, task_id: str, token: str, clock: Clock, outcome: Outcome
) -> Sequence[Command]:
    """Nobody told us whether we have the task: the job goes back, and the task if it is ours."""
    store = run.store
    commands: list[Command] = []
    if outcome.kind is Kind.RETURNED:
        commands.append(queues.return_command(store, run.queue, run.job.raw))
    ending = Ending(EndKind.RELEASE, clock.now_us())
    return [
        *commands,
        ("REQUIRE", store.keys.task(task_id), "lock", token),
        *note_commands(store, task_id, ending),
        ("OTHERWISE",),
    ]


def _still_holds(claim: Claim, task_id: str, clock: Clock) -> bool:
    """Whether what was taken with the job is this task, and its lock lasts."""
    record = claim.record
    if record is None or record.lock is None or record.id != task_id:
        return False
    left_s = (record.lock.until_ms * 1000 - claim.now_us) / 1_000_000
    return clock.monotonic() < claim.asked_s + left_s


async def _ask(run: Run, task_id: str, token: str, clock: Clock) -> Claim:
    """Claim; where the answer was lost, ask again: the token tells whether it was done."""
    store, kind = run.store, run.class_name
    for pause_s in _UNANSWERED:
        try:
            return await task_locks.claim(store, task_id, kind, token, clock.monotonic())
        except OutcomeUnknown:
            await asyncio.sleep(pause_s)
    return await task_locks.claim(store, task_id, kind, token, clock.monotonic())


async def _clear_way(run: Run, claim: Claim) -> bool:
    """Settle what keeps a task from being claimed; False: it is not to be run."""
    record = claim.record
    assert record is not None
    way = verdict(record, run.class_name, claim.now_us // 1000)
    if way is Verdict.STRANGER:
        run.error = TrackedError(f"task {record.id!r} is {record.type!r}, not {run.class_name!r}")
        return False
    if way is Verdict.RECOVER:
        await settling.recover(run.store, record, claim.now_us, place=False)
        return True
    if way is Verdict.ENDED and not await _end_unrun(run, claim):
        return True
    if way is Verdict.EARLY and await _wait(run, record, claim.now_us // 1000):
        return True
    if way is Verdict.REVIVE and await settling.revive(run.store, record, claim.now_us):
        return True
    run.outcome = SKIPPED
    return False


async def _end_unrun(run: Run, claim: Claim) -> bool:
    assert claim.record is not None
    return await settling.end_unrun(run.store, claim.record, claim.now_us, place=False)


async def _wait(run: Run, record: Record, now_ms: int) -> bool:
    """Wait for a task that is due soon; another is left to the delayed list."""
    assert record.next_run_ms is not None
    left_ms = record.next_run_ms - now_ms
    if left_ms <= _WAIT_MS:
        await asyncio.sleep(left_ms / 1000)
        return True
    job = records.job_of(record)
    added = await delayed.add(run.store, job, [job], at_ms=record.next_run_ms)
    return added.due


def _unknown(task_id: str) -> str:
    return f"no record knows the tracked task {task_id!r}: it was removed, or its time is over"
