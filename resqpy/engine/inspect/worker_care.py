"""Workers: the part of the `Inspector` that shows them, and cleans up after stuck ones.

A worker is identified by its full id, `host:pid:queues`, as in the set of workers; so two registrations
with one name are two (trap 21), and it doesn't matter whether a record names its worker (trap 20).
"""

from __future__ import annotations

from collections.abc import Sequence

from resqpy.base import job_records, reading
from resqpy.base.clock import failed_at_utc
from resqpy.base.errors import StoreUnavailable, UsageError
from resqpy.base.foreign_time import moment_of
from resqpy.base.model import FORCED_CLEAN, FailedJob, WorkerId, WorkingOn
from resqpy.base.when import Duration, duration_ms
from resqpy.engine.inspect.inspecting import Inspecting
from resqpy.engine.worker.identity import host_name
from resqpy.store import failures, workers

KILLED = "Worker Timeout (killed manually)"  # node-resque's text
FRESH_MS = 300_000  # a younger heartbeat means that it is alive; Ruby uses the same five minutes
_ATTEMPTS = 5


class WorkerCare(Inspecting):
    """Shows workers of all languages, and cleans up after them."""

    async def workers(self) -> dict[str, WorkerId]:
        """All registered workers: by full id, its host, pid and queues."""
        return {each: WorkerId.parse(each) for each in await workers.ids(self.store)}

    async def working_on(
        self, worker: str | WorkerId, queues: str | None = None
    ) -> WorkingOn | None:
        """The job that a worker runs; None if it is idle.

        Args:
            worker: its full id, or its name (`host:pid`), with its queues or looked up.
        """
        worker_id = await self._find(worker, queues)
        [record] = await workers.records(self.store, [worker_id])
        return reading.show_record(worker_id, record)

    async def all_working_on(self) -> dict[str, WorkingOn | None]:
        """The job of each worker, by full id; None if idle. Two round trips."""
        ids = await workers.ids(self.store)
        records = await workers.records(self.store, ids)
        return {
            each: reading.show_record(each, record)
            for each, record in zip(ids, records, strict=True)
        }

    async def cancel_running(self, worker: str | WorkerId, queues: str | None = None) -> bool:
        """Ask the process of a resqpy worker, wherever it runs, to cancel the worker's job.

        The job fails as `JobCancelled`; one that ignores the cancellation continues. Ruby's and Node's
        workers don't support this.

        Args:
            worker: its full id, or its name.

        Returns:
            False if it runs no job of ours, or no process listens.
        """
        worker_id = await self._find(worker, queues)
        [record] = await workers.records(self.store, [worker_id])
        work = reading.show_record(worker_id, record)
        if work is None or work.job_raw is None or work.run_at is None:
            return False
        return await workers.publish_cancel(self.store, worker_id, work.run_at) > 0

    async def force_clean_worker(
        self, worker: str | WorkerId, queues: str | None = None
    ) -> FailedJob | None:
        """Remove a worker from all keys that name it; its job goes to the failed list.

        This does not end a process: a running job continues, so retrying it may run it twice (trap 8).
        Everything happens atomically: registration, record, heartbeat, ping and statistics are removed, and
        the JobLocks of a job of ours. A failure is counted only if a job failed, not for an idle or unknown
        worker as node-resque does.

        Args:
            worker: its full id, even if only leftovers exist; or its name.

        Returns:
            The failed entry; None if it had no job.
        """
        worker_id = await self._find(worker, queues)
        for _ in range(_ATTEMPTS):
            record, held = await workers.record_and_held(self.store, worker_id)
            raw, entry, kept, failed = None, None, None, self.store.keys.failed
            if record is not None:
                raw, kept = _entry_for(worker_id, record, held, await self.now_ms())
            if raw is not None:
                queue = job_records.decode_failed(raw).queue or ""
                entry = job_records.decode_failed(raw, failures.list_of(self.store, queue))
                failed = await failures.known_list(self.store, queue)
            if await workers.clean(self.store, worker_id, record, raw, kept, failed):
                return entry
        raise StoreUnavailable(
            f"the worker {worker_id!r} changes its job too fast to be cleaned up"
        )

    async def clean_old_workers(
        self, age: Duration, *, spare_live: bool = False
    ) -> dict[str, FailedJob]:
        """Clean up, with `force_clean_worker`, after workers whose job has run for too long.

        As in node-resque the age of the run decides: a long job in a live worker is old too, unless
        `spare_live` is set. A run whose start is unknown is left alone. (resqpy's scheduler takes back the
        jobs of its own dead workers by itself.)

        Args:
            age: milliseconds or a timedelta.
            spare_live: skip workers with a heartbeat (Ruby, resqpy) or ping (Node) within the last five
                minutes.

        Returns:
            The failed entries by full worker id.
        """
        before_ms = await self.now_ms() - duration_ms(age, "age")
        busy = await self.all_working_on()
        old = [worker_id for worker_id, work in busy.items() if _began_before(work, before_ms)]
        if spare_live:
            old = await self._without_live(old)
        cleaned = {worker_id: await self.force_clean_worker(worker_id) for worker_id in old}
        return {worker_id: entry for worker_id, entry in cleaned.items() if entry is not None}

    async def _without_live(self, ids: Sequence[str]) -> list[str]:
        now_ms = await self.now_ms()
        signs = await workers.signs_of_life(self.store, ids)
        latest = (max(moment_of(beat) or 0, reading.ping_time_ms(ping)) for beat, ping in signs)
        return [each for each, seen in zip(ids, latest, strict=True) if seen < now_ms - FRESH_MS]

    async def _find(self, worker: str | WorkerId, queues: str | None) -> str:
        """The full id that is meant."""
        if queues is not None:
            return f"{worker}:{queues}"
        text = str(worker)
        if text.count(":") > 1:
            return text
        named = [
            each for each in await workers.ids(self.store) if WorkerId.parse(each).name == text
        ]
        if len(named) > 1:
            raise UsageError(
                f"{len(named)} workers have the name {text!r}; use the full id of one: {', '.join(named[:5])}"
            )
        return named[0] if named else text


def _began_before(work: WorkingOn | None, before_ms: int) -> bool:
    began_ms = moment_of(work.run_at) if work is not None else None
    return began_ms is not None and began_ms < before_ms


def _entry_for(
    worker_id: str, record: bytes, held: bytes | None, now_ms: int
) -> tuple[bytes, str | None]:
    working_on = reading.show_record(worker_id, record)
    queue = (working_on.queue if working_on else None) or ""
    raw = held if held is not None else reading.job_in_record(record)
    job, kept = reading.for_failed(raw, queue, can_keep=held is not None)
    entry = job_records.encode_failed(
        job_json=job,
        queue=queue,
        worker=WorkerId.parse(worker_id).name,
        exception=KILLED,
        error=KILLED,
        backtrace=[
            f"killed by {host_name()} at {failed_at_utc(now_ms)}",
            FORCED_CLEAN,
            "resqpy",
        ],
        failed_at=failed_at_utc(now_ms),
    )
    return entry, kept
