"""Shadow runs: copies of jobs that went to another language run here, without effects of ours, to be compared.

A copy is in no queue, no slot and no record: it came with the reply of the exchange that sent the job itself on.
Where a process dies, or stops, its copies are lost, and nothing else is.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from resqpy.base import codec
from resqpy.base.clock import Clock
from resqpy.base.concurrency.own_tasks import OwnTask, own_task
from resqpy.base.shadowing import NotedJob, Shadow, begin_shadow
from resqpy.engine.definition import Definition, Definitions
from resqpy.engine.lifecycle import Outcome, OutcomeKind
from resqpy.engine.options import WorkerOptions
from resqpy.engine.role import EventSink, tell_error
from resqpy.engine.run import Run
from resqpy.engine.worker import identity
from resqpy.engine.worker.execute import execute, failure
from resqpy.engine.worker.running import run_of
from resqpy.engine.worker.threads import ThreadRunner
from resqpy.store.connection.client import Store
from resqpy.store.exchange import Copy, JobClaim
from resqpy.store.migrations import job_key, note_shadow

_AT_ONCE, _WAITING = 5, 100
_END_WITHIN_S = 0.5
_MOST_TEXT, _MOST_ARGS, _MOST_JOBS = 500, 200, 10  # of what is kept of a run
_ENDS = {OutcomeKind.SUCCESS: "succeeded", OutcomeKind.FAILURE: "failed"}


class Shadows:
    """Those of one process, a few at a time.

    Args:
        queues: that the process works.
        worker: the object that tasks see as their worker.
        events: hears of errors of Redis.
    """

    def __init__(
        self,
        store: Store,
        definitions: Definitions,
        options: WorkerOptions,
        clock: Clock,
        queues: str,
        *,
        worker: Any,
        events: EventSink,
    ) -> None:
        self._store = store
        self._definitions = definitions
        self._worker_id = identity.worker_id(0, "shadow", queues)
        self._max_payload = options.max_payload
        self._clock = clock
        self._events = events
        self._worker = worker
        self._threads = ThreadRunner(_AT_ONCE)
        self._waiting: deque[Copy] = deque()
        self._held: Counter[str] = Counter()  # of those that wait, by class
        self._passed: Counter[str] = Counter()
        self._able: dict[str, Definition] = {}
        self._tasks: set[OwnTask[Any]] = set()
        self._busy = 0
        self._closed = False

    def take(self, copies: Sequence[Copy]) -> None:
        """Run them, as far as there is room for their class; of the others it is counted that they did not run."""
        if self._closed:
            return
        for each in copies:
            if self._held[each.class_name] < _WAITING:
                self._held[each.class_name] += 1
                self._waiting.append(each)
            else:
                self._passed[each.class_name] += 1
        for _ in range(min(_AT_ONCE - self._busy, len(self._waiting))):
            self._busy += 1
            self._start(self._work(), "shadow runs", None)

    def _start(self, coroutine: Any, name: str, owner: Run | None) -> OwnTask[Any]:
        task = own_task(coroutine, name, owner)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _work(self) -> None:
        try:
            while self._waiting:
                copy = self._waiting.popleft()
                self._held[copy.class_name] -= 1
                try:
                    await self._follow(copy)
                except Exception as error:  # it is one of those of which nothing is known
                    tell_error(self._events, error)
        finally:
            self._busy -= 1

    async def _follow(self, copy: Copy) -> None:
        """Run one, in a task of its own, since what is written of it is no part of it; note how it has ended."""
        claim = JobClaim(copy.queue, b"")
        run = run_of(
            copy.raw, claim, self._worker_id, self._store, self._definitions, self._max_payload
        )
        run.worker, run.clock, run.shadow = self._worker, self._clock, True
        run.started, shadow = self._clock.monotonic(), Shadow()
        ended, outcome = "unable", None
        if self._enable(run):
            performing = self._start(self._perform(run, shadow), f"shadow of {run.class_name}", run)
            await asyncio.wait([performing])
            if performing.cancelled():
                return
            done = failure(error) if (error := performing.exception()) else performing.result()
            ended = _ENDS.get(done.kind, "other")
            outcome = _told(run, done, shadow)
        ms = int((self._clock.monotonic() - run.started) * 1000)
        if outcome is not None:
            outcome["ms"] = ms
        passed = self._passed.pop(copy.class_name, 0)
        await note_shadow(self._store, copy, ended, ms, outcome, passed=passed)

    def _enable(self, run: Run) -> bool:
        """Leave out of the task what has effects of ours: locks, retries; False: it may not run."""
        task = run.definition
        if task is None or not task.shadow:
            return False
        if task.name not in self._able:
            around = tuple(each for each in task.around if each.in_shadow)
            self._able[task.name] = replace(task, around=around, at_most_once=False)
        run.definition = self._able[task.name]
        return True

    async def _perform(self, run: Run, shadow: Shadow) -> Outcome:
        begin_shadow(shadow)
        try:
            if run.error is not None:
                return failure(run.error)
            return await execute(run, self._threads, self._definitions)
        finally:
            shadow.over = True

    async def finish(self) -> None:
        """Wait until nothing waits or runs; a stop does not."""
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))

    async def close(self) -> None:
        """Cut off what runs; of what did not run to its end nothing is known."""
        self._closed = True
        self._waiting.clear()
        tasks = tuple(self._tasks)
        for each in tasks:
            each.end()
        if tasks:
            await asyncio.wait(tasks, timeout=_END_WITHIN_S)
        self._threads.close()


def _told(run: Run, outcome: Outcome, shadow: Shadow) -> dict[str, Any]:
    """What is kept of a run; texts of any size, and with anything in them, become short ones."""
    said = codec.decode_lenient(run.job.raw)
    told: dict[str, Any] = {
        "key": job_key(said) if isinstance(said, Mapping) else "",
        "args": _cut(codec.json_text(run.args_as_sent()), _MOST_ARGS),
    }
    if outcome.error is not None:
        told["error"] = _cut(f"{type(outcome.error).__name__}: {outcome.error}", _MOST_TEXT)
    if shadow.wanted:
        told["wanted"] = shadow.wanted
        told["jobs"] = [*map(_wanted, shadow.jobs[:_MOST_JOBS])]
    return told


def _wanted(job: NotedJob) -> dict[str, Any]:
    told = {
        "class": _cut(job.class_name, _MOST_ARGS),
        "queue": job.queue,
        "args": _cut(codec.json_text(job.args), _MOST_ARGS),
    }
    return (
        told
        if job.at_ms is None and not job.in_ms
        else {**told, "at_ms": job.at_ms, "in_ms": job.in_ms}
    )


def _cut(text: str, most: int) -> str:
    """Its beginning, without what can't be written."""
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= most else f"{text[:most]}…"
