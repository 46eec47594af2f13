"""Failed lists. An entry is removed and retried by its exact bytes, never by its index.

There is one list, `failed`, unless Ruby uses its RedisMultiQueue backend: then there is one per queue,
`<queue>_failed`, and the set `failed_queues` has their names. All are read; which is written says an option,
`failed_per_queue`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from resqpy.base import job_records
from resqpy.base.errors import ResqpyError
from resqpy.base.keys import FAILED
from resqpy.base.model import FailedJob
from resqpy.store.connection.client import Arg, Store, portions
from resqpy.store.queues import Guard, decode_name, guard_words
from resqpy.store.sweep import Progress, is_watched


def list_of(store: Store, queue: str) -> str:
    """The name of the failed list for jobs of a queue; without a name, of what can't be told."""
    return f"{queue}_failed" if queue and store.options.failed_per_queue else FAILED


def push_commands(store: Store, queue: str, entry: bytes) -> list[tuple[Arg, ...]]:
    """The commands that add an entry."""
    name = list_of(store, queue)
    push = ("RPUSH", store.keys.failed_list(name), entry)
    return [push] if name == FAILED else [("SADD", store.keys.failed_queues, name), push]


async def known_list(store: Store, queue: str) -> str:
    """The key of the failed list for jobs of a queue; where it is one of the queue, everybody knows it by now."""
    if (name := list_of(store, queue)) != FAILED:
        await store.call("SADD", store.keys.failed_queues, name)
    return store.keys.failed_list(name)


def keep_bytes_command(store: Store, worker_id: str, kept: str) -> tuple[Arg, ...]:
    """The command that keeps the bytes of a large unreadable job for its failed entry."""
    return ("RENAME", store.keys.held(worker_id), store.keys.unreadable(kept))


# -- reading --


async def lists(store: Store) -> dict[str, int]:
    """The failed lists and how many entries each has; `failed` is the first."""
    names = [FAILED, *await _further(store)]
    lengths = await store.look([("LLEN", store.keys.failed_list(name)) for name in names])
    return dict(zip(names, lengths, strict=True))


async def _further(store: Store) -> list[str]:
    [members] = await store.look([("SMEMBERS", store.keys.failed_queues)])
    return [decode_name(member) for member in sorted(members) if member != FAILED.encode()]


async def page(store: Store, name: str, start: int, stop: int) -> list[FailedJob]:
    """Entries of one list, both ends included, as in LRANGE."""
    [raws] = await store.look([("LRANGE", store.keys.failed_list(name), start, stop)])
    return [job_records.decode_failed(raw, name) for raw in raws]


# -- removing and retrying --


@dataclass(frozen=True, slots=True)
class EntryAction:
    """What to do with an entry.

    Attributes:
        index: where it was seen, or -1.
        queue: where its job goes; empty: the entry is only removed.
        raw: the job's bytes; ignored if they are kept separately.
        guards: the locks that may forbid it.
    """

    entry: FailedJob
    index: int = -1
    queue: str = ""
    raw: bytes = b""
    guards: Sequence[Guard] = ()


@dataclass(frozen=True, slots=True)
class Beside:
    """What is written in the same step in which entries leave their list.

    Attributes:
        removal: the id under which removed entries are kept, to be put back; empty: they are not.
        kept_s: for how many seconds.
        command: done once for each step, before the first entry leaves; if Redis refuses it, none does.
        run: the id of the bulk run that counts what leaves; empty: none.
        runner: who works on that.
    """

    removal: str = ""
    kept_s: int = 0
    command: Sequence[Arg] = ()
    run: str = ""
    runner: str = ""


NOTHING = Beside()


class RunOver(ResqpyError):
    """A bulk run has ended, or somebody else works on it."""


async def settle(
    store: Store, name: str, settlings: Sequence[EntryAction], beside: Beside = NOTHING
) -> list[str]:
    """Remove or retry entries of one list, each atomically; one round trip per MiB.

    Raises:
        RunOver: the run has ended, or somebody else works on it; nothing more is done.

    Returns:
        For each "removed", "retried", "vetoed" (a lock forbids it; the entry stays), "absent" (no such
            entry), "lost" (the bytes kept separately are gone; it stays) or "no list" (its queue is not a
            list; it stays).
    """
    keys, words = store.keys, list[str]()
    for part in portions(settlings, lambda each: len(each.entry.raw) + len(each.raw)):
        gone = words.count("removed") + words.count("retried")
        kept = keys.web_removed(beside.removal, name) if beside.removal else ""
        run = keys.web("run", beside.run) if beside.run else ""
        args: list[Arg] = [kept, beside.kept_s, len(beside.command), *beside.command]
        args += [run, beside.runner, len(part)]
        for each in part:
            args += _settling_words(store, each, gone)
        reply: list[bytes] | bytes = await store.run(
            "settle_failed", [keys.failed_list(name), keys.queues], args
        )
        if isinstance(reply, bytes):
            raise RunOver
        words += [word.decode() for word in reply]
    return words


def _settling_words(store: Store, each: EntryAction, gone: int) -> list[Arg]:
    keys = store.keys
    kept = keys.unreadable(each.entry.unreadable) if each.entry.unreadable else ""
    index = each.index - gone if each.index >= gone else -1
    return [
        index, each.entry.raw, kept,
        each.queue, keys.queue(each.queue), each.raw, len(each.guards), *guard_words(each.guards),
    ]  # fmt: skip


async def clear(store: Store, name: str, step: int = 1000) -> int:
    """Empty a list, one page at a time, including the bytes kept for its entries; returns how many there were."""
    keys, key = store.keys, store.keys.failed_list(name)
    walk = Progress(name, int(await store.call("LLEN", key)) if is_watched() else 0)
    while raws := await store.call("LPOP", key, step):
        walk.step(len(raws))
        kept = [
            entry.unreadable for raw in raws if (entry := job_records.decode_failed(raw)).unreadable
        ]
        if kept:
            await store.call("UNLINK", *(keys.unreadable(each) for each in kept if each))
    return walk.done


__all__ = [
    "NOTHING",
    "Beside",
    "EntryAction",
    "RunOver",
    "clear",
    "keep_bytes_command",
    "lists",
    "page",
    "push_commands",
    "settle",
]
