"""Listens to a channel, on its own connection, which is reopened when it breaks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from redis import exceptions
from redis.asyncio.connection import AbstractConnection

from resqpy.base.errors import StoreError
from resqpy.store.connection.client import Store

_FIRST_PAUSE_S, _MAX_PAUSE_S = 0.05, 2.0
_PING_EVERY_S, _PONG_WITHIN_S = 10.0, 5.0


class Subscription:
    """Listens until cancelled. Messages published while it is disconnected are missed.

    Args:
        on_message: called with each message.
        on_connect: called when it starts listening, the first time and after each break.
    """

    def __init__(
        self,
        store: Store,
        channel: str,
        on_message: Callable[[bytes], None],
        on_connect: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._channel = channel
        self._on_message = on_message
        self._on_connect = on_connect

    async def run(self) -> None:
        """Listen until cancelled."""
        pause_s = _FIRST_PAUSE_S
        while True:
            connection: AbstractConnection | None = None
            try:
                connection = await self._store.open_connection()
                await connection.send_command("SUBSCRIBE", self._channel)
                async with asyncio.timeout(_PONG_WITHIN_S):  # `wait_for` may lose a cancellation
                    await connection.read_response()
                self._on_connect()
                pause_s = _FIRST_PAUSE_S
                await self._listen(connection)
            except (exceptions.RedisError, StoreError, OSError, EOFError, TimeoutError):
                pause_s = min(pause_s * 2, _MAX_PAUSE_S)
            finally:
                if connection is not None:
                    await connection.disconnect(nowait=True)
            await asyncio.sleep(pause_s)

    async def _listen(self, connection: AbstractConnection) -> None:
        waiting_for_pong = False
        while True:
            wait_s = _PONG_WITHIN_S if waiting_for_pong else _PING_EVERY_S
            message = await connection.read_response(timeout=wait_s)
            if message is not None:
                waiting_for_pong = False
                if isinstance(message, list) and message[0] == b"message":
                    self._on_message(message[2])
            elif waiting_for_pong:
                raise ConnectionResetError("no answer to a ping")
            else:
                await connection.send_command("PING")
                waiting_for_pong = True
