"""Promotion: moves due items out of a delayed list and into a queue in one step, bytes unchanged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from resqpy.store.connection.client import Arg, Store
from resqpy.store.connection.scripts import portions
from resqpy.store.leader import run_fenced
from resqpy.store.queues import Guard, decode_name, guard_words

BATCH = 500  # items, and
BATCH_BYTES = 65_536  # bytes inspected: either occupies the server for a few milliseconds
PAGE = 200  # items returned for inspection


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
        [BATCH, BATCH_BYTES, PAGE, int(tell), *looked_at],
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


def _pairs(flat: Sequence[Any]) -> Iterable[tuple[Any, Any]]:
    return zip(flat[::2], flat[1::2], strict=True)


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
        keep: the digest under which the item's bytes are kept if they are not in the entry.
    """

    entry: bytes
    reason: BaseException
    keep: str | None = None


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
    for part in portions(texts, lambda each: 2 * len(each[0])):
        args: list[Arg] = [len(fencing.fence), index, len(part)]
        for text, decision in part:
            args += (text, keys.timestamps(decision.item), *_words(store, decision))
        reply = await run_fenced(
            store, fencing.fence, fencing.token, "promote_items",
            [source, keys.queues, keys.failed, keys.claimed], args,
        )  # fmt: skip
        results += [each if isinstance(each, int) else decode_name(each) for each in reply]
    return results


def _words(store: Store, decision: Decision) -> tuple[Arg, ...]:
    keys, action = store.keys, decision.action
    match action:
        case Enqueue(queue, guards):
            payload = decision.item
            return ("push", queue, keys.queue(queue), payload, len(guards), *guard_words(guards))
        case Fail(entry, _, keep):
            return ("fail", entry, keys.unreadable(keep) if keep else "", decision.item)
        case Claim(guards):
            return ("claim", claimed_text(decision), len(guards), *guard_words(guards))
        case Drop():
            return ("drop",)
