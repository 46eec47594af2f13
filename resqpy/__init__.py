"""resqpy: background work in Python, in the same Redis as Ruby's and Node's Resque workers.

The public names are imported when they are first used, so that `import resqpy` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from resqpy.base.imports import names_at_first_use

if TYPE_CHECKING:
    from resqpy.base.errors import (
        ConfigError,
        Deposed,
        DuplicateDelayedJob,
        EmbeddedRedisError,
        HookTimeout,
        ImportFailed,
        InvalidInputs,
        InvalidJob,
        InvalidQueueName,
        InvalidTask,
        JobCancelled,
        JobTimeout,
        LoadFailed,
        NoEventLoop,
        NotInFailed,
        NotStarted,
        OutcomeUnknown,
        PayloadError,
        PoisonPill,
        PoolStateError,
        ResqpyError,
        StoreError,
        StoreMisconfigured,
        StoreUnavailable,
        TaskUnfinished,
        UnderReplicated,
        UnknownOption,
        UnknownTask,
        UsageError,
        WorkerDied,
        WorkerStopped,
        WrongCursor,
        WrongLoop,
    )
    from resqpy.base.model import FailedJob, Job
    from resqpy.engine.inspector import Inspector
    from resqpy.engine.multi_worker import MultiWorker
    from resqpy.engine.options import ScalingOptions, WorkerOptions
    from resqpy.engine.plugin import CallNext, Enqueuing, Plugin
    from resqpy.engine.queue import Queue
    from resqpy.engine.resque import Resque
    from resqpy.engine.run import Run, current_run
    from resqpy.engine.worker import Worker
    from resqpy.framework.api import api
    from resqpy.framework.blocking import SyncQueue
    from resqpy.framework.embedding import lifespan, open_project
    from resqpy.framework.handle import Handle
    from resqpy.framework.initializer import Initializer
    from resqpy.framework.inputs import Input
    from resqpy.framework.middleware import Middleware
    from resqpy.framework.process import Process
    from resqpy.framework.project import Project
    from resqpy.framework.scheduler import Scheduler
    from resqpy.framework.sections import SchedulerOptions
    from resqpy.framework.task import Task, task
    from resqpy.framework.task_call import TaskCall
    from resqpy.framework.tracking import TrackedApi, current_task
    from resqpy.store.client import Store
    from resqpy.store.options import RedisOptions
    from resqpy.tracked.active import ActiveTask
    from resqpy.tracked.errors import (
        AlreadyFinished,
        AlreadySaving,
        DuplicateTask,
        FinishInProgress,
        ListenerDestroyed,
        LockLost,
        TaskRefused,
        TaskStateError,
        TrackedError,
        UnknownTaskId,
    )
    from resqpy.tracked.handle import TrackedTask

__all__ = [
    "ActiveTask",
    "AlreadyFinished",
    "AlreadySaving",
    "CallNext",
    "ConfigError",
    "Deposed",
    "DuplicateDelayedJob",
    "DuplicateTask",
    "EmbeddedRedisError",
    "Enqueuing",
    "FailedJob",
    "FinishInProgress",
    "Handle",
    "HookTimeout",
    "ImportFailed",
    "Initializer",
    "Input",
    "Inspector",
    "InvalidInputs",
    "InvalidJob",
    "InvalidQueueName",
    "InvalidTask",
    "Job",
    "JobCancelled",
    "JobTimeout",
    "ListenerDestroyed",
    "LoadFailed",
    "LockLost",
    "Middleware",
    "MultiWorker",
    "NoEventLoop",
    "NotInFailed",
    "NotStarted",
    "OutcomeUnknown",
    "PayloadError",
    "Plugin",
    "PoisonPill",
    "PoolStateError",
    "Process",
    "Project",
    "Queue",
    "RedisOptions",
    "ResqpyError",
    "Resque",
    "Run",
    "ScalingOptions",
    "Scheduler",
    "SchedulerOptions",
    "Store",
    "StoreError",
    "StoreMisconfigured",
    "StoreUnavailable",
    "SyncQueue",
    "Task",
    "TaskCall",
    "TaskRefused",
    "TaskStateError",
    "TaskUnfinished",
    "TrackedApi",
    "TrackedError",
    "TrackedTask",
    "UnderReplicated",
    "UnknownOption",
    "UnknownTask",
    "UnknownTaskId",
    "UsageError",
    "Worker",
    "WorkerDied",
    "WorkerOptions",
    "WorkerStopped",
    "WrongCursor",
    "WrongLoop",
    "api",
    "current_run",
    "current_task",
    "lifespan",
    "open_project",
    "task",
]

_MODULES = {
    "ActiveTask": "tracked.active",
    "AlreadyFinished": "tracked.errors",
    "AlreadySaving": "tracked.errors",
    "CallNext": "engine.plugin",
    "ConfigError": "base.errors",
    "Deposed": "base.errors",
    "DuplicateDelayedJob": "base.errors",
    "DuplicateTask": "tracked.errors",
    "EmbeddedRedisError": "base.errors",
    "Enqueuing": "engine.plugin",
    "FailedJob": "base.model",
    "FinishInProgress": "tracked.errors",
    "Handle": "framework.handle",
    "HookTimeout": "base.errors",
    "ImportFailed": "base.errors",
    "Initializer": "framework.initializer",
    "Input": "framework.inputs",
    "Inspector": "engine.inspector",
    "InvalidInputs": "base.errors",
    "InvalidJob": "base.errors",
    "InvalidQueueName": "base.errors",
    "InvalidTask": "base.errors",
    "Job": "base.model",
    "JobCancelled": "base.errors",
    "JobTimeout": "base.errors",
    "ListenerDestroyed": "tracked.errors",
    "LoadFailed": "base.errors",
    "LockLost": "tracked.errors",
    "Middleware": "framework.middleware",
    "MultiWorker": "engine.multi_worker",
    "NoEventLoop": "base.errors",
    "NotInFailed": "base.errors",
    "NotStarted": "base.errors",
    "OutcomeUnknown": "base.errors",
    "PayloadError": "base.errors",
    "Plugin": "engine.plugin",
    "PoisonPill": "base.errors",
    "PoolStateError": "base.errors",
    "Process": "framework.process",
    "Project": "framework.project",
    "Queue": "engine.queue",
    "RedisOptions": "store.options",
    "ResqpyError": "base.errors",
    "Resque": "engine.resque",
    "Run": "engine.run",
    "ScalingOptions": "engine.options",
    "Scheduler": "framework.scheduler",
    "SchedulerOptions": "framework.sections",
    "Store": "store.client",
    "StoreError": "base.errors",
    "StoreMisconfigured": "base.errors",
    "StoreUnavailable": "base.errors",
    "SyncQueue": "framework.blocking",
    "Task": "framework.task",
    "TaskCall": "framework.task_call",
    "TaskRefused": "tracked.errors",
    "TaskStateError": "tracked.errors",
    "TaskUnfinished": "base.errors",
    "TrackedApi": "framework.tracking",
    "TrackedError": "tracked.errors",
    "TrackedTask": "tracked.handle",
    "UnknownOption": "base.errors",
    "UnknownTask": "base.errors",
    "UnderReplicated": "base.errors",
    "UnknownTaskId": "tracked.errors",
    "UsageError": "base.errors",
    "Worker": "engine.worker",
    "WorkerDied": "base.errors",
    "WorkerOptions": "engine.options",
    "WorkerStopped": "base.errors",
    "WrongCursor": "base.errors",
    "WrongLoop": "base.errors",
    "api": "framework.api",
    "current_run": "engine.run",
    "current_task": "framework.tracking",
    "lifespan": "framework.embedding",
    "open_project": "framework.embedding",
    "task": "framework.task",
}

if not TYPE_CHECKING:  # a type checker that sees `__getattr__` takes any name for one of ours
    __getattr__, __dir__ = names_at_first_use("resqpy", _MODULES)
