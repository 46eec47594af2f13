"""What dead processes left behind: who they were, what they ran, and how it is recovered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from resqpy.base import codec, job_records
from resqpy.store import workers
from resqpy.store.connection.client import Arg, Store
from resqpy.store.queues import decode_name
from resqpy.store.sweep import glob_literal

_TOO_LONG = 10  # digits of a count
_PAGE = 1000  # keys of one command
_UNREADABLE = "the worker died, and its record can't be read"
_GONE = "the worker died, and the bytes of its job, which were kept outside its record, are gone"


@dataclass(frozen=True, slots=True)
class Remains:
    """What a dead worker left behind.

    Attributes:
        record: the record; None: it ran nothing.
        queue, run_at: of its job, if the record can be read.
        raw: the exact bytes of its job.
        apart: those bytes are in a key of their own.
        mark: the mark of a run that must not be repeated, this one or an earlier one.
        broken: why no job can be read from the record; then `raw` is all of it.
        beat: its own last heartbeat, if it is dead though its process is alive.
    """

    worker_id: str
    record: bytes | None
    queue: str = ""
    run_at: str = ""
    raw: bytes | None = None
    apart: bool = False
    mark: bytes = b""
    broken: str = ""
    beat: str = ""

    @property
    def once(self) -> bool:
        """Whether this run was marked as not repeatable."""
        return bool(self.record and self.mark) and (self.record or b"").startswith(self.mark)

    @property
    def digest(self) -> str:
        """The name under which the rescues of its job are counted."""
        return codec.digest(self.raw or b"")


@dataclass(frozen=True, slots=True)
class RescueDecision:
    """What becomes of a dead worker's job.

    Attributes:
        entry: the failed entry, if it goes to failed; None: back to its queue.
        kept: the name under which its bytes are kept beside the entry.
        note: what is noted of it from now on; empty: nothing.
        error: why it failed, or runs again; None: its record says so.
    """

    entry: bytes | None = None
    kept: str | None = None
    note: str = ""
    error: BaseException | None = None


async def processes(store: Store) -> dict[str, float]:
    """The last heartbeat of each process, in seconds of Redis' clock."""
    flat: list[bytes] = await store.call("ZRANGE", store.keys.processes, 0, -1, "WITHSCORES")
    return {decode_name(name): float(s) for name, s in zip(flat[::2], flat[1::2], strict=True)}


async def adopt(store: Store, seen_s: Mapping[str, float]) -> None:
    """Register processes again that somebody removed, with the time they were last seen."""
    if seen_s:
        pairs: list[Arg] = [word for each, seconds in seen_s.items() for word in (seconds, each)]
        await store.call("ZADD", store.keys.processes, "NX", *pairs)


async def remains(store: Store, worker_ids: Sequence[str]) -> list[Remains]:
    """What workers left behind. Two round trips, a third if bytes are kept apart."""
    if not worker_ids:
        return []
    records = await workers.records(store, worker_ids)
    marks = await store.call("HMGET", store.keys.at_most_once, *worker_ids)
    return [
        await _read(store, worker_id, record, mark or b"")
        for worker_id, record, mark in zip(worker_ids, records, marks, strict=True)
    ]


async def keep_something(store: Store, worker_ids: Sequence[str]) -> bool:
    """Whether any of these workers still has JobLocks, or bytes of a job beside its record."""
    keys = [name(each) for each in worker_ids for name in (store.keys.job_locks, store.keys.held)]
    for at in range(0, len(keys), _PAGE):
        if await store.call("EXISTS", *keys[at : at + _PAGE]):
            return True
    return False


async def lives(store: Store) -> dict[str, bytes]:
    """The life of each process, as `identity.life` made it."""
    flat: list[bytes] = await store.call("HGETALL", store.keys.lives)
    return {decode_name(name): life for name, life in zip(flat[::2], flat[1::2], strict=True)}


async def heartbeats(store: Store, worker_ids: Sequence[str]) -> list[str]:
    """The last heartbeat of each worker, as Ruby writes it; empty: none."""
    if not worker_ids:
        return []
    found: list[bytes | None] = await store.call("HMGET", store.keys.heartbeats, *worker_ids)
    return [decode_name(each or b"") for each in found]


async def records_page(store: Store, cursor: int, count: int) -> tuple[int, list[str]]:
    """One step of a scan over all workers that have a record.

    Returns:
        The next cursor, 0 at the end; and ids.
    """
    start = store.keys.worker("")
    pattern = f"{glob_literal(start)}*"
    step = ("SCAN", cursor, "MATCH", pattern, "COUNT", count, "TYPE", "string")
    following, found = await store.call(*step)
    return int(following), [decode_name(name)[len(start) :] for name in found]


async def begin_search(store: Store, lasts_s: float) -> bool:
    """Whether a search for unknown records is due and we may do it."""
    keys = store.keys
    return await store.call("SET", keys.searched, "1", "NX", "PX", int(lasts_s * 1000)) is not None


async def end_search(store: Store, rests_s: float) -> None:
    """The next search begins after this many seconds at the earliest."""
    await store.call("SET", store.keys.searched, "1", "PX", int(rests_s * 1000))


async def make_known(store: Store, worker_id: str, incarnation: str, now: str) -> bool:
    """Register a worker that has a record but is listed nowhere, and its process."""
    keys = store.keys
    names = [keys.workers, keys.heartbeats, keys.processes, keys.worker(worker_id)]
    return bool(await store.run("make_known", names, [worker_id, incarnation, now]))


async def _read(store: Store, worker_id: str, record: bytes | None, mark: bytes) -> Remains:
    if record is None:
        return Remains(worker_id, None, mark=mark)
    work = job_records.decode_own_work(worker_id, record)
    if work is None or work.job_raw is None:
        return Remains(worker_id, record, raw=record, mark=mark, broken=_UNREADABLE)
    raw, apart = work.job_raw, work.job_raw == job_records.HELD_PAYLOAD
    if apart:
        held = await workers.held(store, worker_id)
        if held is None:
            return Remains(worker_id, record, raw=record, mark=mark, broken=_GONE)
        raw = held
    return Remains(
        worker_id, record, work.queue or "", work.run_at or "", raw, apart=apart, mark=mark
    )


class JobNote(NamedTuple):
    """What is noted of a job, by the digest of its bytes. Its text is `2/1796016480`, or `2/1796016480/1` of one
    that was snoozed: versions that know no snoozes read the first number.

    Attributes:
        rescues: how often its worker has died with it.
        snoozed: how often it was snoozed.
    """

    rescues: int = 0
    snoozed: int = 0

    @classmethod
    def of(cls, value: bytes | None) -> JobNote:
        """A text as it was read; what somebody else wrote counts as nothing."""
        if not value:
            return _NOTHING
        parts = value.split(b"/")
        return cls(_number(parts[0]), _number(parts[2]) if len(parts) == 3 else 0)

    def text(self, at_s: int) -> str:
        """The text.

        Args:
            at_s: from when on it is kept, in seconds.
        """
        return f"{self.rescues}/{at_s}" + (f"/{self.snoozed}" if self.snoozed else "")


_NOTHING = JobNote()


def _number(text: bytes) -> int:
    return int(text) if text.isdigit() and len(text) < _TOO_LONG else 0


async def notes(store: Store, digests: Sequence[str]) -> list[JobNote]:
    """What is noted of jobs."""
    if not digests:
        return []
    values = await store.call("HMGET", store.keys.rescues, *digests)
    return [JobNote.of(value) for value in values]


def _noted_s(value: bytes) -> float:
    """The time of a note, in seconds; long ago if somebody else wrote it."""
    time = value.partition(b"/")[2].partition(b"/")[0]
    return float(time) if time.isdigit() else 0.0


def rescue_call(
    store: Store,
    left: Remains,
    incarnation: str,
    dead_before_s: float,
    decision: RescueDecision,
    failed: str,
) -> tuple[list[Arg], list[Arg]]:
    """Keys and arguments of `lua/rescue.lua`, after the fence.

    Args:
        decision: what becomes of its job.
        failed: the key of the failed list.
    """
    keys, worker_id, entry = store.keys, left.worker_id, decision.entry
    verb = "" if left.raw is None else ("LPUSH" if entry is None else "RPUSH")
    target = keys.queue(left.queue) if entry is None else failed
    apart = keys.unreadable(decision.kept) if decision.kept else keys.held(worker_id)
    lua_keys: list[Arg] = [
        keys.processes, keys.rescues, keys.queues, keys.stat("failed"), target, apart,
        *workers.own_keys(keys, worker_id),
    ]  # fmt: skip
    pushed = entry if entry is not None else (b"" if left.apart else left.raw or b"")
    args: list[Arg] = [
        incarnation, dead_before_s, worker_id, left.record or b"", verb, pushed, left.queue,
        left.digest, decision.note, left.beat, left.mark,
    ]  # fmt: skip
    return lua_keys, args


async def forget_old_counts(store: Store, before_s: float) -> int:
    """Forget old rescues and snoozes; returns how many."""
    flat: list[bytes] = await store.call("HGETALL", store.keys.rescues)
    old = [
        digest
        for digest, value in zip(flat[::2], flat[1::2], strict=True)
        if _noted_s(value) < before_s
    ]
    if old:
        await store.call("HDEL", store.keys.rescues, *old)
    return len(old)


def note_command(store: Store, digest: str, note: JobNote, at_s: int) -> tuple[Arg, ...]:
    """The command that notes something of a job; see `JobNote.text`."""
    return ("HSET", store.keys.rescues, digest, note.text(at_s))


def forget_command(store: Store, digest: str) -> tuple[Arg, ...]:
    """The command that forgets the rescues and snoozes of a job that ended normally."""
    return ("HDEL", store.keys.rescues, digest)
