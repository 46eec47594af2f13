"""resqpy: background work in Python, in the same Redis as Ruby's and Node's Resque workers."""

from resqpy.engine.multi_worker import MultiWorker
from resqpy.engine.options import ScalingOptions, WorkerOptions
from resqpy.engine.plugin import Plugin
from resqpy.engine.queue import Queue
from resqpy.engine.worker import Worker
from resqpy.store.client import Store
from resqpy.store.options import RedisOptions

__all__ = [
    "MultiWorker",
    "Plugin",
    "Queue",
    "RedisOptions",
    "ScalingOptions",
    "Store",
    "Worker",
    "WorkerOptions",
]
