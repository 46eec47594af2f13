"""`resqpy task watch`: changes of tracked tasks, as they happen."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from resqpy.base.clock import iso_utc
from resqpy.cli.output import printing as output
from resqpy.cli.output.printing import Exit
from resqpy.tracked.events import ANY, CONNECTED, TaskEvents
from resqpy.tracked.handle import TrackedTask
from resqpy.tracked.record import TaskStatus
from resqpy.tracked.verbs import Tracked

REMOVED = "task_removed"
_ENDED = {f"task_{status}" for status in TaskStatus if status.final} | {REMOVED}
_WELL = ("task_completed", "task_cancelled")


class Watch:
    """Prints changes.

    Args:
        ids: only these tasks; none: all. After Redis was unreachable, they are read again.
        until_ended: return when all of them have ended.
    """

    def __init__(
        self, tracked: Tracked, ids: Sequence[str], task_type: str | None, until_ended: bool
    ) -> None:
        self._tracked = tracked
        self._ids = dict.fromkeys(ids)
        self._type = task_type
        self._left = set(ids) if until_ended else None
        self._again = asyncio.Event()  # a reason to check: all ended, or Redis is back
        self._well = True

    async def run(self) -> int:
        """Watch; returns the exit code."""
        async with TaskEvents(self._tracked.store) as events:
            events.on(ANY, self._happened)
            events.on(CONNECTED, self._again.set)
            output.note("watching; Ctrl-C stops")
            for task_id in self._ids:
                if not await self._show_now(task_id):
                    raise output.fail(Exit.NOT_FOUND, f"there is no task {task_id!r}")
            await self._until_ended()
        return Exit.OK if self._well else Exit.NO

    async def _until_ended(self) -> None:
        while self._left != set():
            await self._again.wait()
            self._again.clear()
            if self._left == set():
                return
            output.note("Redis was unreachable; changes in the meantime are not shown")
            for task_id in [*(self._left or ())]:
                if not await self._show_now(task_id):
                    self._ended(REMOVED, task_id)

    async def _show_now(self, task_id: str) -> bool:
        """Show a task's current status; it may have ended already. False: there is none."""
        task = await self._tracked.get(task_id)
        if task is not None:
            self._happened(f"task_{task.status}", _content(task))
        return task is not None

    def _happened(self, kind: str, content: Any) -> None:
        if not isinstance(content, dict) or not self._wanted(content):
            return
        at = iso_utc(self._tracked.clock.now_us())
        if output.wants_json():
            output.json({"at": at, "type": kind, "content": content})
        else:
            output.say(_line(at, kind, content))
        if kind in _ENDED:
            self._ended(kind, str(content.get("id")))

    def _wanted(self, content: dict[str, Any]) -> bool:
        right = not self._ids or content.get("id") in self._ids
        return right and self._type in {None, content.get("functionName")}

    def _ended(self, kind: str, task_id: str) -> None:
        self._well = self._well and kind in _WELL
        if self._left is not None:
            self._left.discard(task_id)
            if not self._left:
                self._again.set()


def _content(task: TrackedTask) -> dict[str, Any]:
    """The content of an event with a task's status."""
    content: dict[str, Any] = {"id": task.id, "functionName": task.type}
    if task.status is TaskStatus.FAILED and task.error is not None:
        error = task.error
        shown = {"type": error.type, "name": error.name, "message": error.message}
        return {**content, "error": shown}
    return {**content, "status": task.status.value}


def _line(at: str, kind: str, content: dict[str, Any]) -> str:
    error = content.get("error")
    why = f"  {error.get('name')}: {error.get('message')}" if isinstance(error, dict) else ""
    words = (at[11:23], content.get("id"), content.get("functionName"), kind.removeprefix("task_"))
    return "  ".join(map(output.text, words)) + output.text(why).rstrip()
