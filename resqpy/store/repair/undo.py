"""Undo for `resqpy doctor --fix`: the commands that revert its repairs.

They are derived from the state before and after each repair. None of them overwrites later changes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from resqpy.base.errors import UsageError
from resqpy.store.connection.client import Arg, Store

Command = tuple[Arg, ...]

ALLOWED = {"SET", "SADD", "SREM", "ZADD", "ZREM", "HSETNX", "PERSIST", "INCRBY", "LREM", "RESTORE"}


@dataclass(frozen=True)
class Touched:
    """What a repair may change.

    Attributes:
        strings: keys of strings.
        sets: keys of whole sets.
        members: single members of sets, by key.
        scores: single members of sorted sets, by key.
        fields: single fields of hashes, by key.
        whole: keys of any type.
    """

    strings: Sequence[Arg] = ()
    sets: Sequence[Arg] = ()
    members: Mapping[str, Sequence[Arg]] = field(default_factory=dict)
    scores: Mapping[str, Sequence[Arg]] = field(default_factory=dict)
    fields: Mapping[str, Sequence[Arg]] = field(default_factory=dict)
    whole: Sequence[Arg] = ()

    def asked(self) -> Iterator[Command]:
        """The commands that read it, in the order of `changes`."""
        for key in self.strings:
            yield ("GET", key)
            yield ("PTTL", key)
        for key in self.sets:
            yield ("SMEMBERS", key)
        for name, command in (("members", "SISMEMBER"), ("scores", "ZSCORE"), ("fields", "HGET")):
            for key, several in getattr(self, name).items():
                yield from ((command, key, each) for each in several)
        yield from (("DUMP", key) for key in self.whole)


class Undo:
    """The commands that revert repairs.

    Attributes:
        commands: by repair.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.commands: dict[str, list[Command]] = {}
        self._now = ""

    def begin(self, name: str) -> None:
        """Set the name of the repair that follows."""
        self._now = name

    def add(self, *commands: Command) -> None:
        """Add commands."""
        self.commands.setdefault(self._now, []).extend(commands)

    async def watch(self, touched: Touched, repair: Callable[[], Awaitable[int]]) -> int:
        """Run a repair and record what reverts it; returns its result."""
        asked = list(touched.asked())
        before = await self._store.look(asked)
        try:
            return await repair()
        finally:
            after = await self._store.look(asked)
            self.add(*_changes(asked, before, after))


def _changes(
    asked: Sequence[Command], before: Sequence[Any], after: Sequence[Any]
) -> Iterator[Command]:
    seen = zip(asked, before, after, strict=True)
    for place, (command, old, new) in enumerate(seen):
        if old != new:
            ttl = before[place + 1] if command[0] == "GET" else None
            yield from _BACK[str(command[0])](command, old, new, ttl)


def _string(command: Command, old: Any, new: Any, ttl: Any) -> Iterator[Command]:
    """A deleted key is restored unless there is a new one; a counter is counted back."""
    if new is None:
        yield ("SET", command[1], old, "NX", *(("PX", ttl) if ttl > 0 else ()))
    elif _is_number(old) and _is_number(new):
        yield ("INCRBY", command[1], int(old) - int(new))


def _end(command: Command, old: Any, new: Any, _: Any) -> Iterator[Command]:
    if old == -1 and new != -2:
        yield ("PERSIST", command[1])


def _set(command: Command, old: Any, new: Any, _: Any) -> Iterator[Command]:
    yield from (("SADD", command[1], each) for each in old if each not in new)
    yield from (("SREM", command[1], each) for each in new if each not in old)


def _member(command: Command, old: Any, _new: Any, _: Any) -> Iterator[Command]:
    yield ("SADD" if old else "SREM", *command[1:])


def _score(command: Command, old: Any, new: Any, _: Any) -> Iterator[Command]:
    if new is None:
        yield ("ZADD", command[1], old, command[2])
    elif old is None:
        yield ("ZREM", *command[1:])


def _field(command: Command, old: Any, new: Any, _: Any) -> Iterator[Command]:
    if new is None:
        yield ("HSETNX", *command[1:], old)


def _whole(command: Command, old: Any, _new: Any, _: Any) -> Iterator[Command]:
    if old is not None:
        yield ("RESTORE", command[1], 0, old)


_BACK: dict[str, Callable[[Command, Any, Any, Any], Iterator[Command]]] = {
    "GET": _string, "PTTL": _end, "SMEMBERS": _set, "SISMEMBER": _member, "ZSCORE": _score,
    "HGET": _field, "DUMP": _whole,
}  # fmt: skip


def _is_number(value: Any) -> bool:
    return isinstance(value, bytes) and len(value) < 18 and value.removeprefix(b"-").isdigit()


async def take_back(store: Store, commands: Sequence[Command]) -> list[str]:
    """Run the commands; returns Redis' errors, if any.

    Raises:
        UsageError: one of them does not revert a repair; none was run.
    """
    prefix = store.keys.prefix.encode()
    for command in commands:
        key = command[1] if len(command) > 1 else b""
        raw = key if isinstance(key, bytes) else str(key).encode("utf-8", "surrogateescape")
        if command[0] not in ALLOWED or not raw.startswith(prefix):
            raise UsageError(
                f"{command[0]!r} of {key!r} does not revert a repair in {store.keys.prefix!r}"
            )
    replies = await store.line.send(commands) if commands else []
    return [
        f"{command[0]!r} of {command[1]!r}: {reply}"
        for command, reply in zip(commands, replies, strict=True)
        if isinstance(reply, Exception)
    ]
