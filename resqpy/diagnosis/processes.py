"""Worker processes of resqpy: which there are, and orders to them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from resqpy.base import codec
from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.diagnosis import texts
from resqpy.diagnosis.workers import SeenWorker, all_workers
from resqpy.engine.inspect.inspector import Inspector
from resqpy.engine.worker.identity import incarnation_of
from resqpy.store import orders, workers
from resqpy.store.queues import decode_name

_ASK_EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class SeenProcess:
    """A worker process of resqpy.

    Attributes:
        id: its incarnation: unlike that of any other process, also of the same pid.
        state: `working`, `paused`, `quiet`, `stopping`, `stuck`.
        seen_ms: its last heartbeat.
        workers, busy: its task processors, and those that run a job.
        log_level: from which it writes log lines; empty: an older version, which does not tell.
        log_until_ms: when that ends and its configuration holds again; None: it holds on.
    """

    id: str
    host: str
    pid: int
    queues: str
    state: str
    seen_ms: int
    workers: int
    busy: int
    log_level: str
    log_until_ms: int | None

    def is_named(self, wanted: str) -> bool:
        """Whether a user means it: the beginning of its id, or `host:pid`."""
        return bool(wanted) and (self.id.startswith(wanted) or wanted == f"{self.host}:{self.pid}")

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "id": self.id,
            "host": self.host,
            "pid": self.pid,
            "queues": self.queues,
            "state": self.state,
            "last_seen": texts.iso(self.seen_ms),
            "workers": self.workers,
            "busy": self.busy,
            "log_level": self.log_level or None,
            "log_until": texts.iso(self.log_until_ms),
        }


async def processes(
    inspector: Inspector, found: Sequence[SeenWorker] | None = None
) -> list[SeenProcess]:
    """All worker processes, by host and pid. A few round trips.

    Args:
        found: the workers of all, if they are known.
    """
    store = inspector.store
    scores, fields = await store.look(
        [("ZRANGE", store.keys.processes, 0, -1, "WITHSCORES"), ("HGETALL", store.keys.lives)]
    )
    now_ms = await store.time_us() // 1000
    seen = {decode_name(n): _ms(s) for n, s in zip(scores[::2], scores[1::2], strict=True)}
    lives = {decode_name(n): v for n, v in zip(fields[::2], fields[1::2], strict=True)}
    found = await all_workers(inspector) if found is None else found
    states = await workers.states(store, list(seen))
    made = [
        _process(
            each, codec.decode_lenient(lives[each]), seen[each], now_ms, states.get(each, ""), found
        )
        for each in seen
        if each in lives
    ]
    return sorted((e for e in made if e is not None), key=lambda e: (e.host, e.pid, e.id))


def _ms(score: bytes) -> int:
    return int(float(score) * 1000)


def _process(
    incarnation: str,
    life: Any,
    seen_ms: int,
    now_ms: int,
    state: str,
    found: Sequence[SeenWorker],
) -> SeenProcess | None:
    match life:
        case {"host": str(host), "pid": int(pid), "queues": str(queues)}:
            own = [each for each in found if incarnation_of(each.worker_id) == incarnation]
            busy = sum(each.work is not None for each in own)
            counts = len(own), busy
            log = log_level(life.get("log"), now_ms)
            return SeenProcess(
                incarnation, host, pid, queues, state or "working", seen_ms, *counts, *log
            )
    return None


def log_level(told: Any, now_ms: int) -> tuple[str, int | None]:
    """From which level a process writes log lines, and when that ends, from what it told of it."""
    match told:
        case {"now": str(level), "until": int(until)} if until > now_ms:
            return level, until
        case {"level": str(), "now": str(level)} if "until" not in told:
            return level, None
        case {"level": str(level)}:
            return level, None
    return "", None


async def order(
    inspector: Inspector,
    chosen: Sequence[SeenProcess],
    verb: str,
    args: Mapping[str, Any],
    *,
    wait_s: float,
    valid_ms: int,
    by: str,
) -> dict[str, dict[str, Any]]:
    """Give processes an order, and wait for their answers; who has not answered is missing.

    Args:
        wait_s: at most so long. A process whose event loop has just been blocked hears of it with its next
            heartbeat.
        valid_ms: how long a process that is away may still obey it.
    """
    until_ms, ids = await inspector.now_ms() + valid_ms, [each.id for each in chosen]
    given = orders.Order.new(secrets.token_hex(8), verb, args, until_ms, by)
    await orders.give(inspector.store, given, ids, valid_ms)
    until_s, found = SYSTEM_CLOCK.monotonic() + wait_s, dict[str, dict[str, Any]]()
    while len(found) < len(ids):
        await asyncio.sleep(_ASK_EVERY_S)
        found = await orders.answers(inspector.store, given.id)
        if SYSTEM_CLOCK.monotonic() >= until_s:
            break
    return found
