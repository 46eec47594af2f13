"""The built-in plugins, by the names node-resque has for them."""

from resqpy.plugins.job_lock import JobLock
from resqpy.plugins.noop import Noop
from resqpy.plugins.queue_lock import DelayQueueLock, QueueLock
from resqpy.plugins.retry import Retry

__all__ = ["DelayQueueLock", "JobLock", "Noop", "QueueLock", "Retry"]
