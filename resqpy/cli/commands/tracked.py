"""`resqpy tracked …`; the same commands are in `resqpy task …`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from resqpy.base import codec
from resqpy.base.errors import UsageError
from resqpy.base.when import parse_duration, whole_number
from resqpy.cli.arguments.flags import SPAN, json_or_text, option, options, read_pairs
from resqpy.cli.arguments.session import ask, ask_with_tasks, load_place
from resqpy.cli.arguments.settings import current
from resqpy.cli.group import Entry, Group, command
from resqpy.cli.output import cells as views, printing as output
from resqpy.cli.output.printing import Exit
from resqpy.diagnosis import texts
from resqpy.diagnosis.workers import tracked_json
from resqpy.tracked.creating import CreateOptions

if TYPE_CHECKING:
    from resqpy.tracked.finding import Page
    from resqpy.tracked.handle import TrackedTask
    from resqpy.tracked.verbs import Tracked


SECTION = "Tracked tasks"

TRACKED = {
    "create": Entry("tracked:create", "Create a tracked task.", SECTION),
    "get": Entry("tracked:get", "Show everything known about one.", SECTION),
    "list": Entry("tracked:list_", "Find tracked tasks, page by page.", SECTION),
    "cancel": Entry("tracked:cancel", "Cancel tasks that have not started.", SECTION),
    "retry": Entry("tracked:retry", "Run waiting or failed tasks now.", SECTION),
    "remove": Entry("tracked:remove", "Remove tasks in any state.", SECTION),
    "enable": Entry("tracked:enable", "Enable a disabled task.", SECTION),
    "disable": Entry("tracked:disable", "Disable a task.", SECTION),
    "watch": Entry("tracked:watch", "Follow the changes of tasks as they happen.", SECTION),
}


@click.group(cls=Group, default="list", entries=TRACKED)
def tracked() -> None:
    """Tracked tasks: create, find, cancel, retry, remove, watch."""


# -- create --


@command()
@click.argument("task_type", metavar="TYPE")
@click.argument("payload", nargs=-1, metavar="[JSON | NAME=VALUE…]")
@option("--id", "id_", metavar="ID", help="Unique; generated if not given.")
@option("--queue", metavar="NAME", help="Where its job waits (default: the task's own queue).")
@option("--priority", type=int, metavar="N", help="-9 to 9; higher runs first.")
@option(
    "--tag", "tags", multiple=True, metavar="WORD", help="A word to find it by; may be repeated."
)
@option("--start", metavar="TIME", help="When: ISO 8601 with a zone, or milliseconds since 1970.")
@option("--delay", metavar="DURATION", help="How long from now, such as 5s, 10m or 500ms.")
@option("--interval", metavar="DURATION|CRON", help="Run repeatedly.")
@option("--timezone", metavar="ZONE", help="Time zone of a cron expression (default: UTC).")
@option("--end", metavar="TIME", help="No run starts after this.")
@option("--retries", metavar="N|forever", help="How often a failed run is retried.")
@option("--backoff", metavar="DURATION", help="How long to wait before each retry.")
@option("--linked", is_flag=True, default=None, help="Each attempt is a new task.")
@option("--at-most-once", is_flag=True, default=None, help="A started run is never repeated.")
@option(
    "--retain-for", metavar="DURATION|forever", help="How long the record is kept after its end."
)
@option("--lock-duration", metavar="DURATION", help="How long a lock lasts until it is renewed.")
@option("--longest-execution", metavar="DURATION", help="Time limit of a run; 0: no limit.")
@option("--disabled", is_flag=True, help="It waits until it is enabled.")
@option("--application", metavar="NAME", help="Who creates it.")
@option("--user", metavar="NAME", help="Who creates it.")
@option("--any-type", is_flag=True, help="Allow a task that the project doesn't define.")
def create(
    task_type: str, payload: tuple[str, ...], *, any_type: bool, disabled: bool, **given: Any
) -> None:
    """Create a tracked task, and the job that runs it."""
    options = create_options(given)
    if disabled:
        options["enabled"] = False
    value = read_payload(payload)
    made = _with_tasks(
        lambda tracked: tracked.create(task_type, value, **options), any_type=any_type
    )
    output.show(
        tracked_json(made, output.redaction()), lambda: output.say(f"{made.id}  {made.status}")
    )


def _with_tasks(do: Callable[[Tracked], Awaitable[TrackedTask]], *, any_type: bool) -> TrackedTask:
    """With the project's tasks, so that an unknown type is rejected and the queue is known."""
    from resqpy.framework.api.tracking import TrackedApi
    from resqpy.tracked.verbs import Tracked

    if any_type:
        with load_place(current()) as place:
            preset = place.config.tasks.tracked_preset
        return ask(lambda queue: do(Tracked(queue.store, defaults=preset)))
    return ask_with_tasks(
        lambda queue, project: do(
            TrackedApi(queue.store, project.registry, project.config.tasks.tracked_preset)
        ),
    )


def _ask(do: Callable[[Tracked], Awaitable[Any]]) -> Any:
    """Without the project's tasks: records contain all that is needed."""
    from resqpy.tracked.verbs import Tracked

    return ask(lambda queue: do(Tracked(queue.store)))


# -- options of a new task --


_FOR_EVER = ("forever", "ever", "none")


def read_payload(words: Sequence[str]) -> dict[str, Any]:
    """A payload from one JSON object, or from `name=value` words, whose values are JSON or text."""
    if len(words) == 1 and words[0].lstrip().startswith("{"):
        return _object(words[0])
    pairs = read_pairs(words, 'NAME=VALUE, nor a JSON object such as \'{"to": "a@b.c"}\'')
    return {name: json_or_text(value) for name, value in pairs.items()}


def _object(text: str) -> dict[str, Any]:
    try:
        value = codec.decode_text(text)
    except ValueError as error:
        raise click.UsageError(f"the payload is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise click.UsageError("the payload is not a JSON object")
    return value


def create_options(given: Mapping[str, Any]) -> CreateOptions:
    """The arguments of `create` from a command's options; unset ones are omitted."""
    said = {name: value for name, value in given.items() if value not in (None, (), "")}
    made: dict[str, Any] = {}
    for name, value in said.items():
        read = _READERS.get(name)
        made["id" if name == "id_" else name] = value if read is None else read(name, value)
    options: CreateOptions = {}
    options.update(made)  # type: ignore[typeddict-item]  # its names are those of the options
    return options


def _duration(name: str, text: str) -> int:
    try:
        return parse_duration(text)
    except UsageError as error:
        raise click.UsageError(f"--{name.replace('_', '-')}: {error}") from error


def _moment(name: str, text: str) -> datetime | int:
    if (number := whole_number(text)) is not None:
        return number
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise click.UsageError(f"--{name}: {text!r} is not a time: {error}") from error


def _interval(name: str, text: str) -> int | str:
    """A duration is one word; a cron expression has several, or begins with `@`."""
    return text if " " in text.strip() or text.startswith("@") else _duration(name, text)


def _times(name: str, text: str) -> int | None:
    if text in _FOR_EVER:
        return None
    if (number := whole_number(text)) is None:
        raise click.UsageError(f"--{name}: {text!r} is neither a number nor `forever`")
    return number


def _retention(name: str, text: str) -> int | None:
    return None if text in _FOR_EVER else _duration(name, text)


_READERS = {
    "start": _moment,
    "end": _moment,
    "delay": _duration,
    "interval": _interval,
    "retries": _times,
    "backoff": _duration,
    "retain_for": _retention,
    "lock_duration": _duration,
    "longest_execution": _duration,
}


# -- look --


@command()
@click.argument("task_id", metavar="ID")
def get(task_id: str) -> None:
    """Show everything known about a task."""
    found = _found(_ask(lambda tracked: tracked.get(task_id)), task_id)
    shown = tracked_json(found, output.redaction())
    output.show(
        shown,
        lambda: output.properties(
            views.properties({k: v for k, v in shown.items() if v not in (None, [], "")})
        ),
    )


def _found(task: TrackedTask | None, task_id: str) -> TrackedTask:
    if task is None:
        raise output.fail(
            Exit.NOT_FOUND, f"there is no task {task_id!r}: removed, or never created"
        )
    return task


def _which(how: str) -> list[Callable[[Any], Any]]:
    """The options that select tasks."""
    span = {"type": SPAN, "metavar": "FROM..TO"}
    return [
        option("--type", "type", metavar="NAME", help=f"{how} those of a task."),
        option("--status", multiple=True, metavar="STATUS",
               help=f"{how} those with a status, or with one of several: pending,failed."),
        option("--tag", "tags", multiple=True, metavar="WORD",
               help=f"{how} those with all these words."),
        option("--application", metavar="NAME", help=f"{how} those that it created."),
        option("--user", metavar="NAME", help=f"{how} those that they created."),
        option("--priority", type=int, metavar="N", help=f"{how} those of a priority."),
        option("--created", **span, help=f"{how} those created within a period, such as -1d..now."),
        option("--modified", **span, help=f"{how} those last changed within a period."),
        option("--completed", **span, help=f"{how} those that ended within a period."),
        option("--due", **span, help=f"{how} those due within a period, such as now..+1h."),
    ]  # fmt: skip


CONDITIONS = options(
    *_which("Only"),
    option("--sort", metavar="ORDER", help="created (default), modified, completed or status."),
    option("--desc", is_flag=True, help="Descending order."),
    option("--limit", default=25, show_default=True, metavar="N", help="Tasks per page."),
    option("--cursor", metavar="TEXT", help="Continue after the previous page."),
)


@command("list")
@CONDITIONS
def list_(**conditions: Any) -> None:
    """Find tracked tasks, page by page."""
    show_page(conditions)


def show_page(conditions: dict[str, Any]) -> None:
    """Print a page of tracked tasks; the conditions are those of `CONDITIONS`."""
    from resqpy.cli.selection.tracked import said_of

    limit, cursor = conditions.pop("limit"), conditions.pop("cursor")
    direction = "desc" if conditions.pop("desc") else "asc"
    wanted = said_of(conditions)
    page: Page = _ask(
        lambda tracked: tracked.query(cursor=cursor, page_size=limit, direction=direction, **wanted)
    )
    redaction = output.redaction()
    output.show(
        {"tasks": [tracked_json(each, redaction) for each in page.tasks], "cursor": page.cursor},
        lambda: _print_page(page),
    )


def _print_page(page: Page) -> None:
    rows = [
        (task.id, task.type, task.status, task.runs, _time(task.create_time), _why(task))
        for task in page.tasks
    ]
    heads = ("id", "type", "status", "runs", "created", "error")
    output.table(heads, rows, empty="no tracked tasks", right=("runs",))
    if page.cursor is not None:
        output.note(f"more: --cursor {page.cursor}")


def _time(moment: Any) -> str:
    return str(moment.isoformat(sep=" ", timespec="seconds")).replace("+00:00", "Z")


def _why(task: TrackedTask) -> str:
    return "" if task.error is None else f"{task.error.name}: {task.error.message}"


# -- change --

CHOICE = options(
    click.argument("ids", nargs=-1, metavar="[ID]…"),
    *_which("All"),
    option("--all", "all_of_them", is_flag=True, help="All tracked tasks."),
    option("--dry-run", is_flag=True, help="Only show what would be done."),
)


@command(destroys=True)
@CHOICE
def cancel(ids: Sequence[str], **given: Any) -> int:
    """Cancel tasks that have not started."""
    from resqpy.tracked.verbs import CANCELLABLE

    return _change(ids, given, "cancel", "cancelled", CANCELLABLE)


@command(destroys=True)
@CHOICE
def retry(ids: Sequence[str], **given: Any) -> int:
    """Run tasks now: those that wait for their time or next attempt, and those that failed."""
    from resqpy.tracked.verbs import RETRIABLE

    return _change(ids, given, "retry", "retried", RETRIABLE, becomes="pending")


@command(destroys=True)
@CHOICE
@option(
    "--recompute", is_flag=True, help="Run at the next time of the interval, not at a past one."
)
def enable(ids: Sequence[str], *, recompute: bool, **given: Any) -> int:
    """Enable disabled tasks."""
    return _change(ids, given, "enable", "enabled", options={"recompute_next_run": recompute})


@command(destroys=True)
@CHOICE
def disable(ids: Sequence[str], **given: Any) -> int:
    """Disable tasks; current runs are notified."""
    return _change(ids, given, "disable", "disabled")


@command(destroys=True)
@CHOICE
def remove(ids: Sequence[str], **given: Any) -> int:
    """Remove tasks with their records, in any state."""
    if ids and not given["dry_run"]:
        output.confirm(f"Remove {texts.counted(len(ids), 'tracked task')}?")
    return _change(ids, given, "remove", "removed")


def _change(ids: Sequence[str], given: dict[str, Any], *words: Any, **more: Any) -> int:
    """Change the selected tasks; see `TrackedWork`."""
    from resqpy.cli.selection.tracked import TrackedChoice, TrackedWork, carry_out

    dry_run = given.pop("dry_run")
    return carry_out(TrackedChoice(ids, given), TrackedWork(*words, **more), dry_run=dry_run)


# -- watch --


@command()
@click.argument("ids", nargs=-1, metavar="[ID…]")
@option("--type", "task_type", metavar="NAME", help="Only those of a task.")
@option("--until-ended", is_flag=True, help="Exit when all have ended; 6 if one failed.")
def watch(ids: tuple[str, ...], *, task_type: str | None, until_ended: bool) -> int:
    """Follow the changes of all tasks, or of some, as they happen; Ctrl-C stops it."""
    from resqpy.cli.interactive.watch import Watch

    if until_ended and not ids:
        raise click.UsageError("--until-ended: specify which tasks")
    result: int = _ask(lambda tracked: Watch(tracked, ids, task_type, until_ended).run())
    return result
