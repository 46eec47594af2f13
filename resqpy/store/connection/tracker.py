"""Wake-up without polling: Redis reports changes of queues, whoever made them.

Uses server-assisted client-side caching in broadcast mode, on a RESP2 connection that redirects to itself
and subscribes to `__redis__:invalidate` (works from 6.2 on, without any server setting; redis-py's RESP3
default loses the pushes in asyncio). The same connection listens to resqpy's own control channel. If the
server or a proxy forbids tracking, the owner falls back to polling.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from redis import exceptions
from redis.asyncio.connection import AbstractConnection

from resqpy.base.errors import StoreError, StoreMisconfigured
from resqpy.store.connection.client import Store

_INVALIDATE = b"__redis__:invalidate"
PING_EVERY_S = 10.0
PONG_WITHIN_S = 5.0
_FIRST_PAUSE_S, _MAX_PAUSE_S, _FORBIDDEN_PAUSE_S = 0.05, 2.0, 60.0


class Tracker:
    """Listens until closed; reconnects by itself.

    Args:
        prefixes: prefixes of the keys to watch.
        on_change: called with the changed keys; None: anything may have changed (a flush, or a new
            connection, before which changes were missed).
        on_control: called with each message on the control channel.
        on_fallback: called once with the reason if tracking is not available.

    Attributes:
        live: whether changes are reported; the owner polls while they are not.
    """

    def __init__(
        self,
        store: Store,
        prefixes: Sequence[str],
        on_change: Callable[[list[bytes] | None], None],
        on_control: Callable[[bytes], None] | None = None,
        on_fallback: Callable[[Exception], None] | None = None,
    ) -> None:
        self._store = store
        self._prefixes = without_overlap(prefixes)
        self._on_change = on_change
        self._on_control = on_control
        self._on_fallback = on_fallback
        self._connection: AbstractConnection | None = None
        self._fell_back = False
        self.live: bool = False
        self.ping_every_s = PING_EVERY_S
        self.pong_within_s = PONG_WITHIN_S

    async def run(self) -> None:
        """Listen until cancelled."""
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                await self._subscribe()
                pause_s = _FIRST_PAUSE_S
                self._on_change(None)
                await self._listen()
            except (exceptions.ResponseError, StoreMisconfigured) as error:
                self._fall_back(error)
                pause_s = _FORBIDDEN_PAUSE_S
            except (exceptions.RedisError, StoreError, OSError, EOFError):
                pause_s = min(pause_s * 2, _MAX_PAUSE_S)
            finally:
                self.live = False
                await self._disconnect()
            await asyncio.sleep(pause_s)

    def renew(self) -> None:
        """Replace the connection: Redis was unreachable and may be another server now."""
        writer = getattr(self._connection, "_writer", None)
        if writer is not None:
            writer.transport.abort()

    def _fall_back(self, error: Exception) -> None:
        if self._on_fallback is not None and not self._fell_back:
            self._on_fallback(error)
        self._fell_back = True

    async def _subscribe(self) -> None:
        connection = self._connection = await self._store.open_connection()
        allowed = await self._track(connection)
        channels = [_INVALIDATE]
        if self._on_control is not None:
            channels.append(self._store.keys.own("control").encode())
        await connection.send_command("SUBSCRIBE", *channels)
        for _ in channels:
            await self._within(connection.read_response())
        self.live = allowed

    async def _track(self, connection: AbstractConnection) -> bool:
        """Enable tracking; False if that is forbidden (control messages are still received)."""
        prefixes = [word for prefix in self._prefixes for word in ("PREFIX", prefix)]
        try:
            await connection.send_command("CLIENT", "ID")
            own_id = await self._within(connection.read_response())
            await connection.send_command(
                "CLIENT", "TRACKING", "ON", "REDIRECT", own_id, "BCAST", *prefixes
            )
            await self._within(connection.read_response())
        except exceptions.ResponseError as error:
            self._fall_back(error)
            return False
        self._fell_back = False
        return True

    async def _listen(self) -> None:
        """Forward messages; a ping in every idle period detects a half-open connection."""
        connection = self._connection
        assert connection is not None
        waiting_for_pong = False
        while True:
            wait_s = self.pong_within_s if waiting_for_pong else self.ping_every_s
            message = await connection.read_response(timeout=wait_s)
            if message is not None:
                waiting_for_pong = False
                self._hand_on(message)
            elif waiting_for_pong:
                raise ConnectionResetError("no answer to a ping")
            else:
                await connection.send_command("PING")
                waiting_for_pong = True

    def _hand_on(self, message: Any) -> None:
        if not isinstance(message, list) or message[0] != b"message":
            return
        if message[1] == _INVALIDATE:
            self._on_change(message[2])
        elif self._on_control is not None:
            self._on_control(message[2])

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)

    async def _within(self, reply: Any) -> Any:
        async with asyncio.timeout(
            self.pong_within_s
        ):  # wait_for may swallow a cancellation (< 3.12)
            return await reply


def without_overlap(prefixes: Sequence[str]) -> list[str]:
    """The prefixes without those that begin with another one: Redis refuses both together."""
    kept: list[str] = []
    for prefix in sorted(set(prefixes)):
        if not kept or not prefix.startswith(kept[-1]):
            kept.append(prefix)
    return kept
