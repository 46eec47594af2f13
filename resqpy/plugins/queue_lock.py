"""QueueLock: of jobs with the same name, queue and arguments, one waits in the queue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from resqpy.base import codec
from resqpy.base.keys import Keys
from resqpy.engine.plugin import CallNext, Enqueuing, Plugin
from resqpy.engine.run import Run
from resqpy.plugins.lock import AnyJob, Lock, key_parts
from resqpy.plugins.patience import patiently
from resqpy.store import plugin_locks
from resqpy.store.queues import DELAYED, Guard


class QueueLock(Lock):
    """A job whose equal waits in the queue is not enqueued. The options are those of `Lock`.

    The lock is taken in the very step that pushes the job, and freed when the job was taken from
    the queue, before it runs and whatever the other plugins say.
    """

    rank: ClassVar[int] = 2  # the job has left its queue, whatever the others decide

    def guards(self, keys: Keys, job: Enqueuing) -> Sequence[Guard]:
        """The lock that Redis asks while pushing."""
        return (Guard("lock", self._key(keys, job), self.lock_timeout_s),)

    async def around(self, run: Run, call_next: CallNext) -> None:
        """Free the lock, then run; a job that goes back to its queue takes it with it.

        Of a job with a record beside it, whoever took it has freed the lock that its creation took; one
        that is there now is another's.
        """
        if not run.lifecycle.plain:
            await call_next()
            return
        key = self._key(run.store.keys, run)
        await patiently(run, lambda _: plugin_locks.free_queue_lock(run.store, key))
        run.on_return.append(plugin_locks.lock_command(key, self.lock_timeout_s))
        await call_next()

    def _key(self, keys: Keys, job: AnyJob) -> str:
        return self.own_key(job) or keys.queue_lock(*key_parts(job))


class DelayQueueLock(Plugin):
    """No options. Delayed jobs are found whichever language wrote them."""

    def guards(self, keys: Keys, job: Enqueuing) -> Sequence[Guard]:
        """The index keys of the delayed job, one for each spelling; none may be there."""
        texts = codec.spellings(job.class_name, job.queue, job.args)
        return tuple(Guard(DELAYED, keys.timestamps(text)) for text in texts)
