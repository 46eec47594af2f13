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

from resqpy.base import reading
from resqpy.base.errors import ResqpyError
from resqpy.base.foreign_time import moment_of
from resqpy.base.model import FailedJob
from resqpy.engine.inspect.inspector import Inspector
from resqpy.engine.options import LeaderOptions
from resqpy.engine.scheduler.election import Leadership, Scope
from resqpy.engine.scheduler.ruby_pulse import RubyPulse
from resqpy.engine.worker.identity import incarnation_of
from resqpy.store import foreign, workers
from resqpy.store.leader import other_ruby_leader

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
        self._pulse.note_interval(await foreign.shown_interval_ms(self._store))
        beats = {each: moment_of(sign[0]) for each, sign in zip(ids, signs, strict=True)}
        self._pulse.note({each: at for each, at in beats.items() if at is not None}, now_ms)
        for worker_id, (_, ping) in zip(ids, signs, strict=True):
            if silent_ms := self._silence(worker_id, ping, now_ms):
                await self._clean(worker_id, silent_ms, ruby=ping is None)
        if now_ms >= self._next_scan_ms:
            self._next_scan_ms = now_ms + _SCAN_EVERY_MS
            if self._options.stuck_worker_timeout_ms:
                await self._drop_stray_pings(ids, now_ms)
            await foreign.drop_ghost_beats(self._store, now_ms - _GHOST_AFTER_MS)
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
        if ruby and not await foreign.take_pruning_lock(self._store, worker_id):
            return
        entry = await self._inspector.force_clean_worker(worker_id)
        self._tell("clean_stuck_worker", worker_id, entry, silent_ms // 1000)
        if entry is not None and self._options.retry_stuck_jobs:
            await self._retry(worker_id, entry, ruby=ruby)

    async def _retry(self, worker_id: str, entry: FailedJob, *, ruby: bool) -> None:
        if not ruby and foreign.may_be_damaged(entry):
            words = f"the job of {worker_id!r} was retried, but Node's record of it may be damaged"
            self._tell("error", ResqpyError(f"{words}: {entry.payload!r}"))
        await self._inspector.retry_and_remove_failed(entry)

    async def _tell_other_leaders(self) -> None:
        lock = self._store.keys.ruby_leader(self._options.ruby_lock_prefix)
        for key, holder in (await foreign.other_ruby_leaders(self._store, lock)).items():
            if key not in self._told:
                self._told.add(key)
                self._tell("error", ResqpyError(other_ruby_leader(key, holder)))

    async def _drop_stray_pings(self, ids: Sequence[str], now_ms: int) -> None:
        limit_ms = self._options.stuck_worker_timeout_ms
        stray = await foreign.stray_pings(self._store, ids)
        old = [key for key, ping in stray if now_ms - reading.ping_time_ms(ping) > limit_ms]
        if old:
            await self._store.call("DEL", *old)
            words = b", ".join(old).decode("utf-8", "replace")
            self._tell("error", ResqpyError(f"removed pings without a worker: {words}"))
