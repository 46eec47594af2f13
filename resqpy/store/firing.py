"""Jobs of a schedule enter their queue, and its note of what is settled moves, in one step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from resqpy.store.connection.client import Arg, Store
from resqpy.store.leader import run_fenced
from resqpy.store.promote import Right
from resqpy.store.queues import Guard, guard_words

CHANGED = -1

Write = tuple[Arg, ...]  # a command, the key that it writes, its other words


class Expected(NamedTuple):
    """What a place in Redis must still hold, as it was read; an empty text: nothing.

    Attributes:
        command: HGET, or ZSCORE: then the value is a number.
    """

    command: str
    key: str
    field: str
    value: Arg


class DueJob(NamedTuple):
    """A job that is to be enqueued for a time.

    Attributes:
        args: its arguments, as the enqueue hooks have left them.
    """

    at_ms: int
    args: Sequence[Any]


class Firing(NamedTuple):
    """Fires of one schedule; without jobs, its notes alone.

    Whoever wants to keep a history of fires adds a write here: it happens with the fire, or not at all.

    Attributes:
        expected: what is compared; where one of it is another by now, nothing is done.
        always: written whatever becomes of the jobs.
        pushed: written if a job was enqueued.
        refused: written if none was.
        jobs: in the order of their times.
        guards: those of each job; empty: there are none.
    """

    expected: Sequence[Expected]
    always: Sequence[Write] = ()
    pushed: Sequence[Write] = ()
    refused: Sequence[Write] = ()
    jobs: Sequence[bytes] = ()
    queue: str = ""
    guards: Sequence[Sequence[Guard]] = ()


async def fire(store: Store, right: Right | None, what: Firing) -> int:
    """Carry it out: how many jobs were enqueued, or CHANGED (somebody was faster; nothing was done).

    Args:
        right: None: it is no leader who does it; then the notes alone keep a fire from happening twice.

    Raises:
        Deposed: another leads; nothing was written.
    """
    fence = [] if right is None else list(right.fence)
    keys: dict[Arg, int] = {}  # of the notes, by their position

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
        store, fence, "" if right is None else right.token, "fire",
        [store.keys.queues, store.keys.queue(what.queue), *keys], words,
    )  # fmt: skip
    return int(reply)
