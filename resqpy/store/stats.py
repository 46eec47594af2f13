"""Counters: `stat:processed`, `stat:failed`, and the same for each worker."""

from __future__ import annotations

from collections.abc import Sequence

from resqpy.base.model import WorkerId
from resqpy.store.client import Store
from resqpy.store.queues import decode_name
from resqpy.store.scan import matching

_COUNTERS = ("processed", "failed")


async def every(store: Store) -> dict[str, int]:
    """All counters by their names, those of workers long gone too: walks the keyspace."""
    prefix, found = store.keys.stat(""), {}
    async for names in matching(store, prefix):
        values: list[bytes | None] = await store.call("MGET", *names)
        for name, value in zip(names, values, strict=True):
            found[decode_name(name.removeprefix(prefix.encode()))] = _number(value)
    return found


def names_of(worker_ids: Sequence[str]) -> list[str]:
    """The counters of all together and of some workers.

    Ruby and resqpy count under a worker's id, Node under its name.
    """
    owners = [who for each in worker_ids for who in (each, WorkerId.parse(each).name)]
    own = [f"{counter}:{who}" for who in owners for counter in _COUNTERS]
    return list(dict.fromkeys([*_COUNTERS, *own]))


def shown(names: Sequence[str], values: Sequence[bytes | None]) -> dict[str, int]:
    """Counters by name; those of all together always, others where they exist."""
    pairs = zip(names, values, strict=True)
    return {n: _number(value) for n, value in pairs if value is not None or n in _COUNTERS}


def _number(value: bytes | None) -> int:
    try:
        return int(value or 0)
    except ValueError:  # somebody else's key under our prefix
        return 0
