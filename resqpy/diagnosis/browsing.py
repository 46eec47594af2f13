"""Pages of long lists, for the console: few round trips each, however long the list is.

What is shown is found again by the digest of its bytes: its position is only a hint, because lists move while
somebody looks at them.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass

from resqpy.base import codec, reading
from resqpy.base.keys import split_priority
from resqpy.base.model import FailedJob, Job, NoList, QueuePause, RunningLimit, UnreadableJob
from resqpy.diagnosis.queues import QueueAges, drain_words
from resqpy.diagnosis.workers import SeenWorker
from resqpy.engine.inspect.failed_jobs import FailedGroup, Wanted, grouped
from resqpy.engine.inspect.inspector import Resque
from resqpy.engine.worker.queues import is_plain, worked
from resqpy.store import delayed, overview, queues
from resqpy.store.connection.client import Store
from resqpy.store.overview import Numbers
from resqpy.store.sweep import Item, Sweep

PAGE = 50  # rows
_ALL = Wanted()
_LARGE = 2**20  # bytes of a job or entry that is not decoded for a row
_ENDS = 4000  # bytes of such a one that are looked at
_NEAR = 1000  # positions around a hint
_WINDOW = 1000  # entries read at once by a filter
_LOOK = 5000  # entries that a filter looks at for one page
WITHIN = 100_000  # entries of a list that are grouped, or among which one is looked for


# -- queues --


@dataclass(frozen=True)
class SeenQueue:
    """A queue.

    Attributes:
        waiting: how many jobs; a `NoList` if its key is not a list.
        listeners: live workers that take its jobs.
        oldest, empty_in: as a leader of resqpy sees them; `?`: none has looked.
    """

    name: str
    waiting: int
    listeners: int = 0
    pause: QueuePause | None = None
    limit: RunningLimit | None = None
    oldest: str = "-"
    empty_in: str = "-"


@dataclass(frozen=True)
class QueuesPage:
    """Some queues, those with most jobs first.

    Attributes:
        total: how many match.
        waiting: jobs in all that match.
    """

    rows: Sequence[SeenQueue]
    total: int
    waiting: int


@dataclass(frozen=True)
class AllQueues:
    """What is known of all queues.

    Attributes:
        numbers: of the installation.
        names: those of the queues, those with most jobs first.
        ages: as a leader of resqpy sees them.
    """

    numbers: Numbers
    names: Sequence[str]
    ages: QueueAges

    @classmethod
    def of(cls, numbers: Numbers) -> AllQueues:
        """In order."""
        lengths = numbers.queues
        names = sorted(lengths, key=lambda name: (-lengths[name], name))
        ages = QueueAges(numbers.now_ms, numbers.ages is not None, numbers.ages or {})
        return cls(numbers, names, ages)


@dataclass(frozen=True)
class AllWorkers:
    """What is known of all workers.

    Attributes:
        found: those at work first, the silent ones last.
        live, working: how many may be alive, and how many of them run a job.
        specs: how many live ones have each list of queues.
    """

    found: Sequence[SeenWorker]
    live: int
    working: int
    specs: Mapping[str, int]

    @classmethod
    def of(cls, workers: Sequence[SeenWorker], now_ms: int) -> AllWorkers:
        """In order."""
        lives = {each.worker_id: each.lives(now_ms) for each in workers}
        found = sorted(
            workers, key=lambda each: (not lives[each.worker_id], each.work is None, each.worker_id)
        )
        live = [each for each in found if lives[each.worker_id]]
        working = sum(each.work is not None for each in live)
        return cls(found, len(live), working, Counter(each.queues for each in live))


async def queues_page(
    resque: Resque,
    known: AllQueues,
    workers: AllWorkers,
    *,
    text: str = "",
    start: int = 0,
    size: int = PAGE,
) -> QueuesPage:
    """Queues whose name contains a text. Two round trips."""
    lengths, seen, found = known.numbers.queues, known.ages, known.names
    if text:
        found = [name for name in found if text.lower() in name.lower()]
    names = found[start : start + size]
    pauses, limits = await asyncio.gather(
        overview.queue_pauses(resque.store, names), resque.running_limits()
    )
    heard = listeners(workers.specs, names)
    rows = [
        SeenQueue(
            name,
            lengths[name],
            heard[name],
            pauses.get(name),
            limits.get(name),
            seen.words(name, lengths[name]),
            _drain(seen, name),
        )
        for name in names
    ]
    waiting = (
        sum(lengths.values()) if found is known.names else sum(map(lengths.__getitem__, found))
    )
    return QueuesPage(rows, len(found), waiting)


def _drain(seen: QueueAges, name: str) -> str:
    age = seen.by_queue.get(name)
    return "-" if age is None else drain_words(age, seen.now_ms)


def listeners(specs: Mapping[str, int], names: Sequence[str]) -> Mapping[str, int]:
    """How many workers take jobs of each queue; a list of others is not looked at.

    Args:
        specs: how many workers have each list of queues.
    """
    heard: Counter[str] = Counter()
    alike: Counter[str] = Counter()
    meant = {*names, *(split_priority(each)[0] for each in names)}
    for wanted, number in specs.items():
        if "=" in wanted or "!" in wanted or not is_plain(wanted):
            alike[wanted] += number
        # a thousand workers may differ only in queues that are not shown
        elif kept := [each for each in wanted.split(",") if each in meant]:
            alike[",".join(kept)] += number
    for wanted, number in alike.items():
        heard.update(dict.fromkeys(worked(wanted, names), number))
    return heard


@dataclass(frozen=True)
class JobsPage:
    """Jobs of one list.

    Attributes:
        rows: each with its position.
        total: how many there are; a `NoList` if the key is not a list.
        parked: how many wait for a limit, beside the list.
    """

    rows: Sequence[tuple[int, Job]]
    total: int
    parked: int = 0


async def queue_page(resque: Resque, queue: str, start: int, size: int = PAGE) -> JobsPage:
    """Jobs of a queue, the next first. One round trip; another one if jobs are parked."""
    store, key = resque.store, resque.store.keys.queue(queue)
    length, raws, parked = await store.look(
        [
            ("LLEN", key),
            ("LRANGE", key, start, start + size - 1),
            queues.parked_command(store),
        ]
    )
    [told] = await queues.lengths_told(store, [queue], [length], parked)
    rows = [(start + n, brief_job(raw, queue)) for n, raw in enumerate(raws)]
    if isinstance(told, NoList):
        return JobsPage(rows, told)
    return JobsPage(rows, length, told - length)


# What is very large is not decoded for a row: of fifty million bytes that takes a second, in which nobody else is
# answered.


def brief_job(raw: bytes, queue: str | None = None) -> Job:
    """A job for a row; None: of its own queue."""
    where = codec.delayed_queue(raw[:_LARGE]) or "" if queue is None else queue
    if len(raw) <= _LARGE:
        return reading.show_job(raw, where)
    return UnreadableJob(_text_in(raw, b"class") or "", [], where, raw, problem=_too_large(raw))


def _entry(wanted: Wanted, raw: bytes, source: str, *, grouped: bool = False) -> FailedJob | None:
    """A failed entry, if it is wanted; a very large one by what stands at its beginning and end.

    Args:
        grouped: without its job, and its bytes if they are many: an example of a group is kept for a while.
    """
    if not wanted.everything or len(raw) <= _LARGE:
        return wanted.entry(raw, source, with_job=not grouped)
    when, name, exception, worker, queue = (
        _text_in(raw, each) for each in (b"failed_at", b"class", b"exception", b"worker", b"queue")
    )
    payload = {"class": name, "args": ["…"]}
    kept, error = b"" if grouped else raw, _too_large(raw)
    return FailedJob(kept, when, payload, exception, error, [], worker, queue, source=source)


def _text_in(raw: bytes, name: bytes) -> str | None:
    for part in (raw[:_ENDS], raw[-_ENDS:]):
        if found := re.search(rb'"%s"\s*:\s*("(?:[^"\\]|\\.){1,600}")' % name, part):
            told = codec.decode_lenient(found[1])
            return told if isinstance(told, str) else None
    return None


def _too_large(raw: bytes) -> str:
    return f"it has {len(raw) / 2**20:,.1f} MiB, too much for a list"


@dataclass(frozen=True)
class FoundJobs:
    """Jobs of a queue that were looked for.

    Attributes:
        rows: each with its position.
        looked_at: how many jobs.
        end: where the next look begins; None: the queue ends there.
    """

    rows: Sequence[tuple[int, Job]]
    looked_at: int
    end: int | None


async def find_jobs(
    resque: Resque, queue: str, match: Callable[[bytes], Job | None], start: int
) -> FoundJobs:
    """Jobs of a queue from a position on, the next to run first: a page of them, among five thousand.

    Args:
        match: reads one, if it is looked for.
    """
    key = resque.store.keys.queue(queue)
    rows: list[tuple[int, Job]] = []
    at, over = start, False
    while not over and len(rows) < PAGE and at < start + _LOOK:
        first = at
        [raws] = await resque.store.look([("LRANGE", key, first, first + _WINDOW - 1)])
        for at, raw in enumerate(raws, first + 1):
            if (job := match(raw)) is not None:
                rows.append((at - 1, job))
            if len(rows) == PAGE:
                break
        over = at < first + _WINDOW and at == first + len(raws)
    return FoundJobs(rows, at - start, None if over else at)


async def is_queue(store: Store, name: str) -> bool:
    """Whether there is a queue with this name."""
    return bool(await store.call("SISMEMBER", store.keys.queues, name))


async def find_near(store: Store, key: str, digest: str, at: int) -> Item | None:
    """An item of a list by the digest of its bytes: where it was seen, or near that. Two round trips at most."""
    [there] = await store.look([("LINDEX", key, at)])
    if there is not None and codec.digest(there) == digest:
        return Item(at, there)
    first = max(0, at - _NEAR)
    [raws] = await store.look([("LRANGE", key, first, at + _NEAR)])
    found = [Item(first + n, raw) for n, raw in enumerate(raws) if codec.digest(raw) == digest]
    return min(found, key=lambda item: abs(item.index - at), default=None)


async def find_item(
    store: Store, key: str, digest: str, at: int | None, *, newest: bool = False
) -> Item | None:
    """An item of a list by the digest of its bytes: near where it was seen, else among the first `WITHIN`.

    Args:
        at: where it was seen; None: unknown.
        newest: among the last instead.
    """
    item = None if at is None else await find_near(store, key, digest, at)
    if item is not None:
        return item
    [length] = await store.look([("LLEN", key)])
    start = max(0, length - WITHIN) if newest else 0
    sweep = Sweep(store, key, start=start, most=WITHIN, step=_WINDOW)
    while page := await sweep.page():
        for each in page:
            if codec.digest(each.raw) == digest:
                return each
    return None


# -- failed jobs --


@dataclass(frozen=True)
class FailedPage:
    """Failed jobs of one list, the newest first.

    Attributes:
        rows: each with its position.
        lists: the failed lists and their lengths.
        looked_at: how many entries were read for them.
        older: the cursor of the next page; None: that was all.
        moved: the list is not the one of the cursor any more, so entries may be missing or shown twice.
    """

    rows: Sequence[tuple[int, FailedJob]]
    lists: Mapping[str, int]
    looked_at: int
    older: str | None
    moved: bool = False


async def failed_page(
    resque: Resque, source: str, wanted: Wanted, cursor: str | None = None, size: int = PAGE
) -> FailedPage:
    """A page of failed jobs. Two round trips without a filter; with one, it looks at five thousand entries.

    Args:
        cursor: of the page before: the position of its last entry, and the digest of that.
    """
    store, key = resque.store, resque.store.keys.failed_list(source)
    lists = await resque.failed_lists()
    end, moved = lists.get(source, 0), False
    if cursor is not None:
        end, moved = await _end_of(store, key, cursor, end)
    rows: list[tuple[int, FailedJob]] = []
    begin, looked_at, last = end, 0, b""
    while begin > 0 and len(rows) < size and looked_at < _LOOK:
        step = size if wanted.everything else _WINDOW
        begin, stop = max(0, begin - step), begin - 1
        [raws] = await store.look([("LRANGE", key, begin, stop)])
        for index, raw in reversed([*enumerate(raws, begin)]):
            looked_at += 1
            begin, last = index, raw
            if (entry := _entry(wanted, raw, source)) is not None:
                rows.append((index, entry))
            if len(rows) == size:
                break
    older = f"{begin}.{codec.digest(last)}" if begin > 0 and last else None
    return FailedPage(rows, lists, looked_at, older, moved)


async def _end_of(store: Store, key: str, cursor: str, length: int) -> tuple[int, bool]:
    """Before which position a page ends, and whether the entry of its cursor is gone."""
    place, _, digest = cursor.partition(".")
    at = min(int(place), length) if re.fullmatch("[0-9]{1,11}", place) else length
    found = await find_near(store, key, digest, at)
    return (at, True) if found is None else (found.index, False)


async def find_failed(
    resque: Resque, source: str, digest: str, at: int | None
) -> tuple[int, FailedJob] | None:
    """A failed job by the digest of its bytes: near where it was seen, else among the newest `WITHIN`."""
    key = resque.store.keys.failed_list(source)
    item = await find_item(resque.store, key, digest, at, newest=True)
    return None if item is None else (item.index, Wanted.read(item.raw, source))


@dataclass(frozen=True)
class FailedGroups:
    """The newest failed jobs, grouped.

    Attributes:
        total: entries in all lists; more than `looked_at`: the oldest were not looked at.
    """

    groups: Sequence[FailedGroup]
    total: int
    looked_at: int


async def failed_groups(resque: Resque, wanted: Wanted = _ALL) -> FailedGroups:
    """The newest `WITHIN` failed jobs of all lists, or some of them, grouped by task and exception."""
    lists = await resque.failed_lists()
    looked_at = 0

    async def newest() -> AsyncIterator[FailedJob]:
        nonlocal looked_at
        for name, length in lists.items():
            first = max(0, length - max(0, WITHIN - looked_at))
            sweep = Sweep(
                resque.store, resque.store.keys.failed_list(name), start=first,
                most=length - first, step=_WINDOW,
            )  # fmt: skip
            while page := await sweep.page():
                looked_at += len(page)
                entries = (_entry(wanted, item.raw, name, grouped=True) for item in page)
                for entry in filter(None, entries):
                    yield entry

    groups = await grouped(newest())
    return FailedGroups(groups, sum(lists.values()), looked_at)


# -- delayed jobs --

_HEAD = 20  # jobs of each second
_JOBS = 100  # of a page: so many are enough


@dataclass(frozen=True)
class DueTime:
    """What is due at one second.

    Attributes:
        jobs: the first of them.
        total: how many there are.
    """

    second: int
    jobs: Sequence[Job]
    total: int


@dataclass(frozen=True)
class DelayedPage:
    """Delayed jobs, the next first.

    Attributes:
        seconds: at how many times something is due, in all.
        later: the second with which the next page begins; None: that was all.
    """

    times: Sequence[DueTime]
    seconds: int
    later: int | None


async def delayed_page(resque: Resque, since: int = 0, size: int = PAGE) -> DelayedPage:
    """What is due from a second on. Two round trips."""
    store, keys = resque.store, resque.store.keys
    total, found = await store.look(
        [
            ("ZCARD", keys.schedule),
            ("ZRANGE", keys.schedule, since, "+inf", "BYSCORE", "LIMIT", 0, size + 1),
        ]
    )
    names = [each.decode("utf-8", "replace") for each in found]
    seconds = [int(each) for each in names if delayed.is_second(each)]
    later = seconds[size] if len(seconds) > size else None
    if later is None and len(found) > size and seconds:  # some are no numbers
        later = seconds[-1] + 1
    replies = await store.look(
        [
            command
            for each in seconds[:size]
            for key in [keys.delayed(each)]
            for command in [("LLEN", key), ("LRANGE", key, 0, _HEAD - 1)]
        ]
    )
    times: list[DueTime] = []
    shown = 0
    for second, length, raws in zip(seconds, replies[::2], replies[1::2], strict=False):
        if shown >= _JOBS:
            later = second
            break
        shown += len(raws)
        if length:
            times.append(DueTime(second, [*map(brief_job, raws)], length))
    return DelayedPage(times, total, later)


async def coming(store: Store, first_s: int, step_s: int, steps: int) -> list[int]:
    """At how many seconds something is due, in each of the next steps of time. One round trip."""
    begins = range(first_s, first_s + steps * step_s, step_s)
    key = store.keys.schedule
    found: list[int] = await store.look([("ZCOUNT", key, n, f"({n + step_s}") for n in begins])
    return found


async def due_page(resque: Resque, second: int, start: int) -> JobsPage:
    """Jobs that are due at one second. One round trip."""
    key = resque.store.keys.delayed(second)
    length, raws = await resque.store.look(
        [("LLEN", key), ("LRANGE", key, start, start + PAGE - 1)]
    )
    return JobsPage([(start + n, brief_job(raw)) for n, raw in enumerate(raws)], length)
