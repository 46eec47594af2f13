"""Workers: who is registered, who is alive, who runs what."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from resqpy.base import codec
from resqpy.base.keys import Keys
from resqpy.base.model import WorkerId
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
) -> tuple[list[Arg], list[Arg]]:
    """Keys and arguments of `lua/beat.lua`."""
    keys = store.keys
    fixed: list[Arg] = [keys.workers, keys.heartbeats, keys.processes, keys.pause, keys.queues,
                        keys.gates, keys.lives, keys.rescuer]  # fmt: skip
    args: list[Arg] = [incarnation, started, "" if epoch is None else epoch, life, len(ids)]
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
        args += (each, keys.worker(each), keys.held(each), keys.worker_started(each))
        args += (keys.stat("processed", each), keys.stat("failed", each))
    names = [keys.workers, keys.heartbeats, keys.processes, keys.gates, keys.lives,
             keys.process_state(incarnation), keys.at_most_once]  # fmt: skip
    return [ids[place - 1] for place in await store.run("leave", names, args)]


def own_keys(keys: Keys, worker_id: str) -> list[str]:
    """Every key that names a worker, in the order that `lua/forget_worker.lua` expects."""
    name = WorkerId.parse(worker_id).name
    counters = [
        keys.stat(what, who) for what in ("processed", "failed") for who in (worker_id, name)
    ]
    return [
        keys.workers, keys.heartbeats, keys.at_most_once, keys.worker(worker_id),
        keys.held(worker_id), keys.job_locks(worker_id), keys.worker_started(worker_id), *counters,
        keys.ping(name),
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
    store: Store, worker_id: str, record: bytes | None, entry: bytes | None, kept: str | None
) -> bool:
    """Remove a worker from all keys that name it, atomically.

    Args:
        record: its record as it was read.
        entry: the new failed entry, which counts as a failure.
        kept: the name under which bytes kept apart are kept beside the entry.

    Returns:
        False if the record has changed: nothing was done.
    """
    keys = store.keys
    apart = keys.unreadable(kept) if kept else keys.held(worker_id)
    lua_keys: list[Arg] = [
        keys.failed,
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
