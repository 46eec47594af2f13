"""Records of workers that do not stand in the set of workers: what is in them may be a job, and those who go
by the set never see it.
"""

from __future__ import annotations

from dataclasses import dataclass

from resqpy.base.errors import StoreMisconfigured
from resqpy.store import rescue, workers
from resqpy.store.connection.client import Store
from resqpy.store.queues import decode_name
from resqpy.store.walk import KEYS_PER_STEP

_STEPS = 20
KEYS_LOOKED_AT = _STEPS * KEYS_PER_STEP  # at the most: some 20 ms of the server


@dataclass(frozen=True, slots=True)
class Unregistered:
    """What was found.

    Attributes:
        records: by the workers' ids.
        everything: whether all keys were looked at.
    """

    records: dict[str, bytes]
    everything: bool


async def look(store: Store) -> Unregistered:
    """Walk over the first keys of the database, in steps; over none as a Redis user who may not."""
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
    """Whether what a key is named behind `worker:` is the id of a worker: Node's pings and the times at which
    workers started stand there, too.
    """
    return not (name.startswith("ping:") or name.endswith(":started"))
