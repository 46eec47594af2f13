"""Fixtures of all tests: one private Redis per test process, with an empty database per test."""

from __future__ import annotations

import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from redis.asyncio import Redis

from resqpy.embedded import PrivateServer
from tests.support import other_languages
from tests.support.log_state import logs_as_before
from tests.support.module_path import module_path_as_before
from tests.support.redis_cluster import three_masters
from tests.support.source import ROOT

# An example may take its time on a busy machine; the rest is as it comes, here or in CI.
settings.register_profile(
    "busy", settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
)
settings.load_profile("busy")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --all and --write-figures."""
    parser.addoption("--all", action="store_true", help="run the full proofs too (minutes)")
    parser.addoption(
        "--write-figures", action="store_true", help="keep the figures of full proofs for the docs"
    )


def pytest_configure() -> None:
    """Refuse a misspelled RESQPY_REQUIRE before a test is run."""
    try:
        other_languages.required()
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_sessionstart() -> None:
    """Children hear what a terminal says, also where these tests run in the background (`nohup … &`)."""
    for each in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(each) is signal.SIG_IGN:
            ours = each == signal.SIGINT
            signal.signal(each, signal.default_int_handler if ours else signal.SIG_DFL)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests marked `full`, unless --all is given."""
    if config.getoption("--all"):
        return
    left_out = [item for item in items if item.get_closest_marker("full")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Says something that people want to see of a test that passes: it is printed at the end."""
    return lambda words: record_property("told", words)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what tests have told, and what was tried with programs of other languages."""
    stats = terminalreporter.stats
    if lines := other_languages.summary(stats.get("passed", []), stats.get("skipped", [])):
        terminalreporter.section("other languages")
        for line in lines:
            terminalreporter.line(line)
    for report in terminalreporter.getreports("passed"):
        for name, words in report.user_properties:
            if name == "told":
                terminalreporter.section(report.nodeid.partition("::")[2])
                terminalreporter.line(words)


@pytest.fixture(autouse=True)
def _time_zone_of_the_machine() -> Iterator[None]:
    """What a test says of TZ goes with it, also in the C library."""
    yield
    time.tzset()


@pytest.fixture(autouse=True)
def _projects_of_their_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What a test's project puts into the interpreter goes with it, and how it sets up logs."""
    with module_path_as_before(tmp_path_factory.getbasetemp(), ROOT / "tasks"), logs_as_before():
        yield


@pytest.fixture(scope="session")
def redis_server() -> Iterator[PrivateServer]:
    """The Redis of this test process; a test that kills or pauses one starts its own."""
    with PrivateServer() as server:
        yield server


@pytest.fixture
def redis_url(redis_server: PrivateServer) -> str:
    """The URL of the test's Redis, which holds nothing."""
    redis_server.flush()
    return redis_server.url


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """A client of the test's Redis that shows bytes as they are."""
    async with Redis.from_url(redis_url, decode_responses=False, socket_timeout=30) as client:
        yield client


@pytest.fixture
async def cluster() -> AsyncIterator[list[int]]:
    """The ports of a Redis Cluster of three masters."""
    async with three_masters() as ports:
        yield ports
