"""One job in its slot: started, run, cancelled, ended. The result is passed on as an `EndedJob`."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from resqpy.base import activejob, codec, job_records
from resqpy.base.clock import Clock
from resqpy.base.concurrency.limited import GRACE_S
from resqpy.base.concurrency.own_tasks import OWNER, OwnTask, may_interrupt
from resqpy.base.errors import (
    InvalidInputs,
    JobCancelled,
    JobTimeout,
    PayloadError,
    ResqpyError,
    StoreError,
    WorkerDied,
    WorkerStopped,
)
from resqpy.base.model import Job, WorkerId
from resqpy.base.php import RUNNING, PhpStatus, php_status
from resqpy.engine.definition import NEED_NO_LOOK, Definitions, finished
from resqpy.engine.lifecycle import PLAIN, RETURNED, Outcome, OutcomeKind
from resqpy.engine.options import RUNS_ALONE_AFTER, WorkerOptions
from resqpy.engine.role import EventSink
from resqpy.engine.run import Run, current_run
from resqpy.engine.worker import forks
from resqpy.engine.worker.endings import ended
from resqpy.engine.worker.execute import (
    afterwards,
    conclude,
    execute,
    failure,
    note_failure,
    passed,
)
from resqpy.engine.worker.slots import Slot
from resqpy.engine.worker.threads import LeftBehind, ThreadRunner
from resqpy.store import workers
from resqpy.store.connection.client import Arg, Store
from resqpy.store.exchange import HELD, EndCommands, JobClaim
from resqpy.store.locks import UNLOCK
from resqpy.store.workers import php_status_command

Settle = Callable[[Run, Outcome], Awaitable[Outcome] | None]
_MAY_HAVE_RUN = (
    "an at-most-once job that was marked as started came back, for example after a failover of Redis: it may "
    "have run already, and is not run again"
)
CUT_OFF = (JobCancelled, JobTimeout, WorkerStopped)


def run_of(
    raw: bytes | None,
    claim: JobClaim,
    worker_id: WorkerId,
    store: Store,
    definitions: Definitions,
    max_payload: int,
) -> Run:
    """The run of a claimed job; its `error` says so if it can't be read. What foreign programs wrote may raise
    anything: that fails this job, and never ends the worker.
    """
    problem: PayloadError | None = None
    try:
        job = _decode(raw, claim, max_payload)
    except Exception as error:
        problem, job = _unreadable(error), Job("", [], claim.queue, raw or b"")
    run = Run(job, definitions.of(job), worker_id, store)
    run.error = problem
    run.claim = claim
    try:
        if claim.along is not None:
            run.lifecycle = definitions.lifecycle.begun(claim.along)
        if job.extra:
            run.php = php_status(job.extra)
        if job.wrapper is not None:
            _of_activejob(run)
    except Exception as error:  # also: the record beside the job can't be read
        run.error = _unreadable(error)
    return run


def _unreadable(error: Exception) -> PayloadError:
    """The message says what is wrong, our stack does not."""
    if isinstance(error, ResqpyError):
        return PayloadError(str(error))
    return PayloadError(f"the job can't be read: {type(error).__name__}: {error}")


def _of_activejob(run: Run) -> None:
    if made := run.executions:
        run.attempt = (made + 1, None)
    try:
        activejob.check_readable(run.job.args)
    except InvalidInputs as error:
        run.error = error.with_traceback(None)


def _decode(raw: bytes | None, claim: JobClaim, max_payload: int) -> Job:
    if raw is None:
        raise PayloadError(
            f"the job has {claim.held} bytes; the limit is {max_payload} (tasks.max_payload)"
        )
    job = codec.decode_job(raw, claim.queue)
    if job.class_name == job_records.UNREADABLE:
        raise PayloadError("the job could not be read earlier, and a foreign client retried it")
    return job


class CrashSuspects:
    """Jobs whose worker died twice: each runs alone in its process. If the process dies again, we know
    which job kills it (`engine/scheduler/rescue.py`), and no other job is lost with it.

    Args:
        begin: starts a job in its slot.
    """

    def __init__(self, begin: Callable[[Slot, Run], None]) -> None:
        self._begin = begin
        self._waiting: deque[tuple[Slot, Run]] = deque()
        self._running: tuple[Slot, Run] | None = None

    @property
    def active(self) -> bool:
        """Whether one waits or runs: then no other job may be claimed."""
        return bool(self._waiting) or self._running is not None

    def hold(self, slot: Slot, run: Run) -> bool:
        """Hold a job that was just claimed until it may run; False if it is not a suspect."""
        if run.claim.rescues < RUNS_ALONE_AFTER:
            return False
        self._waiting.append((slot, run))
        return True

    def settle(self, busy: Sequence[Slot]) -> bool:
        """After an exchange: start the next if nothing else runs; True if the last one is done.

        Args:
            busy: slots with a job, including those of suspects.
        """
        if not self.active:
            return False
        if self._running is not None and self._running[0].run is not self._running[1]:
            self._running = None
        self._waiting = deque((slot, run) for slot, run in self._waiting if slot.run is run)
        held = {slot.number for slot, _ in self._waiting}
        if self._waiting and all(slot.number in held for slot in busy):
            self._running = self._waiting.popleft()
            self._begin(*self._running)
        return not self.active


class EndedJob:
    """A job that has ended, and what to report about it.

    Attributes:
        in_doubt: it was reported and the reply was lost, so the end may be written already.
        special: the commands to report; None: it succeeded, and nothing is written but that.
        drops: the keys that are deleted with a success.
    """

    __slots__ = ("drops", "duration_ms", "in_doubt", "outcome", "run", "slot", "special")

    def __init__(
        self, slot: Slot, run: Run, outcome: Outcome, special: EndCommands | None, ms: int
    ) -> None:
        self.slot: Slot = slot
        self.run: Run = run
        self.outcome: Outcome = outcome
        self.special: EndCommands | None = special
        self.drops: Sequence[Arg] = ()
        self.duration_ms: int = ms
        self.in_doubt: bool = False

    @property
    def report(self) -> EndCommands:
        """What to report if its record is not replaced directly."""
        if self.special is not None:
            return self.special
        commands = [("DEL", *self.drops)] if self.drops else []
        if self.run.claim.locks & HELD:
            commands.append(UNLOCK)
        return EndCommands(self.slot.place.worker_id, self.run.claim.beginning, "p", commands)


def _own_fault(error: BaseException) -> Outcome:
    """The outcome if our own code failed: the slot must not stay busy forever."""
    if isinstance(error, KeyboardInterrupt) and may_interrupt():
        raise error
    return failure(error)


def _drops(run: Run) -> Sequence[Arg] | None:
    """The keys that are deleted at the end of a successful run, if that is all that must be written."""
    definition = run.definition
    if (
        definition is None
        or not definition.bare
        or run.php
        or run.lifecycle is not PLAIN
        or not run.claim.bare
    ):
        return None
    keys: list[Arg] = []
    for command in run.effects:
        if not isinstance(command, tuple | list) or not command or command[0] != "DEL":
            return None
        keys += command[1:]
    return keys if all(map(_is_sound, keys)) else None  # else `ended` looks closely, and refuses


def _is_sound(key: Arg) -> bool:
    """Whether a key can be sent, without packing it twice for each job."""
    return isinstance(key, bytes) or (isinstance(key, str) and key.isascii())


def _as_it_is(_: Run, __: Outcome) -> None:
    return None


_MOST_WORKED = 100


class Runner:
    """Runs jobs in slots.

    Args:
        on_end: called with the end of each job.
        worker: the object that tasks and plugins see as their worker.
        events: receives what does not end when it is cut off.

    Attributes:
        settle: decides the final outcome of a run that failed; None: it is its own.
        waits: how long (ms) a job that is taken now from a queue has waited, as far as it is known.
    """

    def __init__(
        self,
        store: Store,
        definitions: Definitions,
        options: WorkerOptions,
        clock: Clock,
        on_end: Callable[[EndedJob], None],
        *,
        worker: Any,
        events: EventSink,
    ) -> None:
        self.left: LeftBehind = LeftBehind(events, getattr(worker, "die", None))
        self.threads: ThreadRunner = ThreadRunner(options.max_threads or 1, self.left.tell)
        self.left.threads = self.threads
        self._store = store
        self._definitions = definitions
        self._max_payload = options.max_payload
        self._clock = clock
        self._on_end = on_end
        self._worker = worker
        self._sequence = 0
        self.settle: Settle = _as_it_is
        self.waits: Mapping[str, int] = {}
        self._worked: set[str] = set()

    def take(self, slot: Slot, raw: bytes | None, claim: JobClaim, now_s: float) -> Run:
        """Put a job into its slot."""
        self._sequence += 1
        run = run_of(raw, claim, slot.worker_id, self._store, self._definitions, self._max_payload)
        run.worker, run.slot, run.clock = self._worker, slot, self._clock
        run.sequence, run.started = self._sequence, now_s
        self._worked.add(claim.queue)
        if self.waits:
            run.waited_ms = self.waits.get(claim.queue)
        slot.run = run
        return run

    def take_worked(self) -> list[str]:
        """The queues of the jobs since the last call, at most a hundred; from any thread."""
        found, self._worked = self._worked, set()
        return sorted(found)[:_MOST_WORKED]

    def note_waits(self, waits: Mapping[str, int]) -> None:
        """How long jobs wait now; from any thread."""
        self.waits = waits

    def begin(self, slot: Slot, run: Run) -> None:
        """Start the job; an unreadable one has already failed."""
        if run.error is not None:
            self.end(slot, run, failure(run.error))
        else:
            run.runner = self
            slot.task = task = OwnTask(self._work(slot, run), name=run.job.class_name)
            task.owner = run

    def return_untouched(self, slot: Slot, run: Run) -> None:
        """Put a job back that was never started; an unreadable one still fails."""
        unreadable = isinstance(run.error, PayloadError)
        self.end(slot, run, conclude(run) if unreadable else RETURNED)

    async def _work(self, slot: Slot, run: Run) -> None:
        OWNER.set(run)
        run.begun = True
        definition, locks = run.definition, run.claim.locks
        special = run.interrupted or run.cancelled or run.ends or run.php
        if definition is None or not definition.direct or locks != definition.locks or special:
            await self._work_through(slot, run)
            return
        # The same as `execute` for such a run, without its nested coroutines.
        current_run.set(run)
        run.performed = True
        held = None if definition.hold is None else definition.hold(run)
        born, is_async = forks.generation(), definition.is_async
        try:
            if is_async:
                result = await definition.perform(*run.job.args)
                forks.end_child(born)
            else:
                result = await self.threads.run(definition.perform, run.job.args, run)
            if type(result) not in NEED_NO_LOOK:
                result = await finished(result, plain=not is_async)
            run.result = result
            run.task_done = True
        except BaseException as error:
            forks.end_child(born)
            run.task_done = note_failure(run, error)
        if held is not None:
            held.end(run)
        outcome = conclude(run)
        if definition.around:
            outcome = passed(run, outcome) or await afterwards(run)
        if (
            outcome.kind is OutcomeKind.FAILURE
            and (asking := self.settle(run, outcome)) is not None
        ):
            outcome = await self._settled(asking)
        self.end(slot, run, outcome)
        # The traceback of an error has this frame: in a circle it would keep what failed until a collection.
        del run, outcome

    async def _work_through(self, slot: Slot, run: Run) -> None:
        once = run.definition is not None and run.definition.at_most_once
        try:
            outcome = None
            if once or run.interrupted or run.cancelled:
                outcome = await self._not_begun(run)
            if outcome is None and run.php is not None:
                outcome = await self._tell_php(run, run.php)
            if outcome is None:
                outcome = await execute(run, self.threads, self._definitions)
        except BaseException as error:
            outcome = _own_fault(error)
        if (
            outcome.kind is OutcomeKind.FAILURE
            and (asking := self.settle(run, outcome)) is not None
        ):
            outcome = await self._settled(asking)
        self.end(slot, run, outcome)

    async def _settled(self, asking: Awaitable[Outcome]) -> Outcome:
        try:
            return await asking
        except BaseException as error:
            return _own_fault(error)

    async def _not_begun(self, run: Run) -> Outcome | None:
        """The outcome of a run that must not start; None: it starts."""
        if run.interrupted:
            return RETURNED
        if run.cancelled:
            return failure(JobCancelled())
        return await self._note(run)

    async def _tell_php(self, run: Run, php: PhpStatus) -> Outcome | None:
        """Say that the job runs, if its status is followed; the outcome if it was cancelled meanwhile."""
        try:
            await self._store.call(
                *php_status_command(run.store, php, RUNNING, self._clock.now_ms())
            )
        except StoreError:  # the end is told with the end
            return None
        except asyncio.CancelledError:
            return failure(JobCancelled()) if run.cancelled else RETURNED
        return None

    async def _note(self, run: Run) -> Outcome | None:
        """Mark an at-most-once job as started; if that fails, it does not start."""
        try:
            mark = await workers.mark_at_most_once(self._store, str(run.worker_id), run.beginning)
        except StoreError:
            return RETURNED
        except asyncio.CancelledError:
            return failure(JobCancelled()) if run.cancelled else RETURNED
        if mark is workers.Mark.NOTED_BEFORE:  # a failover brought its record back
            return failure(WorkerDied(_MAY_HAVE_RUN))
        return None if mark is workers.Mark.NOTED else RETURNED

    def end(self, slot: Slot, run: Run, outcome: Outcome) -> None:
        """Decide the outcome of a job, unless that is done already."""
        if run.ended:
            return
        run.ended = True
        special = drops = None
        try:
            if outcome.kind is OutcomeKind.SUCCESS:
                drops = _drops(run)
            if drops is None:
                special = ended(run, outcome, self._clock)
        except BaseException as error:  # a plugin's decision can't be encoded
            outcome = failure(error)
            run.effects = [each for each in run.effects if each is UNLOCK]
            special = ended(run, outcome, self._clock)
        ran_s = self._clock.monotonic() - run.started
        if run.error is not None and isinstance(run.error, CUT_OFF):
            self.left.look_for_children(run, ran_s)
        end = EndedJob(slot, run, outcome, special, int(ran_s * 1000))
        if drops:
            end.drops = drops
        self._on_end(end)

    # -- early ends --

    def cancel(self, slot: Slot, only: Run | None = None) -> bool:
        """Cancel the job of a slot, which fails as `JobCancelled`; False if it is too late.

        Args:
            only: the run that is meant.
        """
        run, task = slot.run, slot.task
        if run is None or task is None or run.task_done or run.ended or only not in {None, run}:
            return False
        if not run.cancelled:
            asyncio.get_running_loop().call_later(GRACE_S, self._cancel_again, slot, run)
        run.cancelled = True
        if run.begun:
            task.end()
        return True

    def _cancel_again(self, slot: Slot, run: Run) -> None:
        """It may have swallowed the first cancellation; finally its slot continues without it."""
        if slot.task is not None and not (run.task_done or run.ended):
            slot.task.end()
            asyncio.get_running_loop().call_later(
                2 * GRACE_S, self.go_on_without, slot, run, JobCancelled()
            )

    def go_on_without(self, slot: Slot, run: Run, error: BaseException) -> None:
        """Decide the end of a run whose coroutine does not end."""
        task = slot.task
        if run.ended or task is None or (run.task_done and isinstance(error, JobCancelled)):
            return
        run.error = error
        self.end(slot, run, failure(error))
        self.left.add(task)

    @staticmethod
    def interrupt(slot: Slot) -> OwnTask[None] | None:
        """Cancel the job because the worker stops, which returns it to its queue; or only its task, if that
        is still running.
        """
        run, task = slot.run, slot.task
        if run is None or task is None or run.ended:
            return None
        if not run.task_done:
            run.interrupted = not run.cancelled
            if run.begun:
                task.end()
        return task

    def give_up(self, slot: Slot) -> None:
        """Decide the end of a job that does not end when cancelled."""
        run = slot.run
        if run is None or run.ended:
            return
        if not run.task_done:
            run.interrupted = not run.cancelled
            run.error = JobCancelled() if run.cancelled else WorkerStopped()
        self.end(slot, run, conclude(run))
        if slot.task is not None and not slot.task.done():
            slot.task.end()
            self.left.add(slot.task)
