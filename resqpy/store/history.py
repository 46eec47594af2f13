"""The history: what ran, in slots of time; how long queues were; and marks that people set, such as deploys.

Processes add what they have counted with their heartbeats. Once a minute the leader, or a console where nobody
leads, takes a sample of what no process counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from resqpy.base.history import (
    GRAINS,
    HOURS,
    MINUTES,
    MOST_NAMES,
    OTHERS,
    Grain,
    Record,
    read_record,
)
from resqpy.store import overview, workers
from resqpy.store.connection.client import Arg, Store
from resqpy.store.connection.translation import Command
from resqpy.store.queues import decode_name

MOST_WRITTEN = 40  # records of a call: about two milliseconds of the server
_SLOTS = 20  # that are read at once
_SAMPLED = 200  # queues of a sample, the longest
_MARKS = 500
_MARKS_KEPT_S = HOURS.kept_s
SAMPLE = "sample"

# A sample has under the name of a queue how many jobs wait, and how long the first has (ms); under no name:
PROCESSED, FAILED, WAITING, IN_FAILED, WORKERS, BUSY = range(6)


def _key(store: Store, kind: str, grain: Grain, slot: int) -> str:
    return store.keys.history(kind, grain.name, str(slot))


async def write(store: Store, records: Mapping[tuple[str, str], Record]) -> None:
    """Add records (of tasks or queues, by name), `MOST_WRITTEN` at most. One round trip."""
    args: list[Arg] = [MOST_NAMES, OTHERS, len(GRAINS)]
    for grain in GRAINS:
        args += (grain.name, grain.step_s, grain.kept_s)
    for (kind, name), record in records.items():
        args += (kind, name, _text(record))
    await store.run("add_history", [store.keys.history("")], args)


def _text(numbers: Sequence[int]) -> str:
    """The numbers, without zeros at the end."""
    last = max((place for place, number in enumerate(numbers) if number), default=0)
    return ",".join(map(str, numbers[: last + 1]))


async def read(
    store: Store, kind: str, grain: Grain, slots: Sequence[int], name: str | None = None
) -> list[dict[str, Record]]:
    """The records of slots, by name. A round trip for each twenty, or one for all if only one name is read.

    Args:
        name: only this one.
    """
    found: list[dict[str, Record]] = []
    step = _SLOTS if name is None else max(len(slots), 1)
    for first in range(0, len(slots), step):
        keys = [_key(store, kind, grain, each) for each in slots[first : first + step]]
        if name is None:
            flats = await store.look([("HGETALL", key) for key in keys])
            found += [_by_name(flat) for flat in flats]
        else:
            raws = await store.look([("HGET", key, name) for key in keys])
            found += [{} if raw is None else {name: read_record(raw)} for raw in raws]
    return found


def _by_name(flat: Sequence[bytes]) -> dict[str, Record]:
    pairs = zip(flat[::2], flat[1::2], strict=True)
    return {decode_name(name): read_record(raw) for name, raw in pairs}


# -- samples --


async def claim_sample(store: Store, now_s: int) -> bool:
    """Take it on to sample this minute; False: somebody has."""
    key = _key(store, SAMPLE, MINUTES, MINUTES.slots(now_s, 1)[0])
    taken, _ = await store.write([("HSETNX", key, "", "0"), ("EXPIRE", key, MINUTES.kept_s)])
    return bool(taken == 1)


async def sample(store: Store, now_s: int) -> None:
    """Note how long queues are, and what only Resque's own counters know. Five round trips.

    Of longer slots, the counters are those of the first sample, the rest the largest of all.
    """
    numbers, ids = await overview.count(store, {}), await workers.ids(store)
    keys = [_key(store, SAMPLE, grain, grain.slots(now_s, 1)[0]) for grain in GRAINS]
    busy, *known = await store.look(
        [
            ("EXISTS", *map(store.keys.worker, ids or [""])),
            *(("HGETALL", key) for key in keys),
        ]
    )
    taken = _sampled(numbers, busy)
    commands: list[Command] = []
    for grain, key, flat in zip(GRAINS, keys, known, strict=True):
        before = _by_name(flat)
        fields: list[Arg] = []
        for name, values in taken.items():
            fields += (name, _text(_merged(before.get(name, []), values, counters=not name)))
        commands += (("HSET", key, *fields), ("EXPIRE", key, grain.kept_s))
    await store.pipeline(commands)


def _sampled(numbers: overview.Numbers, busy: int) -> dict[str, list[int]]:
    longest = sorted((-length, name) for name, length in numbers.queues.items() if length and name)
    ages = numbers.ages or {}
    found = {
        name: [-length, (name in ages and ages[name].age_ms(numbers.now_ms)) or 0]
        for length, name in longest[:_SAMPLED]
    }
    stats, waiting = numbers.stats, sum(numbers.queues.values())
    failed = sum(numbers.failed.values())
    return {
        "": [stats["processed"], stats["failed"], waiting, failed, numbers.workers, busy],
        **found,
    }


def _merged(before: Sequence[int], now: Sequence[int], *, counters: bool) -> list[int]:
    known = [*before[: len(now)], *([0] * (len(now) - len(before)))]
    merged = [max(pair) for pair in zip(known, now, strict=True)]
    if counters and any(known):
        merged[PROCESSED], merged[FAILED] = known[PROCESSED], known[FAILED]
    return merged


# -- marks --


@dataclass(frozen=True, slots=True)
class HistoryMark:
    """Something that somebody noted, such as a deploy."""

    at_ms: int
    text: str
    by: str


async def mark(store: Store, text: str, by: str) -> None:
    """Set a mark at this moment; about the last five hundred are kept, for thirty days after the last."""
    key = store.keys.history("marks")
    note = ("XADD", key, "MAXLEN", "~", _MARKS, "*", "text", text, "by", by)
    await store.pipeline([note, ("EXPIRE", key, _MARKS_KEPT_S)])


async def marks(store: Store, since_ms: int) -> list[HistoryMark]:
    """Those since a time, the oldest first; at most five hundred."""
    [found] = await store.look(
        [("XREVRANGE", store.keys.history("marks"), "+", max(since_ms, 0), "COUNT", _MARKS)]
    )
    return [_mark(*each) for each in reversed(found)]


def _mark(entry_id: bytes, flat: Sequence[bytes]) -> HistoryMark:
    pairs = zip(flat[::2], flat[1::2], strict=False)
    fields = {decode_name(name): decode_name(value) for name, value in pairs}
    at_ms = int(entry_id.partition(b"-")[0])
    return HistoryMark(at_ms, fields.get("text", ""), fields.get("by", ""))
