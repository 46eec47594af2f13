"""Diagnosis of a Resque installation in any language: the checks of `resqpy doctor`."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from shlex import quote
from typing import Any

from resqpy.base import codec
from resqpy.base.clock import SYSTEM_CLOCK, iso_utc
from resqpy.base.errors import (
    OutcomeUnknown,
    StoreError,
    StoreMisconfigured,
    StoreUnavailable,
    UsageError,
)
from resqpy.base.model import NoList, UnreadableJob
from resqpy.diagnosis import texts
from resqpy.diagnosis.checks import (
    Found,
    Problem,
    age_problems,
    junk_problems,
    keyspace_problems,
    lock_problems,
    resting_problems,
    ruby_problems,
    worker_problems,
)
from resqpy.diagnosis.migrating import migration_problems
from resqpy.diagnosis.queues import ages, drain_words
from resqpy.diagnosis.texts import argument, counted, named
from resqpy.diagnosis.workers import (
    BUT_RESQUE_PAUSE,
    ID_LENGTH,
    SeenWorker,
    all_workers,
    failed_id,
    key_limit_words,
    limit_words,
    pause_words,
    queue_pause_words,
    unbound_by_pause,
    unbound_by_queue_rule,
)
from resqpy.engine.inspect.inspector import Resque
from resqpy.engine.inspect.schedule_view import ScheduleView
from resqpy.engine.options import LeaderOptions
from resqpy.engine.worker.heartbeat import PAUSED
from resqpy.store import delayed, overview, workers
from resqpy.store.connection.client import Store
from resqpy.store.leader import LeaderLock, led, standing
from resqpy.store.repair.undo import Command, Touched, Undo

SKEW_MS = 2000  # tolerated difference of two clocks
OVERDUE_MS = 60_000  # more than a scheduler needs
MANY_FAILED = 10_000
NEARLY_FULL = 0.9
_WRITES = ("rdb_last_bgsave_status", "aof_last_write_status", "aof_last_bgrewrite_status")
BEHIND_MS = 900_000
LOOKED_AT = 1000  # jobs of each queue, delayed times
_NAMED = 5  # queues
_UNCOUNTED = "; what workers of other languages run is counted while a scheduler of resqpy leads, and none does"
_SLOW = {
    "unreadable jobs", "failed jobs", "keys of resqpy's own", "keys that belong to nothing",
}  # fmt: skip


class Diagnosis:
    """One diagnosis of an installation.

    Args:
        options: Ruby's and Node's settings, as configured for the scheduler.
    """

    def __init__(self, resque: Resque, options: LeaderOptions | None = None) -> None:
        self._resque = resque
        self._store = resque.store
        self._options = options or LeaderOptions()
        self._workers: list[SeenWorker] | None = None  # None: they can't be read
        self._locks: list[LeaderLock] = []
        self._now_ms = SYSTEM_CLOCK.now_ms()  # until Redis has told its time

    async def problems(self, *, quick: bool = False) -> list[Problem]:
        """All problems. A check that can't be made is reported, and the others continue.

        Args:
            quick: without the checks that read jobs or search all keys.

        Raises:
            StoreUnavailable, OutcomeUnknown: Redis can't be reached.
        """
        checks: dict[str, Callable[[], Found]] = {
            "the server": self._server,
            "its clock": self._clock,
            "the age of its data": lambda: age_problems(self._store, self._now_ms),
            "the pause": self._paused,
            "limits": self._limits,
            "classes that move": lambda: migration_problems(self._resque),
            "the leaders": self._leaders,
            "limits of tasks": self._task_limits,
            "Ruby's schedules": lambda: ruby_problems(self._store, self._locks),
            "delayed jobs": self._overdue,
            "what runs by itself": lambda: _unled_problems(
                self._resque, self._options, self._locks
            ),
            "workers": self._dead,
            "queues without workers": self._unworked,
            "queues that fall behind": self._behind,
            "versions of tasks": self._versions,
            "unreadable jobs": self._unreadable,
            "counters": self._counters,
            "failed jobs": self._failed,
            "keys of resqpy's own": lambda: junk_problems(self._store),
            "keys that belong to nothing": lambda: keyspace_problems(self._store),
            "keys of other kinds": self._other_kinds,
        }
        found: list[Problem] = []
        for what, check in checks.items():
            if quick and what in _SLOW:
                continue
            try:
                found += [problem async for problem in check()]
            except (StoreUnavailable, OutcomeUnknown):
                raise
            except StoreError as error:
                found.append(_not_looked_at(what, error))
        return found

    # -- the server --

    async def _server(self) -> Found:
        async for problem in self._replica():
            yield problem
        memory = await self._store.info("memory")
        policy = memory.get("maxmemory_policy", "noeviction")
        if policy != "noeviction":
            bound = memory.get("maxmemory", "0") != "0"
            yield Problem(
                "eviction",
                f"Redis may evict jobs: maxmemory-policy is {policy}"
                + ("" if bound else " (maxmemory is not set yet)"),
                "set maxmemory-policy noeviction, or use a separate Redis for jobs",
                grave=bound,
            )
        if (most := int(memory.get("maxmemory", 0))) and policy == "noeviction":
            used = int(memory.get("used_memory", 0))
            if used > most * NEARLY_FULL:
                yield Problem(
                    "memory",
                    f"Redis uses {used:,} of its {most:,} bytes (maxmemory): when it is full, no job can be "
                    "enqueued",
                    "raise maxmemory, or free memory: resqpy info shows what waits and what has failed",
                    grave=used >= most,
                )
        kept = await self._store.info("persistence")
        wrong = [name for name in _WRITES if kept.get(name, "ok") != "ok"]
        if wrong:
            yield Problem(
                "disk",
                f"Redis failed to write to its disk ({', '.join(wrong)}): it refuses jobs, or a restart loses "
                "them",
                "see its own log: the disk is full, or its directory (config get dir) is not writable",
            )
        if kept.get("aof_enabled") == "0" and kept.get("rdb_saves", "0") == "0":
            yield Problem(
                "persistence",
                "Redis does not write to its disk: a restart loses all jobs",
                "set appendonly yes in redis.conf, or: redis-cli config set appendonly yes",
                grave=False,
            )

    async def _replica(self) -> Found:
        seen = await self._store.info("replication")
        if seen.get("role") == "slave" and seen.get("slave_read_only") == "1":
            primary = f"{seen.get('master_host')}:{seen.get('master_port')}"
            yield Problem(
                "replica",
                f"this Redis is a read-only replica of {primary}: no job can be enqueued or worked",
                "connect to the primary: --redis or REDIS_URL",
            )

    async def _clock(self) -> Found:
        before_ms = SYSTEM_CLOCK.now_ms()
        try:
            there_ms = await self._store.time_us() // 1000
        except StoreMisconfigured as error:
            yield _not_looked_at("its clock", error, "; ages are based on this machine's clock")
            return
        here_ms = (before_ms + SYSTEM_CLOCK.now_ms()) // 2
        self._now_ms = await self._resque.now_ms()
        if abs(there_ms - here_ms) > SKEW_MS:
            side = "behind" if there_ms > here_ms else "ahead of"
            yield Problem(
                "clock skew",
                f"the clock of this machine is {texts.duration(abs(there_ms - here_ms))} {side} Redis'",
                "synchronize both clocks with NTP",
            )

    # -- who is working --

    async def _paused(self) -> Found:
        if await overview.is_paused(self._store):
            unbound = unbound_by_pause(await all_workers(self._resque), self._now_ms)
            yield Problem("paused", pause_words(unbound), "resqpy resume", self._resume)
        paused = await self._resque.paused_queues()
        found = await all_workers(self._resque) if paused else []
        for name, pause in paused.items():
            yield Problem(
                "paused queue",
                f"{queue_pause_words(name, pause, self._now_ms)}"
                f"{unbound_by_queue_rule(found, name, self._now_ms, BUT_RESQUE_PAUSE)}",
                f"resqpy queues resume {argument(name)}",
                grave=False,
            )

    async def _resume(self, undo: Undo) -> int:
        touched = Touched(strings=[self._store.keys.pause])
        return int(await undo.watch(touched, partial(overview.resume, self._store)))

    async def _limits(self) -> Found:
        limits = await self._resque.running_limits()
        found = await all_workers(self._resque) if limits else []
        for name, limit in limits.items():
            unbound = unbound_by_queue_rule(found, name, self._now_ms)
            if unbound or not limit.most:
                words = f"{limit_words(name, limit.most)}{unbound}"
                yield Problem(
                    "limited queue", words, f"resqpy limits remove {argument(name)}", grave=False
                )

    async def _task_limits(self) -> Found:
        limits = await self._resque.limits()
        found = await all_workers(self._resque) if limits else []
        for key, each in limits.items():
            unbound = {unbound_by_queue_rule(found, name, self._now_ms) for name in each.parked}
            if each.counts_foreign and any(unbound):
                leads = bool(self._locks and self._locks[0].holder)
                unbound = {"" if leads else _UNCOUNTED}
            if any(unbound) or each.most == 0:
                words = f"{key_limit_words(key, each)}{''.join(sorted(unbound))}"
                remedy = f"resqpy limits set {argument(key)} MOST"
                yield Problem("limited task", words, remedy, grave=False)
            for name, count in each.parked.items():
                who = [e for e in found if e.language == "python" and e.works(name)]
                if not any(e.lives(self._now_ms) for e in who):
                    words = (
                        f"{texts.counted(count, 'job')} of the queue {name!r} waiting for the limit {key!r}, and "
                        "no worker of resqpy works that queue; a scheduler or another worker of resqpy puts them "
                        "back into it after a minute"
                    )
                    remedy = f"start a worker, or: resqpy limits put-back {argument(name)}"
                    yield Problem("parked", words, remedy, grave=False)

    async def _leaders(self) -> Found:
        self._locks = await standing(self._store, self._options.ruby_lock_prefix)
        for problem in lock_problems(self._store, self._locks):
            yield problem

    async def _overdue(self) -> Found:
        members = await delayed.seconds(self._store, 0, 999)
        before_s = (self._now_ms - OVERDUE_MS) // 1000
        overdue = [each for each in members if delayed.is_second(each) and int(each) < before_s]
        jobs = sum(await delayed.lengths(self._store, overdue))
        if not jobs:
            return
        since = texts.distance(int(overdue[0]) * 1000, self._now_ms)
        leaders = [f"{each.holder} ({each.language})" for each in self._locks if each.holder]
        who, remedy = "no scheduler leads", led(self._locks).remedy
        if leaders:
            who = f"the leader {leaders[0]} does not move them"
            alone = "; or start Ruby's scheduler, if scheduler.ruby_leads leaves them to it"
            remedy = "see its log, and stop it if it hangs, so that another one takes over"
            remedy += alone if len(leaders) == 1 and self._locks[0].holder else ""
        yield Problem(
            "overdue",
            f"{counted(jobs, 'delayed job')} should have been enqueued, the first {since}: {who}",
            remedy,
        )

    async def _dead(self) -> Found:
        self._workers = await all_workers(self._resque)
        live = [each for each in self._workers if each.lives(self._now_ms)]
        for problem in resting_problems(live):
            yield problem
        for problem in worker_problems(self._resque, self._workers, self._now_ms, self._options):
            yield problem

    async def _unworked(self) -> Found:
        if self._workers is None:
            return
        # workers paused by the pause of all workers are reported there, and resume with it
        live = [
            each
            for each in self._workers
            if each.lives(self._now_ms) and (each.takes_jobs or each.state == PAUSED)
        ]
        lengths = await self._resque.lengths()
        waiting = {
            name: length
            for name, length in lengths.items()
            if length and not any(each.works(name) for each in live)
        }
        if waiting:
            yield Problem("unworked queue", *_of_unworked(waiting))

    async def _behind(self) -> Found:
        """Queues whose jobs have waited for long although they are worked and not paused."""
        seen, paused = await ages(self._resque), await self._resque.paused_queues()
        live = [
            each for each in self._workers or [] if each.lives(self._now_ms) and each.takes_jobs
        ]
        behind = [
            f"{name} ({seen.words(name, age.jobs)}; {age.jobs:,} wait, empty in {drain_words(age, seen.now_ms)})"
            for name, age in seen.by_queue.items()
            if (age.age_ms(seen.now_ms) or 0) > BEHIND_MS
            and name not in paused
            and any(each.works(name) for each in live)
        ]
        if behind:
            yield Problem(
                "queues that fall behind",
                f"the first job has waited for more than {texts.duration(BEHIND_MS)} in "
                f"{counted(len(behind), 'queue')} that live workers work: {named(behind)}",
                "more task processors or processes for them (resqpy workers shows who works what), or a place "
                "further ahead in the list of queues",
                grave=False,
            )

    async def _versions(self) -> Found:
        found = sorted(await workers.versions(self._store))
        if found:
            yield Problem(
                "tasks of two versions",
                f"live processes declare different inputs for {named([*map(repr, found)])}: each leaves jobs "
                "that it can't run to the others for some minutes, and then fails them",
                "wait for the end of a deploy; or, if two projects share this Redis, give each its own "
                "redis.namespace or queues",
                grave=False,
            )

    # -- jobs --

    async def _unreadable(self) -> Found:
        for name in await self._resque.queues():
            found = [
                each
                for each in await self._resque.queued(name, 0, LOOKED_AT - 1)
                if isinstance(each, UnreadableJob)
            ]
            if found:
                yield Problem(
                    "unreadable jobs",
                    f"{counted(len(found), 'entry', 'entries')} of the queue {name!r} can't be read: "
                    f"{found[0].problem}",
                    "a resqpy worker moves them to the failed list, keeping their bytes; some break Ruby's and "
                    "Node's workers",
                )

    async def _other_kinds(self) -> Found:
        """What the earlier checks have found: queues that are not lists, a set of workers that is not a set."""
        lengths = await self._resque.lengths()
        odd = [f"{name!r} is {n.words}" for name, n in lengths.items() if isinstance(n, NoList)]
        if odd:
            yield Problem(
                "queues that are no lists",
                "; ".join(odd[:_NAMED]),
                "find out what writes them (jesque stores delayed jobs like this); they are left alone",
                grave=False,
            )
        if junk := sorted(self._store.junk.items()):
            self._store.junk.clear()
            names = ", ".join(f"{key} is not a {kind}" for key, kind in junk[:_NAMED])
            yield Problem(
                "keys of other kinds",
                f"treated as empty: {names}; some break Ruby's and Node's programs",
                "find out who wrote them",
            )

    async def _counters(self) -> Found:
        """Ruby's and Node's programs count with INCR, which fails if the value is not a number."""
        names = [self._store.keys.stat(each) for each in ("processed", "failed")]
        values = await self._store.call("MGET", *names)
        kinds = await self._store.kinds(names)
        odd = [
            f"{name} is {shown(value) if kind == 'string' else f'a {kind}'}"
            for name, value, kind in zip(names, values, kinds, strict=True)
            if kind != "none" and not is_counter(value)
        ]
        if odd:
            yield Problem(
                "counters that are no numbers",
                f"{', '.join(odd)}: Ruby's and Node's workers can't count there, and fail when they end a "
                "job",
                "find out what wrote it; then set it to a number",
            )

    async def _failed(self) -> Found:
        count = await self._resque.failed_count()
        first = [
            each for each in await self._resque.failed(0, LOOKED_AT - 1) if each.payload is None
        ]
        if first:
            yield Problem(
                "unreadable failed entries",
                f"{counted(len(first), 'entry', 'entries')} of the first {LOOKED_AT:,} failed ones can't be "
                f"read, the first begins with {shown(first[0].raw)}; some break the web pages of Ruby and Node",
                f"resqpy failed show {failed_id(first[0])[:ID_LENGTH]}",
                grave=False,
            )
        if count >= MANY_FAILED:
            yield Problem(
                "many failed jobs",
                f"{count:,} failed jobs: they are kept until somebody retries or removes them, and use Redis' "
                "memory",
                "resqpy failed groups shows what failed and why; then resqpy failed retry --class NAME, or "
                "remove --class NAME or --older-than 30d; the scheduler does it by scheduler.failed_keep and "
                "failed_for",
                grave=False,
            )


def shown(raw: bytes | None) -> str:
    """The beginning of some bytes."""
    return repr((raw or b"")[:40].decode("utf-8", "backslashreplace"))


def is_counter(value: bytes | None) -> bool:
    """Whether Redis can increment this value."""
    return value is not None and len(value) < 20 and value.removeprefix(b"-").isdigit()


def _not_looked_at(what: str, error: StoreError, instead: str = "") -> Problem:
    """A check that could not be made; that a user lacks the permission is not serious."""
    return Problem(
        "not looked at",
        f"{what}: {error}{instead}",
        "use another Redis user" if isinstance(error, StoreMisconfigured) else "",
        grave=not isinstance(error, StoreMisconfigured),
    )


def _of_unworked(waiting: dict[str, int]) -> tuple[str, str]:
    """The problem of queues without workers, and the remedy."""
    longest = sorted(waiting, key=lambda name: -waiting[name])
    jobs = counted(sum(waiting.values()), "job")
    if len(longest) == 1:
        message = f"{jobs} in the queue {longest[0]!r}, from which no live worker takes any"
        return message, f"resqpy worker --queues {quote(f'{longest[0]},*')}"
    names = named([f"{name} ({waiting[name]:,})" for name in longest])
    message = f"{jobs} in {len(longest):,} queues from which no live worker takes any: {names}"
    return message, "resqpy worker: by default it works all of them"


async def _unled_problems(
    resque: Resque, options: LeaderOptions, locks: Sequence[LeaderLock]
) -> Found:
    """Periodic tasks, delayed jobs and Ruby's schedules that nobody runs, as one problem. There is no
    problem if nothing was started yet.
    """
    if not locks:
        return
    found, waits = led(locks), list[str]()
    timetable = await ScheduleView(resque, options).load()
    running = [each for each in timetable.entries if each.state in ("waiting", "under way")]
    if names := [each.name for each in running if each.kind != "ruby" and not found.periodic]:
        waits.append(f"periodic tasks ({named(names, 3)})")
    jobs = 0 if found.delayed else await _delayed_jobs(resque)
    if jobs:
        waits.append(f"delayed jobs ({jobs:,})")
    if names := [each.name for each in running if each.kind == "ruby" and not found.delayed]:
        waits.append(f"schedules of resque-scheduler ({named(names, 3)})")
    if waits:
        message = f"{found.who}: {' and '.join(waits)} don't run"
        at_work = bool(jobs or await resque.workers())
        yield Problem("no scheduler", message, found.remedy, grave=at_work)


async def _delayed_jobs(resque: Resque) -> int:
    seconds = await delayed.seconds(resque.store, 0, LOOKED_AT - 1)
    return sum(await delayed.lengths(resque.store, seconds))


# The file that undoes the repairs of `resqpy doctor --fix`: `resqpy doctor --undo FILE`.

_ABOUT = "undoes what `resqpy doctor --fix` changed: resqpy doctor --undo THIS-FILE"


class UndoFile:
    """The file with the undo commands.

    Raises:
        UsageError: it can't be written; nothing was repaired yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.write({})

    @classmethod
    def new(cls, folder: Path) -> UndoFile:
        """One whose name contains the time."""
        now = iso_utc(SYSTEM_CLOCK.now_ms() * 1000)[:19].replace(":", "").replace("-", "")
        return cls(folder / f"resqpy-undo-{now}-{os.getpid()}.json")

    def write(self, commands: Mapping[str, Sequence[Command]]) -> None:
        """Write everything known so far."""
        undo = [
            {
                "problem": name,
                "commands": [[_shown(each) for each in command] for command in several],
            }
            for name, several in commands.items()
        ]
        lines = ",\n".join(codec.encode_text(each).decode() for each in undo)
        about = codec.encode_text(_ABOUT).decode()
        try:
            self.path.write_text(f'{{"about":{about},"undo":[\n{lines}\n]}}\n', encoding="utf-8")
        except OSError as error:
            raise UsageError(
                f"the undo file cannot be written ({error}); run this in a directory where it can be"
            ) from error


async def repair(store: Store, problems: Sequence[Problem], file: UndoFile) -> dict[str, int]:
    """Fix problems, and save in a file how to undo that; returns how many things were fixed, by problem."""
    undo, fixed = Undo(store), dict[str, int]()
    try:
        for each in problems:
            if each.fix is not None:
                undo.begin(each.name)
                fixed[each.name] = await each.fix(undo)
                file.write(undo.commands)
    finally:
        file.write(undo.commands)
    return fixed


def read(path: Path) -> list[Command]:
    """The commands of a file, the last repair first.

    Raises:
        UsageError: it is not an undo file.
    """
    try:
        data = codec.decode_text(path.read_text(encoding="utf-8"))
        several = [each["commands"] for each in data["undo"]]
        return [tuple(map(_arg, command)) for commands in reversed(several) for command in commands]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is not an undo file of `doctor --fix`: {error!r}") from error


def _shown(arg: Any) -> Any:
    """An argument of a command: unchanged if it is text, else in base64."""
    if not isinstance(arg, bytes):
        return arg if isinstance(arg, int) else _shown(str(arg).encode("utf-8", "surrogateescape"))
    try:
        return arg.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(arg).decode()}


def _arg(shown: Any) -> Any:
    if isinstance(shown, dict):
        return base64.b64decode(shown["base64"], validate=True)
    if not isinstance(shown, str | int):
        raise TypeError(f"{shown!r} is not an argument of a command")
    return shown
