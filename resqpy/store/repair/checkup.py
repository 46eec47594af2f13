"""Finds what has no index, by scanning all keys: for `resqpy doctor`, never for workers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from resqpy.base.errors import StoreMisconfigured
from resqpy.store import rescue, workers
from resqpy.store.connection.client import Arg, Store
from resqpy.store.delayed import FencingToken
from resqpy.store.leader import run_fenced
from resqpy.store.queues import decode_name
from resqpy.store.sweep import KEYS_PER_STEP, glob_literal, keyspace_walk

# Records of workers that are not in the set of workers: they may contain a job that nobody finds through
# that set.

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


MAXIMUM = 10_000  # of each kind of finding; the rest shows up once these are repaired
_SHORT_END_S = 180
_NAMESPACE_OF = (b":queues", b":workers")  # sets that every installation has


@dataclass
class Survey:
    """Result of a scan.

    Attributes:
        keys: approximate number of keys in the database.
        unlisted_queues: queues missing from the set of queues.
        unindexed: seconds with delayed jobs that are missing from the index.
        empty_seconds: entries of the index without a list.
        lost_timestamps: keys of the reverse index with entries that lead nowhere.
        endless_locks: keys of plugin locks that never expire.
        ruby_locks: those of them that belong to Ruby's resque-lock, which never expire by design.
        unknown_records: ids of workers that have a record and are not registered.
        others: keys of another type whose names look like queues or delayed jobs, and that type.
        other_namespaces: of other installations in this database.
    """

    keys: int = 0
    unlisted_queues: list[str] = field(default_factory=list)
    unindexed: list[str] = field(default_factory=list)
    empty_seconds: list[str] = field(default_factory=list)
    lost_timestamps: list[bytes] = field(default_factory=list)
    endless_locks: list[bytes] = field(default_factory=list)
    ruby_locks: list[bytes] = field(default_factory=list)
    unknown_records: list[str] = field(default_factory=list)
    others: dict[str, str] = field(default_factory=dict)
    other_namespaces: set[str] = field(default_factory=set)


async def survey(store: Store) -> Survey:
    """Scan all keys of the database in bounded memory."""
    walk = _Survey(store, await _index(store), await _known_queues(store))
    async for page in _all_keys(store):
        await walk.look_at(page)
    return walk.done()


class _Survey:
    """One scan. What is found by name is checked for its type before it counts.

    Args:
        index: the seconds in the index of delayed jobs.
        known: names in the set of queues.
    """

    def __init__(self, store: Store, index: set[str], known: set[bytes]) -> None:
        self._store = store
        self._index = index
        self._known = known
        self._unseen = set(index)
        self._prefix = store.keys.prefix.encode()
        self._timestamps = store.keys.timestamps(b"")
        # Without a namespace `lock:…` may be anybody's.
        self._locks = (b"lock:", b"workerslock:") if self._prefix else (b"workerslock:",)
        self._workers: set[bytes] = set()
        self._found = Survey()

    def done(self) -> Survey:
        """The result."""
        found = self._found
        found.empty_seconds = sorted(self._unseen)[:MAXIMUM]
        for names in (
            found.unindexed,
            found.unlisted_queues,
            found.endless_locks,
            found.ruby_locks,
            found.unknown_records,
        ):
            names.sort()
        return found

    async def look_at(self, page: Sequence[bytes]) -> None:
        """Examine some keys."""
        self._found.keys += len(page)
        sets, lists, locks, records = list[bytes](), list[bytes](), list[bytes](), list[bytes]()
        for key in page:
            name = key.removeprefix(self._prefix)
            if not key.startswith(self._prefix):
                _note_namespace(self._found, key)
            elif key.startswith(self._timestamps):
                sets.append(key)
            elif name.startswith(self._locks):
                locks.append(key)
            elif name.startswith(b"worker:"):
                records.append(name[7:])
            elif self._is_lost(name):
                lists.append(key)
        await self._look_at_lists(lists)
        await self._look_at_sets(sets)
        await self._look_at_locks(locks)
        await self._look_at_records(records)

    def _is_lost(self, name: bytes) -> bool:
        """Whether a name is that of a queue, or of delayed jobs, that no index names."""
        if name.startswith(b"queue:"):
            return name[6:] not in self._known
        if not (name.startswith(b"delayed:") and name[8:].isdigit()):
            return False
        self._unseen.discard(decode_name(name[8:]))
        return decode_name(name[8:]) not in self._index

    async def _look_at_lists(self, keys: Sequence[bytes]) -> None:
        names = [decode_name(key) for key in keys]
        for name, kind in zip(names, await self._store.kinds(names), strict=True):
            short = name.removeprefix(self._store.keys.prefix)
            what, _, rest = short.partition(":")
            found = self._found.unlisted_queues if what == "queue" else self._found.unindexed
            if kind == "list" and len(found) < MAXIMUM:
                found.append(rest)
            elif kind not in ("list", "none"):
                self._found.others[short] = kind

    async def _look_at_records(self, ids: Sequence[bytes]) -> None:
        """Which of them belong to workers that are not registered."""
        records = [each for each in ids if may_be_id(decode_name(each))]
        if not self._workers.issuperset(records):
            [members] = await self._store.look([("SMEMBERS", self._store.keys.workers)])
            self._workers = set(members)
        unknown = [decode_name(each) for each in records if each not in self._workers]
        kinds = await self._store.kinds(list(map(self._store.keys.worker, unknown)))
        for each, kind in zip(unknown, kinds, strict=True):
            if kind != "none" and len(self._found.unknown_records) < MAXIMUM:
                self._found.unknown_records.append(each)

    async def _look_at_sets(self, keys: Sequence[bytes]) -> None:
        """Which keys of the reverse index have an entry whose second has no list."""
        sets: list[Sequence[bytes]] = await self._store.look([("SMEMBERS", key) for key in keys])
        members = list({each for members in sets for each in members})
        lists = [self._prefix + member for member in members]
        there = await self._store.pipeline([("EXISTS", key) for key in lists])
        lost = {member for member, exists in zip(members, there, strict=True) if not exists}
        for key, entries in zip(keys, sets, strict=True):
            if len(self._found.lost_timestamps) < MAXIMUM and not lost.isdisjoint(entries):
                self._found.lost_timestamps.append(key)

    async def _look_at_locks(self, keys: Sequence[bytes]) -> None:
        ttls = await self._store.pipeline([("PTTL", key) for key in keys])
        endless = [key for key, ttl in zip(keys, ttls, strict=True) if ttl == -1]
        kinds = await self._store.kinds([decode_name(key) for key in endless])
        for key, kind in zip(endless, kinds, strict=True):
            found = self._found.ruby_locks if _is_ruby_s(key) else self._found.endless_locks
            if kind == "string" and len(found) < MAXIMUM:
                found.append(key)


async def _known_queues(store: Store) -> set[bytes]:
    [members] = await store.look([("SMEMBERS", store.keys.queues)])
    return set(members)


async def _index(store: Store) -> set[str]:
    """The members of the index; members that stay are never missed, even if others are promoted meanwhile."""
    members: set[str] = set()
    cursor = b"0"
    while True:
        [(cursor, pairs)] = await store.look(
            [("ZSCAN", store.keys.schedule, cursor, "COUNT", KEYS_PER_STEP)]
        )
        members.update(map(decode_name, pairs[::2]))
        if cursor == b"0":
            return members


async def _all_keys(store: Store) -> AsyncIterator[list[bytes]]:
    """Keys, one page at a time; some may occur twice."""
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


def _is_ruby_s(lock: bytes) -> bool:
    """Whether resque-lock created it: `lock:Class-[1, 2]`, while Node's is `lock:Class:queue:[1,2]`."""
    return lock.partition(b"[")[0].endswith(b"-")


# -- repairs; everything is checked again --


async def mend_delayed(store: Store, seconds: Sequence[str], sets: Sequence[bytes]) -> int:
    """Make the index match the lists again; returns how many entries were repaired."""
    keys: list[Arg] = [store.keys.schedule, store.keys.delayed(""), *sets]
    return int(await store.run("mend_delayed", keys, list(seconds)))


async def expire_locks(store: Store, locks: Sequence[Arg]) -> int:
    """Give locks that never expire an expiry; returns how many there were."""
    return int(await store.run("expire_lock", list(locks), [_SHORT_END_S]))


async def list_queues(store: Store, names: Sequence[str]) -> int:
    """Add queues to the set of queues; returns how many were missing."""
    return int(await store.call("SADD", store.keys.queues, *names))


# Delayed lists without an entry in the index, and entries without a list: left by processes that died
# between two writes. They can only be found by scanning all keys, slowly.

KEYS_A_STEP = 500
OLD_S = 60


@dataclass(frozen=True, slots=True)
class Mended:
    """Result of one step of the scan.

    Attributes:
        cursor: where the next step begins; 0: the scan is complete.
        found: seconds whose lists were added to the index.
        dropped: entries of the reverse index that led nowhere.
    """

    cursor: int
    found: list[bytes]
    dropped: int


async def mend(store: Store, fencing: FencingToken, cursor: int) -> Mended:
    """One step. One round trip; takes the server about a millisecond."""
    keys = store.keys
    reply = await run_fenced(
        store, fencing.fence, fencing.token, "mend_orphans",
        [keys.schedule, keys.delayed(""), keys.timestamps("")],
        [cursor, KEYS_A_STEP, glob_literal(keys.prefix) + "*", OLD_S],
    )  # fmt: skip
    return Mended(int(reply[0]), reply[1], reply[2])
