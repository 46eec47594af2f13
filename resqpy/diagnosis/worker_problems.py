"""What `resqpy doctor` reports about workers: those without a recent heartbeat (silent is not dead, and
never having sent one is neither), and live ones that take no jobs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence

from resqpy.base.keys import FAILED
from resqpy.base.model import WorkerId
from resqpy.diagnosis import texts
from resqpy.diagnosis.problem import Fix, Problem
from resqpy.diagnosis.texts import counted, named
from resqpy.diagnosis.workers import SeenWorker
from resqpy.engine.inspect.resque import Resque
from resqpy.engine.options import LeaderOptions
from resqpy.engine.worker.process_state import STOPPING, STUCK, WORDS
from resqpy.store import workers as store_workers
from resqpy.store.repair.undo import Touched, Undo

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
    since = f"since {texts.duration(now_ms - last_ms)} or longer" if last_ms else "at all"
    named = ", ".join(WorkerId.parse(each.worker_id).name for each in workers[:3])
    return (
        f"{counted(len(workers), 'worker')} sent no heartbeat {since}, {counted(busy, 'job')} with them: "
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
    named, heartbeats, once, *own = store_workers.own_keys(keys, worker_id)
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
            undo.add(("LREM", resque.store.keys.failed, -1, entry.raw))
        return 1

    return clean


def resting_problems(live: Sequence[SeenWorker]) -> Iterator[Problem]:
    """Findings about workers that take no jobs; only stuck ones are a problem."""
    for state, message in WORDS.items():
        names = [WorkerId.parse(each.worker_id).name for each in live if each.state == state]
        if names and state != STOPPING:
            told = f"{counted(len(names), 'worker')}: {named(names)}"
            yield Problem(f"{state} workers", told, message, grave=state == STUCK)
