"""From the bytes that were taken to a run; what can't be read is a run that has failed already."""

from __future__ import annotations

from resqpy.base import codec, failed_entries
from resqpy.base.errors import PayloadError
from resqpy.base.model import Job, WorkerId
from resqpy.engine.definition import Definitions
from resqpy.engine.run import Run
from resqpy.store.client import Store
from resqpy.store.exchange import Taken


def run_of(
    taken: Taken, worker_id: WorkerId, store: Store, definitions: Definitions, max_payload: int
) -> Run:
    """The run of a taken job; `error` is a `PayloadError` where it can't be read."""
    problem: PayloadError | None = None
    try:
        job = _decode(taken, max_payload)
    except PayloadError as error:
        problem = error.with_traceback(None)  # what is wrong is in its words, not in our code
        job = Job("", [], taken.queue, taken.raw or b"")
    run = Run(job, definitions.of(job), worker_id, store)
    run.error = problem
    run.beginning = taken.beginning
    run.held, run.sha1, run.rescues = taken.held, taken.sha1, taken.rescues
    run.run_at = taken.run_at
    if taken.along is not None:
        run.lifecycle = definitions.lifecycle.begun(taken.along)
    return run


def _decode(taken: Taken, max_payload: int) -> Job:
    if taken.raw is None:
        raise PayloadError(
            f"the job has {taken.held} bytes; the most is {max_payload} (tasks.max_payload)"
        )
    job = codec.decode_job(taken.raw, taken.queue)
    if job.class_name == failed_entries.UNREADABLE:
        raise PayloadError("the job could not be read before, and a foreign client retried it")
    return job
