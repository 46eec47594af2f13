"""The built-in plugins, with node-resque's names."""

from resqpy.plugins.locks import DelayQueueLock, JobLock, QueueLock
from resqpy.plugins.noop import Noop
from resqpy.plugins.retry import Retry

__all__ = ["DelayQueueLock", "JobLock", "Noop", "QueueLock", "Retry"]
