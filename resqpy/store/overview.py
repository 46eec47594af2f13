"""The state of the whole installation in two round trips, without a scan: with each worker's job, or only
counts. Also the counters alone (they have no index, so that is a scan), and the keys that pause all
workers, Ruby's and ours, or one queue.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field

from resqpy.base import codec
from resqpy.base.keys import FAILED, split_priority
from resqpy.base.model import QueuePause, WorkerId
from resqpy.base.queue_age import QueueAge
from resqpy.store.connection.client import Store
from resqpy.store.limits import number, running_limits
from resqpy.store.queue_ages import read_fields
from resqpy.store.queues import decode_name, lengths_told, parked_command
from resqpy.store.sweep import matching

PAUSED = b"true"  # node-resque ignores that key


async def pause(store: Store) -> bool:
    """Pause all workers; False if they were paused already."""
    return not says_paused(await store.call("SET", store.keys.pause, PAUSED, "GET"))


async def resume(store: Store) -> bool:
    """Resume all workers; False if they were not paused."""
    return bool(await store.call("GETDEL", store.keys.pause))


async def is_paused(store: Store) -> bool:
    """Whether all workers are paused."""
    [value] = await store.look([("GET", store.keys.pause)])
    return says_paused(value)


def says_paused(value: bytes | None) -> bool:
    """Whether the key's value pauses workers, as Ruby's and our workers read it."""
    return value is not None and value.strip().lower() == PAUSED


async def pause_queue(store: Store, queue: str, for_ms: int | None, reason: str, by: str) -> bool:
    """Pause a queue, or change its pause; False if it was paused.

    Ruby's resque-pause, which made the key, asks only whether it exists.
    """
    note = {"by": by, "reason": reason, "since": await store.time_us() // 1000}
    until = () if for_ms is None else ("PX", max(for_ms, 1))
    text = codec.encode_text(note)
    return await store.call("SET", store.keys.queue_pause(queue), text, *until, "GET") is None


async def resume_queue(store: Store, queue: str) -> bool:
    """End the pause of a queue; False if there was none."""
    return bool(await store.call("DEL", store.keys.queue_pause(queue)))


async def queue_pauses(store: Store, queues: Sequence[str]) -> dict[str, QueuePause]:
    """Those of the queues that are paused, also as sub-queues. Two round trips at most."""
    asked = _with_families(queues)
    [values] = await store.look([("MGET", *map(store.keys.queue_pause, asked))])
    notes = {name: note for name, note in zip(asked, values, strict=True) if note is not None}
    if not notes:
        return {}
    now, *lefts = await store.look(
        [("TIME",), *(("PTTL", store.keys.queue_pause(name)) for name in notes)]
    )
    found = {
        name: _queue_pause(note, _milliseconds(*now), left)
        for (name, note), left in zip(notes.items(), lefts, strict=True)
    }
    return {name: found[owner] for name, owner in _owners(queues, found).items()}


def _with_families(queues: Sequence[str]) -> list[str]:
    """Queues, and those whose pause is also theirs; never empty."""
    return list(dict.fromkeys([*queues, *(split_priority(each)[0] for each in queues)])) or [""]


def _owners(queues: Sequence[str], paused: Container[str]) -> dict[str, str]:
    """The paused ones of some queues, each with the queue whose pause it is."""
    pairs = ((each, split_priority(each)[0]) for each in queues)
    return {
        each: each if each in paused else base
        for each, base in pairs
        if each in paused or base in paused
    }


def _queue_pause(note: bytes, now_ms: int, left_ms: int) -> QueuePause:
    told = codec.decode_lenient(note)
    told = told if isinstance(told, dict) else {}
    reason, by, since = (told.get(each) for each in ("reason", "by", "since"))
    return QueuePause(
        reason if isinstance(reason, str) else "",
        by if isinstance(by, str) else "",
        since if isinstance(since, int) else None,
        now_ms + left_ms if left_ms >= 0 else None,
    )


_COUNTERS = ("processed", "failed")


async def counters(store: Store) -> dict[str, int]:
    """All counters by name, including those of workers long gone: scans the keyspace."""
    prefix, found = store.keys.stat(""), {}
    async for names in matching(store, prefix):
        values: list[bytes | None] = await store.call("MGET", *names)
        for name, value in zip(names, values, strict=True):
            found[decode_name(name.removeprefix(prefix.encode()))] = number(value)
    return found


def counter_names(worker_ids: Sequence[str]) -> list[str]:
    """The names of the global counters and those of some workers.

    Ruby and resqpy count under a worker's id, Node under its name.
    """
    owners = [who for each in worker_ids for who in (each, WorkerId.parse(each).name)]
    own = [f"{counter}:{who}" for who in owners for counter in _COUNTERS]
    return list(dict.fromkeys([*_COUNTERS, *own]))


def shown_counters(names: Sequence[str], values: Sequence[bytes | None]) -> dict[str, int]:
    """Counters by name; the global ones always, others if they exist."""
    pairs = zip(names, values, strict=True)
    return {n: number(value) for n, value in pairs if value is not None or n in _COUNTERS}


def _milliseconds(seconds: bytes, microseconds: bytes) -> int:
    return int(seconds) * 1000 + int(microseconds) // 1000


@dataclass(frozen=True, slots=True)
class Overview:
    """State of the installation.

    Attributes:
        queues: number of waiting jobs by queue.
        records: each worker's record, by id.
        failed: entries of all failed lists.
        delayed: seconds at which something is due.
    """

    queues: dict[str, int]
    records: dict[str, bytes | None]
    stats: dict[str, int]
    leader: str | None
    failed: int
    delayed: int


async def look(store: Store) -> Overview:
    """Read everything."""
    keys = store.keys
    names, ids, lists, parked, delayed, leaders = await store.look(
        [
            ("SMEMBERS", keys.queues),
            ("SMEMBERS", keys.workers),
            ("SMEMBERS", keys.failed_queues),
            parked_command(store),
            ("ZCARD", keys.schedule),
            ("MGET", keys.node_leader, keys.ruby_leader()),
        ]
    )
    queues, workers = sorted(map(decode_name, names)), sorted(map(decode_name, ids))
    failed = dict.fromkeys([FAILED, *map(decode_name, lists)])
    counters = counter_names(workers)
    replies = await store.look(
        [
            ("MGET", *map(keys.stat, counters)),
            ("MGET", *map(keys.worker, workers or [""])),
            *(("LLEN", keys.failed_list(name)) for name in failed),
            *(("LLEN", keys.queue(name)) for name in queues),
        ]
    )
    lengths = replies[2:]
    waiting = await lengths_told(store, queues, lengths[len(failed) :], parked)
    return Overview(
        queues=dict(zip(queues, waiting, strict=True)),
        records=dict(zip(workers, replies[1], strict=False)),
        stats=shown_counters(counters, replies[0]),
        leader=_leader(*leaders),
        failed=sum(lengths[: len(failed)]),
        delayed=delayed,
    )


@dataclass(frozen=True, slots=True)
class Numbers:
    """Counts of the installation.

    Attributes:
        queues: number of waiting jobs by queue.
        failed: number of entries of each failed list, by name.
        delayed: seconds at which something is due.
        stats: the global counters.
        sets: sizes of the requested sorted sets.
        paused_queues: the names of those that are paused.
        limits: how many jobs of a queue may run at once, and how many do.
        ages: how long the first jobs of queues have waited; None: no leader has looked of late.
        now_ms: Redis' time.
        odd: keys of the wrong type, except queues (see `NoList`).
    """

    queues: dict[str, int]
    failed: dict[str, int]
    delayed: int
    workers: int
    stats: dict[str, int]
    sets: dict[str, int]
    paused: bool
    paused_queues: Sequence[str] = ()
    limits: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    ages: Mapping[str, QueueAge] | None = None
    now_ms: int = 0
    odd: Sequence[str] = ()


async def count(store: Store, sets: Mapping[str, str]) -> Numbers:
    """Count everything. The cost for Redis depends only on the number of queues.

    Args:
        sets: names and keys of sorted sets to count too.
    """
    keys, counters = store.keys, counter_names([])
    names, lists, parked, delayed, workers, paused, counts, ages, time, *sizes = await store.look(
        [
            ("SMEMBERS", keys.queues),
            ("SMEMBERS", keys.failed_queues),
            parked_command(store),
            ("ZCARD", keys.schedule),
            ("SCARD", keys.workers),
            ("GET", keys.pause),
            ("MGET", *map(keys.stat, counters)),
            ("HGETALL", keys.ages),
            ("TIME",),
            *(("ZCARD", key) for key in sets.values()),
        ]
    )
    queues = sorted(map(decode_name, names))
    failed = list(dict.fromkeys([FAILED, *sorted(map(decode_name, lists))]))
    asked = _with_families(queues)
    pauses, *lengths = await store.look(
        [("MGET", *map(keys.queue_pause, asked))]
        + [("LLEN", keys.failed_list(name)) for name in failed]
        + [("LLEN", keys.queue(name)) for name in queues]
    )
    waiting = await lengths_told(store, queues, lengths[len(failed) :], parked)
    resting = [name for name, note in zip(asked, pauses, strict=True) if note is not None]
    return Numbers(
        queues=dict(zip(queues, waiting, strict=True)),
        failed=dict(zip(failed, lengths, strict=False)),
        delayed=delayed,
        workers=workers,
        stats=shown_counters(counters, counts),
        sets=dict(zip(sets, sizes, strict=True)),
        paused=says_paused(paused),
        paused_queues=list(_owners(queues, resting)),
        limits=await _running(store),
        ages=read_fields(ages),
        now_ms=_milliseconds(*time),
        odd=sorted(store.junk),
    )


async def _running(store: Store) -> dict[str, tuple[int, int]]:
    limits = await running_limits(store)
    return {name: (each.most, len(each.running)) for name, each in limits.items()}


async def leader(store: Store) -> str | None:
    """Which scheduler leads, according to Node's lock, else Ruby's."""
    keys = store.keys
    return _leader(*await store.call("MGET", keys.node_leader, keys.ruby_leader()))


def _leader(node: bytes | None, ruby: bytes | None) -> str | None:
    name = node or ruby
    return None if name is None else decode_name(name)
