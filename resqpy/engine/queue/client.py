"""Base of objects that use a connection to Redis, their own or a shared one, and are closed with it."""

from __future__ import annotations

from typing import Protocol, Self

from resqpy.base.clock import Clock
from resqpy.store.connection.client import Store
from resqpy.store.connection.options import RedisOptions

Connection = Store | RedisOptions | str | None


class Closing(Protocol):
    """Something that can be closed."""

    async def close(self) -> None: ...


def as_store(connection: Connection) -> tuple[Store, bool]:
    """A store for the connection a user passed, and whether it is ours to close."""
    if isinstance(connection, Store):
        return connection, False
    if isinstance(connection, str):
        connection = RedisOptions(url=connection)
    return Store(connection), True


class Client:
    """Base of `Queue` and `Inspector`."""

    store: Store
    clock: Clock
    _owned: Closing | None = None

    async def connect(self) -> None:
        """Connect to Redis, to report problems early."""
        await self.store.connect()

    async def close(self) -> None:
        """Close the connection if it is our own."""
        if self._owned is not None:
            await self._owned.close()

    async def end(self) -> None:
        """node-resque's name for `close`."""
        await self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
