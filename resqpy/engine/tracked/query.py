"""Which tasks are asked for, in which order, from where on. Pure.

A cursor is the place of the last task seen (its time and id), signed with the query, so that tasks
that come and go shift nothing and a cursor of another query is refused.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypedDict

from resqpy.base import codec
from resqpy.base.errors import UnknownOption, UsageError, WrongCursor
from resqpy.base.imports import near_match
from resqpy.base.keys import Keys
from resqpy.base.task_record import Record
from resqpy.base.task_status import TaskStatus
from resqpy.engine.tracked.words import check_tags, word_or_none
from resqpy.store.record_pages import Section

MOST_PER_PAGE = 1000


class SortBy(StrEnum):
    """By what tasks are sorted."""

    CREATED = "created"
    MODIFIED = "modified"
    COMPLETED = "completed"  # only tasks that have ended
    STATUS = "status"  # then by creation


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked for. All conditions must hold; None and () are none.

    Attributes:
        tags: a task must have all of them.
    """

    type: str | None = None
    status: TaskStatus | None = None
    tags: tuple[str, ...] = ()
    application: str | None = None
    user: str | None = None
    sort: SortBy = SortBy.CREATED
    ascending: bool = True

    def matches(self, record: Record, now_ms: int) -> bool:
        """Whether a record is asked for."""
        return (
            self.type in (None, record.type)
            and self.application in (None, record.application)
            and self.user in (None, record.user)
            and set(self.tags) <= set(record.tags)
            and self.status in (None, record.status_at(now_ms))
        )

    @property
    def by_one_set(self) -> bool:
        """Whether one sorted set has all that is asked for, and nothing else."""
        others = [each for each in (self.application, self.user) if each is not None]
        kinds = self.type is not None or self.status is not None
        return kinds + len(self.tags) + len(others) <= 1

    def sections(self, keys: Keys, place: Place | None) -> list[Section]:
        """The sorted sets to be read, one after the other, from a place on."""
        after = None if place is None else (place.score, place.task_id)
        if self.sort is not SortBy.STATUS:
            return [self._section(keys, self.status, after)]
        return [
            self._section(keys, status, after if at == 0 else None)
            for at, status in enumerate(self.statuses(place))
        ]

    def statuses(self, place: Place | None) -> list[TaskStatus]:
        """The status of each section, where it is sorted by status."""
        statuses = list(TaskStatus) if self.status is None else [self.status]
        if not self.ascending:
            statuses.reverse()
        if place is not None and place.status is not None:
            statuses = statuses[statuses.index(place.status) :]
        return statuses

    def _section(
        self, keys: Keys, status: TaskStatus | None, after: tuple[int, str] | None
    ) -> Section:
        """The sorted sets in which all stand that is asked for."""
        kind = () if self.type is None else ("type", self.type)
        named = [("tag", tag) for tag in self.tags]
        named += [("application", self.application)] if self.application is not None else []
        named += [("user", self.user)] if self.user is not None else []
        by_creation = [keys.tasks_by("created", *each) for each in named]
        if status is not None:
            by_creation.append(keys.tasks_by("status", status.value, *kind))
        if self.sort in (SortBy.MODIFIED, SortBy.COMPLETED):
            return Section((keys.tasks_by(self.sort.value, *kind),), tuple(by_creation), after)
        if status is None and (kind or not by_creation):
            by_creation.append(keys.tasks_by("created", *kind))
        return Section(tuple(by_creation), (), after)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page ended."""

    score: int
    task_id: str
    status: TaskStatus | None = None


class Conditions(TypedDict, total=False):
    """Which tasks are asked for; all conditions must hold.

    Attributes:
        type: the name of a task.
        status: one of `TaskStatus`.
        tags: a task must have all of them.
        application, user: who created it.
    """

    type: str | None
    status: str | None
    tags: Sequence[str]
    application: str | None
    user: str | None


class QueryOptions(Conditions, total=False):
    """`Conditions`, and the order.

    Attributes:
        sort: `created`, `modified`, `completed` (only tasks that have ended) or `status`.
        direction: `asc` or `desc`.
    """

    sort: str
    direction: str


_NAMES = frozenset(QueryOptions.__annotations__)


def make_query(options: QueryOptions | Conditions) -> Query:
    """A query from what a user says.

    Raises:
        UsageError: what is wrong, with what there is.
    """
    if wrong := sorted(set(options) - _NAMES):
        raise UnknownOption(f"unknown condition {wrong[0]!r}{near_match(wrong[0], _NAMES)}")
    status = options.get("status")
    return Query(
        type=word_or_none("type", options.get("type")),
        status=None if status is None else TaskStatus(_one_of("status", status, list(TaskStatus))),
        tags=tuple(sorted(set(check_tags(options.get("tags", ()))))),
        application=word_or_none("application", options.get("application")),
        user=word_or_none("user", options.get("user")),
        sort=SortBy(_one_of("sort", options.get("sort", SortBy.CREATED), list(SortBy))),
        ascending=_one_of("direction", options.get("direction", "asc"), ["asc", "desc"]) == "asc",
    )


def _one_of(what: str, value: object, known: Sequence[str]) -> str:
    if value not in known:
        names = list(map(str, known))
        hint = near_match(str(value), names)
        raise UsageError(f"{what} {value!r} is not known{hint} ({', '.join(names)})")
    return str(value)


def check_page_size(size: object) -> int:
    """The page size, if it can be one."""
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= MOST_PER_PAGE:
        raise UsageError(f"page size {size!r}: a whole number from 1 to {MOST_PER_PAGE} is meant")
    return size


# -- cursors --


def write_cursor(query: Query, place: Place) -> str:
    """A text that says where to go on."""
    status = None if place.status is None else place.status.value
    parts = [_sign(query), place.score, place.task_id, status]
    return base64.urlsafe_b64encode(codec.encode_text(parts)).decode().rstrip("=")


def read_cursor(query: Query, cursor: str) -> Place:
    """The place that a cursor names.

    Raises:
        WrongCursor: it is of another query, or no cursor at all.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        sign, score, task_id, status = codec.decode_text(base64.urlsafe_b64decode(padded))
        place = Place(int(score), str(task_id), None if status is None else TaskStatus(status))
    except (ValueError, TypeError, AttributeError) as error:
        raise WrongCursor(f"{cursor!r} is no cursor; pass what the last page gave") from error
    if sign != _sign(query):
        raise WrongCursor(
            "this cursor belongs to another query; ask with the same type, status, tags, creator, "
            "sort and direction, or without a cursor from the start"
        )
    return place


def _sign(query: Query) -> str:
    conditions: list[Any] = [query.type, query.status and query.status.value, list(query.tags)]
    conditions += [query.application, query.user, query.sort.value, query.ascending]
    return codec.digest(codec.encode_text(conditions))[:12]
