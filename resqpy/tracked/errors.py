"""The errors of tracked tasks."""

from __future__ import annotations

from resqpy.base.errors import ResqpyError, UsageError


class TrackedError(ResqpyError):
    """Something is wrong with a tracked task."""


class UnknownTaskId(TrackedError):
    """There is no record of this tracked task: it was removed, or its retention is over."""


class MalformedTask(TrackedError):
    """The record of a tracked task can't be read: somebody has changed it. It is left alone."""


class DuplicateTask(TrackedError, UsageError):
    """A tracked task with this id exists already."""


class TaskRefused(TrackedError):
    """A plugin or a middleware forbade a tracked task; nothing was written."""


class TaskStateError(TrackedError):
    """A tracked task is in a status in which this is not possible."""


class AlreadyFinished(TrackedError):
    """Processing of this task has finished already; nothing was written."""


class FinishInProgress(TrackedError):
    """Another call is finishing this task right now; await that one."""


class LockLost(TrackedError):
    """The lock on this task is lost: another worker may be running it; nothing was written."""


class AlreadySaving(TrackedError):
    """The payload of this task is being saved right now; await that call first."""


class ListenerDestroyed(TrackedError):
    """The listener was destroyed; create a new one."""


class TaskChanged(TrackedError):
    """Somebody else has changed this task since it was read; nothing was written."""
