"""One connection shared by many callers (group commit).

Commands issued in one iteration of the event loop, or while a flush is in flight, are sent together:
batching without a timer or a setting. Cancelling one caller does not affect the others.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import hiredis

from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.concurrency.loops import Home, hand_over
from resqpy.base.concurrency.own_tasks import OwnTask, own_task
from resqpy.base.errors import OutcomeUnknown, ResqpyError, StoreUnavailable
from resqpy.store.connection.connect import Opener
from resqpy.store.connection.reachability import Reachability
from resqpy.store.connection.translation import Command, translate_connect
from resqpy.store.connection.wire import Wire

Replies = asyncio.Future[list[Any]]

_pack: Any = hiredis.pack_command


def packed(command: Command) -> bytes:
    """A command's bytes."""
    try:
        whole: bytes = _pack(command if type(command) is tuple else tuple(command))
        return whole
    except UnicodeEncodeError:  # a foreign name that is no UTF-8 goes back as it came
        return bytes(_pack(tuple(map(_escaped, command))))


def _escaped(word: str | bytes | float) -> bytes | float:
    return word.encode("utf-8", "surrogateescape") if isinstance(word, str) else word


class _Asked:
    """One caller's request: the packed commands, their number, the waiting future, the replies received, and
    whether Redis was known to be away when it was sent.
    """

    __slots__ = ("away", "count", "future", "packed", "replies")

    def __init__(self, commands: Sequence[Command], future: Replies) -> None:
        # packed here, so that what can't be written harms its own caller and nobody else
        self.packed = b"".join(map(packed, commands))
        self.count = len(commands)
        self.future = future
        self.replies: list[Any] = []
        self.away = False


class Line:
    """A self-healing connection. Error replies are returned as values; see `Store` for their meaning.

    Args:
        open_connection: how to get a new one.
        reply_timeout_s: seconds without a reply after which the connection is given up.
        reachability: told when it breaks, and that it answers.
        eager: send at once what can be sent, instead of waiting for what else is asked for in this
            turn of the event loop: for a line with one user, who goes on meanwhile. Other lines do so
            while nobody else asks: after a flush of one caller's commands alone.
        depth: send although so many, less one, are in flight.

    Attributes:
        round_trips: number of flushes (counted in tests).
    """

    def __init__(
        self,
        open_connection: Opener,
        reply_timeout_s: float,
        reachability: Reachability,
        *,
        eager: bool = False,
        depth: int = 1,
    ) -> None:
        self._open = open_connection
        self._eager = eager
        self._depth = depth
        self._reply_timeout_s = reply_timeout_s
        self._reachability = reachability
        self._wire: Wire | None = None
        self._waiting: list[_Asked] = []
        self._in_flight: deque[_Asked] = deque()
        self._flush_planned = False
        self._alone = False
        self._opening: OwnTask[None] | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._give_up_at = 0.0
        self._heard_s = 0.0  # when the connection was last known to be one
        self._leave = False
        self._home = Home("a connection to Redis", self._moved)
        self.round_trips: int = 0

    @property
    def alive(self) -> bool:
        """Whether there is a connection that is not known to be dead."""
        return self._wire is not None and self._wire.alive

    def send(self, commands: Sequence[Command]) -> Replies:
        """The replies of the commands, in order; error replies are values among them.

        The future raises `StoreUnavailable` if nothing was sent, `OutcomeUnknown` if the connection was
        lost before the replies arrived.

        Raises:
            WrongLoop: this is not the line's loop, and that one can't do it.
        """
        if (home := self._home.elsewhere()) is not None:
            return hand_over(home, partial(self._sent, commands))
        loop = asyncio.get_running_loop()
        asked = _Asked(commands, loop.create_future())
        self._waiting.append(asked)
        if len(self._in_flight) < self._depth and not self._flush_planned:
            if self._eager or self._alone:
                self._flush()
            else:
                self._flush_planned = True
                loop.call_soon(self._flush)
        return asked.future

    async def _sent(self, commands: Sequence[Command]) -> list[Any]:
        return await self.send(commands)

    def _moved(self) -> None:
        """The loop on which this started is gone, or belongs to another process."""
        self._wire = self._opening = self._watch = None
        self._flush_planned = self._leave = False
        self._waiting, self._in_flight = [], deque()

    # -- sending --

    def _flush(self) -> None:
        """Send everything that waits; if the last connection is known to be dead, on a new one, so that
        nothing is in doubt.
        """
        self._flush_planned = False
        if self._opening is not None or not self._waiting:
            return
        if self._leave or not self.alive:
            self._opening = own_task(self._open_wire(), "connecting to Redis")
            return
        assert self._wire is not None
        self.round_trips += 1
        batch, self._waiting = self._waiting, []
        self._in_flight.extend(batch)
        self._alone = len(batch) == 1
        if self._reachability.away:
            for asked in batch:
                asked.away = True
        self._watch_for_replies()
        self._wire.send(b"".join([asked.packed for asked in batch]))

    async def _open_wire(self) -> None:
        self._drop()
        self._leave = False
        try:
            self._wire = Wire(await self._open(), self._on_replies, self._on_lost)
            self._heard_s = SYSTEM_CLOCK.monotonic()
        except BaseException as error:
            unsent, self._waiting = self._waiting, []
            _fail(unsent, _unsent(error))
            if not isinstance(error, Exception):
                raise
        finally:
            self._opening = None
        self._flush()

    # -- receiving --

    def _on_replies(self, wire: Wire, replies: list[Any]) -> None:
        flight = self._in_flight
        self._heard_s = SYSTEM_CLOCK.monotonic()
        for reply in replies:
            if not flight:  # not requested: a server that disconnects us, for example
                wire.abort()
                return
            asked = flight[0]
            asked.replies.append(reply)
            if len(asked.replies) == asked.count:
                flight.popleft()
                self._answered(asked)
        if len(flight) < self._depth:
            self._flush()

    def _answered(self, asked: _Asked) -> None:
        # A reply to what was sent before may have been on its way when Redis went.
        if asked.away and not all(isinstance(r, Exception) for r in asked.replies):
            self._reachability.answered()
        if not asked.future.done():
            asked.future.set_result(asked.replies)

    def _on_lost(self, wire: Wire, error: Exception | None) -> None:
        if wire is not self._wire:
            return
        self._wire = None
        lost, self._in_flight = self._in_flight, deque()
        why = error or "closed by the server"
        unknown = OutcomeUnknown(f"the connection to Redis was lost: {why}")
        if lost:
            self._reachability.failed(unknown, begun_s=self._heard_s)
        _fail(lost, unknown)
        self._flush()

    # -- a silent server --

    def _watch_for_replies(self) -> None:
        """One timer for many flushes: each flush only moves its deadline."""
        loop = asyncio.get_running_loop()
        self._give_up_at = loop.time() + self._reply_timeout_s
        if self._watch is None:
            self._watch = loop.call_at(self._give_up_at, self._look_for_replies)

    def _look_for_replies(self) -> None:
        self._watch = None
        if not self._in_flight or self._wire is None:
            return
        loop = asyncio.get_running_loop()
        if loop.time() >= self._give_up_at:
            self._wire.abort()
        else:
            self._watch = loop.call_at(self._give_up_at, self._look_for_replies)

    # -- closing --

    def _drop(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()

    def reopen(self) -> None:
        """Drop this connection (it leads to a replica, for example): the next flush opens another.

        Commands in flight may complete: they get their replies on the old connection.
        """
        self._leave = True

    def reset(self) -> None:
        """Close the connection at once: callers waiting for a reply get `OutcomeUnknown`."""
        self._drop()
        lost, self._in_flight = self._in_flight, deque()
        _fail(lost, OutcomeUnknown("the connection to Redis was dropped"))
        self._flush()

    async def close(self) -> None:
        """Wait for what is in flight, then close."""
        if (home := self._home.elsewhere()) is not None:
            await hand_over(home, self.close)
            return
        pending = [asked.future for asked in (*self._in_flight, *self._waiting)]
        if pending:
            await asyncio.wait(pending, timeout=self._reply_timeout_s)
        if self._opening is not None:
            self._opening.end()
            await asyncio.wait([self._opening])
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        self._drop()


def _unsent(error: BaseException) -> BaseException:
    if isinstance(error, ResqpyError):
        return error
    if isinstance(error, Exception):
        return translate_connect(error)
    return StoreUnavailable("the event loop ended before anything was sent")


def _fail(batch: Iterable[_Asked], error: BaseException) -> None:
    for asked in batch:
        if not asked.future.done():
            asked.future.set_exception(error)
            asked.future.exception()  # perhaps nobody waits any more
