"""How servers are named: what is understood, and what is refused with a remedy."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resqpy import RedisOptions, Store
from resqpy.base.errors import StoreError, StoreMisconfigured, UsageError
from resqpy.embedded import PrivateServer
from resqpy.framework.config.kinds import ADDRESSES
from resqpy.store.connection.connect import hosts_of, place_of, sentinels_of
from tests.support.ports import free_port
from tests.support.waiting import wait_for


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis://h/0?timeout=5", r"\?timeout=.*connect_timeout_s"),
        ("redis://h/0?socket_timeout=5", "use reply_timeout_s"),
        ("redis://h/0?max_connections=5", "resqpy has no pool"),
        ("redis://h/0?protocol=3", "RESP2"),
        ("redis://h/0?decode_responses=true", "jobs are bytes"),
        ("redis://h/0?colour=red", r"\?colour="),
        ("redis://h/0?db=x", "'x'"),
        ("redis://h/0?db=²", "'²'"),
        (f"redis://h/{'9' * 5000}", "is not a number"),  # redis-py would use database 0
        ("redis://h/0?health_check_interval=x", "health_check_interval"),
        ("redis://h:port/0", "its port is not a number"),
        ("redis://a:1,b:99999/0", "its port is not a number"),
        ("redis://u:a/b@h/0", "%2F for /"),
        ("redis://u:a,b/c@h/0", "%2F for /"),
        ("h:6379", "schemes: redis://"),
        ("", "schemes: redis://"),
    ],
)
def test_a_url_is_refused_with_a_remedy(url: str, words: str) -> None:
    """When the store is made, not in the middle of the library's code; no password is quoted."""
    with pytest.raises(StoreMisconfigured, match=words) as caught:
        Store(RedisOptions(url))
    assert "a/b" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "first", "hosts"),
    [
        ("redis://h", "redis://h", ["h:6379"]),
        ("redis://u:p%40@a:1,b:2/3?x=1", "redis://u:p%40@a:1/3?x=1", ["a:1", "b:2"]),
        ("rediss://[::1]:7,b", "rediss://[::1]:7", ["[::1]:7", "b:6379"]),
        ("redis://", "redis://", ["127.0.0.1:6379"]),
        ("unix://u:p@/x.sock?db=1", "unix://u:p@/x.sock?db=1", []),
    ],
)
def test_the_hosts_of_a_url(url: str, first: str, hosts: list[str]) -> None:
    """One, or several with commas."""
    assert (hosts_of(url)[0], [str(each) for each in hosts_of(url)[1]]) == (first, hosts)


def test_sentinels_in_all_their_forms() -> None:
    """A pair, a text, a URL that means TLS or not."""
    named: list[tuple[str, int] | str] = [
        ("a", 1),
        "b:2",
        "rediss://c:3",
        ("rediss://d", 4),
        "redis://e:5",
        "f",
    ]
    found = sentinels_of(RedisOptions(sentinels=named))

    assert [(str(each), each.tls) for each in found] == [
        ("a:1", False), ("b:2", False), ("c:3", True), ("d:4", True), ("e:5", False),
        ("f:26379", False),
    ]  # fmt: skip
    everywhere = RedisOptions(sentinels=[("a", 1)], sentinel_kwargs={"ssl": True})
    assert sentinels_of(everywhere)[0].tls


@pytest.mark.parametrize("given", ["http://a:1", "redis://u:p@a:1", "rediss://a:1/0", "a:port"])
def test_sentinels_that_mean_nothing(given: str) -> None:
    """Refused by the store and, where it is seen there, by the config."""
    with pytest.raises(StoreMisconfigured):
        Store(RedisOptions(sentinels=[given]))
    with pytest.raises(UsageError):
        ADDRESSES.check([given])


def test_sentinels_of_the_config() -> None:
    """As the store has them."""
    found = ADDRESSES.check(["rediss://c:3", ("d", 4)])
    assert [str(each) for each in sentinels_of(RedisOptions(sentinels=found))] == ["c:3", "d:4"]


def test_a_place_in_words() -> None:
    """For errors and the log, without a password."""
    assert place_of(RedisOptions("redis://u:pw@h:1/2?ssl_x=1")) == "Redis at redis://u:***@h:1/2"
    behind = RedisOptions("redis://x", sentinels=[("a", 1)], sentinel_service="jobs")
    assert place_of(behind) == "the master 'jobs' of the Sentinels a:1"


# -- Sentinel over TLS --


class TlsSentinels:
    """A master and a Sentinel that speak nothing but TLS, with a certificate for `localhost` alone."""

    def __init__(self, folder: Path) -> None:
        self.cert, key = folder / "cert.pem", folder / "key.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj",
             "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key,
             "-out", self.cert],
            check=True, capture_output=True,
        )  # fmt: skip
        self.master_port, self.port = free_port(), free_port()
        tls = [
            f"tls-cert-file {self.cert}", f"tls-key-file {key}", f"tls-ca-cert-file {self.cert}",
            "tls-auth-clients no", "tls-replication yes",
        ]  # fmt: skip
        self.master = PrivateServer(config=[f"tls-port {self.master_port}", *tls])
        conf = folder / "sentinel.conf"
        conf.write_text(
            "\n".join([
                "port 0", f"tls-port {self.port}", f"dir {folder}", *tls,
                "sentinel resolve-hostnames yes", "sentinel announce-hostnames yes",
                f"sentinel monitor jobs localhost {self.master_port} 1",
                f"sentinel monitor numbered 127.0.0.1 {self.master_port} 1", "",
            ])
        )  # fmt: skip
        self.sentinel = subprocess.Popen(
            ["redis-server", str(conf), "--sentinel"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def options(self, sentinel: Any, **more: Any) -> RedisOptions:
        """How to get there."""
        return RedisOptions(
            "rediss://any/0",
            sentinels=[sentinel],
            **{"sentinel_service": "jobs", "extra": {"ssl_ca_certs": str(self.cert)}, **more},
        )

    def close(self) -> None:
        """End both."""
        self.sentinel.kill()
        self.sentinel.wait()
        self.master.close()


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsSentinels]:
    """Both."""
    if shutil.which("openssl") is None or shutil.which("redis-server") is None:
        pytest.skip("there is no `openssl` or `redis-server` on the PATH")
    try:
        made = TlsSentinels(tmp_path_factory.mktemp("tls"))
    except Exception as error:
        pytest.skip(f"this Redis was built without TLS: {error}")
    yield made
    made.close()


async def _ping(options: RedisOptions) -> bytes:
    store = Store(options)
    try:
        found: bytes = await store.call("PING")
        return found
    finally:
        await store.close()


async def test_a_sentinel_over_tls(tls: TlsSentinels) -> None:
    """By its URL or by one option; the certificates are those of the connection."""
    for given, more in (
        (f"rediss://localhost:{tls.port}", {}),
        (("localhost", tls.port), {"sentinel_kwargs": {"ssl": True}}),
    ):
        options = tls.options(given, **more)

        async def answered(options: RedisOptions = options) -> bool:
            try:
                return await _ping(options) == b"PONG"
            except StoreError:
                return False

        await wait_for(answered, 30)


async def test_a_sentinel_without_tls_is_told(tls: TlsSentinels) -> None:
    """A short error that names the Sentinel."""
    with pytest.raises(StoreError, match=f"the Sentinel localhost:{tls.port}") as caught:
        await _ping(tls.options(("localhost", tls.port), connect_timeout_s=2))
    assert len(str(caught.value)) < 400


async def test_a_master_whose_certificate_has_another_name(tls: TlsSentinels) -> None:
    """Sentinel names it by its address: what to do about that is said."""
    sentinel = f"rediss://localhost:{tls.port}"

    async def told() -> bool:
        try:
            await _ping(tls.options(sentinel, sentinel_service="numbered"))
        except StoreMisconfigured as error:
            return "announce-hostnames" in str(error)
        except StoreError:
            return False
        return False

    await wait_for(told, 30)
