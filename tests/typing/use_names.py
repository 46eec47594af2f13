"""The public names as a strict user writes them: read by mypy and pyright (`bin/check`), never run.

`test_public_names.py` sees to it that none is missing here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import assert_type

import resqpy
from resqpy import (
    ActiveTask,
    AlreadyFinished,
    AlreadySaving,
    CallNext,
    ConfigError,
    DeadlinePassed,
    Deposed,
    Dequeuing,
    DuplicateDelayedJob,
    DuplicateTask,
    EmbeddedRedisError,
    Enqueued,
    Enqueuing,
    FailedJob,
    FinishInProgress,
    Handle,
    HookTimeout,
    ImportFailed,
    Initializer,
    Input,
    Inspector,
    InvalidInputs,
    InvalidJob,
    InvalidQueueName,
    InvalidTask,
    Job,
    JobCancelled,
    JobFailure,
    JobTimeout,
    Limit,
    Listener,
    ListenerDestroyed,
    LoadFailed,
    LockLost,
    MalformedTask,
    Middleware,
    MultiWorker,
    NoEventLoop,
    NotInFailed,
    NotStarted,
    OutcomeUnknown,
    PayloadError,
    Plugin,
    PoisonPill,
    PoolStateError,
    Process,
    Project,
    ProjectErrors,
    ProjectProblem,
    Queue,
    QueueFull,
    Rate,
    RedisOptions,
    ResqpyError,
    Resque,
    Run,
    ScalingOptions,
    Scheduler,
    SchedulerOptions,
    ShadowRefused,
    Snooze,
    SnoozedTooOften,
    Store,
    StoreError,
    StoreMisconfigured,
    StoreUnavailable,
    SyncQueue,
    Task,
    TaskCall,
    TaskChanged,
    TaskJob,
    TaskRefused,
    TaskStateError,
    TaskUnfinished,
    TrackedApi,
    TrackedError,
    TrackedTask,
    UnderReplicated,
    UnknownOption,
    UnknownTask,
    UnknownTaskId,
    UsageError,
    Worker,
    WorkerDied,
    WorkerOptions,
    WorkerStopped,
    WrongCursor,
    WrongLoop,
    api,
    converter,
    current_run,
    current_task,
    lifespan,
    open_project,
    per_process,
    resource,
    task,
)
from resqpy.testing import (
    Drained,
    DrainedJob,
    EnqueuedJob,
    Event,
    ManualClock,
    PrivateServer,
    SyncRunner,
    capture_events,
    delete_enqueued,
    drain,
    find_enqueued,
    manual_clock,
    override,
    run_full_task,
    run_task,
)

OPTIONS = RedisOptions(url="redis://localhost:6379/0")


converter(complex, to_json=str, from_json=complex)


class Greet(Task):
    """A task."""

    inputs = {"name": Input(required=True, formatter=str.strip, validator=str.isalpha)}
    plugins = ["JobLock"]

    async def run(self, name: str) -> str:
        """Greet."""
        run = current_run.get()
        assert_type(run.queue, str)
        tracked = current_task()
        if tracked is not None:
            await tracked.save()
        if run.snoozed < 3:
            raise Snooze(60_000, reason="not yet", most=3)
        return f"Hello, {name}!"


@task(frequency=1000, retry=2, limit=[Limit(4), Rate(2, key="a")])
async def tick() -> None:
    """Do a little every second."""
    api.log.info("tick")


class Noting(Middleware):
    """A middleware."""

    def pre_processor(self, call: TaskCall) -> bool:
        """Before a run."""
        return bool(call.params)

    def around_run(self, call: TaskCall) -> Iterator[None]:
        """Around the task's function."""
        yield

    def on_failure(self, failure: JobFailure) -> None:
        """It failed."""
        print(failure.name, failure.will_retry, failure.traceback)


@per_process
async def pool() -> AsyncIterator[int]:
    """A resource of the process."""
    yield 1


async def session(pool: int = resource(pool)) -> AsyncIterator[str]:
    """A resource of a job."""
    yield str(pool)


@task
async def report(*, db: str = resource(session)) -> str:
    """With a resource."""
    return db


class Careful(Plugin):
    """A plugin."""

    async def before_perform(self, run: Run) -> bool:
        """Before a run."""
        return run.queue != "never"

    async def around(self, run: Run, call_next: CallNext) -> None:
        """Around it."""
        await call_next()


class Clock(Initializer):
    """An initializer."""

    async def initialize(self) -> datetime:
        """What `api.clock` is."""
        return datetime.now(UTC)


def add(a: int, b: int) -> int:
    """A plain task."""
    return a + b


async def the_engine() -> None:
    """Without a project."""
    store = Store(OPTIONS)
    async with Queue(OPTIONS) as queue, Resque(store) as resque:
        await queue.connect()
        assert_type(await queue.enqueue("default", "add", [1, 2]), bool)
        await queue.enqueue_many([("default", "add", [1, 2]), ("default", "add", (3, 4))])
        await queue.enqueue_in(timedelta(seconds=1), "default", "add", [1, 2])
        await queue.end()
        assert_type(await resque.lengths(), dict[str, int])
        async for job in resque.each_failed():
            print(job.error, job.exception)
    inspector = Inspector(store)
    assert_type(await inspector.queues(), list[str])
    worker = Worker(OPTIONS, {"add": add}, ["default"], WorkerOptions(timeout_s=10))
    worker.on("success", lambda *args: print(args))
    async with worker:
        await worker.wait()
    scaling = ScalingOptions(min_task_processors=1, max_task_processors=2)
    async with MultiWorker(OPTIONS, {}, "*", scaling=scaling) as workers:
        await workers.wait()
    async with Scheduler(OPTIONS, {}, SchedulerOptions(name="a")) as scheduler:
        assert_type(scheduler.leader, bool)
    async with TrackedApi(store) as tracked:
        made = await tracked.create("resize", {"file": "a.png"}, delay=5_000)
        print(made.id, made.status)


def in_threads() -> None:
    """Synchronous code."""
    with SyncQueue(OPTIONS, timeout=timedelta(seconds=5)) as queue:
        assert_type(queue.enqueue("default", "add", [1, 2]), bool)
        assert_type(queue.length("default"), int)
        for job in queue.each_failed(exception="KeyError"):
            queue.retry_and_remove_failed(job)
        queue.end()
    queue.enqueue("default")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    queue.length(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def misspelled() -> None:
    """A name that isn't there."""
    _queue: object = resqpy.Quue  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]


async def a_project() -> None:
    """With a project."""
    project = Project.load(".")
    async with Process(project, worker=True) as process:
        await api.tasks.enqueue(Greet, {"name": "Ada"})
        print(process.resque.multi_worker)
    async with open_project(".", worker=True) as process:
        await api.tasks.enqueue_in(1_000, "tick")
        process.request_stop()
    living = lifespan(".", worker=False)
    async with living(object()):
        await Greet.enqueue(name="Ada")


def testing_synchronously(resqpy_run: SyncRunner) -> None:
    """Its verbs without an event loop."""
    assert_type(resqpy_run(find_enqueued, Greet), list[EnqueuedJob])
    assert_type(resqpy_run(drain, delayed=True), Drained)
    assert_type(resqpy_run(Greet.enqueue, name="Ada"), Enqueued)
    resqpy_run(drain, delay=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    resqpy_run(Greet.enqueue, name=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def testing(resqpy_clock: ManualClock, server: PrivateServer) -> AsyncIterator[str]:
    """`resqpy.testing`."""
    assert_type(await find_enqueued(Greet), list[EnqueuedJob])
    assert_type(await delete_enqueued("greet"), int)
    drained: Drained = await drain(delayed=True)
    first: DrainedJob = drained.succeeded[0]
    print(first.result, await run_task(Greet, {"name": "Ada"}), await run_full_task("tick"))
    with override(session, "mine"):
        await report.enqueue()
    with manual_clock(), capture_events(api.resque.multi_worker, "success") as events:
        event: Event = events[0]
        print(event.name)
    await resqpy_clock.advance(timedelta(days=1))
    yield server.url


ERRORS: tuple[type[ResqpyError], ...] = (
    HookTimeout,
    ResqpyError,
    UsageError,
    InvalidJob,
    InvalidQueueName,
    InvalidTask,
    UnknownTask,
    UnknownOption,
    ImportFailed,
    PayloadError,
    StoreError,
    StoreUnavailable,
    OutcomeUnknown,
    StoreMisconfigured,
    EmbeddedRedisError,
    DuplicateDelayedJob,
    NotInFailed,
    TaskUnfinished,
    JobTimeout,
    JobCancelled,
    DeadlinePassed,
    WorkerStopped,
    PoolStateError,
    QueueFull,
    NoEventLoop,
    WrongLoop,
    ConfigError,
    InvalidInputs,
    NotStarted,
    LoadFailed,
    Deposed,
    WorkerDied,
    PoisonPill,
    ShadowRefused,
    SnoozedTooOften,
    TrackedError,
    UnderReplicated,
    UnknownTaskId,
    DuplicateTask,
    TaskChanged,
    TaskRefused,
    TaskStateError,
    AlreadyFinished,
    FinishInProgress,
    LockLost,
    MalformedTask,
    AlreadySaving,
    WrongCursor,
    ListenerDestroyed,
)


async def errors_and_hook_types(
    handle: Handle[[int]], enqueuing: Enqueuing, dequeuing: Dequeuing
) -> None:
    """What is caught, and what hooks and handlers are given."""
    try:
        await handle.enqueue(1)
    except InvalidInputs as error:
        print(error, ERRORS)
    assert_type(enqueuing.queue, str)
    assert_type(dequeuing.removed, int)
    job: Job = current_run.get().job
    failed: FailedJob = (await api.tasks.failed())[0]
    print(job.class_name, failed.error)


async def handler(active: ActiveTask) -> None:
    """Of a tracked task."""
    await active.save()


def shown(made: TrackedTask) -> str:
    """A tracked task from outside."""
    return made.id


async def wrong_projects(listener: Listener, handle: Handle[[int]]) -> list[ProjectProblem]:
    """What is wrong with a project, as values; several jobs at once; a listener that ends."""
    jobs: list[TaskJob] = [handle.job(1), handle.job(2)]
    await handle.enqueue_many(jobs)
    listener.stop()
    try:
        Project.load(".", tasks=["shop.jobs"]).check()
    except ProjectErrors as error:
        return list(error.problems)
    return []
