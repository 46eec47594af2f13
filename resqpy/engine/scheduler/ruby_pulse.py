"""When a Ruby worker counts as dead: its own heartbeat interval decides.

Ruby prunes a worker whose heartbeat is older than `Resque.prune_interval`, five minutes by default; workers
send one per `Resque.heartbeat_interval`, a fifth of that. Neither is stored in Redis, but both can be
observed: a pruning lock lives for one heartbeat interval, and heartbeats can be watched.
"""

from __future__ import annotations

from dataclasses import dataclass

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
