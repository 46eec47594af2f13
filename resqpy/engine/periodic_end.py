"""What the end of a run means for the chain of a periodic task: written in the step that ends the run.

A job that goes back to its queue, is tried again or waits for a lock is still the chain's one job.
"""

from __future__ import annotations

from resqpy.base import periodic
from resqpy.engine.outcome import Command, Kind, Outcome
from resqpy.engine.run import Run
from resqpy.store import periodic as store

_GOES_ON = (Kind.RETURNED, Kind.RETRIED, Kind.DELAYED)


def commands(run: Run, outcome: Outcome) -> list[Command]:
    """The command that makes the chain due again, if this is the job of one."""
    definition = run.definition
    if definition is None or definition.periodic is None or outcome.kind in _GOES_ON:
        return []
    at_ms, task = periodic.time_of(run.job), definition.periodic
    if at_ms is None or task.frequency_ms is None:
        return []
    ends = outcome.kind is Kind.FAILURE and not task.continue_on_failure
    return [
        store.again_command(run.store, run.class_name, at_ms, None if ends else task.frequency_ms)
    ]
