"""Records of workers that are not in the set of workers: they may contain a job that nobody finds through
that set.
"""

from __future__ import annotations

from dataclasses import dataclass

from resqpy.base.errors import StoreMisconfigured
from resqpy.store import rescue, workers
from resqpy.store.connection.client import Store
from resqpy.store.queues import decode_name
from resqpy.store.walk import KEYS_PER_STEP

_STEPS = 20
KEYS_LOOKED_AT = _STEPS * KEYS_PER_STEP  # at most: some 20 ms of the server


@dataclass(frozen=True, slots=True)
class Unregistered:
    """Result of the scan.

    Attributes:
        records: by worker id.
        everything: whether all keys were scanned.
    """

    records: dict[str, bytes]
    everything: bool


async def look(store: Store) -> Unregistered:
    """Scan the first keys of the database, in steps; none if the Redis user may not."""
    names, cursor = set[str](), 0
    try:
        for _ in range(_STEPS):
            cursor, found = await rescue.records_page(store, cursor, KEYS_PER_STEP)
            names.update(each for each in found if may_be_id(each))
            if cursor == 0:
                break
    except StoreMisconfigured:
        return Unregistered({}, everything=False)
    [members] = await store.look([("SMEMBERS", store.keys.workers)])
    unknown = sorted(names - set(map(decode_name, members)))
    records = await workers.records(store, unknown)
    pairs = zip(unknown, records, strict=True)
    return Unregistered({name: raw for name, raw in pairs if raw is not None}, cursor == 0)


def may_be_id(name: str) -> bool:
    """Whether the rest of a key after `worker:` is a worker id: Node's pings and workers' start times have
    that prefix too.
    """
    return not (name.startswith("ping:") or name.endswith(":started"))
