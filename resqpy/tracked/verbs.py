"""The verbs of tracked tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Unpack

from resqpy.base import codec
from resqpy.base.clock import SYSTEM_CLOCK, Clock
from resqpy.base.errors import UnknownTask, UsageError
from resqpy.base.imports import listed, near_match
from resqpy.base.shadowing import NotedJob, shadow_run
from resqpy.engine.definition import Definition
from resqpy.engine.lifecycle import Command
from resqpy.store.connection.client import RedisClock, Store
from resqpy.tracked import claiming, records, transitions
from resqpy.tracked.checks import TaskDefaults, defaults_of, preset, sought_task_id
from resqpy.tracked.creating import CreateOptions, EnqueueGuards, new_record
from resqpy.tracked.errors import (
    DuplicateTask,
    TaskChanged,
    TaskRefused,
    TaskStateError,
    UnknownTaskId,
)
from resqpy.tracked.events import Waiting
from resqpy.tracked.finding import TaskQueries
from resqpy.tracked.handle import Conditions, Selection, TrackedTask, make_query
from resqpy.tracked.processing import VerbInterceptor, intercepted
from resqpy.tracked.record import Patch, Record, TaskStatus
from resqpy.tracked.records import Written
from resqpy.tracked.transitions import Change

Parts = tuple[str, Mapping[str, Any] | None, CreateOptions]
NewTask = tuple[str, Mapping[str, Any] | None] | Parts

_AT_ONCE = 500  # tasks created concurrently
_WAITING = (TaskStatus.SCHEDULED, TaskStatus.PENDING)
CANCELLABLE = (*_WAITING, TaskStatus.DISABLED)
RETRIABLE = (*_WAITING, TaskStatus.FAILED)


class Tracked(TaskQueries):
    """Creates tracked tasks and manages them from outside their runs.

    Args:
        types: the known tasks, to reject others; None: any.
        queue_of: the queue of a task, if its creator names none.
        definition_of: a task's definition, whose plugins are called when one is created; None: unknown.
        defaults: a preset's name, or default options.

    Attributes:
        clock: an estimate of Redis' clock: if clocks disagreed about an expired lock, a task could run
            twice.
        interceptors: wrap each verb; see `intercepting`.
        waiting: waits for the end of tasks.
    """

    def __init__(
        self,
        store: Store,
        *,
        types: Callable[[], Sequence[str]] | None = None,
        queue_of: Callable[[str], str] = lambda _: "default",
        definition_of: Callable[[str], Definition | None] = lambda _: None,
        defaults: str | TaskDefaults = "irontask",
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.store = store
        self.clock: RedisClock = RedisClock(clock)
        self.interceptors: list[VerbInterceptor] = []
        self.waiting: Waiting = Waiting(store)
        self.defaults: TaskDefaults = preset(defaults) if isinstance(defaults, str) else defaults
        self._types = types
        self._queue_of = queue_of
        self._definition_of = definition_of
        self._last_us = 0

    def _now_us(self) -> int:
        """Now, but later than every earlier call, so that no two of our tasks have the same time."""
        self._last_us = max(self.clock.now_us(), self._last_us + 1)
        return self._last_us

    def _task(self, record: Record) -> TrackedTask:
        return TrackedTask(record, self)

    # -- create, get --

    @intercepted("create", "task_type", "payload")
    async def create(
        self,
        task_type: str,
        payload: Mapping[str, Any] | None = None,
        **options: Unpack[CreateOptions],
    ) -> TrackedTask:
        """Create a task, and the job that runs it. One round trip (two for the first in a minute).

        Args:
            task_type: the name of a task.
            payload: a JSON object.
            options: see `CreateOptions`.

        Raises:
            DuplicateTask: there is one with this id.
            TaskRefused: a plugin or a middleware of the task forbids it; see `EnqueueGuards`.
            UnknownTask, UsageError: what is wrong; nothing was written.
        """
        await self._hear_time()
        definition, record = self._new(task_type, payload, options)
        if (shadow := shadow_run()) is not None:
            shadow.note(NotedJob(record.type, record.queue, [codec.decode_text(record.payload)]))
            return self._task(record)
        guards = EnqueueGuards(self.store, definition, record)
        await guards.before()
        record = guards.record(record)
        written = await self._write_new(record, guards, records.now_command(record.created_us))
        if written is Written.ANOTHER_TIME:  # a clock jumped, we were suspended, or a hook was slow
            await self._hear_time(again=True)
            options["id"] = record.id
            record = guards.record(self._new(task_type, payload, options)[1])
            written = await self._write_new(record, guards)
        if written is Written.FORBIDDEN:
            raise guards.refusal()
        if written is Written.OTHERWISE:
            raise DuplicateTask(
                f"a task {record.id!r} exists already; use another id, or remove it first"
            )
        await guards.after()
        return self._task(record)

    async def _write_new(self, record: Record, guards: EnqueueGuards, *more: Command) -> Written:
        commands = [
            ("REQUIRE", self.store.keys.task(record.id), "v", ""),
            *more,
            *guards.commands(),
            *claiming.placed(self.store, Change(None, record)),
        ]
        return await records.try_to_write(self.store, commands, durably=True)

    async def create_many(self, tasks: Iterable[NewTask]) -> list[TrackedTask | None]:
        """Create many tasks, `(task_type, payload)` or `(task_type, payload, options)` each, a few hundred
        concurrently. All are checked before the first is written.

        Returns:
            For each the task; None if one with this id exists, or a plugin or a middleware forbids it. So
                repeating the call with the same ids creates only what is missing.

        Raises:
            UnknownTask, UsageError: which of them is wrong, and how; nothing was written.
        """
        wanted = [_parts(each) for each in tasks]
        await self._hear_time()
        for number, each in enumerate(wanted):
            try:
                self._new(*each)
            except UsageError as error:
                place = f"task {number} (of 0 to {len(wanted) - 1})"
                error.args = (f"{place}: {error}; nothing was created",)
                raise
        made: list[TrackedTask | None] = []
        for start in range(0, len(wanted), _AT_ONCE):
            part = wanted[start : start + _AT_ONCE]
            done = await asyncio.gather(
                *(_tried(self, each) for each in part), return_exceptions=True
            )
            for task in done:
                if isinstance(task, BaseException):
                    raise task
                made.append(task)
        return made

    def _new(
        self, kind: str, payload: Mapping[str, Any] | None, options: CreateOptions
    ) -> tuple[Definition | None, Record]:
        """The record of a new task, and what is known of its type.

        Raises:
            UnknownTask, UsageError: what is wrong.
        """
        payload = self._checked(kind, payload)
        queue = options.get("queue") or self._queue_of(kind)
        definition = self._definition_of(kind)
        defaults = defaults_of(definition, self.defaults)
        return definition, new_record(kind, payload, options, defaults, queue, self._now_us())

    def _checked(self, kind: str, payload: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        """The payload in JSON; a type or payload that is known to be invalid is rejected."""
        known = None if self._types is None else self._types()
        if known is not None and kind not in known:
            raise UnknownTask(
                f"no task named {kind!r} is defined{near_match(kind, known)} (tasks: {listed(known)}); define it "
                "or register a handler for it"
            )
        return payload

    @intercepted("get", "task_id")
    async def get(self, task_id: str) -> TrackedTask | None:
        """A task; None if there is none (any more). One round trip."""
        record = await self._read(task_id)
        return None if record is None else self._task(record)

    @intercepted("get", "task_id")
    async def fetch(self, task_id: str) -> TrackedTask:
        """A task.

        Raises:
            UnknownTaskId: there is none.
        """
        return self._task(await self._known(task_id))

    async def _read(self, task_id: str) -> Record | None:
        task_id = sought_task_id(task_id)
        while True:
            asked_s = self.clock.monotonic()
            record, time_us = await records.get_now(self.store, task_id)
            self.clock.note_between(time_us, asked_s)
            if record is None or not record.ending:
                return record
            await claiming.recover(self.store, record, self._now_us())

    async def _known(self, task_id: str) -> Record:
        record = await self._read(task_id)
        if record is None:
            raise UnknownTaskId(f"there is no task {task_id!r}: it was removed, or never created")
        return record

    # -- change --

    @intercepted("save", "task_id", "patch")
    async def save_patch(self, task_id: str, patch: Patch, *, version: int | None = None) -> Record:
        """Change a payload; changes by others to other parts are kept.

        Args:
            version: change it only if it has this one; None: whatever version it has.

        Raises:
            TaskChanged: it has another version.
            UnknownTaskId: there is none.
        """

        def step(record: Record, now_us: int) -> Change:
            if version is not None and version != record.version:
                raise TaskChanged(
                    f"task {task_id!r} has the version {record.version}, not {version}: read it again"
                )
            return transitions.saved(record, patch, now_us)

        return await self._step(task_id, step)

    @intercepted("cancel", "task_id")
    async def cancel(self, task_id: str) -> Record:
        """Cancel a task that has not started.

        Raises:
            TaskStateError: it is running, or has ended.
            UnknownTaskId: there is none.
        """
        return await self._step(task_id, transitions.cancelled, "cancelled", CANCELLABLE)

    @intercepted("retry", "task_id")
    async def retry(self, task_id: str) -> Record:
        """Run a task now: one that waits for its time or its next attempt, or one that failed, which leaves
        the failed list.

        Raises:
            TaskStateError: it is running, completed, cancelled or disabled, or its end has passed.
            UnknownTaskId: there is none.
        """

        def again(record: Record, now_us: int) -> Change:
            if record.past_end(now_us // 1000):
                raise TaskStateError(f"task {task_id!r} can't be retried: its end has passed")
            if record.status_at(now_us // 1000) is TaskStatus.FAILED:
                return transitions.revived(record, now_us)
            return transitions.hurried(record, now_us)

        return await self._step(task_id, again, "retried", RETRIABLE, forget=True)

    @intercepted("enable", "task_id")
    async def enable(self, task_id: str, *, recompute_next_run: bool = False) -> Record:
        """Allow a disabled task to run again.

        Args:
            recompute_next_run: a recurring task runs at the next time of its interval, not at one that has
                passed.
        """

        def step(record: Record, now_us: int) -> Change:
            if record.enabled and not recompute_next_run:
                return Change(record, record)
            return transitions.enabled(record, now_us, recompute=recompute_next_run)

        return await self._step(task_id, step)

    @intercepted("disable", "task_id")
    async def disable(self, task_id: str) -> Record:
        """Disable a task; a current run is notified and may release it."""

        def step(record: Record, now_us: int) -> Change:
            return (
                transitions.disabled(record, now_us) if record.enabled else Change(record, record)
            )

        return await self._step(task_id, step)

    @intercepted("remove", "task_id")
    async def remove(self, task_id: str) -> bool:
        """Remove a task in any status; False if there is none.

        A current run can write nothing any more.
        """
        task_id = sought_task_id(task_id)
        while (record := await records.get(self.store, task_id)) is not None:
            if await claiming.step(self.store, Change(record, None)):
                return True
        return False

    def all(self, **conditions: Unpack[Conditions]) -> Selection:
        """All tasks that match the conditions, to apply a verb to each.

        Raises:
            UsageError: a condition is invalid.
        """
        make_query(conditions)
        return Selection(self, conditions)

    async def _step(
        self,
        task_id: str,
        step: Callable[[Record, int], Change],
        done: str = "",
        allowed: Sequence[TaskStatus] = (),
        *,
        forget: bool = False,
    ) -> Record:
        """Execute a step based on the task's current state.

        Args:
            done: what the step would have done, for the error message.
            allowed: the statuses in which it is allowed; none: any.
            forget: a failed task leaves the failed list.
        """
        while True:
            record = await self._known(task_id)
            now_us = self._now_us()
            if record.left_alone(now_us // 1000):  # that is an attempt, whatever follows
                await claiming.recover(self.store, record, now_us)
                continue
            status = record.status_at(now_us // 1000)
            if allowed and status not in allowed:
                raise TaskStateError(_refusal(task_id, status, done, allowed))
            change = step(record, now_us)
            assert change.after is not None
            in_failed = forget and status is TaskStatus.FAILED and record.entry
            more = await claiming.forgotten(self.store, record) if in_failed else ()
            if change.after is record or await claiming.step(self.store, change, more=more):
                return change.after


async def _tried(tracked: Tracked, parts: Parts) -> TrackedTask | None:
    kind, payload, options = parts
    try:
        return await tracked.create(kind, payload, **options)
    except (DuplicateTask, TaskRefused):
        return None


def _parts(task: Any) -> Parts:
    if not isinstance(task, tuple | list) or len(task) not in (2, 3):
        raise UsageError(
            f"{task!r} is neither (task_type, payload) nor (task_type, payload, options)"
        )
    kind, payload, *options = task
    return kind, payload, options[0] if options else {}


def _refusal(task_id: str, status: TaskStatus, done: str, allowed: Sequence[TaskStatus]) -> str:
    words = ", ".join(allowed)
    return f"task {task_id!r} is {status} and can't be {done}; only one that is {words} can"
