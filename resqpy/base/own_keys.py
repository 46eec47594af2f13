"""What stands under the keys that only resqpy knows: their kinds, by which junk there is known."""

from __future__ import annotations

from resqpy.base.keys import Keys

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
