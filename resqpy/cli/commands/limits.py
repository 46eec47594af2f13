"""`resqpy limits`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from resqpy.base.errors import UsageError
from resqpy.base.imports import near_match
from resqpy.base.limits import Rate
from resqpy.base.model import KeyLimit, RunningLimit
from resqpy.base.when import duration_ms, parse_duration
from resqpy.cli.arguments.flags import MILLISECONDS, Type, option
from resqpy.cli.arguments.session import ask
from resqpy.cli.commands.queues import known_queue
from resqpy.cli.group import Group
from resqpy.cli.output import printing as output
from resqpy.cli.output.printing import Exit
from resqpy.diagnosis import texts
from resqpy.diagnosis.workers import (
    all_workers,
    key_limit_words,
    limit_words,
    unbound_by_queue_rule,
)
from resqpy.engine.inspect.inspector import Resque
from resqpy.store import workers


def _most(value: Any) -> int | Rate:
    count, *more = str(value).split("/")
    if not more:
        return int(count)
    return Rate(int(count), parse_duration(more[0]), int("/".join(more[1:]) or 1))


MOST = Type("number, or COUNT/TIME", _most)
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


@limits.command("list")
def list_() -> None:
    """Show all limits, and how many jobs run and wait.

    Of a task's limit for each value of an input, those values are shown of which jobs run or wait.
    """

    async def look(resque: Resque) -> list[tuple[list[Any], dict[str, Any]]]:
        found, now_ms = await resque.running_limits(), await resque.now_ms()
        rows = [_queue_row(name, found[name], await resque.length(name)) for name in sorted(found)]
        return rows + [_row(key, each, now_ms) for key, each in (await resque.limits()).items()]

    output.listing(
        ask(look), lambda row: row[1], ("of", "limit", "running", "waiting", "since"), lambda row: row[0],
        empty="no limits", right=("limit", "running", "waiting"),
    )  # fmt: skip


def _queue_row(name: str, limit: RunningLimit, waiting: int) -> tuple[list[Any], dict[str, Any]]:
    told = {
        "queue": name, "limit": limit.most, "running": list(limit.running), "waiting": waiting,
    }  # fmt: skip
    return [f"queue {name}", limit.most, len(limit.running), waiting, ""], told


def _row(key: str, limit: KeyLimit, now_ms: int) -> tuple[list[Any], dict[str, Any]]:
    parked = sum(limit.parked.values())
    since = "" if limit.since_ms is None else texts.distance(limit.since_ms, now_ms)
    most = limit.most if limit.rate is None else limit.rate
    told = {
        "key": key, "limit": _json(most), "running": list(limit.running), "waiting": parked,
        "parked": dict(limit.parked), "since": texts.iso(limit.since_ms), "tasks": list(limit.tasks),
        "by_hand": limit.by_hand, "shut_until": texts.iso(limit.shut_ms),
    }  # fmt: skip
    return [key, _text(most), len(limit.running), parked, since], told


def _json(most: int | Rate | None) -> int | str | None:
    return most.text if isinstance(most, Rate) else most


def _text(most: int | Rate | None) -> str:
    if isinstance(most, Rate):
        burst = f"/{most.burst}" if most.burst > 1 else ""
        return f"{most.count}/{texts.duration(duration_ms(most.per))}{burst}"
    return "none" if most is None else str(most)


@limits.command("set")
@click.argument("name")
@click.argument("most", type=MOST)
@OF_TASK
@OF_QUEUE
@option("--new", is_flag=True, help="The queue or task may be one that is to come.")
def set_(name: str, most: int | Rate, *, of_task: bool, of_queue: bool, new: bool) -> None:
    """Let at most MOST jobs of a queue and its sub-queues, or of a task, run at once; 0: none.

    NAME is a queue, or a limit as `resqpy limits` shows it: a task's name, TASK:INPUT, a name that tasks share, or
    one key of these (NAME=VALUE). With --task also a task whose code has no limit. Of a task MOST may be a rate,
    COUNT/TIME or COUNT/TIME/BURST: `10/1s` lets ten begin in each second. Jobs that run go on, also where there
    are more of them. It holds until it is removed, whatever the code says. Ruby's, Node's and PHP's workers don't
    know of it.
    """

    async def do(resque: Resque) -> tuple[str, int | Rate | None, str]:
        known = await resque.limits()
        if of_task or await _is_key(resque, name, known, of_queue=of_queue):
            task = await _new_task(resque, name, known, new=new)
            before = await resque.set_limit(name, most, task=task)
            return key_limit_words(name, (await resque.limits())[name]), before, ""
        if not new:
            await known_queue(resque, name, "; of a task: --task; if it is to come: --new")
        if isinstance(most, Rate):
            raise UsageError(f"{name!r} is a queue; rates are for tasks: --task")
        before = await resque.limit_running(name, most)
        found, now_ms = await all_workers(resque), await resque.now_ms()
        return limit_words(name, most), before, unbound_by_queue_rule(found, name, now_ms)

    words, before, unbound = ask(do)
    was = "" if before is None else f" (before: {_text(before)})"
    output.show(
        {"queue": name, "limit": _json(most), "before": _json(before)},
        lambda: output.say(f"{words}{was}"),
    )
    if unbound:
        output.warn(f"{words}{was}{unbound}")


async def _is_key(
    resque: Resque, name: str, known: Mapping[str, KeyLimit], *, of_queue: bool
) -> bool:
    """Whether a name is that of a limit of tasks; not of a queue, too."""
    if of_queue or not (name in known or name.partition("=")[0] in known):
        return False
    if name in await resque.queues():
        words = f"{name!r} is a queue, and a limit of tasks: add --queue or --task"
        raise output.fail(Exit.USAGE, words)
    return True


async def _new_task(resque: Resque, name: str, known: Mapping[str, KeyLimit], *, new: bool) -> str:
    """The task that has a limit only because it is set; empty: the limit is there."""
    base = name.partition("=")[0]
    if any(each.tasks for key, each in known.items() if key.partition("=")[0] == base):
        return ""
    tasks = {each.partition(" ")[0] for each in (await workers.of_others(resque.store, ""))[0]}
    if (base not in tasks and not new) or base != name:
        hint = near_match(base, sorted({*tasks, *known}))
        message = (
            f"no running process has a task or a limit {base!r}{hint}; if it is to come: --new"
        )
        raise output.fail(Exit.NOT_FOUND, message)
    return name


@limits.command()
@click.argument("name")
@OF_TASK
@OF_QUEUE
def remove(name: str, *, of_task: bool, of_queue: bool) -> None:
    """Remove the limit of a queue, or what was set for the limit of a task: then its code decides."""

    async def do(resque: Resque) -> tuple[int | Rate | None, KeyLimit | None]:
        known = await resque.limits()
        if not of_task and not await _is_key(resque, name, known, of_queue=of_queue):
            return await resque.limit_running(name, None), None
        if name not in known or not known[name].by_hand:
            return None, None
        before = await resque.set_limit(name, None, task=name)
        return before, (await resque.limits()).get(name, KeyLimit(None))

    before, now = ask(do)
    if before is None:
        what = f"{name!r} has no limit that was set: resqpy limits"
        raise output.fail(Exit.NOT_FOUND, what)
    words = f"the queue {name!r} has no limit any more"
    if now is not None:
        words = key_limit_words(name, now)
    limit = None if now is None else now.most if now.rate is None else now.rate
    output.show(
        {"queue": name, "limit": _json(limit), "before": _json(before)},
        lambda: output.say(f"{words} (before: {_text(before)})"),
    )


@limits.command()
@click.argument("name")
@click.argument("duration", type=MILLISECONDS)
def shut(name: str, duration: int) -> None:
    """Let no job under the limit NAME of tasks, or one key of it (NAME=VALUE), begin for DURATION.

    Jobs that run go on. What waits runs then.
    """

    async def do(resque: Resque) -> int:
        if name.partition("=")[0] not in (known := await resque.limits()):
            hint = near_match(name, sorted(known))
            raise output.fail(Exit.NOT_FOUND, f"no task has a limit {name!r}{hint}: resqpy limits")
        return await resque.shut_limit(name, duration)

    until = ask(do)
    words = f"no job under the limit {name!r} begins before {texts.local(until)}"
    output.show({"key": name, "until": texts.iso(until)}, lambda: output.say(words))


@limits.command("put-back")
@click.argument("queue", required=False)
def put_back(queue: str | None) -> None:
    """Put jobs that wait for the limit of a task back to the head of QUEUE, or of all queues.

    There workers of other languages and older versions of resqpy find them. Workers that know the limit take them
    out again, so stop these, or remove the limit, before.
    """
    count = ask(lambda resque: resque.put_back_parked(queue))
    output.show({"put_back": count}, lambda: output.say(f"{texts.counted(count, 'job')} put back"))
