"""The rescue of jobs that died with their worker: resqpy's own, by the heartbeat of the process.

A job goes back to the head of its queue; to failed where its run was marked as one that must not be
repeated, or where its queue is no list any more. A job that was rescued three times and is lost once
more, in a process in which it was the only one, is a poison pill and goes to failed. Jobs that were
lost together can't be told apart, so one that was lost twice before runs alone in its process
(`engine/suspects.py`): then it is known who kills.
The job of a tracked task always goes back: its record counts attempts, and drops what is not to run.
The count stands beside the job, never in it, and is forgotten when the job succeeds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from resqpy.base import codec, failed_entries, reading
from resqpy.base.clock import failed_at_utc
from resqpy.base.errors import PayloadError, PoisonPill, ResqpyError, StoreError, WorkerDied
from resqpy.base.task_id import TASK_ID, task_id_of
from resqpy.engine.election import Leadership, Scope
from resqpy.engine.rescue_rule import MOST_RESCUES
from resqpy.store import rescue, workers
from resqpy.store.client import Store
from resqpy.store.rescue import Remains, Verdict

_REMEMBERED_S = 72 * 3600

_OURS = re.compile(r"^.*\+\d+-([a-z0-9]{8}):\d+:.+$", re.DOTALL)

Tell = Callable[..., None]


def incarnation_of(worker_id: str) -> str | None:
    """The incarnation in one of our worker ids; None in a foreign one."""
    match = _OURS.match(worker_id)
    return match.group(1) if match else None


class RescueChore:
    """Takes back what dead resqpy workers left.

    Args:
        dead_after_s: seconds without a sign of life.
        tell: called as `tell("clean_stuck_worker", worker id, failed entry or None, seconds)`.
    """

    name = "rescue"
    scope: Scope = "own"
    prefixes: Sequence[str] = ()

    def __init__(self, store: Store, dead_after_s: float, tell: Tell) -> None:
        self._store = store
        self._dead_after_s = dead_after_s
        self._tell = tell

    async def run(self, leadership: Leadership) -> float | None:
        """Look for the dead; seconds until the next look."""
        now_s = leadership.clock.now_ms() / 1000
        alive = await rescue.processes(self._store)
        members = await self._members()
        if orphans := [each for each in members if each not in alive]:
            await rescue.adopt(self._store, orphans, now_s)
        before_s = now_s - self._dead_after_s
        for incarnation, seen_s in alive.items():
            if seen_s < before_s:
                ids = members.get(incarnation, [])
                await self._bury(leadership, incarnation, ids, before_s, now_s - seen_s)
        await rescue.forget_old_counts(self._store, now_s - _REMEMBERED_S)
        return min(5.0, self._dead_after_s / 6)

    async def _members(self) -> dict[str, list[str]]:
        """Our registered workers by process."""
        found: dict[str, list[str]] = {}
        for worker_id in await workers.ids(self._store):
            if (incarnation := incarnation_of(worker_id)) is not None:
                found.setdefault(incarnation, []).append(worker_id)
        return found

    async def _bury(
        self,
        leadership: Leadership,
        incarnation: str,
        ids: Sequence[str],
        before_s: float,
        silent_s: float,
    ) -> None:
        """Rescue a process' jobs, the latest taken first: so the queue's head is as it was."""
        remains = await rescue.remains(self._store, ids)
        remains.sort(key=lambda left: left.run_at, reverse=True)
        lost = [left for left in remains if left.raw is not None]
        counts = await rescue.counts(self._store, [left.digest for left in lost])
        known = {left.worker_id: n for left, n in zip(lost, counts, strict=True)}
        complete = True
        for left in remains:
            rescued, alone = known.get(left.worker_id, 0), len(lost) == 1
            verdict = _verdict(left, rescued, leadership.clock.now_ms(), alone=alone)
            done = await self._carry_out(leadership, left, incarnation, before_s, verdict)
            complete = complete and done is not None
            if done is not None:
                entry = done.entry and codec.decode_lenient(done.entry)
                self._tell("clean_stuck_worker", left.worker_id, entry, int(silent_s))
        if complete:
            await leadership.run(
                "forget_process", [self._store.keys.processes], [incarnation, before_s]
            )

    async def _carry_out(
        self,
        leadership: Leadership,
        left: Remains,
        incarnation: str,
        before_s: float,
        verdict: Verdict,
    ) -> Verdict | None:
        """What was done, which is to fail the job where its queue is no list; None: nothing."""
        keys, args = rescue.rescue_call(self._store, left, incarnation, before_s, verdict)
        try:
            return verdict if await leadership.run("rescue", keys, args) else None
        except StoreError as error:
            if type(error) is not StoreError or left.raw is None or verdict.entry is not None:
                raise
            refused = StoreError(f"the job can't go back to its queue: {error}")
        failing = _fail(left, refused, leadership.clock.now_ms())
        return await self._carry_out(leadership, left, incarnation, before_s, failing)


def _verdict(left: Remains, rescued: int, now_ms: int, *, alone: bool) -> Verdict:
    """What becomes of a job that was rescued so often before."""
    if left.raw is None:
        return Verdict()
    if _tracked(left):  # its record says what may be run again; a copy too many is dropped
        return Verdict(count=f"{rescued + 1}/{now_ms // 1000}")
    if left.broken:
        return _fail(left, PayloadError("the worker died, and its record can't be read"), now_ms)
    if left.once:
        return _fail(left, WorkerDied(), now_ms)
    if alone and rescued >= MOST_RESCUES:
        error = PoisonPill(
            f"the job was lost with its worker {rescued + 1} times, the last time as the only one "
            "in its process; it kills its worker, or something takes it for dead: mend the cause "
            "before you retry it"
        )
        return _fail(left, error, now_ms)
    return Verdict(count=f"{rescued + 1}/{now_ms // 1000}")


def _tracked(left: Remains) -> bool:
    """Whether the job is that of a tracked task."""
    if left.broken or TASK_ID.encode() not in (left.raw or b""):
        return False
    try:
        job = codec.decode_job(left.raw or b"", left.queue)
    except PayloadError:
        return False
    return task_id_of(job.args) is not None


def _fail(left: Remains, error: ResqpyError, now_ms: int) -> Verdict:
    job, kept = reading.for_failed(left.raw or b"", left.queue, can_keep=left.apart)
    entry = failed_entries.encode(
        job_json=job,
        queue=left.queue,
        worker=left.worker_id,
        exception=type(error).__name__,
        error=str(error),
        backtrace=[],
        failed_at=failed_at_utc(now_ms),
    )
    return Verdict(entry, kept)
