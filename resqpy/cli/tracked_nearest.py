"""What tracked tasks have instead, where none is what was looked for."""

from __future__ import annotations

from typing import Any, cast

from resqpy.base.imports import near_match
from resqpy.tracked.query import Conditions
from resqpy.tracked.record import TaskStatus
from resqpy.tracked.verbs import Tracked

_LOOKED_AT = 1000  # tasks, for their names
_NAMED = {"type": "type", "tags": "tag", "application": "application", "user": "user"}


async def nearest_task(tracked: Tracked, conditions: Conditions) -> str:
    """Which condition no task meets, with the nearest name; all of them together, or that there is no task."""
    if not await tracked.count():
        return ": there are no tracked tasks"
    if not conditions:
        return ""
    for name, words in _NAMED.items():
        for each in _values(conditions.get(name)):
            alone = cast("Conditions", {name: [each] if name == "tags" else each})
            if not await tracked.count(**alone):
                names = await _names(tracked, name)
                return f": none has the {words} {each!r}{near_match(each, names)}"
    return await _by_status(tracked, conditions)


async def nearest_id(tracked: Tracked, task_id: str) -> str:
    """`; did you mean …?` for the id of one of the first tasks."""
    return near_match(task_id, await _names(tracked, "id"), cutoff=0.8)


async def _by_status(tracked: Tracked, conditions: Conditions) -> str:
    """Whether it is the status alone that none has, and which they have."""
    others = cast("Conditions", {k: v for k, v in conditions.items() if k != "status"})
    if "status" not in conditions or not (there := await by_status(tracked, others)):
        return ": none meets these conditions" + (" together" if len(conditions) > 1 else "")
    statuses = " or ".join(_values(conditions["status"]))
    return f": none is {statuses}; {'others are' if others else 'there are'} {words_of(there)}"


async def by_status(tracked: Tracked, conditions: Conditions) -> dict[str, int]:
    """How many of the tasks that meet some conditions are at what."""
    said = _values(conditions.get("status"))
    found = {}
    for status in TaskStatus:
        if not said or status in said:
            narrowed: Conditions = {**conditions, "status": status}
            found[str(status)] = await tracked.count(**narrowed)
    return {status: number for status, number in found.items() if number}


def words_of(numbers: dict[str, int]) -> str:
    """`2 running, 1 completed`."""
    return ", ".join(f"{number:,} {status}" for status, number in numbers.items())


def _values(said: Any) -> list[Any]:
    if said is None:
        return []
    return [said] if isinstance(said, str) else list(said)


async def _names(tracked: Tracked, name: str) -> set[str]:
    page = await tracked.query(page_size=_LOOKED_AT)
    return {each for task in page.tasks for each in _values(getattr(task.record, name, None))}
