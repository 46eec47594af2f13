"""How old the first jobs of queues are: the leader looks and publishes, everybody reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from resqpy.base.queue_age import QueueAge, QueueLook
from resqpy.store.connection.client import Arg, Store
from resqpy.store.queues import decode_name

MOST = 1000  # queues of a look: about a millisecond of the server where none has changed
MOST_CHANGED = 100  # of them: about five milliseconds
KEPT_MS = 60_000  # after the last look


@dataclass(frozen=True, slots=True)
class Looked:
    """A look.

    Attributes:
        last_ms: when the one before was, by whichever leader; None: none is known.
        queues: so many there are.
        at: so many there were to look at; 0: there are more than one look takes.
        go_on: where the next look is to begin; 0: this one is complete.
        changed: what is not as it was.
    """

    last_ms: int | None
    queues: int
    at: int
    go_on: int
    changed: Mapping[str, QueueLook]


def look_call(
    store: Store, now_ms: int, names: Sequence[str], begin: int
) -> tuple[str, list[str], Sequence[Arg]]:
    """The fenced script that looks at some queues; none: at all, unless these are too many.

    Args:
        begin: the place of the first, in the order of their names.
    """
    keys = store.keys
    args: list[Arg] = [now_ms, KEPT_MS, MOST, keys.queue(""), MOST_CHANGED, begin, *names]
    return "look_at_queues", [keys.age_marks, keys.ages, keys.queues], args


def looked(reply: Sequence[bytes | int]) -> Looked:
    """What that script has returned."""
    last, queues, at, go_on, *rest = reply
    changed = {}
    for n in range(0, len(rest), 6):
        name, length, before, came, same, weak = rest[n : n + 6]
        changed[_text(name)] = QueueLook(
            int(length),
            int(before) if before != b"" else None,
            came if isinstance(came, int) else _text(came),
            bool(same),
            bool(weak),
        )
    return Looked(int(last) if last else None, int(queues), int(at), int(go_on), changed)


def _text(value: bytes | int) -> str:
    return decode_name(value) if isinstance(value, bytes) else str(value)


def publish_call(
    store: Store, ages: Mapping[str, QueueAge | None]
) -> tuple[str, list[str], Sequence[Arg]]:
    """The fenced script that publishes ages; None: the queue is forgotten."""
    args: list[Arg] = [KEPT_MS]
    for name, age in ages.items():
        args += (name, b"" if age is None else age.text())
    return "publish_ages", [store.keys.ages, store.keys.age_marks], args


async def read(store: Store, names: Sequence[str] | None = None) -> dict[str, QueueAge] | None:
    """What was last published, by queue; None: no leader has looked of late. One round trip.

    Args:
        names: only of these.
    """
    if names is None:
        [fields] = await store.look([("HGETALL", store.keys.ages)])
        return read_fields(fields)
    [(at, *texts)] = await store.look([("HMGET", store.keys.ages, "", *names)])
    if at is None:
        return None
    known = {name: QueueAge.read(text) for name, text in zip(names, texts, strict=True) if text}
    return {name: age for name, age in known.items() if age is not None}


async def waits(store: Store, names: Sequence[str]) -> dict[str, int]:
    """How long (ms) a job that is taken now from one of some queues has waited, as far as it is known, to a tenth
    of a second. One round trip.
    """
    (seconds, us), (at, *ages) = await store.look(
        [("TIME",), ("HMGET", store.keys.ages, "", *names)]
    )
    if at is None:
        return {}
    now_ms, found = int(seconds) * 1000 + int(us) // 1000, dict[str, int]()
    for name, text in zip(names, ages, strict=True):
        age = None if text is None else QueueAge.read(text)
        if age is None or age.accuracy in ("exact", "about"):
            waited_ms = 0 if age is None else age.age_ms(now_ms) or 0
            found[name] = waited_ms // 100 * 100
    return found


def read_fields(fields: Sequence[bytes]) -> dict[str, QueueAge] | None:
    """The same from the hash itself. A field without a name is always there."""
    if not fields:
        return None
    pairs = zip(fields[::2], fields[1::2], strict=True)
    found = {decode_name(name): QueueAge.read(text) for name, text in pairs if name}
    return {name: age for name, age in found.items() if age is not None}
