"""Shadow runs beside those of the other language: what is known of both, compared job by job.

The other side tells only what failed, what it runs and what waits: any other job has succeeded there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from shlex import quote
from typing import Any

from resqpy.base.foreign_time import moment_of
from resqpy.diagnosis import texts
from resqpy.diagnosis.workers import all_workers
from resqpy.engine.inspect.inspector import Inspector
from resqpy.store.limits import number
from resqpy.store.migrations import Migration, job_key, shadow_outcomes
from resqpy.store.queues import lengths

_SKEW_MS = 30_000  # by so much the clocks of two machines may differ
_SHOWN = 3
_FEW = 100  # runs that say little
_LATEST_S = 10**11


@dataclass(slots=True)
class ShadowRun:
    """One of them, and what the other side did.

    Attributes:
        number: of its job among those that were sent to the other side.
        at_ms: when that was, by Redis' clock.
        error: here; None: it succeeded.
        there: the error there; empty: it succeeded; None: it is not known yet.
        jobs: what it would have enqueued, of many the first.
        more: how many others it would have enqueued.
    """

    key: str
    number: int
    at_ms: int
    args: str
    error: str | None
    jobs: Sequence[Mapping[str, Any]] = ()
    more: int = 0
    there: str | None = None

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        at = texts.iso(self.at_ms)
        return {"args": self.args, "at": at, "here": self.error, "there": self.there or None}


@dataclass(slots=True)
class Comparison:
    """Of the last shadow runs of a class.

    Attributes:
        rule: with its counts: `copied`, `passed`, `shadow_…`.
        runs: those that were compared.
        jobs: what they would have enqueued, by class and queue.
    """

    rule: Migration
    runs: Sequence[ShadowRun] = ()
    jobs: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def more_jobs(self) -> int:
        """How many others they would have enqueued: of each run only the first are known."""
        return sum(each.more for each in self.runs)

    def _of(self, *, here: bool, there: bool) -> list[ShadowRun]:
        return [
            each
            for each in self.runs
            if each.there is not None
            and (bool(each.there), each.error is not None) == (there, here)
        ]

    @property
    def only_here(self) -> list[ShadowRun]:
        """Those that failed here, and not there."""
        return self._of(here=True, there=False)

    @property
    def only_there(self) -> list[ShadowRun]:
        """Those that failed there, and not here."""
        return self._of(here=False, there=True)

    @property
    def agreed(self) -> tuple[int, int]:
        """How many succeeded, and how many failed, on both sides."""
        return len(self._of(here=False, there=False)), len(self._of(here=True, there=True))

    @property
    def compared(self) -> int:
        """Of how many both ends are known."""
        return sum(each.there is not None for each in self.runs)

    @property
    def ended(self) -> int:
        """How many shadow runs have succeeded or failed since the rule was set."""
        return self.rule.count("shadow_succeeded") + self.rule.count("shadow_failed")

    @property
    def lost(self) -> int:
        """Of how many copies nothing is known: they wait, run, or went with their process."""
        count = self.rule.count
        known = count("shadow_other") + count("shadow_unable")
        return max(count("copied") - self.ended - known, 0)

    def worse_words(self, name: str) -> str:
        """That some failed only here."""
        runs = texts.counted(len(self.only_here), "shadow run")
        return f"{runs} of {name} failed, where {self.rule.language} did not"

    def next_words(self, name: str) -> str:
        """What to do now."""
        if self.rule.count("shadow_unable"):
            return "deploy the task, with shadow=True, to all workers of resqpy that work the queue"
        if self.only_here:
            return f"find out why they fail here, then begin again: resqpy migrate {quote(name)} --shadow"
        if self.compared < _FEW:
            return f"wait until {_FEW} have been compared, or more"
        return f"let a few run here: resqpy migrate {quote(name)} --canary 1%"

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        count, (fine, failed) = self.rule.count, self.agreed
        counts = {
            name: count(f"shadow_{name}")
            for name in ("succeeded", "failed", "other", "unable", "ms")
        }
        return {
            "share": self.rule.shadow / 100, "copied": count("copied"), "passed_over": count("passed"), **counts,
            "not_known": self.lost,
            "compared": {
                "both_succeeded": fine, "both_failed": failed, "only_here_failed": len(self.only_here),
                "only_there_failed": len(self.only_there), "not_known_yet": len(self.runs) - self.compared,
            },
            "only_here": [each.as_json() for each in self.only_here[-_SHOWN:]],
            "only_there": [each.as_json() for each in self.only_there[-_SHOWN:]],
            "would_enqueue": [
                {"class": name, "queue": queue, "count": count}
                for (name, queue), count in self.jobs.most_common()
            ],
            "would_enqueue_more": self.more_jobs,
        }  # fmt: skip


async def compare(inspector: Inspector, name: str, rule: Migration) -> Comparison:
    """Compare the shadow runs of a class with the other side's. Reads the failed lists.

    What a job of the other side leaves is looked at before what it enters (queue, worker, failed list), so that
    none is missed on its way.

    Args:
        rule: as it was read just now.
    """
    store = inspector.store
    runs = _read(await shadow_outcomes(store, name))
    [waiting] = await lengths(store, [rule.target])
    running = {
        job_key(each.work.payload)
        for each in await all_workers(inspector)
        if each.work and each.work.queue == rule.target and isinstance(each.work.payload, dict)
    }
    failed = list[tuple[int, str, str]]()
    async for entry in inspector.each_failed(class_name=name, queue=[rule.target]):
        at_ms = moment_of(entry.failed_at)
        words = f"{entry.exception or 'Error'}: {entry.error or ''}"
        failed.append((_LATEST_S * 1000 if at_ms is None else at_ms, job_key(entry.payload), words))
    gone = rule.count("theirs") - waiting
    by_key: dict[str, list[ShadowRun]] = {}
    for each in runs:
        each.there = "" if each.number <= gone and each.key not in running else None
        by_key.setdefault(each.key, []).append(each)
    for at_ms, key, words in sorted(failed):
        equal = by_key.get(key, ())
        candidates = [e for e in equal if e.at_ms <= at_ms + _SKEW_MS and not e.there]
        if candidates:
            candidates[-1].there = words
    jobs = Counter[tuple[str, str]]()
    for each in runs:
        jobs.update((str(job.get("class")), str(job.get("queue"))) for job in each.jobs)
    return Comparison(rule, runs, jobs)


def _read(outcomes: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[ShadowRun]:
    """In the order in which their jobs were sent; somebody else's entries are left out."""
    runs = [
        ShadowRun(
            str(said.get("key")),
            said["n"],
            said["at"] * 1000,
            str(said.get("args")),
            str(said.get("error")) if ended == "failed" else None,
            jobs := [each for each in said.get("jobs") or () if isinstance(each, dict)],
            max(number(str(said.get("wanted") or 0)) - len(jobs), 0),
        )
        for ended, some in outcomes.items()
        for said in some
        if all(type(said.get(each)) is int and 0 <= said[each] < _LATEST_S for each in ("n", "at"))
    ]
    return sorted(runs, key=lambda each: each.number)


def shadow_lines(seen: Comparison, name: str) -> list[str]:
    """What is known of them, for people."""
    count, (fine, failed) = seen.rule.count, seen.agreed
    average = texts.duration(count("shadow_ms") / max(seen.ended, 1))
    lost = f"of {seen.lost:,} nothing is known" if seen.lost else "all have ended"
    ran = f"{seen.ended:,} ran, {count('shadow_failed'):,} failed, {average} each; {lost}"
    left_out = [
        f"{count(which):,} {words}"
        for which, words in (
            ("passed", "not copied, or not run: more came at once than are run"),
            ("shadow_other", "skipped or snoozed"),
        )
        if count(which)
    ]
    both = f"{fine:,} succeeded on both sides, {failed:,} failed on both"
    apart = f"{len(seen.only_here):,} failed only here, {len(seen.only_there):,} only in {seen.rule.language}"
    lines = [
        f"in the shadow: {count('copied'):,} copied, {ran}",
        *(f"  {each}" for each in left_out),
    ]
    lines.append(
        f"compared, of the last: {both}, {apart}, {len(seen.runs) - seen.compared:,} not known yet"
    )
    for where, some in (
        ("only here", seen.only_here),
        (f"only in {seen.rule.language}", seen.only_there),
    ):
        lines += [
            f"  {where}: {each.error or each.there}, with {each.args}" for each in some[-_SHOWN:]
        ]
    if seen.jobs:
        jobs = [
            f"{number:,} {job!r} in {queue!r}" for (job, queue), number in seen.jobs.most_common()
        ]
        jobs += [f"{seen.more_jobs:,} others"] if seen.more_jobs else []
        lines.append(f"would have enqueued: {texts.named(jobs)}")
    return [*lines, f"next: {seen.next_words(name)}"]
