"""Limits of tasks: at most so many at once, of a task, of several that share a name, of each value of an input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from resqpy.base.errors import UsageError

MOST_AT_ONCE = 10_000
_MOST_NAME = 200  # bytes


@dataclass(frozen=True, slots=True)
class Limit:
    """How many jobs of a task run at once, in all processes of resqpy together. A job that would be one more waits
    until another has ended, without a slot and without an attempt.

    Args:
        most: 0: none, the task is paused.
        per: an input: so many for each of its values, independently; for a job without that input, or with a list
            or an object there, a limit of its own. Numbers from 2^53 share one.
        name: all tasks that name it share the limit. Default: a limit of the task alone.

    Raises:
        UsageError: what is wrong.
    """

    most: int
    per: str | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        """Check it."""
        check_most(self.most)
        if self.per is not None and not _is_fit(self.per):
            raise UsageError(f"Limit: per is {self.per!r}, not the name of an input")
        if self.name is not None:
            check_limit_name(self.name)

    def name_in(self, task: str) -> str:
        """The name under which it is counted, shown and set."""
        return self.name or (task if self.per is None else f"{task}:{self.per}")


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


def limits_of(given: object) -> tuple[Limit, ...]:
    """The property `limit` of a task: one, or several.

    Raises:
        UsageError: something else.
    """
    several = given if isinstance(given, list | tuple) else (given,)
    for each in several:
        if not isinstance(each, Limit):
            raise UsageError(f"limit is {each!r}, not a Limit, for example Limit(4)")
    same = [(each.name, each.per) for each in several]
    if len(set(same)) < len(same):
        raise UsageError("limit has two of the same name and input; the smaller one is enough")
    return tuple(several)


def rule_text(task: str, limits: Sequence[Limit]) -> str:
    """What the exchange reads of a task's limits: a line each."""
    return "\n".join(f"{each.name_in(task)}\t{each.per or ''}" for each in limits)


def most_by_name(limits: Mapping[str, Sequence[Limit]]) -> dict[str, int]:
    """How many, by name, of all tasks.

    Raises:
        UsageError: two tasks say different numbers for one name.
    """
    found: dict[str, tuple[int, str]] = {}
    for task, each in ((task, each) for task, several in limits.items() for each in several):
        name = each.name_in(task)
        most, other = found.setdefault(name, (each.most, task))
        if most != each.most:
            raise UsageError(
                f"the limit {name!r} is {most} in the task {other!r} and {each.most} in {task!r}; give it one "
                "number, for example by a constant that both use"
            )
    return {name: most for name, (most, _) in found.items()}
