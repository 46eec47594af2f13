"""One connection on which everybody's commands travel together (group commit).

What is asked for while a flush is in flight goes in the next one: batching without a timer and
without a knob. A flush is a task of its own, so a caller that is cancelled harms nobody else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import hiredis
from redis import exceptions
from redis.asyncio.connection import AbstractConnection

from resqpy.base.errors import OutcomeUnknown, ResqpyError, StoreUnavailable
from resqpy.store.connect import Opener, translate_connect

Command = Sequence[str | bytes | int | float]
Replies = asyncio.Future[list[Any]]

_pack: Any = hiredis.pack_command


def _packed(command: Command) -> bytes:
    try:
        return bytes(_pack(tuple(command)))
    except UnicodeEncodeError:  # a foreign name that is no UTF-8 goes back as it came
        return bytes(_pack(tuple(map(_escaped, command))))


def _escaped(word: str | bytes | float) -> bytes | float:
    return word.encode("utf-8", "surrogateescape") if isinstance(word, str) else word


class _Asked:
    """What one caller asked for: packed commands, how many, and who waits for the replies."""

    __slots__ = ("count", "future", "packed")

    def __init__(self, commands: Sequence[Command], future: Replies) -> None:
        # packed here, so that what can't be written harms its own caller and nobody else
        self.packed = [_packed(command) for command in commands]
        self.count = len(self.packed)
        self.future = future


class Line:
    """A self-healing connection. Error replies come back as values; see `Store` for their meaning.

    Args:
        open_connection: how to get a new one.
        reply_timeout_s: seconds without a reply after which the connection is given up.

    Attributes:
        round_trips: how many flushes there were (tests count them).
    """

    def __init__(self, open_connection: Opener, reply_timeout_s: float) -> None:
        self._open = open_connection
        self._reply_timeout_s = reply_timeout_s
        self._connection: AbstractConnection | None = None
        self._waiting: list[_Asked] = []
        self._flusher: asyncio.Task[None] | None = None
        self._leave = False
        self.round_trips = 0

    def send(self, commands: Sequence[Command]) -> Replies:
        """The replies of the commands, in order; error replies are values among them.

        The future raises `StoreUnavailable` where nothing was sent, `OutcomeUnknown` where the
        connection was lost before the replies were there.
        """
        loop = asyncio.get_running_loop()
        asked = _Asked(commands, loop.create_future())
        self._waiting.append(asked)
        if self._flusher is None:
            self._flusher = loop.create_task(self._flush_all())
        return asked.future

    async def _flush_all(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                await self._flush(batch)
        finally:
            self._flusher = None

    async def _flush(self, batch: list[_Asked]) -> None:
        try:
            connection = await self._usable()
        except BaseException as error:
            _fail(batch, _unsent(error))
            if not isinstance(error, Exception):
                raise
            return
        self.round_trips += 1
        timer = asyncio.get_running_loop().call_later(self._reply_timeout_s, self._give_up)
        try:
            await _exchange(connection, batch)
        except BaseException as error:
            await self._drop()
            _fail(batch, OutcomeUnknown(f"the connection to Redis was lost: {error}"))
            if not isinstance(error, (exceptions.RedisError, OSError, EOFError)):
                raise
        finally:
            timer.cancel()

    async def _usable(self) -> AbstractConnection:
        """The connection, made anew where it is known to be dead: then nothing is in doubt."""
        connection = self._connection
        if connection is not None and (self._leave or not _alive(connection)):
            await self._drop()
            connection = None
        if connection is None:
            self._leave = False
            connection = self._connection = await self._open()
        return connection

    def _give_up(self) -> None:
        """No reply for too long: break the connection, so that the read ends."""
        writer = getattr(self._connection, "_writer", None)
        if writer is not None:
            writer.transport.abort()

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)

    def reopen(self) -> None:
        """Leave this connection (it leads to a replica, say): the next flush opens another.

        What is in flight on it now may end: it gets its replies there.
        """
        self._leave = True

    async def close(self) -> None:
        """Wait for what is in flight, then close."""
        if self._flusher is not None:
            await asyncio.wait([self._flusher], timeout=self._reply_timeout_s)
        await self._drop()


async def _exchange(connection: AbstractConnection, batch: list[_Asked]) -> None:
    packed = [each for asked in batch for each in asked.packed]
    await connection.send_packed_command(packed, check_health=False)
    for asked in batch:
        replies = [await _reply(connection) for _ in range(asked.count)]
        if not asked.future.done():
            asked.future.set_result(replies)


async def _reply(connection: AbstractConnection) -> Any:
    try:
        return await connection.read_response(disconnect_on_error=False)
    except exceptions.ResponseError as error:
        return error
    except exceptions.BusyLoadingError as error:
        # a reply like the others, but redis-py counts it among the lost connections
        return exceptions.ResponseError(f"LOADING {error}")


def _alive(connection: AbstractConnection) -> bool:
    reader = getattr(connection, "_reader", None)
    writer = getattr(connection, "_writer", None)
    if reader is None or writer is None or writer.is_closing():
        return False
    return not reader.at_eof()


def _unsent(error: BaseException) -> BaseException:
    if isinstance(error, ResqpyError):
        return error
    if isinstance(error, Exception):
        return translate_connect(error)
    return StoreUnavailable("the loop ended before anything was sent")


def _fail(batch: list[_Asked], error: BaseException) -> None:
    for asked in batch:
        if not asked.future.done():
            asked.future.set_exception(error)
            asked.future.exception()  # it may be that nobody waits any more
