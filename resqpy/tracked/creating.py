"""From a user's options to the record of a new task, rejecting everything invalid; and its enqueue hooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, TypedDict

from resqpy.base import codec
from resqpy.base.errors import UnknownOption, UsageError
from resqpy.base.imports import near_match
from resqpy.base.keys import check_priority, check_queue_name, with_priority
from resqpy.base.when import Backoff, Duration, Moment, delay_ms, duration_ms, moment_ms
from resqpy.engine.definition import Definition
from resqpy.engine.lifecycle import Command
from resqpy.engine.plugin import Enqueuing
from resqpy.engine.queue.queue import JobHooks, Queue
from resqpy.store.connection.client import Store
from resqpy.tracked import records
from resqpy.tracked.checks import (
    TaskDefaults,
    check_tags,
    check_task_id,
    new_task_id,
    payload_text,
    word_or_none,
)
from resqpy.tracked.errors import TaskRefused
from resqpy.tracked.record import Record, Retries, TaskStatus, but
from resqpy.tracked.transitions import cron_after, first_run, or_why_not, settled

FOREVER = -1


class CreateOptions(TypedDict, total=False):
    """Options of a new task; all fields are optional.

    Attributes:
        id: unique; generated if not given.
        queue: where its job waits; default: the task's own queue.
        priority: -9 to 9; higher runs first.
        tags: words by which it can be found.
        enabled: False: it waits until `enable`.
        interval: milliseconds, a timedelta, or a cron expression: it runs repeatedly.
        timezone: of the cron expression; UTC if not given.
        start: the first run: milliseconds since the epoch or an aware datetime.
        delay: the same relative to now: milliseconds or a timedelta.
        end: no run starts after that. Default: by the `expires` or `deadline` of the task, from its start, if it
            does not recur.
        retries: how many times a failed run is retried; None: unlimited.
        backoff: how long to wait before each: a `Backoff`, or milliseconds or a timedelta for a constant
            wait.
        linked: each attempt is a new task, linked to the previous one.
        at_most_once: a run that has started is never repeated.
        retain_for: how long the record is kept after the end: milliseconds or a timedelta; 0: not at all;
            None or -1: forever.
        lock_duration: how long a lock lasts until it is renewed or lost.
        longest_execution: time limit of one delivery; 0: no limit.
        application, user: who creates it.
    """

    id: str
    queue: str
    priority: int
    tags: Sequence[str]
    enabled: bool
    interval: Duration | str | None
    timezone: str | None
    start: Moment | None
    delay: Duration | None
    end: Moment | None
    retries: int | None
    backoff: Backoff | Duration
    linked: bool
    at_most_once: bool
    retain_for: Duration | None
    lock_duration: Duration
    longest_execution: Duration
    application: str | None
    user: str | None


_NAMES = frozenset(CreateOptions.__annotations__)
# Names in other libraries, in lower case without `_`.
_OTHER_NAMES = {
    "retrycount": "retries", "maxretries": "retries", "retrylimit": "retries", "attempts": "retries",
    "maxattempts": "retries", "retry": "retries", "retryinterval": "backoff", "retrydelay": "backoff",
    "retrybackoff": "backoff", "ttl": "retain_for", "ttlms": "retain_for", "expireafter": "retain_for",
    "retention": "retain_for", "removeoncomplete": "retain_for", "keepresult": "retain_for",
    "scheduledtime": "start", "starttimestamp": "start", "startafter": "start", "runat": "start",
    "eta": "start", "at": "start", "when": "start", "countdown": "delay", "lastruntime": "end",
    "until": "end", "expires": "end", "maxexecutiontimems": "longest_execution", "repeat": "interval",
    "maxexecutiontime": "longest_execution", "timeout": "longest_execution", "cron": "interval",
    "timelimit": "longest_execution", "lockdurationms": "lock_duration", "every": "interval",
    "createdbyapplicationid": "application", "createdbyuserid": "user", "taskid": "id", "jobid": "id",
}  # fmt: skip
_SHORTEST_LOCK_MS = 100


def new_record(
    kind: str,
    payload: Mapping[str, Any] | None,
    options: CreateOptions,
    defaults: TaskDefaults,
    queue: str,
    now_us: int,
) -> Record:
    """The record of a new task.

    Raises:
        UsageError: what is wrong, and what to do.
    """
    if wrong := sorted(set(options) - _NAMES):
        raise UnknownOption(f"unknown option {wrong[0]!r}{_meant(wrong[0])}")
    interval, timezone = _interval(options, now_us // 1000)
    queue = check_queue_name(options.get("queue", queue))
    priority = check_priority(options.get("priority", defaults.priority))
    check_queue_name(with_priority(queue, priority))
    record = Record(
        id=check_task_id(options["id"]) if "id" in options else new_task_id(),
        type=_kind(kind),
        queue=queue,
        priority=priority,
        payload=payload_text({} if payload is None else payload),
        version=0,
        tags=check_tags(options.get("tags", ())),
        enabled=_flag("enabled", options.get("enabled", True)),
        interval=interval,
        timezone=timezone,
        retries=_retries(options, defaults.retries),
        retain_ms=_retain_ms(options, defaults),
        lock_ms=_lock_ms(options, defaults),
        longest_ms=_longest_ms(options, defaults),
        application=word_or_none("application", options.get("application")),
        user=word_or_none("user", options.get("user")),
        created_us=now_us,
    )
    return _started(_timed(record, options, defaults.ends_after_ms, now_us // 1000), now_us)


def _meant(name: str) -> str:
    """The option that was probably meant, or all options."""
    if other := _OTHER_NAMES.get(name.replace("_", "").lower()):
        return f"; here it is {other!r}"
    return near_match(name, _NAMES) or f" (options: {', '.join(sorted(_NAMES))})"


def _kind(kind: object) -> str:
    if not isinstance(kind, str) or not kind.strip():
        raise UsageError(f"task type {kind!r}: expected the name of a task")
    return kind


def _flag(which: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise UsageError(f"{which}: {value!r} must be True or False")
    return value


def _interval(options: CreateOptions, now_ms: int) -> tuple[int | str | None, str | None]:
    interval, timezone = options.get("interval"), options.get("timezone")
    if timezone is not None and not isinstance(timezone, str):
        raise UsageError(f"timezone: {timezone!r} is not a name; pass one such as 'Europe/Berlin'")
    if isinstance(interval, str):
        if cron_after(interval, timezone, now_ms) is None:
            raise UsageError(f"interval {interval!r} never fires")
        return interval, timezone
    if timezone is not None:
        raise UsageError(f"timezone {timezone!r}: only valid with a cron expression as interval")
    if interval is None:
        return None, None
    if (ms := duration_ms(interval, "interval")) < 1:
        raise UsageError(f"interval {interval!r}: must be at least a millisecond")
    return ms, None


def _retries(options: CreateOptions, defaults: Retries) -> Retries:
    most = _times(options.get("retries", defaults.most))
    backoff = options.get("backoff", defaults.backoff)
    if not isinstance(backoff, Backoff):
        backoff = Backoff.fixed(duration_ms(backoff, "backoff"))
    once = _flag("at_most_once", options.get("at_most_once", defaults.at_most_once))
    if once and options.get("retries"):
        raise UsageError("at_most_once: a run is never repeated, so it can't have retries")
    linked = _flag("linked", options.get("linked", defaults.linked))
    said = tuple(each for each in ("retries", "backoff") if each in options)
    return Retries(0 if once else most, backoff, linked, once, said)


def _times(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise UsageError(f"retries {value!r}: expected a number, or None for unlimited")
    return value


def _retain_ms(options: CreateOptions, defaults: TaskDefaults) -> int | None:
    if "retain_for" not in options:
        return defaults.retain_ms
    value = options["retain_for"]
    if value is None or (not isinstance(value, timedelta) and value == FOREVER):
        return None
    return duration_ms(value, "retain_for")


def _lock_ms(options: CreateOptions, defaults: TaskDefaults) -> int:
    ms = duration_ms(options.get("lock_duration", defaults.lock_ms), "lock_duration")
    if ms < _SHORTEST_LOCK_MS:
        raise UsageError(
            f"lock_duration {ms} ms: must be at least {_SHORTEST_LOCK_MS} ms, to be renewed in time"
        )
    return ms


def _longest_ms(options: CreateOptions, defaults: TaskDefaults) -> int | None:
    if "longest_execution" not in options:
        return defaults.longest_ms
    return duration_ms(options["longest_execution"], "longest_execution") or None


def _timed(
    record: Record, options: CreateOptions, ends_after_ms: int | None, now_ms: int
) -> Record:
    start, delay, end = options.get("start"), options.get("delay"), options.get("end")
    if start is not None and delay is not None:
        raise UsageError("start and delay can't be combined")
    start_ms = None if start is None else moment_ms(start, "start")
    if delay is not None:
        start_ms = now_ms + delay_ms(delay, "delay")
    end_ms = None if end is None else moment_ms(end, "end")
    if "end" not in options and ends_after_ms is not None and record.interval is None:
        end_ms = (now_ms if start_ms is None else start_ms) + ends_after_ms
    next_run_ms = first_run(
        record.interval, record.timezone, now_ms, start_ms=start_ms, end_ms=end_ms
    )
    return or_why_not(but(record, start_ms=start_ms, end_ms=end_ms, next_run_ms=next_run_ms))


def _started(record: Record, now_us: int) -> Record:
    """Set the initial status; one that will never run has failed, as in irontask."""
    made = but(settled(record, record, now_us), changed_ms=now_us // 1000)
    if made.status is not TaskStatus.FAILED:
        return made
    retain_until_ms = None if made.retain_ms is None else now_us // 1000 + made.retain_ms
    return but(made, completed_us=now_us, retain_until_ms=retain_until_ms)


class EnqueueGuards:
    """The enqueue hooks and locks of a task's plugins and middleware, applied to a tracked task.

    They are applied once, at creation, even if the task starts later: from then on its record guarantees
    that it runs, so promotions, retries and recurrences don't apply them again. They see the payload
    without the id, so two tasks with equal payloads are equal to them; and hooks may change it.

    Args:
        definition: the task; None: there are no hooks.
    """

    def __init__(self, store: Store, definition: Definition | None, record: Record) -> None:
        self._keys = store.keys
        self._payload = record.payload
        waits = record.next_run_ms is not None
        self._locks = definition.guarding if definition is not None and waits else ()
        self._hooks: JobHooks | None = None
        if definition is not None and definition.enqueue_hooks:
            self._hooks = JobHooks({record.type: definition})
        if self._hooks or self._locks:
            payload = codec.decode_text(record.payload)
            queue = records.queue_of(record)
            self._job = Enqueuing(record.type, queue, [payload], Queue(store))

    async def before(self) -> None:
        """Call the hooks.

        Raises:
            TaskRefused: one forbids it. Errors of hooks are raised unchanged.
            InvalidJob, InvalidInputs: a hook changed the payload to something that can't be encoded.
        """
        if self._hooks is None:
            return
        name = self._job.class_name
        if (plugin := await self._hooks.before(self._job)) is not None:
            raise TaskRefused(f"task {name!r}: {plugin.name} forbids it")
        args = self._job.args
        try:
            self._payload = payload_text(args[0] if len(args) == 1 else args)
        except UsageError as error:
            raise type(error)(f"the enqueue hooks of task {name!r} broke its {error}") from error

    def record(self, asked: Record) -> Record:
        """The new task with the payload as changed by the hooks."""
        return asked if self._hooks is None else but(asked, payload=self._payload)

    def commands(self) -> list[Command]:
        """Take the locks, in the step that writes the task."""
        guards = [each for plugin in self._locks for each in plugin.guards(self._keys, self._job)]
        return [records.guards_command(guards)] if guards else []

    def refusal(self) -> TaskRefused:
        """The error for a lock that forbids it."""
        names = " or ".join(plugin.name for plugin in self._locks)
        return TaskRefused(
            f"task {self._job.class_name!r}: {names} forbids it, because an equal one already waits"
        )

    async def after(self) -> None:
        """Call the hooks after it was created."""
        if self._hooks is not None:
            await self._hooks.after(self._job)
