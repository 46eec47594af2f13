"""Workers for display (language, job, last heartbeat), and a summary of the installation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from resqpy.base import activejob, codec, reading
from resqpy.base.foreign_time import moment_of
from resqpy.base.masking import Redaction
from resqpy.base.model import (
    FailedJob,
    Job,
    KeyLimit,
    QueuePause,
    UnreadableJob,
    WorkerId,
    WorkingOn,
)
from resqpy.base.php import started_in_php
from resqpy.base.when import duration_ms
from resqpy.diagnosis import texts
from resqpy.diagnosis.queues import QueueAges, ages
from resqpy.engine.inspect.inspector import Details, Inspector
from resqpy.engine.inspect.worker_care import FRESH_MS
from resqpy.engine.scheduler.foreign_care import BEATS
from resqpy.engine.worker.identity import incarnation_of, place_of
from resqpy.engine.worker.queues import worked
from resqpy.store import workers
from resqpy.store.overview import is_paused
from resqpy.store.repair import checkup

if TYPE_CHECKING:
    from resqpy.engine.inspect.failed_jobs import FailedGroup
    from resqpy.schedules.schedule import Schedule, ScheduledFire
    from resqpy.store.connection.client import Store
    from resqpy.store.leader import LeaderLock
    from resqpy.tracked.handle import TrackedTask


Life = Literal["lives", "silent", "can't tell"]


@dataclass(frozen=True, slots=True)
class SeenWorker:
    """A worker.

    Attributes:
        language: "python", "ruby", "node" or "php"; "?" for another one without a heartbeat.
        work: the job that it runs; None: it is idle.
        seen_ms: its last heartbeat.
        patience_ms: a younger heartbeat means that it is alive.
        state: of its process, unless it is working normally: `paused`, `quiet`, `stopping`, `stuck`.
        registered: it is in the set of workers; otherwise only its record exists.
    """

    worker_id: str
    language: str
    work: WorkingOn | None
    seen_ms: int | None
    patience_ms: int = FRESH_MS
    state: str = ""
    registered: bool = True

    @property
    def takes_jobs(self) -> bool:
        """Whether it takes jobs when it is free."""
        return not self.state

    @property
    def queues(self) -> str:
        """Its queues, as it names them."""
        return WorkerId.parse(self.worker_id).queues

    def works(self, queue: str) -> bool:
        """Whether it takes jobs from a queue."""
        return queue in worked(self.queues, [queue])

    def life(self, now_ms: int) -> Life:
        """Whether its heartbeat is recent; workers of PHP and older Ruby never send one."""
        if self.seen_ms is None:
            return "can't tell" if self.language in {"?", "php"} else "silent"
        return "lives" if self.seen_ms >= now_ms - self.patience_ms else "silent"

    def lives(self, now_ms: int) -> bool:
        """Whether it may be alive: its heartbeat is recent, or it never sends one."""
        return self.life(now_ms) != "silent"

    @property
    def class_name(self) -> str | None:
        """The task it is running."""
        payload = self.work.payload if self.work else None
        name = activejob.class_in(payload) if isinstance(payload, dict) else None
        return str(name) if name is not None else None

    @property
    def args(self) -> list[Any]:
        """The arguments of the job that it runs, if they are a list."""
        payload = self.work.payload if self.work else None
        args = activejob.args_in(payload) if isinstance(payload, dict) else None
        return args if isinstance(args, list) else []

    @property
    def began_ms(self) -> int | None:
        """When its run began."""
        return moment_of(self.work.run_at) if self.work else None

    def as_json(self, shown: Callable[[Any], Any]) -> dict[str, Any]:
        """For programs.

        Args:
            shown: makes a job's payload safe to show.
        """
        host, pid = place_of(WorkerId.parse(self.worker_id))
        return {
            "id": self.worker_id,
            "host": host,
            "pid": pid,
            "queues": self.queues,
            "language": self.language,
            "working": self.work is not None,
            "state": self.state or "working",
            "registered": self.registered,
            "class": self.class_name,
            "queue": self.work.queue if self.work else None,
            "payload": shown(self.work.payload) if self.work else None,
            "began_at": texts.iso(self.began_ms),
            "last_seen": texts.iso(self.seen_ms),
        }


async def all_workers(inspector: Inspector, only: Sequence[str] | None = None) -> list[SeenWorker]:
    """All registered workers, or those of these ids that are. Four round trips at most."""
    store = inspector.store
    if only is None:
        ids = await workers.ids(store)
    else:
        known = await workers.are_known(store, only)
        ids = [each for each, is_known in zip(only, known, strict=True) if is_known]
    whose = {each: incarnation_of(each) or "" for each in ids}
    records, signs, interval_ms, states = await asyncio.gather(
        workers.records(store, ids),
        workers.signs_of_life(store, ids),
        workers.shown_interval_ms(store),
        workers.states(store, [each for each in whose.values() if each]),
    )
    patience_ms = max(FRESH_MS, BEATS * interval_ms)
    languages = await _languages(store, ids, signs)
    return [
        SeenWorker(
            each,
            languages[each],
            reading.show_record(each, record),
            _seen_ms(beat, ping),
            patience_ms if ping is None else FRESH_MS,
            states.get(whose[each], ""),
        )
        for each, record, (beat, ping) in zip(ids, records, signs, strict=True)
    ]  # fmt: skip


async def unregistered_workers(inspector: Inspector) -> tuple[list[SeenWorker], bool]:
    """Workers that are not registered but have a record; and whether all keys were scanned."""
    found = await checkup.look(inspector.store)
    signs = await workers.signs_of_life(inspector.store, list(found.records))
    languages = await _languages(inspector.store, list(found.records), signs)
    return [
        SeenWorker(
            each,
            languages[each],
            reading.show_record(each, record),
            _seen_ms(beat, ping),
            registered=False,
        )
        for (each, record), (beat, ping) in zip(found.records.items(), signs, strict=True)
    ], found.everything


async def _languages(
    store: Store, ids: Sequence[str], signs: Sequence[tuple[bytes | None, bytes | None]]
) -> dict[str, str]:
    """The language of each worker; one that sends no signs is known by how it wrote its start."""
    found = {each: _language(each, *sign) for each, sign in zip(ids, signs, strict=True)}
    silent = [each for each, language in found.items() if language == "?"]
    for each, started in zip(silent, await workers.starts(store, silent), strict=True):
        if started_in_php(started):
            found[each] = "php"
    return found


def _language(worker_id: str, beat: bytes | None, ping: bytes | None) -> str:
    if incarnation_of(worker_id) is not None:
        return "python"
    if ping is not None:
        return "node"
    return "ruby" if beat is not None else "?"


def _seen_ms(beat: bytes | None, ping: bytes | None) -> int | None:
    return max(moment_of(beat) or 0, reading.ping_time_ms(ping)) or None


def unbound_by_pause(found: Sequence[SeenWorker], now_ms: int) -> list[SeenWorker]:
    """Live workers that ignore the pause of all workers."""
    return [each for each in found if each.language in {"node", "php"} and each.lives(now_ms)]


def pause_words(unbound: Sequence[SeenWorker]) -> str:
    """The message about the pause of all workers."""
    message = "all workers are paused, Ruby's and resqpy's; Node's and PHP's ignore it"
    if not unbound:
        return message
    return f"{message}: {texts.named([WorkerId.parse(e.worker_id).name for e in unbound])} continue"


BUT_RESQUE_PAUSE = ", except Ruby's with resque-pause"


def queue_pause_words(name: str, pause: QueuePause, now_ms: int) -> str:
    """The message about the pause of one queue."""
    who = pause.by or ("resque-pause" if pause.since_ms is None else "")
    when = "" if pause.since_ms is None else texts.distance(pause.since_ms, now_ms)
    source = ", ".join(filter(None, (f"by {who}" if who else "", when)))
    left_ms = None if pause.until_ms is None else max(pause.until_ms - now_ms, 0)
    left = "" if left_ms is None else f" for another {texts.duration(left_ms)}"
    reason = f": {pause.reason}" if pause.reason else ""
    return f"the queue {name!r} is paused{left} ({source}){reason}"


def limit_words(name: str, most: int) -> str:
    """The message about the limit of a queue."""
    if not most:
        return f"no job of the queue {name!r} is begun"
    run = "runs" if most == 1 else "run"
    return f"at most {texts.counted(most, 'job')} of the queue {name!r} {run} at once"


def key_limit_words(key: str, limit: KeyLimit) -> str:
    """The message about the limit of a task, or of one of its keys."""
    tasks = f" ({', '.join(limit.tasks)})" if limit.tasks and limit.tasks != (key,) else ""
    if limit.rate is not None:
        begin = "begins" if limit.rate.count == 1 else "begin"
        burst = f", {limit.rate.burst} at once after a rest" if limit.rate.burst > 1 else ""
        each = texts.duration(duration_ms(limit.rate.per))
        count = texts.counted(limit.rate.count, "job")
        return f"at most {count} {begin} each {each}{burst} under the limit {key!r}{tasks}"
    if limit.most is None:
        return f"the limit {key!r}{tasks} was removed"
    if not limit.most:
        return f"no job under the limit {key!r}{tasks} is begun"
    run = "runs" if limit.most == 1 else "run"
    return (
        f"at most {texts.counted(limit.most, 'job')} {run} at once under the limit {key!r}{tasks}"
    )


def pause_json(pause: QueuePause) -> dict[str, Any]:
    """The pause of a queue."""
    since, until = texts.iso(pause.since_ms), texts.iso(pause.until_ms)
    return {"reason": pause.reason, "by": pause.by, "since": since, "until": until}


def unbound_by_queue_rule(
    found: Sequence[SeenWorker], queue: str, now_ms: int, but: str = ""
) -> str:
    """Which live workers don't know of a queue's pause or limit, as the end of a message."""
    others = [e for e in found if e.language != "python" and e.works(queue) and e.lives(now_ms)]
    if not others:
        return ""
    names = texts.named([WorkerId.parse(each.worker_id).name for each in others])
    return f"; workers of other languages don't know of that{but}: {names}"


async def lives_on(inspector: Inspector, host: str, within_ms: int) -> bool:
    """Whether a worker on a host sent a heartbeat within a time."""
    ids = [each for each, who in (await inspector.workers()).items() if place_of(who)[0] == host]
    signs = await workers.signs_of_life(inspector.store, ids)
    oldest_ms = await inspector.now_ms() - within_ms
    return any((_seen_ms(*pair) or 0) >= oldest_ms for pair in signs)


# -- summary --


@dataclass(frozen=True)
class InstallationSummary:
    """Queues, workers, counters, the leader.

    Attributes:
        unregistered: workers that are not registered but have a record.
        everything: all keys were scanned for these; otherwise some ten thousand.
    """

    details: Details
    paused: bool
    unregistered: int
    everything: bool
    ages: QueueAges

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        details = self.details
        counters, workers = details["stats"], details["workers"].values()
        return {
            "queues": details["queues"],
            "ages": {name: self.ages.as_json(name) for name in self.ages.by_queue},
            "waiting": sum(details["queues"].values()),
            "workers": len(workers),
            "working": sum(work is not None for work in workers),
            "delayed_times": details["delayed"],
            "failed_jobs": details["failed"],
            "processed": counters["processed"],
            "failures": counters["failed"],
            "leader": details["leader"],
            "paused": self.paused,
            "unregistered": self.unregistered,
        }


async def installation(inspector: Inspector) -> InstallationSummary:
    """Read it."""
    others = await checkup.look(inspector.store)
    paused = await is_paused(inspector.store)
    return InstallationSummary(
        await inspector.details(),
        paused,
        len(others.records),
        others.everything,
        await ages(inspector),
    )


# Jobs, failed jobs, schedules, leaders and tracked tasks as JSON.

ID_LENGTH = 10  # displayed hex digits of a failed entry's digest


def job_json(job: Job, redaction: Redaction) -> dict[str, Any]:
    """A job."""
    if isinstance(job, UnreadableJob):
        return {"queue": job.queue, "problem": job.problem, "bytes": len(job.raw)}
    redacted: dict[str, Any] = redaction.shown(job.to_dict())
    return redacted


def failed_id(entry: FailedJob) -> str:
    """The id of an entry in commands: the digest of its bytes."""
    return codec.digest(entry.raw)


def failed_json(entry: FailedJob, redaction: Redaction, *, backtrace: bool) -> dict[str, Any]:
    """A failed entry."""
    failed_ms = moment_of(entry.failed_at)
    shown = {
        "id": failed_id(entry),
        "class": entry.class_name,
        "queue": entry.queue,
        "args": redaction.shown(entry.args),
        "exception": entry.exception,
        "error": entry.error,
        "worker": entry.worker,
        "failed_at": texts.iso(failed_ms),
        "failed_at_ms": failed_ms,
        "retried_at": texts.iso(moment_of(entry.retried_at)),
        "list": entry.source,
    }
    return {**shown, "backtrace": entry.backtrace} if backtrace else shown


def group_json(group: FailedGroup) -> dict[str, Any]:
    """A group of failed jobs."""
    return {
        "class": group.class_name,
        "exception": group.exception,
        "count": group.count,
        "others": group.others,
        "first_at": texts.iso(group.first_ms),
        "first_at_ms": group.first_ms,
        "last_at": texts.iso(group.last_ms),
        "last_at_ms": group.last_ms,
        "example": failed_id(group.example),
        "example_error": group.example.error,
    }


def tracked_json(task: TrackedTask, redaction: Redaction) -> dict[str, Any]:
    """A tracked task."""
    shown = task.to_json()
    return {**shown, "payload": redaction.shown(shown["payload"])}


def schedule_json(entry: Schedule) -> dict[str, Any]:
    """A periodic task or schedule."""
    return {
        "name": entry.name,
        "kind": entry.kind,
        "when": entry.timing,
        "class": entry.class_name,
        "queue": entry.queue or None,
        "state": entry.state,
        "problem": entry.problem or None,
        "last": texts.iso(texts.ms_of(entry.last)),
        "next": texts.iso(texts.ms_of(entry.next)),
    }


def fire_json(fire: ScheduledFire) -> dict[str, Any]:
    """A time at which it runs, or would have run."""
    return {
        "at": texts.iso(texts.ms_of(fire.at)),
        "name": fire.name,
        "kind": fire.kind,
        "runs": fire.runs,
        "local": fire.local.isoformat(),
        "note": fire.note or None,
    }


def leader_json(lock: LeaderLock) -> dict[str, Any]:
    """The lock of a leader."""
    return {
        "language": lock.language,
        "leader": lock.holder,
        "held_by_resqpy": lock.ours,
        "ttl_ms": lock.ttl_ms,
        "key": lock.key,
    }
