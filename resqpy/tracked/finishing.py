"""What is written when one delivery of a tracked task ends."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence

from resqpy.base import codec
from resqpy.base.error_text import class_of, words_of
from resqpy.base.errors import InvalidJob
from resqpy.engine.outcome import Command
from resqpy.engine.traceback_text import lines_of
from resqpy.store.client import Store
from resqpy.tracked import records
from resqpy.tracked.ending import Ending
from resqpy.tracked.record import Record, TaskError
from resqpy.tracked.transitions import Change, apply

_log = logging.getLogger("resqpy.tracked")


def error_of(error: BaseException) -> TaskError:
    """What a record keeps of an error."""
    lines = tuple(map(codec.clean, lines_of(error)))
    return TaskError(class_of(error), codec.clean(words_of(error)), backtrace=lines)


def result_text(result: object, task: str) -> str | None:
    """JSON of what a run returned; None where it returned nothing, or what JSON can't say: its work is
    done, so it must not be tried again for that.
    """
    if result is None:
        return None
    try:
        return codec.encode_value(result, "result")
    except InvalidJob as error:
        _log.warning("%s was completed, but its result is not kept: %s", task, error)
        return None


def change_of(record: Record, ending: Ending) -> Change:
    """What an end makes of the task."""
    return apply(record, ending, random.random)


def end_commands(store: Store, change: Change, *, place: bool = True) -> list[Command]:
    """The commands of a step, without conditions."""
    commands: list[Command] = [
        *records.change_commands(store, change.before, change.after, place=place)
    ]
    if change.created is not None:
        commands += records.change_commands(store, None, change.created)
    return commands


def guarded(
    store: Store, record: Record, ending: Ending, before: Sequence[Command], change: Change,
    *, place: bool = True,
) -> list[Command]:  # fmt: skip
    """An end for the exchange. It holds if the lock is still ours; where somebody else changed the
    record since (disabled it, saved its payload), the end is noted in it, and applied by whoever
    reads the record next.

    Args:
        before: what is written if the lock is ours, changed record or not.
    """
    hold = records.hold(store, record, note_of(ending))
    step = end_commands(store, change, place=place)
    if before:
        return [records.same_lock(store, record), *before, hold, *step]
    return [hold, *step]


def note_of(ending: Ending) -> str | bytes:
    """An end as it is noted in a record."""
    if ending.bare:
        return _BARE % (ending.kind.value, ending.at_us)
    return codec.encode_text(ending.to_dict())


def note_commands(store: Store, task_id: str, ending: Ending) -> list[Command]:
    """What notes an end in a record, to be applied by whoever reads it; the lock counts as over."""
    key = store.keys.task(task_id)
    return [
        ("HSET", key, "ending", note_of(ending), "locked", "0"),
        ("HINCRBY", key, "v", 1),
        ("ZADD", store.keys.task_locks, 0, task_id),
    ]


_BARE = '{"kind":"%s","at":%d}'  # what most ends are; encoding it costs more than a run should
