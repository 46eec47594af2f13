"""Where the examples of a page run."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from resqpy import Process, Project
from resqpy.framework.logs.log import to_standard_library
from tests.docs.pages import DOCS, Stage


@pytest.fixture
def stage(tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """An empty project in the current folder."""
    root = tmp_path / "demo"
    root.mkdir()
    monkeypatch.chdir(root)
    monkeypatch.setenv("REDIS_URL", redis_url)
    sys.path[:] = [each for each in sys.path if Path(each).resolve() != DOCS.parent]
    with to_standard_library():
        yield Stage(root, redis_url)


@pytest.fixture
async def process(tmp_path: Path, redis_url: str) -> AsyncIterator[Process]:
    """All parts, started, so that `api` leads to them."""
    project = Project.load(tmp_path, overrides={"redis.url": redis_url}, environ={})
    async with Process(project, worker=True, scheduler=True) as running:
        yield running
