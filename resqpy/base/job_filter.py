"""Which jobs are meant: the one comparison of jobs, for every verb that finds, counts, moves or removes some.

Class, arguments and queue are compared as values, whoever wrote them: the order of keys, the spelling of
numbers and texts, and further keys beside them make no other job. What is found is then changed by its
exact bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from resqpy.base import codec
from resqpy.base.model import Job, UnreadableJob


@dataclass(frozen=True, slots=True)
class JobFilter:
    """A choice of jobs; None means: any.

    Attributes:
        args: all of a job's arguments, as JSON values.
        queue: the queue a job stands in, or waits for.
    """

    class_name: str | None = None
    args: list[Any] | None = None
    queue: str | None = None

    @classmethod
    def of(
        cls, class_name: str | None, args: Sequence[Any] | None = None, queue: str | None = None
    ) -> Self:
        """The choice that a user makes.

        Raises:
            InvalidJob: no job can have such arguments.
        """
        values = None if args is None else codec.decode_text(codec.encode_args(args))
        return cls(class_name, values, queue)

    def fits(self, job: Job) -> bool:
        """Whether a job is meant; one that can't be read may still name its class."""
        return not self.differences(job)

    def differences(self, job: Job) -> list[str]:
        """In what a job is another than those that are meant: of "class", "queue", "args"."""
        unreadable = isinstance(job, UnreadableJob)
        name = codec.class_of(job.raw) if unreadable else job.class_name
        same_args = self.args is None or (not unreadable and same(self.args, job.args))
        fitting = {
            "class": self.class_name in {None, name},
            "queue": self.queue in {None, job.queue},
            "args": same_args,
        }
        return [what for what, fits in fitting.items() if not fits]

    def may_fit(self, raw: bytes) -> bool:
        """A quick look at a job's bytes: False only where it can't be meant."""
        if self.class_name is None or b"\\" in raw:
            return True
        return self.class_name.encode("utf-8", "surrogateescape") in raw

    def texts(self) -> list[bytes]:
        """The texts under which Ruby, Node and resqpy write such a job; empty where it is not one job."""
        if self.class_name is None or self.args is None or self.queue is None:
            return []
        texts = codec.spellings(self.class_name, self.queue, self.args)
        return [text for text in texts if self._is_meant(text)]

    def _is_meant(self, text: bytes) -> bool:
        """Not meant: what JavaScript makes of a whole number that it can't hold."""
        return same(codec.decode_text(text)["args"], self.args)

    def __str__(self) -> str:
        return f" of {self.class_name}" if self.class_name else ""


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal: 1 and 1.0 are, true and 1 are not."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict):
        return (
            isinstance(other, dict)
            and one.keys() == other.keys()
            and all(same(value, other[key]) for key, value in one.items())
        )
    if isinstance(one, list):
        return (
            isinstance(other, list)
            and len(one) == len(other)
            and all(same(a, b) for a, b in zip(one, other, strict=True))
        )
    return bool(one == other)
