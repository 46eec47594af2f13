"""One connection on which everybody's commands travel together (group commit).

What is asked for while a flush is in flight goes in the next one: batching without a timer and
without a knob. A flush is a task of its own, so a caller that is cancelled harms nobody else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from redis import exceptions
from redis.asyncio.connection import AbstractConnection

from resqpy.base.errors import OutcomeUnknown, ResqpyError, StoreUnavailable
from resqpy.store.connect import Opener, translate_connect

Command = Sequence[str | bytes | int | float]
Waiting = tuple[Sequence[Command], "asyncio.Future[list[Any]]"]


class Line:
    """A self-healing connection. Error replies come back as values; see `Store` for their meaning.

    Args:
        open_connection: how to get a new one.
        reply_timeout_s: seconds without a reply after which the connection is given up.
    """

    def __init__(self, open_connection: Opener, reply_timeout_s: float) -> None:
        self._open = open_connection
        self._reply_timeout_s = reply_timeout_s
        self._connection: AbstractConnection | None = None
        self._waiting: list[Waiting] = []
        self._flusher: asyncio.Task[None] | None = None
        self.round_trips = 0

    def send(self, commands: Sequence[Command]) -> asyncio.Future[list[Any]]:
        """The replies of the commands, in order; error replies are values among them.

        The future raises `StoreUnavailable` where nothing was sent, `OutcomeUnknown` where the
        connection was lost before the replies were there.
        """
        future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._waiting.append((commands, future))
        if self._flusher is None:
            self._flusher = asyncio.create_task(self._flush_all())
        return future

    async def _flush_all(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                await self._flush(batch)
        finally:
            self._flusher = None

    async def _flush(self, batch: list[Waiting]) -> None:
        try:
            connection = await self._usable()
        except Exception as error:
            _fail(batch, error)
            return
        self.round_trips += 1
        timer = asyncio.get_running_loop().call_later(self._reply_timeout_s, self._give_up)
        try:
            together = [command for commands, _ in batch for command in commands]
            await connection.send_packed_command(
                connection.pack_commands(together), check_health=False
            )
            for commands, future in batch:
                replies = [await _reply(connection) for _ in commands]
                if not future.done():
                    future.set_result(replies)
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
        if connection is not None and not _alive(connection):
            await self._drop()
            connection = None
        if connection is None:
            try:
                connection = self._connection = await self._open()
            except (exceptions.RedisError, OSError) as error:
                raise translate_connect(error) from error
        return connection

    def _give_up(self) -> None:
        """No reply for too long: break the connection, so that the read ends."""
        connection = self._connection
        writer = getattr(connection, "_writer", None)
        if writer is not None:
            writer.transport.abort()

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)

    async def reopen(self) -> None:
        """Leave this connection (it leads to a replica, say); the next flush opens another."""
        await self._drop()

    async def close(self) -> None:
        """Wait for what is in flight, then close."""
        if self._flusher is not None:
            await asyncio.wait([self._flusher], timeout=self._reply_timeout_s)
        await self._drop()


async def _reply(connection: AbstractConnection) -> Any:
    try:
        return await connection.read_response()
    except exceptions.ResponseError as error:
        return error
    except exceptions.ConnectionError as error:
        # redis-py makes connection errors of some replies (LOADING, max clients): those were read
        if isinstance(error, exceptions.BusyLoadingError):
            return exceptions.ResponseError(f"LOADING {error}")
        raise


def _alive(connection: AbstractConnection) -> bool:
    reader = getattr(connection, "_reader", None)
    writer = getattr(connection, "_writer", None)
    if reader is None or writer is None or writer.is_closing():
        return False
    return not reader.at_eof()


def _fail(batch: list[Waiting], error: BaseException) -> None:
    if not isinstance(error, ResqpyError):
        error = StoreUnavailable(f"can't reach Redis: {error}")
    for _, future in batch:
        if not future.done():
            future.set_exception(error)
            future.exception()  # it may be that nobody waits any more
