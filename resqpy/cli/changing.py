"""What commands that change many jobs have in common: they count, ask, do it, and tell."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from resqpy.base.job_filter import JobFilter
from resqpy.base.when import Moment
from resqpy.cli import output
from resqpy.cli.exits import Exit
from resqpy.cli.nearest import nearest, nearest_time
from resqpy.cli.session import ask, ask_with_tasks
from resqpy.cli.settings import current
from resqpy.engine.resque import Resque
from resqpy.engine.walking import Walked

Walk = Callable[[Resque, bool], Awaitable[Walked]]  # the second: a dry run


@dataclass(frozen=True)
class JobChange:
    """What becomes of jobs.

    Attributes:
        walk: finds them, and does it unless it is a dry run.
        question: what a person is asked, given "3 jobs".
        noun: what they are: "job".
        done: what became of them: "removed".
        why_less: why it may not be done to all that were found.
        where: stands behind what is told.
        hooks: the hooks and locks of the project's tasks are asked.
        at: the time at which they are due, where that is all that was asked for.
    """

    walk: Walk
    question: Callable[[str], str]
    noun: str
    done: str
    why_less: str = "were gone meanwhile"
    where: str = ""
    hooks: bool = False
    at: Moment | None = None


def change(what: JobChange, wanted: JobFilter, *, dry_run: bool) -> Exit:
    """Do something to the jobs that are meant, after asking; the exit code.

    It is NO where none is meant, then with the nearest, and where less was done than was found.
    """

    def run(*, dry: bool) -> Walked:
        async def walk(resque: Resque, *_: object) -> Walked:
            return await what.walk(resque, dry)

        return ask_with_tasks(current(), walk) if what.hooks else ask(current(), walk)

    seen = run(dry=True)
    if not seen.found:
        return _tell_none(what, wanted, seen, dry_run=dry_run)
    number = seen.found
    if not dry_run:
        output.confirm(what.question(output.counted(seen.found, what.noun)))
        number = run(dry=False).done
    less = max(0, seen.found - number)
    words = f"would be {what.done}" if dry_run else what.done
    told = f"{output.counted(number, what.noun)} {words}{what.where}"
    if less:
        told += f"; {less:,} of the {seen.found:,} that were found {what.why_less}"
    output.show(_result(what, seen, 0 if dry_run else number, dry_run), lambda: output.say(told))
    return Exit.NO if less else Exit.OK


def _result(what: JobChange, seen: Walked, done: int, dry_run: bool) -> dict[str, object]:
    return {
        "found": seen.found,
        what.done: done,
        "looked_at": seen.looked_at,
        "dry_run": dry_run,
    }


def _tell_none(what: JobChange, wanted: JobFilter, seen: Walked, *, dry_run: bool) -> Exit:
    at = what.at
    near = ask(
        current(),
        lambda resque: nearest(resque, wanted) if at is None else nearest_time(resque, at),
    )
    words = f"would be {what.done}" if dry_run else what.done
    others = output.counted(seen.looked_at, what.noun)
    why = f"none of the {others} that were looked at matches" if seen.looked_at else "there is none"
    told = f"no {what.noun} {words}: {why}{near}"
    result = {**_result(what, seen, 0, dry_run), "nearest": near.removeprefix("; ") or None}
    output.show(result, lambda: output.say(told))
    return Exit.NO
