"""What ran in this process, counted by task and by queue: for `GET /metrics`, and for the history in Redis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping, Sequence
from functools import partial
from itertools import islice
from operator import attrgetter
from typing import Any

from resqpy.base import activejob
from resqpy.base.errors import OutcomeUnknown, StoreError, StoreUnavailable
from resqpy.base.history import (
    BOUNDS_MS,
    BUCKETS,
    FAILED,
    LOST,
    QUEUES,
    RETRIED,
    RUN_MS,
    RUNS,
    TASKS,
    WAIT_MS,
    Record,
    Tally,
)
from resqpy.engine.run import current_run
from resqpy.engine.worker.running import EndedJob
from resqpy.framework.logs.log import get_logger
from resqpy.framework.process.metrics import Histogram, Metric
from resqpy.store import history
from resqpy.store.connection.client import Store

UNKNOWN = "(unknown)"
_BOUNDS_S = tuple(each / 1000 for each in BOUNDS_MS)
_seen = attrgetter("run.job.class_name", "run.job.queue", "duration_ms", "run.waited_ms")


class JobCounts:
    """Jobs by task and outcome, how long they ran, and how long they had waited.

    Args:
        names: the tasks that have a row of their own. Anybody may enqueue jobs of any name; those without a
            task here share one row, so that nobody can fill the memory with rows.
    """

    def __init__(self, names: Container[str]) -> None:
        self._names = names
        self._tally = Tally()
        self._ended: Counter[tuple[str, str]] = Counter()  # otherwise than by success or failure
        self._trouble = ""

    def follow(self, worker: Any) -> None:
        """Count the jobs of a `MultiWorker`."""
        worker.on("successes", lambda _, ends: self._tally.succeeded(map(_seen, ends)))
        worker.on("failures", self._failed)
        worker.on("re_enqueue", self._re_enqueued)
        for event in ("skipped", "snoozed", "expired"):
            worker.on(event, partial(self._count_only, event))
        worker.on("put_back", lambda _, *told: self._put_back(*told))
        worker.on("clean_stuck_worker", lambda _, *told: self._cleaned(*told))

    def follow_scheduler(self, scheduler: Any) -> None:
        """Count the jobs that a `Scheduler` finds lost."""
        scheduler.on("put_back", self._put_back)
        scheduler.on("clean_stuck_worker", self._cleaned)

    def _failed(self, _number: int, ends: Sequence[EndedJob]) -> None:
        for name, *seen in map(_seen, ends):
            self._tally.failed((self._row(name), *seen))

    def _re_enqueued(self, _number: int, queue: str, job: Any, _info: Any) -> None:
        run, row = current_run.get(None), self._row(job.class_name)
        self._ended[row, "re_enqueued"] += 1
        if run is not None and run.performed:  # else a lock is held
            self._tally.note(RETRIED, row, queue)

    def _count_only(self, outcome: str, _number: int, _queue: str, job: Any, *_: Any) -> None:
        self._ended[self._row(job.class_name), outcome] += 1

    def _put_back(self, _worker: str, queue: str | None, task: str | None, *_: Any) -> None:
        self._tally.note(LOST, task or UNKNOWN, queue or UNKNOWN)

    def _cleaned(self, _worker: str, entry: Any = None, *_: Any) -> None:
        """A job that is not run again after it was lost; None: it is, or there was none."""
        if entry:
            get = entry.get if isinstance(entry, Mapping) else partial(getattr, entry)
            payload = get("payload")
            name = activejob.class_in(payload) if isinstance(payload, Mapping) else None
            self._put_back("", get("queue"), name)

    def _row(self, name: str) -> str:
        return name if name in self._names else UNKNOWN

    async def flush(self, store: Store) -> None:
        """Write to the history what was counted since the last time; what Redis refuses is kept for the next."""
        try:
            while part := dict(islice(self._tally.unwritten().items(), history.MOST_WRITTEN)):
                try:
                    await history.write(store, part)
                except OutcomeUnknown:  # once at most
                    self._tally.written(part)
                    raise
                self._tally.written(part)
        except StoreError as error:
            away = isinstance(
                error, StoreUnavailable | OutcomeUnknown
            )  # reported once for all parts
            if not away and self._trouble != str(error):
                get_logger().warning("the history of jobs can't be written", error=str(error))
                self._trouble = str(error)
        else:
            self._trouble = ""

    def metrics(self) -> list[Metric]:
        """The counts since the start."""
        jobs = Metric(
            "resqpy_jobs_total",
            "counter",
            "Jobs that ended in this process; re_enqueued: retried later, or waiting for a lock; snoozed: "
            "run later, because the task said so; skipped: forbidden by a plugin or middleware; expired: too old "
            "to run. lost: those whose worker died, which this process has found.",
        )
        tasks, ended = self._tally.records(TASKS), self._ended.copy()
        for name, record in tasks.items():
            ended[name, "succeeded"] = record[RUNS] - record[FAILED]
            ended[name, "failed"], ended[name, "lost"] = record[FAILED], record[LOST]
        for (name, outcome), number in sorted(ended.items()):
            if number:
                jobs.add(number, task=name, outcome=outcome)
        durations = Metric(
            "resqpy_job_duration_seconds",
            "histogram",
            "How long jobs ran in this process that succeeded or failed.",
        )
        for name, record in sorted(tasks.items()):
            if record[RUNS]:
                # Milliseconds are rounded down: adding half is right on average.
                durations.add(_histogram(record, record[RUN_MS] + record[RUNS] / 2), task=name)
        waits = Metric(
            "resqpy_job_wait_seconds",
            "histogram",
            "How long jobs that ran in this process had waited in their queues, to a tenth of a second, where a "
            "leader looks.",
        )
        for name, record in sorted(self._tally.records(QUEUES).items()):
            if any(record[BUCKETS:]):
                waits.add(_histogram(record, record[WAIT_MS]), queue=name)
        return [jobs, durations, waits]


def _histogram(record: Record, total_ms: float) -> Histogram:
    made = Histogram(_BOUNDS_S)
    made.counts, made.total = record[BUCKETS:], total_ms / 1000
    return made
