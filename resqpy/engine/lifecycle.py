"""The lifecycle of a job: what is taken along with it, what its end writes, and who hears of that.

`JobLifecycle` is that of a plain job, and the one seam for anything that keeps a record beside a job. Such a
floor stands above this one: it derives a class, and gives it to the `Definitions` that a worker runs.

A job that carries the id of a record (`base/codec.py`) is left to that record by everything here that moves,
promotes, retries or rescues jobs, whether this process knows the lifecycle or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from resqpy.base.backoff import Backoff
from resqpy.engine.outcome import Command, Outcome

if TYPE_CHECKING:
    from resqpy.base.keys import Keys
    from resqpy.engine.run import Run
    from resqpy.store.exchange import TakenAlong, TakesAlong


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How a run that failed is tried again.

    Attributes:
        most: how many times; None: without limit.
        backoff: how long to wait before.
    """

    most: int | None
    backoff: Backoff

    def left(self, attempts: int) -> int | None:
        """How many times it is still tried again after so many that went wrong; None: without limit."""
        return None if self.most is None else max(0, self.most - attempts)


@dataclass(frozen=True, slots=True)
class Attempts:
    """How often a job was tried, where its record counts that.

    Attributes:
        made: without the one that is going on.
        left: None: without limit.
        delay_ms: before the next, where the job says that itself.
    """

    made: int
    left: int | None
    delay_ms: int | None = None


class JobLifecycle:
    """That of a plain job. One object serves one run, or, as this one, all runs.

    Attributes:
        plain: nothing stands beside the job: its end is what the table of endings says (`endings.py`).
    """

    plain: ClassVar[bool] = True

    @classmethod
    def takes_along(cls, keys: Keys) -> TakesAlong | None:  # noqa: ARG003 - a plain job needs none
        """What an exchange takes together with a job; None: nothing."""
        return None

    @classmethod
    def begun(cls, along: TakenAlong) -> JobLifecycle:
        """That of a run with whose job this was taken."""
        raise NotImplementedError

    def facts(self) -> dict[str, Any]:
        """What is known of the run besides its job, for the log."""
        return {}

    def adopt(self, policy: RetryPolicy) -> bool:
        """Whether a record counts the attempts; then this policy holds as far as the job's creator said
        nothing else.
        """
        return False

    def attempts(self) -> Attempts | None:
        """The attempts so far, where a record counts them and the end is not settled yet."""
        return None

    def end(self, run: Run, outcome: Outcome) -> Sequence[Command]:
        """What the end of a run writes in place of the table of endings. It stands last: its conditions
        do not keep the rest from being done.
        """
        return ()

    def settled(self, run: Run, *, written: bool) -> None:
        """The end is settled.

        Args:
            written: the commands of `end` were done.
        """


PLAIN = JobLifecycle()
