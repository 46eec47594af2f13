"""The verbs for Ruby's schedules: list, write, remove, pause, trigger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from resqpy.base import codec, ruby_schedule
from resqpy.base.errors import UsageError
from resqpy.base.imports import near_match
from resqpy.base.ruby_schedule import InvalidSchedule, RubySchedule
from resqpy.engine.queue.queue import Queue
from resqpy.engine.scheduler.schedule_chores import task_queues
from resqpy.schedules.ruby import queue_of
from resqpy.store import queues, ruby_schedule as store
from resqpy.store.queues import Push


class RubyScheduleVerbs:
    """resque-scheduler's `set_schedule` and others, for schedules shared with Ruby's clients.

    Args:
        queue: a `Queue`; provides the queue of a task where a schedule names none.
    """

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._store = queue.store

    async def schedules(self) -> dict[str, Any]:
        """All schedules, as written; None if unreadable."""
        seen = await store.look(self._store)
        return {name: codec.decode_lenient(raw) for name, raw in seen.entries.items()}

    async def set_schedule(self, name: str, config: Mapping[str, Any]) -> None:
        """Write a schedule, as Ruby's `set_schedule` with `persist: true` does.

        Args:
            config: `cron` or `every`, `class` (default: the name), `queue`, `args`, `description`,
                `rails_env` and any other keys, which are kept.

        Raises:
            InvalidSchedule: it would crash Ruby's schedulers; nothing was written.
        """
        if not name or not isinstance(name, str):
            raise InvalidSchedule(f"the name of a schedule must be text, got {name!r}")
        await store.put(self._store, name, ruby_schedule.encode(name, config))

    async def remove_schedule(self, name: str) -> bool:
        """Remove a schedule; False if there is none of that name."""
        return await store.remove(self._store, name)

    async def pause(self, name: str) -> bool:
        """Pause a schedule while one of our schedulers runs it; Ruby's ignore that."""
        await self._schedule(name)
        return await store.pause(self._store, name, paused=True)

    async def resume(self, name: str) -> bool:
        """Resume a paused schedule; False if it was not paused."""
        return await store.pause(self._store, name, paused=False)

    async def trigger(self, name: str) -> bool:
        """Enqueue the job of a schedule now; False if a plugin of ours forbids it."""
        schedule = await self._schedule(name)
        try:
            queue = queue_of(schedule, task_queues(self._queue))
        except UsageError as error:
            raise UsageError(f"schedule {name!r}: {error}") from error
        guards = self._queue.guards(queue, schedule.class_name, schedule.arguments)
        return (await queues.push(self._store, [Push(queue, schedule.job, guards)]))[0] is None

    async def _schedule(self, name: str) -> RubySchedule:
        entries = (await store.look(self._store)).entries
        if name not in entries:
            raise UsageError(
                f"there is no schedule {name!r}{near_match(name, entries)} "
                f"(schedules: {', '.join(sorted(entries)) or 'none'})"
            )
        return ruby_schedule.parse(name, entries[name])
