"""Values of the wrong type under keys that only resqpy uses, for example a list where we keep a hash.

They are moved to `resqpy:junk:<name>` and reported; never deleted.
"""

from __future__ import annotations

from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.keys import Keys
from resqpy.store.connection.client import Store

# The type of each resqpy-only key, to recognize wrong ones.
_WORKING = {
    "processes": "zset",
    "known_tasks": "hash",
    "gates": "hash",
    "lives": "hash",
    "rescuer": "string",
    "searched": "string",
    "at_most_once": "hash",
    "rescues": "hash",
    "running_limits": "hash",
    "limit_holds": "hash",
    "limit_foreign": "hash",
    "parked": "zset",
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
    "ages": "hash",
    "age_marks": "hash",
    "ruby_next": "hash",
    "ruby_paused": "set",
    "audit": "stream",
    "web_users": "hash",
    "web_tokens": "hash",
    "web_tokens_used": "hash",
    "web_runs": "list",
}
_ORDERS = ("created", "modified", "completed")
_STATUSES = (
    "scheduled", "pending", "running", "disabling", "disabled", "completed", "failed", "retried", "cancelled",
)  # fmt: skip


def own_kinds(keys: Keys, *, leading: bool) -> dict[str, str]:
    """The Redis type of each of our keys that exists once per installation.

    Args:
        leading: include those that only schedulers use.
    """
    names = {**_WORKING, **_LEADING} if leading else _WORKING
    kinds = {getattr(keys, name): kind for name, kind in names.items()}
    by = [keys.tasks_by(order) for order in _ORDERS]
    by += [keys.tasks_by("status", status) for status in _STATUSES]
    by += [keys.web_known(kind) for kind in ("session", "link")] if leading else []
    return {**kinds, **dict.fromkeys(by, "zset")}


_AT_MOST_EVERY_S = 1.0


async def found(store: Store, *, leading: bool) -> dict[str, str]:
    """Our keys that have the wrong type, and that type. One round trip.

    Keys that the user may not access are left out.
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
    """Move the wrong values away; returns a message for each."""
    kinds, words = own_kinds(store.keys, leading=leading), []
    for key in await found(store, leading=leading):
        target = store.keys.junk(key)
        if moved := await store.run("set_aside", [key, target], [kinds[key]]):
            kind, where = (each.decode() for each in moved)
            words.append(
                f"{key!r} was a {kind} where resqpy keeps a {kinds[key]}: it was moved to "
                f"{where!r}, and resqpy continues without it; find out who wrote it"
            )
    return words


class Mending:
    """Moves wrong values out of a role's way, at most once per second.

    Attributes:
        leading: include the keys of schedulers.
    """

    def __init__(self, store: Store, *, leading: bool) -> None:
        self._store = store
        self._looked_s = float("-inf")
        self.leading = leading

    async def __call__(self) -> list[str]:
        """Messages about what was done."""
        now_s = SYSTEM_CLOCK.monotonic()
        if now_s - self._looked_s < _AT_MOST_EVERY_S:
            return []
        self._looked_s = now_s
        return await set_aside(self._store, leading=self.leading)
