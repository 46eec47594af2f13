"""A Redis Cluster of three masters, with a replica for each or without."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from redis.crc import key_slot

from resqpy import RedisOptions, Store
from resqpy.embedded import PrivateServer
from tests.support.ports import free_port
from tests.support.waiting import wait_for

_BOUNDS = (0, 5461, 10923, 16384)


@dataclass
class Node:
    """A server of the Cluster."""

    port: int
    server: PrivateServer
    store: Store

    async def ask(self, *command: Any) -> Any:
        """One command, by its own socket."""
        return await self.store.call(*command)

    async def knows(self, count: int) -> bool:
        """Whether all is well, with so many nodes."""
        told = await self.ask("CLUSTER", "INFO")
        return b"cluster_state:ok" in told and b"cluster_known_nodes:%d" % count in told


def owner_of(nodes: list[Node], key: str) -> Node:
    """The master that had a key's slot when the Cluster began."""
    slot = key_slot(key.encode())
    return next(node for node, end in zip(nodes, _BOUNDS[1:], strict=False) if slot < end)


async def _node() -> Node:
    port = free_port()
    config = [f"port {port}", "cluster-enabled yes", "cluster-node-timeout 2000"]
    server = PrivateServer(config=config)
    return Node(port, server, Store(RedisOptions(server.url)))


@asynccontextmanager
async def running_cluster(*, replicas: bool = False) -> AsyncIterator[list[Node]]:
    """The masters, then their replicas in the same order."""
    async with AsyncExitStack() as stack:
        nodes = []
        for _ in range(6 if replicas else 3):
            nodes.append(node := await _node())
            stack.callback(node.server.close)
            stack.push_async_callback(node.store.close)
        for node, first, end in zip(nodes, _BOUNDS, _BOUNDS[1:], strict=False):
            await node.ask("CLUSTER", "ADDSLOTS", *range(first, end))
        for epoch, node in enumerate(nodes, 1):
            await node.ask("CLUSTER", "SET-CONFIG-EPOCH", epoch)
            await node.ask("CLUSTER", "MEET", "127.0.0.1", nodes[0].port)
        for node in nodes:
            await wait_for(lambda node=node: node.knows(len(nodes)), 30)  # type: ignore[misc]
        for master, replica in zip(nodes, nodes[3:], strict=False):
            await replica.ask("CLUSTER", "REPLICATE", await master.ask("CLUSTER", "MYID"))
        for replica in nodes[3:]:
            await wait_for(lambda replica=replica: _is_replica(replica), 30)  # type: ignore[misc]
        yield nodes


async def _is_replica(node: Node) -> bool:
    told = await node.ask("INFO", "replication")
    return b"role:slave" in told and b"master_link_status:up" in told


@asynccontextmanager
async def three_masters() -> AsyncIterator[list[int]]:
    """Their ports."""
    async with running_cluster() as nodes:
        yield [node.port for node in nodes]
