"""What can be wrong with a tracked task."""

from __future__ import annotations

from resqpy.base.errors import ResqpyError, UsageError


class TrackedError(ResqpyError):
    """Something about a tracked task is not as it should be."""


class UnknownTaskId(TrackedError):
    """No record knows this tracked task: it was removed, or its retention is over."""


class MalformedTask(TrackedError):
    """The record of a tracked task can't be read: somebody has changed it. It is left as it is."""


class DuplicateTask(TrackedError, UsageError):
    """There is a tracked task with this id already."""


class TaskRefused(TrackedError):
    """A plugin or a middleware forbade a tracked task; nothing was written."""


class TaskStateError(TrackedError):
    """A tracked task is not in a status in which this can be done."""


class AlreadyFinished(TrackedError):
    """Processing of this task has finished already; nothing was written."""


class FinishInProgress(TrackedError):
    """Another call is finishing this task right now; await that one."""


class LockLost(TrackedError):
    """The lock on this task is lost: another worker may run it by now; nothing was written."""


class AlreadySaving(TrackedError):
    """The payload of this task is being saved right now; await that call first."""


class ListenerDestroyed(TrackedError):
    """The listener was destroyed; make a new one."""
