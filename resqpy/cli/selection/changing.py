"""What commands that change many things have in common: they count, ask, do it, and tell."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from resqpy.base.imports import near_match
from resqpy.base.job_filter import JobFilter
from resqpy.base.model import Job, UnreadableJob
from resqpy.base.when import Moment, ceil_second, moment_ms
from resqpy.cli.arguments.session import ask, ask_with_tasks
from resqpy.cli.output import cells as views, printing as output
from resqpy.cli.output.exits import Exit
from resqpy.diagnosis import texts
from resqpy.engine.inspect.inspector import Inspector
from resqpy.engine.inspect.resque import Resque
from resqpy.engine.inspect.walking import Walked
from resqpy.store import delayed

Walk = Callable[[Resque, bool], Awaitable[Walked]]  # the second: a dry run

_QUEUES = 50
_JOBS = 200  # of each queue, and of those that are delayed


@dataclass(frozen=True)
class BulkChange:
    """What becomes of things.

    Attributes:
        noun: what they are: "job".
        done: what became of them: "removed".
        question: what a person is asked, given "3 jobs"; None: nothing.
        why_less: why it may not be done to all that were found.
        where: stands behind what is told.
    """

    noun: str
    done: str
    question: Callable[[str], str] | None
    why_less: str = "were gone meanwhile"
    where: str = ""

    def carry_out(self, found: int, act: Callable[[], int], *, dry_run: bool) -> int:
        """Ask, and do it to all that were found; to how many it was done, or would be."""
        if dry_run or not found:
            return found
        if self.question is not None:
            output.confirm(self.question(output.counted(found, self.noun)))
        return act()

    def words(self, number: int | str, *, dry_run: bool) -> str:
        """`3 jobs removed`, `no job would be removed`."""
        many = output.counted(number, self.noun) if isinstance(number, int) else number
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
        """Tell to how many it was done, with the exit code: NO where there were more.

        Args:
            told: instead of the usual words.
            more: before and behind what is told of those to which it was not done.
        """
        told = told or f"{self.words(number, dry_run=dry_run)}{self.where}{more[0]}"
        if number < found:
            told += f"; {found - number:,} of the {found:,} that were found {self.why_less}"
        done = {"found": found, self.done: 0 if dry_run else number}
        output.show({**done, **result, "dry_run": dry_run}, lambda: output.say(told + more[1]))
        return Exit.NO if number < found else Exit.OK


def change(
    what: BulkChange,
    walk: Walk,
    wanted: JobFilter,
    *,
    dry_run: bool,
    hooks: bool = False,
    at: Moment | None = None,
) -> Exit:
    """Do something to the jobs that are meant, after asking; the exit code.

    It is NO where none is meant, then with the nearest, and where less was done than was found.

    Args:
        walk: finds them, and does it unless it is a dry run.
        hooks: the hooks and locks of the project's tasks are asked.
        at: the time at which they are due, where that is all that was asked for.
    """

    def run(*, dry: bool) -> Walked:
        if hooks:
            return ask_with_tasks(lambda resque, _: walk(resque, dry))
        return ask(lambda resque: walk(resque, dry))

    seen = run(dry=True)
    result: dict[str, Any] = {"looked_at": seen.looked_at}
    if seen.found:
        number = what.carry_out(seen.found, lambda: run(dry=False).done, dry_run=dry_run)
        return what.tell(seen.found, number, result, dry_run=dry_run)
    near = ask(lambda it: nearest(it, wanted) if at is None else nearest_time(it, at))
    others = output.counted(seen.looked_at, what.noun)
    why = f"none of the {others} that were looked at matches" if seen.looked_at else "there is none"
    told = f"{what.words(f'no {what.noun}', dry_run=dry_run)}: {why}{near}"
    result["nearest"] = near.removeprefix("; ") or None
    what.tell(0, 0, result, dry_run=dry_run, told=told)
    return Exit.NO


# -- the job that is most like one that is not there --


async def nearest(inspector: Inspector, wanted: JobFilter) -> str:
    """`; the nearest is …`, with what is different; an empty text where nothing is like it.

    It looks at the first jobs of some queues, and at the first that are delayed.
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
    """`; the nearest time is …`, where something is delayed; an empty text where nothing is."""
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
