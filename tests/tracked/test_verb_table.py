"""Every verb in every status: what becomes of the task, or that it is refused and nothing written."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from resqpy.tracked import claiming, locks
from resqpy.tracked.creating import CreateOptions
from resqpy.tracked.errors import TaskStateError
from resqpy.tracked.handle import TrackedTask
from resqpy.tracked.record import RunEnd, RunEndKind, TaskError
from resqpy.tracked.transitions import apply
from resqpy.tracked.verbs import Tracked
from tests.support.redis_state import dump
from tests.tracked.support import known

VERBS = ("save", "cancel", "retry", "enable", "disable", "remove")
NO = "refused"
TABLE = {
    "scheduled": ("scheduled", "cancelled", "pending", "scheduled", "disabled", "gone"),
    "pending": ("pending", "cancelled", "pending", "pending", "disabled", "gone"),
    "running": ("running", NO, NO, "running", "disabling", "gone"),
    "disabling": ("disabling", NO, NO, "running", "disabling", "gone"),
    "disabled": ("disabled", "cancelled", NO, "pending", "disabled", "gone"),
    "completed": ("completed", NO, NO, "completed", "completed", "gone"),
    "failed": ("failed", NO, "pending", "failed", "failed", "gone"),
    "retried": ("retried", NO, NO, "retried", "retried", "gone"),
    "cancelled": ("cancelled", NO, NO, "cancelled", "cancelled", "gone"),
}
OPTIONS: dict[str, CreateOptions] = {
    "scheduled": {"delay": 600_000},
    "disabled": {"enabled": False},
    "retried": {"linked": True},
}
ENDS = {
    "completed": RunEndKind.COMPLETE,
    "failed": RunEndKind.FAIL,
    "retried": RunEndKind.RETRY,
}


async def in_status(tracked: Tracked, status: str) -> TrackedTask:
    """A task that has come to a status."""
    task = await tracked.create("mail", {"a": 1}, **OPTIONS.get(status, {}))
    if status == "cancelled":
        await task.cancel()
    if status in ("running", "disabling", *ENDS):
        claim = await locks.claim(tracked.store, task.id, "mail", "worker:1:q#1")
        assert claim.record is not None
        if status in ENDS:
            ending = RunEnd(ENDS[status], claim.now_us, error=TaskError("E", "m"), new_id="next")
            assert await claiming.step(tracked.store, apply(claim.record, ending))
    if status == "disabling":
        await task.disable()
    found = await known(tracked, task.id)
    assert found.status == status
    return found


async def carry_out(task: TrackedTask, verb: str) -> None:
    """Do it; a save saves something."""
    if verb == "save":
        task.payload["a"] = 2
    await getattr(task, verb)()


@pytest.mark.parametrize(
    ("status", "verb", "then"),
    [
        (status, verb, then)
        for status, row in TABLE.items()
        for verb, then in zip(VERBS, row, strict=True)
    ],
)
async def test_each_verb_in_each_status(
    tracked: Tracked, redis: Redis, status: str, verb: str, then: str
) -> None:
    """The table above, and the indexes agree with the records (the fixture looks)."""
    task = await in_status(tracked, status)
    before = await dump(redis)
    if then == NO:
        with pytest.raises(TaskStateError, match=f"is {status} and can't be .*ed; only one that"):
            await carry_out(task, verb)
        assert await dump(redis) == before
        return
    await carry_out(task, verb)
    after = await tracked.get(task.id)
    assert (after.status if after else "gone") == then
    if after is not None:
        assert after.payload == {"a": 2 if verb == "save" else 1}
        assert (task.status, task.record) == (after.status, after.record)
