"""`api.resque`: the queue, the multi worker and the scheduler of this process, or their replacements."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from resqpy.base.concurrency.limited import within
from resqpy.base.errors import UsageError, repr_of
from resqpy.engine.definition import Definition
from resqpy.engine.inspect.inspector import Inspector
from resqpy.engine.queue.periodic import RecurrentJobs
from resqpy.engine.queue.queue import Queue
from resqpy.engine.worker.worker import Worker
from resqpy.framework.config.config import scaling_options, scheduler_options, worker_options
from resqpy.framework.config.kinds import QUEUES
from resqpy.framework.logs.events import EventLog
from resqpy.framework.logs.log import Filter
from resqpy.framework.process.counting import JobCounts
from resqpy.framework.project.overrides import PARTS, part
from resqpy.framework.project.project import Project
from resqpy.framework.tasks.failures import FailureListeners
from resqpy.store.connection.client import Store
from resqpy.tracked.delivery import Deliveries, with_tracking
from resqpy.tracked.processing import LockKeeper, VerbInterceptor

if TYPE_CHECKING:
    from resqpy.engine.inspect.inspector import Resque
    from resqpy.engine.worker.multi_worker import MultiWorker
    from resqpy.framework.api.scheduler import Scheduler

_QUEUES_WITHIN_S = 60.0  # time limit of the function that returns the queues


class ResqueParts:
    """The parts of one process.

    Attributes:
        queue: enqueues and deletes; ours has the inspector's verbs too.
        own_queue: the same, unless it is replaced by something else.
        inspector: reads and repairs, on the same connection.
        recurrent: starts and stops periodic tasks.
        multi_worker: None if this process runs no jobs.
        scheduler: None if this process has none.
        failures: tells the project's middleware of failed jobs.
        store: the Redis of all of them.
        log: writes their events.
        task_locks: renews the locks of all tracked tasks that run in this process.
        counts: what ran here.
    """

    queue: Resque
    multi_worker: MultiWorker | None
    scheduler: Scheduler | None

    def __init__(self, project: Project, store: Store, log: EventLog) -> None:
        self._project = project
        self.log: EventLog = log
        self.store = store
        self._parts = {name: part(name, project.config) for name in PARTS}
        definitions = project.registry.definitions
        made: Any = self._parts["queue"](store, definitions)
        self.queue = made
        has_inspector = isinstance(made, Inspector)
        self.inspector: Inspector = (
            made if has_inspector else Inspector(made if isinstance(made, Queue) else store)
        )
        own = made if isinstance(made, Queue) else Queue(store, definitions)
        self.own_queue: Queue = own
        self.recurrent: RecurrentJobs = RecurrentJobs(own)
        self.multi_worker = self.scheduler = None
        self.failures: FailureListeners = FailureListeners(
            project.registry, Filter(project.config.logger)
        )
        self.counts: JobCounts = JobCounts(project.registry.definitions)
        self.task_locks: LockKeeper = LockKeeper(store.options)
        self.task_interceptors: list[VerbInterceptor] = []

    async def make_worker(self) -> None:
        """Create the multi worker without starting it."""
        config = self._project.config
        queues = await self._queues()
        self.multi_worker = self._parts["multi_worker"](
            self.store,
            self.definitions_for_work(),
            queues,
            worker_options(config),
            scaling_options(config),
        )
        self.log.follow_worker(self.multi_worker)
        self.follow(self.multi_worker)
        self.multi_worker.after_beat = self.counts.flush
        if hasattr(self.multi_worker, "queue"):
            self.multi_worker.queue = self.queue

    def follow(self, worker: MultiWorker) -> None:
        """Hear of the jobs of a worker of this process."""
        self.failures.follow(worker)
        self.counts.follow(worker)

    def definitions_for_work(self) -> Mapping[str, Definition]:
        """The project's tasks as a worker has them: tracked ones write their records."""
        deliveries = Deliveries(self.task_locks, verb_interceptors=self.task_interceptors)
        return with_tracking(self._project.registry.definitions, deliveries)

    def inline_worker(self, definitions: Mapping[str, Definition] | None = None) -> Worker:
        """A worker that is never started, for `perform_inline`.

        Args:
            definitions: instead of the project's.
        """
        worker = Worker(self.store, definitions or self._project.registry.definitions)
        worker.queue = self.queue  # of another class, if replaced
        return worker

    async def _queues(self) -> Any:
        """The names of the queues; a function is called once, when the process starts."""
        queues: Any = self._project.config.tasks.queues
        if not callable(queues):
            return queues
        try:
            return QUEUES.check(
                await within(_called(queues), _QUEUES_WITHIN_S, _late, "tasks.queues")
            )
        except Exception as error:  # users' functions may raise anything
            name = getattr(queues, "__qualname__", repr(queues))
            message = str(error) if isinstance(error, UsageError) else repr_of(error)
            raise UsageError(f"tasks.queues: the function {name}: {message}") from error

    def make_scheduler(self) -> None:
        """Create the scheduler without starting it."""
        self.scheduler = self._parts["scheduler"](
            self.store, self._project.registry.definitions, scheduler_options(self._project.config)
        )
        self.log.follow_scheduler(self.scheduler)
        self.failures.follow_scheduler(self.scheduler)
        self.counts.follow_scheduler(self.scheduler)


async def _called(queues: Callable[[], Any]) -> Any:
    given = queues()
    return await given if inspect.isawaitable(given) else given


def _late() -> UsageError:
    return UsageError(f"it took longer than {_QUEUES_WITHIN_S:g} s")
