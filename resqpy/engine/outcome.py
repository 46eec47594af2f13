"""How a run ended, as a value. The engine decides, the store writes."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any, NamedTuple

from resqpy.store.client import Arg

Command = Sequence[Arg]


class Kind(Enum):
    """The endings of a run. Each value is what it counts as: node-resque's rule (processed means
    succeeded; an attempt that is retried counts as failed).
    """

    SUCCESS = "success"
    FAILURE = "failure"
    RETRIED = "retried"
    DELAYED = "delayed"
    SKIPPED = "skipped"
    RETURNED = "returned"

    @property
    def counts(self) -> str:
        """Give "p" for processed, "f" for failed, "-" for neither."""
        return _COUNTS[self]


_COUNTS = {
    Kind.SUCCESS: "p",
    Kind.FAILURE: "f",
    Kind.RETRIED: "f",
    Kind.DELAYED: "-",
    Kind.SKIPPED: "-",
    Kind.RETURNED: "-",
}


class Outcome(NamedTuple):
    """The end of a run.

    Attributes:
        delay_ms: for RETRIED and DELAYED: how long until the job is due again.
        info: what the `re_enqueue` event tells.
    """

    kind: Kind
    result: Any = None
    error: BaseException | None = None
    delay_ms: int = 0
    info: Any = None


SKIPPED = Outcome(Kind.SKIPPED)
RETURNED = Outcome(Kind.RETURNED)
