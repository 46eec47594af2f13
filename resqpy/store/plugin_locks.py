"""What the built-in plugins do in Redis while a job runs: JobLock's lock, QueueLock's release, Retry's
counter. Their other writes happen in the step that ends the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from resqpy.store.connection.client import Arg, Store

RELEASE = "RELEASE"  # the exchange's command for freeing a JobLock


@dataclass(frozen=True, slots=True)
class JobLockKey:
    """A JobLock and its owner.

    Attributes:
        lock: the key, shared with Node.
        holder: the hash of the locks of one worker (`Keys.job_locks`).
        seconds: its lifetime.
    """

    lock: str
    holder: str
    seconds: int

    @property
    def release_command(self) -> tuple[Arg, ...]:
        """The command that frees it at the end of the run, if it is still ours."""
        return (RELEASE, self.lock, self.holder)


def lock_command(key: str, seconds: int) -> tuple[Arg, ...]:
    """The command that takes a lock at the end of the run, if it is free; an exchange command."""
    return ("LOCK", key, seconds)


async def take_job_lock(store: Store, key: JobLockKey, *, again: bool = False) -> bool:
    """Take the lock; False if somebody else has it.

    Args:
        again: the first reply was lost; if we have the lock, that attempt took it.
    """
    args: list[Arg] = [key.seconds, int(again)]
    return bool(await store.run("take_job_lock", [key.lock, key.holder], args))


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
