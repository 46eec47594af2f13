"""The failed list. An entry is removed and retried by its exact bytes, never by its index."""

from __future__ import annotations

from collections.abc import Sequence

from resqpy.base import codec
from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.model import FailedJob
from resqpy.store.client import Arg, Store
from resqpy.store.queues import Guard, guard_words


def push_command(store: Store, entry: bytes) -> tuple[Arg, ...]:
    """The command that adds an entry."""
    return ("RPUSH", store.keys.failed, entry)


def keep_bytes_command(store: Store, worker_id: str, digest: str) -> tuple[Arg, ...]:
    """The command that keeps a large unreadable job's bytes for its failed entry."""
    return ("RENAME", store.keys.held(worker_id), store.keys.unreadable(digest))


async def count(store: Store) -> int:
    """How many entries there are."""
    return int(await store.call("LLEN", store.keys.failed))


async def remove(store: Store, entry: FailedJob) -> int:
    """Remove one entry, and the bytes kept for it; how many were removed (0 or 1)."""
    keys = store.keys
    kept = keys.unreadable(entry.unreadable) if entry.unreadable else ""
    reply = await store.run("remove_failed", [keys.failed], [entry.raw, kept])
    return int(reply)


async def retry(
    store: Store, entry: FailedJob, queue: str, raw: bytes, guards: Sequence[Guard] = ()
) -> str:
    """Move the job of one entry back to its queue in one step.

    Returns:
        "retried", "vetoed" (a lock forbids it; the entry stays) or "absent" (no such entry).
    """
    keys = store.keys
    kept = keys.unreadable(entry.unreadable) if entry.unreadable else ""
    args: list[Arg] = [entry.raw, queue, raw, kept, SYSTEM_CLOCK.now_ms() // 1000]
    args += guard_words(guards)
    reply: bytes = await store.run(
        "retry_failed", [keys.failed, keys.queues, keys.queue(queue)], args
    )
    return reply.decode()


def job_bytes(entry: FailedJob) -> bytes | None:
    """The exact bytes of the job in an entry, where it can be had without Redis."""
    if entry.job_raw is not None:
        return entry.job_raw
    return None if entry.unreadable else codec.member_text(entry.raw, "payload")
