"""The limits in the model of the exchange (`exchange_model.py`): who holds places, what is parked, whose turn.

What docs/why/limits.md says in words. Times are steps of the walk.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

LIMIT_RULES = frozenset(
    {
        "free",  # what ends a run, or takes its record away, frees its places in the same step
        "turn",  # and gives what is parked for them its turn
        "by run",  # a holder counts while its record is that of the run that took the place
        "due",  # what waits only for a time has its turn then
        "hand on",  # the leader gives a turn to what is parked though there is room
    }
)
MOST: Mapping[str, int] = {"a": 2, "b": 1}
RATE, EACH, BURST = "r", 7, 2  # one job each so many steps, so many at once after a rest
LOOK_EVERY = 5  # steps; at the limit the holders are looked at not more often

Id = tuple[int, int]


def keys_of(job: int) -> tuple[str, ...]:
    """Under what a job is counted, in order."""
    keys = [("a", job % 2 == 0), ("b", job % 3 == 0), (RATE, job % 5 == 0)]
    return tuple(key for key, counts in keys if counts)


@dataclass
class Limits:
    """The keys, and what scripts do with them.

    Attributes:
        most: of each key; nothing: there are no limits.
        slots: who holds a place.
        holds: of each holder its run, and the keys of it.
        ready: when what is parked for a key has its turn.
        used: up to which time the rate is used.
        runs: all that took a job. One that did twice, by a request that was repeated after Ruby's pruning, may
            hold a place that its second job does not need, until that ends.
        wrong: what must not be: a count of places that is not that of the records, too many starts.
    """

    rules: frozenset[str] = LIMIT_RULES
    most: dict[str, int] = field(default_factory=dict)
    slots: dict[str, set[Id]] = field(default_factory=dict)
    holds: dict[Id, tuple[int, tuple[str, ...]]] = field(default_factory=dict)
    parked: dict[str, deque[int]] = field(default_factory=dict)
    ready: dict[str, int] = field(default_factory=dict)
    shut: dict[str, int] = field(default_factory=dict)
    looked: dict[str, int] = field(default_factory=dict)
    used: int = 0
    starts: list[int] = field(default_factory=list)
    runs: list[int] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    now: int = 0

    def copy(self) -> Limits:
        """As a replica has it."""
        made = Limits(**vars(self))
        for name in ("most", "holds", "ready", "shut", "looked", "starts", "runs", "wrong"):
            setattr(made, name, getattr(self, name).copy())
        made.slots = {key: some.copy() for key, some in self.slots.items()}
        made.parked = {key: some.copy() for key, some in self.parked.items()}
        return made

    @property
    def waiting(self) -> list[int]:
        """All that is parked."""
        return [job for some in self.parked.values() for job in some]

    def limited(self, job: int) -> tuple[str, ...]:
        """The keys of a job, if there are limits."""
        return keys_of(job) if self.most else ()

    def _room(self, key: str, records: Mapping[Id, tuple[int, int]]) -> int:
        if self.shut.get(key, 0) > self.now:
            return 0
        if key == RATE:
            return (self.now + BURST * EACH - max(self.used, self.now)) // EACH
        count = len(self.slots.get(key, ()))
        if count >= self.most[key] > 0 and self.now - self.looked.get(key, -99) >= LOOK_EVERY:
            self.looked[key] = self.now
            count = self._counted(key, records)
        return self.most[key] - count

    def _due(self, key: str) -> int | None:
        """When there is room, if only time is missing."""
        if self.shut.get(key, 0) > self.now:
            return self.shut[key]
        return self.used - (BURST - 1) * EACH if key == RATE else None

    def _runs(self, each: Id, records: Mapping[Id, tuple[int, int]]) -> bool:
        held, record = self.holds.get(each), records.get(each)
        same = "by run" not in self.rules or (held and record and held[0] == record[0])
        return bool(held and record and same)

    def _counted(self, key: str, records: Mapping[Id, tuple[int, int]]) -> int:
        """Who really holds a place; the others lose theirs, and all those of a run that is over."""
        for each in list(self.slots.get(key, ())):
            runs = self._runs(each, records)
            if not runs or key not in self.holds[each][1]:
                self.slots[key].discard(each)
            if not runs:
                self.free(each)
        count = len(self.slots.get(key, ()))
        real = sum(key in keys_of(job) for _, job in records.values())
        if count < real or (count > real and len(self.runs) == len({*self.runs})):
            self.wrong.append(f"{key}: {count} places, {real} jobs")
        return count

    def refuses(
        self, job: int, records: Mapping[Id, tuple[int, int]], *, parked: bool = False
    ) -> str | None:
        """Which key lets a job not run now; it was parked, or comes from its queue."""
        for key in self.limited(job):
            if self._room(key, records) <= 0:
                return key
            if not parked and self.parked.get(key):  # nobody overtakes those
                self.ready.setdefault(key, self.now)
                return key
        return None

    def park(self, key: str, job: int, records: Mapping[Id, tuple[int, int]]) -> None:
        """A job waits for a key."""
        self.parked.setdefault(key, deque()).append(job)
        due = self._due(key) if self._room(key, records) <= 0 else None
        if due is not None and "due" in self.rules:
            self.ready[key] = due

    def next_parked(self, records: Mapping[Id, tuple[int, int]]) -> int | None:
        """A job that was parked and may run now."""
        for key in [key for key, due in self.ready.items() if due <= self.now]:
            while self.parked.get(key) and self._room(key, records) > 0:
                job = self.parked[key].popleft()
                other = self.refuses(job, records, parked=True)
                if other is None:
                    self._end_turn(key, records)
                    return job
                self.park(other, job, records)
            self._end_turn(key, records)
        return None

    def _end_turn(self, key: str, records: Mapping[Id, tuple[int, int]]) -> None:
        if not self.parked.get(key):
            self.ready.pop(key, None)
        elif self._room(key, records) <= 0:
            due = self._due(key) if "due" in self.rules else None
            self.ready.pop(key, None)
            if due is not None:
                self.ready[key] = due

    def hold(self, each: Id, run: int, job: int) -> None:
        """A worker has got a job."""
        keys = self.limited(job)
        self.runs.append(run)
        if keys:  # and loses the places of a run whose record somebody else deleted
            self.free(each, turn=False)
        if RATE in keys:
            self.used = max(self.used, self.now) + EACH
            self.starts.append(self.now)
        if places := tuple(key for key in keys if key != RATE):
            self.holds[each] = (run, places)
            for key in places:
                self.slots.setdefault(key, set()).add(each)

    def free(self, each: Id, *, turn: bool = True) -> None:
        """A run has ended, or its record is gone."""
        _, keys = self.holds.pop(each, (0, ()))
        for key in keys:
            self.slots[key].discard(each)
            if turn and "turn" in self.rules and self.parked.get(key):
                self.ready.setdefault(key, self.now)

    def ended(self, each: Id) -> None:
        """The record of a run is gone, in a step that knows of places."""
        if "free" in self.rules:
            self.free(each)

    def hand_on(self, records: Mapping[Id, tuple[int, int]]) -> None:
        """What the leader does from time to time."""
        if "hand on" not in self.rules:
            return
        for each in list(self.holds):
            if not self._runs(each, records):
                self.free(each)
        for key, some in self.parked.items():
            running = sum(key in keys for _, keys in self.holds.values())
            if some and (key == RATE or self.most[key] > running):
                self.ready.setdefault(key, 0)

    def set(self, key: str, most: int) -> None:
        """By hand: what is parked for it may run now."""
        if key in self.most:
            self.most[key] = most
            if self.parked.get(key):
                self.ready[key] = 0

    def put_back(self) -> list[int]:
        """By hand: all that is parked, in its order."""
        found = self.waiting
        self.parked.clear()
        self.ready.clear()
        return found

    def problems(self) -> list[str]:
        """Of the rate: in no time more than may."""
        found, starts = [*self.wrong], self.starts
        for first, at in enumerate(starts):
            for count, last in enumerate(starts[first:], 1):
                if count > BURST + (last - at) // EACH:
                    found.append(f"{count} began within {last - at}")
        return found
