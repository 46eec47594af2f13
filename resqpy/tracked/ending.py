"""How one delivery of a tracked task ended, as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from resqpy.base import codec
from resqpy.base.error_text import class_of, words_of
from resqpy.engine.traceback_text import lines_of
from resqpy.tracked.merge import Patch
from resqpy.tracked.record import TaskError

_BARE = '{"kind":"%s","at":%d}'  # what most ends are; encoding it costs more than a run should


class EndKind(StrEnum):
    """irontask's ways to finish (and `veto`: a plugin of ours forbade the run)."""

    COMPLETE = "complete"
    FAIL = "fail"
    RETRY = "retry"
    DEFER = "defer"
    RELEASE = "release"
    DELETE = "delete"
    VETO = "veto"


@dataclass(frozen=True, slots=True)
class Ending:
    """An end.

    Attributes:
        at_us: when.
        delay_ms: until the next run or attempt; None: as the task's own rules have it.
        result: JSON text.
        patch: what the run changed in the payload.
        new_id: the id of the task that takes over, should a linked retry follow.
    """

    kind: EndKind
    at_us: int
    delay_ms: int | None = None
    error: TaskError | None = None
    result: str | None = None
    patch: Patch | None = None
    new_id: str = ""

    @property
    def at_ms(self) -> int:
        """When, in milliseconds."""
        return self.at_us // 1000

    @property
    def bare(self) -> bool:
        """Whether nothing is said of it but what it is and when."""
        said = (self.delay_ms, self.error, self.result, self.patch, self.new_id or None)
        return said == (None, None, None, None, None)

    def to_dict(self) -> dict[str, Any]:
        """As it stands in a record, until somebody applies it; what is not said has no member."""
        said = {
            "delay": self.delay_ms,
            "error": None if self.error is None else error_to_dict(self.error),
            "result": self.result,
            "patch": self.patch,
            "new_id": self.new_id or None,
        }
        plain = {"kind": self.kind.value, "at": self.at_us}
        return plain | {name: value for name, value in said.items() if value is not None}

    @property
    def note(self) -> str | bytes:
        """The same as a text."""
        if self.bare:
            return _BARE % (self.kind.value, self.at_us)
        return codec.encode_text(self.to_dict())

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Ending:
        """Read `to_dict()` back."""
        error = data.get("error")
        return cls(
            EndKind(data["kind"]),
            int(data["at"]),
            data.get("delay"),
            None if error is None else error_from_dict(error),
            data.get("result"),
            data.get("patch"),
            data.get("new_id") or "",
        )


def error_to_dict(error: TaskError) -> dict[str, Any]:
    """An error as JSON has it; the first three are those of Extra Horizon's `task_failed`."""
    shown: dict[str, Any] = {"type": error.type, "name": error.name, "message": error.message}
    if error.backtrace:
        shown["backtrace"] = list(error.backtrace)
    return shown


def error_from_dict(data: Mapping[str, Any]) -> TaskError:
    """Read `error_to_dict()` back."""
    return TaskError(
        str(data.get("name", "")),
        str(data.get("message", "")),
        str(data.get("type", "runtime")),
        tuple(map(str, data.get("backtrace", ()))),
    )


def error_of(error: BaseException) -> TaskError:
    """What a record keeps of an error."""
    lines = tuple(map(codec.clean, lines_of(error)))
    return TaskError(class_of(error), codec.clean(words_of(error)), backtrace=lines)
