"""resqpy: background work in Python, in the same Redis as Ruby's and Node's Resque workers.

The public names are imported when they are first used, so that `import resqpy` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from resqpy.base.imports import names_at_first_use

if TYPE_CHECKING:
    from resqpy.engine.inspector import Inspector
    from resqpy.engine.multi_worker import MultiWorker
    from resqpy.engine.options import ScalingOptions, WorkerOptions
    from resqpy.engine.plugin import Plugin
    from resqpy.engine.queue import Queue
    from resqpy.engine.resque import Resque
    from resqpy.engine.run import current_run
    from resqpy.engine.scheduler import Scheduler
    from resqpy.engine.scheduler_options import SchedulerOptions
    from resqpy.engine.worker import Worker
    from resqpy.framework.api import api
    from resqpy.framework.blocking import SyncQueue
    from resqpy.framework.embedding import lifespan, open_project
    from resqpy.framework.initializer import Initializer
    from resqpy.framework.inputs import Input
    from resqpy.framework.middleware import Middleware
    from resqpy.framework.process import Process
    from resqpy.framework.project import Project
    from resqpy.framework.task import Task, task
    from resqpy.framework.tracking import TrackedApi, current_task
    from resqpy.store.client import Store
    from resqpy.store.options import RedisOptions

__all__ = [
    "Initializer",
    "Input",
    "Inspector",
    "Middleware",
    "MultiWorker",
    "Plugin",
    "Process",
    "Project",
    "Queue",
    "RedisOptions",
    "Resque",
    "ScalingOptions",
    "Scheduler",
    "SchedulerOptions",
    "Store",
    "SyncQueue",
    "Task",
    "TrackedApi",
    "Worker",
    "WorkerOptions",
    "api",
    "current_run",
    "current_task",
    "lifespan",
    "open_project",
    "task",
]

_MODULES = {
    "Initializer": "framework.initializer",
    "Input": "framework.inputs",
    "Inspector": "engine.inspector",
    "Middleware": "framework.middleware",
    "MultiWorker": "engine.multi_worker",
    "Plugin": "engine.plugin",
    "Process": "framework.process",
    "Project": "framework.project",
    "Queue": "engine.queue",
    "RedisOptions": "store.options",
    "Resque": "engine.resque",
    "ScalingOptions": "engine.options",
    "Scheduler": "engine.scheduler",
    "SchedulerOptions": "engine.scheduler_options",
    "Store": "store.client",
    "SyncQueue": "framework.blocking",
    "Task": "framework.task",
    "TrackedApi": "framework.tracking",
    "Worker": "engine.worker",
    "WorkerOptions": "engine.options",
    "api": "framework.api",
    "current_run": "engine.run",
    "current_task": "framework.tracking",
    "lifespan": "framework.embedding",
    "open_project": "framework.embedding",
    "task": "framework.task",
}

if not TYPE_CHECKING:  # a type checker that sees `__getattr__` takes any name for one of ours
    __getattr__, __dir__ = names_at_first_use("resqpy", _MODULES)
