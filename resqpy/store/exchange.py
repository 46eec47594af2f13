"""Report ended jobs and claim jobs for free slots: all slots of a process in one round trip.

The script is `lua/exchange.lua`. Repeating it after a lost reply, with a higher epoch, loses and duplicates
nothing: docs/why/exchange.md has the argument.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, NamedTuple

from resqpy.base import codec, worker_records
from resqpy.base.errors import OutcomeUnknown, StoreError
from resqpy.base.model import WorkerId
from resqpy.store.connection.client import Arg, Store
from resqpy.store.connection.line import Line
from resqpy.store.rescue import noted_count


class EndCommands(NamedTuple):
    """A run that ended, and what is written in the same step.

    Attributes:
        beginning: the first bytes of its record, which identify the run.
        counts: "p" processed, "f" failed, "-" neither.
        commands: Redis commands; they are executed only if the end counts, except `RELEASE`.
    """

    worker_id: str
    beginning: bytes
    counts: str = "-"
    commands: Sequence[Sequence[Arg]] = ()


class ClaimExtension(NamedTuple):
    """What the script claims along with a job, by `-- include lifecycle`.

    Attributes:
        keys: the keys it needs.
        argument: the argument it needs.
    """

    keys: Sequence[str]
    argument: str


class ExtensionReply(NamedTuple):
    """The result of that.

    Attributes:
        reply: of the script.
        asked_s: when it was requested, by the worker's monotonic clock.
    """

    reply: Sequence[Any]
    asked_s: float


@dataclass(slots=True)  # not frozen: that would make each of them three times as expensive
class ClaimedJob:
    """A job for a slot.

    Attributes:
        index: which of the free slots.
        raw: the job's bytes; None if they are too many to be sent.
        held: how many bytes are kept apart from the record; -1 if they are in it.
        sha1: the digest of what was not sent.
        rescues: how often its worker has died before.
        run_at: the time that identifies the run.
        along: what was claimed along with it.
    """

    index: int
    queue: str
    raw: bytes | None
    beginning: bytes
    held: int = -1
    sha1: str = ""
    rescues: int = 0
    run_at: str = ""
    along: ExtensionReply | None = None


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
        void: indices of ends that did not count (their record was gone).
        unwritten: ends whose commands Redis refused, with its message; report them again.
        full: all that could be claimed at once was claimed, so more may be waiting.
        broken: queues that are not lists, with Redis' message.
        unusable: slots with a malformed record; nothing was claimed for them.
        fence: whether anything could be claimed.
        gate: the epoch that Redis has stored for this process.
        nothing: jobs were requested, and there are none.
        looked: this many of the queues, from the first, have nothing left to claim.
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


class SlotRef(NamedTuple):
    """A slot in the script's arguments: its worker id, and the end of its records."""

    worker_id: str
    ending: bytes

    @classmethod
    def of(cls, worker_id: WorkerId) -> SlotRef:
        """Created once per slot."""
        return cls(str(worker_id), worker_records.suffix(worker_id.name))


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
        takes = along or ClaimExtension((), "")
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
            *takes.keys,
        ]
        self._along: tuple[Arg, Arg] = (len(takes.keys), takes.argument)
        self._queues: Sequence[str] = ()
        self._names: list[bytes] = []
        self._keys: list[Arg] = self._fixed

    @property
    def line(self) -> Line:
        """The exchange's own connection."""
        return self._line

    async def run(
        self,
        ended: Sequence[EndCommands],
        free: Sequence[SlotRef],
        queues: Sequence[str],
        run_at: str,
        *,
        recover: bool = False,
        epoch: int = 1,
        asked_s: float = 0.0,
    ) -> Exchanged:
        """One exchange.

        Raises:
            OutcomeUnknown: no answer, or that of another exchange.

        Args:
            queues: in order of priority; a new list object for a new value.
            run_at: ISO 8601; must differ from that of every earlier exchange.
            recover: a reply was lost: return the records of slots presumed free.
            epoch: incremented with each recovery; exchanges with a lower one then claim nothing.
            asked_s: now, by the worker's monotonic clock.
        """
        if queues is not self._queues:
            self._queues = queues
            self._names = [*map(codec.encode_text, queues)]
            self._keys = [*self._fixed, *map(self._store.keys.queue, queues)]
        args: list[Arg] = [run_at, int(recover), self._max_payload, worker_records.HELD_PAYLOAD]
        args += (self._incarnation, epoch, *self._along)
        args += self._names
        args.append(len(ended))
        for end in ended:
            _pack_end(args, end)
        args.append(len(free))
        for place in free:
            args += place
        reply = await self._store.run("exchange", self._keys, args, self._line)
        if reply[-1] != run_at.encode():
            raise OutcomeUnknown(
                "Redis, or a proxy before it, sent the reply to another command; reconnecting"
            )
        exchanged = _unpack(reply, free, queues, run_at, asked_s, recover=recover)
        for _, words in exchanged.unwritten[:1]:
            await self._store.mend(StoreError(words))
        return exchanged

    def reset(self) -> None:
        """Close the connection, so that nothing in flight on it is answered any more."""
        self._line.reset()

    async def close(self) -> None:
        """Close the exchange's own connection."""
        await self._line.close()


def _pack_end(args: list[Arg], end: EndCommands) -> None:
    args += (end.worker_id, end.beginning, end.counts, len(end.commands))
    for command in end.commands:
        args.append(len(command))
        args += command


def _unpack(
    reply: Any,
    free: Sequence[SlotRef],
    queues: Sequence[str],
    run_at: str,
    asked_s: float,
    *,
    recover: bool,
) -> Exchanged:
    paused, void, unwritten, flat, found, broken, more, looked, fenced, gate, _ = reply
    beginnings = {n: worker_records.prefix(queues[n - 1], run_at) for n in set(flat[1::7])}
    taken = [
        ClaimedJob(
            index - 1,
            queues[queue - 1],
            raw,
            beginnings[queue],
            held,
            sha1.decode(),
            noted_count(rescues),
            run_at,
            ExtensionReply(along, asked_s) if along else None,
        )
        for index, queue, raw, held, sha1, rescues, along in zip(*[iter(flat)] * 7, strict=True)
    ]
    rows = zip(*[iter(found)] * 7, strict=True)
    again = [(row[0] - 1, _found(row, free[row[0] - 1].worker_id, asked_s)) for row in rows]
    return Exchanged(
        paused=bool(paused),
        taken=[*(each for _, each in again if each is not None), *taken] if again else taken,
        void=[index - 1 for index in void],
        unwritten=[(i - 1, words.decode()) for i, words in _pairs(unwritten)],
        broken=[(queues[i - 1], words.decode("utf-8", "replace")) for i, words in _pairs(broken)],
        full=bool(more),
        unusable=[index for index, each in again if each is None],
        fence=Fence(fenced),
        gate=gate,
        nothing=not (recover or fenced or taken or found),
        looked=looked,
    )


def _pairs(flat: list[Any]) -> Any:
    return zip(flat[::2], flat[1::2], strict=True)


def _found(row: Sequence[Any], worker_id: str, asked_s: float) -> ClaimedJob | None:
    """A job that the slot's record already has: the reply to its claim was lost. None if it is not a record
    of this slot's.
    """
    index, record, held, size, sha1, rescues, along = row
    working_on = worker_records.decode_own(worker_id, record)
    if working_on is None or working_on.job_raw is None or working_on.queue is None:
        return None
    return ClaimedJob(
        index - 1,
        working_on.queue,
        working_on.job_raw if size < 0 else held,
        record[: record.index(working_on.job_raw)],
        size,
        sha1.decode(),
        noted_count(rescues),
        working_on.run_at or "",
        ExtensionReply(along, asked_s) if along else None,
    )
