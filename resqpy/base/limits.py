"""Limits and rates of tasks: at most so many at once, or in a time; of a task, of several that share a name, of
each value of an input.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from resqpy.base.errors import UsageError
from resqpy.base.when import Duration, duration_ms, whole_number

MOST_AT_ONCE = 10_000
_MOST_NAME = 200  # bytes
_LONGEST_VALUE = 128  # bytes


@dataclass(frozen=True, slots=True)
class Limit:
    """How many jobs of a task run at once, in all processes of resqpy together. A job that would be one more waits
    until another has ended, without a slot and without an attempt.

    Args:
        most: 0: none, the task is paused.
        per: an input: so many for each of its values, independently; for a job without that input, or with a list
            or an object there, a limit of its own. Numbers from 2^53 share one.
        name: all tasks that name it share the limit. Default: a limit of the task alone.
        foreign: `count`: jobs of these tasks that workers of other languages run have places, too, as a scheduler
            of resqpy sees them once a second. They themselves don't wait, so together there may be more.

    Raises:
        UsageError: what is wrong.
    """

    most: int
    per: str | None = None
    name: str | None = None
    foreign: str | None = None

    def __post_init__(self) -> None:
        """Check it."""
        check_most(self.most)
        if self.foreign not in (None, "count"):
            raise UsageError(f"Limit: foreign is {self.foreign!r}, neither 'count' nor None")
        if self.per is not None and not _is_fit(self.per):
            raise UsageError(f"Limit: per is {self.per!r}, not the name of an input")
        if self.name is not None:
            check_limit_name(self.name)

    def name_in(self, task: str) -> str:
        """The name under which it is counted, shown and set."""
        return self.name or (task if self.per is None else f"{task}:{self.per}")

    @property
    def path(self) -> str:
        """The input that it goes by; empty: none."""
        return self.per or ""

    @property
    def text(self) -> str:
        """How it is written in Redis."""
        return str(self.most)

    def placed(self, task: str, path: str) -> Limit:
        """The same of a task that takes the input elsewhere."""
        return replace(self, name=self.name_in(task), per=path)


@dataclass(frozen=True, slots=True)
class Rate:
    """How many jobs of a task begin in a time, in all processes of resqpy together, by Redis' clock. They begin
    evenly, one each `per / count`; what comes sooner waits for its turn, without a slot and without an attempt.

    Args:
        count: so many in each `per`.
        per: milliseconds or a timedelta.
        burst: so many may begin at once after a rest, so that at most `count + burst` begin in any `per`.
        key: an input: the rate holds for each of its values; see `Limit`.
        name: all tasks that name it share it. Default: a rate of the task alone.

    Raises:
        UsageError: what is wrong.
    """

    count: int
    per: Duration = 1000
    burst: int = 1
    key: str | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        """Check it."""
        for what, number in (("count", self.count), ("burst", self.burst)):
            if type(number) is not int or not 0 < number <= _MOST_COUNT:
                raise UsageError(
                    f"Rate: {what} is {number!r}, not a whole number from 1 to {_MOST_COUNT:,}; a task whose jobs "
                    "are not to begin has Limit(0)"
                )
        if not 0 < duration_ms(self.per, "per") <= _LONGEST_MS:
            raise UsageError(f"Rate: per is {self.per!r}, not between a millisecond and a year")
        if self.key is not None and not _is_fit(self.key):
            raise UsageError(f"Rate: key is {self.key!r}, not the name of an input")
        if self.name is not None:
            check_limit_name(self.name)

    def name_in(self, task: str) -> str:
        """The name under which it is kept, shown and set."""
        return self.name or (f"{task}:rate" if self.key is None else f"{task}:rate:{self.key}")

    @property
    def path(self) -> str:
        """The input that it goes by; empty: none."""
        return self.key or ""

    @property
    def text(self) -> str:
        """How it is written in Redis."""
        return f"{self.count}/{duration_ms(self.per, 'per')}/{self.burst}"

    def placed(self, task: str, path: str) -> Rate:
        """The same of a task that takes the input elsewhere."""
        return replace(self, name=self.name_in(task), key=path)

    @classmethod
    def read(cls, text: str) -> Rate | None:
        """What `text` says; None: it is no rate."""
        numbers = [number for each in text.split("/") if (number := whole_number(each)) is not None]
        if len(numbers) != 3 or text.count("/") != 2:
            return None
        try:
            return cls(numbers[0], numbers[1], numbers[2])
        except UsageError:
            return None


_MOST_COUNT = 1_000_000
_LONGEST_MS = 366 * 86_400_000
AnyLimit = Limit | Rate


def check_most(most: object) -> int:
    """How many may run at once.

    Raises:
        UsageError: it is not a whole number in range.
    """
    if type(most) is not int or not 0 <= most <= MOST_AT_ONCE:
        raise UsageError(f"the limit {most!r} is not a whole number from 0 to {MOST_AT_ONCE:,}")
    return most


def check_limit_name(name: object) -> str:
    """The name of a limit.

    Raises:
        UsageError: it is none.
    """
    if not isinstance(name, str) or "=" in name or not _is_fit(name):
        raise UsageError(
            f"the name of a limit, {name!r}, must be a text of at most {_MOST_NAME} bytes without '=', '{{' and "
            "control characters"
        )
    return name


def _is_fit(text: object) -> bool:
    if not isinstance(text, str):
        return False
    plain = all(char >= " " and char not in "{\x7f" for char in text)
    return 0 < len(text.encode("utf-8", "replace")) <= _MOST_NAME and plain


def limits_of(given: object, task: str = "task") -> tuple[AnyLimit, ...]:
    """The property `limit` of a task: one, or several.

    Raises:
        UsageError: something else, or what the task is called can't be the name of a limit.
    """
    several = given if isinstance(given, list | tuple) else (given,)
    for each in several:
        if not isinstance(each, Limit | Rate):
            raise UsageError(f"limit is {each!r}, neither a Limit nor a Rate, for example Limit(4)")
    names = [each.name_in(task) for each in several]
    for name, each in zip(names, several, strict=True):
        try:
            check_limit_name(name)
        except UsageError as error:
            raise UsageError(
                f"{error}; give it a `name`: {type(each).__name__}(…, name=…)"
            ) from error
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"limit has two with one name ({twice[0]!r}); give one another `name`")
    return tuple(several)


def rule_text(task: str, limits: Sequence[AnyLimit]) -> str:
    """What the exchange reads of a task's limits: a line each."""
    return "\n".join(f"{each.name_in(task)}\t{each.path}" for each in limits)


def texts_by_name(limits: Mapping[str, Sequence[AnyLimit]]) -> dict[str, tuple[str, str]]:
    """How many, by name, of all tasks, and whether foreign jobs are counted: `count`, or nothing.

    Raises:
        UsageError: two tasks say different things of one name.
    """
    found: dict[str, tuple[tuple[str, str], str]] = {}
    for task, each in ((task, each) for task, several in limits.items() for each in several):
        name = each.name_in(task)
        said = each.text, (each.foreign or "") if isinstance(each, Limit) else ""
        before, other = found.setdefault(name, (said, task))
        if before != said:
            here, there = (" ".join(filter(None, words)) for words in (said, before))
            raise UsageError(
                f"the limit {name!r} is {there} in the task {other!r} and {here} in {task!r}; let both use "
                "one, for example by a constant"
            )
    return {name: text for name, (text, _) in found.items()}


def key_text(value: str | float) -> str:
    """A value of an input as the exchange writes it (`store/lua/exchange_keys.lua`).

    Raises:
        UsageError: it makes no key of its own.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float) and abs(value) < 2**53:
        return str(int(value)) if value == int(value) else f"{value:.17g}"
    if not isinstance(value, str):
        raise UsageError(f"{value!r} is neither a text nor a number below 2^53, so it makes no key")
    raw = value.encode()
    if len(raw) > _LONGEST_VALUE or any(byte < 32 or byte == 127 for byte in raw):
        return f"#{hashlib.sha1(raw, usedforsecurity=False).hexdigest()}"
    return value


def key_of(name: str, path: str, args: object) -> str:
    """The key under which a job with these arguments is counted, as the exchange writes it.

    Args:
        path: the input that the limit goes by, or `#` and a place from 1; empty: the name alone.
        args: None: the job is too large to be read.
    """
    if not path:
        return name
    value: object = None
    if isinstance(args, list):
        if path[0] == "#" and (place := whole_number(path[1:])) is not None:
            value = args[place - 1] if 0 < place <= len(args) else None
        elif args and isinstance(args[-1], dict):
            value = args[-1].get(path)
    return f"{name}={'?' if args is None else _value_text(value)}"


def _value_text(value: object) -> str:
    if value is None:
        return ""
    try:
        return key_text(value)  # type: ignore[arg-type] # others are refused there
    except UsageError:
        return "?"
