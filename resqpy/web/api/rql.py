"""Extra Horizon's queries (RQL) of tasks: read, and turned into what the indexes of tracked tasks can answer.
What they can't is refused by name.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import unquote

from resqpy.base.when import moment_ms
from resqpy.tracked.handle import QueryOptions
from resqpy.tracked.record import TaskStatus
from resqpy.web.api.problems import ApiProblem
from resqpy.web.api.schema import nearest
from resqpy.web.asking import moment

DEFAULT_LIMIT, MAX_LIMIT, MAX_OFFSET = 50, 500, 10_000
_MAX_DEPTH, _MAX_ALTERNATIVES = 20, 20

STATUSES = {
    "new": (TaskStatus.SCHEDULED, TaskStatus.PENDING, TaskStatus.DISABLED),
    "inProgress": (TaskStatus.RUNNING, TaskStatus.DISABLING),
    "complete": (TaskStatus.COMPLETED,),
    "failed": (TaskStatus.FAILED,),
    "canceled": (TaskStatus.CANCELLED,),
    "retried": (TaskStatus.RETRIED,),
}
# What is compared with values, and what with times: the field, and its name in our queries.
_VALUES = {
    "id": "id",
    "status": "status",
    "functionName": "type",
    "tags": "tags",
    "createdByApplicationId": "application",
    "createdByUserId": "user",
}
_TIMES = {"creationTimestamp": "created", "updateTimestamp": "modified"}
_IMPOSSIBLE = ("ne", "out", "like", "contains", "excludes")  # no index can answer them
_POSSIBLE = (
    "eq and in of id, status, functionName, tags, createdByApplicationId and createdByUserId; gt, ge, lt and le "
    "of creationTimestamp or updateTimestamp, with a sort by the same; and; or of eq on one field; sort, limit, "
    "select, skipCount"
)


@dataclass(frozen=True, slots=True)
class Operator:
    """A call in a query, such as `eq(status,new)`."""

    name: str
    args: tuple[Operator | str, ...]

    @property
    def words(self) -> list[str]:
        """Its arguments, where all of them are values."""
        if any(isinstance(each, Operator) for each in self.args):
            raise wrong(f"{self.name}(…) takes values, not other operators")
        return [cast("str", each) for each in self.args]


def wrong(words: str, near: str = "") -> ApiProblem:
    """The answer to a query that can't be used."""
    hint = f"; did you mean {near!r}?" if near else ""
    return ApiProblem("wrong-query", f"{words}{hint}", near)


# -- reading --

_TOKEN = re.compile(r"[^(),&]+|[(),&]")


def parse(query: str) -> list[Operator]:
    """The operators of a query, decoded once, which all must hold.

    Raises:
        ApiProblem: it can't be read.
    """
    tokens = _TOKEN.findall(query)
    found, at = list[Operator](), 0
    while at < len(tokens):
        if tokens[at] == "&":
            at += 1
            continue
        each, at = _call(tokens, at, 0)
        if isinstance(each, str):
            raise wrong(f"{each[:60]!r} is not an operator, such as eq(status,new)")
        found.append(each)
        if at < len(tokens) and tokens[at] != "&":
            raise wrong(
                f"unexpected {tokens[at]!r} after {each.name}(…); operators are joined by &"
            )
    return found


def _call(tokens: Sequence[str], at: int, depth: int) -> tuple[Operator | str, int]:
    """A call or a value, and where the next token is."""
    if depth > _MAX_DEPTH:
        raise wrong(f"it is nested more than {_MAX_DEPTH} deep")
    name = tokens[at] if at < len(tokens) else ""
    if name in ("", "(", ")", ",", "&"):
        raise wrong(f"unexpected {name or 'end'!r}")
    if at + 1 >= len(tokens) or tokens[at + 1] != "(":
        return name, at + 1
    args, at = list[Operator | str](), at + 2
    while at < len(tokens) and tokens[at] != ")":
        if args:
            if tokens[at] not in (",", "&"):
                raise wrong(f"unexpected {tokens[at]!r} in {name}(…)")
            at += 1
        each, at = _call(tokens, at, depth + 1)
        args.append(each)
    if at >= len(tokens):
        raise wrong(f"{name}( is not closed")
    return Operator(name, tuple(args)), at + 1


def _value(text: str) -> str:
    """A value, which is encoded a second time, and may say its type."""
    decoded = unquote(text, errors="replace")
    kind, colon, rest = decoded.partition(":")
    return rest if colon and kind in ("string", "number", "date") else decoded


# -- what it asks for --


@dataclass(slots=True)
class TaskPlan:
    """What a query asks of the indexes.

    Attributes:
        values: by the name of the condition, the values of which one must hold; tags: all of them.
        tag_choices: each a list of tags of which one must be there.
        times: since and until by the name of the condition, in milliseconds.
        sort, ascending: the order.
        count: whether the number of all is asked for.
        select: the fields that are asked for; none: all.
    """

    values: dict[str, list[str]] = field(default_factory=dict)
    tag_choices: list[list[str]] = field(default_factory=list)
    times: dict[str, tuple[int | None, int | None]] = field(default_factory=dict)
    sort: str = ""
    ascending: bool = True
    limit: int = DEFAULT_LIMIT
    offset: int = 0
    count: bool = True
    select: tuple[str, ...] = ()

    @property
    def ids(self) -> list[str] | None:
        """The ids of which a task must have one; None: any."""
        return self.values.get("id")

    def alternatives(self) -> list[QueryOptions]:
        """The queries whose results together are the answer; none: nothing can match.

        Raises:
            ApiProblem: there are too many.
        """
        if [] in self.values.values():
            return []
        common: dict[str, Any] = {"sort": self.sort or "created"}
        common["direction"] = "asc" if self.ascending else "desc"
        common |= self.times
        if statuses := self.values.get("status"):
            common["status"] = statuses
        names = [name for name in ("type", "application", "user") if name in self.values]
        choices = [self.values[name] for name in names] + self.tag_choices
        tags = self.values.get("tags", [])
        found = list[QueryOptions]()
        for chosen in itertools.islice(itertools.product(*choices), _MAX_ALTERNATIVES + 1):
            own = dict(zip(names, chosen, strict=False))
            all_tags = list(dict.fromkeys([*tags, *chosen[len(names) :]]))
            found.append(cast("QueryOptions", {**common, **own, "tags": all_tags}))
        if len(found) > _MAX_ALTERNATIVES:
            raise wrong(f"it has more than {_MAX_ALTERNATIVES} combinations of in(…) and or(…)")
        return found


def plan(operators: Sequence[Operator]) -> TaskPlan:
    """What a query asks for.

    Raises:
        ApiProblem: the indexes can't answer it; it says what they can.
    """
    found = TaskPlan()
    for each in _flat(operators):
        act = _ACTS.get(each.name)
        if act is None:
            near = "" if each.name in _IMPOSSIBLE else nearest(each.name, list(_ACTS))
            raise wrong(f"{each.name}(…) is not possible here; possible are {_POSSIBLE}", near)
        act(found, each)
    if len(found.times) > 1:
        raise wrong("both creationTimestamp and updateTimestamp are limited; limit one of them")
    for name in found.times:
        if found.sort not in ("", name):
            raise wrong(f"times are limited by {_named(name)}, so sort by that too, or not at all")
        found.sort = name
    return found


def _named(condition: str) -> str:
    return next(name for name, own in _TIMES.items() if own == condition)


def _flat(operators: Sequence[Operator]) -> Iterator[Operator]:
    for each in operators:
        if each.name == "and":
            if any(isinstance(inner, str) for inner in each.args):
                raise wrong("and(…) takes operators")
            yield from _flat(cast("tuple[Operator, ...]", each.args))
        elif each.name == "or":
            yield _as_in(each)
        else:
            yield each


def _as_in(either: Operator) -> Operator:
    """`or(eq(f,a),eq(f,b))` is `in(f,a,b)`."""
    fields, values = set[str](), list[str]()
    for each in either.args:
        if isinstance(each, str) or each.name not in ("eq", "in") or len(each.args) < 2:
            raise wrong(f"or(…) takes eq(…) and in(…) of one field; possible are {_POSSIBLE}")
        fields.add(each.words[0])
        values += each.words[1:]
    if len(fields) != 1:
        raise wrong(f"or(…) of {' and '.join(sorted(fields)) or 'nothing'}: of one field only")
    return Operator("in", (*fields, *values))


def _equal(found: TaskPlan, each: Operator) -> None:
    if len(each.args) != 2:
        raise wrong(f"{each.name}(…) takes a field and a value")
    _one_of(found, each)


def _one_of(found: TaskPlan, each: Operator) -> None:
    name, *given = each.words or [""]
    if name not in _VALUES or not given:
        near = nearest(name, list(_VALUES))
        raise wrong(f"{each.name}({name[:60]},…) is not possible; possible are {_POSSIBLE}", near)
    own, values = _VALUES[name], list(map(_value, given))
    if own == "tags":
        if len(values) > 1:
            found.tag_choices.append(values)
            return
        found.values["tags"] = [*found.values.get("tags", []), *values]
        return
    if own == "status":
        values = [status for value in values for status in _statuses(value)]
    before = found.values.get(own)
    found.values[own] = values if before is None else [v for v in before if v in values]


def _statuses(value: str) -> tuple[TaskStatus, ...]:
    if value not in STATUSES:
        near = nearest(value, list(STATUSES))
        raise wrong(f"there is no status {value[:60]!r} (there are: {', '.join(STATUSES)})", near)
    return STATUSES[value]


def _compared(found: TaskPlan, each: Operator) -> None:
    words = each.words
    if len(words) != 2 or words[0] not in _TIMES:
        near = nearest(words[0] if words else "", list(_TIMES))
        raise wrong(f"{each.name}(…) is possible of {' and '.join(_TIMES)} only", near)
    at = moment(_value(words[1]))
    if at is None:
        raise wrong(f"{words[1][:60]!r} is not a time, such as 2026-11-30T12:00:00.000Z")
    ms, own = moment_ms(at), _TIMES[words[0]]
    since, until = found.times.get(own, (None, None))
    if each.name in ("ge", "gt"):
        ms += each.name == "gt"
        since = ms if since is None else max(since, ms)
    else:
        ms += each.name == "le"
        until = ms if until is None else min(until, ms)
    found.times[own] = since, until


def _sorted(found: TaskPlan, each: Operator) -> None:
    words = each.words
    name = words[0].lstrip("+- ") if len(words) == 1 else ""
    if name not in _TIMES:
        near = nearest(name, list(_TIMES))
        raise wrong(f"sort(…) is possible by {' or '.join(_TIMES)} only", near)
    found.sort, found.ascending = _TIMES[name], not words[0].startswith("-")


def _limited(found: TaskPlan, each: Operator) -> None:
    words = each.words
    if not 1 <= len(words) <= 2 or not all(re.fullmatch(r"\d{1,6}", word) for word in words):
        raise wrong("limit(…) takes a number, and an offset if need be")
    found.limit, found.offset = int(words[0]), int(words[1]) if len(words) > 1 else 0
    if not 1 <= found.limit <= MAX_LIMIT or found.offset > MAX_OFFSET:
        raise wrong(f"limit(…) is 1 to {MAX_LIMIT}, its offset at most {MAX_OFFSET:,}")


def _selected(found: TaskPlan, each: Operator) -> None:
    found.select = tuple(each.words)


def _uncounted(found: TaskPlan, _: Operator) -> None:
    found.count = False


_ACTS: dict[str, Callable[[TaskPlan, Operator], None]] = {
    "eq": _equal,
    "in": _one_of,
    "gt": _compared,
    "ge": _compared,
    "lt": _compared,
    "le": _compared,
    "sort": _sorted,
    "limit": _limited,
    "select": _selected,
    "skipCount": _uncounted,
    "skip_count": _uncounted,
}
