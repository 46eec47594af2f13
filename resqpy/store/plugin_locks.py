"""What the built-in plugins ask of Redis while a job runs: JobLock's lock, QueueLock's release,
Retry's count. Everything else of theirs is written in the step that ends the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from resqpy.store.connection.client import Arg, Store

RELEASE = "RELEASE"  # the exchange's word for freeing a JobLock


@dataclass(frozen=True, slots=True)
class JobLockKey:
    """A JobLock and who wants it.

    Attributes:
        lock: the key that Node reads too.
        holder: the hash of the locks of one worker (`Keys.job_locks`).
        seconds: how long it holds.
    """

    lock: str
    holder: str
    seconds: int

    @property
    def release_command(self) -> tuple[Arg, ...]:
        """The effect by which the end of the run frees it, if it is still ours."""
        return (RELEASE, self.lock, self.holder)


def lock_command(key: str, seconds: int) -> tuple[Arg, ...]:
    """The effect that takes a lock by the end of the run, if nobody has it; a word of the exchange."""
    return ("LOCK", key, seconds)


async def take_job_lock(store: Store, key: JobLockKey, *, again: bool = False) -> bool:
    """Take the lock; False if somebody has it.

    Args:
        again: the reply to the same question was lost; having it already is having taken it.
    """
    args: list[Arg] = [key.seconds, int(again)]
    return bool(await store.run("take_job_lock", [key.lock, key.holder], args))


async def hold_job_lock(store: Store, key: JobLockKey) -> bool:
    """Let the lock hold on from now; False if it is not ours any more."""
    return bool(await store.run("hold_job_lock", [key.lock, key.holder], [key.seconds]))


async def free_queue_lock(store: Store, key: str) -> None:
    """Free a QueueLock, whoever took it: its job has left the queue."""
    await store.call("DEL", key)


async def attempts(store: Store, key: str) -> int:
    """The count of the last failed attempt: 0 after the first; -1 if none has failed yet."""
    raw: bytes | None = await store.call("GET", key)
    if raw is None:
        return -1
    if len(raw) < 19 and raw.removeprefix(b"-").isdigit():
        return int(raw)
    await store.call("DEL", key)  # no number, which INCR would refuse
    return -1


def count_commands(key: str, seconds: int) -> list[tuple[Arg, ...]]:
    """The effects that count one more failed attempt, as node-resque does it."""
    return [("SETNX", key, -1), ("INCR", key), ("EXPIRE", key, seconds)]


async def settle(store: Store, effects: Sequence[Sequence[Arg]]) -> None:
    """Write what the plugins of a run left to its end, where no exchange does it."""
    for command in effects:
        if command[0] == RELEASE:
            await store.run("release_job_lock", command[1:])
        else:
            await store.call(*command)
