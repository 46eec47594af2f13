"""The id of the record that a job has beside it, in its first argument under a reserved name.

Ruby's and Node's schedulers and retry buttons rebuild a job from class, queue and args alone, so
the id must stand in the args. It is stripped before lock keys, matching and validation. The record says where
such a job waits, when it runs and how often, so what moves, promotes, retries and rescues jobs leaves it to that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

TASK_ID = "_task_id"


def task_id_of(args: Sequence[Any]) -> str | None:
    """The id that a job's arguments carry; None: it has no record."""
    if not args or type(args[0]) is not dict:
        return None
    value = args[0].get(TASK_ID)
    return value if isinstance(value, str) and value else None


def has_record(args: Sequence[Any]) -> bool:
    """Whether a job with these arguments has a record beside it."""
    return task_id_of(args) is not None


def without_task_id(args: Sequence[Any]) -> list[Any]:
    """The arguments as the task itself knows them."""
    if not args or type(args[0]) is not dict or TASK_ID not in args[0]:
        return list(args)
    first = {name: value for name, value in args[0].items() if name != TASK_ID}
    return [first, *args[1:]]
