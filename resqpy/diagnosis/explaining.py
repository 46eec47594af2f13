"""Why a task does not run, according to Redis and the project, most likely reasons first."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from shlex import quote
from typing import Protocol

from resqpy.base import codec
from resqpy.base.foreign_time import moment_of
from resqpy.base.imports import near_match
from resqpy.base.keys import split_priority
from resqpy.base.model import WorkerId
from resqpy.base.reading import JobFilter
from resqpy.diagnosis import texts
from resqpy.diagnosis.migrating import share_words
from resqpy.diagnosis.texts import argument, counted
from resqpy.diagnosis.workers import (
    BUT_RESQUE_PAUSE,
    SeenWorker,
    all_workers,
    key_limit_words,
    pause_words,
    queue_pause_words,
    unbound_by_pause,
    unbound_by_queue_rule,
    unregistered_workers,
)
from resqpy.engine.inspect.failed_jobs import failed_of
from resqpy.engine.inspect.inspector import Resque
from resqpy.engine.inspect.schedule_view import ScheduleView
from resqpy.engine.inspect.walking import DelayedSearch, search_queue
from resqpy.engine.options import LeaderOptions
from resqpy.engine.worker.heartbeat import WORDS
from resqpy.engine.worker.identity import place_of
from resqpy.store import locks, rescue
from resqpy.store.leader import led, standing
from resqpy.store.migrations import migrations, rule_of
from resqpy.store.overview import is_paused, queue_pauses
from resqpy.store.queues import page

_NAMED = 5  # processes
_LOCKS = 10  # displayed
_LATE_MS = 10_000  # a job overdue for this long is not being moved
_FOREIGN = "jobs that they don't define fail there"


def _id_of(worker: SeenWorker) -> WorkerId:
    return WorkerId.parse(worker.worker_id)


@dataclass(frozen=True)
class Finding:
    """One finding.

    Attributes:
        kind: a word for programs.
        blocks: it prevents the task from running.
        remedy: what to do.
    """

    kind: str
    words: str
    blocks: bool = False
    remedy: str = ""


class ExplainedTask(Protocol):
    """What is needed of a project's task."""

    @property
    def queue(self) -> str:
        """Its queue."""

    @property
    def periodic(self) -> bool:
        """Whether it runs by itself."""


class Explanation:
    """Why one task does not run.

    Args:
        tasks: those of the project, by name.
        options: Ruby's settings, as configured for the scheduler.
        queue: instead of the task's own.
    """

    def __init__(
        self, resque: Resque, tasks: Mapping[str, ExplainedTask], options: LeaderOptions,
        name: str, queue: str | None = None,
    ) -> None:  # fmt: skip
        self._resque, self._tasks, self._options = resque, tasks, options
        self._name = name
        self._mine = JobFilter(name)
        self._task = tasks.get(name)
        self._queue = queue or (self._task.queue if self._task else None)
        self._now_ms = 0

    async def findings(self) -> list[Finding]:
        """Everything known about its jobs, blocking findings first."""
        found = [each async for each in self._found()]
        return sorted(found, key=lambda each: not each.blocks)

    async def _found(self) -> AsyncIterator[Finding]:
        """In the order of the checks."""
        if self._task is None:
            yield self._unknown()
        self._now_ms = await self._resque.now_ms()
        workers = await all_workers(self._resque)
        async for each in self._pauses(workers):
            yield each
        waiting = await self._waiting()
        if waiting is not None:
            yield waiting
        for each in [*self._running(workers), *await self._unregistered()]:
            yield each
        if self._queue is not None and (finding := self._workers_of(workers)) is not None:
            yield finding
        async for each in self._later():
            yield each
        async for each in self._locks():
            yield each
        if (failed := await self._failed()) is not None:
            yield failed

    async def _pauses(self, workers: list[SeenWorker]) -> AsyncIterator[Finding]:
        store, now_ms = self._resque.store, self._now_ms
        if await is_paused(store):
            words = pause_words(unbound_by_pause(workers, now_ms))
            yield Finding("paused", words, blocks=True, remedy="resqpy resume")
        name = self._queue
        if name is not None and (found := await queue_pauses(store, [name])):
            others = unbound_by_queue_rule(workers, name, now_ms, BUT_RESQUE_PAUSE)
            words = f"{queue_pause_words(name, found[name], now_ms)}{others}"
            remedy = f"resqpy queues resume {argument(name)}"
            yield Finding("paused queue", words, blocks=True, remedy=remedy)
        base = split_priority(name or "")[0]
        if (limit := (await self._resque.running_limits()).get(base)) is not None:
            words = f"of the queue {base!r} {len(limit.running)} jobs run, of at most {limit.most} at once"
            remedy = f"resqpy limits set {argument(base)} MOST"
            yield Finding("limited queue", words, blocks=not limit.most, remedy=remedy)
        rule = rule_of(await migrations(store), self._name, base)
        if rule is not None:
            words = share_words(self._name, rule)
            remedy = f"resqpy migrate {argument(self._name)} status"
            yield Finding("class that moves", words, blocks=not rule.share, remedy=remedy)
        found_limits = await self._resque.limits()
        for key, each in found_limits.items():
            # one for each value of an input says nothing beside those of the values
            blocks = each.most == 0 or (each.shut_ms or 0) > now_ms
            if not blocks and any(other.startswith(f"{key}=") for other in found_limits):
                continue
            if self._name in each.tasks:
                parked, shut_ms = sum(each.parked.values()), each.shut_ms or 0
                words = (
                    f"{key_limit_words(key, each)}; {len(each.running)} run, {parked} wait for it"
                )
                if shut_ms > now_ms:
                    words += f"; none begins for another {texts.duration(shut_ms - now_ms)}"
                remedy = f"resqpy limits set {argument(key)} MOST"
                yield Finding("limited task", words, blocks=blocks, remedy=remedy)

    def _unknown(self) -> Finding:
        return Finding(
            "unknown",
            f"this project has no task {self._name!r}{near_match(self._name, self._tasks)}",
            blocks=True,
            remedy="a worker of this project would fail its jobs as unknown; define it in tasks/",
        )

    async def _waiting(self) -> Finding | None:
        if self._queue is None:
            return None
        walked = await search_queue(self._resque.store, self._queue, self._mine)
        count, first = walked.found, walked.first
        if not count:
            others = counted(walked.looked_at, "other job")
            holds = f"has {others}" if walked.looked_at else "is empty"
            words = f"no job of it waits in the queue {self._queue!r}, which {holds}"
            return Finding("not waiting", words)
        behind = f"behind {counted(first, 'other job')}" if first else "the next to be taken"
        wait = "waits" if count == 1 else "wait"
        words = f"{_of_it(count)} {wait} in the queue {self._queue!r}"
        return Finding("waiting", f"{words}, {'the first ' if count > 1 else ''}{behind}")

    def _running(self, workers: list[SeenWorker]) -> list[Finding]:
        found, running = [], [each for each in workers if each.class_name == self._name]
        for each in running[:_NAMED]:
            since = f" since {texts.local(each.began_ms)}" if each.began_ms else ""
            found.append(Finding("running", f"{each.worker_id} runs it{since}"))
        if len(running) > _NAMED:
            more = f"and {counted(len(running) - _NAMED, 'more worker')} run it: resqpy workers"
            found.append(Finding("running", more))
        return found

    async def _unregistered(self) -> list[Finding]:
        """A worker that is not registered may be gone, with a job that nobody takes back."""
        others, _ = await unregistered_workers(self._resque)
        return [
            Finding(
                "unregistered",
                f"the record of {each.worker_id}, which is not registered, has a job of it: if its process is "
                "gone, so is the job",
                remedy=f"if so, move it to the failed list: resqpy workers clean {argument(each.worker_id)}",
            )
            for each in [each for each in others if each.class_name == self._name][:_NAMED]
        ]

    def _workers_of(self, workers: list[SeenWorker]) -> Finding | None:
        mine = [each for each in workers if each.works(self._queue or "")]
        live = [each for each in mine if each.lives(self._now_ms)]
        if live:
            return self._of_live_workers(live)
        if mine:
            words = (
                f"none of the {counted(len(mine), 'registered worker')} of the queue {self._queue!r} sent a "
                "heartbeat recently"
            )
            return Finding("dead workers", words, blocks=True, remedy="start one: resqpy worker")
        others = sorted({each.queues for each in workers})
        more = " and others" if len(others) > _NAMED else ""
        names = f"{'; '.join(others[:_NAMED])}{more}"
        there = f" (workers take from: {names})" if others else " (there is no worker)"
        return Finding(
            "no worker",
            f"no worker takes jobs from the queue {self._queue!r}{there}",
            blocks=True,
            remedy=f"resqpy worker --queues {quote(f'{self._queue},*')}",
        )

    def _of_live_workers(self, live: list[SeenWorker]) -> Finding:
        """Some workers take jobs from the queue; but perhaps none has the task, or none is free."""
        python = [each for each in live if each.language == "python"]
        where = f"from the queue {self._queue!r}"
        if self._task is not None and not python:
            words = f"only {_languages(live)} workers take jobs {where}: {_FOREIGN}"
            return Finding("foreign workers", words, blocks=True, remedy="start one: resqpy worker")
        ours = python or live
        taking = [each for each in ours if each.takes_jobs]
        who, states = counted(len(ours), "live worker"), _states(ours)
        if others := [each for each in live if each not in ours]:
            states += (
                f"; also {counted(len(others), f'live {_languages(others)} worker')}: {_FOREIGN}"
            )
        if not taking:
            return self._of_resting(ours, f"{who} could take jobs {where}, but none does: {states}")
        words = f"{who} {'takes' if len(ours) == 1 else 'take'} jobs {where}"
        if any(each.work is None for each in taking):
            return Finding("workers", f"{words}: {states}")
        remedy = "if this persists, run more jobs at a time: resqpy worker --max N"
        return Finding("busy", f"{words}, but none is free: {states}", blocks=True, remedy=remedy)

    def _of_resting(self, ours: list[SeenWorker], words: str) -> Finding:
        """None of the workers that could take its jobs does."""
        state = min(each.state for each in ours)
        pids = sorted({" ".join(place_of(_id_of(each))) for each in ours})
        remedy = f"{WORDS.get(state, state)} (processes: {', '.join(pids[:_NAMED])})"
        return Finding(state, words, blocks=True, remedy=remedy)

    # -- delayed and periodic --

    async def _later(self) -> AsyncIterator[Finding]:
        due = await DelayedSearch(self._resque.store, self._mine).everywhere()
        if due.found:
            yield self._delayed(
                due.found, min(due.times) * 1000, await self._snoozed(min(due.times))
            )
        periodic = self._task is not None and self._task.periodic
        found = led(await standing(self._resque.store, self._options.ruby_lock_prefix))
        if (due.found and not found.delayed) or (periodic and not found.periodic):
            yield Finding("no scheduler", found.idle, blocks=True, remedy=found.remedy)
        if periodic:
            async for each in self._periodic():
                yield each

    async def _snoozed(self, second: int) -> int:
        """How often one of its first jobs was snoozed, at most, of the first hundred at a second."""
        store = self._resque.store
        raws = await page(store, store.keys.delayed(second), 0, 99)
        mine = [each for each in raws if codec.class_of(each) == self._name]
        notes = await rescue.notes(store, [codec.digest(each) for each in mine])
        return max((each.snoozed for each in notes), default=0)

    def _delayed(self, count: int, first: int, snoozed: int) -> Finding:
        when = f"{texts.local(first)}, {texts.distance(first, self._now_ms)}"
        words = f"{_of_it(count)} {'is' if count == 1 else 'are'} delayed"
        which = "the first " if count > 1 else ""
        if snoozed:
            words += f" (snoozed {counted(snoozed, 'time')} by the task itself)"
        if first > self._now_ms - _LATE_MS:
            return Finding("delayed", f"{words}, {which}until {when}")
        return Finding(
            "overdue",
            f"{words}, {which or 'and '}was due {when}",
            blocks=True,
            remedy="the scheduler should have moved it: resqpy doctor",
        )

    async def _periodic(self) -> AsyncIterator[Finding]:
        for entry in (await ScheduleView(self._resque, self._options).load()).entries:
            if entry.name != self._name:
                continue
            if entry.state == "waiting" and entry.next is None:
                words = f"it is periodic ({entry.timing}), but no running process has announced it"
                remedy = "start one with this project: resqpy worker --scheduler"
                yield Finding("not announced", words, blocks=True, remedy=remedy)
                continue
            blocks = entry.state not in {"waiting", "under way"}
            next_ms = int(entry.next.timestamp() * 1000) if entry.next else None
            when = f"; due {texts.distance(next_ms, self._now_ms)}" if next_ms else ""
            remedy = {
                "paused": f"resqpy schedule resume {argument(self._name)}",
                "stopped": f"resqpy schedule resume {argument(self._name)}",
                "failed": f"its last run failed and ended it: resqpy schedule resume {argument(self._name)}",
            }.get(entry.state, "")
            words = f"it is periodic ({entry.timing}) and {entry.state}{when}"
            yield Finding("periodic", words, blocks=blocks, remedy=remedy if blocks else "")

    # -- locks and failures --

    async def _locks(self) -> AsyncIterator[Finding]:
        count = 0
        async for lock, value in locks.of_class(self._resque.store, self._name):
            count += 1
            if count <= _LOCKS:
                what = "running" if lock.startswith("workerslock:") else "being enqueued"
                yield self._lock(lock, locks.ends_ms(value), what)
        if count > _LOCKS:
            more = f"and {count - _LOCKS:,} more locks of it"
            yield Finding("more locks", more, blocks=True, remedy="resqpy locks shows them")

    def _lock(self, lock: str, ends_ms: int | None, what: str) -> Finding:
        if ends_ms is not None and ends_ms <= self._now_ms:
            over = texts.distance(ends_ms, self._now_ms)
            return Finding("old lock", f"a lock that expired {over} and blocks nothing: {lock}")
        ends = f", and expires {texts.distance(ends_ms, self._now_ms)}" if ends_ms else ""
        return Finding(
            "locked",
            f"a lock prevents equal jobs from {what}{ends}: {lock}",
            blocks=True,
            remedy=f"if its holder is gone: resqpy locks remove {argument(lock)}",
        )

    async def _failed(self) -> Finding | None:
        count, last = await failed_of(self._resque, self._name)
        if last is None:
            return None
        failed_ms = moment_of(last.failed_at)
        when = texts.distance(failed_ms, self._now_ms) if failed_ms else str(last.failed_at)
        return Finding(
            "failed",
            f"{_of_it(count)} in the failed list; the last failed {when}: {last.exception}: {last.error}",
            remedy=f"resqpy failed list --class {quote(self._name)}",
        )


def _of_it(count: int) -> str:
    return f"{counted(count, 'job')} of it"


def _languages(workers: list[SeenWorker]) -> str:
    known = {each.language for each in workers} - {"?"}
    return " and ".join(sorted(map(str.capitalize, known))) or "foreign"


def _states(workers: list[SeenWorker]) -> str:
    """How many of them are in which state: each is counted once."""
    states = Counter(each.state or ("idle" if each.work is None else "busy") for each in workers)
    return ", ".join(f"{number:,} {state}" for state, number in sorted(states.items()))
