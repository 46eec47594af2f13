"""`resqpy task watch`: changes of tracked tasks, as they happen."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import click

from resqpy.base.clock import iso_utc
from resqpy.base.task_status import TaskStatus
from resqpy.cli import output
from resqpy.cli.exits import Exit
from resqpy.engine.tracked.task_events import ANY, TaskEvents
from resqpy.engine.tracked.tracked import Tracked

_ENDED = {f"task_{status}" for status in TaskStatus if status.final} | {"task_removed"}
_WELL = ("task_completed", "task_cancelled")


class Watch:
    """Prints what happens.

    Args:
        ids: only these tasks; none: all.
        until_ended: end when all of them have ended.
    """

    def __init__(
        self, tracked: Tracked, ids: Sequence[str], task_type: str | None, until_ended: bool
    ) -> None:
        self._tracked = tracked
        self._ids = set(ids)
        self._type = task_type
        self._left = set(ids) if until_ended else None
        self._over = asyncio.Event()
        self._well = True

    async def run(self) -> int:
        """Watch; the exit code."""
        async with TaskEvents(self._tracked.store) as events:
            events.on(ANY, self._happened)
            output.note("watching; Ctrl-C ends it")
            for task_id in self._ids:
                await self._show_now(task_id)
            if self._left != set():
                await self._over.wait()
        return Exit.OK if self._well else Exit.NO

    async def _show_now(self, task_id: str) -> None:
        """How a task is to begin with; it may have ended already."""
        task = await self._tracked.get(task_id)
        if task is None:
            raise output.fail(Exit.NOT_FOUND, f"there is no task {task_id!r}")
        content = {"id": task.id, "functionName": task.type, "status": task.status.value}
        self._happened(f"task_{task.status}", content)

    def _happened(self, kind: str, content: Any) -> None:
        if not isinstance(content, dict) or not self._wanted(content):
            return
        at = iso_utc(self._tracked.clock.now_us())
        if output.wants_json():
            click.echo(output.compact({"at": at, "type": kind, "content": content}))
        else:
            click.echo(_line(at, kind, content))
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
                self._over.set()


def _line(at: str, kind: str, content: dict[str, Any]) -> str:
    error = content.get("error")
    why = f"  {error.get('name')}: {error.get('message')}" if isinstance(error, dict) else ""
    words = (at[11:23], content.get("id"), content.get("functionName"), kind.removeprefix("task_"))
    return "  ".join(map(output.text, words)) + output.text(why).rstrip()
