"""Fixtures for tests against the real node-resque, Ruby resque and php-resque.

Where a program is missing its tests skip, or fail where it is required (tests/support/other_languages.py).
"""

from __future__ import annotations

import shutil
import subprocess
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
    activejob,
    activejob_missing,
)
from tests.support.foreign_php import PhpProgram
from tests.support.other_languages import require
from tests.support.scheduling import StartScheduler, schedulers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

Driver = TypeVar("Driver", bound=ForeignDriver)
MARKS = {
    "start_node": "node",
    "start_ruby": "ruby",
    "rails": "rails",
    "php": "php",
    "ruby_arrow": "ruby",
}
ARROWS = ("=>", " => ")  # of an object's pairs, as Ruby shows it: up to 3.3, and since


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs Node, Ruby or PHP, by the fixtures it asks for."""
    for item in items:
        for name in MARKS.keys() & getattr(item, "fixturenames", ()):
            item.add_marker(MARKS[name])


@pytest.fixture
async def start(redis_url: str) -> AsyncIterator[StartScheduler]:
    """A function that starts a scheduler of ours, which stops with the test."""
    async with schedulers(redis_url, lease_s=0.4) as start:
        yield start


@pytest.fixture
async def start_node(redis_url: str) -> AsyncIterator[StartNode]:
    """A function that starts Node processes (`namespace`, `env`), which end with the test."""
    require("node", NodeDriver.missing())
    async with AsyncExitStack() as stack:
        yield _starter(NodeDriver, redis_url, stack)


@pytest.fixture
async def node(start_node: StartNode) -> NodeDriver:
    """One Node process with node-resque, connected to the test's Redis."""
    return await start_node()


@pytest.fixture
async def start_ruby(redis_url: str) -> AsyncIterator[StartRuby]:
    """A function that starts Ruby processes (`namespace`, `env`), which end with the test."""
    require("ruby", RubyDriver.missing())
    async with AsyncExitStack() as stack:
        yield _starter(RubyDriver, redis_url, stack)


@pytest.fixture
async def ruby(start_ruby: StartRuby) -> RubyDriver:
    """One Ruby process with resque, connected to the test's Redis."""
    return await start_ruby()


@pytest.fixture
async def rails_ruby(start_ruby: StartRuby) -> RubyDriver:
    """A Ruby process with ActiveJob on resque and resque-scheduler."""
    require("rails", activejob_missing())
    ruby = await start_ruby(env={"INTEROP_RAILS": "1"})
    if not ruby.has_scheduler:
        require("ruby", "`ruby -rresque-scheduler` does not work")
    return ruby


@pytest.fixture
def rails() -> Callable[..., list[Any]]:
    """Rails' real ActiveJob with its adapter for Resque: see `activejob`."""
    require("rails", activejob_missing())
    return activejob


@pytest.fixture
def ruby_arrow() -> str:
    """What the Ruby of this machine, without any gem, shows between a name and its value."""
    require("ruby", None if shutil.which("ruby") else "there is no `ruby` on the PATH")
    told = subprocess.run(["ruby", "-e", "p({1=>2})"], capture_output=True, text=True, check=True)
    return told.stdout.strip()[2:-2]


@pytest.fixture
async def ruby_plugins(ruby: RubyDriver) -> RubyDriver:
    """The `ruby` fixture, where resque-lock, resque-lock-timeout and resque-retry are there as well."""
    if not await ruby.call("plugins?"):
        require("ruby", "resque/plugins/lock, lock_timeout and retry can't be loaded")
    return ruby


@pytest.fixture
async def ruby_scheduler(ruby: RubyDriver) -> RubyDriver:
    """The `ruby` fixture, where resque-scheduler is there as well."""
    if not ruby.has_scheduler:
        require("ruby", "`ruby -rresque-scheduler` does not work")
    return ruby


@pytest.fixture
def php(redis_url: str) -> PhpProgram:
    """php-resque on the test's Redis."""
    require("php", PhpProgram.missing())
    return PhpProgram(Target.from_url(redis_url))


def _starter(
    driver: type[Driver], url: str, stack: AsyncExitStack
) -> Callable[..., Awaitable[Driver]]:
    async def start(*, namespace: str | list[str] = "resque", **options: Any) -> Driver:
        target = Target.from_url(url, namespace)
        made = driver(target, **options)
        await stack.enter_async_context(made)
        return made

    return start
