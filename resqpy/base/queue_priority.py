"""Priorities as visible sub-queues: `default^5` runs before `default`, `default^-3` after it. Pure.

A Redis list has no priorities, but a worker takes its queues in order. Every Resque can see, work and count
such a queue; `^` has no special meaning in any list of queues.
"""

from __future__ import annotations

import re

from resqpy.base.errors import UsageError

HIGHEST = 9
_SUB_QUEUE = re.compile(r"(.+)\^(-?[1-9])", re.DOTALL)


def check_priority(value: object) -> int:
    """The priority, if it is in range.

    Raises:
        UsageError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > HIGHEST:
        raise UsageError(
            f"priority {value!r}: must be a whole number from -{HIGHEST} to {HIGHEST}; "
            "higher runs first, 0 is the default"
        )
    return value


def with_priority(queue: str, priority: int) -> str:
    """The queue in which jobs of this priority wait."""
    return f"{queue}^{priority}" if priority else queue


def split_priority(name: str) -> tuple[str, int]:
    """The queue and priority of the jobs in it: `("default", 5)` for `default^5`."""
    match = _SUB_QUEUE.fullmatch(name)
    return (match.group(1), int(match.group(2))) if match else (name, 0)


def family(queue: str) -> list[str]:
    """A queue with all its possible sub-queues, highest priority first; a sub-queue alone."""
    if split_priority(queue)[1]:
        return [queue]
    return [with_priority(queue, each) for each in range(HIGHEST, -HIGHEST - 1, -1)]
