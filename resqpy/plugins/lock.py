"""What JobLock and QueueLock have in common: how long they hold, and their key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, ClassVar

from resqpy.base import codec
from resqpy.base.errors import UsageError
from resqpy.base.when import Duration, lock_seconds
from resqpy.engine.plugin import Enqueuing, Plugin
from resqpy.engine.run import Run

DEFAULT_LOCK_TIMEOUT = timedelta(hours=1)  # node-resque's 3600 seconds

AnyJob = Enqueuing | Run
OwnKey = str | Callable[[AnyJob], str]


class Lock(Plugin):
    """Base of the locks with a key and a time.

    Options:
        lock_timeout: seconds (node-resque's unit) or a timedelta; default 3600.
        key: the name of the key, or a function of the job that returns it. It is used as it is,
            without the namespace, as in node-resque; in a Cluster it needs the hash tag.
    """

    hook_timeout: ClassVar[Duration | None] = None  # it waits for Redis for as long as it must
    option_names: ClassVar[frozenset[str]] = frozenset({"lock_timeout", "key"})

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(options)
        timeout = self.option("lock_timeout", DEFAULT_LOCK_TIMEOUT)
        self.lock_timeout_s: int = lock_seconds(timeout, "lock_timeout")
        self._own_key: OwnKey | None = self.option("key", None)
        if self._own_key is not None and not callable(self._own_key):
            _checked(self._own_key)

    def own_key(self, job: AnyJob) -> str | None:
        """The key that the option gives for this job; None without the option."""
        own = self._own_key
        if own is None or isinstance(own, str):
            return own
        return _checked(own(job))


def key_parts(job: AnyJob) -> tuple[str, str, str]:
    """What stands in the name of a lock: the task, the queue, the arguments as JavaScript's JSON."""
    return job.class_name, job.queue, codec.lock_args(job.args)


def _checked(key: object) -> str:
    if not isinstance(key, str) or not key:
        raise UsageError(f"key: {key!r} is neither the name of a key nor a function returning it")
    return key
