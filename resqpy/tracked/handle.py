"""Handles of tracked tasks for whoever created or found them: irontask's `Task`, and all tasks that match
conditions.
"""

from __future__ import annotations

import asyncio
import base64
import copy
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any, TypedDict

from resqpy.base import codec
from resqpy.base.errors import UnknownOption, UsageError, WrongCursor
from resqpy.base.imports import near_match
from resqpy.base.keys import Keys, check_priority
from resqpy.base.when import LATEST_MS, Duration, Moment, duration_s, moment_ms
from resqpy.tracked.checks import check_tags, payload_text, word_or_none
from resqpy.tracked.errors import AlreadySaving, TaskStateError, UnknownTaskId
from resqpy.tracked.record import Record, TaskStatus, difference
from resqpy.tracked.record_fields import refuse_unshowable
from resqpy.tracked.view import TaskView

if TYPE_CHECKING:
    from resqpy.tracked.verbs import Tracked


# Queries: which tasks match, in which order, from which position. Pure.
#
# A cursor is the position of the last task seen (its time and id), signed with the query, so that tasks that
# come and go don't shift it and a cursor of another query is rejected.

MAX_PAGE_SIZE = 1000


class SortBy(StrEnum):
    """The sort order of tasks."""

    CREATED = "created"
    MODIFIED = "modified"
    COMPLETED = "completed"  # only tasks that have ended
    STATUS = "status"  # then by creation


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a query.

    Attributes:
        sets: sorted sets with the order.
        others: sorted sets with another order. Matching tasks are in all these sets.
        one_of: sorted sets of which matching tasks are in at least one, if there are any.
        after: score and id of the row before the first one wanted.
    """

    sets: tuple[str, ...]
    others: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()
    after: tuple[int, str] | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """A query. All conditions must hold; None and () mean no condition.

    Attributes:
        statuses: a task must have one of them.
        tags: a task must have all of them.
        ranges: the ranges in which times must lie.
    """

    type: str | None = None
    statuses: tuple[TaskStatus, ...] = ()
    tags: tuple[str, ...] = ()
    application: str | None = None
    user: str | None = None
    priority: int | None = None
    ranges: tuple[TimeRange, ...] = ()
    sort: SortBy = SortBy.CREATED
    ascending: bool = True

    def matches(self, record: Record, now_ms: int) -> bool:
        """Whether a record matches."""
        return (
            self.type in (None, record.type)
            and self.application in (None, record.application)
            and self.user in (None, record.user)
            and set(self.tags) <= set(record.tags)
            and self.priority in (None, record.priority)
            and (not self.statuses or record.status_at(now_ms) in self.statuses)
            and all(each.has(each.of(record)) for each in self.ranges)
        )

    def whole_sets(self, keys: Keys) -> Sequence[str]:
        """The sorted sets that together contain exactly the matching tasks; empty: there are none such."""
        others = [each for each in (self.application, self.user) if each is not None]
        kinds = self.type is not None or bool(self.statuses)
        if self.ranges or self.priority is not None or kinds + len(self.tags) + len(others) > 1:
            return ()
        if self.statuses:
            return self._of_statuses(keys)
        return self._section(keys, (), None).sets

    def beyond(self, score: int) -> bool:
        """Whether a position in the order is after all matching tasks."""
        own = self._own_range
        if own is None:
            return False
        return score >= own.until if self.ascending else score < own.since

    @property
    def _own_range(self) -> TimeRange | None:
        """The range of the times by which it is sorted."""
        return next((each for each in self.ranges if each.name == self.sort.value), None)

    def _start(self) -> tuple[int, str] | None:
        own = self._own_range
        if own is None:
            return None
        return (own.since if self.ascending else own.until), ""

    def _of_statuses(self, keys: Keys) -> tuple[str, ...]:
        kind = () if self.type is None else ("type", self.type)
        return tuple(keys.tasks_by("status", each.value, *kind) for each in self.statuses)

    def sections(self, keys: Keys, place: Position | None) -> list[Section]:
        """The sorted sets to read, one after the other, from a position on."""
        after = self._start() if place is None else (place.score, place.task_id)
        if self.sort is not SortBy.STATUS:
            return [self._section(keys, self.statuses, after)]
        return [
            self._section(keys, (status,), after if at == 0 else None)
            for at, status in enumerate(self.in_order(place))
        ]

    def in_order(self, place: Position | None) -> list[TaskStatus]:
        """The status of each section, if sorted by status."""
        statuses = [each for each in TaskStatus if not self.statuses or each in self.statuses]
        if not self.ascending:
            statuses.reverse()
        if place is not None and place.status is not None:
            statuses = statuses[statuses.index(place.status) :]
        return statuses

    def _section(
        self, keys: Keys, statuses: Sequence[TaskStatus], after: tuple[int, str] | None
    ) -> Section:
        """The sorted sets that contain all matching tasks."""
        kind = () if self.type is None else ("type", self.type)
        named = [("tag", tag) for tag in self.tags]
        named += [("application", self.application)] if self.application is not None else []
        named += [("user", self.user)] if self.user is not None else []
        by_creation = [keys.tasks_by("created", *each) for each in named]
        one_of: tuple[str, ...] = ()
        if len(statuses) == 1:
            by_creation.append(keys.tasks_by("status", statuses[0].value, *kind))
        elif statuses:
            one_of = self._of_statuses(keys)
        if self.sort in (SortBy.MODIFIED, SortBy.COMPLETED):
            sets = (keys.tasks_by(self.sort.value, *kind),)
            return Section(sets, tuple(by_creation), one_of, after)
        if len(statuses) != 1 and (kind or not by_creation):
            by_creation.append(keys.tasks_by("created", *kind))
        return Section(tuple(by_creation), (), one_of, after)


@dataclass(frozen=True, slots=True)
class TimeRange:
    """A half-open range of times in microseconds."""

    name: str
    since: int
    until: int

    def has(self, time_us: int | None) -> bool:
        """Whether it contains a time."""
        return time_us is not None and self.since <= time_us < self.until

    def of(self, record: Record) -> int | None:
        """The relevant time of a record."""
        if self.name == "due":
            return None if record.next_run_ms is None else record.next_run_ms * 1000
        times = {"created": record.created_us, "modified": record.updated_us}
        return times.get(self.name, record.completed_us)


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page ended."""

    score: int
    task_id: str
    status: TaskStatus | None = None


Times = tuple[Moment | None, Moment | None]


class Conditions(TypedDict, total=False):
    """The conditions of a query; all of them must hold.

    Attributes:
        type: the name of a task.
        status: one of `TaskStatus`, or several, of which a task must have one.
        tags: a task must have all of them.
        application, user: who created it.
        priority: -9 to 9.
        created, modified, completed, due: `(since, until)`: when it was created, last changed, ended, or
            runs next: milliseconds since the epoch or aware datetimes, the second one excluded; None: no
            bound.
    """

    type: str | None
    status: str | Sequence[str] | None
    tags: Sequence[str]
    application: str | None
    user: str | None
    priority: int | None
    created: Times | None
    modified: Times | None
    completed: Times | None
    due: Times | None


class QueryOptions(Conditions, total=False):
    """`Conditions`, and the order.

    Attributes:
        sort: `created`, `modified`, `completed` (only tasks that have ended) or `status`.
        direction: `asc` or `desc`.
    """

    sort: str
    direction: str


_RANGES = ("created", "modified", "completed", "due")
_NAMES = frozenset(QueryOptions.__annotations__)


def make_query(options: QueryOptions | Conditions) -> Query:
    """A query from a user's options.

    Raises:
        UsageError: what is wrong, and what is possible.
    """
    if wrong := sorted(set(options) - _NAMES):
        hint = near_match(wrong[0], _NAMES) or "; payloads can't be searched: give tasks tags"
        raise UnknownOption(f"unknown condition {wrong[0]!r}{hint}")
    priority = options.get("priority")
    times: Mapping[str, Any] = options
    return Query(
        type=word_or_none("type", options.get("type")),
        statuses=_statuses(options.get("status")),
        tags=tuple(sorted(set(check_tags(options.get("tags", ()))))),
        application=word_or_none("application", options.get("application")),
        user=word_or_none("user", options.get("user")),
        priority=None if priority is None else check_priority(priority),
        ranges=tuple(_range(each, times[each]) for each in _RANGES if times.get(each) is not None),
        sort=SortBy(_one_of("sort", options.get("sort", SortBy.CREATED), list(SortBy))),
        ascending=_one_of("direction", options.get("direction", "asc"), ["asc", "desc"]) == "asc",
    )


def _statuses(given: str | Sequence[str] | None) -> tuple[TaskStatus, ...]:
    if given is None:
        return ()
    several = [given] if isinstance(given, str) else list(given)
    if not several:
        raise UsageError("status: an empty list matches nothing; leave it out to match any")
    named = {_one_of("status", each, list(TaskStatus)) for each in several}
    return tuple(each for each in TaskStatus if each.value in named)


def _range(name: str, given: object) -> TimeRange:
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise UsageError(f"{name}: {given!r} is not (since, until); None means no bound")
    since, until = given
    since_ms = 0 if since is None else moment_ms(since, name)
    until_ms = LATEST_MS if until is None else moment_ms(until, name)
    return TimeRange(name, since_ms * 1000, until_ms * 1000)


def _one_of(what: str, value: object, known: Sequence[str]) -> str:
    if value not in known:
        names = list(map(str, known))
        hint = near_match(str(value), names)
        raise UsageError(f"{what} {value!r} is unknown{hint} ({', '.join(names)})")
    return str(value)


def check_page_size(size: object) -> int:
    """The page size, if it is valid."""
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= MAX_PAGE_SIZE:
        raise UsageError(f"page size {size!r}: must be a whole number from 1 to {MAX_PAGE_SIZE}")
    return size


# -- cursors --


def write_cursor(query: Query, place: Position) -> str:
    """A text that says where to continue."""
    status = None if place.status is None else place.status.value
    parts = [_sign(query), place.score, place.task_id, status]
    return base64.urlsafe_b64encode(codec.encode_text(parts)).decode().rstrip("=")


def read_cursor(query: Query, cursor: str) -> Position:
    """The position in a cursor.

    Raises:
        WrongCursor: it belongs to another query, or is not a cursor.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        sign, score, task_id, status = codec.decode_text(base64.urlsafe_b64decode(padded))
        place = Position(int(score), str(task_id), None if status is None else TaskStatus(status))
    except (ValueError, TypeError, AttributeError) as error:
        raise WrongCursor(f"{cursor!r} is not a cursor; pass the one of the last page") from error
    if sign != _sign(query):
        raise WrongCursor(
            "this cursor belongs to another query; use the same conditions, sort and direction, or start "
            "without a cursor"
        )
    return place


def _sign(query: Query) -> str:
    statuses = [each.value for each in query.statuses]
    conditions: list[Any] = [query.type, statuses, list(query.tags), query.priority]
    conditions += [query.application, query.user, query.sort.value, query.ascending]
    conditions += [[each.name, each.since, each.until] for each in query.ranges]
    return codec.digest(codec.encode_text(conditions))[:12]


_AT_ONCE = 100


class TrackedTask(TaskView):
    """A task and its verbs, from outside its run.

    Attributes:
        payload: change it and call `save`.
    """

    def __init__(self, record: Record, tracked: Tracked) -> None:
        refuse_unshowable(record)
        super().__init__(record, tracked.clock)
        self.payload: Any = codec.decode_text(record.payload)
        self._tracked = tracked
        self._reference = copy.deepcopy(self.payload)
        self._saving = False

    async def save(self) -> None:
        """Write the changes of the payload; changes by others are kept.

        Raises:
            AlreadySaving: a save is in progress.
            UnknownTaskId: the task was removed.
            InvalidJob: the payload is not a JSON object, or too large.
        """
        if self._saving:
            raise AlreadySaving
        payload_text(self.payload)
        snapshot = copy.deepcopy(self.payload)
        patch = difference(self._reference, snapshot)
        if not patch:
            return
        self._saving = True
        try:
            self.record = await self._tracked.save_patch(self.id, patch)
            self._reference = snapshot
        finally:
            self._saving = False

    async def wait(self, timeout: Duration | None = None) -> TaskStatus:
        """Return when the task has ended, with its status: completed, failed, retried or cancelled; the
        record is that of its end. A recurring task ends with its recurrence.

        Args:
            timeout: milliseconds or a timedelta; None: no limit.

        Raises:
            TimeoutError: it has not ended yet.
            UnknownTaskId: it was removed before it ended.
        """
        seconds = None if timeout is None else duration_s(timeout)
        async with asyncio.timeout(seconds):
            self.record = await self._tracked.waiting.until_ended(self.record)
        return self.record.status

    async def refresh(self) -> None:
        """Read it again; unsaved changes of the payload are lost."""
        self.record = (await self._tracked.fetch(self.id)).record
        self.payload = codec.decode_text(self.record.payload)
        self._reference = copy.deepcopy(self.payload)

    async def enable(self, *, recompute_next_run: bool = False) -> None:
        """Allow it to run again; see `Tracked.enable`."""
        self.record = await self._tracked.enable(self.id, recompute_next_run=recompute_next_run)

    async def disable(self) -> None:
        """Disable it; a current run is notified."""
        self.record = await self._tracked.disable(self.id)

    async def cancel(self) -> None:
        """Cancel it if it has not started; see `Tracked.cancel`."""
        self.record = await self._tracked.cancel(self.id)

    async def retry(self) -> None:
        """Run it now instead of waiting; see `Tracked.retry`."""
        self.record = await self._tracked.retry(self.id)

    async def remove(self) -> bool:
        """Remove it; False if it was removed already."""
        return await self._tracked.remove(self.id)


class Selection:
    """Tasks that match conditions. Each is handled in a separate step, a hundred at the same time, starting
    with the oldest; each verb returns how many were changed.

    A task that is gone meanwhile, or whose status does not allow the verb, is skipped.
    """

    def __init__(self, tracked: Tracked, conditions: Conditions) -> None:
        self._tracked = tracked
        self._conditions = conditions

    async def enable(self, *, recompute_next_run: bool = False) -> int:
        """Allow them to run again; see `Tracked.enable`."""
        return await self._each(
            partial(self._tracked.enable, recompute_next_run=recompute_next_run)
        )

    async def disable(self) -> int:
        """Disable them; current runs are notified."""
        return await self._each(self._tracked.disable)

    async def cancel(self) -> int:
        """Cancel those that have not started."""
        return await self._each(self._tracked.cancel)

    async def retry(self) -> int:
        """Run those now that wait or have failed."""
        return await self._each(self._tracked.retry)

    async def remove(self) -> int:
        """Remove them."""
        return await self._each(self._tracked.remove)

    async def count(self, statuses: Sequence[TaskStatus] = ()) -> int:
        """How many there are; with statuses: how many of them have one of these."""
        if not statuses:
            return await self._tracked.count(**self._conditions)
        said = self._conditions.get("status")
        named = [said] if isinstance(said, str) else said
        wanted = [each for each in statuses if named is None or each in named]
        narrowed: Conditions = {**self._conditions, "status": wanted}
        return await self._tracked.count(**narrowed) if wanted else 0

    async def _each(self, verb: Callable[[str], Awaitable[Any]]) -> int:
        done, cursor = 0, None
        while True:
            page = await self._tracked.query(cursor=cursor, page_size=_AT_ONCE, **self._conditions)
            done += sum(await asyncio.gather(*(_tried(verb, task.id) for task in page.tasks)))
            cursor = page.cursor
            if cursor is None:
                return done


async def _tried(verb: Callable[[str], Awaitable[Any]], task_id: str) -> bool:
    try:
        return bool(await verb(task_id))
    except (UnknownTaskId, TaskStateError):
        return False
