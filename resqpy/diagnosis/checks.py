"""What `resqpy doctor` finds: a `Problem`, and the checks of locks, workers and keys."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from resqpy.base.keys import FAILED
from resqpy.base.model import WorkerId
from resqpy.diagnosis import texts
from resqpy.diagnosis.texts import argument, counted, named
from resqpy.diagnosis.workers import SeenWorker
from resqpy.engine.inspect.inspector import Resque
from resqpy.engine.options import LeaderOptions
from resqpy.engine.worker.heartbeat import STOPPING, STUCK, WORDS
from resqpy.store import delayed, rescue, ruby_schedule, workers
from resqpy.store.connection.client import Store
from resqpy.store.leader import LeaderLock, other_ruby_leader, standing
from resqpy.store.repair import checkup, junk
from resqpy.store.repair.undo import Touched, Undo
from resqpy.store.ruby_schedule import only_ruby_s

# A finding of `resqpy doctor`.

Fix = Callable[[Undo], Awaitable[int]]


@dataclass(frozen=True)
class Problem:
    """A problem.

    Attributes:
        name: a word for programs.
        remedy: what a person can do.
        fix: what `--fix` does, recording how to undo it; returns how many things it fixed.
        grave: False: worth knowing, nothing is broken.
        details: more of it for programs.
    """

    name: str
    words: str
    remedy: str = ""
    fix: Fix | None = None
    grave: bool = True
    details: Mapping[str, Any] = field(default_factory=dict)


Found = AsyncIterator[Problem]


def fix(repair: Callable[[], Awaitable[int]], **touched: Any) -> Fix:
    """A repair that can be undone."""

    async def repaired(undo: Undo) -> int:
        return await undo.watch(Touched(**touched), repair)

    return repaired


# Problems with the leader locks, and what resqpy can't do in place of a Ruby scheduler.

_UNINDEXED = 200  # times at which something is due, that are examined


def lock_problems(store: Store, locks: Sequence[LeaderLock]) -> Iterator[Problem]:
    """Problems with the leader locks."""
    python, ruby, node = locks
    foreign = {each.holder for each in (ruby, node) if each.holder is not None and not each.ours}
    if len(foreign) == 2:
        yield Problem(
            "two leaders",
            f"Ruby's scheduler {ruby.holder} and Node's {node.holder} lead at the same time: both move delayed "
            "jobs, and Ruby's does not check Node's lock",
            "stop one of them; a resqpy scheduler takes both locks and replaces both",
        )
    for each in (python, ruby, node):
        if each.holder is not None and each.ttl_ms is None:
            yield Problem(
                "endless leader lock",
                f"the leader lock of {each.language} ({each.holder}) never expires: if its holder is dead, "
                "nobody leads",
                f"expire {each.key}",
                fix(partial(checkup.expire_locks, store, [each.key]), strings=[each.key]),
            )


async def leaders(store: Store, ruby_prefix: str) -> tuple[list[LeaderLock], list[str]]:
    """Who leads in all three languages, and warnings."""
    locks = await standing(store, ruby_prefix)
    ruby = locks[1]
    of_ruby = [
        each async for each in ruby_problems(store, locks) if each.grave or ruby.holder is None
    ]
    problems = [*lock_problems(store, locks), *of_ruby]
    return locks, [f"{each.words}: {each.remedy}" for each in problems]


async def ruby_problems(store: Store, locks: Sequence[LeaderLock]) -> Found:
    """The problems for `resqpy doctor`."""
    ruby = next((lock for lock in locks if lock.language == "Ruby"), None)
    if ruby is None:
        return
    for key, holder in (await workers.other_ruby_leaders(store, ruby.key)).items():
        words = other_ruby_leader(key, holder)
        yield Problem("another ruby leader", words, "see RESQUE_SCHEDULER_MASTER_LOCK_PREFIX")
    if names := (await ruby_schedule.look(store)).only_ruby_s:
        yield Problem(
            "schedules of a ruby process",
            f"{only_ruby_s(names)} while a resqpy scheduler leads",
            "write them where all processes see them (persist: true, or resqpy's set_schedule), or leave "
            "Ruby's part to a Ruby scheduler: scheduler.ruby_leads",
            grave=ruby.ours,
        )
    if count := await delayed.without_index(store, _UNINDEXED):
        yield Problem(
            "delayed jobs of another client",
            f"{counted(count, 'delayed job')} of the first are missing from the reverse index, as "
            "php-resque-scheduler writes them: its own scheduler takes no lock, so while it runs it moves jobs "
            "concurrently with the leader",
            "run only one kind of scheduler; a resqpy scheduler moves PHP's delayed jobs too",
            grave=False,
        )


# What `resqpy doctor` reports about workers: those without a recent heartbeat (silent is not dead, and
# never having sent one is neither), and live ones that take no jobs.

# A foreign worker silent for this long is dead, even from a single look: node-resque's own hour.
DEAD_AFTER_MS = 3_600_000
_BY_HAND = "resqpy workers clean WORKER, once you know that its process is gone"


def worker_problems(
    resque: Resque, workers: Sequence[SeenWorker], now_ms: int, options: LeaderOptions
) -> list[Problem]:
    """Problems with workers."""
    silent = [each for each in workers if each.life(now_ms) == "silent"]
    ours = [each for each in silent if each.language == "python"]
    foreign = [each for each in silent if each not in ours]
    dead = [each for each in foreign if _is_dead(each, now_ms, options)]
    quiet = [each for each in foreign if each not in dead]
    unknown = [each for each in workers if each.life(now_ms) == "can't tell"]
    found = []
    if dead:
        remedy = "resqpy workers clean WORKER: its job goes to the failed list"
        found.append(Problem("dead workers", _told(dead, now_ms), remedy, _cleaning(resque, dead)))
    if quiet:
        message = f"{_told(quiet, now_ms)}: too short to call them dead"
        remedy = f"check again later, or set scheduler.ruby_prune_after; {_BY_HAND}"
        found.append(Problem("silent workers", message, remedy, grave=False))
    if unknown:
        found.append(Problem("workers without signs", _of_unknown(unknown), _BY_HAND, grave=False))
    if ours:
        remedy = "resqpy scheduler, or resqpy worker --scheduler: the leader takes their jobs back"
        found.append(Problem("dead resqpy workers", _told(ours, now_ms), remedy))
    return found


def _is_dead(worker: SeenWorker, now_ms: int, options: LeaderOptions) -> bool:
    if worker.language == "node":
        limit_ms = options.stuck_worker_timeout_ms
    else:
        limit_ms = max(options.ruby_prune_after_ms or DEAD_AFTER_MS, worker.patience_ms)
    return bool(limit_ms) and worker.seen_ms is not None and now_ms - worker.seen_ms > limit_ms


def _told(workers: Sequence[SeenWorker], now_ms: int) -> str:
    busy = sum(each.work is not None for each in workers)
    last_ms = max((each.seen_ms or 0 for each in workers), default=0)
    since = f" for {texts.duration(now_ms - last_ms)} or longer" if last_ms else ""
    named = ", ".join(WorkerId.parse(each.worker_id).name for each in workers[:3])
    return (
        f"{counted(len(workers), 'worker')} without a heartbeat{since}, {counted(busy, 'job')} with them: "
        f"{named}"
    )


def _of_unknown(workers: Sequence[SeenWorker]) -> str:
    busy = [each for each in workers if each.work is not None]
    began = [each.began_ms for each in busy if each.began_ms is not None]
    since = f", the first since {texts.local(min(began))}" if began else ""
    named = ", ".join(WorkerId.parse(each.worker_id).name for each in workers[:3])
    return (
        f"{counted(len(workers), 'worker')} without heartbeat or ping, like those of PHP and older Ruby: "
        f"whether they are alive is unknown; {len(busy):,} with a job in their record{since}: {named}"
    )


def _cleaning(resque: Resque, workers: Sequence[SeenWorker]) -> Fix:
    async def fix(undo: Undo) -> int:
        for each in workers:
            await undo.watch(_touched(resque, each.worker_id), _clean(resque, each.worker_id, undo))
        return len(workers)

    return fix


def _touched(resque: Resque, worker_id: str) -> Touched:
    keys = resque.store.keys
    named, heartbeats, once, *own = workers.own_keys(keys, worker_id)
    strings = [key for key in own if key != keys.job_locks(worker_id)]
    return Touched(
        strings=[*strings, keys.stat(FAILED)],
        members={named: [worker_id]},
        fields={heartbeats: [worker_id], once: [worker_id]},
    )


def _clean(resque: Resque, worker_id: str, undo: Undo) -> Callable[[], Awaitable[int]]:
    async def clean() -> int:
        entry = await resque.force_clean_worker(worker_id)
        if entry is not None:
            undo.add(("LREM", resque.store.keys.failed_list(entry.source), -1, entry.raw))
        return 1

    return clean


def resting_problems(live: Sequence[SeenWorker]) -> Iterator[Problem]:
    """Findings about workers that take no jobs; only stuck ones are a problem."""
    for state, message in WORDS.items():
        names = [WorkerId.parse(each.worker_id).name for each in live if each.state == state]
        if names and state != STOPPING:
            told = f"{counted(len(names), 'worker')}: {named(names)}"
            yield Problem(f"{state} workers", told, message, grave=state == STUCK)


_LOST = "with delayed jobs missing from their index: no scheduler will ever find them"
_EMPTY = "in the index of delayed jobs without a job"


async def keyspace_problems(store: Store) -> Found:
    """What a scan of all keys finds."""
    found = await checkup.survey(store)
    if found.unlisted_queues:
        yield Problem(
            "unlisted queues",
            "jobs wait in queues that are missing from the set of queues, so '*' does not find them: "
            f"{', '.join(found.unlisted_queues[:5])}",
            "add them to the set",
            fix(
                partial(checkup.list_queues, store, found.unlisted_queues),
                members={store.keys.queues: found.unlisted_queues},
            ),
        )
    for problem in _delayed_problems(store, found):
        yield problem
    for problem in _lock_problems(store, found):
        yield problem
    for problem in _record_problems(found):
        yield problem
    if found.others:
        named = ", ".join(f"{name} (a {kind})" for name, kind in list(found.others.items())[:5])
        yield Problem(
            "foreign keys",
            f"{counted(len(found.others), 'key')} with names of queues or delayed jobs, but no lists, so they "
            f"are not worked here: {named}",
            "find out what writes them (jesque stores delayed and recurring jobs like this); they are left "
            "alone",
            grave=False,
        )
    if found.other_namespaces:
        names = sorted(found.other_namespaces)
        yield Problem(
            "other installations",
            f"this database has other installations, under {', '.join(map(repr, names))}; this is "
            f"{store.keys.namespace!r}",
            "if that is not intended: --namespace, or `namespace` in config/redis.py",
            grave=False,
        )


def _record_problems(found: checkup.Survey) -> list[Problem]:
    ids = found.unknown_records
    if not ids:
        return []
    return [
        Problem(
            "records of unknown workers",
            f"{counted(len(ids), 'worker that is', 'workers that are')} not registered, but whose record has a "
            f"job: {', '.join(ids[:3])}",
            "resqpy's own jobs are taken back within minutes if a resqpy worker or scheduler runs; otherwise "
            f"find out whose they are; when its process is gone: resqpy workers clean {argument(ids[0])}",
        )
    ]


def _lock_problems(store: Store, found: checkup.Survey) -> list[Problem]:
    problems = []
    if found.endless_locks:
        problems.append(
            Problem(
                "endless locks",
                f"{counted(len(found.endless_locks), 'lock')} of tasks without an expiry: "
                f"{_named(found.endless_locks)}",
                "set the expiry in each lock's value, else 3 minutes",
                fix(
                    partial(checkup.expire_locks, store, list(found.endless_locks)),
                    strings=found.endless_locks,
                ),
            )
        )
    if found.ruby_locks:
        problems.append(
            Problem(
                "locks of resque-lock",
                f"{counted(len(found.ruby_locks), 'lock')} of Ruby's resque-lock: {_named(found.ruby_locks)}; "
                "they never expire, not even when a worker dies",
                "resqpy locks remove NAME, if no such job waits or runs",
                grave=False,
            )
        )
    return problems


def _named(keys: Sequence[bytes]) -> str:
    return ", ".join(each.decode("utf-8", "replace") for each in keys[:3])


def _delayed_problems(store: Store, found: checkup.Survey) -> list[Problem]:
    problems = [
        Problem(
            name,
            f"{counted(len(seconds), 'time')} {words}",
            "repair the index",
            fix(
                partial(checkup.mend_delayed, store, seconds, []),
                scores={store.keys.schedule: seconds},
            ),
            grave=grave,
        )
        for name, seconds, words, grave in (
            ("lost delayed jobs", found.unindexed, _LOST, True),
            ("empty times", found.empty_seconds, _EMPTY, False),
        )
        if seconds
    ]
    if found.lost_timestamps:
        problems.append(
            Problem(
                "orphan timestamps",
                f"{counted(len(found.lost_timestamps), 'key')} of the reverse index lead nowhere: they block a "
                "DelayQueueLock",
                "drop their entries",
                fix(
                    partial(checkup.mend_delayed, store, [], found.lost_timestamps),
                    sets=found.lost_timestamps,
                ),
            )
        )
    return problems


_GAP_S = 600  # longer than Redis is away when it is just restarted


async def age_problems(store: Store, now_ms: int) -> Found:
    """Data that are much older than the start of Redis: a dump may have been restored."""
    up_s = int((await store.info("server")).get("uptime_in_seconds", 0))
    seen_s = max((await rescue.processes(store)).values(), default=None)
    if seen_s is None or (gap_s := now_ms / 1000 - up_s - seen_s) < _GAP_S:
        return
    yield Problem(
        "old data",
        f"the last sign of a worker of resqpy is from {texts.duration(gap_s * 1000)} before Redis was started: if "
        "a dump was restored, what has run since then waits again, and will run again",
        "look before workers take it: resqpy delayed --overdue",
        grave=False,
    )


async def junk_problems(store: Store) -> Found:
    """Values of another type under resqpy's own keys."""
    found = await junk.found(store, leading=True)
    if not found:
        return

    async def set_aside() -> int:
        return len(await junk.set_aside(store, leading=True))

    named = ", ".join(f"{key} (a {kind})" for key, kind in found.items())
    yield Problem(
        "junk in our keys",
        f"the wrong type of value is stored under {named}",
        f"move it to {store.keys.junk(store.keys.own('…'))}, as workers and schedulers do when they start",
        fix(set_aside, whole=list(found)),
    )
