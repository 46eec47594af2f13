"""The lifecycle of a job: what is claimed along with it, what its end writes, and who is notified.

`JobLifecycle` is that of a plain job, and the one extension point for packages that keep a record beside a
job. Such a package derives a class and passes it to the `Definitions` that a worker runs.

A job that carries a record id (`base/codec.py`) is left to that record by everything here that moves,
promotes, retries or rescues jobs, whether this process knows the lifecycle or not.
"""

from __future__ import annotations

import copyreg
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

from resqpy.base.errors import UsageError
from resqpy.base.when import Backoff, Duration, delay_ms
from resqpy.store.connection.client import Arg

if TYPE_CHECKING:
    from resqpy.base.keys import Keys
    from resqpy.engine.run import Run
    from resqpy.store.exchange import ClaimExtension, ExtensionReply


# How a run ended, as a value. The engine decides, the store writes.

Command = Sequence[Arg]


class OutcomeKind(Enum):
    """The outcomes of a run, and what each counts as: node-resque's rule (processed means succeeded; an
    attempt that is retried counts as failed).
    """

    SUCCESS = "success", "p"
    FAILURE = "failure", "f"
    RETRIED = "retried", "f"
    DELAYED = "delayed", "-"
    SNOOZED = "snoozed", "-"
    SKIPPED = "skipped", "-"
    RETURNED = "returned", "-"
    EXPIRED = "expired", "-"

    counts: str  # "p" for processed, "f" for failed, "-" for neither

    def __new__(cls, value: str, counts: str) -> Self:
        """An outcome and what it counts as."""
        kind = object.__new__(cls)
        kind._value_, kind.counts = value, counts
        return kind


class Outcome(NamedTuple):
    """The outcome of a run.

    Attributes:
        delay_ms: for RETRIED, DELAYED and SNOOZED: how long until the job is due again.
        info: passed on in the `re_enqueue` and `snoozed` events.
    """

    kind: OutcomeKind
    result: Any = None
    error: BaseException | None = None
    delay_ms: int = 0
    info: Any = None


SUCCEEDED = Outcome(OutcomeKind.SUCCESS)  # without a result
SKIPPED = Outcome(OutcomeKind.SKIPPED)
RETURNED = Outcome(OutcomeKind.RETURNED)
EXPIRED = Outcome(OutcomeKind.EXPIRED)


_SMALLEST_MS = 1000  # a plain number below it is certainly seconds by mistake


class Snooze(Exception):
    """Raised by a task, or by what is around it, that can't do its work yet: its job is delayed. That is neither a
    failure nor an attempt.

    Args:
        delay: milliseconds or a timedelta until the job is due again.
        reason: for the log and the event.
        most: how often one job may be snoozed; the next time it fails with `SnoozedTooOften`. None: no limit.

    Attributes:
        delay_ms: milliseconds.

    Raises:
        UsageError: `delay` is no duration, or `most` is no positive number.
    """

    def __init__(self, delay: Duration, *, reason: str = "", most: int | None = None) -> None:
        self.delay_ms: int = delay_ms(delay, "Snooze")
        if not isinstance(delay, timedelta) and 0 < delay < _SMALLEST_MS:
            raise UsageError(
                f"Snooze: {delay!r} must be seconds, but milliseconds are expected: use {delay * 1000!r}, or "
                "a timedelta"
            )
        if most is not None and (type(most) is not int or most < 1):
            raise UsageError(f"Snooze: most={most!r} is not a number of times, from 1 on")
        self.reason: str = str(reason)
        self.most: int | None = most
        super().__init__(self.reason or f"for {self.delay_ms} ms")

    def __reduce__(self) -> tuple[Any, ...]:
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]  # the stubs lack it


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How a failed run is retried.

    Attributes:
        most: maximum number of retries; None: unlimited.
        backoff: how long to wait before each.
    """

    most: int | None
    backoff: Backoff

    def left(self, attempts: int) -> int | None:
        """How many retries are left after this many failed attempts; None: unlimited."""
        return None if self.most is None else max(0, self.most - attempts)


@dataclass(frozen=True, slots=True)
class Attempts:
    """How often a job was tried, if its record counts that.

    Attributes:
        made: attempts before the current one.
        left: None: unlimited.
        delay_ms: before the next attempt, if the job itself sets it.
    """

    made: int
    left: int | None
    delay_ms: int | None = None


class JobLifecycle:
    """The lifecycle of a plain job. One object serves one run, or, like this one, all runs.

    Attributes:
        plain: nothing is kept beside the job: the table of endings decides what its end writes
            (`endings.py`).
    """

    plain: ClassVar[bool] = True

    @classmethod
    def takes_along(cls, keys: Keys) -> ClaimExtension | None:  # noqa: ARG003 - a plain job needs none
        """What an exchange claims together with a job; None: nothing."""
        return None

    @classmethod
    def begun(cls, along: ExtensionReply) -> JobLifecycle:
        """The lifecycle of a run, given what was claimed with its job."""
        raise NotImplementedError

    def facts(self) -> dict[str, Any]:
        """What is known of the run besides its job, for the log."""
        return {}

    def snoozed(self, run: Run) -> int:
        """How often the job was snoozed before."""
        return run.claim.snoozed

    def adopt(self, policy: RetryPolicy) -> bool:
        """Whether a record counts the attempts; if so, this policy applies unless the job's creator set
        another.
        """
        return False

    def attempts(self) -> Attempts | None:
        """The attempts so far, if a record counts them and the end is not written yet."""
        return None

    def end(self, run: Run, outcome: Outcome) -> Sequence[Command]:
        """What the end of a run writes instead of the table of endings. It comes last, so that its
        conditions don't prevent the rest.
        """
        return ()

    def settled(self, run: Run, *, written: bool) -> None:
        """The end has been written.

        Args:
            written: whether the commands of `end` were executed.
        """


PLAIN = JobLifecycle()
