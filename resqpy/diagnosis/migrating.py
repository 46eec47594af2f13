"""Classes that move between languages: what is known of both sides, and what the share of a rule can't promise."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from shlex import quote
from typing import Any, Literal

from resqpy.base import activejob
from resqpy.base.model import UnreadableJob, WorkerId
from resqpy.diagnosis import texts
from resqpy.diagnosis.checks import Found, Problem
from resqpy.diagnosis.shadowing import Comparison, compare, shadow_lines
from resqpy.diagnosis.workers import SeenWorker, all_workers
from resqpy.engine.inspect.inspector import Inspector
from resqpy.store import workers
from resqpy.store.migrations import ALL, OTHERS, Migration, migrations, unreadable_migrations
from resqpy.store.queues import lengths

LOOKED_AT = 1000  # jobs of the queue
_SHOWN = 100  # characters of what is no rule
_TOLD_APART = frozenset({"python", "ruby", "node", "php"})  # languages of workers
_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def percent(share: int) -> str:
    """`5 %` of so many of 10,000."""
    return f"{share / 100:g} %"


def python_name(class_name: str) -> str:
    """How a class of Ruby would be named here: `billing.charge_card` of `Billing::ChargeCard`."""
    return ".".join("_".join(_WORD.split(each)).lower() for each in class_name.split("::"))


@dataclass(frozen=True, slots=True)
class Doubt:
    """What a rule can't promise.

    Attributes:
        refuses: it is a reason not to set or remove the rule: jobs would wait for nobody, or fail, or be in other
            hands.
    """

    kind: Literal[
        "nobody there", "nobody here", "not kept", "unknown class", "other hands", "worse here"
    ]
    words: str
    refuses: bool


def _percent_of(part: int, whole: int) -> str:
    return percent(round(part / max(whole, 1) * ALL))


@dataclass(frozen=True, slots=True)
class Sides:
    """What is known of a rule.

    Attributes:
        name: of its class.
        doubts: what the rule can't promise.
        waiting: jobs of all classes in the queue of the other side.
        running: jobs of the class that workers of it run.
        failed: entries of it in the failed lists: of our side, of the other.
        shadow: how the shadow runs have ended, beside the runs of the other side; None: there are none.
    """

    name: str
    rule: Migration
    doubts: Sequence[Doubt]
    waiting: int
    running: int
    failed: tuple[int, int]
    shadow: Comparison | None = None

    @property
    def is_worse_here(self) -> bool:
        """Whether shadow runs have failed that did not fail on the other side."""
        return self.shadow is not None and bool(self.shadow.only_here)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        rule, count = self.rule, self.rule.count
        back = {
            "why": rule.back, "at": texts.iso(count("back_at") * 1000), "share": count("back_share") / 100,
            "ended": count("back_ended"), "failed": count("back_failed"), "ms": count("back_ms"),
        }  # fmt: skip
        ours = {each: count(each) for each in ("ours", "ended", "failed", "ms")}
        theirs = {"sent": count("theirs"), "waiting": self.waiting, "running": self.running}
        return {
            "class": self.name, "queue": rule.queue, "language": rule.language, "target": rule.target,
            "share": rule.share / 100, "since": texts.iso(count("since") * 1000),
            "limits": {"over": rule.over, "errors": rule.max_errors / 100, "ms": rule.max_ms},
            "ours": {**ours, "in_failed_list": self.failed[0]},
            "theirs": {**theirs, "in_failed_list": self.failed[1]},
            "fell_back": back if rule.back else None,
            "shadow": None if self.shadow is None else self.shadow.as_json(),
            "doubts": [each.words for each in self.doubts],
        }  # fmt: skip


def side_lines(seen: Sides) -> list[str]:
    """What is known of both sides, for people."""
    rule, count = seen.rule, seen.rule.count
    ours, theirs, ended, failed = map(count, ("ours", "theirs", "ended", "failed"))
    since, average = texts.local(count("since") * 1000), texts.duration(count("ms") / max(ended, 1))
    limit = f"{percent(rule.max_errors)} errors"
    if rule.max_ms:
        limit += f" or {texts.duration(rule.max_ms)} on average"
    here = f"{ours:,} taken here, {theirs:,} sent to {rule.target!r}"
    runs = f"{ended:,} ended, {failed:,} failed ({_percent_of(failed, ended)}), {average} each"
    others = f"{seen.waiting:,} wait in {rule.target!r}, {seen.running:,} run"
    lines = [f"since {since}: {here} ({_percent_of(ours, ours + theirs)} here)"]
    if seen.shadow is None:
        lines.append(f"here: {runs}, {seen.failed[0]:,} in the failed list")
    lines.append(
        f"{rule.language}: {others}, {seen.failed[1]:,} in the failed list; how long they run is not known"
    )
    if seen.shadow is not None:
        return lines + shadow_lines(seen.shadow, seen.name)
    return [*lines, f"goes back by itself: above {limit}, of {rule.over:,} runs"]


def back_words(name: str, rule: Migration) -> str:
    """Why it fell back by itself."""
    ended, failed = rule.count("back_ended"), rule.count("back_failed")
    reason = f"{failed:,} of {texts.counted(ended, 'run')} failed"
    if rule.back == "time":
        average = texts.duration(rule.count("back_ms") / max(ended, 1))
        reason = f"{texts.counted(ended, 'run')} took {average} on average"
    when = texts.local(rule.count("back_at") * 1000)
    before = percent(rule.count("back_share"))
    return f"{shown_name(name)} fell back to {rule.language} from {before}, {when}: {reason}"


def share_words(name: str, rule: Migration) -> str:
    """Which share is ours, and where the others go."""
    how_many = {0: "none", ALL: "all"}.get(rule.share, percent(rule.share))
    others = "" if rule.share >= ALL else f", the others go to {rule.target!r}"
    if rule.shadow:
        copies = "all" if rule.shadow >= ALL else percent(rule.shadow)
        others += f"; copies of {copies} of them run here in the shadow"
    return f"{how_many} of the jobs of {shown_name(name)} in {rule.queue!r} run here{others}"


def shown_name(name: str) -> str:
    """Of the rule of all other classes of a queue: what it is for."""
    return "all other classes" if name.startswith(OTHERS) else name


async def sides(inspector: Inspector, name: str, rules: Mapping[str, Migration]) -> Sides:
    """Look at both sides. Reads the failed lists."""
    rule, shadow = rules[name], None
    if rule.shadow:  # its order of reading must begin with the rules
        shadow = await compare(inspector, name, rule)
    found = await all_workers(inspector)
    class_name = None if name.startswith(OTHERS) else name
    failed = [0, 0]
    async for entry in inspector.each_failed(
        class_name=class_name, queue=[rule.queue, rule.target]
    ):
        failed[entry.queue == rule.target] += 1
    there = [e for e in found if e.work is not None and e.work.queue == rule.target]
    [waiting] = await lengths(inspector.store, [rule.target])
    return Sides(
        name,
        rule,
        await doubts(inspector, name, rules, found),
        waiting,
        sum(class_name in (None, e.class_name) for e in there),
        (failed[0], failed[1]),
        shadow,
    )


async def doubts(
    inspector: Inspector,
    name: str,
    rules: Mapping[str, Migration],
    found: Sequence[SeenWorker],
) -> list[Doubt]:
    """What a rule can't promise, with the workers that there are. Reads the first jobs of its queues."""
    rule, workers_now = rules[name], await _working(inspector, rules[name], found)
    [waiting] = await lengths(inspector.store, [rule.target])
    told = list[Doubt]()
    if not workers_now.there and (waiting or rule.share < ALL):
        words = f"no worker of {rule.language} works {rule.target!r}: what is sent there waits"
        told.append(Doubt("nobody there", words, refuses=True))
    if not workers_now.ours:
        words = f"no worker of resqpy works {rule.queue!r}: nobody sends any on"
        told.append(Doubt("nobody here", words, refuses=rule.share > 0))
        return told
    if workers_now.others and rule.shadow:
        names = texts.named(workers_now.others)
        words = f"what workers of other languages take from {rule.queue!r} is not copied: {names}"
        told.append(Doubt("not kept", words, refuses=False))
    if workers_now.others and rule.share:
        names = texts.named(workers_now.others)
        words = f"workers of other languages work {rule.queue!r} too, and take any job: {names}"
        told.append(Doubt("not kept", f"the share is not kept: {words}", refuses=True))
    known = await workers.known_tasks(inspector.store)
    if unable := rule.count("shadow_unable"):
        copies = texts.counted(unable, "copy", "copies")
        words = f"{copies} did not run: not each process has the task with shadow=True"
        told.append(Doubt("unknown class", words, refuses=False))
    if rule.shadow and name not in known:
        words = f"no process of resqpy has a task for {name}: its copies do not run"
        told.append(Doubt("unknown class", words, refuses=True))
    if strange := await _wanted(inspector, name, rules, found) - {*known}:
        names = texts.named(sorted(map(str, strange)))
        words = f"no process of resqpy has a task for {names}: such jobs in {rule.queue!r} fail"
        told.append(Doubt("unknown class", words, refuses=rule.share > 0))
    return told


async def shadow_doubt(inspector: Inspector, name: str, rule: Migration) -> Doubt | None:
    """What speaks against a share here, as far as its shadow runs tell. Reads the failed lists."""
    seen = await compare(inspector, name, rule)
    return Doubt("worse here", seen.worse_words(name), refuses=True) if seen.only_here else None


async def removal_doubts(
    inspector: Inspector,
    name: str,
    rules: Mapping[str, Migration],
    found: Sequence[SeenWorker],
) -> list[Doubt]:
    """What becomes worse without a rule: whose jobs would wait for nobody, or be in other hands."""
    rule, workers_now = rules[name], await _working(inspector, rules[name], found)
    others = [each for other, each in rules.items() if other != name]
    [waiting] = await lengths(inspector.store, [rule.target])
    told, left = list[Doubt](), f"{texts.counted(waiting, 'job')} in {rule.target!r}"
    if waiting and not workers_now.there:
        words = f"{left}, and no worker of {rule.language} works it"
        told.append(Doubt("nobody there", words, refuses=True))
    if waiting and workers_now.ours_there and rule.target not in {e.target for e in others}:
        words = f"{left}, which workers of resqpy work, too, and would take from then on"
        told.append(Doubt("other hands", words, refuses=True))
    falls_to = rules.get(f"{OTHERS}{rule.queue}")
    if workers_now.ours and rule.share < ALL and falls_to in (None, rule):
        words = f"workers of resqpy work {rule.queue!r}, and would take all its jobs: stop them first, or --all"
        told.append(Doubt("other hands", words, refuses=True))
    return told


@dataclass(frozen=True, slots=True)
class _Working:
    """Who works the two queues of a rule now.

    Attributes:
        ours: whether workers of resqpy work its queue.
        ours_there: or that of the other side.
        others: the names of those of other languages that work its queue.
        there: whether a worker of its language works the queue of the other side.
    """

    ours: bool
    ours_there: bool
    others: Sequence[str]
    there: bool


async def _working(inspector: Inspector, rule: Migration, found: Sequence[SeenWorker]) -> _Working:
    now_ms = await inspector.now_ms()
    here, there = (
        [e for e in found if e.lives(now_ms) and e.works(queue)]
        for queue in (rule.queue, rule.target)
    )
    unlike = _TOLD_APART - {rule.language} if rule.language in _TOLD_APART else {"python"}
    return _Working(
        any(e.language == "python" for e in here),
        any(e.language == "python" for e in there),
        [WorkerId.parse(e.worker_id).name for e in here if e.language != "python"],
        any(e.language not in unlike for e in there),
    )


async def _wanted(
    inspector: Inspector,
    name: str,
    rules: Mapping[str, Migration],
    found: Sequence[SeenWorker],
) -> set[Any]:
    """The classes that workers of resqpy need for a rule, as far as there are jobs of them."""
    rule, others = rules[name], f"{OTHERS}{rules[name].queue}"
    queues = [rule.queue]
    if name == others:  # what went to the other side up to now comes here
        queues = [rule.queue, rule.target] if rule.share else []
    elif others in rules:
        queues = []
    seen: set[Any] = {e.class_name for e in found if e.work and e.work.queue in queues} - {None}
    for queue in queues:
        jobs = await inspector.queued(queue, 0, LOOKED_AT - 1)
        seen |= {activejob.class_in(e.to_dict()) for e in jobs if not isinstance(e, UnreadableJob)}
    seen -= {each for each, other in rules.items() if other.queue == rule.queue}
    return seen | {name} if rule.share and name != others else seen


def unreadable_words(name: str, text: str) -> str:
    """About a rule that nobody can read."""
    queue = f" in {name.removeprefix(OTHERS)!r}" if name.startswith(OTHERS) else ""
    cut = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    return f"nobody obeys the rule of {shown_name(name)}{queue}, because it can't be read: {cut!r}"


async def migration_problems(inspector: Inspector) -> Found:
    """What `resqpy doctor` says of it."""
    for name, text in (await unreadable_migrations(inspector.store)).items():
        which = (
            f"'*' --queue {quote(name.removeprefix(OTHERS))}"
            if name.startswith(OTHERS)
            else quote(name)
        )
        remedy = f"set it again, or: resqpy migrate {which} --remove"
        yield Problem("unreadable rule", unreadable_words(name, text), remedy)
    rules = await migrations(inspector.store)
    found = await all_workers(inspector) if rules else []
    for name, rule in rules.items():
        again = f"resqpy migrate {quote(name)}"
        if rule.back:
            words = f"{again} --back, when you have seen it; its failed jobs say more"
            yield Problem("class that fell back", back_words(name, rule), words)
        seen = await compare(inspector, name, rule) if rule.shadow else None
        if seen is not None and seen.only_here:
            words = seen.worse_words(name)
            yield Problem("class in the shadow", words, f"{again} status", None, grave=False)
        for each in await doubts(inspector, name, rules, found):
            words = f"{shown_name(name)} of {rule.queue!r} moves, but {each.words}"
            details = {"doubt": each.kind}
            yield Problem("class that moves", words, f"{again} status", None, each.refuses, details)
