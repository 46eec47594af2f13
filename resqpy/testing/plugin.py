"""The fixtures, for pytest, which finds them by itself (entry point `pytest11`).

| fixture | what it is |
|---|---|
| `resqpy_redis_server` | a private Redis server, one for each test process |
| `resqpy_redis` | its URL; it is empty |
| `resqpy_root` | the directory of the project: `resqpy_root` in pytest's settings, else pytest's root |
| `resqpy_overrides` | settings of the tests, by path |
| `resqpy_project` | the project, loaded and checked, on that Redis, in the environment `test` |
| `resqpy_process` | the started process, without worker and scheduler; `api` refers to it |
| `resqpy_clock` | its `ManualClock` |
| `resqpy_run` | for synchronous tests: `resqpy_run(drain)` calls async functions of the started process |

Whatever a test opens by itself, a `lifespan`, `open_project`, `.sync`, uses that Redis too.

A test fails if an enqueue was never awaited, because nothing was enqueued.

Each may be overridden in a `conftest.py`. `resqpy_process` and `resqpy_clock` are async: they need
pytest-asyncio or anyio (the backend asyncio). Nothing heavy of resqpy is imported before a fixture is used.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from resqpy.embedded.private import PrivateServer
    from resqpy.framework.process.process import Process
    from resqpy.framework.project.project import Project
    from resqpy.testing.clock import ManualClock
    from resqpy.testing.synchronous import SyncRunner

try:
    from pytest_asyncio import fixture as async_fixture  # for its strict mode
except ImportError:
    async_fixture = pytest.fixture  # type: ignore[assignment]  # anyio takes it

_ROOT = "resqpy_root"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the setting `resqpy_root`."""
    parser.addini(_ROOT, "the directory of the resqpy project under test", default=".")


def pytest_configure(config: pytest.Config) -> None:
    """Let tests import the code of a project, which has a folder or a file of tasks or says where it is, as
    commands do.
    """
    root = Path(config.rootpath, str(config.getini(_ROOT))).resolve()
    signs = {"pyproject.toml": b"tool.resqpy", "tasks.py": b"resqpy"}
    files = {root / name: sign for name, sign in signs.items()}
    told = any(file.is_file() and sign in file.read_bytes() for file, sign in files.items())
    if told or (root / "tasks").is_dir():
        from resqpy.framework.project.layout import Layout
        from resqpy.framework.project.problems import Problems

        Layout.of(root, Problems(root))  # what is wrong in it is told when the project is loaded


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call() -> Generator[None, Any, None]:
    """Fail a test in which an enqueue was never awaited."""
    outcome = yield
    pending = sys.modules.get("resqpy.base.concurrency.loops")
    lost = list(pending.LOST) if pending is not None else []
    if pending is not None:
        pending.LOST.clear()
    if lost and outcome.excinfo is None:
        outcome.force_exception(pytest.fail.Exception("\n".join(lost), pytrace=False))


@pytest.fixture(autouse=True)
def _redis_of_applications(request: pytest.FixtureRequest) -> Iterator[None]:
    """What the application under test opens by itself, by a lifespan, `open_project` or `.sync`, uses the
    test's Redis, and not the one of its config. It is started when the first one asks.
    """
    from resqpy.framework.project.root import REDIS_OF_TESTS

    REDIS_OF_TESTS.append(lambda: str(request.getfixturevalue("resqpy_redis")))
    yield
    REDIS_OF_TESTS.pop()
    if (sync := sys.modules.get("resqpy.framework.api.sync")) is not None:
        sync.SYNC.close()


@pytest.fixture(scope="session")
def resqpy_redis_server() -> Iterator[PrivateServer]:
    """A private Redis server for the tests of this process."""
    from resqpy.embedded.private import PrivateServer

    with PrivateServer() as server:
        yield server


@pytest.fixture
def resqpy_redis(resqpy_redis_server: PrivateServer) -> str:
    """The URL of an empty Redis."""
    resqpy_redis_server.flush()
    return resqpy_redis_server.url


@pytest.fixture
def resqpy_root(request: pytest.FixtureRequest) -> Path:
    """The directory of the project."""
    return Path(request.config.rootpath, str(request.config.getini(_ROOT)))


@pytest.fixture
def resqpy_overrides() -> dict[str, Any]:
    """Settings for tests that override all others, by path: `{"tasks.timeout": 100}`."""
    return {}


@pytest.fixture
def resqpy_project(
    resqpy_root: Path, resqpy_redis: str, resqpy_overrides: dict[str, Any]
) -> Iterator[Project]:
    """The project, loaded and checked, on the private Redis."""
    from resqpy.framework.project.project import Project

    overrides = {**resqpy_overrides, "redis.url": resqpy_redis}
    with Project.load(resqpy_root, "test", overrides) as project:
        project.check()
        yield project


@async_fixture
async def resqpy_process(resqpy_project: Project) -> AsyncIterator[Process]:
    """The project, started without worker and scheduler: it enqueues, and tests run jobs with `drain`."""
    from resqpy.framework.logs.log import to_standard_library
    from resqpy.framework.process.process import Process

    with to_standard_library():  # where pytest's caplog finds it
        async with Process(resqpy_project, worker=False, scheduler=False) as process:
            yield process


@async_fixture
async def resqpy_clock(resqpy_process: Process) -> AsyncIterator[ManualClock]:
    """The clock of the started project, which stands still until the test moves it."""
    from resqpy.testing.clock import manual_clock

    with manual_clock() as clock:
        yield clock


@pytest.fixture
def resqpy_run(resqpy_project: Project) -> Iterator[SyncRunner]:
    """Calls async functions of the started project in a synchronous test."""
    from resqpy.framework.logs.log import to_standard_library
    from resqpy.testing.synchronous import SyncRunner

    with to_standard_library(), SyncRunner(resqpy_project) as run:
        yield run
