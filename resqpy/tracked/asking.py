"""The enqueue hooks and locks of a task's plugins and middleware, for a tracked task of it.

They are asked once, when it is created, also where it is to start later: from then on its record
promises that it runs, so neither promotion nor a retry nor a recurrence asks again. They see the
payload without the id, so two tasks with equal payloads are equal to them.
"""

from __future__ import annotations

from resqpy.base import codec
from resqpy.engine.definition import Definition
from resqpy.engine.plugin import Enqueuing
from resqpy.engine.queue import Queue
from resqpy.store.client import Store
from resqpy.tracked import records
from resqpy.tracked.errors import TaskRefused
from resqpy.tracked.record import Record


class Asking:
    """Asks for one task.

    Args:
        definition: the task; None: nobody is to be asked.
    """

    def __init__(self, store: Store, definition: Definition | None, record: Record) -> None:
        self._keys = store.keys
        self._hooks = () if definition is None else definition.enqueue_hooks
        waits = record.next_run_ms is not None
        self._locks = definition.guarding if definition is not None and waits else ()
        if self._hooks or self._locks:
            payload = codec.decode_text(record.payload)
            queue = records.queue_of(record)
            self._job = Enqueuing(record.type, queue, [payload], Queue(store))

    async def before(self) -> None:
        """Ask the hooks.

        Raises:
            TaskRefused: one forbids it. What a hook raises itself is raised.
        """
        for plugin in self._hooks:
            if await plugin.before_enqueue(self._job) is False:
                raise TaskRefused(f"task {self._job.class_name!r}: {plugin.name} forbids it")

    def commands(self) -> list[records.Command]:
        """Take the locks, in the step that writes the task."""
        guards = [each for plugin in self._locks for each in plugin.guards(self._keys, self._job)]
        return [records.guards_command(guards)] if guards else []

    def refusal(self) -> TaskRefused:
        """One of the locks forbids it."""
        names = " or ".join(plugin.name for plugin in self._locks)
        return TaskRefused(
            f"task {self._job.class_name!r}: {names} forbids it, because its equal waits already"
        )

    async def after(self) -> None:
        """Tell the hooks that it is created."""
        for plugin in self._hooks:
            await plugin.after_enqueue(self._job)
