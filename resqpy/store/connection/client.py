"""The door to Redis: commands, transactions and scripts, with errors translated at the border.

A reply that says "not now" (`LOADING`, `READONLY`, `BUSY`, …) becomes `StoreUnavailable`: nothing
was done. A lost connection becomes `OutcomeUnknown`. Nothing is repeated here but a script that
the server did not know (`NOSCRIPT`: it did not run).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from redis import exceptions

from resqpy.base.errors import (
    OutcomeUnknown,
    StoreError,
    StoreMisconfigured,
    StoreUnavailable,
    UnderReplicated,
)
from resqpy.base.keys import Keys
from resqpy.store.connection.connect import Opener, opener
from resqpy.store.connection.line import Line
from resqpy.store.connection.options import RedisOptions
from resqpy.store.connection.scripts import script
from resqpy.store.connection.translation import (
    ELSEWHERE,
    WRONG_KIND,
    Command,
    error_text,
    is_forbidden,
    translate,
)

Arg = str | bytes | int | float

OLDEST_SERVER = (6, 2)

_KEEPS = "noeviction"
# What commands that look are for, and what they answer where nothing is.
_KINDS = {"LLEN": "list", "LRANGE": "list", "LINDEX": "list", "SMEMBERS": "set", "SCARD": "set",
          "ZCARD": "sorted set", "ZRANGE": "sorted set", "ZSCAN": "sorted set", "HGETALL": "hash",
          "HMGET": "hash", "HLEN": "hash", "GET": "string"}  # fmt: skip
_COUNTS = ("ZCARD", "SCARD", "LLEN", "HLEN")
_LOADS = 20  # of a script, until it is there when it is called
_NAMED_KEYS = 6  # of a script, where one of them has another kind or may not be touched


class Store:
    """One installation on one Redis.

    Args:
        options: which Redis and which namespace.

    Attributes:
        keys: the key names of the installation.
        line: the connection on which everybody's commands travel.
        scripts: whether looks may use scripts, which not every Redis user may run.
        evicts: the policy by which Redis may throw keys away, as `connect` found it; None: it keeps all.
        junk: keys that `look` found to be of another kind, and what they should be.
        waited_for: a start has waited for this Redis (store/connection/reach.py).
        mending: called where a key was of another kind than it should be; what it did, in words. None:
            this process only looks.
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

    def new_line(
        self, *, eager: bool = False, depth: int = 1, reply_timeout_s: float | None = None
    ) -> Line:
        """A further connection, for who must not wait behind others; `eager`, `depth`: see `Line`.

        Args:
            reply_timeout_s: None: the options'.
        """
        options = self.options
        wait_s = options.reply_timeout_s if reply_timeout_s is None else reply_timeout_s
        return Line(self.open_connection, wait_s, options.reachability, eager=eager, depth=depth)

    async def connect(self) -> None:
        """Reach Redis once, to say early and clearly what is wrong with it. One round trip.

        Raises:
            StoreUnavailable: nobody is there.
            StoreMisconfigured: too old, a Cluster without `cluster=True`, a wrong login.
        """
        replies = await self.line.send([("INFO", "server"), ("INFO", "memory")])
        if all(isinstance(each, Exception) and is_forbidden(each) for each in replies):
            return  # a user who may not ask: what is wrong will show itself
        info, memory = (_fields(self.checked(each, ("INFO",))) for each in replies)
        policy = memory.get("maxmemory_policy", _KEEPS)
        bound = memory.get("maxmemory", "0") != "0"
        self.evicts = policy if bound and policy != _KEEPS else None
        version = tuple(int(part) for part in str(info["redis_version"]).split(".")[:2])
        if version < OLDEST_SERVER:
            raise StoreMisconfigured(
                f"Redis {info['redis_version']} is too old; 6.2 or later is needed"
            )
        mode = info.get("redis_mode", info.get("server_mode"))  # as Valkey calls it
        if mode == "cluster" and not self.options.cluster:
            raise StoreMisconfigured(
                "this Redis is a node of a Cluster: set cluster=True and a namespace that is a "
                f"hash tag, '{{{self.keys.namespace}}}'"
            )

    async def info(self, section: str) -> dict[str, str]:
        """A section of Redis' INFO."""
        return _fields(await self.call("INFO", section))

    async def check_writable(self) -> None:
        """Ask for a write that changes nothing (no queue has an empty name): a replica refuses it. A user
        without that right is asked no more than an answer.

        Raises:
            StoreError: Redis is away, or takes no writes.
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
        replies = await (line or self.line).send([command])
        return (await self.all_checked(replies, [command], line))[0]

    async def pipeline(self, commands: Sequence[Command], line: Line | None = None) -> list[Any]:
        """Several commands in one round trip; the first error is raised after all were done."""
        if not commands:
            return []
        replies = await (line or self.line).send(commands)
        return await self.all_checked(replies, commands, line)

    async def look(self, commands: Sequence[Command]) -> list[Any]:
        """As `pipeline`, for who only looks: a key that is of another kind counts as empty, and is noted."""
        replies = await self.line.send(commands) if commands else []
        pairs = zip(replies, commands, strict=True)
        return [self._seen(reply, command) for reply, command in pairs]

    def _seen(self, reply: Any, command: Command) -> Any:
        if isinstance(reply, Exception) and error_text(reply).startswith(WRONG_KIND):
            key = command[1]
            name = key.decode("utf-8", "surrogateescape") if isinstance(key, bytes) else str(key)
            self.junk[name] = _KINDS.get(str(command[0]), "key of ours")
            return _nothing(command)
        return self.checked(reply, command)

    async def kinds(self, keys: Sequence[str]) -> list[str]:
        """What some keys are, by Redis' words; a sorted set is a "zset". One round trip."""
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
        """Run a script that enqueues: where the options want it, its writes are on replicas, too.

        Raises:
            UnderReplicated: they are written, but not on so many.
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
    ) -> list[Any]:
        """Run a script and commands behind it, in one round trip (two the first time): all replies."""
        wanted, used = script(name), line or self.line
        commands = [("EVALSHA", wanted.sha, len(keys), *keys, *args), *then]
        shown: list[Command] = [("EVALSHA", f"{name}.lua", *keys[:_NAMED_KEYS]), *then]
        replies, loads = await used.send(commands), 0
        while isinstance(replies[-len(commands)], exceptions.NoScriptError) and loads < _LOADS:
            loads += 1  # more than once where somebody flushes the scripts all the time
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
        """Put right what a key of another kind stands for, as far as it is one of ours; that is
        added to the error.
        """
        if self.mending is not None and WRONG_KIND in str(error):
            for words in await self.mending():
                error.add_note(words)

    def checked(self, reply: Any, command: Command, line: Line | None = None) -> Any:
        """A reply; one that is an error is raised as one of ours."""
        if not isinstance(reply, Exception):
            return reply
        text = error_text(reply)
        if text.startswith(ELSEWHERE):
            (line or self.line).reopen()
        error = translate(text, command)
        self.options.reachability.failed(error, refused=True)
        raise error from reply

    async def close(self) -> None:
        """Close the connection; what is in flight is waited for."""
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
    """What a command that looks answers where nothing is."""
    name = str(command[0])
    if name in _COUNTS:
        return 0
    if name in {"GET", "LINDEX"}:
        return None
    if name == "HMGET":
        return [None] * (len(command) - 2)
    return [b"0", []] if name == "ZSCAN" else []


def _fields(info: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in info.decode().splitlines() if ":" in line)
    return {name: value for name, _, value in lines}


__all__ = ["Arg", "OutcomeUnknown", "Store", "StoreUnavailable", "error_text", "translate"]
