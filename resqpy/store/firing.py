"""Enqueues the jobs of a schedule and updates its note of what has been handled, atomically."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from resqpy.store.connection.client import Arg, Store
from resqpy.store.leader import run_fenced
from resqpy.store.promote import FencingToken
from resqpy.store.queues import Guard, guard_words

CHANGED = -1

Write = tuple[Arg, ...]  # a command, the key it writes, its other arguments


class Expected(NamedTuple):
    """A value in Redis that must not have changed since it was read; an empty text: none.

    Attributes:
        command: HGET, or ZSCORE: then the value is a number.
    """

    command: str
    key: str
    field: str
    value: Arg


class DueJob(NamedTuple):
    """A job to enqueue for a time.

    Attributes:
        args: its arguments, after the enqueue hooks.
    """

    at_ms: int
    args: Sequence[Any]


class Firing(NamedTuple):
    """Fires of one schedule; without jobs, only its notes.

    To keep a history of fires, add a write here: it happens together with the fire or not at all.

    Attributes:
        expected: compared first; if any has changed, nothing is done.
        always: written whatever becomes of the jobs.
        pushed: written if a job was enqueued.
        refused: written if none was.
        jobs: in the order of their times.
        guards: those of each job; empty: none.
    """

    expected: Sequence[Expected]
    always: Sequence[Write] = ()
    pushed: Sequence[Write] = ()
    refused: Sequence[Write] = ()
    jobs: Sequence[bytes] = ()
    queue: str = ""
    guards: Sequence[Sequence[Guard]] = ()


async def fire(store: Store, fencing: FencingToken | None, what: Firing) -> int:
    """Execute it: returns how many jobs were enqueued, or CHANGED (somebody was faster; nothing was done).

    Args:
        right: None: the caller is not a leader; then only the notes prevent firing twice.

    Raises:
        Deposed: another scheduler leads; nothing was written.
    """
    fence = [] if fencing is None else list(fencing.fence)
    keys: dict[Arg, int] = {}  # of the notes, by position

    def position(key: Arg) -> int:
        return keys.setdefault(key, len(keys) + 1)

    words: list[Arg] = [len(fence), what.queue, len(what.jobs)]
    for job, guards in zip(what.jobs, what.guards or [()] * len(what.jobs), strict=True):
        words += (job, len(guards), *guard_words(guards))
    words.append(len(what.expected))
    for command, key, field, value in what.expected:
        words += (command, position(key), field, value)
    for when in ("always", "pushed", "refused"):
        for verb, key, *others in getattr(what, when):
            words += (when, len(others), verb, position(key), *others)
    reply = await run_fenced(
        store, fence, "" if fencing is None else fencing.token, "fire",
        [store.keys.queues, store.keys.queue(what.queue), *keys], words,
    )  # fmt: skip
    return int(reply)
