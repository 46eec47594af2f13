"""The id of a tracked task, as it travels in a job's first argument under a reserved name.

Ruby's and Node's schedulers and retry buttons rebuild a job from class, queue and args alone, so
the id must stand in the args. It is stripped before lock keys, matching and validation.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from typing import Any

from resqpy.base.errors import UsageError

TASK_ID = "_task_id"

_SIGNS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_LENGTH = 16  # of 62 signs: 95 bits
_SHOWN = 210
_ALLOWED = re.compile(r"[\w.:@/+=~-]{1,200}", re.ASCII)


def new_task_id() -> str:
    """An id that nobody has."""
    return "".join(secrets.choice(_SIGNS) for _ in range(_LENGTH))


def check_task_id(value: object) -> str:
    """The id, if it can be one.

    Raises:
        UsageError: with what is allowed.
    """
    if isinstance(value, str) and _ALLOWED.fullmatch(value):
        return value
    raise UsageError(
        f"task id {repr(value)[:_SHOWN]}: 1 to 200 letters, digits and . _ : @ / + = ~ - are an id; "
        "leave it out to get one"
    )


def sought_task_id(value: object) -> str:
    """What may be looked for as an id; whether there is such a task is another question.

    Raises:
        UsageError: it is no text.
    """
    if isinstance(value, str) and value and value.isprintable():
        return value
    raise UsageError(f"task id {value!r}: the text that `create` gave is meant")


def task_id_of(args: Sequence[Any]) -> str | None:
    """The id that a job's arguments carry, if it is a tracked one."""
    if not args or type(args[0]) is not dict:
        return None
    value = args[0].get(TASK_ID)
    return value if isinstance(value, str) and value else None


def without_task_id(args: Sequence[Any]) -> list[Any]:
    """The arguments as the task itself knows them."""
    if not args or type(args[0]) is not dict or TASK_ID not in args[0]:
        return list(args)
    first = {name: value for name, value in args[0].items() if name != TASK_ID}
    return [first, *args[1:]]
