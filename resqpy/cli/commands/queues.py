"""`resqpy queues`."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import click

from resqpy.base.imports import near_match
from resqpy.base.keys import split_priority
from resqpy.base.model import NoList
from resqpy.cli.arguments.flags import MILLISECONDS, option
from resqpy.cli.arguments.session import ask, whoami
from resqpy.cli.group import Command, Group
from resqpy.cli.output import cells as views, printing as output
from resqpy.cli.output.printing import Exit
from resqpy.diagnosis import texts
from resqpy.diagnosis.workers import (
    BUT_RESQUE_PAUSE,
    all_workers,
    pause_json,
    queue_pause_words,
    unbound_by_queue_rule,
)
from resqpy.store.overview import queue_pauses
from resqpy.store.queues import lengths as queue_lengths

if TYPE_CHECKING:
    from resqpy.base.model import QueuePause
    from resqpy.engine.inspect.inspector import Inspector, Resque


HEADS = ("queue", "jobs", "oldest", "come/min", "go/min", "empty in")


@click.group(cls=Group, default="list")
def queues() -> None:
    """Show queues with their jobs; pause, resume or delete one."""


@queues.command("list")
@option("--match", default="*", metavar="GLOB", help="Only queues whose name matches.")
@option("--waiting", is_flag=True, help="Only queues with waiting jobs.")
def list_(*, match: str, waiting: bool) -> None:
    """Show all queues: how many jobs wait, since when, how many come and go, and when it is empty.

    All but the number of jobs is known while a scheduler of resqpy leads, which looks once a second: ≤ and ≥
    where jobs can't be told from each other or were there before, ~ where jobs were put back or removed.
    """
    from resqpy.diagnosis.queues import UNKNOWN, QueueAges, ages, drain_words, rate_words

    async def look(resque: Resque) -> tuple[dict[str, int], dict[str, QueuePause], QueueAges]:
        return await resque.lengths(), await resque.paused_queues(), await ages(resque)

    def as_json(pair: tuple[str, int]) -> dict[str, Any]:
        name, length = pair
        problem = {"problem": length.words} if isinstance(length, NoList) else {}
        pause = {"pause": pause_json(paused[name])} if name in paused else {}
        return {"queue": name, "jobs": length, **seen.as_json(name), **problem, **pause}

    def cells(pair: tuple[str, int]) -> tuple[str, ...]:
        name, length = pair
        age = seen.by_queue.get(name)
        oldest = seen.words(name, length)
        if age is None:
            return name, views.length(length), oldest, "-", "-", "-"
        come, go = (rate_words(each, counted=age.counted) for each in age.rates(seen.now_ms))
        return name, views.length(length), oldest, come, go, drain_words(age, seen.now_ms)

    lengths, paused, seen = ask(look)
    found = [
        (name, length)
        for name, length in lengths.items()
        if fnmatchcase(name, match) and (length or not waiting or isinstance(length, NoList))
    ]
    output.listing(
        found, as_json, HEADS, cells, empty="no queues", right=HEADS[1:],
    )  # fmt: skip
    if any(length for _, length in found) and not seen.known and not output.wants_json():
        output.note(UNKNOWN)
    for name, _ in found:
        if name in paused:
            output.note(queue_pause_words(name, paused[name], seen.now_ms))


@queues.command()
@click.argument("name")
@option("--for", "duration_ms", type=MILLISECONDS, metavar="DURATION",
        help="How long: 30m, 2h, 1d. Default: until it is resumed.")  # fmt: skip
@option("--reason", default="", help="Shown wherever the pause is.")
@option("--by", default="", help="Who pauses it. Default: you, on this host.")
@option("--new", is_flag=True, help="The queue may be one that has no jobs yet.")
def pause(name: str, *, duration_ms: int | None, reason: str, by: str, new: bool) -> None:
    """Pause a queue and its sub-queues: resqpy takes no more of their jobs.

    Running jobs go on, and jobs can be enqueued. Ruby's workers obey it with the plugin resque-pause, whose key
    it is; Node's and PHP's don't. Paused again, it gets the new end and reason.
    """

    async def do(resque: Resque) -> tuple[bool, str, str]:
        if not new:
            await known_queue(resque, name, "; if it is to come: --new")
        who = by or whoami()
        changed = await resque.pause_queue(name, duration_ms, reason=reason, by=who)
        now_ms, found = await resque.now_ms(), await queue_pauses(resque.store, [name])
        unbound = unbound_by_queue_rule(await all_workers(resque), name, now_ms, BUT_RESQUE_PAUSE)
        return changed, queue_pause_words(name, found[name], now_ms), unbound

    changed, words, unbound = ask(do)
    output.show({"queue": name, "paused": True, "changed": changed}, lambda: output.say(words))
    if unbound:
        output.warn(f"{words}{unbound}")


@queues.command()
@click.argument("name")
def resume(name: str) -> None:
    """Resume a queue, whoever paused it."""

    async def do(resque: Resque) -> tuple[bool, bool]:
        changed = await resque.resume_queue(name)
        if not changed:
            await known_queue(resque, name)
        return changed, bool(await queue_pauses(resque.store, [name]))

    changed, paused = ask(do)
    if paused:
        base = split_priority(name)[0]
        raise output.fail(
            Exit.NO,
            f"{name!r} is paused with its queue: resqpy queues resume {texts.argument(base)}",
        )
    output.show(
        {"queue": name, "paused": False, "changed": changed},
        lambda: output.say(f"the queue {name!r} {'is resumed' if changed else 'was not paused'}"),
    )


async def known_queue(resque: Inspector, name: str, otherwise: str = "") -> int:
    """The length of a queue, if there is one of this name.

    Args:
        otherwise: what else the message says if there is none.
    """
    names = await resque.queues()
    [length] = await queue_lengths(resque.store, [name])
    if name not in names and not length:
        message = f"there is no queue {name!r}{near_match(name, names)}{otherwise}"
        raise output.fail(Exit.NOT_FOUND, message)
    return length


@queues.command(cls=Command, destroys=True)
@click.argument("name")
@option("--dry-run", is_flag=True, help="Only show what would be done.")
def delete(name: str, *, dry_run: bool) -> None:
    """Delete a queue and all its jobs."""
    length = ask(lambda resque: known_queue(resque, name))
    if not dry_run:
        output.confirm(f"Delete the queue {name!r} with {texts.counted(length, 'job')}?")
        length = ask(lambda resque: resque.del_queue(name))
    message = "would be deleted" if dry_run else "deleted"
    output.show(
        {"queue": name, "jobs": length, "dry_run": dry_run},
        lambda: output.say(f"{texts.counted(length, 'job')} {message} with the queue {name!r}"),
    )
