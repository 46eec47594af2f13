"""`resqpy schedule`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.codec import encode_text
from resqpy.cli.arguments.flags import (
    JSON,
    MILLISECONDS,
    MOMENT,
    json_or_text,
    option,
    options,
    read_pairs,
    task_names,
)
from resqpy.cli.arguments.session import ask_with_tasks
from resqpy.cli.group import Group
from resqpy.cli.output import printing as output
from resqpy.cli.output.printing import Exit
from resqpy.diagnosis import texts
from resqpy.diagnosis.workers import fire_json, schedule_json

if TYPE_CHECKING:
    from resqpy.engine.inspect.schedule_view import ScheduleView
    from resqpy.framework.api.schedules import ScheduleChange, SchedulesApi
    from resqpy.framework.tasks.spec import TaskSpec
    from resqpy.schedules.schedule import Schedule, ScheduledFire, Timetable
    from resqpy.store.periodic import Fired


@click.group(cls=Group, default="list", by_option={"--from": "fires", "--to": "fires"})
def schedule() -> None:
    """Show periodic tasks and schedules, including Ruby's, and their times; pause, resume, trigger one.

    Schedules can also be added, changed and removed while processes run; periodic tasks say in their code when
    they run.

    With --from TIME and --to TIME: all runs in between, as `schedule fires`.
    """


def _ask(do: Callable[[ScheduleView], Awaitable[Any]]) -> Any:
    from resqpy.engine.inspect.schedule_view import ScheduleView
    from resqpy.framework.config.config import scheduler_options

    async def look(resque: Any, project: Any) -> Any:
        return await do(ScheduleView(resque, scheduler_options(project.config)))

    return ask_with_tasks(look)


@schedule.command("list")
def list_() -> None:
    """Show periodic tasks and Ruby's schedules: when each ran last, and when it runs next."""
    timetable: Timetable = _ask(lambda view: view.load())
    now_ms = texts.ms_of(timetable.now) or 0
    output.listing(
        timetable.entries,
        schedule_json,
        ("name", "kind", "when", "state", "last", "next"),
        lambda each: _entry_cells(each, now_ms),
        empty="no periodic tasks or schedules",
    )


def _entry_cells(entry: Schedule, now_ms: int) -> tuple[str, ...]:
    next_ms = texts.ms_of(entry.next)
    soon = "-" if next_ms is None else f"{texts.distance(next_ms, now_ms)}: {texts.local(next_ms)}"
    state = f"{entry.state}: {entry.problem}" if entry.problem else entry.state
    return (
        entry.name, entry.kind, entry.timing, state, texts.distance(texts.ms_of(entry.last), now_ms), soon,
    )  # fmt: skip


@schedule.command()
@option("--from", "start", type=MOMENT, metavar="TIME", help="Its start (default: now).")
@option("--to", "end", type=MOMENT, metavar="TIME", help="Its end (default: a day later).")
@option("--limit", type=click.IntRange(min=1), default=100_000, show_default=True,
        help="Show at most this many; a warning says if there are more.")  # fmt: skip
def fires(*, start: datetime | int | None, end: datetime | int | None, limit: int) -> None:
    """Show all runs between two times, including local times skipped or repeated by a clock change."""
    begin = _moment(SYSTEM_CLOCK.now_ms() if start is None else start)
    until = begin + timedelta(days=1) if end is None else _moment(end)

    async def look(view: ScheduleView) -> list[ScheduledFire]:
        return list(islice((await view.load()).fires(begin, until), limit + 1))

    found: list[ScheduledFire] = _ask(look)
    if len(found) > limit:
        output.warn(f"there are more runs than these {limit:,}: see --limit")
        del found[limit:]
    output.listing(
        found,
        fire_json,
        ("at", "name", "local time", "note"),
        lambda each: (
            texts.local(texts.ms_of(each.at)), each.name, f"{each.local:%Y-%m-%d %H:%M:%S %Z}",
            each.note or ("" if each.runs else "does not run"),
        ),
        empty="nothing runs in this period",
    )  # fmt: skip


@schedule.command()
@click.argument("name", shell_complete=task_names)
@option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="At most this many."
)
def history(name: str, *, limit: int) -> None:
    """Show the last fires of a periodic task or a Ruby schedule, the latest first.

    Each with the time that was planned, when a scheduler of resqpy fired it, and what became of its job: enqueued,
    refused by a lock (an equal job waits or runs), or forbidden by a hook. Up to 200 of the last 30 days are kept.
    """
    found: list[Fired] = _ask(lambda view: view.history(name))
    output.listing(
        found[: -limit - 1 : -1],
        lambda each: {
            "planned": texts.iso(each.planned_ms),
            "fired": texts.iso(each.fired_ms),
            "lag_ms": each.fired_ms - each.planned_ms,
            "outcome": each.outcome,
        },
        ("planned", "late by", "job"),
        lambda each: (
            texts.local(each.planned_ms), texts.duration(max(each.fired_ms - each.planned_ms, 0)), each.outcome,
        ),
        empty=f"{name} has not fired, as far as it is known",
    )  # fmt: skip


_YEARS = range(5, 9987)


def _moment(value: datetime | int) -> datetime:
    """A time around which a day still has a date in each zone."""
    found = datetime.fromtimestamp(value / 1000, UTC) if isinstance(value, int) else value
    if found.year not in _YEARS:
        raise click.UsageError(
            f"{found.isoformat()}: use a year from {_YEARS.start} to {_YEARS.stop - 1}"
        )
    return found


@schedule.command()
@click.argument("name", shell_complete=task_names)
def pause(name: str) -> None:
    """Pause a periodic task, or a Ruby schedule."""
    _change(name, "pause", "paused", "it was already paused")


@schedule.command()
@click.argument("name", shell_complete=task_names)
def resume(name: str) -> None:
    """Resume it: after a pause, a stop, or a failed run that ended it."""
    _change(name, "resume", "resumed", "it was neither paused nor stopped")


@schedule.command()
@click.argument("name", shell_complete=task_names)
def trigger(name: str) -> int:
    """Enqueue it now, regardless of its times."""
    done = _change(name, "trigger", "enqueued", "its one job is under way, or a plugin forbids it")
    return Exit.OK if done else Exit.NO


_RUN_TIME = options(
    click.argument("name"),
    click.argument("inputs", nargs=-1, metavar="[TASK] [KEY=VALUE]…", shell_complete=task_names),
    option("--cron", metavar="EXPRESSION",
           help="Its times: five fields, or six with the seconds first, and perhaps a time zone."),
    option("--every", type=MILLISECONDS, metavar="DURATION", help="Or from one run to the next: 30s, 15m, 2h."),
    option("--timezone", metavar="ZONE", help="Of --cron.  [default: general.timezone]"),
    option("--queue", metavar="NAME", help="Use this queue instead of the task's."),
    option("--args", type=JSON, metavar="JSON",
           help="The inputs as a JSON object, in addition to KEY=VALUE; with --foreign also a list."),
    option("--description", metavar="TEXT", help="For people."),
    option("--foreign", is_flag=True,
           help="Another language defines the class: take it, its queue and arguments as they are."),
    option("--dry-run", is_flag=True, help="Only check it and show the result."),
)  # fmt: skip


@schedule.command()
@_RUN_TIME
def add(**given: Any) -> int:
    """Add a schedule while processes run: NAME enqueues TASK (default: the task NAME) with its inputs.

    It stands in resque-scheduler's keys, so resqpy's schedulers run it at once, and Ruby's with `dynamic: true`.
    Task, inputs, queue and times are checked as those of tasks. For example:

    resqpy schedule add nightly sendReport to=ada@example.com --cron "0 9 * * mon-fri" --timezone Europe/Berlin
    """
    return _write("add", **given)


@schedule.command()
@_RUN_TIME
def change(**given: Any) -> int:
    """Change a schedule, also one of Ruby's: what is given is replaced, the rest stays.

    With KEY=VALUE or --args all of its inputs are replaced. Periodic tasks are changed in their code.
    """
    return _write("change", **given)


@schedule.command()
@click.argument("name")
@option("--dry-run", is_flag=True, help="Only show what would be removed.")
def remove(*, name: str, dry_run: bool) -> int:
    """Remove a schedule, also one of Ruby's. Jobs that it has enqueued stay."""
    return _written(lambda api, _: api.remove(name, dry_run=dry_run), dry_run=dry_run)


def _write(
    verb: str,
    *,
    name: str,
    inputs: tuple[str, ...],
    args: Any,
    every: int | None,
    dry_run: bool,
    **more: Any,
) -> int:
    words = list(inputs)
    task = words.pop(0) if words and "=" not in words[0] else None
    pairs = read_pairs(words, "KEY=VALUE", args if isinstance(args, dict) else ())
    if pairs and isinstance(args, list):
        raise click.UsageError("--args is a list: KEY=VALUE can't be added to it")

    async def do(api: SchedulesApi, tasks: Mapping[str, TaskSpec]) -> ScheduleChange:
        given = args
        if pairs:
            of = tasks.get(task or ((await api.entry(name)) or {}).get("class") or name)
            given = {**(args or {}), **{key: _value(of, key, word) for key, word in pairs.items()}}
        write = api.add if verb == "add" else api.change
        return await write(name, task, given, every=every, dry_run=dry_run, **more)

    return _written(do, dry_run=dry_run)


def _value(task: TaskSpec | None, key: str, word: str) -> Any:
    from resqpy.framework.tasks.inputs import from_text

    return json_or_text(word) if task is None else from_text(task.inputs, key, word)


def _written(
    do: Callable[[SchedulesApi, Mapping[str, TaskSpec]], Awaitable[ScheduleChange]],
    *,
    dry_run: bool,
) -> int:
    """Make a change, and show it with the way back; warn if nobody fires schedules."""
    from resqpy.framework.api.schedules import SchedulesApi
    from resqpy.store.leader import led, standing

    async def ask(resque: Any, project: Any) -> tuple[ScheduleChange, datetime | None, str]:
        api = SchedulesApi.of(project.registry, resque, project.config)
        done = await do(api, project.registry.tasks)
        entries = () if dry_run or done.after is None else (await api.timetable()).entries
        soon = next(
            (each.next for each in entries if (each.kind, each.name) == ("ruby", done.name)), None
        )
        leads = led(await standing(resque.store, project.config.scheduler.ruby_lock_prefix))
        idle = "" if leads.delayed or done.after is None else f"{leads.idle}; {leads.remedy}"
        return done, soon, idle

    done, soon, idle = ask_with_tasks(ask)
    what = "removed" if done.after is None else "added" if done.before is None else "changed"
    if done.before == done.after:
        what = "as it was"
    shown = {
        "name": done.name,
        "done": what,
        "before": done.before,
        "after": done.after,
        "dry_run": dry_run,
    }
    words = f"{done.name}: {'would be ' if dry_run and what != 'as it was' else ''}{what}"
    if soon is not None:
        words += f"; next {texts.local(texts.ms_of(soon))}"
    output.show(shown, lambda: output.say(words))
    if not dry_run and what != "as it was":
        output.note(_undo(done))
        output.note_place([] if done.lost else [_undo(done)])
    if idle:
        output.warn(f"nobody fires schedules now: {idle}")
    return Exit.OK


def _undo(done: ScheduleChange) -> str:
    if done.lost:
        return (
            f"resqpy can't undo this, since it would not write such an entry; it was: {done.lost}"
        )
    if done.before is None:
        return f"to undo this: resqpy schedule remove {texts.argument(done.name)}"
    entry = encode_text({done.name: done.before}).decode()
    paused = f"&& resqpy schedule pause {texts.argument(done.name)}" if done.paused else ""
    return f"to undo this: printf %s {quote(entry)} | resqpy schedule import - {paused}".rstrip()


@schedule.command("import")
@click.argument("file", type=click.File("r", encoding="utf-8"))
@option("--section", metavar="NAME", help="Of a file with sections for environments: which one.")
@option("--dry-run", is_flag=True, help="Only check the file and show what would be done.")
def import_(file: Any, *, section: str | None, dry_run: bool) -> int:
    """Write the schedules of a resque_schedule.yml where all schedulers see them.

    resqpy's schedulers run them then, and Ruby's with `dynamic: true`. All entries are checked first: if one is
    wrong, nothing is written. Schedules that are not in the file stay. Exit code 6 if resqpy would not run one.
    """
    from resqpy.cli.selection.schedule_file import read_schedules

    wanted = read_schedules(file.read(), section)
    done, problems = _ask(lambda view: view.import_schedules(wanted, dry_run=dry_run))
    output.show(
        {"dry_run": dry_run, "schedules": done, "problems": problems},
        lambda: output.table(
            ("schedule", "would be" if dry_run else "is", "not run by resqpy"),
            [(name, each, problems.get(name, "")) for name, each in done.items()],
            empty="no schedules in the file",
        ),
    )
    return Exit.NO if problems else Exit.OK


def _change(name: str, verb: str, done: str, otherwise: str) -> bool:
    changed = bool(_ask(lambda view: getattr(view, verb)(name)))
    output.show(
        {"name": name, "done": changed},
        lambda: output.say(f"{name}: {done if changed else otherwise}"),
    )
    return changed
