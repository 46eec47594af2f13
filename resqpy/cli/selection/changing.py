"""Shared by commands that change many things: they count, ask, act, and report."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from resqpy.base.imports import near_match
from resqpy.base.model import Job, UnreadableJob
from resqpy.base.reading import JobFilter
from resqpy.base.when import Moment, ceil_second, moment_ms
from resqpy.cli.arguments.session import ask, ask_with_tasks
from resqpy.cli.output import cells as views, printing as output
from resqpy.cli.output.printing import Exit
from resqpy.diagnosis import texts
from resqpy.engine.inspect.inspector import Inspector, Resque
from resqpy.engine.inspect.walking import SearchResult
from resqpy.store import delayed

Progress = Callable[[Resque, bool], Awaitable[SearchResult]]  # the second: a dry run

_QUEUES = 50
_JOBS = 200  # of each queue, and delayed ones


@dataclass(frozen=True)
class BulkChange:
    """A bulk change.

    Attributes:
        noun: what is changed: "job".
        done: what happened: "removed".
        question: the question for a person, given "3 jobs"; None: none.
        why_less: why some of those found may not be changed.
        where: appended to the result.
    """

    noun: str
    done: str
    question: Callable[[str], str] | None
    why_less: str = "were gone meanwhile"
    where: str = ""

    def carry_out(self, found: int, act: Callable[[], int], *, dry_run: bool) -> int:
        """Ask, and change everything that was found; returns how many were changed, or would be."""
        if dry_run or not found:
            return found
        if self.question is not None:
            output.confirm(self.question(texts.counted(found, self.noun)))
        return act()

    def words(self, number: int | str, *, dry_run: bool) -> str:
        """`3 jobs removed`, `no job would be removed`."""
        many = texts.counted(number, self.noun) if isinstance(number, int) else number
        return f"{many} {'would be ' if dry_run else ''}{self.done}"

    def tell(
        self,
        found: int,
        number: int,
        result: Mapping[str, Any],
        *,
        dry_run: bool,
        told: str | None = None,
        more: tuple[str, str] = ("", ""),
    ) -> Exit:
        """Report how many were changed, with the exit code: NO if fewer than found.

        Args:
            told: instead of the usual text.
            more: before and after the number of those that were not changed.
        """
        told = told or f"{self.words(number, dry_run=dry_run)}{self.where}{more[0]}"
        if number < found:
            told += f"; {found - number:,} of {found:,} {self.why_less}"
        done = {"found": found, self.done: 0 if dry_run else number}
        output.show({**done, **result, "dry_run": dry_run}, lambda: output.say(told + more[1]))
        return Exit.NO if number < found else Exit.OK


def change(
    what: BulkChange,
    walk: Progress,
    wanted: JobFilter,
    *,
    dry_run: bool,
    hooks: bool = False,
    at: Moment | None = None,
) -> Exit:
    """Change the matching jobs, after asking; returns the exit code.

    It is NO if none matches, then with the nearest one, or if fewer were changed than found.

    Args:
        walk: finds them, and changes them unless it is a dry run.
        hooks: call the hooks and check the locks of the project's tasks.
        at: the time at which they are due, if that was the only condition.
    """

    def run(*, dry: bool) -> SearchResult:
        if hooks:
            return ask_with_tasks(lambda resque, _: walk(resque, dry))
        return ask(lambda resque: walk(resque, dry))

    seen = run(dry=True)
    result: dict[str, Any] = {"looked_at": seen.looked_at}
    if seen.found:
        number = what.carry_out(seen.found, lambda: run(dry=False).done, dry_run=dry_run)
        return what.tell(seen.found, number, result, dry_run=dry_run)
    near = ask(lambda it: nearest(it, wanted) if at is None else nearest_time(it, at))
    others = texts.counted(seen.looked_at, what.noun)
    why = f"none of the {others} examined matches" if seen.looked_at else "there is none"
    told = f"{what.words(f'no {what.noun}', dry_run=dry_run)}: {why}{near}"
    result["nearest"] = near.removeprefix("; ") or None
    what.tell(0, 0, result, dry_run=dry_run, told=told)
    return Exit.NO


# -- the job most similar to one that does not exist --


async def nearest(inspector: Inspector, wanted: JobFilter) -> str:
    """`; the nearest is …`, with the differences; an empty text if nothing is similar.

    It examines the first jobs of some queues, and the first delayed ones.
    """
    best: tuple[int, str] | None = None
    names: dict[str, None] = {}
    async for job, where in _some(inspector, wanted.queue):
        if isinstance(job, UnreadableJob):
            continue
        names[job.class_name] = None
        differs = wanted.differences(job)
        if "class" not in differs and (best is None or len(differs) < best[0]):
            best = len(differs), _words(job, where, differs)
    return best[1] if best is not None else _by_name(wanted, names)


async def nearest_time(inspector: Inspector, at: Moment) -> str:
    """`; the nearest time is …`, if something is delayed; else an empty text."""
    second = ceil_second(moment_ms(at))
    found = await delayed.around(inspector.store, second)
    if not found:
        return ""
    near = min(found, key=lambda each: abs(each - second))
    return f"; the nearest time is {texts.local(near * 1000)}"


async def _some(inspector: Inspector, queue: str | None) -> AsyncIterator[tuple[Job, str]]:
    names = await inspector.queues()
    for name in [queue, *names][: _QUEUES + 1]:
        if name is not None:
            for job in await inspector.queued(name, 0, _JOBS - 1):
                yield job, f"in the queue {name!r}"
    for due_ms, jobs in (await inspector.all_delayed(_JOBS)).items():
        for job in jobs:
            yield job, f"delayed until {texts.local(due_ms)}, for the queue {job.queue!r}"


def _words(job: Job, where: str, differs: list[str]) -> str:
    arguments = f" with {views.args(job.args)}" if "args" in differs else ""
    other = f" (other {' and '.join(differs)})" if differs else ""
    return f"; the nearest is a {job.class_name}{arguments} {where}{other}"


def _by_name(wanted: JobFilter, names: Iterable[str]) -> str:
    return near_match(wanted.class_name, names) if wanted.class_name else ""
