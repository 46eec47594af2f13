"""One execution of a job: what a plugin and a task may know of it."""

from __future__ import annotations

from contextvars import ContextVar
from datetime import datetime
from typing import TYPE_CHECKING, Any

from resqpy.base import periodic
from resqpy.base.clock import SYSTEM_CLOCK, Clock
from resqpy.base.model import Job, WorkerId
from resqpy.engine.lifecycle import PLAIN, JobLifecycle
from resqpy.engine.outcome import Command, Outcome
from resqpy.store.exchange import Taken

if TYPE_CHECKING:
    from resqpy.engine.definition import Definition
    from resqpy.engine.worker.running import Runner
    from resqpy.engine.worker.slots import Slot
    from resqpy.store.connection.client import Store


_INLINE = Taken(0, "", None, b"")


class Run:
    """A run, from taking the job to its outcome.

    Attributes:
        job: the job; `job.raw` are its exact bytes.
        definition: its task.
        worker_id: whose slot it runs in.
        worker: the worker object (`Worker`, `MultiWorker`) that runs it.
        store: the Redis it came from.
        taken: the job as it came from its queue.
        lifecycle: what stands beside the job, and what its end writes.
        error: what it raised; a plugin's `after_perform` may clear or replace it.
        result: what it returned.
        outcome: set by a plugin that decides how the run ends (retry, re-delay).
        effects: commands written in the step that ends the run.
        on_return: commands written only if the job goes back to its queue.
        interrupted: it is being cancelled because the worker stops.
        cancelled: it is being cancelled on request.
        begun: its first step was taken; before that it can't be cancelled, only told not to begin.
        task_done: the task's function is over; what follows (the plugins) is not cancelled.
        runner: what runs it in its slot; None: `perform_inline` does.
        slot: the slot, which may have another run by now.
        thread: the native id of the thread in which its plain function runs; 0: it is a coroutine.
        ended: its end is settled; what the function still does is of no account.
        performed: its task's function was called.
        vetoed: a plugin forbade it.
        state: a plugin's notes, by plugin.
    """

    __slots__ = (
        "__weakref__",
        "attempt",
        "begun",
        "cancelled",
        "clock",
        "definition",
        "effects",
        "ended",
        "error",
        "interrupted",
        "job",
        "lifecycle",
        "on_return",
        "outcome",
        "performed",
        "result",
        "runner",
        "sequence",
        "slot",
        "started",
        "state",
        "store",
        "taken",
        "task_done",
        "thread",
        "vetoed",
        "worker",
        "worker_id",
    )  # fmt: skip

    def __init__(
        self, job: Job, definition: Definition | None, worker_id: WorkerId, store: Store
    ) -> None:
        self.job: Job = job
        self.definition: Definition | None = definition
        self.worker_id: WorkerId = worker_id
        self.store: Store = store
        self.worker: Any = None
        self.taken: Taken = _INLINE
        self.lifecycle: JobLifecycle = PLAIN
        self.error: BaseException | None = None
        self.result: Any = None
        self.performed: bool = False
        self.vetoed: bool = False
        self.outcome: Outcome | None = None
        self.effects: list[Command] = []
        self.on_return: list[Command] = []
        self.interrupted: bool = False
        self.cancelled: bool = False
        self.begun: bool = False
        self.task_done: bool = False
        self.ended: bool = False
        self.runner: Runner | None = None
        self.slot: Slot | None = None
        self.thread: int = 0
        self.state: dict[Any, Any] = {}
        self.attempt: tuple[int, int] | None = None  # which of how many, where it is known
        # For the pool only.
        self.clock: Clock = SYSTEM_CLOCK  # Redis', where a worker runs it
        self.sequence: int = 0  # its number among the runs of this process
        self.started: float = 0.0  # when it was taken, by the monotonic clock

    @property
    def queue(self) -> str:
        """The queue the job was taken from."""
        return self.job.queue

    @property
    def args(self) -> list[Any]:
        """The job's arguments."""
        return self.job.args

    @property
    def class_name(self) -> str:
        """The task's name."""
        return self.job.class_name

    @property
    def beginning(self) -> bytes:
        """The first bytes of its record, by which Redis knows the run."""
        return self.taken.beginning

    @property
    def run_at(self) -> str:
        """The time in its record, which names the run."""
        return self.taken.run_at

    @property
    def scheduled_at(self) -> datetime | None:
        """The time for which a periodic task's job was enqueued; None: somebody enqueued it."""
        at_ms = periodic.time_of(self.job)
        return None if at_ms is None else periodic.to_datetime(at_ms)

    @property
    def queue_object(self) -> Any:
        """The worker's `Queue`, for plugins and tasks that enqueue; the name is node-resque's."""
        return self.worker.queue

    @property
    def inline(self) -> bool:
        """Whether it runs by `perform_inline`: it is on nobody's record, and its end is not written."""
        return self.taken is _INLINE


current_run: ContextVar[Run] = ContextVar("resqpy_current_run")
