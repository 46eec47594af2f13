"""A task run here and now, with its plugins: for tests and scripts, as node-resque has it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from resqpy.base import codec
from resqpy.base.errors import UnknownTask
from resqpy.base.imports import near_match
from resqpy.engine import identity
from resqpy.engine.execute import execute
from resqpy.engine.outcome import OutcomeKind
from resqpy.engine.run import Run
from resqpy.engine.threads import ThreadRunner
from resqpy.store import plugin_locks

if TYPE_CHECKING:
    from resqpy.engine.worker import BaseWorker


async def perform_inline(worker: BaseWorker, name: str, args: Sequence[Any]) -> Any:
    """Run a task with its plugins, and give back what it returns. Where a plugin forbids the run, that is
    None, and the event `skipped` tells of it.

    Raises:
        UnknownTask: no such task.
        Exception: whatever the task raised, also where a plugin would have it tried again.
    """
    definition = worker.definitions.get(name)
    if definition is None:
        hint = near_match(name, worker.definitions)
        raise UnknownTask(f'No job defined for class "{name}"{hint}')
    own_id = identity.worker_id(0, "inline", worker.queues.text)
    raw = codec.encode_job(name, "inline", list(args))
    job = codec.decode_job(raw, f"_direct-queue-{own_id.name}")
    run = Run(job, definition, own_id, worker.store)
    run.worker = worker
    threads = ThreadRunner(1)
    caller = asyncio.current_task()
    cancels = caller.cancelling() if caller else 0
    try:
        outcome = await execute(run, threads)
        await plugin_locks.settle(worker.store, run.effects)
    finally:
        threads.close()
    if caller and caller.cancelling() > cancels:  # not the task: who waits for it was to end
        raise asyncio.CancelledError
    error = outcome.error if outcome.error is not None else run.error
    if error is not None and outcome.kind in (OutcomeKind.FAILURE, OutcomeKind.RETRIED):
        raise error
    if not run.performed:
        worker.tell("skipped", None, run.queue, run.job)
    return outcome.result
