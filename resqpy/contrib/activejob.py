"""Jobs for a Rails application: enqueued as its ActiveJob does.

The other direction needs nothing of this: a task with the name of a job class runs its jobs.
"""

from __future__ import annotations

from typing import Any

from resqpy.base.activejob import WRAPPER, GlobalID, Range, Symbol, wrapped
from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.concurrency.loops import must_be_awaited
from resqpy.base.errors import UsageError
from resqpy.base.keys import check_queue_name
from resqpy.base.when import Duration, Moment, delay_ms, moment_ms
from resqpy.engine.queue.queue import NewJob
from resqpy.framework.api.api import api

__all__ = ["ActiveJob", "GlobalID", "Range", "Symbol"]


def _words(job: Any, *_: object) -> str:
    return f"a job of {job.job_class!r}"


class ActiveJob:
    """A job class of a Rails application.

    Arguments may be what JSON has, aware datetimes, dates, timedeltas, Decimals (Rails 7.1 or later), `Symbol`,
    `GlobalID` and `Range` (Rails 7.0 or later); keywords become Ruby's.

    Args:
        job_class: its name, such as `Billing::ChargeJob`.
        queue: where its jobs go.
        priority, locale, timezone: as in ActiveJob; None: Rails' defaults.

    Raises:
        UsageError: a name is missing or invalid.
    """

    def __init__(
        self,
        job_class: str,
        queue: str = "default",
        *,
        priority: int | None = None,
        locale: str | None = None,
        timezone: str | None = None,
    ) -> None:
        if not job_class or type(job_class) is not str:
            raise UsageError(f"ActiveJob: {job_class!r} is no name of a class")
        self.job_class = job_class
        self.queue = check_queue_name(queue)
        self._facts = {"priority": priority, "locale": locale, "timezone": timezone}

    def job(self, /, *args: Any, **keywords: Any) -> NewJob:
        """A job as each `Queue` takes it: `queue.enqueue(*welcome.job(17))`, `queue.enqueue_many([…])`, also that
        of `SyncQueue`.

        Raises:
            InvalidInputs: an argument has no form in ActiveJob.
        """
        return self._job(args, keywords, None)

    def _job(self, args: tuple[Any, ...], keywords: dict[str, Any], at_ms: int | None) -> NewJob:
        now_ms = SYSTEM_CLOCK.now_ms()
        made = wrapped(self.job_class, self.queue, args, keywords, now_ms, at_ms, **self._facts)
        return self.queue, WRAPPER, [made]

    @must_be_awaited(_words)
    async def enqueue(self, /, *args: Any, **keywords: Any) -> bool:
        """Enqueue a job: `perform_later`.

        Raises:
            InvalidInputs: an argument has no form in ActiveJob.
            NotStarted: no process was started here.
        """
        return bool(await api.resque.queue.enqueue(*self.job(*args, **keywords)))

    @must_be_awaited(_words)
    async def enqueue_in(self, delay: Duration, /, *args: Any, **keywords: Any) -> bool:
        """Enqueue a job when a time has passed: milliseconds or a timedelta."""
        job = self._job(args, keywords, SYSTEM_CLOCK.now_ms() + delay_ms(delay))
        return bool(await api.resque.queue.enqueue_in(delay, *job))

    @must_be_awaited(_words)
    async def enqueue_at(self, timestamp: Moment, /, *args: Any, **keywords: Any) -> bool:
        """Enqueue a job when a time has come: milliseconds since the epoch, or an aware datetime."""
        job = self._job(args, keywords, moment_ms(timestamp))
        return bool(await api.resque.queue.enqueue_at(timestamp, *job))
