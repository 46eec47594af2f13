"""Workers: who is registered, who is alive, who runs what."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

from resqpy.base import codec
from resqpy.base.foreign_time import moment_of
from resqpy.base.json_rules import member_text
from resqpy.base.keys import Keys
from resqpy.base.model import FailedJob, WorkerId
from resqpy.base.php import COMPLETE, FAILED, KEPT_S, PhpStatus
from resqpy.store import sweep
from resqpy.store.connection.client import Arg, Store
from resqpy.store.queues import decode_name


async def register(
    store: Store,
    incarnation: str,
    ids: Sequence[WorkerId],
    started: str,
    *,
    epoch: int | None = None,
    life: bytes = b"",
) -> None:
    """Register workers with Ruby, Node and resqpy, with a first heartbeat. One round trip.

    Args:
        epoch: open the gate of the process for exchanges of this epoch.
        life: what `identity.life` returned, if it is new.
    """
    keys, args = beat_call(store, incarnation, ids, started, (), epoch=epoch, life=life)
    await store.run("beat", keys, args)


def beat_call(
    store: Store,
    incarnation: str,
    ids: Sequence[WorkerId],
    started: str,
    queues: Sequence[str],
    *,
    epoch: int | None = None,
    life: bytes = b"",
    dead_after_s: float = 0.0,
) -> tuple[list[Arg], list[Arg]]:
    """Keys and arguments of `lua/beat.lua`."""
    keys = store.keys
    fixed: list[Arg] = [keys.workers, keys.heartbeats, keys.processes, keys.pause, keys.queues,
                        keys.gates, keys.lives, keys.rescuer, keys.orders(incarnation),
                        keys.searched, keys.parked, keys.limit_holds]  # fmt: skip
    args: list[Arg] = [
        incarnation,
        started,
        "" if epoch is None else epoch,
        life,
        dead_after_s,
        keys.leader,
        len(ids),
    ]
    for each in ids:
        args += (str(each), keys.worker_started(str(each)))
    return [*fixed, *map(keys.queue, queues)], args


async def leave(
    store: Store, incarnation: str, ids: Sequence[WorkerId], *, process: bool = False
) -> list[WorkerId]:
    """Remove workers from all keys that name them, and also the process if requested.

    Returns:
        Those with a record: they stay registered, and so does the process, until the rescue has looked.
    """
    keys = store.keys
    args: list[Arg] = [incarnation, int(process), len(ids)]
    for each in map(str, ids):
        args += (each, keys.worker(each), keys.held(each), keys.job_locks(each))
        args += (keys.worker_started(each), keys.stat("processed", each), keys.stat("failed", each))
    names = [keys.workers, keys.heartbeats, keys.processes, keys.gates, keys.lives,
             keys.process_state(incarnation), keys.at_most_once, keys.limit_notes]  # fmt: skip
    return [ids[place - 1] for place in await store.run("leave", names, args)]


def own_keys(keys: Keys, worker_id: str) -> list[str]:
    """Every key that names a worker, in the order that `lua/forget_worker.lua` expects."""
    name = WorkerId.parse(worker_id).name
    counters = [
        keys.stat(what, who) for what in ("processed", "failed") for who in (worker_id, name)
    ]
    return [
        keys.workers, keys.heartbeats, keys.at_most_once, keys.worker(worker_id),
        keys.held(worker_id), keys.job_locks(worker_id), keys.limit_notes,
        keys.worker_started(worker_id), *counters, keys.ping(name),
    ]  # fmt: skip


async def tell_state(store: Store, incarnation: str, state: str, keep_s: float) -> None:
    """Publish the state of a process; an empty state: normal operation, nothing is stored."""
    key = store.keys.process_state(incarnation)
    if state:
        await store.call("SET", key, state, "PX", int(keep_s * 1000))
    else:
        await store.call("DEL", key)


async def states(store: Store, incarnations: Sequence[str]) -> dict[str, str]:
    """The states of processes that are not in normal operation."""
    wanted = list(dict.fromkeys(incarnations))
    if not wanted:
        return {}
    found = await store.call("MGET", *map(store.keys.process_state, wanted))
    return {
        each: decode_name(state)
        for each, state in zip(wanted, found, strict=True)
        if state is not None
    }


async def ids(store: Store) -> list[str]:
    """All registered ids, sorted."""
    [members] = await store.look([("SMEMBERS", store.keys.workers)])
    return sorted(map(decode_name, members))


async def are_known(store: Store, worker_ids: Sequence[str]) -> list[bool]:
    """Whether each of several ids is registered."""
    if not worker_ids:
        return []
    return [bool(each) for each in await store.call("SMISMEMBER", store.keys.workers, *worker_ids)]


async def records(store: Store, worker_ids: Sequence[str]) -> list[bytes | None]:
    """The records of several workers, in one round trip."""
    if not worker_ids:
        return []
    keys = [store.keys.worker(each) for each in worker_ids]
    found: list[bytes | None] = await store.call("MGET", *keys)
    return found


class Mark(IntEnum):
    """Result of marking a run as not repeatable."""

    NOT_OURS = 0  # the record has changed
    NOTED = 1
    NOTED_BEFORE = 2  # it may have started already


async def mark_at_most_once(store: Store, worker_id: str, beginning: bytes) -> Mark:
    """Mark a run, before it starts, as one that must never be repeated."""
    keys = store.keys
    names = [keys.worker(worker_id), keys.at_most_once]
    return Mark(await store.run("mark_once", names, [beginning, worker_id]))


def unmark_command(store: Store, worker_id: str) -> tuple[Arg, ...]:
    """The command that removes that mark."""
    return ("HDEL", store.keys.at_most_once, worker_id)


def drop_held_command(store: Store, worker_id: str) -> tuple[Arg, ...]:
    """The command that removes bytes kept apart from a record."""
    return ("DEL", store.keys.held(worker_id))


async def held(store: Store, worker_id: str) -> bytes | None:
    """The bytes kept apart from a worker's record; None also if somebody else's value is there."""
    found: list[bytes | None] = await store.call("MGET", store.keys.held(worker_id))
    return found[0]


async def publish_cancel(store: Store, worker_id: str, run_at: str | None = None) -> int:
    """Ask the process of this worker to cancel its running job; returns how many processes listen.

    Args:
        run_at: cancel only this run, as its record names it, and not the next in the same slot.
    """
    order = codec.encode_text({"cancel": worker_id, "run_at": run_at})
    return int(await store.call("PUBLISH", store.keys.own("control"), order))


async def record_and_held(store: Store, worker_id: str) -> tuple[bytes | None, bytes | None]:
    """A worker's record, and the bytes kept apart from it. One round trip."""
    record, raw = await store.call("MGET", store.keys.worker(worker_id), store.keys.held(worker_id))
    return record, raw


async def clean(
    store: Store,
    worker_id: str,
    record: bytes | None,
    entry: bytes | None,
    kept: str | None,
    failed: str,
) -> bool:
    """Remove a worker from all keys that name it, atomically.

    Args:
        record: its record as it was read.
        entry: the new failed entry, which counts as a failure.
        kept: the name under which bytes kept apart are kept beside the entry.
        failed: the key of the failed list.

    Returns:
        False if the record has changed: nothing was done.
    """
    keys = store.keys
    apart = keys.unreadable(kept) if kept else keys.held(worker_id)
    lua_keys: list[Arg] = [
        failed,
        keys.stat("failed"),
        apart,
        *own_keys(keys, worker_id),
    ]
    args: list[Arg] = [worker_id, record or b"", entry or b""]
    return bool(await store.run("clean_worker", lua_keys, args))


async def signs_of_life(
    store: Store, worker_ids: Sequence[str]
) -> list[tuple[bytes | None, bytes | None]]:
    """For each worker its heartbeat (Ruby, resqpy) and its ping (Node). One round trip."""
    if not worker_ids:
        return []
    keys = store.keys
    pings = [keys.ping(WorkerId.parse(each).name) for each in worker_ids]
    beats, pinged = await store.look([("HMGET", keys.heartbeats, *worker_ids), ("MGET", *pings)])
    return list(zip(beats, pinged, strict=True))


async def starts(store: Store, worker_ids: Sequence[str]) -> list[bytes | None]:
    """When each worker says that it started, in its language's form. One round trip."""
    if not worker_ids:
        return []
    found: list[bytes | None] = await store.call(
        "MGET", *map(store.keys.worker_started, worker_ids)
    )
    return found


def php_status_command(
    store: Store, php: PhpStatus, status: int, now_ms: int, result: Any = None
) -> tuple[Arg, ...]:
    """The command that tells PHP of a job's status: only where somebody has asked for it, by making its key."""
    text = codec.encode_text(php.told(status, now_ms, result))
    kept: tuple[Arg, ...] = ("EX", KEPT_S) if status in (FAILED, COMPLETE) else ()
    return ("SET", store.keys.php_status(php.name), text, "XX", *kept)


# What only foreign workers have: Node's pings, Ruby's pruning lock, damaged records.

_PRUNING_S = 60  # Ruby's heartbeat interval; a Ruby pruner holds the lock this long too
_BEATS = 500  # examined in one step
_OURS = b"resqpy pruning "
_RUBY_LOCK = b"resque_scheduler_master_lock"
_LONG_NUMBER = re.compile(rb"\d[eE][+-]?\d|\d{15}")


async def take_pruning_lock(store: Store, worker_id: str) -> bool:
    """Take the lock under which Ruby workers prune; it expires by itself. The holder prunes."""
    value = f"{_OURS.decode()}{worker_id}"
    taken = await store.call("SET", store.keys.pruning, value, "NX", "EX", _PRUNING_S)
    if taken is None:
        held: bytes = await store.call("GET", store.keys.pruning) or b""
        return held.startswith(_OURS)
    return True


async def shown_interval_ms(store: Store) -> int:
    """The minimum interval between heartbeats of Ruby's workers, as one of their locks shows; 0: unknown.
    One round trip.
    """
    value, left_ms = await store.look([("GET", store.keys.pruning), ("PTTL", store.keys.pruning)])
    ours = value is None or value.startswith(_OURS)
    return 0 if ours else max(0, int(left_ms))


async def other_ruby_leaders(store: Store, lock: str) -> dict[str, str]:
    """Locks of Ruby's schedulers with another prefix than ours: key and holder.

    They have no index: this scans all keys of the database, in steps.
    """
    found: list[bytes] = []
    async for keys in sweep.matching(store, store.keys.prefix + store.keys.prefix):
        found += [key for key in keys if key.endswith(_RUBY_LOCK) and key != lock.encode()]
    values = await store.call("MGET", *found) if found else []
    return {
        decode_name(key): decode_name(value)
        for key, value in zip(found, values, strict=True)
        if value is not None
    }


async def stray_pings(store: Store, worker_ids: Sequence[str]) -> list[tuple[bytes, bytes]]:
    """Pings of Node workers that are not registered: key and value."""
    pings = (store.keys.ping(WorkerId.parse(each).name) for each in worker_ids)
    known = {ping.encode("utf-8", "surrogateescape") for ping in pings}
    found: list[bytes] = []
    async for keys in sweep.matching(store, store.keys.ping("")):
        found += [key for key in keys if key not in known]
    values = await store.call("MGET", *found) if found else []
    return [(key, value) for key, value in zip(found, values, strict=True) if value is not None]


async def drop_ghost_beats(store: Store, before_ms: int) -> int:
    """Forget heartbeats, older than a given time, of workers that are not registered; returns how many. A
    time that can't be parsed is left alone.
    """
    keys, cursor, gone = store.keys, b"0", 0
    registered = set(await ids(store))
    while True:
        cursor, flat = await store.call("HSCAN", keys.heartbeats, cursor, "COUNT", _BEATS)
        old: list[Arg] = []
        for worker_id, beat in zip(flat[::2], flat[1::2], strict=True):
            seen_ms = moment_of(beat)
            if seen_ms and seen_ms < before_ms and decode_name(worker_id) not in registered:
                old += (worker_id, beat)
        if old:
            gone += await store.run("forget_beats", [keys.workers, keys.heartbeats], old)
        if cursor == b"0":
            return gone


def may_be_damaged(entry: FailedJob) -> bool:
    """Whether a job shows the damage done by Lua's JSON: rounded long numbers, `{}` for `[]` inside."""
    raw = member_text(entry.raw, "payload") or b""
    return b"{}" in raw or _LONG_NUMBER.search(raw) is not None


# Which tasks the live processes of an installation have loaded: each stores its own when it starts.

LIVE_S = 60  # without a heartbeat for this long a process no longer counts


async def note(store: Store, incarnation: str, names: Sequence[str]) -> None:
    """Store what a process has loaded, and forget processes that are gone."""
    key = store.keys.known_tasks
    known, living, _ = await store.pipeline(
        [
            ("HGETALL", key),
            ("ZRANGE", store.keys.processes, 0, -1),
            ("HSET", key, incarnation, codec.encode_text(list(names))),
        ]
    )
    gone = set(known[::2]) - set(living) - {incarnation.encode()}
    if gone:
        await store.call("HDEL", key, *sorted(gone))


async def forget(store: Store, incarnation: str) -> None:
    """Forget a process that ends."""
    await store.call("HDEL", store.keys.known_tasks, incarnation)


async def versions(store: Store) -> dict[str, int]:
    """How many kinds of inputs the live processes declare for a task, if more than one."""
    (seconds, _), signs, noted = await store.pipeline(
        [
            ("TIME",),
            ("ZRANGE", store.keys.processes, 0, -1, "WITHSCORES"),
            ("HGETALL", store.keys.known_tasks),
        ]
    )
    found = Counter(name.partition(" ")[0] for name in _live(seconds, signs, noted) if " " in name)
    return {name: count for name, count in found.items() if count > 1}


async def known_tasks(store: Store) -> list[str]:
    """The names of the tasks that live processes have loaded."""
    (seconds, _), signs, noted = await store.look(
        [
            ("TIME",),
            ("ZRANGE", store.keys.processes, 0, -1, "WITHSCORES"),
            ("HGETALL", store.keys.known_tasks),
        ]
    )
    return sorted({name.partition(" ")[0] for name in _live(seconds, signs, noted)})


async def of_others(store: Store, incarnation: str) -> tuple[set[str], bool]:
    """What the other live processes have loaded, and whether a scheduler leads. One round trip."""
    (seconds, _), led, led_by_node, signs, noted = await store.pipeline(
        [
            ("TIME",),
            ("EXISTS", store.keys.leader),
            ("EXISTS", store.keys.node_leader),
            ("ZRANGE", store.keys.processes, 0, -1, "WITHSCORES"),
            ("HGETALL", store.keys.known_tasks),
        ]
    )
    return _live(seconds, signs, noted, incarnation), bool(led or led_by_node)


def _live(seconds: Any, signs: list[Any], noted: list[Any], but: str = "") -> set[str]:
    """What all live processes but one have stored."""
    seen = {name: float(score) for name, score in zip(signs[::2], signs[1::2], strict=True)}
    found: set[str] = set()
    for name, raw in zip(noted[::2], noted[1::2], strict=True):
        if decode_name(name) != but and int(seconds) - seen.get(name, 0) <= LIVE_S:
            names = codec.decode_lenient(raw)
            names = names if isinstance(names, list) else []  # others may write anything here
            found.update(each for each in names if isinstance(each, str))
    return found
