"""Wake-up without polling: Redis reports changes of queues, whoever made them.

Uses server-assisted client-side caching in broadcast mode, on a RESP2 connection that redirects to itself
and subscribes to `__redis__:invalidate` (works from 6.2 on, without any server setting; redis-py's RESP3
default loses the pushes in asyncio). The same connection listens to resqpy's own control channel. If the
server or a proxy forbids tracking, the owner falls back to polling.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from redis import exceptions
from redis.asyncio.connection import AbstractConnection

from resqpy.base.errors import StoreError, StoreMisconfigured
from resqpy.store.connection.client import Store
from resqpy.store.connection.line import packed
from resqpy.store.connection.wire import Wire

_INVALIDATE = b"__redis__:invalidate"
PING_EVERY_S = 10.0
PONG_WITHIN_S = 5.0
_FIRST_PAUSE_S, _MAX_PAUSE_S, _FORBIDDEN_PAUSE_S = 0.05, 2.0, 60.0


class Subscription:
    """Listens to channels, on its own connection, which is reopened when it breaks. Messages published
    while it is disconnected are missed.

    Args:
        channels: what is called with each message, by channel.
        on_connect: called when it starts listening, the first time and after each break.
    """

    def __init__(
        self,
        store: Store,
        channels: Mapping[bytes, Callable[[Any], None]],
        on_connect: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._channels = dict(channels)
        self._on_connect = on_connect
        self._connection: AbstractConnection | None = None
        self._wire: Wire | None = None
        self._connected = self._heard = False
        self._acknowledged = 0
        self.ping_every_s = PING_EVERY_S
        self.pong_within_s = PONG_WITHIN_S

    async def run(self) -> None:
        """Listen until cancelled."""
        pause_s = _FIRST_PAUSE_S
        while True:
            self._connected = False
            try:
                connection = self._connection = await self._store.open_connection()
                await self._begin(connection)
                await self._listen(connection)
            except (exceptions.RedisError, StoreError, OSError, EOFError) as error:
                pause_s = _FIRST_PAUSE_S if self._connected else pause_s
                pause_s = self._pause_after(error) or min(pause_s * 2, _MAX_PAUSE_S)
            finally:
                await self._disconnect()
            await asyncio.sleep(pause_s)

    def renew(self) -> None:
        """Replace the connection: Redis was unreachable and may be another server now."""
        if self._wire is not None:
            self._wire.abort()

    async def _begin(self, connection: AbstractConnection) -> None:
        """Prepare a new connection, before it subscribes."""

    def _pause_after(self, error: Exception) -> float | None:
        """Seconds until the next attempt; None: twice the last pause."""

    async def _listen(self, connection: AbstractConnection) -> None:
        """Subscribe, and forward messages from where they arrive; a ping in every idle period detects a half-open
        connection.
        """
        self._end = asyncio.get_running_loop().create_future()
        self._acknowledged = 0
        wire = self._wire = Wire(connection, self._on_replies, self._on_lost)
        wire.send(packed(("SUBSCRIBE", *self._channels)))
        asked = True
        while True:
            self._heard = False
            wait_s = self.pong_within_s if asked else self.ping_every_s
            await asyncio.wait([self._end], timeout=wait_s)
            if self._end.done():
                self._end.result()
            if asked and not self._heard:
                raise ConnectionResetError("no answer to a ping")
            asked = not (asked or self._heard)
            if asked:
                wire.send(packed(("PING",)))

    def _on_replies(self, wire: Wire, replies: list[Any]) -> None:
        self._heard = True
        try:
            for reply in replies:
                self._on_reply(reply)
        except BaseException as error:  # of a listener, too: `run` raises it
            wire.close()
            self._on_lost(wire, error)

    def _on_reply(self, reply: Any) -> None:
        if isinstance(reply, Exception):
            raise reply
        if not isinstance(reply, list):
            return
        if reply[0] == b"message":
            self._channels[reply[1]](reply[2])
        elif reply[0] == b"subscribe":
            self._acknowledged += 1
            if self._acknowledged == len(self._channels):
                self._connected = True
                self._on_connect()

    def _on_lost(self, _wire: Wire, error: BaseException | None) -> None:
        if not self._end.done():
            self._end.set_exception(error or ConnectionResetError("closed by the server"))

    async def _disconnect(self) -> None:
        wire, self._wire = self._wire, None
        connection, self._connection = self._connection, None
        if wire is not None:
            wire.close()
        elif connection is not None:
            await connection.disconnect(nowait=True)

    async def _within(self, reply: Any) -> Any:
        async with asyncio.timeout(self.pong_within_s):  # wait_for may lose a cancellation (< 3.12)
            return await reply


class Tracker(Subscription):
    """Reports changed keys while it runs.

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
        on_fallback: Callable[[Exception], None] = lambda _: None,
    ) -> None:
        control = {} if on_control is None else {store.keys.own("control").encode(): on_control}
        super().__init__(store, {_INVALIDATE: on_change, **control}, self._listening)
        self._on_change = on_change
        self._prefixes = without_overlap(prefixes)
        self._on_fallback = on_fallback
        self._fell_back = False
        self._allowed = False
        self.live: bool = False

    def _pause_after(self, error: Exception) -> float | None:
        if not isinstance(error, exceptions.ResponseError | StoreMisconfigured):
            return None
        self._fall_back(error)
        return _FORBIDDEN_PAUSE_S

    def _fall_back(self, error: Exception) -> None:
        if not self._fell_back:
            self._on_fallback(error)
        self._fell_back = True

    async def _begin(self, connection: AbstractConnection) -> None:
        """Enable tracking; if that is forbidden, control messages are still received."""
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
            self._allowed = False
        else:
            self._fell_back, self._allowed = False, True

    def _listening(self) -> None:
        self.live = self._allowed
        self._on_change(None)

    async def _disconnect(self) -> None:
        self.live = False
        await super()._disconnect()


def without_overlap(prefixes: Sequence[str]) -> list[str]:
    """The prefixes without those that begin with another one: Redis refuses both together."""
    kept: list[str] = []
    for prefix in sorted(set(prefixes)):
        if not kept or not prefix.startswith(kept[-1]):
            kept.append(prefix)
    return kept
