"""`resqpy doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from resqpy.cli import output
from resqpy.cli.exits import Exit
from resqpy.cli.group import command
from resqpy.cli.options import option
from resqpy.cli.settings import current

if TYPE_CHECKING:
    from resqpy.cli.problem import Problem
    from resqpy.engine.resque import Resque
    from resqpy.framework.project import Project


@command(destroys=True)
@option("--fix", is_flag=True, help="Put right what can be put right, after asking.")
@option("--dry-run", is_flag=True, help="With --fix: only tell what would be done.")
@option(
    "--jobs",
    is_flag=True,
    help="Look instead whether this project's tasks take the jobs that are there.",
)
def doctor(*, fix: bool, dry_run: bool, jobs: bool) -> int:
    """Look for what is wrong with a Resque installation, also one without any Python.

    It only reads, unless --fix is given, and looks at every key, in steps. Exit code 6 if something is
    wrong.

    --jobs is for a project that is about to be deployed: it checks the inputs of all waiting, delayed
    and failed jobs of its tasks, and names classes that it does not know. 6 if a job that waits would
    fail.
    """
    if jobs:
        return _look_at_jobs(fix=fix)
    from resqpy.cli.diagnosis import Diagnosis
    from resqpy.cli.session import ask, load_place

    settings = current()
    config = load_place(settings).config

    async def look(resque: Resque) -> tuple[list[Problem], dict[str, int]]:
        found = await Diagnosis(resque, config.scheduler.ruby_lock_prefix).problems()
        if fix and not dry_run and (fixable := [each for each in found if each.fix is not None]):
            _confirm(fixable)
            return found, {each.name: await each.fix() for each in fixable if each.fix is not None}
        return found, {}

    found, fixed = ask(settings, look)
    output.show(
        [_as_json(each, fixed) for each in found],
        lambda: _print(found, fixed, promised=fix and dry_run),
    )
    left = [each for each in found if each.grave and each.name not in fixed]
    return Exit.NO if left else Exit.OK


def _look_at_jobs(*, fix: bool) -> int:
    from resqpy.cli.contract import Contract
    from resqpy.cli.session import ask_with_tasks

    if fix:
        raise click.UsageError("--fix can't change jobs or tasks: --jobs only looks")

    async def look(resque: Resque, project: Project) -> list[Problem]:
        return await Contract(resque, project.registry).problems()

    found = ask_with_tasks(current(), look)
    output.show([_as_json(each, {}) for each in found], lambda: _print(found, {}, promised=False))
    return Exit.NO if any(each.grave for each in found) else Exit.OK


def _confirm(problems: Sequence[Problem]) -> None:
    output.confirm(f"Put right: {', '.join(each.name for each in problems)}?")


def _as_json(problem: Problem, fixed: dict[str, int]) -> dict[str, object]:
    return {
        "name": problem.name,
        "grave": problem.grave,
        "problem": problem.words,
        "remedy": problem.remedy,
        "fixable": problem.fix is not None,
        "fixed": fixed.get(problem.name),
        **output.redaction().shown(problem.details),
    }


def _print(found: Sequence[Problem], fixed: dict[str, int], *, promised: bool) -> None:
    for each in found:
        sign = output.paint("✗", fg="red") if each.grave else output.paint("!", fg="yellow")
        output.say(sign, " ", output.paint(each.name, bold=True), f": {each.words}")
        if each.name in fixed:
            done = output.paint("fixed", fg="green")
            output.say("    ", done, f": {each.remedy} ({fixed[each.name]})")
        elif each.remedy:
            would = "--fix would do it: " if each.fix is not None else ""
            would = "would be fixed: " if would and promised else would
            output.say(f"    → {would}{each.remedy}")
    if not found:
        output.say(output.paint("✓", fg="green"), " nothing is wrong")
