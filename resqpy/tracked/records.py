"""Records of tracked tasks: read, and written in steps that fail if somebody else was faster."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping, Sequence
from enum import Enum
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

from resqpy.base import codec
from resqpy.base.codec import TASK_ID
from resqpy.base.keys import Keys, with_priority
from resqpy.base.when import ceil_second
from resqpy.engine.lifecycle import Command
from resqpy.store import delayed
from resqpy.store.connection.client import Arg, Store
from resqpy.store.queues import Guard, guard_words
from resqpy.tracked import record_fields
from resqpy.tracked.errors import MalformedTask
from resqpy.tracked.record import Record, RunEnd, TaskStatus, error_to_dict
from resqpy.tracked.transitions import Change

# The sorted sets that contain a tracked task: a function of its record. Pure.
#
# | sorted set | of | score |
# |---|---|---|
# | by:created, also by type, each tag, application, user | all tasks | created |
# | by:status:<status>, also by type | all tasks | created |
# | by:modified, also by type | all tasks | last changed |
# | by:completed, also by type | ended tasks | ended |
# | locks | running tasks | end of the lock |
# | scheduled | scheduled tasks | when due |
# | pending | pending tasks | since when due |
# | expiring | ended tasks that are not kept forever | end of the retention |

Entries = dict[str, int]


class _Names(NamedTuple):
    """The sets of all tasks and of those of one type."""

    created: tuple[str, str]
    modified: tuple[str, str]
    completed: tuple[str, str]
    status: dict[str, tuple[str, str]]


@lru_cache(maxsize=4096)
def _names(keys: Keys, kind: str) -> _Names:
    """They are the same for each run of a type, and making them costs more than a run should."""

    def both(order: str, *of: str) -> tuple[str, str]:
        return keys.tasks_by(order, *of), keys.tasks_by(order, *of, "type", kind)

    statuses = {status.value: both("status", status.value) for status in TaskStatus}
    return _Names(both("created"), both("modified"), both("completed"), statuses)


def status_sets(keys: Keys) -> dict[str, str]:
    """The set of all tasks with each status."""
    return {status.value: keys.tasks_by("status", status.value) for status in TaskStatus}


def entries(keys: Keys, record: Record) -> Entries:
    """Sorted sets by key, with the score."""
    names = _names(keys, record.type)
    created = record.created_us
    found = dict.fromkeys((*names.created, *names.status[record.status]), created)
    found.update(dict.fromkeys(names.modified, record.updated_us))
    if record.completed_us is not None:
        found.update(dict.fromkeys(names.completed, record.completed_us))
    for of in _filters(record):
        found[keys.tasks_by("created", *of)] = created
    found.update(_waiting(keys, record))
    return found


def _filters(record: Record) -> list[tuple[str, str]]:
    filters = [("tag", tag) for tag in record.tags]
    if record.application is not None:
        filters.append(("application", record.application))
    if record.user is not None:
        filters.append(("user", record.user))
    return filters


def _waiting(keys: Keys, record: Record) -> Entries:
    """The sets in which the leader finds what it has to handle."""
    found: Entries = {}
    if record.status is TaskStatus.SCHEDULED and record.next_run_ms is not None:
        found[keys.tasks_scheduled] = record.next_run_ms
    if record.status is TaskStatus.PENDING:
        found[keys.tasks_pending] = record.changed_ms
    if record.lock is not None:
        found[keys.task_locks] = record.lock.until_ms
    if record.retain_until_ms is not None:
        found[keys.tasks_expiring] = record.retain_until_ms
    return found


def moves(keys: Keys, before: Record, after: Record) -> list[tuple[str, int | str]]:
    """The sorted sets that a task leaves (an empty text) or in which its score changes, from one state to
    the next: the difference of their entries, at a fraction of the cost.
    """
    names = _names(keys, after.type)
    found: list[tuple[str, int | str]] = []
    if after.status is not before.status:
        found += [(key, "") for key in names.status[before.status]]
        found += [(key, after.created_us) for key in names.status[after.status]]
    if after.updated_us != before.updated_us:
        found += [(key, after.updated_us) for key in names.modified]
    if after.completed_us != before.completed_us:
        score = "" if after.completed_us is None else after.completed_us
        found += [(key, score) for key in names.completed]
    old, new = _waiting(keys, before), _waiting(keys, after)
    found += [(key, "") for key in old if key not in new]
    found += [(key, score) for key, score in new.items() if old.get(key) != score]
    return found


_log = logging.getLogger("resqpy.tracked")
_told: deque[str] = deque(maxlen=1000)  # ids of unreadable records that were reported

# -- read --


async def get_many(store: Store, ids: Sequence[str], *, shown: bool = False) -> list[Record | None]:
    """Records by id, in one round trip; None if missing, or if unreadable, which is reported.

    Args:
        shown: they are to be shown, so all of them must be readable.
    """
    replies = await store.pipeline([("HGETALL", store.keys.task(each)) for each in ids])
    return [
        _readable(task_id, flat, shown=shown) if flat else None
        for task_id, flat in zip(ids, replies, strict=True)
    ]


def _readable(task_id: str, flat: Sequence[bytes], *, shown: bool) -> Record | None:
    try:
        record = record_fields.from_flat(task_id, flat)
        if shown:
            record_fields.refuse_unshowable(record)
        return record
    except MalformedTask as error:
        if task_id not in _told:
            _told.append(task_id)
            _log.error("%s", error)
        return None


async def get(store: Store, task_id: str) -> Record | None:
    """One record.

    Raises:
        MalformedTask: it can't be read.
    """
    flat = await store.call("HGETALL", store.keys.task(task_id))
    return record_fields.from_flat(task_id, flat) if flat else None


async def get_now(store: Store, task_id: str) -> tuple[Record | None, int]:
    """One record, and Redis' time (microseconds). One round trip."""
    flat, time = await store.pipeline([("HGETALL", store.keys.task(task_id)), ("TIME",)])
    time_us = int(time[0]) * 1_000_000 + int(time[1])
    return (record_fields.from_flat(task_id, flat) if flat else None), time_us


async def ids_until(store: Store, key: str, until: int, most: int) -> list[str]:
    """Ids in one of the leader's sorted sets with a score up to a limit, lowest first."""
    found: list[bytes] = await store.call("ZRANGEBYSCORE", key, "-inf", until, "LIMIT", 0, most)
    return [each.decode() for each in found]


# -- write --


def same_version(store: Store, record: Record) -> Command:
    """The condition that nobody has changed a record."""
    return ("REQUIRE", store.keys.task(record.id), "v", record.version)


def same_lock(store: Store, record: Record) -> Command:
    """The condition that a record's lock is still the same."""
    token = "" if record.lock is None else record.lock.token
    return ("REQUIRE", store.keys.task(record.id), "lock", token)


def same_term(store: Store, record: Record) -> Command:
    """The condition that nobody has renewed a record's lock, which does not change the version."""
    until: Arg = "" if record.lock is None else record.lock.until_ms
    return ("REQUIRE", store.keys.task(record.id), "locked", until)


def hold(store: Store, record: Record, note: str | bytes) -> Command:
    """For the exchange, before a step: the condition that record and lock are unchanged; if only the lock
    is, a note is left in the record.
    """
    keys, lock = store.keys, record.lock
    token = "" if lock is None else lock.token
    return ("HOLD", keys.task(record.id), record.id, token, record.version, note, keys.task_locks)


async def write(store: Store, commands: Sequence[Command]) -> bool:
    """Execute commands in one step; False if a condition among them failed.

    Conditions come first. Some commands are not Redis commands: see `lua/task_write.lua`.
    """
    return await try_to_write(store, commands) is Written.DONE


class Written(Enum):
    """Result of a step."""

    FORBIDDEN = -1  # by a lock
    OTHERWISE = 0  # a condition failed
    DONE = 1
    ANOTHER_TIME = 2  # Redis' time differs from the expected one


def now_command(now_us: int) -> Command:
    """The condition that a step is executed about when it was decided, by Redis' clock."""
    return ("NOW", now_us // 1000, _ABOUT_MS)


_ABOUT_MS = 1000


async def try_to_write(
    store: Store, commands: Sequence[Command], *, durably: bool = False
) -> Written:
    """The same including locks: `guards_command`, after the conditions.

    Args:
        durably: wait for replicas, if configured for enqueues.
    """
    args: list[Arg] = [len(commands)]
    for command in commands:
        args.append(len(command))
        args += command
    run = store.run_durably if durably else store.run
    return Written(await run("task_write", [commands[0][1]], args))


def guards_command(guards: Sequence[Guard]) -> Command:
    """The command that takes locks: all, or none and nothing is written. They are noted in the record, and
    freed when the task is claimed, or ends without that.
    """
    return ("GUARDS", len(guards), *guard_words(guards))


def change_commands(
    store: Store, before: Record | None, after: Record | None, *, place: bool = True
) -> list[Command]:
    """The commands of a step from one state of a task to another; without conditions.

    Args:
        before: None: the task is created.
        after: None: it is removed.
        place: put its job where the new state requires it, and remove it from where the old one had it.
    """
    told = after
    if after is not None and after.retain_ms == 0 and after.status.final:
        after = None
    commands = _place_commands(store, before, after) if place else []
    if before is not None and before.lock is None and (told is None or told.status.final):
        commands.append(("FREE", store.keys.task(before.id)))  # of locks: it won't be claimed
    if after is None and before is not None:
        commands.append(("DEL", store.keys.task(before.id)))
    return [*commands, _step_command(store, before, after, event_of(before, told))]


def end_commands(store: Store, change: Change, *, place: bool = True) -> list[Command]:
    """The commands of a step, without conditions."""
    commands = change_commands(store, change.before, change.after, place=place)
    if change.created is not None:
        commands += change_commands(store, None, change.created)
    return commands


def guarded(
    store: Store, record: Record, ending: RunEnd, before: Sequence[Command], change: Change,
    *, place: bool = True,
) -> list[Command]:  # fmt: skip
    """An end for the exchange. It is written if the lock is still ours; if somebody else has changed the
    record (disabled it, saved its payload), the end is noted in it and applied by the next reader.

    Args:
        before: written if the lock is ours, whether the record has changed or not.
    """
    holds = hold(store, record, ending.note)
    step = end_commands(store, change, place=place)
    if before:
        return [same_lock(store, record), *before, holds, *step]
    return [holds, *step]


def note_commands(store: Store, task_id: str, ending: RunEnd) -> list[Command]:
    """The commands that note an end in a record, to be applied by the next reader; the lock counts as expired."""
    key = store.keys.task(task_id)
    return [
        ("HSET", key, "ending", ending.note, "locked", "0"),
        ("HINCRBY", key, "v", 1),
        ("ZADD", store.keys.task_locks, 0, task_id),
    ]


def _step_command(
    store: Store, before: Record | None, after: Record | None, event: bytes | None
) -> Command:
    """Everything except the job, as one command: see `lua/record_step.lua`."""
    known = after or before
    assert known is not None
    keys = store.keys
    sets = _moves(keys, before, after)
    fields, gone = _changed(before, after)
    return (
        "STEP", keys.task(known.id), known.id, keys.events, event or b"",
        len(sets), *chain.from_iterable(sets),
        len(fields), *chain.from_iterable(fields.items()),
        *gone,
    )  # fmt: skip


def _changed(before: Record | None, after: Record | None) -> tuple[Mapping[str, str], list[str]]:
    if after is None:
        return {}, []
    if before is None:
        return record_fields.to_fields(after), []
    return record_fields.changed(before, after)


def _moves(keys: Keys, before: Record | None, after: Record | None) -> Sequence[tuple[str, Arg]]:
    """Sorted sets and the task's new score in them; empty: it leaves them."""
    if before is not None and after is not None:
        return moves(keys, before, after)
    if after is not None:
        return [*entries(keys, after).items()]
    return [(key, "") for key in entries(keys, before)] if before is not None else []


# -- the job --


def job_of(record: Record) -> bytes:
    """The bytes of a task's job; they never change."""
    payload = record.payload if record.sent is None else record.sent
    between = "" if payload == "{}" else ","
    args = f'[{payload[:-1]}{between}"{TASK_ID}":{codec.json_text(record.id)}}}]'
    return codec.job_text(record.type, queue_of(record), args)


def queue_of(record: Record) -> str:
    """The queue in which a task's job waits."""
    return with_priority(record.queue, record.priority)


def _place_commands(store: Store, before: Record | None, after: Record | None) -> list[Command]:
    old, new = _place(before), _place(after)
    if old == new:
        return []
    commands: list[Command] = []
    if before is not None and old is not None:
        commands += _take_away(store, before, old)
    if after is not None and new is not None:
        commands += _put(store, after, new)
    return commands


def _place(record: Record | None) -> int | None:
    """Where a task's job belongs: 0: in its queue, else the second at which it is due."""
    if record is None or record.next_run_ms is None:
        return None
    if record.status is TaskStatus.PENDING:
        return 0
    return ceil_second(record.next_run_ms) if record.status is TaskStatus.SCHEDULED else None


def _put(store: Store, record: Record, place: int) -> list[Command]:
    job, queue = job_of(record), queue_of(record)
    if place:
        return [*delayed.add_commands(store, place, job)]
    return [("SADD", store.keys.queues, queue), ("RPUSH", store.keys.queue(queue), job)]


def place_by_start(store: Store, commands: Sequence[Command], record: Record) -> list[Command]:
    """The commands, changed so that a task that was already due is pushed before those due later."""
    key, job = store.keys.queue(queue_of(record)), job_of(record)
    prefix, due = store.keys.task(""), record.next_run_ms or 0
    return [
        ("PLACE", key, job, due, prefix) if command == ("RPUSH", key, job) else command
        for command in commands
    ]


def _take_away(store: Store, record: Record, place: int) -> list[Command]:
    job, keys = job_of(record), store.keys
    if not place:
        return [("LREM", keys.queue(queue_of(record)), 0, job)]
    return [
        ("LREM", keys.delayed(place), 0, job),
        ("SREM", keys.timestamps(job), keys.delayed_member(place)),
        ("LREM", keys.queue(queue_of(record)), 0, job),
    ]


def hasten_command(store: Store, record: Record) -> Command:
    """The command that moves a scheduled task's job to its queue early."""
    assert record.next_run_ms is not None
    keys, job, queue = store.keys, job_of(record), queue_of(record)
    second = ceil_second(record.next_run_ms)
    return (
        "HASTEN", keys.delayed(second), job, keys.timestamps(job), keys.delayed_member(second),
        keys.queues, queue, keys.queue(queue),
    )  # fmt: skip


def place_again(store: Store, record: Record, now_ms: int) -> list[Command]:
    """The commands that put a pending task's job into its queue, because it is missing."""
    if _place(record) != 0:
        return []
    looked: Command = ("ZADD", store.keys.tasks_pending, "XX", now_ms, record.id)
    return [*_put(store, record, 0), looked]


# -- events --


def event_of(before: Record | None, after: Record | None) -> bytes | None:
    """The event for a step, as published; None if the status is unchanged.

    The type is `task_` and the new status, or `task_created`, `task_removed`. `task_failed` has exactly the
    content of Extra Horizon's event.
    """
    known = after or before
    assert known is not None
    if after is None:
        return event_text(known, "task_removed")
    status = after.status
    if before is not None and before.status is status:
        return None
    if status is TaskStatus.FAILED and after.error is not None:
        error = error_to_dict(after.error)
        error.pop("backtrace", None)
        return event_text(known, "task_failed", b',"error":' + codec.encode_text(error))
    if before is not None:
        more = f',"status":"{status.value}","previousStatus":"{before.status.value}"'
    else:
        more = f',"status":"{status.value}"'
    new = before is None and not status.final
    return event_text(known, "task_created" if new else f"task_{status.value}", more.encode())


def event_text(record: Record, kind: str, more: bytes = b"") -> bytes:
    """An event, concatenated as text: encoding it costs more than a run of a task should."""
    return _EVENT % (kind.encode(), record.id.encode(), type_json(record.type), more)


_EVENT = b'{"type":"%s","content":{"id":"%s","functionName":%s%s}}'  # an id needs no escapes


@lru_cache(maxsize=4096)
def type_json(kind: str) -> bytes:
    """A type's name as JSON."""
    return codec.encode_text(kind)
