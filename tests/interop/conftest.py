"""Fixtures for tests against the real node-resque and Ruby resque.

Where Node is missing its tests skip aloud, and fail in CI; Ruby's skip aloud everywhere.
"""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from tests.plugins.conftest import make_stage  # noqa: F401 - a fixture of both folders
from tests.support.foreign import (
    ForeignDriver,
    NodeDriver,
    RubyDriver,
    StartNode,
    StartRuby,
    Target,
)
from tests.support.scheduling import StartScheduler, schedulers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

Driver = TypeVar("Driver", bound=ForeignDriver)
SPOKEN = ("Node: ", "Ruby: ")
MARKS = {"start_node": "node", "start_ruby": "ruby"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs Node or Ruby, by the fixtures it asks for."""
    for item in items:
        for name in MARKS.keys() & getattr(item, "fixturenames", ()):
            item.add_marker(MARKS[name])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the end what could not be tried here, and why."""
    skipped = [report.longrepr for report in terminalreporter.stats.get("skipped", [])]
    reasons = {why[2].removeprefix("Skipped: ") for why in skipped if isinstance(why, tuple)}
    for reason in sorted(why for why in reasons if why.startswith(SPOKEN)):
        terminalreporter.write_line(f"INTEROP SKIPPED: {reason}", yellow=True, bold=True)


@pytest.fixture
async def start(redis_url: str) -> AsyncIterator[StartScheduler]:
    """A function that starts a scheduler of ours, which stops with the test."""
    async with schedulers(redis_url, lease_s=0.4) as start:
        yield start


@pytest.fixture
async def start_node(redis_url: str) -> AsyncIterator[StartNode]:
    """A function that starts Node processes (`namespace`, `env`), which end with the test."""
    _require(NodeDriver, fail=_in_ci())
    async with AsyncExitStack() as stack:
        yield _starter(NodeDriver, redis_url, stack)


@pytest.fixture
async def node(start_node: StartNode) -> NodeDriver:
    """One Node process with node-resque, connected to the test's Redis."""
    return await start_node()


@pytest.fixture
async def start_ruby(redis_url: str) -> AsyncIterator[StartRuby]:
    """A function that starts Ruby processes (`namespace`, `env`), which end with the test."""
    _require(RubyDriver, fail=False)
    async with AsyncExitStack() as stack:
        yield _starter(RubyDriver, redis_url, stack)


@pytest.fixture
async def ruby(start_ruby: StartRuby) -> RubyDriver:
    """One Ruby process with resque, connected to the test's Redis."""
    return await start_ruby()


@pytest.fixture
async def ruby_scheduler(ruby: RubyDriver) -> RubyDriver:
    """The `ruby` fixture, where resque-scheduler is there as well."""
    if not ruby.has_scheduler:
        pytest.skip("Ruby: `ruby -rresque-scheduler` does not work")
    return ruby


def _starter(
    driver: type[Driver], url: str, stack: AsyncExitStack
) -> Callable[..., Awaitable[Driver]]:
    async def start(*, namespace: str | list[str] = "resque", **options: Any) -> Driver:
        target = Target.from_url(url, namespace)
        made = driver(target, **options)
        await stack.enter_async_context(made)
        return made

    return start


def _require(driver: type[ForeignDriver], *, fail: bool) -> None:
    reason = driver.missing()
    if reason:
        (pytest.fail if fail else pytest.skip)(f"{driver.language}: {reason}")


def _in_ci() -> bool:
    return os.environ.get("CI", "").lower() not in ("", "0", "false")
