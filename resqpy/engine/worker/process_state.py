"""The state of a worker process other than normal operation: published with its heartbeat, so that others
see it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from resqpy.base.clock import SYSTEM_CLOCK, Clock

if TYPE_CHECKING:
    from resqpy.engine.worker.pool import Pool
    from resqpy.engine.worker.slots import Slot

WORKING = ""
PAUSED = "paused"  # until somebody resumes it
QUIET = "quiet"  # takes no more jobs, permanently
STOPPING = "stopping"
STUCK = "stuck"  # each slot has a job that should have ended, or the event loop is blocked

WORDS = {
    PAUSED: "paused; the signal CONT resumes it",
    QUIET: "quiet: it takes no more jobs; restart it",
    STOPPING: "stopping: it finishes its jobs",
    STUCK: "stuck: its jobs neither end nor can be cut off; look at its stacks (signal TTIN), then restart it",
}
_GRACE_S = 1.0  # granted to a job after its time limit, besides `cancel_timeout`


def state_of(pool: Pool, cancel_timeout_s: float, clock: Clock = SYSTEM_CLOCK) -> str:
    """The state of a process, from its pool; from any thread."""
    if pool.stopping:
        return STOPPING
    if is_stuck(pool, cancel_timeout_s, clock):
        return STUCK
    if pool.quiet:
        return QUIET if pool.for_good else PAUSED
    return WORKING


def is_stuck(pool: Pool, cancel_timeout_s: float, clock: Clock = SYSTEM_CLOCK) -> bool:
    """Whether no slot will ever take a job by itself."""
    slots, now_s = pool.slots.all, clock.monotonic()
    return bool(slots) and all(
        _overdue(slot, now_s - cancel_timeout_s - _GRACE_S) for slot in slots
    )


def _overdue(slot: Slot, since_s: float) -> bool:
    """Whether its job's time limit was over at a time, and the job is still there."""
    run = slot.run
    if run is None or run.ended or run.definition is None:
        return False
    limit_s = run.definition.time_limit_s
    return limit_s is not None and run.started + limit_s < since_s
