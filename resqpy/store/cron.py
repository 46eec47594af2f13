"""Jobs for the fires of a cron schedule, with the note of what is settled, in one step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from resqpy.store.client import Store
from resqpy.store.leader import run_fenced
from resqpy.store.promote import Right
from resqpy.store.queues import Guard, guard_words


@dataclass(frozen=True, slots=True)
class CronFire:
    """Fires of one task.

    Attributes:
        note: what is settled, as it was read; empty: nothing.
        new_note: what is settled with this.
        last_ms: the last of the times that get a job; None: none does.
        jobs: in the order of their times.
    """

    name: str
    note: str
    new_note: str
    queue: str
    last_ms: int | None = None
    jobs: Sequence[bytes] = ()
    guards: Sequence[Guard] = ()


async def fire(store: Store, right: Right, what: CronFire) -> int:
    """Enqueue the jobs; how many, or -1: somebody else has settled it meanwhile.

    Raises:
        Deposed: another leads; nothing was written.
    """
    keys = store.keys
    reply = await run_fenced(
        store, right.fence, right.token, "cron_fire",
        [keys.cron, keys.periodic_last, keys.queues, keys.queue(what.queue)],
        [what.name, what.note, what.new_note, "" if what.last_ms is None else what.last_ms,
         what.queue, len(what.jobs), *what.jobs, len(what.guards), *guard_words(what.guards)],
    )  # fmt: skip
    return int(reply)
