"""Answers that are not a success: problem details (RFC 9457), and which error of ours is which."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from resqpy.base.errors import (
    InvalidInputs,
    NotInFailed,
    OutcomeUnknown,
    QueueFull,
    StoreError,
    StoreUnavailable,
    UnderReplicated,
    UnknownTask,
    UsageError,
    WrongCursor,
)
from resqpy.diagnosis.limiting import UnknownLimit
from resqpy.tracked.errors import (
    DuplicateTask,
    MalformedTask,
    TaskChanged,
    TaskRefused,
    TaskStateError,
    UnknownTaskId,
)
from resqpy.web.api.schema import RequestFault

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class ProblemKind:
    """A kind of problem, as the reference lists them.

    Attributes:
        name: the end of its `type`.
    """

    name: str
    status: int
    title: str


KINDS = {
    kind.name: kind
    for kind in (
        ProblemKind("wrong-request", 400, "The request is wrong"),
        ProblemKind("wrong-query", 400, "The query is wrong"),
        ProblemKind("wrong-cursor", 400, "The cursor belongs to another query"),
        ProblemKind("wrong-token", 401, "The access token is not valid"),
        ProblemKind("no-token", 401, "An access token is needed"),
        ProblemKind("forbidden", 403, "This may not be done from there, or not by this console"),
        ProblemKind("no-scope", 403, "The token lacks a scope"),
        ProblemKind("not-found", 404, "There is no such thing"),
        ProblemKind("unknown-path", 404, "There is no such endpoint"),
        ProblemKind("wrong-method", 405, "The endpoint has no such method"),
        ProblemKind("wrong-state", 409, "Its state does not allow that"),
        ProblemKind("refused", 409, "It was refused"),
        ProblemKind("exists", 409, "It exists already"),
        ProblemKind("in-progress", 409, "The same request is being worked on"),
        ProblemKind("list-changed", 410, "The list has changed too much to go on"),
        ProblemKind("changed", 412, "It has changed meanwhile"),
        ProblemKind("too-large", 413, "The request is too large"),
        ProblemKind("wrong-media-type", 415, "The body must be JSON"),
        ProblemKind("wrong-host", 421, "This is not the host's name"),
        ProblemKind("wrong-value", 422, "A value can't be used"),
        ProblemKind("other-request", 422, "The key belongs to another request"),
        ProblemKind("queue-full", 429, "The queue is full"),
        ProblemKind("internal", 500, "Something went wrong"),
        ProblemKind("redis-refused", 502, "Redis refused it"),
        ProblemKind("redis-away", 503, "Redis can't be reached; nothing was done"),
        ProblemKind("too-many-streams", 503, "Too many streams are open"),
        ProblemKind("outcome-unknown", 504, "It may have happened, or not"),
        ProblemKind("under-replicated", 504, "It was done, but a failover now could lose it"),
    )
}


@dataclass(slots=True)
class ApiProblem(Exception):
    """An answer that is not a success.

    Attributes:
        kind: one of `KINDS`.
        near: the name that was probably meant.
        errors: each part of the request that is wrong.
    """

    kind: str
    detail: str
    near: str = ""
    errors: Sequence[RequestFault] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def status(self) -> int:
        """The HTTP status."""
        return KINDS[self.kind].status

    def as_json(self, instance: str) -> dict[str, Any]:
        """Its body."""
        kind = KINDS[self.kind]
        shown: dict[str, Any] = {
            "type": f"urn:resqpy:problem:{kind.name}",
            "title": kind.title,
            "status": kind.status,
            "detail": self.detail,
            "instance": instance,
        }
        if self.near:
            shown["near"] = self.near
        if self.errors:
            shown["errors"] = [each.as_json() for each in self.errors]
        return shown


_SOON = {"Retry-After": "1"}
_NEAR = re.compile(r"did you mean (['\"])(.*?)\1\?")
# The first that fits; the order is from the special to the general.
_ERRORS: tuple[tuple[type[Exception], str, Mapping[str, str]], ...] = (
    (WrongCursor, "wrong-cursor", {}),
    (UnknownTaskId, "not-found", {}),
    (NotInFailed, "not-found", {}),
    (UnknownLimit, "not-found", {}),
    (TaskStateError, "wrong-state", {}),
    (DuplicateTask, "exists", {}),
    (TaskChanged, "changed", {}),
    (TaskRefused, "refused", {}),
    (QueueFull, "queue-full", {"Retry-After": "10"}),
    (UnknownTask, "wrong-value", {}),
    (UsageError, "wrong-value", {}),
    (MalformedTask, "internal", {}),
    (StoreUnavailable, "redis-away", _SOON),
    (OutcomeUnknown, "outcome-unknown", {}),
    (UnderReplicated, "under-replicated", {}),
    (StoreError, "redis-refused", {}),
)


def problem_of(error: Exception) -> ApiProblem:
    """The answer for an error; those of ours say what to do, of others nothing is told."""
    if isinstance(error, ApiProblem):
        return error
    for kind, name, headers in _ERRORS:
        if isinstance(error, kind):
            near = _NEAR.search(words := str(error))
            return ApiProblem(name, words, near[2] if near else "", headers=headers)
    return ApiProblem("internal", "an unexpected error; the server's log has it")


def of_inputs(error: InvalidInputs, at: str = "") -> ApiProblem:
    """The answer for wrong inputs, each by its pointer.

    Args:
        at: the pointer of the object that has them.
    """
    wrong = [RequestFault(f"{at}/inputs/{name}", words) for name, words in error.fields.items()]
    return replace(problem_of(error), errors=wrong)


@contextmanager
def after_a_write(done: str, *, written: bool = True) -> Iterator[None]:
    """The rest of a change of which something is written: it must not be told as "nothing was done".

    Args:
        done: what is written, in words.
        written: whether anything is yet.

    Raises:
        OutcomeUnknown: Redis went away meanwhile.
    """
    try:
        yield
    except StoreUnavailable as error:
        if not written:
            raise
        raise OutcomeUnknown(f"{done}; then: {error}") from error
