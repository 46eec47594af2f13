"""Ruby's schedules in Redis: `persistent_schedules`, `schedules_changed`, `delayed:last_enqueued_at`, and
resqpy's own notes of when they fire next.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from resqpy.base.keys import Keys
from resqpy.store.connection.client import Store
from resqpy.store.connection.translation import Command
from resqpy.store.delayed import FencingToken
from resqpy.store.periodic import CHANGED, Expected, Firing, Write, fire
from resqpy.store.queues import decode_name

if TYPE_CHECKING:
    from resqpy.base.cron.ruby import RubySchedule


@dataclass(frozen=True, slots=True)
class SeenRuby:
    """What Redis has, by schedule name.

    Attributes:
        time_us: Redis' clock, microseconds since the epoch.
        entries: the schedules.
        last: when each fired last, as written there.
        notes: when we fire it next.
        paused: which are paused while we run them.
        changed: names of changed schedules wait for Ruby's dynamic schedulers.
    """

    time_us: int
    entries: dict[str, bytes]
    last: dict[str, str]
    notes: dict[str, str]
    paused: set[str]
    changed: bool

    @property
    def only_ruby_s(self) -> list[str]:
        """Names of schedules that have run but have no entry: they are in the memory of a Ruby process
        (`Resque.schedule = …`), or were removed.
        """
        return sorted(self.last.keys() - self.entries.keys())


_NAMED = 10


def only_ruby_s(names: Sequence[str]) -> str:
    """The message about schedules that only a Ruby process knows."""
    named = ", ".join(map(repr, names[:_NAMED]))
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return (
        f"schedules of resque-scheduler that only a Ruby process knows (Resque.schedule=, static, or "
        f"removed by now): {named}{more}: they do not run"
    )


async def look(store: Store) -> SeenRuby:
    """All of it, in one round trip; values of the wrong type count as empty."""
    return await _read(store.keys, store.look)


async def _read(keys: Keys, ask: Callable[[Sequence[Command]], Awaitable[list[Any]]]) -> SeenRuby:
    (seconds, us), entries, last, notes, paused, changed = await ask(
        [
            ("TIME",),
            ("HGETALL", keys.persistent_schedules),
            ("HGETALL", keys.last_enqueued_at),
            ("HGETALL", keys.ruby_next),
            ("SMEMBERS", keys.ruby_paused),
            ("EXISTS", keys.schedules_changed),
        ]
    )
    return SeenRuby(
        time_us=int(seconds) * 1_000_000 + int(us),
        entries=dict(zip(map(decode_name, entries[::2]), entries[1::2], strict=True)),
        last=_texts(last),
        notes=_texts(notes),
        paused=set(map(decode_name, paused)),
        changed=bool(changed),
    )


async def take(store: Store, fencing: FencingToken) -> SeenRuby:
    """All of it, as the leader: consumes the names of changed schedules, as the one dynamic master does,
    and removes our notes of deleted ones.

    Raises:
        Deposed: another scheduler leads; nothing was written.
    """
    keys = store.keys
    seen = await _read(keys, store.pipeline)
    if seen.changed:
        await fire(store, fencing, Firing((), [("DEL", keys.schedules_changed)]))
    for name in seen.notes.keys() - seen.entries.keys():
        gone = Expected("HGET", keys.persistent_schedules, name, "")
        await fire(store, fencing, Firing([gone], [("HDEL", keys.ruby_next, name)]))
    return seen


def _texts(flat: Sequence[bytes]) -> dict[str, str]:
    return dict(zip(map(decode_name, flat[::2]), map(decode_name, flat[1::2]), strict=True))


def ruby_firing(
    keys: Keys, entry: RubySchedule, jobs: Sequence[bytes], old: str, new: str, fired_at: str | None
) -> Firing:
    """A step of a schedule; the caller sets the queue.

    Args:
        old, new: our note of it; none: an empty text.
        fired_at: for `last_enqueued_at`; None: it does not fire.
    """
    name = entry.name
    last = () if fired_at is None else (("HSET", keys.last_enqueued_at, name, fired_at),)
    return Firing(
        jobs=jobs,
        expected=[
            Expected("HGET", keys.persistent_schedules, name, entry.raw),
            Expected("HGET", keys.ruby_next, name, old),
        ],
        always=[("HSET", keys.ruby_next, name, new), *last],
    )


async def put(store: Store, name: str, entry: bytes) -> None:
    """Write a schedule, and notify Ruby's dynamic schedulers."""
    keys = store.keys
    await store.transaction(
        [("HSET", keys.persistent_schedules, name, entry), ("SADD", keys.schedules_changed, name)]
    )


async def remove(store: Store, name: str) -> bool:
    """Remove a schedule, and notify Ruby's dynamic schedulers; returns whether it existed."""
    removed, *_ = await store.transaction(_removal(store.keys, name))
    return bool(removed)


def _removal(keys: Keys, name: str) -> list[tuple[str, str, str]]:
    """The entry, and what is known of it: another one of that name has not run, and is not paused."""
    return [
        ("HDEL", keys.persistent_schedules, name),
        ("HDEL", keys.last_enqueued_at, name),
        ("SREM", keys.ruby_paused, name),
        ("SADD", keys.schedules_changed, name),
    ]


async def replace(store: Store, name: str, old: bytes, new: bytes) -> bool:
    """Write a schedule if it is what it was, and notify Ruby's dynamic schedulers; False: it is not.

    Args:
        old, new: an empty text: none.
    """
    keys = store.keys
    puts = [("HSET", keys.persistent_schedules, name, new), ("SADD", keys.schedules_changed, name)]
    expected = [Expected("HGET", keys.persistent_schedules, name, old)]
    writes: list[Write] = [*puts] if new else [*_removal(keys, name)]
    return await fire(store, None, Firing(expected, writes)) != CHANGED


async def pause(store: Store, name: str, *, paused: bool) -> bool:
    """Pause or resume a schedule while we run it; returns whether that changed anything."""
    command = "SADD" if paused else "SREM"
    return bool(await store.call(command, store.keys.ruby_paused, name))
