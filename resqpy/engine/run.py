"""One execution of a job: what plugins and tasks may know of it."""

from __future__ import annotations

from contextvars import ContextVar
from datetime import datetime
from typing import TYPE_CHECKING, Any

from resqpy.base import activejob, codec, periodic
from resqpy.base.clock import SYSTEM_CLOCK, Clock
from resqpy.base.errors import PayloadError
from resqpy.base.model import Job, WorkerId
from resqpy.base.php import PhpStatus
from resqpy.engine.lifecycle import PLAIN, Command, JobLifecycle, Outcome
from resqpy.store.exchange import JobClaim

if TYPE_CHECKING:
    from resqpy.engine.definition import Definition
    from resqpy.engine.worker.running import Runner
    from resqpy.engine.worker.slots import Slot
    from resqpy.store.connection.client import Store


_INLINE = JobClaim("", b"")


class Run:
    """A run, from claiming the job to its outcome.

    Attributes:
        job: the job; `job.raw` are its exact bytes.
        definition: its task.
        worker_id: the worker (slot) that runs it.
        worker: the worker object (`Worker`, `MultiWorker`) that runs it.
        store: the Redis it came from.
        claim: how it was claimed.
        lifecycle: what is kept beside the job, and what its end writes.
        error: what it raised; a plugin's `after_perform` may clear or replace it.
        result: what it returned.
        outcome: set by a plugin that decides how the run ends (retry, delay).
        effects: commands written in the step that ends the run.
        on_return: commands written only if the job goes back to its queue.
        interrupted: it is being cancelled because the worker stops.
        cancelled: it is being cancelled on request.
        begun: its first step was taken; before that it can't be cancelled, only prevented from starting.
        task_done: the task's function has ended; the plugins that follow are not cancelled.
        runner: what runs it in its slot; None: `perform_inline` does.
        slot: the slot, which may have another run by now.
        thread: the native id of the thread of its plain function; 0: it is a coroutine.
        traceback: the lines of its error, once its failed entry is made.
        ended: finished: later results of the function are ignored.
        performed: its task's function was called.
        vetoed: a plugin forbade it.
        shadow: it is a shadow of the run of another language (`resqpy migrate … --shadow`): it must have no effect
            outside, such as a mail. What it enqueues is noted, not sent.
        state: state kept by plugins, by plugin.
    """

    # Defaults are class attributes: a run is created for each job, and most of these stay unchanged.
    worker: Any = None
    claim: JobClaim = _INLINE
    lifecycle: JobLifecycle = PLAIN
    error: BaseException | None = None
    result: Any = None
    performed: bool = False
    vetoed: bool = False
    shadow: bool = False
    outcome: Outcome | None = None
    interrupted: bool = False
    cancelled: bool = False
    begun: bool = False
    task_done: bool = False
    ended: bool = False
    runner: Runner | None = None
    slot: Slot | None = None
    thread: int = 0
    traceback: list[str] | None = None
    php: PhpStatus | None = None  # the status that PHP may follow
    attempt: tuple[int, int | None] | None = None  # which of how many, if known
    # For the pool only.
    clock: Clock = SYSTEM_CLOCK  # Redis' clock if a worker runs it
    waited_ms: int | None = None  # how long it was in its queue, as the leader saw it last
    sequence: int = 0  # its number among the runs of this process
    started: float = 0.0  # when it was claimed, by the monotonic clock

    def __init__(
        self, job: Job, definition: Definition | None, worker_id: WorkerId, store: Store
    ) -> None:
        self.job: Job = job
        self.definition: Definition | None = definition
        self.worker_id: WorkerId = worker_id
        self.store: Store = store
        self.effects: list[Command] = []
        self.on_return: list[Command] = []
        self.state: dict[Any, Any] = {}

    @property
    def queue(self) -> str:
        """The queue the job was taken from."""
        return self.job.queue

    @property
    def args(self) -> list[Any]:
        """The job's arguments."""
        return self.job.args

    def args_as_sent(self) -> list[Any]:
        """The arguments as they were sent; those of the run may have been changed since, by its task for one."""
        try:
            return codec.decode_job(self.job.raw, self.queue).args
        except PayloadError:
            return []

    @property
    def class_name(self) -> str:
        """The task's name."""
        return self.job.class_name

    @property
    def beginning(self) -> bytes:
        """The first bytes of its record, which identify the run in Redis."""
        return self.claim.beginning

    @property
    def run_at(self) -> str:
        """The time in its record, which identifies the run."""
        return self.claim.run_at

    @property
    def executions(self) -> int | None:
        """How often its job says that it was tried before, as those of ActiveJob do; None: it does not say."""
        wrapper = self.job.wrapper
        return None if wrapper is None else activejob.executions(wrapper)

    @property
    def snoozed(self) -> int:
        """How often its job was snoozed before (`Snooze`). Equal plain jobs share a count."""
        return self.lifecycle.snoozed(self)

    @property
    def scheduled_at(self) -> datetime | None:
        """The time for which a periodic task's job was enqueued; None: it was not enqueued by its schedule."""
        at_ms = periodic.time_of(self.job)
        return None if at_ms is None else periodic.to_datetime(at_ms)

    @property
    def deadline(self) -> datetime | None:
        """When the job is cut off, by Redis' clock; None: never."""
        at_ms = self.end_ms(codec.DEADLINE)
        return None if at_ms is None else periodic.to_datetime(at_ms)

    def end_ms(self, name: str) -> int | None:
        """When the job is too old, `codec.EXPIRES` or `codec.DEADLINE`; None: never."""
        value = self.job.extra.get(name)
        return value if type(value) is int else None

    @property
    def ends(self) -> bool:
        """Whether it may be too old some time."""
        extra = self.job.extra
        return bool(extra) and (codec.EXPIRES in extra or codec.DEADLINE in extra)

    @property
    def too_old(self) -> bool:
        """Whether it must not begin any more. What has begun before, and was lost with its worker, must only
        keep its deadline.
        """
        expires_ms = None if self.claim.rescues else self.end_ms(codec.EXPIRES)
        ends = [each for each in (expires_ms, self.end_ms(codec.DEADLINE)) if each is not None]
        return bool(ends) and min(ends) <= self.clock.now_ms()

    @property
    def queue_object(self) -> Any:
        """The worker's `Queue`, for plugins and tasks that enqueue; node-resque's name."""
        return self.worker.queue

    @property
    def inline(self) -> bool:
        """Whether it runs by `perform_inline`: it has no record, and its end is not written."""
        return self.claim is _INLINE


current_run: ContextVar[Run] = ContextVar("resqpy_current_run")
