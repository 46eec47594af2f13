"""Workers for display (language, job, last heartbeat), and a summary of the installation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from resqpy.base import reading
from resqpy.base.foreign_time import moment_of
from resqpy.base.masking import Redaction
from resqpy.base.model import WorkerId, WorkingOn
from resqpy.diagnosis import texts
from resqpy.engine.inspect.inspector import Details, Inspector
from resqpy.engine.inspect.worker_care import FRESH_MS
from resqpy.engine.queue.queue_names import QueueNames
from resqpy.engine.scheduler.ruby_pulse import BEATS
from resqpy.engine.worker.identity import incarnation_of, place_of
from resqpy.store import foreign, workers
from resqpy.store.overview import is_paused
from resqpy.store.repair import unregistered

Life = Literal["lives", "silent", "can't tell"]


@dataclass(frozen=True, slots=True)
class SeenWorker:
    """A worker.

    Attributes:
        language: "python", "ruby" or "node"; "?" for a foreign one without a heartbeat.
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
        names = QueueNames(self.queues)
        names.resolve([queue])
        return queue in names.names

    def life(self, now_ms: int) -> Life:
        """Whether its heartbeat is recent; workers of PHP and older Ruby never send one."""
        if self.seen_ms is None:
            return "can't tell" if self.language == "?" else "silent"
        return "lives" if self.seen_ms >= now_ms - self.patience_ms else "silent"

    def lives(self, now_ms: int) -> bool:
        """Whether it may be alive: its heartbeat is recent, or it never sends one."""
        return self.life(now_ms) != "silent"

    @property
    def class_name(self) -> str | None:
        """The task it is running."""
        payload = self.work.payload if self.work else None
        name = payload.get("class") if isinstance(payload, dict) else None
        return str(name) if name is not None else None

    @property
    def began_ms(self) -> int | None:
        """When its run began."""
        return moment_of(self.work.run_at) if self.work else None

    def as_json(self, redaction: Redaction) -> dict[str, Any]:
        """For programs, with secrets hidden."""
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
            "payload": redaction.shown(self.work.payload) if self.work else None,
            "began_at": texts.iso(self.began_ms),
            "last_seen": texts.iso(self.seen_ms),
        }


async def all_workers(inspector: Inspector) -> list[SeenWorker]:
    """All registered workers."""
    working = await inspector.all_working_on()
    ids = list(working)
    signs = await workers.signs_of_life(inspector.store, ids)
    shown_ms = BEATS * await foreign.shown_interval_ms(inspector.store)
    patience_ms = max(FRESH_MS, shown_ms)
    whose = {each: incarnation_of(each) or "" for each in ids}
    states = await workers.states(inspector.store, [each for each in whose.values() if each])
    return [
        SeenWorker(
            each,
            _language(each, beat, ping),
            working[each],
            _seen_ms(beat, ping),
            patience_ms if ping is None else FRESH_MS,
            states.get(whose[each], ""),
        )
        for each, (beat, ping) in zip(ids, signs, strict=True)
    ]  # fmt: skip


async def unregistered_workers(inspector: Inspector) -> tuple[list[SeenWorker], bool]:
    """Workers that are not registered but have a record; and whether all keys were scanned."""
    found = await unregistered.look(inspector.store)
    signs = await workers.signs_of_life(inspector.store, list(found.records))
    return [
        SeenWorker(
            each,
            _language(each, beat, ping),
            reading.show_record(each, record),
            _seen_ms(beat, ping),
            registered=False,
        )
        for (each, record), (beat, ping) in zip(found.records.items(), signs, strict=True)
    ], found.everything


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
    return [each for each in found if each.language == "node" and each.lives(now_ms)]


def pause_words(unbound: Sequence[SeenWorker]) -> str:
    """The message about the pause of all workers."""
    message = "all workers are paused, Ruby's and resqpy's; Node's and PHP's ignore it"
    if not unbound:
        return message
    return f"{message}: {texts.named([WorkerId.parse(e.worker_id).name for e in unbound])} continue"


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

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        details = self.details
        counters, workers = details["stats"], details["workers"].values()
        return {
            "queues": details["queues"],
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
    others = await unregistered.look(inspector.store)
    paused = await is_paused(inspector.store)
    return InstallationSummary(
        await inspector.details(), paused, len(others.records), others.everything
    )
