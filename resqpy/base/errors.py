"""The tree of errors. The class docstring is the default message; raise with a more specific one where
possible.
"""

from __future__ import annotations


class ResqpyError(Exception):
    """Something went wrong in resqpy."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").splitlines()[0])


class UsageError(ResqpyError, ValueError):
    """An argument or a setting is wrong."""


class InvalidJob(UsageError):
    """A job's arguments can't be encoded so that every Resque worker can read them."""


class InvalidQueueName(UsageError):
    """A queue name can't be used."""


class InvalidTask(UsageError):
    """A task is not defined correctly."""


class UnknownTask(UsageError):
    """No task of that name is defined."""


class UnknownOption(UsageError):
    """An option is not known."""


class ImportFailed(UsageError):
    """A dotted path can't be imported."""


class PayloadError(ResqpyError):
    """A payload from Redis is not a valid job."""


class StoreError(ResqpyError):
    """Redis answered with an error."""


class StoreUnavailable(StoreError):
    """Redis can't be reached or is not accepting commands now; nothing was written."""


class OutcomeUnknown(StoreError):
    """The connection was lost before Redis replied: the command may or may not have been executed."""


class UnderReplicated(StoreError):
    """It was written, but too few replicas confirmed it in time: a failover now could lose it."""


class StoreMisconfigured(StoreError):
    """This Redis can't be used as configured."""


class EmbeddedRedisError(ResqpyError):
    """The embedded Redis can't be started."""


class QueueFull(ResqpyError):
    """A queue has as many jobs as it may have; nothing was enqueued.

    Attributes:
        queue: its name.
        limit: how many jobs may wait in it.
        enqueued: how many jobs of the same call were enqueued all the same.
    """

    queue: str = ""
    limit: int = 0
    enqueued: int = 0


class DuplicateDelayedJob(ResqpyError):
    """Job already enqueued at this time with same arguments."""


class NotInFailed(ResqpyError):
    """This job is not in failed queue."""


class TaskUnfinished(ResqpyError):
    """A task returned something that still has to run."""


class JobTimeout(ResqpyError):
    """The job ran longer than its time limit."""


class HookTimeout(ResqpyError):
    """A hook of a plugin, a middleware or an initializer exceeded its time limit."""


class JobCancelled(ResqpyError):
    """The running job was cancelled on request."""


class WorkerStopped(ResqpyError):
    """The worker stopped before the job ended."""


class PoolStateError(ResqpyError):
    """The worker is in a state in which this is not possible."""


class NoEventLoop(UsageError):
    """No event loop is running here, so nothing can be awaited."""


class WrongLoop(UsageError):
    """This belongs to another event loop."""


class ConfigError(UsageError):
    """A setting is wrong."""


class InvalidInputs(UsageError):
    """The inputs of a job don't match what its task declares."""


class NotStarted(ResqpyError):
    """No resqpy process has been started here."""


class LoadFailed(UsageError):
    """The project can't be loaded."""


class Deposed(ResqpyError):
    """Another scheduler is the leader now; nothing was written."""


class WorkerDied(ResqpyError):
    """The worker died while running this job, which may run only once."""


class PoisonPill(ResqpyError):
    """The job's worker died too often."""


class WrongCursor(UsageError):
    """This cursor belongs to another query."""
