"""A Redis Cluster of three masters."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from resqpy import RedisOptions, Store
from resqpy.embedded import PrivateServer
from tests.support.ports import free_port
from tests.support.waiting import wait_for


@asynccontextmanager
async def three_masters() -> AsyncIterator[list[int]]:
    """Their ports."""
    ports = [free_port() for _ in range(3)]
    servers = [
        PrivateServer(config=[f"port {port}", "cluster-enabled yes", "cluster-node-timeout 2000"])
        for port in ports
    ]
    stores = [Store(RedisOptions(server.url)) for server in servers]
    try:
        for index, store in enumerate(stores):
            first, last = (0, 5460, 10922, 16383)[index : index + 2]
            first += index > 0
            slots = range(first, last + 1)
            await store.call("CLUSTER", "ADDSLOTS", *slots)
            await store.call("CLUSTER", "MEET", "127.0.0.1", ports[0])

        async def ready() -> bool:
            replies = [await store.call("CLUSTER", "INFO") for store in stores]
            return all(
                b"cluster_state:ok" in reply and b"cluster_known_nodes:3" in reply
                for reply in replies
            )

        await wait_for(ready, 20)
        yield ports
    finally:
        for store, server in zip(stores, servers, strict=True):
            await store.close()
            server.close()
