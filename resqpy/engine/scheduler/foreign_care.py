"""Dead Ruby and Node workers: their jobs go to the failed list, by the rules of their own implementations.

- A Node worker is dead when its ping is older than `stuck_worker_timeout`, as for node-resque's scheduler;
  a worker without a readable ping is left alone.
- A Ruby worker is dead when its heartbeat is older than `ruby_prune_after`, as for a Ruby worker that
  starts, and than five of its heartbeat intervals (`RubyPulse`); one without a heartbeat is left alone.
  Only one process prunes at a time: we take Ruby's own lock for it.
- With `retry_stuck_jobs` the jobs go back to their queues. What Node recorded went through Lua's JSON (`[]`
  became `{}`, digits were lost), so such a job is reported for inspection.
- A ping without a worker stops Node's schedulers (trap 10): a stale one is removed. So is a heartbeat, more
  than an hour old, of a worker that is no longer registered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from resqpy.base import reading
from resqpy.base.errors import ResqpyError, WorkerDied
from resqpy.base.foreign_time import moment_of
from resqpy.base.model import FailedJob, LostJob
from resqpy.engine.inspect.inspector import Inspector
from resqpy.engine.options import LeaderOptions
from resqpy.engine.scheduler.election import Leadership, Scope
from resqpy.engine.scheduler.promotion import second_of
from resqpy.engine.worker.identity import incarnation_of
from resqpy.store import workers
from resqpy.store.connection.client import Store
from resqpy.store.leader import other_ruby_leader
from resqpy.store.repair import checkup

# When a Ruby worker counts as dead: its own heartbeat interval decides.
#
# Ruby prunes a worker whose heartbeat is older than `Resque.prune_interval`, five minutes by default; workers
# send one per `Resque.heartbeat_interval`, a fifth of that. Neither is stored in Redis, but both can be
# observed: a pruning lock lives for one heartbeat interval, and heartbeats can be watched.

PRUNE_AFTER_MS = 300_000  # Ruby's own
BEATS = 5  # missed heartbeats before a worker is dead: Ruby's own ratio
_UNKNOWN = 2  # factor for workers whose interval was never observed


@dataclass(slots=True)
class _Beat:
    """The last heartbeat of a worker.

    Attributes:
        since_ms: when we saw it first.
        beats: whether we have seen it change.
    """

    at_ms: int
    since_ms: int
    beats: bool = False


class RubyPulse:
    """Watches the heartbeats of Ruby's workers.

    Args:
        prune_after_ms: the configured prune interval; None: unknown.
    """

    def __init__(self, prune_after_ms: int | None = None) -> None:
        self._said_ms = prune_after_ms
        self._shown_ms = 0
        self._seen: dict[str, _Beat] = {}

    def note_interval(self, interval_ms: int) -> None:
        """The installation's heartbeat interval is at least this."""
        self._shown_ms = max(self._shown_ms, BEATS * interval_ms)

    def note(self, beats: dict[str, int], now_ms: int) -> None:
        """The last heartbeats of all workers, by id."""
        self._seen = {who: self._noted(who, at_ms, now_ms) for who, at_ms in beats.items()}

    def _noted(self, who: str, at_ms: int, now_ms: int) -> _Beat:
        seen = self._seen.get(who)
        if seen is None:
            return _Beat(at_ms, now_ms)
        if seen.at_ms == at_ms:
            return seen
        if at_ms > seen.at_ms:
            self.note_interval(at_ms - seen.at_ms)
        return _Beat(at_ms, now_ms, beats=True)

    def silence_ms(self, who: str, now_ms: int) -> int:
        """How long a dead worker has been silent; 0: it is alive, or that is unknown yet."""
        seen = self._seen.get(who)
        limit_ms = max(self._said_ms or PRUNE_AFTER_MS, self._shown_ms)
        if seen is None or now_ms - seen.at_ms <= limit_ms:
            return 0
        known = self._said_ms is not None or self._shown_ms or seen.beats
        if not known and now_ms - seen.since_ms < _UNKNOWN * limit_ms:
            return 0
        return now_ms - seen.at_ms


_GHOST_AFTER_MS = 3_600_000
_LOOK_EVERY_S = 60.0
_SCAN_EVERY_MS = 3_600_000  # stray pings have no index: finding them needs a scan over all keys

Tell = Callable[..., None]


class ForeignCareChore:
    """Cleans up after dead workers of other languages.

    Args:
        inspector: provides `force_clean_worker` and retries.
        tell: called as `tell("clean_stuck_worker", worker id, failed entry or None, seconds)` and as
            `tell("error", error)`.
    """

    name = "foreign_care"
    scope: Scope = "shared"
    prefixes: Sequence[str] = ()

    def __init__(self, inspector: Inspector, options: LeaderOptions, tell: Tell) -> None:
        self._inspector = inspector
        self._store = inspector.store
        self._options = options
        self._tell = tell
        self._next_scan_ms = 0
        self._told: set[str] = set()
        self._pulse = RubyPulse(options.ruby_prune_after_ms)

    async def run(self, leadership: Leadership) -> float | None:
        """Clean up after dead workers; returns the seconds until the next check."""
        now_ms = leadership.clock.now_ms()
        ids = [each for each in await workers.ids(self._store) if incarnation_of(each) is None]
        signs = await workers.signs_of_life(self._store, ids)
        self._pulse.note_interval(await workers.shown_interval_ms(self._store))
        beats = {each: moment_of(sign[0]) for each, sign in zip(ids, signs, strict=True)}
        self._pulse.note({each: at for each, at in beats.items() if at is not None}, now_ms)
        for worker_id, (_, ping) in zip(ids, signs, strict=True):
            if silent_ms := self._silence(worker_id, ping, now_ms):
                await self._clean(worker_id, silent_ms, ruby=ping is None)
        if now_ms >= self._next_scan_ms:
            self._next_scan_ms = now_ms + _SCAN_EVERY_MS
            if self._options.stuck_worker_timeout_ms:
                await self._drop_stray_pings(ids, now_ms)
            await workers.drop_ghost_beats(self._store, now_ms - _GHOST_AFTER_MS)
            await self._tell_other_leaders()
        return min(_LOOK_EVERY_S, max(1.0, self._options.stuck_worker_timeout_ms / 4000))

    def _silence(self, worker_id: str, ping: bytes | None, now_ms: int) -> int:
        """Milliseconds of silence of a dead worker; 0: it is alive, or that is unknown."""
        limit_ms = self._options.stuck_worker_timeout_ms
        if ping is not None and limit_ms:
            seen_ms = reading.ping_time_ms(ping)
            return now_ms - seen_ms if seen_ms and now_ms - seen_ms > limit_ms else 0
        return self._pulse.silence_ms(worker_id, now_ms) if ping is None else 0

    async def _clean(self, worker_id: str, silent_ms: int, *, ruby: bool) -> None:
        if ruby and not await workers.take_pruning_lock(self._store, worker_id):
            return
        entry = await self._inspector.force_clean_worker(worker_id)
        self._tell("clean_stuck_worker", worker_id, entry, silent_ms // 1000)
        if entry is None:
            return
        again = self._options.retry_stuck_jobs
        raw, error = entry.job_raw or b"", WorkerDied(entry.error or "")
        self._store.on_lost(LostJob(raw, entry.queue or "", worker_id, error, will_retry=again))
        if again:
            await self._retry(worker_id, entry, ruby=ruby)

    async def _retry(self, worker_id: str, entry: FailedJob, *, ruby: bool) -> None:
        if not ruby and workers.may_be_damaged(entry):
            words = f"the job of {worker_id!r} was retried, but Node's record of it may be damaged"
            self._tell("error", ResqpyError(f"{words}: {entry.payload!r}"))
        await self._inspector.retry_and_remove_failed(entry)

    async def _tell_other_leaders(self) -> None:
        lock = self._store.keys.ruby_leader(self._options.ruby_lock_prefix)
        for key, holder in (await workers.other_ruby_leaders(self._store, lock)).items():
            if key not in self._told:
                self._told.add(key)
                self._tell("error", ResqpyError(other_ruby_leader(key, holder)))

    async def _drop_stray_pings(self, ids: Sequence[str], now_ms: int) -> None:
        limit_ms = self._options.stuck_worker_timeout_ms
        stray = await workers.stray_pings(self._store, ids)
        old = [key for key, ping in stray if now_ms - reading.ping_time_ms(ping) > limit_ms]
        if old:
            await self._store.call("DEL", *old)
            words = b", ".join(old).decode("utf-8", "replace")
            self._tell("error", ResqpyError(f"removed pings without a worker: {words}"))


# Periodically the leader looks for delayed jobs that are missing from the index.

FIRST_S = 60.0  # a new leader has more urgent work
EVERY_S = 6 * 3600.0
STEP_S = 0.02  # between two steps: at most some thousand keys per second


class Orphans:
    """The chore that adds lost delayed lists to the index, where promotion finds them.

    Args:
        tell: emits the scheduler's `error`.
    """

    name = "orphans"
    scope: Scope = "shared"
    prefixes: Sequence[str] = ()

    def __init__(
        self,
        store: Store,
        tell: Callable[..., None],
        first_s: float = FIRST_S,
        every_s: float = EVERY_S,
    ) -> None:
        self._store = store
        self._tell = tell
        self._first_s = first_s
        self._every_s = every_s
        self._token = ""
        self._cursor = 0

    async def run(self, leadership: Leadership) -> float:
        """One step of the scan; returns the seconds until the next."""
        if leadership.token != self._token:
            self._token, self._cursor = leadership.token, 0
            return self._first_s
        mended = await checkup.mend(self._store, leadership, self._cursor)
        for member in mended.found:
            text = f"delayed:{second_of(member)} was not in delayed_queue_schedule; it was added"
            self._tell("error", ResqpyError(text))
        self._cursor = mended.cursor
        return STEP_S if self._cursor else self._every_s
