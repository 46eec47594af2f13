"""`resqpy limits`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import click

from resqpy.cli.arguments.flags import MILLISECONDS, Type, option
from resqpy.cli.arguments.session import ask
from resqpy.cli.group import Group
from resqpy.cli.output import printing as output
from resqpy.cli.output.printing import Exit
from resqpy.diagnosis import limiting, texts
from resqpy.diagnosis.limiting import LimitView, Most, Of, UnknownLimit, most_text
from resqpy.engine.inspect.inspector import Resque

T = TypeVar("T")
MOST = Type("number, or COUNT/TIME", lambda value: limiting.read_most(str(value)))
OF_TASK = option(
    "--task",
    "of_task",
    is_flag=True,
    help="It is the limit of a task, or one that tasks share, perhaps of one key (NAME=VALUE); by default that is "
    "looked up.",
)
OF_QUEUE = option(
    "--queue",
    "of_queue",
    is_flag=True,
    help="It is a queue, though a limit of tasks has that name, too.",
)


@click.group(cls=Group, default="list")
def limits() -> None:
    """Show and set how many jobs of a queue or a task may run at once, in all processes of resqpy."""


def _ask(do: Callable[[Resque], Awaitable[T]], hint: str = "") -> T:
    try:
        return ask(do)
    except UnknownLimit as error:
        raise output.fail(Exit.NOT_FOUND, f"{error}{hint}") from error


def _of(*, of_task: bool, of_queue: bool) -> Of:
    return "task" if of_task else "queue" if of_queue else ""


@limits.command("list")
def list_() -> None:
    """Show all limits, and how many jobs run and wait.

    Of a task's limit for each value of an input, those values are shown of which jobs run or wait.
    """

    async def look(resque: Resque) -> tuple[list[LimitView], int]:
        return await limiting.limit_views(resque), await resque.now_ms()

    def cells(view: LimitView) -> list[Any]:
        limit = view.of_tasks
        since_ms = None if limit is None else limit.since_ms
        since = "" if since_ms is None else texts.distance(since_ms, now_ms)
        of = view.name if limit is not None else f"queue {view.name}"
        left_ms = 0 if limit is None else (limit.shut_ms or 0) - now_ms
        if left_ms > 0:
            of += f" (shut for another {texts.duration(left_ms)})"
        foreign = f" ({view.foreign_words})" if view.foreign else ""
        return [of, most_text(view.most), f"{len(view.running)}{foreign}", view.waiting, since]

    found, now_ms = ask(look)
    output.listing(
        found, LimitView.as_json, ("of", "limit", "running", "waiting", "since"), cells,
        empty="no limits", right=("limit", "running", "waiting"),
    )  # fmt: skip


@limits.command("set")
@click.argument("name")
@click.argument("most", type=MOST)
@OF_TASK
@OF_QUEUE
@option("--new", is_flag=True, help="The queue or task may be one that is to come.")
def set_(name: str, most: Most, *, of_task: bool, of_queue: bool, new: bool) -> None:
    """Let at most MOST jobs of a queue and its sub-queues, or of a task, run at once; 0: none.

    NAME is a queue, or a limit as `resqpy limits` shows it: a task's name, TASK:INPUT, a name that tasks share, or
    one key of these (NAME=VALUE). With --task also a task whose code has no limit. Of a task MOST may be a rate,
    COUNT/TIME or COUNT/TIME/BURST: `10/1s` lets ten begin in each second. Jobs that run go on, also where there
    are more of them. It holds until it is removed, whatever the code says. Ruby's, Node's and PHP's workers don't
    know of it.
    """
    of = _of(of_task=of_task, of_queue=of_queue)
    more = "" if new else "; if it is to come: --new"
    hint = more if of else f"; of a task: --task{more}"
    _show(name, _ask(lambda resque: limiting.set_limit(resque, name, most, of, new=new), hint))


def _show(name: str, change: limiting.LimitChange) -> None:
    was = "" if change.before is None else f" (before: {most_text(change.before)})"
    words = f"{change.words}{was}"
    output.show({"queue": name, **change.as_json()}, lambda: output.say(words))
    if change.unbound:
        output.warn(f"{words}{change.unbound}")


@limits.command()
@click.argument("name")
@OF_TASK
@OF_QUEUE
def remove(name: str, *, of_task: bool, of_queue: bool) -> None:
    """Remove the limit of a queue, or what was set for the limit of a task: then its code decides."""
    of = _of(of_task=of_task, of_queue=of_queue)
    _show(name, _ask(lambda resque: limiting.remove_limit(resque, name, of)))


@limits.command()
@click.argument("name")
@click.argument("duration", type=MILLISECONDS)
def shut(name: str, duration: int) -> None:
    """Let no job under the limit NAME of tasks, or one key of it (NAME=VALUE), begin for DURATION.

    Jobs that run go on. What waits runs then, or after `resqpy limits open`.
    """
    until = _ask(lambda resque: limiting.shut_limit(resque, name, duration))
    words = f"no job under the limit {name!r} begins before {texts.local(until)}"
    output.show({"key": name, "until": texts.iso(until)}, lambda: output.say(words))


@limits.command("open")
@click.argument("name")
def open_(name: str) -> None:
    """End what `shut` said of the limit NAME, or of one key of it, before its time."""
    _ask(lambda resque: limiting.open_limit(resque, name))
    words = f"jobs under the limit {name!r} begin again"
    output.show({"key": name, "until": None}, lambda: output.say(words))


@limits.command("put-back")
@click.argument("queue", required=False)
def put_back(queue: str | None) -> None:
    """Put jobs that wait for the limit of a task back to the head of QUEUE, or of all queues.

    There workers of other languages and older versions of resqpy find them. Workers that know the limit take them
    out again, so stop these, or remove the limit, before.
    """
    count = ask(lambda resque: resque.put_back_parked(queue))
    output.show({"put_back": count}, lambda: output.say(f"{texts.counted(count, 'job')} put back"))
