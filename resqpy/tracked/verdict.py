"""What to do with a job of a tracked task that could not be claimed. Pure."""

from __future__ import annotations

from enum import Enum

from resqpy.tracked.record import Record
from resqpy.tracked.status import TaskStatus

_ACTIVE = (TaskStatus.RUNNING, TaskStatus.DISABLING)
_WAITING = (TaskStatus.SCHEDULED, TaskStatus.PENDING)


class Verdict(Enum):
    """The ways."""

    DROP = "drop"  # it is another's, or nobody wants it any more
    EARLY = "early"  # its time has not come
    RECOVER = "recover"  # who ran it is gone: settle that, then claim again
    ENDED = "ended"  # its end has passed: it runs no more
    REVIVE = "revive"  # it failed; perhaps somebody retried its failed entry
    STRANGER = "stranger"  # the record is of another type


def verdict(record: Record, kind: str, now_ms: int) -> Verdict:
    """What a delivery means.

    | record | delivery |
    |---|---|
    | of another type | fails |
    | running, its lock valid | dropped |
    | running, its lock over or its end noted | recovered, then claimed |
    | waits, its end passed | it is over, and says why |
    | scheduled, not due | put off |
    | failed, and in the failed list when last seen | claimed, if it is there no more |
    | any other | dropped |
    """
    if record.type != kind:
        return Verdict.STRANGER
    if record.status in _ACTIVE:
        over = record.ending is not None or record.left_alone(now_ms)
        return Verdict.RECOVER if over else Verdict.DROP
    if record.status in _WAITING and record.past_end(now_ms):
        return Verdict.ENDED
    if record.status is TaskStatus.SCHEDULED:
        return Verdict.EARLY
    if record.status is TaskStatus.FAILED and record.entry:
        return Verdict.REVIVE
    return Verdict.DROP
