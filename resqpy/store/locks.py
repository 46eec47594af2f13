"""The locks of the plugins, also of Ruby's. They have no index, so listing them scans."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from resqpy.store.connection.client import Arg, Store
from resqpy.store.queues import decode_name
from resqpy.store.sweep import matching

_KINDS = ("lock:", "workerslock:", "loner:lock:")


async def _pages(store: Store, *kinds: str) -> AsyncIterator[dict[str, str]]:
    """Locks by name without the namespace, and when each expires, in epoch seconds."""
    keys = store.keys
    async for names in matching(store, *map(keys.named, kinds)):
        values: list[bytes | None] = await store.call("MGET", *names)
        yield {
            decode_name(name.removeprefix(keys.prefix.encode())): decode_name(value)
            for name, value in zip(names, values, strict=True)
            if value is not None  # it may have expired meanwhile
        }


async def every(store: Store) -> dict[str, str]:
    """All locks."""
    return {name: end async for page in _pages(store, *_KINDS) for name, end in page.items()}


async def some(store: Store, most: int) -> dict[str, str]:
    """At most this many locks, in scan order; `every` returns all."""
    found = dict[str, str]()
    async for page in _pages(store, *_KINDS):
        found |= page
        if len(found) >= most:
            break
    return dict(list(found.items())[:most])


async def exists(store: Store, name: str) -> bool:
    """Whether there is a lock of this name."""
    named = name.startswith(_KINDS)
    return named and bool(await store.call("EXISTS", store.keys.named(name)))


async def of_class(store: Store, class_name: str) -> AsyncIterator[tuple[str, str]]:
    """The locks of one class, by name, and when each expires."""
    mine = (f"{kind}{class_name}:" for kind in _KINDS)
    async for page in _pages(store, *mine, f"lock:{class_name}-["):
        for lock in page.items():
            yield lock


def ends_ms(value: str) -> int | None:
    """When a lock expires, by its value; None: it does not say so in seconds."""
    return int(value) * 1000 if value.isascii() and value.isdigit() and len(value) < 12 else None


async def delete(store: Store, name: str) -> int:
    """Delete a lock by the name under which it is listed; returns how many there were (0 or 1)."""
    return int(await store.call("DEL", store.keys.named(name)))


# What the built-in plugins do in Redis while a job runs: JobLock's lock, QueueLock's release, Retry's
# counter. Their other writes happen in the step that ends the run.

RELEASE = "RELEASE"  # frees a JobLock of a run without a record
UNLOCK: tuple[Arg, ...] = ("UNLOCK",)  # of an exchange: frees those of the run that ends


@dataclass(frozen=True, slots=True)
class JobLockKey:
    """A JobLock and its owner.

    Attributes:
        lock: the key, shared with Node.
        holder: the hash of the locks of one worker (`Keys.job_locks`).
        seconds: its lifetime.
        ruby: the key is one of Ruby's, which leaves locks there that don't expire.
    """

    lock: str
    holder: str
    seconds: int
    ruby: bool = False

    @property
    def release_command(self) -> tuple[Arg, ...]:
        """The command of `settle` that frees it, if it is still ours."""
        return (RELEASE, self.lock, self.holder)


def lock_command(key: str, seconds: int) -> tuple[Arg, ...]:
    """The command that takes a lock at the end of the run, if it is free; an exchange command."""
    return ("LOCK", key, seconds)


async def take_job_lock(
    store: Store,
    key: JobLockKey,
    worker_id: str = "",
    beginning: bytes = b"",
    *,
    again: bool = False,
) -> bool:
    """Take the lock; False if somebody else has it, or the job by now.

    Args:
        worker_id, beginning: of the record of the run; empty: it has none.
        again: the first reply was lost; if we have the lock, that attempt took it.
    """
    keys = [key.lock, key.holder, store.keys.worker(worker_id)]
    args: list[Arg] = [key.seconds, int(again), int(key.ruby), beginning]
    return bool(await store.run("take_job_lock", keys, args))


async def hold_job_lock(store: Store, key: JobLockKey) -> bool:
    """Extend the lock; False if it is no longer ours."""
    return bool(await store.run("hold_job_lock", [key.lock, key.holder], [key.seconds]))


async def free_queue_lock(store: Store, key: str) -> None:
    """Free a QueueLock, whoever took it: its job has left the queue."""
    await store.call("DEL", key)


async def attempts(store: Store, key: str) -> int:
    """The attempt counter: 0 after the first failed attempt; -1 if none has failed yet."""
    raw: bytes | None = await store.call("GET", key)
    if raw is None:
        return -1
    if len(raw) < 19 and raw.removeprefix(b"-").isdigit():
        return int(raw)
    await store.call("DEL", key)  # not a number, which INCR would refuse
    return -1


def count_commands(key: str, seconds: int) -> list[tuple[Arg, ...]]:
    """The commands that count one more failed attempt, as node-resque does."""
    return [("SETNX", key, -1), ("INCR", key), ("EXPIRE", key, seconds)]


async def settle(store: Store, effects: Sequence[Sequence[Arg]]) -> None:
    """Execute the writes that plugins left for the end of a run that ends outside an exchange."""
    for command in effects:
        if command[0] == RELEASE:
            await store.run("release_job_lock", command[1:])
        else:
            await store.call(*command)
