"""`resqpy doctor`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from resqpy.cli.arguments.flags import option
from resqpy.cli.arguments.session import ask, ask_with_tasks, load_place
from resqpy.cli.arguments.settings import Settings, current
from resqpy.cli.group import command
from resqpy.cli.output import printing as output
from resqpy.cli.output.printing import Exit
from resqpy.diagnosis import texts
from resqpy.framework.project.root import is_project

if TYPE_CHECKING:
    from resqpy.diagnosis.checks import Problem
    from resqpy.engine.inspect.inspector import Resque
    from resqpy.framework.project.project import Project
    from resqpy.framework.tasks.spec import TaskSpec


@command(destroys=True)
@option("--fix", is_flag=True, help="Fix what can be fixed, after asking.")
@option("--dry-run", is_flag=True, help="With --fix: only show what would be done.")
@option(
    "--jobs",
    is_flag=True,
    help="Instead, check whether this project's tasks accept the existing jobs.",
)
@option(
    "--undo",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Undo what an earlier --fix changed, from the file that it named.",
)
@option(
    "--bundle",
    type=click.Path(exists=False, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Instead, write the state of the installation into this new file, as JSON, for whoever helps.",
)
def doctor(*, fix: bool, dry_run: bool, jobs: bool, undo: Path | None, bundle: Path | None) -> int:
    """Find out what is wrong with a Resque installation, with or without Python.

    It also loads the project, if the directory has one, and reports errors in its files.

    It only reads, unless --fix is given, and scans all keys, in steps. Exit code 6 if something is wrong.
    --fix writes a file for --undo.

    --jobs is for a project about to be deployed: it checks the inputs of all waiting, delayed and failed
    jobs of its tasks, and lists classes that it does not know. 6 if a waiting job would fail.

    --bundle: what doctor finds, versions, settings, queues, workers, schedules, counts of failed jobs and Redis'
    INFO. Secrets are hidden; arguments, results, error messages and backtraces of jobs are not in it, so of
    problems with keys, such as those of locks, only the names are.
    """
    given = {"--bundle": bundle, "--undo": undo, "--jobs": jobs, "--fix": fix}
    chosen = [name for name, each in given.items() if each]
    if dry_run and chosen[:1] in (["--bundle"], ["--jobs"]):
        chosen.append("--dry-run")
    if len(chosen) > 1:
        raise click.UsageError(f"{chosen[0]} and {chosen[1]} can't be combined")
    if bundle is not None:
        return _bundle(bundle)
    if undo is not None:
        return _take_back(undo, dry_run=dry_run)
    if jobs:
        return _look_at_jobs()
    from resqpy.diagnosis.doctor import Diagnosis
    from resqpy.framework.config.config import scheduler_options

    settings = current()
    config = load_place(settings).config
    project = _loaded_project(settings)

    async def look(resque: Resque) -> tuple[list[Problem], dict[str, int]]:
        found = await Diagnosis(resque, scheduler_options(config)).problems()
        if fix and not dry_run and (fixable := [each for each in found if each.fix is not None]):
            _confirm(fixable)
            return found, await _repair(resque, settings, fixable)
        return found, {}

    found, fixed = ask(look, project.registry.definitions if project else {})
    found = [*(_problems_of(project) if project else []), *found]
    output.show(
        [_as_json(each, fixed) for each in found],
        lambda: _print(found, fixed, promised=fix and dry_run),
    )
    left = [each for each in found if each.grave and each.name not in fixed]
    return Exit.NO if left else Exit.OK


def _bundle(path: Path) -> int:
    from resqpy.diagnosis.bundle import SupportBundle
    from resqpy.framework.config.config import scheduler_options

    settings = current()
    config = load_place(settings).config
    shown = [
        {"path": each.path, "value": each.masked, "origin": each.origin} for each in config.settings
    ]
    options, redaction = scheduler_options(config), settings.redaction
    found = ask(lambda resque: SupportBundle(resque, options, redaction, shown).read())
    try:
        with open(path, "x", encoding="utf-8", opener=partial(os.open, mode=0o600)) as file:
            file.writelines(
                f"{sign}\n{output.compact(name)}: {output.compact(part)}"
                for sign, (name, part) in zip("{" + "," * len(found), found.items(), strict=False)
            )
            file.write("\n}\n")
    except OSError as error:
        raise output.fail(Exit.USAGE, f"the file cannot be written: {error}") from error
    output.show(
        {"file": str(path)},
        lambda: output.say(f"written: {path}; look through it before you send it"),
    )
    return Exit.OK


def _loaded_project(settings: Settings) -> Project | None:
    """The project, including its errors; None: the directory has none."""
    if not settings.has_project:
        return None
    from resqpy.framework.project.project import Project

    return Project.load(
        settings.root, settings.environment, settings.parsed(), tasks=settings.modules
    )


def _problems_of(project: Project) -> list[Problem]:
    """The errors that prevent loading it, and its warnings."""
    from resqpy.diagnosis.checks import Problem

    wrong = [Problem("project", str(each)) for each in project.errors]
    return wrong + [Problem("project", str(each), grave=False) for each in project.warnings]


async def _repair(
    resque: Resque, settings: Settings, problems: Sequence[Problem]
) -> dict[str, int]:
    from resqpy.diagnosis.doctor import UndoFile, repair

    file = UndoFile.new(settings.root if is_project(settings.root) else Path.cwd())
    try:
        return await repair(resque.store, problems, file)
    finally:
        output.note(f"to undo this: resqpy doctor --undo {quote(str(file.path))}")


def _take_back(path: Path, *, dry_run: bool) -> int:
    from resqpy.diagnosis.doctor import read
    from resqpy.store.repair.undo import take_back

    commands = read(path)
    if not dry_run:
        output.confirm(f"Undo {texts.counted(len(commands), 'change')} of {path.name}?")

    async def do(resque: Resque) -> list[str]:
        return [] if dry_run else await take_back(resque.store, commands)

    refused = ask(do)
    for words in refused:
        output.warn(words)
    done = 0 if dry_run else len(commands) - len(refused)
    result = {"changes": len(commands), "taken_back": done, "dry_run": dry_run}
    told = f"{texts.counted(len(commands), 'change')} would be undone"
    if not dry_run:
        told = f"{texts.counted(done, 'change')} undone"
    output.show(result, lambda: output.say(told))
    return Exit.NO if refused else Exit.OK


def _look_at_jobs() -> int:
    from resqpy.base.activejob import check_readable
    from resqpy.diagnosis.contract import Contract
    from resqpy.framework.tasks.arguments import params_of, shown_args

    settings = current()

    def check(task: TaskSpec, args: Sequence[Any]) -> None:
        check_readable(args)
        params_of(task, args)

    async def look(resque: Resque, project: Project) -> list[Problem]:
        tasks = project.registry.tasks
        return await Contract(resque, tasks, check, settings.redaction, shown_args).problems()

    found = ask_with_tasks(look)
    output.show([_as_json(each, {}) for each in found], lambda: _print(found, {}, promised=False))
    return Exit.NO if any(each.grave for each in found) else Exit.OK


def _confirm(problems: Sequence[Problem]) -> None:
    output.confirm(f"Fix: {', '.join(each.name for each in problems)}?")


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
            would = "--fix would fix it: " if each.fix is not None else ""
            would = "would be fixed: " if would and promised else would
            output.say(f"    → {would}{each.remedy}")
    output.note_place(each.remedy for each in found)
    if not found:
        output.say(output.paint("✓", fg="green"), " nothing is wrong")
