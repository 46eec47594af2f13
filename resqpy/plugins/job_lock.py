"""JobLock: of jobs with the same name, queue and arguments, one runs at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, ClassVar

from resqpy.base.errors import StoreError, UsageError
from resqpy.base.own_tasks import own_task
from resqpy.base.when import duration_ms
from resqpy.engine.outcome import Kind, Outcome
from resqpy.engine.plugin import CallNext
from resqpy.engine.run import Run
from resqpy.plugins.lock import Lock, key_parts
from resqpy.plugins.patience import patiently
from resqpy.store import plugin_locks
from resqpy.store.plugin_locks import JobLockKey

DEFAULT_ENQUEUE_TIMEOUT_MS = 1001  # node-resque's

_log = logging.getLogger("resqpy.plugins.job_lock")


class JobLock(Lock):
    """A job whose equal is running is delayed, or dropped.

    The lock is freed in the very step that ends the run, and only if it is still ours. While the
    job runs it is renewed, so `lock_timeout` is how long a killed worker's lock stays.

    Options, besides those of `Lock`:
        enqueue_timeout: milliseconds (or a timedelta) until the delayed job is due; default 1001.
        re_enqueue: False drops the job instead of delaying it; default True.
    """

    option_names: ClassVar[frozenset[str]] = Lock.option_names | {"enqueue_timeout", "re_enqueue"}

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(options)
        delay = self.option("enqueue_timeout", DEFAULT_ENQUEUE_TIMEOUT_MS)
        self.enqueue_timeout_ms: int = duration_ms(delay, "enqueue_timeout")
        self.re_enqueue: bool = self.option("re_enqueue", True)  # noqa: FBT003 - the option's default
        if not isinstance(self.re_enqueue, bool):
            raise UsageError(f"re_enqueue: {self.re_enqueue!r} is neither True nor False")

    async def around(self, run: Run, call_next: CallNext) -> None:
        """Run it with the lock, or not at all."""
        key = self._key(run)
        # noted before it is asked for: who is cancelled in between may have it
        run.effects.append(key.release_command)
        if not await self._taken(run, key):
            run.effects.remove(key.release_command)
            self._blocked(run, key)
            return
        renewal = own_task(self._renew(run, key), "renewal of a job lock", run)
        try:
            await call_next()
        finally:
            renewal.end()

    def _key(self, run: Run) -> JobLockKey:
        keys = run.store.keys
        lock = self.own_key(run) or keys.job_lock(*key_parts(run))
        return JobLockKey(lock, keys.job_locks(str(run.worker_id)), self.lock_timeout_s)

    async def _taken(self, run: Run, key: JobLockKey) -> bool:
        return await patiently(
            run, lambda again: plugin_locks.take_job_lock(run.store, key, again=again)
        )

    def _blocked(self, run: Run, key: JobLockKey) -> None:
        run.vetoed = True
        if self.re_enqueue:
            info = {"delay": self.enqueue_timeout_ms, "lock": key.lock}
            run.outcome = Outcome(Kind.DELAYED, delay_ms=self.enqueue_timeout_ms, info=info)

    async def _renew(self, run: Run, key: JobLockKey) -> None:
        """Hold the lock for as long as the job runs."""
        while True:
            await asyncio.sleep(self.lock_timeout_s / 3)
            try:
                held = await plugin_locks.hold_job_lock(run.store, key)
            except StoreError:
                continue  # Redis is away: it may be back before the lock is over
            if not held:
                _log.warning("the lock %s was taken away while its job runs", key.lock)
                return
