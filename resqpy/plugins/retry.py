"""Retry: a failed job is retried a number of times before it goes to the failed list."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from resqpy.base import codec, job_records
from resqpy.base.clock import failed_at_utc
from resqpy.base.errors import (
    InvalidInputs,
    JobCancelled,
    SnoozedTooOften,
    UsageError,
    WorkerStopped,
    told,
)
from resqpy.base.imports import import_dotted
from resqpy.base.when import Backoff, Duration, duration_ms
from resqpy.engine.lifecycle import Attempts, Outcome, OutcomeKind, RetryPolicy
from resqpy.engine.plugin import CallNext, Plugin
from resqpy.engine.run import Run
from resqpy.engine.traceback_text import lines_of
from resqpy.plugins.locks import RubyKeys, patiently
from resqpy.store import locks

EXPONENTIAL = "exponential"
MAX_MS = 86_400_000  # upper limit of doubling: a day
DEFAULT_RETRY_LIMIT = 1  # node-resque's: no retry at all
DEFAULT_RETRY_DELAY_MS = 5000
WAITING_S = (
    86_400  # how long, beyond its delay, a job may wait in its queue before the count expires
)
ErrorTypes = tuple[type[BaseException], ...]


@dataclass(frozen=True, slots=True)
class RetryDelays:
    """How long a failed job waits before the next attempt: a pure rule.

    Attributes:
        backoff: the delay after each failed attempt,
        steps_ms: or a list of delays; the last one applies to all further attempts.
        jitter: maximum random extension of a delay, as a fraction of it.
    """

    backoff: Backoff
    steps_ms: tuple[int, ...] = ()
    jitter: float = 0.0

    @classmethod
    def of(cls, delay: object, strategy: object, jitter: object) -> RetryDelays:
        """From Retry's options.

        Raises:
            UsageError: an option is invalid; the message says which and why.
        """
        if isinstance(jitter, bool) or not isinstance(jitter, (int, float)) or not 0 <= jitter <= 1:
            raise UsageError(f"retry_jitter: {jitter!r} is not between 0 and 1")
        delay_ms = duration_ms(delay, "retry_delay")  # type: ignore[arg-type]  # it checks the type
        if strategy is None:
            return cls(Backoff.fixed(delay_ms), jitter=float(jitter))
        if strategy == EXPONENTIAL:
            return cls(Backoff(delay_ms, 2.0, max(delay_ms, MAX_MS)), jitter=float(jitter))
        if isinstance(strategy, str) or not isinstance(strategy, Sequence) or not strategy:
            raise UsageError(
                f"backoff_strategy: {strategy!r} must be a non-empty list of milliseconds or {EXPONENTIAL!r}"
            )
        steps = tuple(duration_ms(step, "backoff_strategy") for step in strategy)
        return cls(Backoff.fixed(steps[0]), steps, float(jitter))

    def delay_ms(self, count: int) -> int:
        """The delay after failed attempt number `count`, from 0."""
        base = self._base_ms(count)
        return base + int(base * self.jitter * random.random())

    def longest_ms(self, attempts: int) -> int:
        """The longest delay within this many attempts."""
        base = max(self._base_ms(count) for count in range(attempts))
        return base + int(base * self.jitter)

    def _base_ms(self, count: int) -> int:
        steps = self.steps_ms
        return steps[min(count, len(steps) - 1)] if steps else self.backoff.delay_ms(count)


class Retry(Plugin):
    """Counts attempts under node-resque's keys, so that both languages share the count. For a job with a
    record, the record counts, and an ActiveJob says itself how often it was tried.

    Options:
        retry_limit: total number of attempts, including the first; default 1. retry_delay: milliseconds (or
            a timedelta) before the next attempt; default 5000. backoff_strategy: a list of delays, one per
            attempt, the last for all further ones; or "exponential": `retry_delay`, doubled with each
            attempt, up to a day. retry_jitter: maximum random extension of a delay, as a fraction of it;
            default 0. retry_exceptions: only these errors are retried; classes or their dotted paths.
            fatal_exceptions: these are not retried. keys: "ruby": the keys of resque-retry, which shares the
            count then; default "node". ruby_version: which Ruby writes these keys, such as "3.3"; needed
            only where an argument is an object.
    """

    hook_timeout: ClassVar[Duration | None] = None  # it waits for Redis as long as necessary
    option_names: ClassVar[frozenset[str]] = frozenset(
        {
            "retry_limit", "retry_delay", "backoff_strategy", "retry_jitter",
            "retry_exceptions", "fatal_exceptions", "keys", "ruby_version",
        }
    )  # fmt: skip

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(options)
        self.retry_limit: int = _limit(self.option("retry_limit", DEFAULT_RETRY_LIMIT))
        self.backoff: RetryDelays = RetryDelays.of(
            self.option("retry_delay", DEFAULT_RETRY_DELAY_MS),
            self.option("backoff_strategy", None),
            self.option("retry_jitter", 0),
        )
        self.retry_exceptions: ErrorTypes = _error_types(
            "retry_exceptions", self.option("retry_exceptions")
        )
        self.fatal_exceptions: ErrorTypes = _error_types(
            "fatal_exceptions", self.option("fatal_exceptions")
        )
        self.ruby = RubyKeys.of(self)
        self.positional = self.ruby is not None and self.ruby.arrow is None
        self.policy: RetryPolicy = self.retries()
        self.count_s: int = -(-self.backoff.longest_ms(self.retry_limit) // 1000) + WAITING_S

    def retries(self) -> RetryPolicy:
        """The policy as a value; for a list of delays, with the first one."""
        return RetryPolicy(self.retry_limit - 1, self.backoff.backoff)

    def around_success(self, run: Run) -> None:
        """Nothing of the attempts is kept."""
        if run.lifecycle.plain:
            self._forget(run)

    async def around(self, run: Run, call_next: CallNext) -> None:
        """Run it; if it fails, decide whether to retry it."""
        counted = run.lifecycle.adopt(self.policy)
        await call_next()
        if run.inline or run.vetoed:
            return
        if run.outcome is not None:
            if run.outcome.kind is OutcomeKind.SNOOZED and not counted:
                self._keep(run, run.outcome.delay_ms)
            return
        if counted:
            self._counted(run)
            return
        if isinstance(run.error, WorkerStopped):
            return  # it goes back to its queue, although an inner plugin turned the stop into an error
        if run.error is None:
            self._forget(run)
        else:
            await self._failed(run, run.error)

    async def _failed(self, run: Run, error: BaseException) -> None:
        if (made := run.executions) is not None:  # its bytes count
            run.attempt = (made + 1, self.retry_limit)
            self._again(run, error, Attempts(made, self.policy.left(made)))
            return
        key, failure_key = self._keys(run)
        count = 1 + await patiently(run, lambda _: locks.attempts(run.store, key))
        run.attempt = (count + 1, self.retry_limit)
        if not self._again(run, error, Attempts(count, self.policy.left(count))):
            self._forget(run)
            return
        run.effects += locks.count_commands(key, self.count_s)
        run.effects.append(("SETEX", failure_key, self.count_s, _failure(run, error)))

    def _counted(self, run: Run) -> None:
        """Its record has the count, and its creator may have set the delay."""
        attempts, error = run.lifecycle.attempts(), run.error
        if error is None or attempts is None or isinstance(error, WorkerStopped):
            return
        if not self._again(run, error, attempts):
            run.outcome = Outcome(OutcomeKind.FAILURE, error=error)

    def _again(self, run: Run, error: BaseException, attempts: Attempts) -> bool:
        """Retry it, unless this many earlier attempts are too many."""
        if attempts.left == 0 or not self._may_be_retried(error):
            return False
        delay_ms = attempts.delay_ms
        if delay_ms is None:
            delay_ms = self.backoff.delay_ms(attempts.made)
        info = {"delay": delay_ms, "remaining_attempts": attempts.left, "err": error}
        run.outcome = Outcome(OutcomeKind.RETRIED, error=error, delay_ms=delay_ms, info=info)
        run.error = None
        return True

    def _may_be_retried(self, error: BaseException) -> bool:
        if isinstance(error, (JobCancelled, InvalidInputs, SnoozedTooOften)):
            return False
        if isinstance(error, self.fatal_exceptions):
            return False
        return not self.retry_exceptions or isinstance(error, self.retry_exceptions)

    def _keep(self, run: Run, delay_ms: int) -> None:
        """The count of a snoozed job must outlast the delay; there is none if no attempt has failed."""
        seconds = self.count_s + delay_ms // 1000
        run.effects += (("EXPIRE", key, seconds) for key in self._keys(run))

    def _forget(self, run: Run) -> None:
        """The next job with these arguments starts from zero."""
        run.effects.append(("DEL", *self._keys(run)))

    def _keys(self, run: Run) -> tuple[str, str]:
        """Of the count and of the last error."""
        keys, name, args = run.store.keys, run.class_name, run.args_as_sent()
        if self.ruby:
            joined = self.ruby.joined(args)
            return keys.ruby_retry(name, joined), keys.ruby_retry(name, joined, "failure-")
        text = codec.retry_args(args)
        return keys.retry(name, text), keys.retry_failure(name, text)


def _failure(run: Run, error: BaseException) -> bytes:
    return job_records.encode_retry_failure(
        args=run.args_as_sent(),
        class_name=run.class_name,
        queue=run.queue,
        error=told(error),
        backtrace=lines_of(error),
        failed_at=failed_at_utc(run.clock.now_ms()),
    )


def _limit(limit: object) -> int:
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise UsageError(
            f"retry_limit: {limit!r} is not a valid number of attempts; the first attempt "
            "counts, so 1 means no retry"
        )
    return limit


def _error_types(option: str, given: object) -> ErrorTypes:
    if given is None:
        return ()
    named = [given] if isinstance(given, (str, type)) else given
    if not isinstance(named, Sequence):
        raise UsageError(f"{option}: {given!r} is not a list of exceptions")
    found = tuple(import_dotted(each) if isinstance(each, str) else each for each in named)
    for each in found:
        if not (isinstance(each, type) and issubclass(each, BaseException)):
            raise UsageError(f"{option}: {each!r} is not an exception class")
    return found
