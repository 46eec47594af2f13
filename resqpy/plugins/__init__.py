"""The built-in plugins, by the names node-resque has for them."""

from resqpy.plugins.locks import DelayQueueLock, JobLock, QueueLock
from resqpy.plugins.noop import Noop
from resqpy.plugins.retry import Retry

__all__ = ["DelayQueueLock", "JobLock", "Noop", "QueueLock", "Retry"]
