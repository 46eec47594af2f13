"""Which tracked tasks a command selects, by id or by conditions, and what it does to them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import click

from resqpy.base.imports import near_match
from resqpy.cli.arguments.session import ask
from resqpy.cli.output import printing as output
from resqpy.cli.output.printing import Exit
from resqpy.cli.selection.changing import BulkChange
from resqpy.tracked.errors import TaskStateError, TrackedError, UnknownTaskId
from resqpy.tracked.handle import Conditions
from resqpy.tracked.record import TaskStatus
from resqpy.tracked.verbs import Tracked


@dataclass(frozen=True)
class TrackedWork:
    """A change of tasks.

    Attributes:
        verb: of `Tracked` and `Selection`.
        done: the participle of the verb.
        statuses: in which it is allowed; none: any.
        becomes: the new status, if different from `done`.
        options: arguments of the verb.
    """

    verb: str
    done: str
    statuses: Sequence[TaskStatus] = ()
    becomes: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


def said_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """The conditions from the options; statuses may be one comma-separated word."""
    said = {
        name: value
        for name, value in given.items()
        if value not in (None, ()) and value is not False
    }
    if "status" in said:
        words = ",".join(said["status"]).split(",")
        said["status"] = [word for each in words if (word := each.strip())]
    return said


class TrackedChoice:
    """The tasks that a command selects.

    Args:
        given: the options of the command: `all_of_them`, and conditions.
    """

    def __init__(self, ids: Sequence[str], given: Mapping[str, Any]) -> None:
        said = said_of(given)
        all_of_them = bool(said.pop("all_of_them", False))
        if bool(ids) + bool(said) + all_of_them != 1:
            raise click.UsageError(
                "specify ids (see `resqpy tracked list`), or conditions as for that command (--type, --status, "
                "--tag, …), or --all"
            )
        self.ids = ids
        self.conditions: Conditions = {}
        self.conditions.update(said)  # type: ignore[typeddict-item]  # named as the options are


def carry_out(choice: TrackedChoice, work: TrackedWork, *, dry_run: bool) -> int:
    """Execute it, or show for which tasks it would be done; returns the exit code."""
    if choice.ids:
        return _each(choice.ids, work, dry_run=dry_run)
    return _all(choice.conditions, work, dry_run=dry_run)


# -- by conditions --


def _all(conditions: Conditions, work: TrackedWork, *, dry_run: bool) -> int:
    def act() -> int:
        return int(
            _ask(lambda tracked: getattr(tracked.all(**conditions), work.verb)(**work.options))
        )

    what = BulkChange(
        "tracked task",
        work.done,
        lambda tasks: f"{work.verb.capitalize()} {tasks}?",
        "were gone or changed meanwhile",
    )
    found, left = _ask(lambda tracked: _count(tracked, conditions, work))
    number, end = what.carry_out(found, act, dry_run=dry_run), ""
    if left:
        allowed = ", ".join(work.statuses)
        end = f"; skipped: {counts_of(left)} (only {allowed} ones can be {work.done})"
    elif not found:
        end = _ask(lambda tracked: nearest_task(tracked, conditions))
    code = what.tell(found, number, {"left": left}, dry_run=dry_run, more=("", end))
    return Exit.NO if not found and (conditions or left) else code


async def _count(
    tracked: Tracked, conditions: Conditions, work: TrackedWork
) -> tuple[int, dict[str, int]]:
    """To how many it can be done, and how many others match, by status."""
    found = await tracked.all(**conditions).count(work.statuses)
    if not work.statuses or await tracked.count(**conditions) == found:
        return found, {}
    numbers = await by_status(tracked, conditions)
    return found, {name: n for name, n in numbers.items() if name not in work.statuses}


def _ask(do: Callable[[Tracked], Awaitable[Any]]) -> Any:
    return ask(lambda queue: do(Tracked(queue.store)))


# -- by id --


def _each(ids: Sequence[str], work: TrackedWork, *, dry_run: bool) -> int:
    """Do it to each; failures are reported, and the others are done."""
    done = f"would be {work.done}" if dry_run else work.becomes or work.done
    do = _may if dry_run else _do
    missing: list[str] = []

    async def all_of_them(tracked: Tracked) -> dict[str, str]:
        results = {}
        for task_id in ids:
            try:
                await do(tracked, task_id, work)
                results[task_id] = done
            except UnknownTaskId as error:
                results[task_id] = f"{error}{await nearest_id(tracked, task_id)}"
                missing.append(task_id)
            except TrackedError as error:
                results[task_id] = str(error)
        return results

    results: dict[str, str] = _ask(all_of_them)
    output.show(results, lambda: _print_results(results, done))
    if set(results.values()) == {done}:
        return Exit.OK
    return Exit.NOT_FOUND if len(missing) == len(results) else Exit.NO


async def _do(tracked: Tracked, task_id: str, work: TrackedWork) -> None:
    if not await getattr(tracked, work.verb)(task_id, **work.options):
        await tracked.fetch(task_id)  # raises if there is none


async def _may(tracked: Tracked, task_id: str, work: TrackedWork) -> None:
    task = await tracked.fetch(task_id)
    if work.statuses and task.status not in work.statuses:
        raise TaskStateError(f"task {task_id!r} is {task.status} and can't be {work.done}")


def _print_results(results: dict[str, str], done: str) -> None:
    for task_id, result in results.items():
        if result == done:
            output.say(f"{task_id}  {result}")
        else:
            output.warn(result)


# -- suggestions if nothing was found --


_LOOKED_AT = 1000  # tasks, for their names
_NAMED = {"type": "type", "tags": "tag", "application": "application", "user": "user"}


async def nearest_task(tracked: Tracked, conditions: Conditions) -> str:
    """Which condition no task meets, with the nearest name; or that no task meets all, or that there is none."""
    if not await tracked.count():
        return ": there are no tracked tasks"
    if not conditions:
        return ""
    for name, words in _NAMED.items():
        for each in _values(conditions.get(name)):
            alone = cast("Conditions", {name: [each] if name == "tags" else each})
            if not await tracked.count(**alone):
                names = await _names(tracked, name)
                return f": none has the {words} {each!r}{near_match(each, names)}"
    return await _by_status(tracked, conditions)


async def nearest_id(tracked: Tracked, task_id: str) -> str:
    """`; did you mean …?` for the id of one of the first tasks."""
    return near_match(task_id, await _names(tracked, "id"), cutoff=0.8)


async def _by_status(tracked: Tracked, conditions: Conditions) -> str:
    """Whether only the status doesn't match, and which statuses exist."""
    others = cast("Conditions", {k: v for k, v in conditions.items() if k != "status"})
    if "status" not in conditions or not (there := await by_status(tracked, others)):
        return ": none meets these conditions" + (" together" if len(conditions) > 1 else "")
    statuses = " or ".join(_values(conditions["status"]))
    return f": none is {statuses}; {'others are' if others else 'there are'} {counts_of(there)}"


async def by_status(tracked: Tracked, conditions: Conditions) -> dict[str, int]:
    """The number of matching tasks by status."""
    said = _values(conditions.get("status"))
    found = {}
    for status in TaskStatus:
        if not said or status in said:
            narrowed: Conditions = {**conditions, "status": status}
            found[str(status)] = await tracked.count(**narrowed)
    return {status: number for status, number in found.items() if number}


def counts_of(numbers: dict[str, int]) -> str:
    """`2 running, 1 completed`."""
    return ", ".join(f"{number:,} {status}" for status, number in numbers.items())


def _values(said: Any) -> list[Any]:
    if said is None:
        return []
    return [said] if isinstance(said, str) else list(said)


async def _names(tracked: Tracked, name: str) -> set[str]:
    page = await tracked.query(page_size=_LOOKED_AT)
    return {each for task in page.tasks for each in _values(getattr(task.record, name, None))}
