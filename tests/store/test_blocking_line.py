"""A store without an event loop: connections of which each is one thread's for the time of a call."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from redis import Redis

from resqpy.base.errors import OutcomeUnknown, StoreError, StoreMisconfigured, StoreUnavailable
from resqpy.store.connection.blocking import BlockingLine, BlockingStore, can_block, driven
from resqpy.store.connection.options import RedisOptions


@pytest.fixture
def plain(redis_url: str) -> Iterator[Any]:
    """A synchronous client of the test's Redis."""
    with Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def store(redis_url: str) -> Iterator[BlockingStore]:
    """A store that blocks."""
    made = BlockingStore(RedisOptions(redis_url))
    yield made
    driven(made.close())


def connections(plain: Any) -> int:
    """How many there are."""
    return int(plain.info("clients")["connected_clients"])


def test_replies_are_there_at_once(store: BlockingStore) -> None:
    """Of one command, several, a transaction and a script, and errors as of any store."""
    assert driven(store.call("PING")) == b"PONG"
    assert driven(store.pipeline([("SET", "a", "x" * 200_000), ("GET", "a")]))[1] == b"x" * 200_000
    assert driven(store.transaction([("DEL", "a"), ("EXISTS", "a")])) == [1, 0]
    assert driven(store.run("remove", ["resque:queue:q"], [0, "x"])) == 0
    with pytest.raises(StoreError, match="WRONGTYPE"):
        driven(store.pipeline([("SADD", "s", 1), ("GET", "s")]))


def test_one_connection_for_one_thread_after_the_other(store: BlockingStore, plain: Any) -> None:
    """It is kept."""
    before = connections(plain)
    for _ in range(3):
        thread = threading.Thread(target=lambda: driven(store.call("PING")))
        thread.start()
        thread.join()
    assert connections(plain) == before + 1


def test_threads_at_once(store: BlockingStore, plain: Any) -> None:
    """Each has its own replies; what more there were than are kept is closed."""
    before = connections(plain)

    def ask(number: int) -> bool:
        return all(
            driven(store.call("ECHO", f"{number} {n}")) == f"{number} {n}".encode()
            for n in range(50)
        )

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(ask, range(16)))
    assert connections(plain) <= before + 8


def test_a_connection_that_was_closed_meanwhile(store: BlockingStore, plain: Any) -> None:
    """By a timeout of the server, or its restart: nothing was sent on it, so nothing is in doubt."""
    driven(store.call("PING"))
    for each in plain.client_list():
        if int(each["id"]) != plain.client_id():
            plain.client_kill_filter(_id=each["id"])
    assert driven(store.call("PING")) == b"PONG"


def test_a_reply_that_does_not_come(redis_url: str, plain: Any) -> None:
    """It is in doubt, and what comes later is nobody else's."""
    store = BlockingStore(RedisOptions(redis_url, reply_timeout_s=0.2))
    driven(store.call("PING"))
    with pytest.raises(OutcomeUnknown, match="timed out"):
        driven(store.call("BLPOP", "nothing", 5))
    plain.rpush("nothing", "late")
    assert driven(store.call("PING")) == b"PONG"
    driven(store.close())


def test_nobody_there() -> None:
    """Nothing was sent, or it can't be used: as of any store."""
    with pytest.raises(StoreUnavailable, match="cannot reach Redis"):
        driven(BlockingStore(RedisOptions("redis://127.0.0.1:1/0")).call("PING"))
    with pytest.raises(StoreMisconfigured):
        BlockingStore(RedisOptions("redis://127.0.0.1:6379/x"))


def test_it_leaves_a_server_that_takes_no_writes(store: BlockingStore, plain: Any) -> None:
    """A replica, after a failover: the next call goes by another connection."""
    first = driven(store.call("CLIENT", "ID"))
    store.line.reopen()
    assert driven(store.call("CLIENT", "ID")) != first


def test_writes_that_replicas_are_to_have(redis_url: str) -> None:
    """There are none: it is told."""
    options = RedisOptions(redis_url, wait_replicas=1, wait_timeout_s=0.01)
    store = BlockingStore(options)
    with pytest.raises(StoreError, match="0 of 1 replicas"):
        driven(store.write([("SET", "a", 1)], durably=True))
    driven(store.close())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child(store: BlockingStore) -> None:
    """Its connection is its own, and its parent's goes on."""
    ours = driven(store.call("CLIENT", "ID"))
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(write, str(driven(store.call("CLIENT", "ID"))).encode())
        os._exit(0)
    os.close(write)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert int(os.read(read, 100)) not in (0, ours)
    os.close(read)
    assert driven(store.call("CLIENT", "ID")) == ours


def test_which_servers_can_be_asked_so() -> None:
    """Who else it is, is found out on a loop."""
    assert can_block(RedisOptions())
    assert not can_block(RedisOptions(sentinels=["a:1"]))
    assert not can_block(RedisOptions(cluster=True, namespace="{r}"))


def test_what_waits_for_a_loop_is_not_driven(store: BlockingStore) -> None:
    """It is told, instead of being lost."""
    with pytest.raises(AssertionError, match="event loop"):
        driven(asyncio.sleep(0))
    assert isinstance(store.line, BlockingLine)
