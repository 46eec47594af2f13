"""What only foreign workers have: Node's pings, Ruby's pruning lock, damaged records."""

from __future__ import annotations

import re
from collections.abc import Sequence

from resqpy.base.foreign_time import moment_of
from resqpy.base.members import member_text
from resqpy.base.model import FailedJob, WorkerId
from resqpy.store import walk, workers
from resqpy.store.connection.client import Arg, Store
from resqpy.store.queues import decode_name

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
    async for keys in walk.matching(store, store.keys.prefix + store.keys.prefix):
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
    async for keys in walk.matching(store, store.keys.ping("")):
        found += [key for key in keys if key not in known]
    values = await store.call("MGET", *found) if found else []
    return [(key, value) for key, value in zip(found, values, strict=True) if value is not None]


async def drop_ghost_beats(store: Store, before_ms: int) -> int:
    """Forget heartbeats, older than a given time, of workers that are not registered; returns how many. A
    time that can't be parsed is left alone.
    """
    keys, cursor, gone = store.keys, b"0", 0
    registered = set(await workers.ids(store))
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
