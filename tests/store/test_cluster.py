"""A Redis Cluster whose nodes go: any one that is left leads to the others."""

from __future__ import annotations

from typing import Any

import pytest

from resqpy import MultiWorker, Queue, RedisOptions, Store
from resqpy.base.errors import StoreError, StoreMisconfigured, StoreUnavailable
from resqpy.framework.api.scheduler import Scheduler
from resqpy.framework.config.sections import SchedulerOptions
from tests.support.redis_cluster import owner_of, running_cluster
from tests.support.waiting import wait_for
from tests.support.working import Working

NAMESPACE = "{resque}"


async def no_op(*_: Any) -> None:
    """A task."""


def options(url: str, **more: Any) -> RedisOptions:
    """Of the Cluster."""
    return RedisOptions(
        url, namespace=NAMESPACE, cluster=True, connect_timeout_s=2, reply_timeout_s=4, **more
    )


async def test_the_node_that_the_url_names_is_lost() -> None:
    """It had our slot too. Worker and scheduler go on with its replica, and what was due is done."""
    async with running_cluster(replicas=True) as nodes:
        lost = owner_of(nodes, NAMESPACE)
        at = options(f"redis://127.0.0.1:{lost.port}")
        worker = MultiWorker(at, {"no_op": no_op}, "*")
        scheduler = Scheduler(at, {}, SchedulerOptions(lease_s=2, timeout_s=0.2))
        work = Working(worker, ("success", "error"))
        async with Queue(at) as queue, worker, scheduler:
            await queue.enqueue("q", "no_op", [1])
            await work.until(1)
            lost.server.kill()
            said = []

            async def enqueued() -> bool:
                try:
                    return await queue.enqueue_in(100, "q", "no_op", [2]) is not None
                except StoreError as error:
                    said.append(str(error))
                    return False

            await wait_for(enqueued, 60)
            await work.until(2, 60)
            gone = f"cannot reach 127.0.0.1:{lost.port}, "
            assert any(each.startswith(gone) for each in said)


async def test_any_of_several_seeds_is_enough() -> None:
    """Whether the URL names them or the options do, and whichever of them does not answer."""
    async with running_cluster() as nodes:
        ports = [node.port for node in nodes]
        hosts = f"127.0.0.1:1,127.0.0.1:{ports[1]},127.0.0.1:2"
        for at in (
            options(f"redis://{hosts}"),
            options(f"redis://{hosts}/0"),
            options("redis://127.0.0.1:1", seeds=[("127.0.0.1", 2), ("127.0.0.1", ports[2])]),
        ):
            store = Store(at)
            await store.connect()
            assert await store.call("SET", store.keys.pause, "false") == b"OK"
            await store.close()


async def test_nodes_that_were_seen_stand_in_for_the_seed() -> None:
    """The seed had nothing of ours, so the connection goes on; the next one needs another node."""
    async with running_cluster() as nodes:
        owner = owner_of(nodes, NAMESPACE)
        seed = next(node for node in nodes if node is not owner)
        await owner.ask("CONFIG", "SET", "cluster-require-full-coverage", "no")
        store = Store(options(f"redis://127.0.0.1:{seed.port}"))
        await store.connect()
        seed.server.kill()
        store.line.reopen()
        assert await store.call("SET", store.keys.pause, "false") == b"OK"
        await store.close()


async def test_no_node_is_told_with_all_that_were_asked() -> None:
    """And may be waited for."""
    store = Store(options("redis://127.0.0.1:1,127.0.0.1:2"))
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:1.*127\.0\.0\.1:2"):
        await store.connect()
    await store.close()


def test_several_hosts_need_a_cluster() -> None:
    """Else the first would be taken, and the others mean nothing."""
    for at in (RedisOptions("redis://a,b"), RedisOptions("redis://a", seeds=[("b", 1)])):
        with pytest.raises(StoreMisconfigured, match=r"cluster=True.*sentinels"):
            Store(at)
