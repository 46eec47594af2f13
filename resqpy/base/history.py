"""What ran, in slots of time: the shape of a record, its counters in a process, and what they tell.

A record is a list of whole numbers, of a task or a queue; one that is written may be shorter, the rest being zero.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from threading import Lock

# Places in a record: runs that succeeded or failed, those that failed, that are retried, that were lost with
# their worker; how long they ran in all; how many were known to have waited, and how long in all; then buckets of
# how long each ran (of a queue's record: waited).
RUNS, FAILED, RETRIED, LOST, RUN_MS, WAITED, WAIT_MS, BUCKETS = range(8)
BOUNDS_MS = (
    5,
    10,
    25,
    50,
    100,
    250,
    500,
    1000,
    2500,
    5000,
    10_000,
    30_000,
    60_000,
    300_000,
    900_000,
    3_600_000,
    21_600_000,
)  # fmt: skip - the upper ends of all buckets but the last
SIZE = BUCKETS + len(BOUNDS_MS) + 1

_ZEROS = [0] * SIZE
_LONGEST = 500  # bytes of a record
_MOST = 10**15  # more is nothing that we have counted

TASKS, QUEUES = "tasks", "queues"
MOST_NAMES = 500  # of a slot; the others share one record
OTHERS = "(others)"

Record = list[int]


def new_record() -> Record:
    """A record of nothing."""
    return [0] * SIZE


def read_record(raw: bytes | None) -> Record:
    """A record as it was written: numbers with commas between; none of what others wrote."""
    if raw is None or len(raw) > _LONGEST or raw.translate(None, b"0123456789,"):
        return new_record()
    try:
        read = [*map(int, raw.split(b",", SIZE)[:SIZE])]
    except ValueError:  # there is no number between two commas
        return new_record()
    return new_record() if max(read) > _MOST else read + _ZEROS[len(read) :]


def add(to: Record, other: Sequence[int]) -> None:
    """Add a record to another."""
    for place, number in enumerate(other):
        to[place] += number


def total_of(records: Iterable[Sequence[int]]) -> Record:
    """The sum of records."""
    return [*map(sum, zip(*records, strict=True))] or new_record()


def percentile_ms(record: Sequence[int], share: float) -> float | None:
    """How long this share of the runs took at most (of a queue's record: waited), evenly within a bucket.

    Returns:
        None: there were none; infinite: longer than the last bound.
    """
    counts = record[BUCKETS:]
    left = share * sum(counts)
    if not left:
        return None
    lower = 0
    for bound, count in zip(BOUNDS_MS, counts, strict=False):
        if left <= count:
            return lower + (bound - lower) * left / count
        lower, left = bound, left - count
    return inf


@dataclass(frozen=True, slots=True)
class Grain:
    """Slots of one length.

    Attributes:
        kept_s: how long one is kept after the last write.
    """

    name: str
    step_s: int
    kept_s: int

    def slots(self, now_s: int, number: int) -> list[int]:
        """When the latest of them began (seconds), the oldest first."""
        last = now_s - now_s % self.step_s
        return [last - n * self.step_s for n in reversed(range(number))]


MINUTES = Grain("1m", 60, 8 * 3600)
TENS = Grain("10m", 600, 72 * 3600)
HOURS = Grain("1h", 3600, 30 * 86_400)
GRAINS = (MINUTES, TENS, HOURS)

RunSeen = tuple[
    str, str, int, int | None
]  # task, queue, milliseconds, those it has waited, if known
_MOST_UNSORTED = 5000


class Tally:
    """The counters of a process, by task and by queue, since its start. From any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._unsorted: Counter[RunSeen] = (
            Counter()
        )  # successes: a job costs no more than counting alike
        self._records: dict[tuple[str, str], Record] = {}
        self._names: Counter[str] = Counter()  # of each kind
        self._written: dict[tuple[str, str], Record] = {}

    def succeeded(self, runs: Iterable[RunSeen]) -> None:
        """Count runs that succeeded."""
        with self._lock:
            self._unsorted.update(runs)
            if len(self._unsorted) > _MOST_UNSORTED:
                self._sort()

    def failed(self, run: RunSeen) -> None:
        """Count a run that failed."""
        with self._lock:
            for record in self._ran(run, 1):
                record[FAILED] += 1

    def note(self, place: int, task: str, queue: str) -> None:
        """Count something else of a job: that it is retried, or was lost."""
        with self._lock:
            for kind, name in ((TASKS, task), (QUEUES, queue)):
                self._record(kind, name)[place] += 1

    def records(self, kind: str) -> dict[str, Record]:
        """Those of tasks or queues."""
        with self._lock:
            self._sort()
            return {name: [*each] for (of, name), each in self._records.items() if of == kind}

    def unwritten(self) -> dict[tuple[str, str], Record]:
        """What was counted since `written` was called last."""
        with self._lock:
            self._sort()
            found = {}
            for key, record in self._records.items():
                before = self._written.get(key)
                more = [n - b for n, b in zip(record, before or new_record(), strict=True)]
                if any(more):
                    found[key] = more
            return found

    def written(self, what: Mapping[tuple[str, str], Record]) -> None:
        """What `unwritten` has returned is written."""
        with self._lock:
            for key, record in what.items():
                add(self._written.setdefault(key, new_record()), record)

    def _record(self, kind: str, name: str) -> Record:
        """Anybody may enqueue jobs of any name: only so many have a record of their own."""
        found = self._records.get((kind, name))
        if found is None and self._names[kind] >= MOST_NAMES:
            name = OTHERS
            found = self._records.get((kind, name))
        if found is None:
            self._names[kind] += 1
            found = self._records[kind, name] = new_record()
        return found

    def _sort(self) -> None:
        for run, number in self._unsorted.items():
            self._ran(run, number)
        self._unsorted.clear()

    def _ran(self, run: RunSeen, number: int) -> tuple[Record, Record]:
        task, queue, ms, waited_ms = run
        records = self._record(TASKS, task), self._record(QUEUES, queue)
        for record in records:
            record[RUNS] += number
            record[RUN_MS] += ms * number
            if waited_ms is not None:
                record[WAITED] += number
                record[WAIT_MS] += waited_ms * number
        # Milliseconds are rounded down: adding half is right on average.
        records[0][BUCKETS + bisect_left(BOUNDS_MS, ms + 0.5)] += number
        if waited_ms is not None:
            records[1][BUCKETS + bisect_left(BOUNDS_MS, waited_ms)] += number
        return records
