"""Queues: push, look, delete. `queues` is a set of names, `queue:<name>` a list of payloads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from resqpy.base.errors import OutcomeUnknown, StoreError
from resqpy.base.model import NoList
from resqpy.store.connection.client import Arg, Store, portions
from resqpy.store.connection.translation import Command
from resqpy.store.sweep import Item

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
        StoreError: what Redis refused; it says how many jobs were pushed all the same, if any.
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
    found = await store.look([("LLEN", store.keys.queue(queue)) for queue in queues])
    return await lengths_told(store, queues, found)


async def lengths_told(store: Store, queues: Sequence[str], found: Sequence[int]) -> list[int]:
    """The lengths that `Store.look` returned, with a `NoList` for keys of another type."""
    odd = [queue for queue in queues if store.keys.queue(queue) in store.junk]
    kinds = await store.kinds([store.keys.queue(queue) for queue in odd])
    others = {queue: NoList(kind) for queue, kind in zip(odd, kinds, strict=True)}
    for queue in odd:  # reported as NoList instead
        store.junk.pop(store.keys.queue(queue), None)
    return [others.get(queue, length) for queue, length in zip(queues, found, strict=True)]


async def page(store: Store, key: str, start: int, stop: int) -> list[bytes]:
    """Items of a list, both ends included, as in LRANGE."""
    [items] = await store.look([("LRANGE", key, start, stop)])
    return list(items)


async def remove(store: Store, queue: str, texts: Sequence[bytes], count: int = 0) -> int:
    """Remove jobs by their exact texts; `count` as in LREM (0: all, negative: from the tail)."""
    return (await remove_and_look(store, queue, texts, count, 1))[0]


async def remove_and_look(
    store: Store, queue: str, texts: Sequence[bytes], count: int, look: int
) -> tuple[int, list[bytes]]:
    """The same, and the first jobs that are left, for callers that look for other spellings. One round trip."""
    key = store.keys.queue(queue)
    removed, left = await store.run_then(
        "remove", [key], [count, *texts], [("LRANGE", key, 0, look - 1)]
    )
    return int(removed), left


async def drop(store: Store, queue: str, items: Sequence[Item]) -> list[Item]:
    """Remove just-read items; returns those that were still there. One round trip per MiB."""
    gone: list[Item] = []
    for part in portions(items, lambda item: len(item.raw)):
        args: list[Arg] = [word for item in part for word in (item.index - len(gone), item.raw)]
        reply = await store.run("drop_items", [store.keys.queue(queue)], args)
        gone += [item for item, done in zip(part, reply, strict=True) if done]
    return gone


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
        reply = await store.run(
            "move_items", [keys.queue(queue), keys.queue(to), keys.queues], args
        )
        gone |= {each.item.index for each, done in zip(part, reply, strict=True) if done == 1}
    return gone


async def delete(store: Store, queue: str) -> int:
    """Delete a queue with all its jobs; returns how many there were.

    Raises:
        StoreError: the key is not a list, so it may belong to another program.
    """
    key = store.keys.queue(queue)
    [length] = await lengths(store, [queue])
    if isinstance(length, NoList):
        raise StoreError(
            f"the queue {queue!r} was not deleted: {key} is a {length.kind}, not a list, "
            "so it may belong to another program"
        )
    replies = await store.transaction(
        [("LLEN", key), ("UNLINK", key), ("SREM", store.keys.queues, queue)]
    )
    return int(replies[0])
