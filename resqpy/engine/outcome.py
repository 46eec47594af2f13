"""How a run ended, as a value. The engine decides, the store writes."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any, NamedTuple, Self

from resqpy.store.connection.client import Arg

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
