"""`resqpy task`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from resqpy.cli.arguments.flags import (
    JSON,
    MILLISECONDS,
    MOMENT,
    option,
    options,
    read_pairs,
    task_names,
)
from resqpy.cli.arguments.session import (
    ask_with_tasks,
    load_project,
    registered_tasks,
    task_of,
    with_process,
)
from resqpy.cli.arguments.settings import current
from resqpy.cli.commands.tracked import CONDITIONS, TRACKED, show_page
from resqpy.cli.group import Group
from resqpy.cli.output import cells as views, printing as output
from resqpy.cli.output.printing import Exit
from resqpy.diagnosis import texts

if TYPE_CHECKING:
    from resqpy.diagnosis.explaining import Finding
    from resqpy.engine.inspect.inspector import Resque
    from resqpy.framework.process.process import Process
    from resqpy.framework.project.project import Project
    from resqpy.framework.tasks.inputs import Input
    from resqpy.framework.tasks.spec import TaskSpec


_ENTRIES = {name: entry for name, entry in TRACKED.items() if name != "list"}


@click.group(cls=Group, default="list", entries=_ENTRIES)
def task() -> None:
    """Show, enqueue and run the project's tasks, and explain why one does not run.

    Tracked tasks, which have records, can also be created, found, changed and watched.
    """


@task.command("list")
@option("--tracked", is_flag=True, help="Tracked tasks; implied by the following options.")
@CONDITIONS
@option("--queue", metavar="NAME", help="Only tasks of this queue.")
@option("--periodic", is_flag=True, help="Only periodic tasks.")
def list_(*, queue: str | None, periodic: bool, tracked: bool, **conditions: Any) -> None:
    """Show the project's tasks; with --tracked or a condition on them, tracked tasks."""
    said = {
        name for name, value in conditions.items() if value not in (None, ()) and value is not False
    }
    if tracked or said - {"limit"}:
        show_page(conditions)
        return
    found = [
        each
        for each in registered_tasks()
        if queue in {None, each.queue} and (each.periodic or not periodic)
    ]
    empty = (
        "no such tasks"
        if queue or periodic
        else "no tasks; create one with `resqpy generate task NAME`"
    )
    output.show([_as_json(each) for each in found], lambda: _list(found, empty))


def _list(tasks: list[TaskSpec], empty: str) -> None:
    columns = ("task", "queue", "runs", "description", "package")
    rows = [(e.name, e.queue, _timing(e), e.description, e.package or "") for e in tasks]
    shown = 5 if any(each.package for each in tasks) else 4
    output.table(
        columns[:shown],
        [row[:shown] for row in rows],
        empty=empty,
    )


def _timing(task: TaskSpec) -> str:
    if task.cron is not None:
        return f"{task.cron} {task.timezone}"
    return f"every {texts.duration(task.frequency_ms)}" if task.frequency_ms else "when enqueued"


def _default(declared: Input) -> Any:
    from resqpy.framework.tasks.inputs import json_default
    from resqpy.framework.tasks.readers import NOT_TOLD

    made = json_default(declared)
    return declared.default if made is NOT_TOLD else made  # shown by its repr


def _as_json(task: TaskSpec) -> dict[str, Any]:
    from resqpy.engine.definition import RULES
    from resqpy.framework.tasks.hints import name_of

    return {
        "name": task.name,
        "description": task.description,
        "queue": task.queue,
        "frequency_ms": task.frequency_ms,
        "cron": task.cron,
        "timezone": task.timezone if task.cron else None,
        "inputs": {
            name: {"type": "any" if each.type is Any else name_of(each.type), "required": each.is_required,
                   **({"default": _default(each)} if each.has_default else {})}
            for name, each in task.inputs.items()
        },
        "plugins": [_named(each) for each in task.plugins],
        **_positions(task),
        "middleware": [_named(each) for each in task.middleware],
        "retry": task.retry,
        "time_limit_ms": task.time_limit_ms,
        "expires_ms": task.expires_ms,
        "deadline_ms": task.deadline_ms,
        **{rule: getattr(task, rule) for rule in RULES},
        "limit": [
            {"name": each.name_in(task.name), "limit": each.text, "input": each.path or None}
            for each in task.limit
        ],
        "async": task.is_async,
        "module": task.module,
        "package": task.package,
        "file": str(task.file),
        "line": task.line,
    }  # fmt: skip


def _positions(task: TaskSpec) -> dict[str, Any]:
    at = task.signature.positions
    return {} if at is None else {"by_position": [*at.names, *([f"*{at.rest}"] if at.rest else [])]}


def _named(thing: Any) -> str:
    return thing if isinstance(thing, str) else getattr(thing, "__name__", type(thing).__name__)


@task.command()
@click.argument("name", shell_complete=task_names)
@option("--json-schema", is_flag=True, help="Only the JSON Schema of its inputs.")
def show(name: str, *, json_schema: bool) -> None:
    """Show all properties of a task."""
    from resqpy.base.codec import json_text
    from resqpy.framework.tasks.arguments import json_schema_of

    project = load_project(current())
    found = task_of(project, name)
    if json_schema:
        output.say(json_text(json_schema_of(found)))  # whole: a name is no secret
        return
    shown = _as_json(found)
    inputs = shown.pop("inputs")
    output.show({**shown, "inputs": inputs}, lambda: _print(shown, inputs, project.root))


def _print(shown: dict[str, Any], inputs: dict[str, Any], root: Path) -> None:
    file = Path(shown["file"])
    file = file.relative_to(root) if file.is_relative_to(root) else file
    shown["file"] = f"{file}:{shown.pop('line')}"
    output.properties(views.properties({k: v for k, v in shown.items() if v not in (None, [], 0)}))
    output.say()
    output.table(
        ("input", "type", "required", "default"),
        [
            (name, each["type"], "yes" if each["required"] else "no",
             output.compact(each["default"]) if "default" in each else "")
            for name, each in inputs.items()
        ],
        empty="it has no inputs",
    )  # fmt: skip


# -- a task and its inputs --


# And ActionHero's `--name` and `--args`.
NAME_AND_INPUTS = options(
    click.argument("inputs", nargs=-1, metavar="[NAME] [KEY=VALUE]…", shell_complete=task_names),
    option("--args", "-a", type=JSON, metavar="JSON",
           help="The inputs as a JSON object, or by position as a list, in addition to KEY=VALUE; - reads "
                "standard input."),
    option("--name", "-n", "named", metavar="NAME", shell_complete=task_names,
           help="The task, instead of the argument."),
)  # fmt: skip


def read_name_and_inputs(
    named: str | None, args: Any, inputs: tuple[str, ...]
) -> tuple[str, dict[str, Any] | list[Any], dict[str, str]]:
    """The task's name, its inputs or its arguments from JSON, and the inputs given as words."""
    words = list(inputs)
    name = named or (words.pop(0) if words and "=" not in words[0] else None)
    if name is None:
        raise click.UsageError("the task is missing: `resqpy task list` shows them")
    if args is not None and not isinstance(args, dict | list):
        raise click.UsageError("--args: the inputs of a task are an object: '{\"name\": 1}'")
    known = args if isinstance(args, dict) else ()
    return name, args or {}, read_pairs(words, "KEY=VALUE", known)


def checked_inputs(
    task: TaskSpec, given: dict[str, Any] | list[Any], words: dict[str, str]
) -> dict[str, Any]:
    """All inputs.

    Raises:
        InvalidInputs: all that is wrong.
        click.UsageError: one is given twice.
    """
    from resqpy.framework.tasks.arguments import by_name
    from resqpy.framework.tasks.inputs import from_text

    named = by_name(task, given) if isinstance(given, list) else given
    for twice in named.keys() & words.keys():
        raise click.UsageError(f"{twice!r} is given twice")
    found = {**named, **{key: from_text(task.inputs, key, word) for key, word in words.items()}}
    task.inputs.check(found)
    return found


# -- enqueue and run --


@task.command()
@NAME_AND_INPUTS
@option(
    "--in",
    "delay",
    type=MILLISECONDS,
    metavar="DURATION",
    help="Enqueue it for later: 5s, 10m, 2h, or milliseconds.",
)
@option("--at", type=MOMENT, metavar="TIME", help="Enqueue it for then: ISO 8601, or milliseconds.")
@option("--queue", metavar="NAME", help="Use this queue instead of the task's.")
@option(
    "--count",
    default=1,
    show_default=True,
    type=click.IntRange(1),
    metavar="N",
    help="Enqueue it this many times.",
)
@option("--dry-run", is_flag=True, help="Only check the inputs and show the result.")  # fmt: skip
def enqueue(
    *, inputs: tuple[str, ...], named: str | None, args: Any, delay: int | None,
    at: datetime | int | None, queue: str | None, count: int, dry_run: bool,
) -> int:  # fmt: skip
    """Enqueue a job, with its inputs checked. Exit code 6 if a plugin or middleware forbids it.

    For example: resqpy task enqueue sendMail to=ada@example.com
    """
    if delay is not None and at is not None:
        raise click.UsageError("--in and --at can't be combined")
    if count > 1 and not (delay is None and at is None):
        raise click.UsageError("--count: equal jobs that are due at one time are one")
    name, by_json, words_given = read_name_and_inputs(named, args, inputs)
    given = dict[str, Any]()

    async def do(process: Any) -> int:
        tasks = process.api.tasks
        await _warn_of_queue(queue, process)
        given.update(checked_inputs(task_of(process.project, name), by_json, words_given))
        if dry_run:
            return count
        if delay is not None:
            return int(await tasks.enqueue_in(delay, name, given, queue))
        if at is not None:
            return int(await tasks.enqueue_at(at, name, given, queue))
        if count == 1:  # a replaced queue may do more in `enqueue`
            return int(await tasks.enqueue(name, given, queue))
        return sum(await tasks.enqueue_many([(name, given, queue)] * count))

    done = with_process(do)
    words = "would be enqueued" if dry_run else "enqueued"
    words = words if done else "not enqueued: a plugin or middleware of the task forbids it"
    output.show(
        {
            "task": name,
            "inputs": output.redaction().shown(given),
            "enqueued": 0 if dry_run else done,
            "dry_run": dry_run,
        },
        lambda: output.say(f"{name} {words}{_times(done, count)}"),
    )
    return Exit.OK if done >= count else Exit.NO


async def _warn_of_queue(queue: str | None, process: Process) -> None:
    from resqpy.framework.process.parts import misspelled_queues

    named = [queue] if queue else []
    wrong = await misspelled_queues(named, process.project.registry, process.api.resque)
    for words in wrong.values():
        output.warn(words)


def _times(done: int, wanted: int) -> str:
    if 0 < done < wanted:
        return f", {done} of {wanted} times: a plugin or middleware forbade the others"
    return f", {done} times" if done > 1 else ""


@task.command()
@NAME_AND_INPUTS
def run(*, inputs: tuple[str, ...], named: str | None, args: Any) -> int:
    """Run a task here and now, with its plugins and middleware, and print what it returns.

    Nothing is enqueued. Exit code 1 if it raises, 6 if a plugin or middleware forbids it.
    """
    from resqpy.base.json_forms import to_json
    from resqpy.framework.tasks.arguments import args_of

    name, given, words = read_name_and_inputs(named, args, inputs)
    skipped: list[str] = []

    async def do(process: Process) -> Any:
        found = task_of(process.project, name)
        checked = checked_inputs(found, given, words)
        worker = process.resque.inline_worker()
        worker.on("skipped", lambda *_: skipped.append(name))
        try:
            return await worker.perform_inline(found.name, args_of(found, checked))
        except (Exception, SystemExit) as error:  # as in a worker: sys.exit is a failure
            raise _Raised from error

    try:
        result = with_process(do)
    except _Raised as raised:
        if current().debug or raised.__cause__ is None:
            raise
        _tell(raised.__cause__)
        return Exit.ERROR
    if skipped:
        output.note(f"{name} did not run: a plugin or middleware of the task forbids it")
    if output.wants_json():
        output.json({"task": name, "result": to_json(result)})
    elif result is not None:
        output.say(output.text(result))
    return Exit.NO if skipped else Exit.OK


class _Raised(Exception):
    """Carries a task's error to where it is reported."""


def _tell(error: BaseException) -> None:
    from resqpy.base.errors import class_of, message_of
    from resqpy.engine.traceback_text import lines_of

    if output.wants_json():
        output.json({"exception": class_of(error), "error": message_of(error)})
    for line in lines_of(error):
        output.note(line)


@task.command()
@click.argument("name", shell_complete=task_names)
@option("--queue", metavar="NAME", help="If it was enqueued to another queue than its own.")
def explain(name: str, *, queue: str | None) -> int:
    """Explain why a task does not run, or when it will. Exit code 6 if something prevents it."""
    from resqpy.diagnosis.explaining import Explanation
    from resqpy.framework.config.config import scheduler_options

    async def look(resque: Resque, project: Project) -> list[Finding]:
        options = scheduler_options(project.config)
        tasks = project.registry.tasks
        return await Explanation(resque, tasks, options, name, queue).findings()

    found = ask_with_tasks(look)
    output.show([vars(each) for each in found], lambda: _print_findings(found))
    return Exit.NO if any(each.blocks for each in found) else Exit.OK


def _print_findings(findings: list[Finding]) -> None:
    for each in findings:
        sign = output.paint("✗", fg="red") if each.blocks else output.paint("·", fg="green")
        output.say(sign, " ", each.words)
        if each.remedy:
            output.say(f"    → {each.remedy}")
    output.note_place(each.remedy for each in findings)
