"""Clearing up after a worker: out of every key that names it, its job to the failed list."""

from __future__ import annotations

from collections.abc import Sequence

from resqpy.base.model import WorkerId
from resqpy.store import workers
from resqpy.store.client import Arg, Store


async def record_and_held(store: Store, worker_id: str) -> tuple[bytes | None, bytes | None]:
    """What a worker has on record, and the bytes kept apart from it. One round trip."""
    record, raw = await store.call("MGET", store.keys.worker(worker_id), store.keys.held(worker_id))
    return record, raw


async def clean(
    store: Store, worker_id: str, record: bytes | None, entry: bytes | None, kept: str | None
) -> bool:
    """Take a worker out of everything that names it, in one step.

    Args:
        record: its record as it was read.
        entry: what goes to the failed list, and counts there.
        kept: the name under which bytes kept apart are kept beside the entry.

    Returns:
        False if the record is another one by now: nothing was done.
    """
    keys = store.keys
    apart = keys.unreadable(kept) if kept else keys.held(worker_id)
    lua_keys: list[Arg] = [
        keys.failed,
        keys.stat("failed"),
        apart,
        *workers.own_keys(keys, worker_id),
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
