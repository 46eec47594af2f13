"""What has no index and is found only by a walk over all keys: for `resqpy doctor`, never for workers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from resqpy.store.client import Arg, Store
from resqpy.store.queues import decode_name
from resqpy.store.scan import KEYS_PER_STEP, keyspace_walk

_PER_CALL = 500
_SHORT_END_S = 180
_NAMESPACE_OF = (b":queues", b":workers")  # sets that each installation has


@dataclass
class Survey:
    """What a walk found.

    Attributes:
        keys: how many there are in the database, about.
        unlisted_queues: names of queues that the set of queues does not have.
        unindexed: seconds with delayed jobs that the index does not have.
        empty_seconds: entries of the index without a list.
        lost_timestamps: keys of the reverse index with entries that lead nowhere.
        endless_locks: keys of plugin locks that never end.
        ruby_locks: those among such keys that Ruby's resque-lock has, which are meant to have no end.
        other_namespaces: of installations beside this one.
    """

    keys: int = 0
    unlisted_queues: list[str] = field(default_factory=list)
    unindexed: list[str] = field(default_factory=list)
    empty_seconds: list[str] = field(default_factory=list)
    lost_timestamps: list[bytes] = field(default_factory=list)
    endless_locks: list[bytes] = field(default_factory=list)
    ruby_locks: list[bytes] = field(default_factory=list)
    other_namespaces: set[str] = field(default_factory=set)


async def survey(store: Store) -> Survey:
    """Walk over all keys of the database."""
    found = Survey()
    index = await _index(store)
    lists: set[str] = set()
    sets: set[bytes] = set()
    locks: set[bytes] = set()
    queues: set[str] = set()
    prefix = store.keys.prefix.encode()
    async for page in _all_keys(store):
        found.keys += len(page)
        for key in page:
            if not key.startswith(prefix):
                _note_namespace(found, key)
            elif key.startswith(store.keys.timestamps(b"")):
                sets.add(key)
            else:
                _sort(key.removeprefix(prefix), key, lists, queues, locks)
    found.unindexed = sorted(lists - index)
    found.empty_seconds = sorted(index - lists)
    known = {decode_name(each) for each in await store.call("SMEMBERS", store.keys.queues)}
    found.unlisted_queues = sorted(queues - known)
    found.lost_timestamps = await _lost(store, sorted(sets), lists)
    for key in await _endless(store, sorted(locks)):
        (found.ruby_locks if _is_ruby_s(key) else found.endless_locks).append(key)
    return found


async def _index(store: Store) -> set[str]:
    """The members of the index; none that stays is missed, whatever is promoted meanwhile."""
    members: set[str] = set()
    cursor = b"0"
    while True:
        cursor, pairs = await store.call(
            "ZSCAN", store.keys.schedule, cursor, "COUNT", KEYS_PER_STEP
        )
        members.update(map(decode_name, pairs[::2]))
        if cursor == b"0":
            return members


async def _all_keys(store: Store) -> AsyncIterator[list[bytes]]:
    """A page of keys at a time; some may come twice."""
    cursor, walk = b"0", await keyspace_walk(store)
    while True:
        cursor, keys = await store.call("SCAN", cursor, "COUNT", KEYS_PER_STEP)
        walk.step(len(keys))
        yield keys
        if cursor == b"0":
            return


def _note_namespace(found: Survey, key: bytes) -> None:
    for ending in _NAMESPACE_OF:
        if key.endswith(ending):
            found.other_namespaces.add(decode_name(key.removesuffix(ending)))


def _sort(name: bytes, key: bytes, lists: set[str], queues: set[str], locks: set[bytes]) -> None:
    if name.startswith(b"delayed:") and name[8:].isdigit():
        lists.add(decode_name(name[8:]))
    elif name.startswith(b"queue:"):
        queues.add(decode_name(name[6:]))
    elif name.startswith((b"lock:", b"workerslock:")):
        locks.add(key)


async def _lost(store: Store, sets: Sequence[bytes], lists: set[str]) -> list[bytes]:
    """The keys of the reverse index with an entry whose second has no list."""
    there = {store.keys.delayed_member(second).encode() for second in lists}
    lost = []
    for part in _parts(sets):
        members = await store.pipeline([("SMEMBERS", key) for key in part])
        lost += [key for key, each in zip(part, members, strict=True) if set(each) - there]
    return lost


async def _endless(store: Store, locks: Sequence[bytes]) -> list[bytes]:
    endless = []
    for part in _parts(locks):
        ttls = await store.pipeline([("PTTL", key) for key in part])
        endless += [key for key, ttl in zip(part, ttls, strict=True) if ttl == -1]
    return endless


def _is_ruby_s(lock: bytes) -> bool:
    """Whether resque-lock named it: `lock:Class-[1, 2]`, where Node has `lock:Class:queue:[1,2]`."""
    return lock.partition(b"[")[0].endswith(b"-")


def _parts(keys: Sequence[bytes]) -> list[Sequence[bytes]]:
    return [keys[at : at + _PER_CALL] for at in range(0, len(keys), _PER_CALL)]


# -- putting right; everything is looked at anew --


async def mend_delayed(store: Store, seconds: Sequence[str], sets: Sequence[bytes]) -> int:
    """Make the index fit the lists again; how many entries were put right."""
    keys: list[Arg] = [store.keys.schedule, store.keys.delayed(""), *sets]
    return int(await store.run("mend_delayed", keys, list(seconds)))


async def expire_locks(store: Store, locks: Sequence[Arg]) -> int:
    """Give locks without an end one; how many had none."""
    return int(await store.run("expire_lock", list(locks), [_SHORT_END_S]))


async def list_queues(store: Store, names: Sequence[str]) -> int:
    """Put queues into the set of queues; how many were not there."""
    return int(await store.call("SADD", store.keys.queues, *names))
