"""The entries of Ruby's schedules, read: what runs, when, and into which queue."""

from __future__ import annotations

from collections.abc import Callable

from resqpy.base import ruby_schedule
from resqpy.base.errors import UsageError
from resqpy.base.machine_zone import machine_zone
from resqpy.base.ruby_schedule import RubySchedule
from resqpy.engine.definition import Definitions
from resqpy.engine.read_once import ReadOnce
from resqpy.engine.scheduler_options import SchedulerOptions
from resqpy.store.ruby_schedule import SeenRuby


def queue_of(schedule: RubySchedule, definitions: Definitions) -> str:
    """Where the jobs of a schedule go.

    Raises:
        UsageError: it names no queue, and its class is no task of ours that has one.
    """
    definition = definitions.get(schedule.class_name)
    queue = schedule.queue or (definition.queue if definition is not None else None)
    if queue is None:
        raise UsageError(f"it names no queue, and {schedule.class_name!r} is no task of ours")
    return queue


class RubySchedules:
    """Reads the entries of all schedules, each text once.

    Args:
        definitions: have the queues of classes where an entry names none.
        options: have Ruby's time zone and environment.
        on_error: told once of each entry that can't be run.
    """

    def __init__(
        self,
        definitions: Definitions,
        options: SchedulerOptions,
        on_error: Callable[[Exception], None],
    ) -> None:
        self._definitions = definitions
        self._zone = options.ruby_timezone or machine_zone()
        self._environment = options.ruby_env
        self._on_error = on_error
        self._reader = ReadOnce(self.checked, self._left_out)

    def runnable(self, seen: SeenRuby) -> dict[str, RubySchedule]:
        """Those that can be run, and are meant to be in this environment."""
        found = self._reader.all(seen.entries)
        return {name: each for name, each in found.items() if each.runs_in(self._environment)}

    def queue_of(self, schedule: RubySchedule) -> str:
        """Where the jobs of one that was checked go."""
        return queue_of(schedule, self._definitions)

    def checked(self, name: str, raw: bytes) -> RubySchedule:
        """Read an entry, whatever its environment.

        Raises:
            UsageError: why it can't be run.
        """
        schedule = ruby_schedule.parse(name, raw, self._zone)
        self.queue_of(schedule)
        if schedule.other:
            words = ", ".join(schedule.other)
            self._on_error(UsageError(f"Ruby's schedule {name!r}: not followed here: {words}"))
        return schedule

    def _left_out(self, name: str, error: UsageError) -> None:
        self._on_error(UsageError(f"Ruby's schedule {name!r} is left out: {error}"))
