"""Report ended jobs and claim jobs for free slots: all slots of a process in one round trip.

The script is `lua/exchange.lua`. Repeating it after a lost reply, with a higher epoch, loses and duplicates
nothing: docs/why/exchange.md has the argument.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cache
from itertools import repeat
from operator import itemgetter
from types import MappingProxyType
from typing import Any, NamedTuple

from resqpy.base import codec, job_records
from resqpy.base.errors import OutcomeUnknown, StoreError
from resqpy.base.model import WorkerId
from resqpy.store.connection.client import Arg, Store, script
from resqpy.store.connection.line import Line, Replies
from resqpy.store.rescue import JobNote


class EndCommands(NamedTuple):
    """A run that ended, and what is written in the same step.

    Attributes:
        beginning: the first bytes of its record, which identify the run.
        counts: "p" processed, "f" failed, "-" neither.
        commands: Redis commands; they are executed only if the end counts, except `UNLOCK`.
    """

    worker_id: str
    beginning: bytes
    counts: str = "-"
    commands: Sequence[Sequence[Arg]] = ()


class ClaimExtension(NamedTuple):
    """What the script claims along with a job, by `-- include lifecycle` and `-- include exchange_locks`.

    Attributes:
        keys: the keys that the lifecycle needs.
        argument: the argument that it needs.
        locks: what is freed and held, by the name of the task; see there.
    """

    keys: Sequence[str] = ()
    argument: str = ""
    locks: str = ""


class ExtensionReply(NamedTuple):
    """The result of that.

    Attributes:
        reply: of the script.
        asked_s: when it was requested, by the worker's monotonic clock.
    """

    reply: Sequence[Any]
    asked_s: float


class Copy(NamedTuple):
    """A job that went to another language, for a shadow run here.

    Attributes:
        since: identifies its rule.
        number: among the jobs of the class that were sent there since.
        at_s: when, by Redis' clock.
    """

    class_name: str
    queue: str
    since: str
    number: int
    at_s: int
    raw: bytes


FREED, HELD = 1, 2  # its QueueLock was freed with the claim, its JobLock is held by the run


@dataclass(slots=True)
class JobClaim:
    """How a job was claimed. Ordinary jobs of one exchange and one queue share one.

    Attributes:
        beginning: of the record; it identifies the run.
        run_at: the time in the record.
        held: how many bytes are kept apart from the record; -1 if they are in it.
        sha1: the digest of what was not sent.
        rescues: how often its worker has died before.
        snoozed: how often a plain job was snoozed before.
        along: what was claimed along with it.
        locks: `FREED` and `HELD`: what was done of its locks.
    """

    queue: str
    beginning: bytes
    run_at: str = ""
    held: int = -1
    sha1: str = ""
    rescues: int = 0
    snoozed: int = 0
    along: ExtensionReply | None = None
    locks: int = 0

    @property
    def bare(self) -> bool:
        """Whether nothing but the record must be removed at its end."""
        return self.held < 0 and not self.noted

    @property
    def noted(self) -> bool:
        """Whether something is noted of the job, which its end forgets."""
        return bool(self.rescues or self.snoozed)


class ClaimedJob(NamedTuple):
    """A job for a slot.

    Attributes:
        slot: the index of the slot.
        raw: the job's bytes; None if they are too many to be sent.
    """

    slot: int
    raw: bytes | None
    claim: JobClaim


class Fence(IntEnum):
    """Whether an exchange passed the fence: if not, its ends were reported, but nothing was claimed."""

    OPEN = 0
    ABSENT = 1  # the process was presumed dead, or Redis lost its data
    AHEAD = 2  # a later exchange of this process came first
    UNMOVED = 3  # Redis refused to store the epoch


@dataclass(frozen=True, slots=True)
class Exchanged:
    """The result of an exchange.

    Attributes:
        void: indices of ends that did not count (their record was gone); those of `succeeded` come
            after those of `ended`.
        unwritten: ends whose commands Redis refused, with its message; report them again. Indices as there.
        full: all that could be claimed at once was claimed, so more may be waiting.
        broken: queues that are not lists, with Redis' message.
        unusable: slots with a malformed record; nothing was claimed for them.
        fence: whether anything could be claimed.
        gate: the epoch that Redis has stored for this process.
        nothing: jobs were requested, and there are none, also none that wait for a time.
        looked: this many of the queues, from the first, have nothing left to claim.
        wake_ms: after so many milliseconds jobs that waited for a rate may run; None: nothing waits for this
            process to look.
        copies: for shadow runs.
    """

    paused: bool
    taken: list[ClaimedJob]
    void: list[int] = field(default_factory=list)
    unwritten: list[tuple[int, str]] = field(default_factory=list)
    broken: list[tuple[str, str]] = field(default_factory=list)
    full: bool = False
    unusable: list[int] = field(default_factory=list)
    fence: Fence = Fence.OPEN
    gate: int = 0
    nothing: bool = False
    looked: int = 0
    wake_ms: int | None = None
    copies: Sequence[Copy] = ()


class SlotFrame(NamedTuple):
    """The common parts of the worker ids of a process, and of the ends of their records: what stands before
    and after the word in which they differ.
    """

    before_in_id: bytes
    after_in_id: bytes
    before_in_record: bytes
    after_in_record: bytes


_NO_FRAME = SlotFrame(b"", b"", b"", b"")
_frame = cache(SlotFrame)  # the same object for the same arguments


class SlotRef(NamedTuple):
    """A slot in the script's arguments: only the word in which its worker id differs from the others of its
    process.
    """

    worker_id: str
    word: bytes
    frame: SlotFrame

    @classmethod
    def of(cls, worker_id: WorkerId, word: str = "") -> SlotRef:
        """Created once per slot.

        Args:
            word: a part of the worker's name that needs no escape in JSON; if it is not in the name, the
                whole name is used.
        """
        name = worker_id.name
        before, word, after = name.rpartition(word) if word and word in name else ("", name, "")
        start, end = job_records.work_suffix(before)[:-2], job_records.work_suffix(after)
        end = end[end.index(b':"') + 2 :]
        frame = _frame(before.encode(), f"{after}:{worker_id.queues}".encode(), start, end)
        return cls(str(worker_id), word.encode(), frame)


class Request(NamedTuple):
    """An exchange that was sent.

    Attributes:
        groups: the slots that it names.
        ended: how many ends it reports individually.
    """

    replies: Replies
    keys: Sequence[Arg]
    args: Sequence[Arg]
    groups: Mapping[bytes, Sequence[SlotRef]]
    queues: Sequence[str]
    ended: int
    recover: bool
    asked_s: float


NO_SLOTS: Mapping[bytes, Sequence[SlotRef]] = MappingProxyType({})


class Exchange:
    """The exchange of one process.

    Args:
        incarnation: of the process, whose gate is checked; empty: there is no fence.
        depth: maximum number of exchanges in flight.
        along: what is claimed along with the jobs.
    """

    def __init__(
        self,
        store: Store,
        max_payload: int = codec.MAX_PAYLOAD,
        incarnation: str = "",
        depth: int = 1,
        along: ClaimExtension | None = None,
    ) -> None:
        keys = store.keys
        takes = along or ClaimExtension()
        self._store = store
        self._incarnation = incarnation
        self._line = store.new_line(eager=True, depth=depth)
        self._max_payload = max_payload
        self._fixed: list[Arg] = [
            keys.pause,
            keys.stat("processed"),
            keys.stat("failed"),
            keys.worker(""),
            keys.held(""),
            keys.stat("processed", ""),
            keys.stat("failed", ""),
            keys.rescues,
            keys.gates,
            keys.queue_pause(""),
            keys.running_limits,
            keys.limit_notes,
            keys.parked,
            *takes.keys,
        ]
        self._along: tuple[Arg, Arg] = (len(takes.keys), takes.argument)
        self._rules: list[Arg] = [keys.queue(""), keys.own("control")]
        self._rules += (takes.locks, keys.prefix, keys.job_locks(""))
        self._queues: Sequence[str] = ()
        self._names: list[bytes] = []
        self._keys: list[Arg] = self._fixed

    @property
    def line(self) -> Line:
        """The exchange's own connection."""
        return self._line

    def send(
        self,
        ended: Sequence[EndCommands],
        free: Sequence[SlotRef],
        queues: Sequence[str],
        run_at: str,
        *,
        succeeded: Mapping[bytes, Sequence[SlotRef]] = NO_SLOTS,
        drops: Sequence[tuple[int, Sequence[Arg]]] = (),
        recover: bool = False,
        epoch: int = 1,
        asked_s: float = 0.0,
    ) -> Request:
        """Send one exchange.

        Args:
            free: all of one process, like those of `succeeded`.
            queues: in order of priority; a new list object for a new value.
            run_at: ISO 8601; must differ from that of every earlier exchange.
            succeeded: slots whose run succeeded and writes nothing at its end, by the beginning of their
                records; their next job replaces it. In the reply, they come before `free`.
            drops: the keys that the ends of some of these delete, with the index of the slot among them, from 1;
                without keys: the JobLock that is `HELD` is freed.
            recover: a reply was lost: return the records of slots presumed free. Then `succeeded` is empty.
            epoch: incremented with each recovery; exchanges with a lower one then claim nothing.
            asked_s: now, by the worker's monotonic clock.
        """
        if queues is not self._queues:
            self._queues = queues
            self._names = [*map(codec.encode_text, queues)]
            self._keys = [*self._fixed, *map(self._store.keys.queue, queues)]
        groups = {**succeeded, b"": free} if free else succeeded
        args: list[Arg] = [run_at, int(recover), self._max_payload, job_records.HELD_PAYLOAD]
        args += (self._incarnation, epoch, *self._along)
        _pack(args, ended, groups, self._rules, self._names)
        args.append(len(drops))
        for slot, names in drops:
            args += (slot, len(names), *names)
        sha = script("exchange").sha
        replies = self._line.send([("EVALSHA", sha, len(self._keys), *self._keys, *args)])
        return Request(replies, self._keys, args, groups, queues, len(ended), recover, asked_s)

    def arrived(self, request: Request) -> Exchanged | None:
        """The result of an exchange whose reply is there; None: more is needed, call `answer`.

        Raises:
            OutcomeUnknown: no answer, or that of another exchange.
            StoreUnavailable: it was not sent.
        """
        [reply] = request.replies.result()
        if isinstance(reply, Exception):
            return None
        exchanged = _unpack(reply, request)
        return None if exchanged.unwritten or exchanged.broken else exchanged

    async def answer(self, request: Request) -> Exchanged:
        """The result of an exchange; the script is loaded if Redis did not know it.

        Raises:
            OutcomeUnknown: no answer, or that of another exchange.
            StoreError: Redis refused it.
        """
        call = ("exchange", request.keys, request.args)
        [reply] = await self._store.run_then(*call, (), self._line, sent=request.replies)
        exchanged = _unpack(reply, request)
        for _, problem in [*exchanged.unwritten[:1], *exchanged.broken[:1]]:
            await self._store.mend(StoreError(problem))
        return exchanged

    async def run(self, *args: Any, **kwargs: Any) -> Exchanged:
        """One exchange: `send` and `answer`."""
        return await self.answer(self.send(*args, **kwargs))

    def reset(self) -> None:
        """Close the connection, so that nothing in flight on it is answered any more."""
        self._line.reset()

    async def close(self) -> None:
        """Close the exchange's own connection."""
        await self._line.close()


def _pack(
    args: list[Arg],
    ended: Sequence[EndCommands],
    groups: Mapping[bytes, Sequence[SlotRef]],
    rules: Sequence[Arg],
    queue_names: Sequence[bytes],
) -> None:
    frame = next((slots[0].frame for slots in groups.values()), _NO_FRAME)
    args += (*frame, *rules, *queue_names, len(ended))
    for end in ended:
        args += (end.worker_id, end.beginning, end.counts, len(end.commands))
        for command in end.commands:
            args += (len(command), *command)
    args.append(len(groups))
    for beginning, slots in groups.items():
        words = [slot.word for slot in slots if slot.frame is frame]
        if len(words) != len(slots):
            raise ValueError("slots of several processes in one exchange")
        args += (beginning, len(words), *words)


def _unpack(reply: Any, request: Request) -> Exchanged:
    own = isinstance(reply, list) and reply and isinstance(reply[-1], bytes)
    if not own or reply[-1].decode("utf-8", "replace") != request.args[0]:
        raise OutcomeUnknown(
            "Redis, or a proxy before it, sent the reply to another command; reconnecting"
        )
    paused, void, void_slots, unwritten, jobs, rows, special, *rest = reply
    found, broken, more, looked, fenced, gate, wake, shadows, run_at = rest
    queues, ended, asked_s = request.queues, request.ended, request.asked_s
    taken, again = _taken(jobs, rows, special, queues, run_at.decode(), asked_s), []
    if found:
        slots = [slot for group in request.groups.values() for slot in group]
        told = ((row, slots[row[0] - 1].worker_id) for row in _by(8, found))
        again = [(row[0] - 1, _found(row, worker_id, asked_s)) for row, worker_id in told]
        taken = [*(each for _, each in again if each is not None), *taken]
    return Exchanged(
        paused=bool(paused),
        taken=taken,
        void=[*(index - 1 for index in void), *(ended + index - 1 for index in void_slots)],
        unwritten=[(i - 1, words.decode()) for i, words in _by(2, unwritten)],
        broken=[(queues[i - 1], words.decode("utf-8", "replace")) for i, words in _by(2, broken)],
        full=bool(more),
        unusable=[index for index, each in again if each is None],
        fence=Fence(fenced),
        gate=gate,
        nothing=not (request.recover or fenced or taken or found or wake >= 0),
        looked=looked,
        wake_ms=None if wake < 0 else wake,
        copies=[
            Copy(name.decode(), queue.decode(), since.decode(), number, int(at_s), raw)
            for name, queue, since, number, at_s, raw in _by(6, shadows)
        ],
    )


def _taken(
    jobs: list[bytes],
    rows: list[int],
    special: list[Any],
    queues: Sequence[str],
    run_at: str,
    asked_s: float,
) -> list[ClaimedJob]:
    """The claimed jobs, in the order of their queues."""
    beginnings: dict[int, bytes] = {}

    def claim(queue: int, *more: Any) -> JobClaim:
        name = queues[queue - 1]
        beginning = beginnings.get(queue)
        if beginning is None:
            beginning = beginnings[queue] = job_records.work_prefix(name, run_at)
        return JobClaim(name, beginning, run_at, *more)

    taken: list[ClaimedJob] = []
    shared: dict[tuple[int, int], JobClaim] = {}
    for slot, queue, count, locks in _by(4, rows):
        if (one := shared.get((queue, locks))) is None:
            one = shared[queue, locks] = claim(queue)
            one.locks = locks
        raws = jobs[len(taken) : len(taken) + count]
        taken += map(ClaimedJob, range(slot - 1, slot - 1 + count), raws, repeat(one))
    for slot, queue, raw, held, sha1, rescues, along, locks in _by(8, special):
        beside = ExtensionReply(along, asked_s) if along else None
        told = claim(queue, held, sha1.decode(), *JobNote.of(rescues), beside, locks)
        taken.append(ClaimedJob(slot - 1, raw, told))
    if special:
        taken.sort(key=itemgetter(0))
    return taken


def _by(size: int, flat: Sequence[Any]) -> Iterator[Any]:
    return zip(*[iter(flat)] * size, strict=True)


def _found(row: Sequence[Any], worker_id: str, asked_s: float) -> ClaimedJob | None:
    """A job that the slot's record already has: the reply to its claim was lost. None if it is not a record
    of this slot's.
    """
    index, record, held, size, sha1, rescues, along, locks = row
    working_on = job_records.decode_own_work(worker_id, record)
    if working_on is None or working_on.job_raw is None or working_on.queue is None:
        return None
    claim = JobClaim(
        working_on.queue,
        record[: record.index(working_on.job_raw)],
        working_on.run_at or "",
        size,
        sha1.decode(),
        *JobNote.of(rescues),
        ExtensionReply(along, asked_s) if along else None,
        locks,
    )
    return ClaimedJob(index - 1, working_on.job_raw if size < 0 else held, claim)
