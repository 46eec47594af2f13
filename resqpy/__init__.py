"""resqpy: background jobs in Python, in the same Redis as Ruby's and Node's Resque workers.

The public names are imported on first use, so that `import resqpy` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from resqpy.base.imports import names_at_first_use, refuse_namesake

__all__: list[str]

refuse_namesake(__file__)

if TYPE_CHECKING:
    from resqpy.base.errors import (
        ConfigError as ConfigError,
        DeadlinePassed as DeadlinePassed,
        Deposed as Deposed,
        DuplicateDelayedJob as DuplicateDelayedJob,
        EmbeddedRedisError as EmbeddedRedisError,
        HookTimeout as HookTimeout,
        ImportFailed as ImportFailed,
        InvalidInputs as InvalidInputs,
        InvalidJob as InvalidJob,
        InvalidQueueName as InvalidQueueName,
        InvalidTask as InvalidTask,
        JobCancelled as JobCancelled,
        JobTimeout as JobTimeout,
        LoadFailed as LoadFailed,
        NoEventLoop as NoEventLoop,
        NotInFailed as NotInFailed,
        NotStarted as NotStarted,
        OutcomeUnknown as OutcomeUnknown,
        PayloadError as PayloadError,
        PoisonPill as PoisonPill,
        PoolStateError as PoolStateError,
        QueueFull as QueueFull,
        ResqpyError as ResqpyError,
        ShadowRefused as ShadowRefused,
        SnoozedTooOften as SnoozedTooOften,
        StoreError as StoreError,
        StoreMisconfigured as StoreMisconfigured,
        StoreUnavailable as StoreUnavailable,
        TaskUnfinished as TaskUnfinished,
        UnderReplicated as UnderReplicated,
        UnknownOption as UnknownOption,
        UnknownTask as UnknownTask,
        UsageError as UsageError,
        WorkerDied as WorkerDied,
        WorkerStopped as WorkerStopped,
        WrongCursor as WrongCursor,
        WrongLoop as WrongLoop,
    )
    from resqpy.base.json_forms import converter as converter
    from resqpy.base.limits import Limit as Limit, Rate as Rate
    from resqpy.base.model import Enqueued as Enqueued, FailedJob as FailedJob, Job as Job
    from resqpy.engine.inspect.inspector import Inspector as Inspector, Resque as Resque
    from resqpy.engine.lifecycle import Snooze as Snooze
    from resqpy.engine.options import (
        ScalingOptions as ScalingOptions,
        WorkerOptions as WorkerOptions,
    )
    from resqpy.engine.plugin import (
        CallNext as CallNext,
        Dequeuing as Dequeuing,
        Enqueuing as Enqueuing,
        Plugin as Plugin,
    )
    from resqpy.engine.queue.queue import Queue as Queue
    from resqpy.engine.run import Run as Run, current_run as current_run
    from resqpy.engine.worker.multi_worker import MultiWorker as MultiWorker
    from resqpy.engine.worker.worker import Worker as Worker
    from resqpy.framework.api.api import api as api
    from resqpy.framework.api.blocking import SyncQueue as SyncQueue
    from resqpy.framework.api.scheduler import Scheduler as Scheduler
    from resqpy.framework.api.tracking import TrackedApi as TrackedApi, current_task as current_task
    from resqpy.framework.config.sections import SchedulerOptions as SchedulerOptions
    from resqpy.framework.process.embedding import (
        lifespan as lifespan,
        open_project as open_project,
    )
    from resqpy.framework.process.initializer import Initializer as Initializer
    from resqpy.framework.process.process import Process as Process
    from resqpy.framework.project.problems import (
        ProjectErrors as ProjectErrors,
        ProjectProblem as ProjectProblem,
    )
    from resqpy.framework.project.project import Project as Project
    from resqpy.framework.tasks.failures import JobFailure as JobFailure
    from resqpy.framework.tasks.handle import Handle as Handle, TaskJob as TaskJob
    from resqpy.framework.tasks.inputs import Input as Input
    from resqpy.framework.tasks.middleware import Middleware as Middleware, TaskCall as TaskCall
    from resqpy.framework.tasks.resources import per_process as per_process, resource as resource
    from resqpy.framework.tasks.task import Task as Task, task as task
    from resqpy.store.connection.client import Store as Store
    from resqpy.store.connection.options import RedisOptions as RedisOptions
    from resqpy.tracked.active import ActiveTask as ActiveTask
    from resqpy.tracked.delivery import Listener as Listener
    from resqpy.tracked.errors import (
        AlreadyFinished as AlreadyFinished,
        AlreadySaving as AlreadySaving,
        DuplicateTask as DuplicateTask,
        FinishInProgress as FinishInProgress,
        ListenerDestroyed as ListenerDestroyed,
        LockLost as LockLost,
        MalformedTask as MalformedTask,
        TaskChanged as TaskChanged,
        TaskRefused as TaskRefused,
        TaskStateError as TaskStateError,
        TrackedError as TrackedError,
        UnknownTaskId as UnknownTaskId,
    )
    from resqpy.tracked.handle import TrackedTask as TrackedTask

# The same at run time, where nothing is imported before it is used.
_NAMES = {
    "base.errors": """
        ConfigError DeadlinePassed Deposed DuplicateDelayedJob EmbeddedRedisError HookTimeout ImportFailed
        InvalidInputs InvalidJob InvalidQueueName InvalidTask JobCancelled JobTimeout
        LoadFailed NoEventLoop NotInFailed NotStarted OutcomeUnknown PayloadError PoisonPill
        PoolStateError QueueFull ResqpyError ShadowRefused SnoozedTooOften StoreError StoreMisconfigured
        StoreUnavailable TaskUnfinished UnderReplicated UnknownOption UnknownTask UsageError WorkerDied
        WorkerStopped WrongCursor WrongLoop
    """,
    "base.json_forms": "converter",
    "base.limits": "Limit Rate",
    "base.model": "Enqueued FailedJob Job",
    "engine.inspect.inspector": "Inspector Resque",
    "engine.worker.multi_worker": "MultiWorker",
    "engine.lifecycle": "Snooze",
    "engine.options": "ScalingOptions WorkerOptions",
    "engine.plugin": "CallNext Dequeuing Enqueuing Plugin",
    "engine.queue.queue": "Queue",
    "engine.run": "Run current_run",
    "engine.worker.worker": "Worker",
    "framework.api.api": "api",
    "framework.api.blocking": "SyncQueue",
    "framework.process.embedding": "lifespan open_project",
    "framework.tasks.failures": "JobFailure",
    "framework.tasks.handle": "Handle TaskJob",
    "framework.process.initializer": "Initializer",
    "framework.tasks.inputs": "Input",
    "framework.tasks.middleware": "Middleware TaskCall",
    "framework.process.process": "Process",
    "framework.project.problems": "ProjectErrors ProjectProblem",
    "framework.project.project": "Project",
    "framework.api.scheduler": "Scheduler",
    "framework.config.sections": "SchedulerOptions",
    "framework.tasks.resources": "per_process resource",
    "framework.tasks.task": "Task task",
    "framework.api.tracking": "TrackedApi current_task",
    "store.connection.client": "Store",
    "store.connection.options": "RedisOptions",
    "tracked.active": "ActiveTask",
    "tracked.errors": """
        AlreadyFinished AlreadySaving DuplicateTask FinishInProgress ListenerDestroyed LockLost
        MalformedTask TaskChanged TaskRefused TaskStateError TrackedError UnknownTaskId
    """,
    "tracked.handle": "TrackedTask",
    "tracked.delivery": "Listener",
}

if not TYPE_CHECKING:  # a type checker that sees `__getattr__` accepts any name
    _modules = {name: module for module, names in _NAMES.items() for name in names.split()}
    __all__ = sorted(_modules)
    __getattr__, __dir__ = names_at_first_use("resqpy", _modules)
