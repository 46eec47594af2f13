"""Delayed jobs: `delayed:<second>` lists, their index `delayed_queue_schedule`, and the reverse
index `timestamps:<item>`, whose key is the item's exact text.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from resqpy.base import codec
from resqpy.base.errors import StoreError
from resqpy.store import failures
from resqpy.store.connection.client import MAX_BYTES, Arg, Store, portions
from resqpy.store.leader import run_fenced
from resqpy.store.queues import Guard, decode_name, guard_words
from resqpy.store.sweep import Item, Progress, is_watched

PAGE = 500  # members of the index, or items of a second, that are read together


def add_commands(store: Store, second: int, item: bytes) -> list[tuple[Arg, ...]]:
    """The commands that store an item for a second; to be executed atomically."""
    keys = store.keys
    return [
        ("RPUSH", keys.delayed(second), item),
        ("SADD", keys.timestamps(item), keys.delayed_member(second)),
        ("ZADD", keys.schedule, second, second),
    ]


def delay_command(store: Store, wait_ms: int, item: bytes, now_ms: int | None) -> tuple[Arg, ...]:
    """The same for an item due in this many milliseconds by Redis' clock; an exchange command.

    Args:
        now_ms: the current time; None: Redis' time.
    """
    keys = store.keys
    told: Arg = "" if now_ms is None else now_ms
    return (
        "DELAY", wait_ms, told, item, keys.schedule, keys.delayed(""), keys.timestamps(item)
    )  # fmt: skip


class Added(NamedTuple):
    """Result of adding an item.

    Attributes:
        stored: it stands there now.
        due: its time has come, so it was not stored.
        once: an earlier call with the same key has made it, so it was not stored; else it was there.
        second: at which it is due.
    """

    stored: bool
    due: bool
    once: bool
    second: int


async def add(
    store: Store,
    item: bytes,
    spellings: Sequence[bytes],
    *,
    at_ms: int | None = None,
    in_ms: int = 0,
    now_ms: int | None = None,
    once: Guard | None = None,
) -> Added:
    """Store an item, rounded up to a full second, unless it is already due, or already stored in any
    spelling within a second: Node rounds and Ruby truncates, so the neighbouring seconds count. One
    round trip.

    Args:
        at_ms: when it is due; None: `in_ms` from now.
        now_ms: what time it is; None: Redis' time.
        once: the key of a call that may be repeated.
    """
    keys = store.keys
    args: list[Arg] = ["in", in_ms] if at_ms is None else ["at", at_ms]
    args += ("" if now_ms is None else now_ms, item)
    args += ("", 0) if once is None else (once.key, once.seconds)
    status, second = await store.run_durably(
        "delay",
        [keys.schedule, keys.delayed(""), keys.timestamps(item)],
        [*args, *map(keys.timestamps, spellings)],
    )
    return Added(status == 1, status == -1, status == -2, int(second))


async def seconds_and_index(
    store: Store, spellings: Sequence[bytes]
) -> tuple[list[int], list[str]]:
    """The seconds at which an item is due in one of several spellings, and the first members of the index
    of all delayed jobs, for callers that look for others. One round trip.
    """
    commands: list[tuple[Arg, ...]] = [("SMEMBERS", store.keys.timestamps(t)) for t in spellings]
    *sets, first = await store.look([*commands, ("ZRANGE", store.keys.schedule, 0, PAGE)])
    found: set[int] = set()
    for members in sets:
        found.update(second for each in members if (second := _member_second(each)) is not None)
    return sorted(found), [member.decode("utf-8", "replace") for member in first]


def _member_second(member: bytes) -> int | None:
    text = decode_name(member.rpartition(b":")[2])
    return int(text) if is_second(text) else None


@dataclass(frozen=True, slots=True)
class Removed:
    """Result of removing an item in several spellings.

    Attributes:
        seconds: where it was.
        emptied: those of them where nothing is left.
        index: the first members of the index of all delayed jobs, for callers that look for other
            spellings.
    """

    seconds: list[int]
    emptied: set[int]
    index: list[str]


async def remove(store: Store, spellings: Sequence[bytes]) -> list[int]:
    """Remove an item wherever it is due in one of several spellings; returns the seconds."""
    return (await remove_and_look(store, spellings)).seconds


async def remove_and_look(store: Store, spellings: Sequence[bytes]) -> Removed:
    """The same, with the other delayed jobs. One round trip.

    A second at which nothing is left leaves the index.
    """
    keys = store.keys
    pairs: list[Arg] = []
    for text in spellings:
        pairs += (text, keys.timestamps(text))
    reply, first = await store.run_then(
        "undelay", [keys.delayed(""), keys.schedule], pairs, [("ZRANGE", keys.schedule, 0, PAGE)]
    )
    left = {_member_second(member): int(count) for member, count in _pairs(reply)}
    seconds = {second: count for second, count in left.items() if second is not None}
    emptied = {second for second, count in seconds.items() if not count}
    return Removed(
        sorted(seconds), emptied, [member.decode("utf-8", "replace") for member in first]
    )


def _pairs(flat: Sequence[Any]) -> zip[tuple[Any, Any]]:
    """A flat list of pairs as pairs."""
    return zip(flat[::2], flat[1::2], strict=True)


async def forget_empty(store: Store, second: int) -> None:
    """Remove a second from the index if nothing is due at it any more. One round trip."""
    keys = store.keys
    await store.run("mend_delayed", [keys.schedule, keys.delayed("")], [second])


async def remove_at(store: Store, second: int) -> int:
    """Remove everything due at one second, a few hundred per step; returns how many items there were."""
    keys = store.keys
    removed = 0
    while True:
        done, left = await store.run(
            "undelay_at",
            [keys.schedule, keys.delayed(second), keys.timestamps(b"")],
            [second, keys.delayed_member(second), PAGE, MAX_BYTES],
        )
        removed += int(done)
        if not left:
            return removed


async def seconds(store: Store, start: int = 0, stop: int = -1) -> list[str]:
    """Members of the index by rank, earliest first; foreign clients may have left malformed ones."""
    [members] = await store.look([("ZRANGE", store.keys.schedule, start, stop)])
    return [member.decode("utf-8", "replace") for member in members]


class _Index:
    """Iterates over the index, earliest first, one page at a time. Others may remove members meanwhile: it
    continues by time, because ranks shift.
    """

    def __init__(self, store: Store, step: int) -> None:
        self._key = store.keys.schedule
        self._step = step
        self._last = b"-inf"
        self._seen = set[bytes]()  # the members with that score

    def command(self) -> tuple[Arg, ...]:
        """The command for the next page."""
        many = ("BYSCORE", "LIMIT", 0, self._step + len(self._seen), "WITHSCORES")
        return ("ZRANGE", self._key, self._last, "+inf", *many)

    def take(self, found: Sequence[bytes]) -> list[str]:
        """The members of the requested page; none at the end."""
        pairs = [
            (score, each)
            for each, score in zip(found[::2], found[1::2], strict=True)
            if each not in self._seen
        ]
        if pairs:
            last = pairs[-1][0]
            kept = self._seen if last == self._last else set[bytes]()
            self._last = last
            self._seen = kept | {each for score, each in pairs if score == last}
        return [each.decode("utf-8", "replace") for _, each in pairs]


async def every_head(
    store: Store, length: int, step: int = PAGE
) -> AsyncIterator[list[tuple[int, list[bytes]]]]:
    """All seconds at which something is due, each with its first `length` items, earliest first, one page
    at a time. One round trip per page, and one more.
    """
    walk = Progress("times of delayed jobs", await count(store) if is_watched() else 0)
    index = _Index(store, step)
    [found] = await store.look([index.command()])
    while page := index.take(found):
        seconds = [each for each in page if is_second(each)]
        heads = [("LRANGE", store.keys.delayed(each), 0, length - 1) for each in seconds]
        *items, found = await store.look([*heads, index.command()])
        yield list(zip(map(int, seconds), items, strict=True))
        walk.step(len(page))


def is_second(member: str) -> bool:
    """Whether a member of the index is a second: foreign clients may leave fractions and words (trap 3)."""
    return member.isascii() and member.isdigit() and len(member) < 12


async def drop(store: Store, second: int, items: Sequence[Item]) -> set[int]:
    """Remove items of a second that were just read; returns the indices of those that were still there. One
    round trip per MiB. A second at which nothing is left leaves the index.
    """
    keys, gone = store.keys, set[int]()
    names: list[Arg] = [keys.delayed(second), keys.timestamps(b""), keys.schedule]
    for part in portions(items, lambda item: len(item.raw)):
        args: list[Arg] = [keys.delayed_member(second)]
        for item in part:
            args += (item.index - len(gone), item.raw)
        reply = await store.run("undelay_items", names, args)
        gone |= {item.index for item, done in zip(part, reply, strict=True) if done}
    return gone


@dataclass(frozen=True, slots=True)
class Advance:
    """A delayed job to enqueue now."""

    item: Item
    queue: str
    guards: Sequence[Guard] = ()


async def advance(store: Store, second: int, jobs: Sequence[Advance]) -> set[int]:
    """Move just-read jobs of a second to the tails of their queues; returns the indices of those moved:
    others were gone, or a guard forbids them. One round trip per MiB.

    Raises:
        StoreError: a job's queue is not a list in Redis; that job stays, those before and after it were
            moved.
    """
    keys, gone, problems = store.keys, set[int](), list[StoreError]()
    names: list[Arg] = [keys.delayed(second), keys.timestamps(b""), keys.queues]
    for part in portions(jobs, lambda each: len(each.item.raw)):
        args: list[Arg] = [keys.delayed_member(second), len(part)]
        for each in part:
            raw, queue = each.item.raw, each.queue
            args += (each.item.index - len(gone), raw, queue, keys.queue(queue))
            there = codec.when_due(raw, queue, store.options.ruby_queues)
            args.append(b"" if there == raw else there)
            args += (len(each.guards), *guard_words(each.guards))
        reply = await store.run("advance_items", names, args)
        for each, done in zip(part, reply, strict=True):
            if isinstance(done, bytes):
                words = done.decode("utf-8", "replace")
                problems.append(StoreError(f"cannot enqueue the job in {each.queue!r}: {words}"))
        gone |= {each.item.index for each, done in zip(part, reply, strict=True) if done == 1}
    if problems:
        raise problems[0]
    return gone


async def filled(store: Store, members: Sequence[str]) -> list[str]:
    """Those of several seconds at which something is left, in one round trip: other clients empty lists and
    leave the index to the scheduler.
    """
    commands = [("EXISTS", store.keys.delayed(each)) for each in members]
    found = await store.pipeline(commands) if commands else []
    return [each for each, there in zip(members, found, strict=True) if there]


async def without_index(store: Store, most: int) -> int:
    """How many of the first items of the first seconds are missing from the reverse index, which Ruby's,
    Node's and our clients write.
    """
    members = [each for each in await seconds(store, 0, most - 1) if is_second(each)]
    firsts = await store.look([("LINDEX", store.keys.delayed(each), 0) for each in members])
    items = [item for item in firsts if item is not None]
    known = await store.pipeline([("EXISTS", store.keys.timestamps(item)) for item in items])
    return known.count(0)


async def lengths(store: Store, members: Sequence[str]) -> list[int]:
    """How many items are due at each of several seconds, in one round trip."""
    return await store.look([("LLEN", store.keys.delayed(each)) for each in members])


async def around(store: Store, second: int) -> list[int]:
    """Some seconds before and after the given one at which something is due."""
    here, some = f"({second}", ("LIMIT", 0, 10)
    before, after = await store.look(
        [
            ("ZRANGE", store.keys.schedule, here, "-inf", "BYSCORE", "REV", *some),
            ("ZRANGE", store.keys.schedule, here, "+inf", "BYSCORE", *some),
        ]
    )
    found = [each.decode("utf-8", "replace") for each in (*before, *after)]
    return [int(each) for each in await filled(store, list(filter(is_second, found)))]


async def count(store: Store) -> int:
    """At how many seconds something is due."""
    [number] = await store.look([("ZCARD", store.keys.schedule)])
    return int(number)


# Promotion: moves due items out of a delayed list and into a queue in one step, bytes unchanged.

BATCH = 500  # items, and
BATCH_BYTES = 65_536  # bytes inspected: either occupies the server for a few milliseconds
STEP = 200  # items returned for inspection


class FencingToken(Protocol):
    """The leader's fencing token: writes only happen while all keys of the fence hold it."""

    @property
    def fence(self) -> Sequence[str]:
        """The keys."""

    @property
    def token(self) -> str:
        """Their value."""


@dataclass(frozen=True, slots=True)
class Promoted:
    """Result of one step.

    Attributes:
        time_us: Redis' clock, microseconds since the epoch.
        next_s: the second at which the next item is due, if any.
        worked: the seconds processed and how many items were moved.
        told: the items moved and their seconds, if requested.
        oddities: members of the index that are not seconds, and what was done about them.
        member: the second of `page`.
        page: the next items, which must be inspected.
    """

    time_us: int
    next_s: float | None
    worked: list[tuple[bytes, int]]
    told: list[tuple[bytes, bytes]]
    oddities: list[tuple[bytes, bytes]]
    member: bytes
    page: list[bytes]


async def move_due(
    store: Store, fencing: FencingToken, looked_at: Iterable[str] = (), *, tell: bool = False
) -> Promoted:
    """Move up to `BATCH` due items; stop at one that must be inspected.

    Args:
        looked_at: the tasks whose items must be inspected.
        tell: return the items moved.

    Raises:
        Deposed: another scheduler leads; nothing was moved.
    """
    keys = store.keys
    reply = await run_fenced(
        store, fencing.fence, fencing.token, "promote",
        [keys.schedule, keys.queues, keys.delayed(""), keys.timestamps(""), keys.queue("")],
        [BATCH, BATCH_BYTES, STEP, int(tell), lua_patterns(store.options.ruby_queues), *looked_at],
    )  # fmt: skip
    seconds, us, next_s, worked, told, oddities, page = reply
    return Promoted(
        time_us=int(seconds) * 1_000_000 + int(us),
        next_s=float(next_s) if next_s is not None else None,
        worked=list(_pairs(worked)),
        told=list(_pairs(told)),
        oddities=list(_pairs(oddities)),
        member=page[0] if page else b"",
        page=page[1:],
    )


def lua_patterns(globs: Sequence[str]) -> bytes:
    """What names of queues look like to Lua, one a line; sets of characters (`[…]`) are those of ASCII."""
    lines = (
        b"^%b$" % b"".join(map(_lua, _GLOB.finditer(each))) for each in globs if each.isprintable()
    )
    return b"\n".join(lines)


_GLOB = re.compile(r"\[(!?)(\]?[^]]+|\])\]|.")


def _lua(found: re.Match[str]) -> bytes:
    part, negated, chars = found[0], found[1], found[2]
    if chars is not None:
        inner = "".join(each if each.isalnum() or each == "-" else f"%{each}" for each in chars)
        return f"[{'^' if negated else ''}{inner}]".encode()
    if part in "*?":
        return b".*" if part == "*" else b"[^\x80-\xbf][\x80-\xbf]*"
    return (f"%{part}" if part.isascii() and not part.isalnum() else part).encode()


# -- deciding on single items --


@dataclass(frozen=True, slots=True)
class Enqueue:
    """Push it, if its guards allow it; otherwise drop it."""

    queue: str
    guards: Sequence[Guard] = ()


@dataclass(frozen=True, slots=True)
class Fail:
    """Send it to the failed list.

    Attributes:
        reason: why, for messages.
        queue: of the job.
        keep: the digest under which the item's bytes are kept if they are not in the entry.
        worker: who says so.
    """

    entry: bytes
    reason: BaseException
    queue: str
    keep: str | None = None
    worker: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """Keep it in the list of claimed items while its hooks run. If an equal job is still delayed and it may
    not be enqueued then, it is dropped now: after the hooks that could not be checked any more.
    """

    guards: Sequence[Guard] = ()


@dataclass(frozen=True, slots=True)
class Drop:
    """Drop it."""


Action = Enqueue | Fail | Claim | Drop


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with an item.

    Attributes:
        item: its exact bytes.
        member: the second at which it is due.
    """

    item: bytes
    member: bytes
    action: Action = field(default_factory=Drop)


DONE, VETOED, GONE = 1, 0, -1


async def decide_delayed(
    store: Store, fencing: FencingToken, member: bytes, decisions: Sequence[Decision]
) -> list[int | str]:
    """Apply decisions to items due at one second.

    Returns:
        For each `DONE`, `VETOED` (a guard forbade it: dropped), `GONE` (it was no longer there) or the
            error that kept it where it was.
    """
    texts = [(each.item, each) for each in decisions]
    source = store.keys.delayed("").encode() + member
    index = store.keys.delayed_member("").encode() + member
    return await _decide(store, fencing, source, index, texts)


async def decide_claimed(
    store: Store, fencing: FencingToken, decisions: Sequence[Decision]
) -> list[int | str]:
    """Apply decisions to claimed items."""
    texts = [(claimed_text(each), each) for each in decisions]
    return await _decide(store, fencing, store.keys.claimed.encode(), b"", texts)


async def claimed(store: Store, most: int) -> list[Decision]:
    """The first items claimed by a leader, current or former."""
    texts: list[bytes] = await store.call("LRANGE", store.keys.claimed, 0, most - 1)
    return [_claimed(text) for text in texts]


def _claimed(text: bytes) -> Decision:
    """An item with its second; a text in another format is all item."""
    member, colon, item = text.partition(b":")
    return Decision(item, member) if member and colon else Decision(text, b"")


def claimed_text(each: Decision) -> bytes:
    """A claimed item's text in its list."""
    return each.member + b":" + each.item if each.member else each.item


async def _decide(
    store: Store,
    fencing: FencingToken,
    source: bytes,
    index: bytes,
    texts: Sequence[tuple[bytes, Decision]],
) -> list[int | str]:
    keys, results = store.keys, list[int | str]()
    lists = {
        each.action.queue: await failures.known_list(store, each.action.queue)
        for _, each in texts
        if isinstance(each.action, Fail)
    }
    for part in portions(texts, lambda each: 2 * len(each[0])):
        args: list[Arg] = [len(fencing.fence), index, len(part)]
        for text, decision in part:
            args += (text, keys.timestamps(decision.item), *_words(store, decision, lists))
        reply = await run_fenced(
            store, fencing.fence, fencing.token, "promote_items",
            [source, keys.queues, keys.claimed], args,
        )  # fmt: skip
        results += [each if isinstance(each, int) else decode_name(each) for each in reply]
    return results


def _words(store: Store, decision: Decision, lists: Mapping[str, str]) -> tuple[Arg, ...]:
    keys, action = store.keys, decision.action
    match action:
        case Enqueue(queue, guards):
            payload = codec.when_due(decision.item, queue, store.options.ruby_queues)
            return ("push", queue, keys.queue(queue), payload, len(guards), *guard_words(guards))
        case Fail(entry, _, queue, keep):
            kept = keys.unreadable(keep) if keep else ""
            return ("fail", entry, lists[queue], kept, decision.item)
        case Claim(guards):
            return ("claim", claimed_text(decision), len(guards), *guard_words(guards))
        case Drop():
            return ("drop",)
