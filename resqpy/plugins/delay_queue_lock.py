"""DelayQueueLock: a job whose equal waits for its time is not enqueued."""

from __future__ import annotations

from collections.abc import Sequence

from resqpy.base import codec
from resqpy.base.keys import Keys
from resqpy.engine.plugin import Enqueuing, Plugin
from resqpy.store.queues import DELAYED, Guard


class DelayQueueLock(Plugin):
    """No options. Delayed jobs are found whichever language wrote them."""

    def guards(self, keys: Keys, job: Enqueuing) -> Sequence[Guard]:
        """The index keys of the delayed job, one for each spelling; none may be there."""
        texts = codec.spellings(job.class_name, job.queue, job.args)
        return tuple(Guard(DELAYED, keys.timestamps(text)) for text in texts)
