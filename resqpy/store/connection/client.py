"""Access to Redis: commands, transactions and scripts, with errors translated.

A reply that says "not now" (`LOADING`, `READONLY`, `BUSY`, …) becomes `StoreUnavailable`: nothing was done.
A lost connection becomes `OutcomeUnknown`. Nothing is retried here except a script that the server did not
know (`NOSCRIPT`: it did not run).
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from redis import exceptions

from resqpy.base.clock import SYSTEM_CLOCK, Clock, test_ms
from resqpy.base.errors import (
    OutcomeUnknown,
    StoreError,
    StoreMisconfigured,
    StoreUnavailable,
    UnderReplicated,
)
from resqpy.base.keys import Keys
from resqpy.base.model import LostJob
from resqpy.base.shadowing import refuse_script, refuse_writes
from resqpy.store.connection.connect import Opener, opener
from resqpy.store.connection.line import Line, Replies
from resqpy.store.connection.options import RedisOptions
from resqpy.store.connection.translation import (
    ELSEWHERE,
    WRONG_KIND,
    Command,
    error_text,
    is_forbidden,
    translate,
)

# The Lua scripts: one operation per file, called by digest. Each package has its own in its folder `lua/`;
# what `exchange.lua` takes along with a job and writes beside its end is `lifecycle.lua` of a package
# above.
#
# All are read at import: a process keeps using the scripts that it started with, even if its files are
# replaced by another version while it runs.
#
# The input of one script call is bounded in bytes (`portions`), because Redis is blocked while a script runs.

_TEXTS = {each.stem: each.read_bytes() for each in Path(__file__).parents[2].glob("*/lua/*.lua")}
_INCLUDE = re.compile(rb"^-- include (\w+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Script:
    """A script's text and digest."""

    name: str
    text: bytes
    sha: str


@cache
def script(name: str) -> Script:
    """The script `<name>.lua`; a line `-- include other` is replaced by `other.lua`."""
    text = _whole(name)
    return Script(name, text, hashlib.sha1(text, usedforsecurity=False).hexdigest())


def _whole(name: str) -> bytes:
    return _INCLUDE.sub(lambda found: _whole(found[1].decode()), _TEXTS[name])


T = TypeVar("T")

MAX_BYTES = 1 << 20  # copied and compared in a few milliseconds


def portions(
    items: Iterable[T], size: Callable[[T], int], most: int = MAX_BYTES
) -> Iterator[list[T]]:
    """The items in order, in lists of at most this many bytes, but at least one item each."""
    portion: list[T] = []
    total = 0
    for item in items:
        if portion and total + size(item) > most:
            yield portion
            portion, total = [], 0
        portion.append(item)
        total += size(item)
    if portion:
        yield portion


Arg = str | bytes | int | float

OLDEST_SERVER = (6, 2)

_KEEPS = "noeviction"
# The type each read command expects, and its reply if the key does not exist.
_KINDS = {"LLEN": "list", "LRANGE": "list", "LINDEX": "list", "SMEMBERS": "set", "SCARD": "set",
          "ZCARD": "sorted set", "ZRANGE": "sorted set", "ZSCAN": "sorted set", "HGETALL": "hash",
          "HMGET": "hash", "HLEN": "hash", "GET": "string"}  # fmt: skip
_COUNTS = ("ZCARD", "SCARD", "LLEN", "HLEN")
_LOOKS = 1000  # of a round trip
_LOADS = 20  # of a script, until it is present when called
_NAMED_KEYS = 6  # of a script, named when one of them has another type or is forbidden


def _ignore(_: LostJob) -> None:
    """Nobody wants to hear of it."""


class Store:
    """One installation on one Redis.

    Args:
        options: which Redis and which namespace.

    Attributes:
        keys: the key names of the installation.
        line: the shared connection for commands.
        scripts: whether reads may use scripts, which some Redis users must not run.
        evicts: Redis' eviction policy, as found by `connect`; None: it evicts nothing.
        junk: keys of another type found by `look`, and the type they should have.
        waited_for: whether startup has waited for this Redis (store/connection/client.py).
        mending: called when a key has the wrong type; returns messages about what it did. None: this
            process is read-only.
        on_lost: called with each job that failed although no run of this process ended so; see `LostJob`.
    """

    def __init__(self, options: RedisOptions | None = None) -> None:
        self.options: RedisOptions = options or RedisOptions()
        self.keys: Keys = Keys(self.options.namespace)
        self.open_connection: Opener = opener(self.options, self.keys)
        self.line: Line = self.new_line()
        self.scripts = True
        self.evicts: str | None = None
        self.junk: dict[str, str] = {}
        self.waited_for: bool = False
        self._replicas = _Replicas(self) if self.options.wait_replicas else None
        self.mending: Callable[[], Awaitable[list[str]]] | None = None
        self.on_lost: Callable[[LostJob], None] = _ignore

    def new_line(
        self, *, eager: bool = False, depth: int = 1, reply_timeout_s: float | None = None
    ) -> Line:
        """An additional connection, for callers that must not wait behind others; `eager`, `depth`: see
        `Line`.

        Args:
            reply_timeout_s: None: that of the options.
        """
        options = self.options
        wait_s = options.reply_timeout_s if reply_timeout_s is None else reply_timeout_s
        return Line(self.open_connection, wait_s, options.reachability, eager=eager, depth=depth)

    async def connect(self) -> None:
        """Connect to Redis once, to report problems early and clearly. One round trip.

        Raises:
            StoreUnavailable: it can't be reached.
            StoreMisconfigured: too old, a Cluster without `cluster=True`, a wrong login.
        """
        replies = await self.line.send([("INFO", "server"), ("INFO", "memory")])
        if all(isinstance(each, Exception) and is_forbidden(each) for each in replies):
            return  # this user may not ask; errors surface on first use
        info, memory = (_fields(self.checked(each, ("INFO",))) for each in replies)
        policy = memory.get("maxmemory_policy", _KEEPS)
        bound = memory.get("maxmemory", "0") != "0"
        self.evicts = policy if bound and policy != _KEEPS else None
        version = tuple(int(part) for part in str(info["redis_version"]).split(".")[:2])
        if version < OLDEST_SERVER:
            raise StoreMisconfigured(
                f"Redis {info['redis_version']} is too old; 6.2 or later is required"
            )
        mode = info.get("redis_mode", info.get("server_mode"))  # Valkey's name for it
        if mode == "cluster" and not self.options.cluster:
            raise StoreMisconfigured(
                "this Redis is a node of a Cluster: set cluster=True and use a hash tag as "
                "namespace, '{{self.keys.namespace}}'"
            )

    async def info(self, section: str) -> dict[str, str]:
        """A section of Redis' INFO."""
        return _fields(await self.call("INFO", section))

    async def check_writable(self) -> None:
        """Try a write that changes nothing (no queue has an empty name): a replica refuses it. A user
        without that right only needs an answer.

        Raises:
            StoreError: Redis can't be reached or accepts no writes.
        """
        try:
            await self.call("DEL", self.keys.queue(""))
        except StoreMisconfigured:
            await self.call("PING")

    async def time_us(self) -> int:
        """Redis' clock: microseconds since the epoch."""
        seconds, microseconds = await self.call("TIME")
        return int(seconds) * 1_000_000 + int(microseconds)

    async def call(self, *command: Arg, line: Line | None = None) -> Any:
        """One command, one round trip."""
        refuse_writes([command], self.keys.prefix)
        replies = await (line or self.line).send([command])
        return (await self.all_checked(replies, [command], line))[0]

    async def pipeline(self, commands: Sequence[Command], line: Line | None = None) -> list[Any]:
        """Several commands in one round trip; the first error is raised after all were executed."""
        if not commands:
            return []
        refuse_writes(commands, self.keys.prefix)
        replies = await (line or self.line).send(commands)
        return await self.all_checked(replies, commands, line)

    async def look(self, commands: Sequence[Command]) -> list[Any]:
        """Like `pipeline`, for reads only: a key of the wrong type counts as empty and is noted. A round trip for
        each thousand: with more at once, nobody else's would be sent or read meanwhile.
        """
        replies: list[Any] = []
        for start in range(0, len(commands), _LOOKS):
            replies += await self.line.send(commands[start : start + _LOOKS])
        pairs = zip(replies, commands, strict=True)
        return [self._seen(reply, command) for reply, command in pairs]

    def _seen(self, reply: Any, command: Command) -> Any:
        if isinstance(reply, Exception) and error_text(reply).startswith(WRONG_KIND):
            key = command[1]
            name = key.decode("utf-8", "surrogateescape") if isinstance(key, bytes) else str(key)
            self.junk[name] = _KINDS.get(str(command[0]), "resqpy key")
            return _nothing(command)
        return self.checked(reply, command)

    async def kinds(self, keys: Sequence[str]) -> list[str]:
        """The Redis types of some keys; a sorted set is a "zset". One round trip."""
        replies = await self.line.send([("TYPE", key) for key in keys]) if keys else []
        return [each.decode() if isinstance(each, bytes) else "?" for each in replies]

    async def transaction(self, commands: Sequence[Command]) -> list[Any]:
        """Several commands in one `MULTI`, in one round trip."""
        return await self.all_checked(await self.write(commands, atomic=True), commands)

    async def write(
        self, commands: Sequence[Command], *, atomic: bool = False, durably: bool = False
    ) -> list[Any]:
        """Commands in one round trip; error replies are values among the replies.

        Args:
            atomic: in one `MULTI`: what it is refused for as a whole is raised.
            durably: as `run_durably`.
        """
        refuse_writes(commands, self.keys.prefix)
        sent = [("MULTI",), *commands, ("EXEC",)] if atomic else commands
        replicas = self._replicas if durably else None
        if replicas is not None:
            *replies, confirmed = await replicas.line.send([*sent, replicas.wait])
        else:
            replies, confirmed = await self.line.send(sent), None
        if atomic:
            for reply, command in zip(replies[1:-1], commands, strict=True):
                self.checked(reply, command)
            replies = self.checked(replies[-1], ("EXEC",))
        if replicas is not None and not any(isinstance(each, Exception) for each in replies):
            replicas.need(self.checked(confirmed, replicas.wait))
        return replies

    async def run(
        self, name: str, keys: Sequence[Arg], args: Sequence[Arg] = (), line: Line | None = None
    ) -> Any:
        """Run a script by its name, in one round trip (two the first time)."""
        return (await self.run_then(name, keys, args, (), line))[0]

    async def run_durably(self, name: str, keys: Sequence[Arg], args: Sequence[Arg]) -> Any:
        """Run a script that enqueues; if configured, wait for replicas to confirm its writes.

        Raises:
            UnderReplicated: it was written, but too few replicas confirmed.
        """
        replicas = self._replicas
        if replicas is None:
            return await self.run(name, keys, args)
        reply, confirmed = await self.run_then(name, keys, args, [replicas.wait], replicas.line)
        if any(each == 1 for each in (reply if isinstance(reply, list) else [reply])):
            replicas.need(confirmed)
        return reply

    async def run_then(
        self,
        name: str,
        keys: Sequence[Arg],
        args: Sequence[Arg],
        then: Sequence[Command],
        line: Line | None = None,
        sent: Replies | None = None,
    ) -> list[Any]:
        """Run a script and then commands, in one round trip (two the first time): all replies.

        Args:
            sent: the replies, if it was sent already.
        """
        refuse_script(name)
        wanted, used = script(name), line or self.line
        commands = [("EVALSHA", wanted.sha, len(keys), *keys, *args), *then]
        shown: list[Command] = [("EVALSHA", f"{name}.lua", *keys[:_NAMED_KEYS]), *then]
        replies, loads = await (sent or used.send(commands)), 0
        while isinstance(replies[-len(commands)], exceptions.NoScriptError) and loads < _LOADS:
            loads += 1  # more than once if somebody keeps flushing the scripts
            replies = await used.send([("SCRIPT", "LOAD", wanted.text), *commands])
        shown = [("SCRIPT", "LOAD"), *shown] if loads else shown
        return (await self.all_checked(replies, shown, line))[-len(commands) :]

    async def all_checked(
        self, replies: Sequence[Any], commands: Sequence[Command], line: Line | None = None
    ) -> list[Any]:
        """Replies; the first that is an error is raised as one of ours."""
        try:
            return [
                self.checked(reply, command, line)
                for reply, command in zip(replies, commands, strict=True)
            ]
        except StoreError as error:
            await self.mend(error)
            raise

    async def mend(self, error: StoreError) -> None:
        """Repair the key of the wrong type behind an error, if it is one of ours; a note is added to the error."""
        if self.mending is not None and WRONG_KIND in str(error):
            for words in await self.mending():
                error.add_note(words)

    def checked(self, reply: Any, command: Command, line: Line | None = None) -> Any:
        """The reply; an error reply is raised as one of our errors."""
        if not isinstance(reply, Exception):
            return reply
        text = error_text(reply)
        if text.startswith(ELSEWHERE):
            (line or self.line).reopen()
        error = translate(text, command)
        self.options.reachability.failed(error, refused=True)
        raise error from reply

    async def close(self) -> None:
        """Close the connection after waiting for what is in flight."""
        await self.line.close()
        if self._replicas is not None:
            await self._replicas.line.close()


class _Replicas:
    """Those that are to have what is enqueued.

    Attributes:
        line: a connection of its own: nobody else waits for replicas.
        wait: the command that does.
    """

    def __init__(self, store: Store) -> None:
        options = store.options
        self._options = options
        self.line: Line = store.new_line(
            reply_timeout_s=options.reply_timeout_s + options.wait_timeout_s
        )
        milliseconds = max(1, int(options.wait_timeout_s * 1000))
        self.wait: Command = ("WAIT", options.wait_replicas, milliseconds)

    def need(self, confirmed: int) -> None:
        """Raise where fewer have confirmed it."""
        wanted, seconds = self._options.wait_replicas, self._options.wait_timeout_s
        if confirmed < wanted:
            raise UnderReplicated(
                f"it was written, but only {confirmed} of {wanted} replicas confirmed that within "
                f"{seconds:g} s: a failover now may lose it, and to ask again may double it"
            )


def _nothing(command: Command) -> Any:
    """What a read command returns if the key does not exist."""
    name = str(command[0])
    if name in _COUNTS:
        return 0
    if name in {"GET", "LINDEX"}:
        return None
    if name == "GETRANGE":
        return b""
    if name == "HMGET":
        return [None] * (len(command) - 2)
    return [b"0", []] if name == "ZSCAN" else []


def _fields(info: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in info.decode().splitlines() if ":" in line)
    return {name: value for name, _, value in lines}


__all__ = ["Arg", "OutcomeUnknown", "Store", "StoreUnavailable", "error_text", "translate"]


# Waiting for Redis at startup: a database that starts together with us, or a failover in progress.

Written = TypeVar("Written")

_FIRST_PAUSE_S, _MAX_PAUSE_S = 0.1, 1.0
_NOBODYS = "resqpy checks whether this Redis accepts writes"  # no job looks like this


async def reach(store: Store, within_s: float | None = None) -> None:
    """Return when Redis is reachable and accepts writes; problems that waiting can't solve are raised at
    once.

    Args:
        within_s: seconds; None: as configured.

    Raises:
        StoreUnavailable: it did not become available in time.
        StoreMisconfigured: it can't be used as configured.
    """
    options = store.options
    limit_s = options.startup_timeout_s if within_s is None else within_s
    deadline_s, pause_s = SYSTEM_CLOCK.monotonic() + limit_s, _FIRST_PAUSE_S
    options.reachability.starting(limit_s)
    try:
        while (error := await _what_keeps(store)) is not None:
            left_s = deadline_s - SYSTEM_CLOCK.monotonic()
            if left_s <= 0:
                raise _gave_up(error, limit_s) from error
            await asyncio.sleep(min(pause_s, left_s))
            pause_s = min(pause_s * 2, _MAX_PAUSE_S)
        options.reachability.answered(surely=True)
    finally:
        options.reachability.starting(None)
        store.waited_for = True


async def persevere(store: Store, write: Callable[[], Awaitable[Written]]) -> Written:
    """Repeat a write at startup until it has certainly been done, although the connection may break again
    or a reply get lost. Only for idempotent writes.

    Raises:
        StoreUnavailable: it could not be done within the startup time.
    """
    limit_s = store.options.startup_timeout_s
    deadline_s = SYSTEM_CLOCK.monotonic() + limit_s
    while True:
        try:
            return await write()
        except (StoreUnavailable, OutcomeUnknown) as error:
            left_s = deadline_s - SYSTEM_CLOCK.monotonic()
            if left_s <= 0:
                raise _gave_up(error, limit_s) from error
            await reach(store, left_s)


async def _what_keeps(store: Store) -> StoreError | None:
    """A temporary problem that prevents writing there."""
    try:
        await store.connect()
        await _ask_for_a_write(store)
    except (StoreUnavailable, OutcomeUnknown) as error:
        return error
    return None


async def _ask_for_a_write(store: Store) -> None:
    (reply,) = await store.line.send([("LREM", store.keys.queue(""), 0, _NOBODYS)])
    try:
        store.checked(reply, ("LREM",))
    except (StoreUnavailable, OutcomeUnknown):
        raise
    except StoreError:  # this user may not even do that; errors surface on first use
        return


def _gave_up(error: StoreError, limit_s: float) -> StoreUnavailable:
    waited = f" (given up after {limit_s:g} s)" if limit_s > 0 else ""
    return StoreUnavailable(f"{error}{waited}")


# An estimate of Redis' clock, the one clock that all processes of an installation share.
#
# It is based on Redis' answers and our monotonic clock, so neither a jump of this machine's clock nor a wrong
# clock matters.


class RedisClock:
    """An estimate that is slightly behind, never ahead (by the latency of the reply).

    Args:
        clock: used until the first answer.

    Attributes:
        monotonic: seconds of our monotonic clock.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.monotonic: Callable[[], float] = clock.monotonic
        self._ahead_us = clock.now_us() - clock.monotonic() * 1_000_000
        self._heard_s = float("-inf")

    def note(self, time_us: int) -> None:
        """Record Redis' time, just received, in microseconds since the epoch."""
        self._heard_s = self.monotonic()
        self._ahead_us = time_us - self._heard_s * 1_000_000

    def note_between(self, time_us: int, asked_s: float) -> None:
        """Record a time that Redis returned at some moment since the request: if the estimate is consistent
        with it, it stays, because the reply may have waited here before it was processed.
        """
        self._heard_s = self.monotonic()
        least_us = time_us - self._heard_s * 1_000_000
        most_us = time_us - asked_s * 1_000_000
        self._ahead_us = min(max(self._ahead_us, least_us), most_us)

    @property
    def age_s(self) -> float:
        """Seconds since Redis last told its time; infinite: never."""
        return self.monotonic() - self._heard_s

    def now_us(self) -> int:
        """Microseconds since the epoch."""
        return int(self.monotonic() * 1_000_000 + self._ahead_us)

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""
        return self.now_us() // 1000


class FollowingClock(RedisClock):
    """A clock set by a test: Redis' time is ignored."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.set_by_test: bool = True
        self._followed = clock

    def note(self, time_us: int) -> None:
        """Ignored."""

    def note_between(self, time_us: int, asked_s: float) -> None:
        """Ignored."""

    def now_us(self) -> int:
        return self._followed.now_us()


async def shared_clock(clock: Clock, store: Store) -> RedisClock:
    """Redis' clock, which has just been queried; or the one that a test has set."""
    if test_ms(clock) is not None:
        return FollowingClock(clock)
    shared = RedisClock(clock)
    await hear(shared, store)
    return shared


async def hear(clock: RedisClock, store: Store) -> None:
    """Query Redis' time."""
    asked_s = clock.monotonic()
    clock.note_between(await store.time_us(), asked_s)
