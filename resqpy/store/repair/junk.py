"""Junk under the keys that only resqpy knows: a list of somebody's where a hash of ours is to be, say.

It is moved out of the way, to `resqpy:junk:<name>`, and told; never deleted.
"""

from __future__ import annotations

from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.keys import Keys
from resqpy.store.connection.client import Store

# What stands under the keys that only resqpy knows, by which junk there is known.
_WORKING = {
    "processes": "zset",
    "known_tasks": "hash",
    "gates": "hash",
    "lives": "hash",
    "rescuer": "string",
    "searched": "string",
    "at_most_once": "hash",
    "rescues": "hash",
    "periodic_tasks": "hash",
    "periodic_seen": "zset",
    "periodic_due": "zset",
    "periodic_out": "hash",
    "periodic_jobs": "hash",
    "periodic_stopped": "hash",
    "periodic_paused": "set",
    "periodic_last": "hash",
    "cron": "hash",
    "task_locks": "zset",
    "tasks_scheduled": "zset",
    "tasks_pending": "zset",
    "tasks_expiring": "zset",
}
_LEADING = {
    "leader": "string",
    "leader_epoch": "string",
    "leader_foreign": "string",
    "claimed": "list",
    "ruby_next": "hash",
    "ruby_paused": "set",
}
_ORDERS = ("created", "modified", "completed")
_STATUSES = (
    "scheduled", "pending", "running", "disabling", "disabled", "completed", "failed", "retried", "cancelled",
)  # fmt: skip


def own_kinds(keys: Keys, *, leading: bool) -> dict[str, str]:
    """Redis' type of each key of ours that has one name in an installation.

    Args:
        leading: also those that only schedulers touch.
    """
    names = {**_WORKING, **_LEADING} if leading else _WORKING
    kinds = {getattr(keys, name): kind for name, kind in names.items()}
    by = [keys.tasks_by(order) for order in _ORDERS]
    by += [keys.tasks_by("status", status) for status in _STATUSES]
    return {**kinds, **dict.fromkeys(by, "zset")}


_AT_MOST_EVERY_S = 1.0


async def found(store: Store, *, leading: bool) -> dict[str, str]:
    """The keys of ours that have another kind than they should, and that kind. One round trip.

    What the user may not ask for is left out.
    """
    kinds = own_kinds(store.keys, leading=leading)
    replies = await store.line.send([("TYPE", key) for key in kinds])
    seen = {
        key: reply.decode()
        for key, reply in zip(kinds, replies, strict=True)
        if isinstance(reply, bytes)
    }
    return {key: kind for key, kind in seen.items() if kind not in (kinds[key], "none")}


async def set_aside(store: Store, *, leading: bool) -> list[str]:
    """Move what is found out of the way; what was done, in words."""
    kinds, words = own_kinds(store.keys, leading=leading), []
    for key in await found(store, leading=leading):
        target = store.keys.junk(key)
        if moved := await store.run("set_aside", [key, target], [kinds[key]]):
            kind, where = (each.decode() for each in moved)
            words.append(
                f"{key!r} was a {kind} where resqpy keeps a {kinds[key]}: it was moved to {where!r}, "
                "and resqpy goes on without it; find out who wrote it"
            )
    return words


class Mending:
    """Moves junk out of a role's way, not more often than each second.

    Attributes:
        leading: also the keys of schedulers.
    """

    def __init__(self, store: Store, *, leading: bool) -> None:
        self._store = store
        self._looked_s = float("-inf")
        self.leading = leading

    async def __call__(self) -> list[str]:
        """What was done, in words."""
        now_s = SYSTEM_CLOCK.monotonic()
        if now_s - self._looked_s < _AT_MOST_EVERY_S:
            return []
        self._looked_s = now_s
        return await set_aside(self._store, leading=self.leading)
