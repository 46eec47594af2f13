"""What to do with a due item: pure rules, no Redis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from resqpy.base import codec, failed_entries, reading
from resqpy.base.clock import failed_at_utc
from resqpy.base.codec import has_record
from resqpy.base.error_text import class_of, message_of
from resqpy.base.errors import PayloadError
from resqpy.base.model import Job
from resqpy.engine.definition import Definition
from resqpy.engine.plugin import Enqueuing
from resqpy.engine.queue.queue import Queue
from resqpy.store.promote import Action, Claim, Enqueue, Fail
from resqpy.store.queues import DELAYED

# For a failed job that names no queue: its queue if it is retried by hand.
FALLBACK_QUEUE = "default"


class DueItemPolicy:
    """Decides on due items by their tasks.

    Args:
        queue: has the definitions and their guards.
        worker: our name, for failed entries.
    """

    def __init__(self, queue: Queue, worker: str) -> None:
        self._queue = queue
        self._worker = worker

    def looked_at(self) -> list[str]:
        """The tasks whose items can't be moved without inspection."""
        known = self._queue.definitions.items()
        return [name for name, task in known if task.guarding or task.enqueue_hooks]

    def action(self, item: bytes, now_ms: int) -> Action:
        """What to do with an item of a delayed list."""
        try:
            job = read(item, self._queue.definitions.get)
        except PayloadError as error:
            return self.fail(item, error, now_ms)
        task = self._queue.definitions.get(job.class_name)
        if task is not None and task.enqueue_hooks and not has_record(job.args):
            guards = self._queue.guards(job.queue, job.class_name, job.args)
            return Claim([each for each in guards if each.kind == DELAYED])
        return self.enqueue(job)

    def enqueue(self, job: Job) -> Enqueue:
        """Push it, with the guards of its task; a job with a record has none, as at its creation."""
        if has_record(job.args):
            return Enqueue(job.queue, ())
        return Enqueue(job.queue, self._queue.guards(job.queue, job.class_name, job.args))

    def context(self, job: Job) -> Enqueuing:
        """The job as enqueue hooks see it."""
        return Enqueuing(job.class_name, job.queue, job.args, self._queue, fixed=True)

    def fail(self, item: bytes, error: BaseException, now_ms: int) -> Fail:
        """Send it to the failed list with its bytes."""
        queue = codec.delayed_queue(item) or FALLBACK_QUEUE
        payload, keep = reading.for_failed(item, queue)
        entry = failed_entries.encode(
            job_json=payload,
            queue=queue,
            worker=self._worker,
            exception=class_of(error),
            error=message_of(error),
            backtrace=[],
            failed_at=failed_at_utc(now_ms),
        )
        return Fail(entry, error, keep)


def read(item: bytes, definition: Callable[[str], Definition | None]) -> Job:
    """The job of a delayed item, with the queue it names or that of its task.

    Raises:
        PayloadError: it can't be read, or no queue is known for it.
    """
    queue = codec.delayed_queue(item)
    job = codec.decode_job(item, queue or FALLBACK_QUEUE)
    if queue is not None:
        return job
    own = getattr(definition(job.class_name), "queue", None)
    if not own:
        raise PayloadError(
            f"the delayed job {job.class_name!r} names no queue; a retry puts it in {FALLBACK_QUEUE!r}"
        )
    return replace(job, queue=own)
