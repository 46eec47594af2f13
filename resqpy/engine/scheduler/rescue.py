"""Rescue of jobs whose worker died: resqpy's own, by the heartbeat of the process.

A job goes back to the head of its queue; or to failed if its run was marked as not repeatable, or if its
queue is no longer a list. A job that was rescued three times and is lost again, in a process in which it
was the only one, is a poison pill and goes to failed. Jobs lost together can't be told apart, so one that
was lost twice before runs alone in its process (`engine/worker/running.py`): then we know which one kills
the worker. A job with a record always goes back: the record counts attempts, and drops what must not run.
The count is stored beside the job, never in it, and is forgotten when the job succeeds.

A process is buried in this order (docs/why/exchange.md): its gate is closed, so that nothing it has sent
can take a job; the records of all ids that it ever had are read; it is forgotten. Now and then we search
for records of unknown ids and register them, so that they are handled like other dead workers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from resqpy.base import codec, job_records, reading
from resqpy.base.clock import failed_at_utc, heartbeat_utc
from resqpy.base.codec import TASK_ID, has_record
from resqpy.base.errors import (
    PayloadError,
    PoisonPill,
    ResqpyError,
    StoreError,
    StoreMisconfigured,
    WorkerDied,
)
from resqpy.base.foreign_time import moment_of
from resqpy.base.model import LostJob
from resqpy.base.php import FAILED, WAITING, php_status
from resqpy.engine.options import MAX_RESCUES
from resqpy.engine.scheduler.election import Leadership, Scope
from resqpy.engine.worker.identity import ids_of, incarnation_of, ours, queues_of
from resqpy.engine.worker.queues import worked
from resqpy.store import failures, limits, queues, rescue, workers
from resqpy.store.connection.client import Arg, Store
from resqpy.store.queues import Parked
from resqpy.store.rescue import JobNote, Remains, RescueDecision

_REMEMBERED_S = 72 * 3600
_SWEEP_EVERY_S = 3600  # all notes are read for it, and each snoozed job has one
_PAGE, _PAGES = 1000, 20  # keys per step of a search, steps per run
_SEARCH_PAUSE_S = 0.2
_SEARCH_EVERY_S = 30.0  # a search at this interval,
_SEARCH_SHARE = 100  # or this many times its own duration
_SEARCH_LASTS_S = 600  # at most

_LEFT = (
    "belongs to a worker that died, but has another type than resqpy writes: it was left "
    "alone; find out who wrote it"
)

Tell = Callable[..., None]
T = TypeVar("T")


class RescueChore:
    """Takes back what dead resqpy workers left behind.

    Args:
        dead_after_s: seconds without a heartbeat.
        tell: called as `tell("clean_stuck_worker", worker id, failed entry or None, seconds)`, before it as
            `tell("put_back", worker id, queue, class, times)` for a job that is back in its queue after
            this many losses with its worker, and as `tell("error", error)`.
        search_every_s: seconds from one search for records of unlisted ids to the next.

    Attributes:
        searching: there is more to look at soon.
        unheard_s: seconds without a process that works a queue, after which what is parked of it goes back to it.
        beside_older: the leader can't read ids of today's form: only processes that have them are handled.
            That leader forgets such a process when it is silent for long, and does nothing else with it.
    """

    name = "rescue"
    scope: Scope = "own"
    prefixes: Sequence[str] = ()

    def __init__(
        self,
        store: Store,
        dead_after_s: float,
        tell: Tell,
        search_every_s: float = _SEARCH_EVERY_S,
    ) -> None:
        self._store = store
        self._dead_after_s = dead_after_s
        self._tell = tell
        self._search = Search(store, search_every_s)
        self._told: set[str] = set()
        self._sweeps_s = 0.0
        self._unheard: dict[str, float] = {}  # since when nobody works a queue with parked jobs
        self.unheard_s: float = 60.0
        self.searching: bool = False
        self.beside_older: bool = False

    async def run(self, leadership: Leadership) -> float:
        """Rescue jobs of dead workers; returns the seconds until the next check."""
        now_s = leadership.clock.now_ms() / 1000
        alive = await rescue.processes(self._store)
        lives = await rescue.lives(self._store)
        members = await self._members()
        if self.beside_older:
            unread = {each for each in {*members, *lives} if not _of_earlier(each, members, lives)}
            alive, lives, members = (_only(unread, each) for each in (alive, lives, members))
        alive |= await self._adopt({*members, *lives} - alive.keys(), members, lives, now_s)
        before_s = now_s - self._dead_after_s
        living = {each: seen_s for each, seen_s in alive.items() if seen_s >= before_s}
        for incarnation in alive.keys() - living.keys():
            ids, life = members.get(incarnation, []), lives.get(incarnation, b"")
            silent_s = now_s - alive[incarnation]
            try:
                await self._bury(leadership, incarnation, ids, before_s, silent_s, life)
            except StoreError as error:
                self._refused(incarnation, error)
        await self._take_back(leadership, living, members)
        if now_s >= self._sweeps_s:
            self._sweeps_s = now_s + _SWEEP_EVERY_S
            await rescue.forget_old_counts(self._store, now_s - _REMEMBERED_S)
        self.searching = await self._search.go_on(leadership)
        await self._hand_on(now_s, [lives.get(each, b"") for each in living])
        return _SEARCH_PAUSE_S if self.searching else min(5.0, self._dead_after_s / 6)

    async def _adopt(
        self,
        orphans: Collection[str],
        members: Mapping[str, Sequence[str]],
        lives: Mapping[str, bytes],
        now_s: float,
    ) -> dict[str, float]:
        """Register processes again that somebody removed, by the last heartbeat of their workers; without
        one they get a grace period from now on.
        """
        found = dict[str, float]()
        for each in orphans:
            ids = members.get(each) or ids_of(each, lives.get(each, b""))
            beats = await rescue.heartbeats(self._store, ids)
            seen_ms = max((moment_of(beat) or 0 for beat in beats), default=0)
            found[each] = min(seen_ms / 1000 or now_s, now_s)
        await rescue.adopt(self._store, found)
        return found

    async def _hand_on(self, now_s: float, lives: Sequence[bytes]) -> None:
        """Look after jobs that are parked for a limit: normally the end of the last run under it hands them on.
        They get a turn where that run vanished, and go back to their queue where the limit was removed, or where
        no process that knows of them has worked the queue for long.
        """
        specs = {spec for spec in map(queues_of, lives) if spec is not None}
        turn, heard, unheard = list[Parked](), dict[str, bool](), dict[str, float]()
        for some, room in await limits.parked_now(self._store):
            if some.queue not in heard:
                heard[some.queue] = any(worked(spec, [some.queue]) for spec in specs)
            if not heard[some.queue]:
                unheard[some.queue] = self._unheard.get(some.queue, now_s)
            if room is None or now_s - unheard.get(some.queue, now_s) >= self.unheard_s:
                while (await queues.put_back(self._store, some))[1]:
                    pass
            elif room > 0:
                turn.append(some)
        self._unheard = unheard
        await limits.give_turn(self._store, turn)

    def _refused(self, incarnation: str, error: StoreError) -> None:
        """Redis refused something in one burial: report it once, and continue with the others."""
        if type(error) is not StoreError:
            raise error
        message = f"the jobs of the dead process {incarnation} could not be taken back: {error}"
        told, notes = StoreError(message), getattr(error, "__notes__", ())
        for note in notes:  # what was repaired, so that the next attempt can succeed
            told.add_note(note)
        if notes or message not in self._told:
            self._told.add(message)
            self._tell("error", told)

    async def _members(self) -> dict[str, list[str]]:
        """Our registered workers by process."""
        found: dict[str, list[str]] = {}
        for worker_id in await workers.ids(self._store):
            if (incarnation := incarnation_of(worker_id)) is not None:
                found.setdefault(incarnation, []).append(worker_id)
        return found

    async def _take_back(
        self,
        leadership: Leadership,
        living: Mapping[str, float],
        members: Mapping[str, Sequence[str]],
    ) -> None:
        """Rescue jobs in records of ids that a live process no longer has: each heartbeat covers all its
        ids. Only a failover to an incomplete replica leaves such records.
        """
        owner = {each: one for one in living for each in members.get(one, ())}
        beats = await rescue.heartbeats(self._store, [*owner])
        for (each, incarnation), beat in zip(owner.items(), beats, strict=True):
            seen_s = living[incarnation]
            if "" < beat < heartbeat_utc(seen_s - self._dead_after_s):
                [left] = await rescue.remains(self._store, [each])
                remains = [replace(left, beat=beat)]
                await self._rescue(leadership, incarnation, remains, seen_s, self._dead_after_s)

    async def _bury(
        self,
        leadership: Leadership,
        incarnation: str,
        ids: Sequence[str],
        before_s: float,
        silent_s: float,
        life: bytes = b"",
    ) -> None:
        """Rescue a process' jobs and forget it."""
        keys = self._store.keys
        dead: list[Arg] = [incarnation, before_s]
        if not await leadership.run("bury", [keys.processes, keys.gates], dead):
            return
        known = set(ids)
        others = [each for each in ids_of(incarnation, life) if each not in known]
        # Ruby may have removed one with its record while its job ran, so that only this is left
        if others and await rescue.keep_something(self._store, others):
            known.update(others)
        remains = [
            left
            for left in await rescue.remains(self._store, [*ids, *others])
            if left.record is not None or left.mark or left.worker_id in known
        ]
        if await self._rescue(leadership, incarnation, remains, before_s, silent_s):
            own = [keys.processes, keys.gates, keys.lives, keys.known_tasks,
                   keys.process_state(incarnation)]  # fmt: skip
            await leadership.run("forget_process", own, dead)

    async def _rescue(
        self,
        leadership: Leadership,
        incarnation: str,
        remains: list[Remains],
        before_s: float,
        silent_s: float,
    ) -> bool:
        """Take jobs back, the latest claimed first, so that the queue's head is as before; returns whether
        all were.
        """
        remains.sort(key=lambda left: left.run_at, reverse=True)
        lost = [left for left in remains if left.raw is not None]
        notes = await rescue.notes(self._store, [left.digest for left in lost])
        known = {left.worker_id: note for left, note in zip(lost, notes, strict=True)}
        complete = True
        for left in remains:
            note, alone = known.get(left.worker_id, JobNote()), len(lost) == 1
            decision = _decision(left, note, leadership.clock.now_ms(), alone=alone)
            done = await self._carry_out(leadership, left, incarnation, before_s, decision)
            complete = complete and done is not None
            if done is not None:
                self._lost(left, done)
                await self._tell_php(left, done, leadership.clock.now_ms())
                entry = done.entry and codec.decode_lenient(done.entry)
                if left.raw is not None and not entry:
                    told = left.worker_id, left.queue, _class_of(left), note.rescues + 1
                    self._tell("put_back", *told)
                self._tell("clean_stuck_worker", left.worker_id, entry, int(silent_s))
        return complete

    def _lost(self, left: Remains, done: RescueDecision) -> None:
        if left.raw is not None and done.error is not None:
            again = done.entry is None
            lost = LostJob(left.raw, left.queue, left.worker_id, done.error, will_retry=again)
            self._store.on_lost(lost)

    async def _tell_php(self, left: Remains, done: RescueDecision, now_ms: int) -> None:
        """Tell what became of a job whose status PHP follows."""
        job = None if left.raw is None or left.broken else reading.show_job(left.raw, left.queue)
        php = None if job is None or not job.extra else php_status(job.extra)
        if php is not None:
            status = WAITING if done.entry is None else FAILED
            await self._store.call(*workers.php_status_command(self._store, php, status, now_ms))

    async def _carry_out(
        self,
        leadership: Leadership,
        left: Remains,
        incarnation: str,
        before_s: float,
        decision: RescueDecision,
    ) -> RescueDecision | None:
        """What was done, which is to fail the job if its queue is not a list; None: nothing."""
        failed = self._store.keys.failed
        if decision.entry is not None:
            failed = await failures.known_list(self._store, left.queue)
        keys, args = rescue.rescue_call(self._store, left, incarnation, before_s, decision, failed)
        try:
            foreign = await leadership.run("rescue", keys, args)
        except StoreError as error:
            if type(error) is not StoreError or left.raw is None or decision.entry is not None:
                raise
            refused = StoreError(f"the job can't go back to its queue: {error}")
        else:
            for key in foreign or ():
                message = f"{key.decode('utf-8', 'replace')!r} {_LEFT}"
                self._tell("error", StoreError(message))
            return None if foreign is None else decision
        failing = _fail(left, refused, leadership.clock.now_ms())
        return await self._carry_out(leadership, left, incarnation, before_s, failing)


class Search:
    """The search for records of unlisted ids, a few steps at a time, by one process after the other."""

    def __init__(self, store: Store, every_s: float) -> None:
        self._store = store
        self._every_s = every_s
        self._cursor: int | None = None
        self._began_s = 0.0
        self._forbidden = False

    async def go_on(self, leadership: Leadership) -> bool:
        """The next steps of the search, if it is time for one; returns whether there are more.

        Raises:
            StoreMisconfigured: once: this Redis user may not scan keys, so another process must.
        """
        if self._forbidden:
            return False
        try:
            return await self._step(leadership)
        except StoreMisconfigured:
            self._forbidden = True
            raise

    async def _step(self, leadership: Leadership) -> bool:
        if self._cursor is None:
            if not await rescue.begin_search(self._store, _SEARCH_LASTS_S):
                return False
            self._cursor, self._began_s = 0, leadership.clock.monotonic()
        for _ in range(_PAGES):
            self._cursor, found = await rescue.records_page(self._store, self._cursor, _PAGE)
            await self._make_known(leadership, found)
            if self._cursor == 0:
                self._cursor = None
                took_s = leadership.clock.monotonic() - self._began_s
                await rescue.end_search(self._store, max(self._every_s, took_s * _SEARCH_SHARE))
                return False
        return True

    async def _make_known(self, leadership: Leadership, found: Sequence[str]) -> None:
        own = [each for each in found if incarnation_of(each) is not None]
        known = await workers.are_known(self._store, own)
        unknown = [each for each, is_known in zip(own, known, strict=True) if not is_known]
        records = await workers.records(self._store, unknown)
        now = heartbeat_utc(leadership.clock.now_ms() / 1000)
        for each, record in zip(unknown, records, strict=True):
            if record is not None and job_records.payload_of_work(record) is not None:
                incarnation = incarnation_of(each)
                assert incarnation is not None
                await rescue.make_known(self._store, each, incarnation, now)


def _of_earlier(
    incarnation: str, members: Mapping[str, Sequence[str]], lives: Mapping[str, bytes]
) -> bool:
    """Whether the ids of a process have the form that an older leader reads."""
    ids = members.get(incarnation) or ids_of(incarnation, lives.get(incarnation, b""))[:1]
    return any(read.earlier for each in ids if (read := ours(each)))


def _only(names: Collection[str], found: dict[str, T]) -> dict[str, T]:
    return {each: value for each, value in found.items() if each in names}


def _decision(left: Remains, noted: JobNote, now_ms: int, *, alone: bool) -> RescueDecision:
    """What becomes of a job of which this is noted."""
    if left.raw is None:
        return RescueDecision()
    rescued = noted.rescues
    note = noted._replace(rescues=rescued + 1).text(now_ms // 1000)
    if _has_record(left):  # its record says what may run again; a surplus copy is dropped
        return RescueDecision(note=note)
    if left.broken:
        return _fail(left, PayloadError(left.broken), now_ms)
    if left.once:
        return _fail(left, WorkerDied(), now_ms)
    if alone and rescued >= MAX_RESCUES:
        error = PoisonPill(
            f"the job's worker died {rescued + 1} times, the last time with this job as the only one; it kills "
            "its worker, or something makes the worker look dead: fix the cause before you retry it"
        )
        return _fail(left, error, now_ms)
    lost = WorkerDied(f"the job's worker died, the job is back in its queue (loss {rescued + 1})")
    return RescueDecision(note=note, error=lost)


def _has_record(left: Remains) -> bool:
    """Whether the job has a record."""
    if left.broken or TASK_ID.encode() not in (left.raw or b""):
        return False
    try:
        job = codec.decode_job(left.raw or b"", left.queue)
    except PayloadError:
        return False
    return has_record(job.args)


def _class_of(left: Remains) -> str | None:
    """The class of a job, which may be unreadable."""
    try:
        return codec.decode_job(left.raw or b"", left.queue).class_name
    except PayloadError:
        return None


def _fail(left: Remains, error: ResqpyError, now_ms: int) -> RescueDecision:
    job, kept = reading.for_failed(left.raw or b"", left.queue, can_keep=left.apart)
    entry = job_records.encode_failed(
        job_json=job,
        queue=left.queue,
        worker=left.worker_id,
        exception=type(error).__name__,
        error=str(error),
        backtrace=[],
        failed_at=failed_at_utc(now_ms),
    )
    return RescueDecision(entry, kept, error=error)
