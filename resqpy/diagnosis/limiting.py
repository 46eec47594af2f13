"""Limits of queues and tasks: what there is, and what changes it at run time. The command line, the page and the
HTTP API show and change them by this.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from resqpy.base.errors import UsageError
from resqpy.base.imports import near_match
from resqpy.base.keys import family
from resqpy.base.limits import Rate, check_most, key_text
from resqpy.base.model import KeyLimit
from resqpy.base.when import duration_ms, parse_duration
from resqpy.diagnosis import texts
from resqpy.diagnosis.workers import (
    all_workers,
    key_limit_words,
    limit_words,
    unbound_by_queue_rule,
)
from resqpy.engine.inspect.inspector import Resque
from resqpy.engine.worker.identity import incarnation_of
from resqpy.store import workers
from resqpy.store.limits import is_slot
from resqpy.store.queues import lengths

Most = int | Rate
_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1))
Of = Literal["", "queue", "task"]  # whose limit a name is; "": that is looked up


class UnknownLimit(UsageError):
    """There is no such limit, queue or task."""


@dataclass(frozen=True)
class LimitView:
    """A limit, with what runs and waits under it.

    Attributes:
        name: the queue; or the limit of tasks, or one of its keys (NAME=VALUE).
        most: None: it was removed, and what waits for it runs.
        running: the ids of the workers that run a job.
        of_tasks: what else is known of a limit of tasks; None: it is that of a queue.
        foreign: how many of those that run are workers of other languages, by language.
    """

    name: str
    most: Most | None
    running: tuple[str, ...]
    waiting: int
    of_tasks: KeyLimit | None = None
    foreign: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_full(self) -> bool:
        """Whether no more may run now. Of a rate that is not known."""
        return isinstance(self.most, int) and len(self.running) >= self.most

    def as_json(self) -> dict[str, Any]:
        """For programs; a rate is COUNT/MS/BURST."""
        most, limit = most_json(self.most), self.of_tasks
        shown = {
            "limit": most, "running": list(self.running), "foreign": dict(self.foreign), "waiting": self.waiting,
        }  # fmt: skip
        if limit is None:
            return {"queue": self.name, **shown}
        return {
            "key": self.name, **shown, "parked": dict(limit.parked), "since": texts.iso(limit.since_ms),
            "tasks": list(limit.tasks), "by_hand": limit.by_hand, "shut_until": texts.iso(limit.shut_ms),
            "counts_foreign": limit.counts_foreign,
        }  # fmt: skip

    @property
    def foreign_words(self) -> str:
        """`1 ruby`, of those that run; empty: all are resqpy's."""
        return ", ".join(f"{count} {language}" for language, count in sorted(self.foreign.items()))


@dataclass(frozen=True)
class LimitChange:
    """A limit that was changed.

    Attributes:
        name: as it is shown: a long value of a key has another form there.
        now: what holds now; None: nothing.
        before: what held before; None: nothing.
        words: the same as a message.
        unbound: which workers don't know of it, as the end of that message.
    """

    name: str
    now: Most | None
    before: Most | None
    words: str
    is_queue: bool = False
    unbound: str = ""

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {"limit": most_json(self.now), "before": most_json(self.before)}


def read_most(text: str) -> Most:
    """How many, as people type it: `4`, or of a rate COUNT/TIME or COUNT/TIME/BURST: `10/1s`.

    Raises:
        UsageError: it is neither.
    """
    count, *more = text.strip().split("/")
    try:
        if not more:
            return check_most(int(count))
        burst = int("/".join(more[1:]) or 1)
        return Rate(int(count), parse_duration(more[0]), burst)
    except ValueError as error:
        words = str(error) if isinstance(error, UsageError) else f"{text[:60]!r} is no limit"
        raise UsageError(
            f"{words}: give a number, or COUNT/TIME or COUNT/TIME/BURST, for example 10/1m"
        ) from error


def most_json(most: Most | None) -> int | str | None:
    """How many, for programs."""
    return most.text if isinstance(most, Rate) else most


def most_text(most: Most | None) -> str:
    """How many, as people type it."""
    if not isinstance(most, Rate):
        return "none" if most is None else str(most)
    per = duration_ms(most.per)
    unit, ms = next(each for each in _UNITS if per % each[1] == 0)
    return f"{most.count}/{per // ms}{unit}" + f"/{most.burst}" * (most.burst > 1)


async def limit_views(resque: Resque) -> list[LimitView]:
    """All limits by name, first those of queues; of tasks also each key under which jobs run or wait. As many
    round trips for one queue as for many.
    """
    of_queues, of_tasks = await resque.running_limits(), await resque.limits()
    families = {name: family(name) for name in of_queues}
    names = [each for some in families.values() for each in some]
    found = await lengths(resque.store, names) if names else []
    waiting = dict(zip(names, found, strict=True))
    views = [
        LimitView(name, each.most, each.running, sum(waiting[one] for one in families[name]))
        for name, each in sorted(of_queues.items())
    ]
    views += [
        LimitView(name, _held(each), each.running, sum(each.parked.values()), each)
        for name, each in of_tasks.items()
    ]
    if not any(_foreign(each) for each in views):
        return views
    languages = {each.worker_id: each.language for each in await all_workers(resque)}
    return [
        replace(each, foreign=Counter(languages.get(who, "?") for who in _foreign(each)))
        for each in views
    ]


def _foreign(view: LimitView) -> list[str]:
    return [each for each in view.running if incarnation_of(each) is None and not is_slot(each)]


def _held(limit: KeyLimit) -> Most | None:
    return limit.most if limit.rate is None else limit.rate


async def find_limit(resque: Resque, name: str, of: Of) -> LimitView | None:
    """One of these; None: there is none of that name."""
    views = [each for each in await limit_views(resque) if each.name == name]
    return next((each for each in views if (each.of_tasks is None) == (of == "queue")), None)


async def unbound_by(resque: Resque, view: LimitView) -> str:
    """Which live workers don't know of a limit, as the end of a message; none where they are counted."""
    if view.of_tasks is not None and view.of_tasks.counts_foreign:
        return ""
    names = [view.name] if view.of_tasks is None else [*view.of_tasks.parked]
    found, now_ms = await all_workers(resque), await resque.now_ms()
    return max((unbound_by_queue_rule(found, each, now_ms) for each in names), default="", key=len)


async def set_limit(
    resque: Resque, name: str, most: Most, of: Of = "", *, new: bool = False
) -> LimitChange:
    """Set how many jobs run at once, or begin in a time.

    Args:
        name: a queue; or a limit of tasks, or one of its keys (NAME=VALUE); with `of` also a task without one.
        new: the queue or task may be one that is to come.

    Raises:
        UnknownLimit: there is none of that name.
        UsageError: it is both, or the number or name can't be used.
    """
    known = await resque.limits()
    if await _is_of_tasks(resque, name, known, of):
        name = _key(name)
        before = await resque.set_limit(
            name, most, task=await _new_task(resque, name, known, new=new)
        )
        found = (await resque.limits()).get(name, KeyLimit(None))
        return LimitChange(name, most, before, key_limit_words(name, found))
    if not new:
        await _known_queue(resque, name)
    if isinstance(most, Rate):
        raise UsageError(f"{name!r} is a queue; rates are for tasks")
    was = await resque.limit_running(name, most)
    found_workers, now_ms = await all_workers(resque), await resque.now_ms()
    unbound = unbound_by_queue_rule(found_workers, name, now_ms)
    return LimitChange(name, most, was, limit_words(name, most), is_queue=True, unbound=unbound)


async def remove_limit(resque: Resque, name: str, of: Of = "") -> LimitChange:
    """Remove the limit of a queue, or what was set by hand for one of tasks: then their code decides.

    Raises:
        UnknownLimit: nothing was set.
        UsageError: it is a queue and a limit of tasks.
    """
    known, key = await resque.limits(), _key(name)
    if await _is_of_tasks(resque, name, known, of):
        if key in known and known[key].by_hand:
            before = await resque.set_limit(key, None, task=key)
            found = (await resque.limits()).get(key, KeyLimit(None))
            return LimitChange(key, _held(found), before, key_limit_words(key, found))
    elif (was := await resque.limit_running(name, None)) is not None:
        words = f"the queue {name!r} has no limit any more"
        return LimitChange(name, None, was, words, is_queue=True)
    raise UnknownLimit(f"{name!r} has no limit that was set: resqpy limits")


async def shut_limit(resque: Resque, name: str, for_ms: int) -> int:
    """Let no job under a limit of tasks, or one of its keys, begin for so long; returns until when (ms): later if
    somebody has said so.

    Raises:
        UnknownLimit: no task has it.
    """
    return await resque.shut_limit(await _known_key(resque, name), for_ms)


async def open_limit(resque: Resque, name: str) -> None:
    """End that.

    Raises:
        UnknownLimit: no task has it, or it is not shut.
    """
    if not await resque.shut_limit(await _known_key(resque, name), None):
        raise UnknownLimit(f"the limit {name!r} is not shut")


async def _known_key(resque: Resque, name: str) -> str:
    if name.partition("=")[0] not in (known := await resque.limits()):
        hint = near_match(name, sorted(known))
        raise UnknownLimit(f"no task has a limit {name!r}{hint}: resqpy limits")
    return _key(name)


def _key(name: str) -> str:
    """The name as the exchange writes it: a value may be long."""
    base, equals, value = name.partition("=")
    return f"{base}={key_text(value)}" if equals else name


async def _is_of_tasks(
    resque: Resque, name: str, known: Mapping[str, KeyLimit], of: Of = ""
) -> bool:
    """Whether a name is that of a limit of tasks; not of a queue, too."""
    if of or not (name in known or name.partition("=")[0] in known):
        return of == "task"
    if name in await resque.queues():
        raise UsageError(f"{name!r} is a queue, and a limit of tasks: say which (--queue, --task)")
    return True


async def _new_task(resque: Resque, name: str, known: Mapping[str, KeyLimit], *, new: bool) -> str:
    """The task that has a limit only because it is set; empty: the limit is there."""
    base = name.partition("=")[0]
    if any(each.tasks for key, each in known.items() if key.partition("=")[0] == base):
        return ""
    tasks = {each.partition(" ")[0] for each in (await workers.of_others(resque.store, ""))[0]}
    if (base not in tasks and not new) or base != name:
        hint = near_match(base, sorted({*tasks, *known}))
        raise UnknownLimit(f"no running process has a task or a limit {base!r}{hint}")
    return name


async def _known_queue(resque: Resque, name: str) -> None:
    names = await resque.queues()
    if name not in names and not await resque.length(name):
        raise UnknownLimit(f"there is no queue {name!r}{near_match(name, names)}")
