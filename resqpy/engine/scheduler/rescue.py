"""The rescue of jobs that died with their worker: resqpy's own, by the heartbeat of the process.

A job goes back to the head of its queue; to failed where its run was marked as one that must not be
repeated, or where its queue is no list any more. A job that was rescued three times and is lost once
more, in a process in which it was the only one, is a poison pill and goes to failed. Jobs that were
lost together can't be told apart, so one that was lost twice before runs alone in its process
(`engine/worker/running.py`): then it is known who kills.
A job with a record beside it always goes back: the record counts attempts, and drops what is not to run.
The count stands beside the job, never in it, and is forgotten when the job succeeds.

A process is buried in this order (docs/why/exchange.md): its gate is shut, so that nothing it has sent
takes a job any more; the records of all ids that it ever had are read; it is forgotten. A record of an id
that nobody knows is searched for now and then, and made known: then the rule for the dead applies.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from resqpy.base import codec, failed_entries, reading, worker_records
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
from resqpy.engine.options import MOST_RESCUES
from resqpy.engine.scheduler.election import Leadership, Scope
from resqpy.engine.worker.identity import ids_of, incarnation_of, ours
from resqpy.store import rescue, workers
from resqpy.store.connection.client import Arg, Store
from resqpy.store.rescue import Remains, Verdict

_REMEMBERED_S = 72 * 3600
_PAGE, _PAGES = 1000, 20  # keys in one step of a search, steps in one run
_SEARCH_PAUSE_S = 0.2
_SEARCH_EVERY_S, _SEARCH_SHARE = (
    30.0,
    100,
)  # a search every so often, or so many times as long as it took
_SEARCH_LASTS_S = 600  # at the most

_LEFT = (
    "belongs to a worker that died, but has another kind than resqpy writes: it is left as it is; find "
    "out who wrote it"
)

Tell = Callable[..., None]
T = TypeVar("T")


class RescueChore:
    """Takes back what dead resqpy workers left.

    Args:
        dead_after_s: seconds without a sign of life.
        tell: called as `tell("clean_stuck_worker", worker id, failed entry or None, seconds)`, before it
            as `tell("put_back", worker id, queue, class, times)` of a job that is back in its queue, lost
            so many times with its worker, and as `tell("error", error)`.

    Attributes:
        searching: there is more to be looked at soon.
        beside_older: a leader leads that can't read ids of today's form: only processes that have them are
            looked after. It forgets such a process when that is silent for long, and nothing else of it.
    """

    name = "rescue"
    scope: Scope = "own"
    prefixes: Sequence[str] = ()

    def __init__(self, store: Store, dead_after_s: float, tell: Tell) -> None:
        self._store = store
        self._dead_after_s = dead_after_s
        self._tell = tell
        self._search = Search(store)
        self._told: set[str] = set()
        self.searching: bool = False
        self.beside_older: bool = False

    async def run(self, leadership: Leadership) -> float:
        """Look for the dead; seconds until the next look."""
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
        await rescue.forget_old_counts(self._store, now_s - _REMEMBERED_S)
        self.searching = await self._search.go_on(leadership)
        return _SEARCH_PAUSE_S if self.searching else min(5.0, self._dead_after_s / 6)

    async def _adopt(
        self,
        orphans: Collection[str],
        members: Mapping[str, Sequence[str]],
        lives: Mapping[str, bytes],
        now_s: float,
    ) -> dict[str, float]:
        """Note processes again that somebody forgot, by the last heartbeat of their workers; without one,
        they have to give a sign of life from now on.
        """
        found = dict[str, float]()
        for each in orphans:
            ids = members.get(each) or ids_of(each, lives.get(each, b""))
            beats = await rescue.heartbeats(self._store, ids)
            seen_ms = max((moment_of(beat) or 0 for beat in beats), default=0)
            found[each] = min(seen_ms / 1000 or now_s, now_s)
        await rescue.adopt(self._store, found)
        return found

    def _refused(self, incarnation: str, error: StoreError) -> None:
        """Redis refused something of one burial: it is told once, and holds up none of the others."""
        if type(error) is not StoreError:
            raise error
        words = f"the jobs of the dead process {incarnation} could not be taken back: {error}"
        told, notes = StoreError(words), getattr(error, "__notes__", ())
        for note in notes:  # what was mended, so that the next time it can be done
            told.add_note(note)
        if notes or words not in self._told:
            self._told.add(words)
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
        """Rescue what stands on records of ids that a living process has no more: each sign of life is
        given for all that it has. Only a failover to a replica that lacked something leaves such.
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
        """Take jobs back, the latest taken first: so the queue's head is as it was; whether all are."""
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
                if left.raw is not None and not entry:
                    told = left.worker_id, left.queue, _class_of(left), rescued + 1
                    self._tell("put_back", *told)
                self._tell("clean_stuck_worker", left.worker_id, entry, int(silent_s))
        return complete

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
            foreign = await leadership.run("rescue", keys, args)
        except StoreError as error:
            if type(error) is not StoreError or left.raw is None or verdict.entry is not None:
                raise
            refused = StoreError(f"the job can't go back to its queue: {error}")
        else:
            for key in foreign or ():
                words = f"{key.decode('utf-8', 'replace')!r} {_LEFT}"
                self._tell("error", StoreError(words))
            return None if foreign is None else verdict
        failing = _fail(left, refused, leadership.clock.now_ms())
        return await self._carry_out(leadership, left, incarnation, before_s, failing)


class Search:
    """The search for records of ids that stand nowhere else, a few steps at a time, by one process
    after the other.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._cursor: int | None = None
        self._began_s = 0.0
        self._forbidden = False

    async def go_on(self, leadership: Leadership) -> bool:
        """The next steps of the search, if it is time for one; whether there are more.

        Raises:
            StoreMisconfigured: once: this Redis user may not walk over keys, so that others must.
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
                await rescue.end_search(self._store, max(_SEARCH_EVERY_S, took_s * _SEARCH_SHARE))
                return False
        return True

    async def _make_known(self, leadership: Leadership, found: Sequence[str]) -> None:
        own = [each for each in found if incarnation_of(each) is not None]
        known = await workers.are_known(self._store, own)
        unknown = [each for each, is_known in zip(own, known, strict=True) if not is_known]
        records = await workers.records(self._store, unknown)
        now = heartbeat_utc(leadership.clock.now_ms() / 1000)
        for each, record in zip(unknown, records, strict=True):
            if record is not None and worker_records.payload(record) is not None:
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


def _verdict(left: Remains, rescued: int, now_ms: int, *, alone: bool) -> Verdict:
    """What becomes of a job that was rescued so often before."""
    if left.raw is None:
        return Verdict()
    if _has_record(left):  # its record says what may be run again; a copy too many is dropped
        return Verdict(count=f"{rescued + 1}/{now_ms // 1000}")
    if left.broken:
        return _fail(left, PayloadError(left.broken), now_ms)
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


def _has_record(left: Remains) -> bool:
    """Whether the job has a record beside it."""
    if left.broken or TASK_ID.encode() not in (left.raw or b""):
        return False
    try:
        job = codec.decode_job(left.raw or b"", left.queue)
    except PayloadError:
        return False
    return has_record(job.args)


def _class_of(left: Remains) -> str | None:
    """The class of a job, which may be junk."""
    try:
        return codec.decode_job(left.raw or b"", left.queue).class_name
    except PayloadError:
        return None


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
