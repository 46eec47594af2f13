"""Queues: push, look, delete. `queues` is a set of names, `queue:<name>` a list of payloads."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any

from resqpy.base.errors import OutcomeUnknown, StoreError, StoreUnavailable
from resqpy.base.model import NoList
from resqpy.store.connection.client import Arg, Store, portions
from resqpy.store.connection.translation import Command
from resqpy.store.sweep import Item, every

DELAYED = "delayed"
_JOBS_PER_CALL = 10_000  # bounds the memory of one call and how long it blocks the server


@dataclass(frozen=True, slots=True)
class Guard:
    """A lock that is checked in the same step that pushes a job.

    Attributes:
        kind: "lock" (taken for `seconds`), "absent" (the key must not exist), "delayed" (the item
            of this `timestamps:` key must not wait for its time), "once" (the key must not exist, and
            is there for so many milliseconds then), "room" (the list must have fewer items) or "stamp" (it
            forbids nothing: at this place of the payload is written when so many milliseconds are over).
        owner: whose it is: the name of a plugin.
    """

    kind: str
    key: str | bytes
    seconds: int = 0
    owner: str = field(default="", compare=False)


@dataclass(slots=True)
class Push:
    """A job to be pushed. Not frozen: that makes it seven times as slow to make."""

    queue: str
    raw: bytes
    guards: Sequence[Guard] = ()


async def push(store: Store, jobs: Sequence[Push], *, front: bool = False) -> list[Guard | None]:
    """Push jobs; for each the guard that forbade it. One round trip for up to 10,000 of one MiB together.

    Raises:
        StoreError: what Redis refused; it says how many jobs were pushed all the same, if any. With some pushed,
            a Redis that is away is `OutcomeUnknown`, not `StoreUnavailable`.
    """
    if len(jobs) == 1 and not jobs[0].guards:
        await _push_plain(store, {jobs[0].queue: [jobs[0].raw]}, front)
        return [None]
    pushed: list[Guard | None] = []
    push_some = _push_guarded if any(job.guards for job in jobs) else _push_grouped
    try:
        for start in range(0, len(jobs), _JOBS_PER_CALL):
            for some in portions(jobs[start : start + _JOBS_PER_CALL], lambda job: len(job.raw)):
                pushed += await push_some(store, some, front)
    except StoreError as error:
        if done := pushed.count(None):
            error.args = (f"{error}; {done} of {len(jobs)} jobs were pushed before that",)
            if isinstance(error, StoreUnavailable):  # which says that nothing was written
                raise OutcomeUnknown(*error.args) from error
        raise
    return pushed


async def _push_guarded(store: Store, jobs: Sequence[Push], front: bool) -> list[Guard | None]:
    args: list[Arg] = ["LPUSH" if front else "RPUSH", len(jobs)]
    for job in jobs:
        args += (job.queue, store.keys.queue(job.queue), job.raw, len(job.guards))
        args += guard_words(job.guards)
    reply = await store.run_durably("enqueue", [store.keys.queues], args)
    return [
        None if each == 1 else job.guards[-each - 1] for each, job in zip(reply, jobs, strict=True)
    ]


async def _push_grouped(store: Store, jobs: Sequence[Push], front: bool) -> list[None]:
    by_queue: dict[str, list[bytes]] = {}
    for job in jobs:
        by_queue.setdefault(job.queue, []).append(job.raw)
    await _push_plain(store, by_queue, front)
    return [None] * len(jobs)


async def _push_plain(store: Store, jobs: Mapping[str, Sequence[bytes]], front: bool) -> None:
    """Push what nothing guards by Redis' own commands, which cost it a fifth of the script.

    A queue's name goes before its jobs: where only the first bytes of a write arrive, no job lies where
    nobody looks. Several queues go as a transaction: what Redis refuses for full memory or a missing
    right, it refuses of all of them.
    """
    keys, word = store.keys, "LPUSH" if front else "RPUSH"
    commands: list[Command] = []
    for queue, raws in jobs.items():
        commands += (("SADD", keys.queues, queue), (word, keys.queue(queue), *raws))
    atomic = len(jobs) > 1 or store.options.cluster  # where a slot moves, both or neither
    replies = await store.write(commands, atomic=atomic, durably=True)
    for reply in replies:
        if type(reply) is not int:
            await _undo(store, commands, replies)
            break


async def _undo(store: Store, commands: Sequence[Command], replies: Sequence[Any]) -> None:
    """Take back what was done of a push that Redis refused in part, and raise why it did. Only what
    a worker has taken meanwhile stays: where that is all, the push is done.

    Raises:
        OutcomeUnknown: it could not be taken back.
    """
    stay = count = 0
    for at in range(0, len(commands), 2):
        (_, names, queue), (word, key, *jobs) = commands[at : at + 2]
        count += len(jobs)
        pushed = [] if isinstance(replies[at + 1], Exception) else jobs
        args = [queue if replies[at] == 1 else "", word, *pushed]
        try:
            stay += len(pushed) - await store.run("take_back", [names, key], args)
        except StoreError as error:
            if pushed:
                words = f"{key!r} could not be listed, nor the jobs in it taken back: {error}"
                raise OutcomeUnknown(words) from error
    if stay == count:
        return
    try:
        await store.all_checked(replies, commands)
    except StoreError as error:
        if stay:
            error.args = (f"{error}; {stay} of {count} jobs were taken by workers all the same",)
        raise


def guard_words(guards: Sequence[Guard]) -> list[Arg]:
    """Guards as script arguments: three per guard."""
    return [word for guard in guards for word in (guard.kind, guard.key, guard.seconds)]


def return_command(store: Store, queue: str, raw: bytes) -> tuple[Arg, ...]:
    """The command that puts a job back at the head of its queue."""
    return ("LPUSH", store.keys.queue(queue), raw)


def tail_command(store: Store, queue: str, raw: bytes) -> tuple[Arg, ...]:
    """The command that puts a job back at the tail of its queue."""
    return ("RPUSH", store.keys.queue(queue), raw)


async def names(store: Store) -> list[str]:
    """All queue names, sorted bytewise like Ruby and Node."""
    [members] = await store.look([("SMEMBERS", store.keys.queues)])
    return [decode_name(member) for member in sorted(members)]


def decode_name(raw: bytes) -> str:
    """A name from Redis; broken UTF-8 becomes surrogate escapes."""
    return raw.decode("utf-8", "surrogateescape")


async def length(store: Store, queue: str) -> int:
    """How many jobs wait."""
    return int(await store.call("LLEN", store.keys.queue(queue)))


async def lengths(store: Store, queues: Sequence[str]) -> list[int]:
    """The number of waiting jobs per queue, in one round trip; a `NoList` for a queue key of another type."""
    found, *lengths = await store.look(
        [parked_command(store), *(("LLEN", store.keys.queue(queue)) for queue in queues)]
    )
    return await lengths_told(store, queues, lengths, found)


async def lengths_told(
    store: Store, queues: Sequence[str], found: Sequence[int], parked: Sequence[bytes]
) -> list[int]:
    """The lengths that `Store.look` returned, with a `NoList` for keys of another type, and with the jobs that
    are parked, which costs another round trip if there are any.

    Args:
        parked: the reply to `parked_command`.
    """
    odd = [queue for queue in queues if store.keys.queue(queue) in store.junk]
    kinds = await store.kinds([store.keys.queue(queue) for queue in odd])
    others = {queue: NoList(kind) for queue, kind in zip(odd, kinds, strict=True)}
    for queue in odd:  # reported as NoList instead
        store.junk.pop(store.keys.queue(queue), None)
    beside = Counter[str]()
    for each in await parked_told(store, parked):
        beside[each.queue] += each.count
    return [
        others.get(queue, length + beside[queue])
        for queue, length in zip(queues, found, strict=True)
    ]


# Jobs that met a limit of their task wait in lists beside their queue until it lets them run. Whoever counts,
# lists, finds or deletes the jobs of a queue includes them.


@dataclass(frozen=True, slots=True)
class Parked:
    """Jobs of a queue that wait for a key of a limit.

    Attributes:
        key: the name of the limit, or NAME=VALUE.
        since_ms: when the first of them met the limit, and none was parked before it.
    """

    key: str
    queue: str
    since_ms: int
    count: int = 0

    def list_key(self, store: Store) -> str:
        """The list that they are in."""
        return store.keys.parked_jobs(self.key, self.queue)


def parked_command(store: Store) -> Command:
    """What is asked for `parked_told`."""
    return ("ZRANGE", store.keys.parked, 0, -1, "WITHSCORES")


async def parked(store: Store, of: Iterable[str] | None = None) -> list[Parked]:
    """All jobs that are parked, or those of some queues, by key and queue. One round trip if there are none."""
    [found] = await store.look([parked_command(store)])
    told = await parked_told(store, found)
    wanted = None if of is None else set(of)
    return [each for each in told if wanted is None or each.queue in wanted]


async def parked_told(store: Store, found: Sequence[bytes]) -> list[Parked]:
    """The same, with the reply to `parked_command`, the longest waiting first."""
    kept = parked_keys(found)
    if not kept:
        return []
    counts = await store.look([("LLEN", each.list_key(store)) for each in kept])
    return [replace(e, count=count) for e, count in zip(kept, counts, strict=True) if count]


def parked_keys(found: Sequence[bytes]) -> list[Parked]:
    """The same, uncounted: of some there may be none any more."""
    told: list[Parked] = []
    for member, since in zip(found[::2], found[1::2], strict=True):
        key, line, queue = decode_name(member).partition("\n")
        if line:
            told.append(Parked(key, queue, int(float(since))))
    return told


async def lists_of(store: Store, queue: str) -> list[str]:
    """The keys of the lists in which jobs of a queue wait, in the order in which they run."""
    return [*(e.list_key(store) for e in await parked(store, [queue])), store.keys.queue(queue)]


async def every_waiting(store: Store, queue: str) -> AsyncIterator[bytes]:
    """All jobs that wait in a queue now, the next to run first, page by page."""
    for key in await lists_of(store, queue):
        async for raw in every(store, key):
            yield raw


async def put_back(store: Store, some: Parked, most: int = 500) -> tuple[int, int]:
    """Put parked jobs back to the head of their queue, in their order; returns how many, and how many are left.

    The last are put back first: repeat it until none are left.
    """
    keys = store.keys
    names = [
        keys.parked, some.list_key(store), keys.parked_queues(some.key),
        keys.parked_ready(some.queue), keys.queue(some.queue), keys.queues,
    ]  # fmt: skip
    args: list[Arg] = [f"{some.key}\n{some.queue}", some.key, some.queue, most]
    done, left = await store.run("put_back_parked", names, args)
    return int(done), int(left)


async def page(store: Store, key: str, start: int, stop: int) -> list[bytes]:
    """Items of a list, both ends included, as in LRANGE."""
    [items] = await store.look([("LRANGE", key, start, stop)])
    return list(items)


async def remove(store: Store, queue: str, texts: Sequence[bytes], count: int = 0) -> int:
    """Remove jobs by their exact texts; `count` as in LREM (0: all, negative: from the tail)."""
    return (await remove_and_look(store, queue, texts, count, 1))[0]


async def remove_and_look(
    store: Store, queue: str, texts: Sequence[bytes], count: int, look: int
) -> tuple[int, list[bytes], bool]:
    """The same, and the first jobs that are left, for callers that look for other spellings, and whether jobs of
    any queue are parked. One round trip.
    """
    key = store.keys.queue(queue)
    further: list[Command] = [("LRANGE", key, 0, look - 1), ("EXISTS", store.keys.parked)]
    removed, left, parked = await store.run_then("remove", [key], [count, *texts], further)
    return int(removed), left, bool(parked)


async def drop(store: Store, queue: str, items: Sequence[Item]) -> list[Item]:
    """Remove just-read items; returns those that were still there. One round trip per MiB."""
    dropped: list[Item] = []
    for key, some in groupby(items, lambda item: item.key):
        gone: list[Item] = []
        for part in portions([*some], lambda item: len(item.raw)):
            args: list[Arg] = [w for item in part for w in (item.index - len(gone), item.raw)]
            reply = await store.run("drop_items", [key or store.keys.queue(queue)], args)
            gone += [item for item, done in zip(part, reply, strict=True) if done]
        dropped += gone
    return dropped


@dataclass(frozen=True, slots=True)
class Moved:
    """A job to move to another queue.

    Attributes:
        raw: its bytes there.
        lock: the key of its QueueLock here; "": none.
        lock_there: the key of its QueueLock there.
    """

    item: Item
    raw: bytes
    lock: str = ""
    lock_there: str = ""


async def move(store: Store, queue: str, to: str, jobs: Sequence[Moved]) -> set[int]:
    """Move just-read jobs to the tail of another queue; returns the indices of those moved. One round trip
    per MiB, each job atomically.
    """
    keys, gone = store.keys, set[int]()
    for part in portions(jobs, lambda each: len(each.item.raw) + len(each.raw)):
        args: list[Arg] = [to]
        for each in part:
            args += (
                each.item.index - len(gone),
                each.item.raw,
                each.raw,
                each.lock,
                each.lock_there,
            )
        source = part[0].item.key or keys.queue(queue)  # that of one page
        reply = await store.run("move_items", [source, keys.queue(to), keys.queues], args)
        gone |= {each.item.index for each, done in zip(part, reply, strict=True) if done == 1}
    return gone


async def delete(store: Store, queue: str) -> int:
    """Delete a queue with all its jobs; returns how many there were.

    Raises:
        StoreError: the key is not a list, so it may belong to another program.
    """
    key, beside = store.keys.queue(queue), await parked(store, [queue])
    [length] = await lengths(store, [queue])
    if isinstance(length, NoList):
        raise StoreError(
            f"the queue {queue!r} was not deleted: {key} is a {length.kind}, not a list, "
            "so it may belong to another program"
        )
    lists = [key, *(each.list_key(store) for each in beside)]
    replies = await store.transaction(
        [
            *(("LLEN", each) for each in lists),
            ("UNLINK", *lists),
            ("SREM", store.keys.queues, queue),
        ]
    )
    return sum(map(int, replies[: len(lists)]))
