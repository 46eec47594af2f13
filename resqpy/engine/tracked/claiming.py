"""Claiming a tracked task whose job was delivered, or learning that it is not to be run."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

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
from resqpy.base.when import ceil_second
from resqpy.engine.outcome import SKIPPED, Command, Kind, Outcome
from resqpy.engine.run import Run
from resqpy.engine.tracked import settling
from resqpy.engine.tracked.finishing import note_commands
from resqpy.engine.tracked.verdict import Verdict, verdict
from resqpy.store import delayed, queues, records, task_locks
from resqpy.store.task_locks import Claim

_TRIES = 4  # of a claim: each settles something that stood in its way
_WAIT_MS = 2000  # a task that comes this early is waited for in its slot
_UNANSWERED = (0.1, 0.5, 2.0, 5.0)  # seconds between the tries to hear what came of a claim


class Claimed(NamedTuple):
    """A task that is ours to run.

    Attributes:
        asked_s: when we asked for it, by the clock that never steps.
    """

    record: Record
    asked_s: float


async def claim(run: Run, task_id: str, clock: Clock) -> Claimed | None:
    """Claim the task; None where it is not to be run: what becomes of the job stands in the run.

    Raises:
        OutcomeUnknown, StoreUnavailable: it may be ours or not; `run.ender` sees to that.
    """
    token = f"{run.worker_id}#{secrets.token_hex(6)}"
    run.ender = partial(_end_unanswered, run, task_id, token, clock)
    for _ in range(_TRIES):
        asked_s = clock.monotonic()
        try:
            reply = await _ask(run, task_id, token)
        except (OutcomeUnknown, StoreUnavailable):
            raise
        except StoreError:  # Redis refuses it, and will again: the job fails
            run.ender = None
            raise
        if reply.record is None:
            run.error = UnknownTaskId(_unknown(task_id))
            break
        if reply.ours:
            return Claimed(reply.record, asked_s)
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


async def _ask(run: Run, task_id: str, token: str) -> Claim:
    """Claim; where the answer was lost, ask again: the token tells whether it was done."""
    for pause_s in _UNANSWERED:
        try:
            return await task_locks.claim(run.store, task_id, run.class_name, token)
        except OutcomeUnknown:
            await asyncio.sleep(pause_s)
    return await task_locks.claim(run.store, task_id, run.class_name, token)


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
    if way is Verdict.EARLY and await _wait(run, record, claim.now_us // 1000):
        return True
    if way is Verdict.REVIVE and await settling.revive(run.store, record, claim.now_us):
        return True
    run.outcome = SKIPPED
    return False


async def _wait(run: Run, record: Record, now_ms: int) -> bool:
    """Wait for a task that is due soon; another is left to the delayed list."""
    assert record.next_run_ms is not None
    left_ms = record.next_run_ms - now_ms
    if left_ms <= _WAIT_MS:
        await asyncio.sleep(left_ms / 1000)
        return True
    second = ceil_second(record.next_run_ms)
    job = records.job_of(record)
    await delayed.add(run.store, second, job, [job])
    return False


def _unknown(task_id: str) -> str:
    return f"no record knows the tracked task {task_id!r}: it was removed, or its time is over"
