"""The lifecycle of a job: what is claimed along with it, what its end writes, and who is notified.

`JobLifecycle` is that of a plain job, and the one extension point for packages that keep a record beside a
job. Such a package derives a class and passes it to the `Definitions` that a worker runs.

A job that carries a record id (`base/codec.py`) is left to that record by everything here that moves,
promotes, retries or rescues jobs, whether this process knows the lifecycle or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

from resqpy.base.when import Backoff
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
        delay_ms: for RETRIED and DELAYED: how long until the job is due again.
        info: passed on in the `re_enqueue` event.
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
