"""Projects made of texts, on the test's Redis."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import structlog

from resqpy.framework.project.project import Project
from tests.support.waiting import PATIENCE_S, wait_for

MakeProject = Callable[..., Project]


class Files:
    """A project's folder that is written file by file."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, **files: str) -> Path:
        """Write files: `tasks__mail` is tasks/mail.py."""
        for name, text in files.items():
            path = self.root.joinpath(*name.split("__")).with_suffix(".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(dedent(text))
        return self.root

    def load(self, overrides: dict[str, Any] | None = None, **more: Any) -> Project:
        """Load it, as `Project.load` does, with an empty environment."""
        return Project.load(self.root, overrides=overrides, **{"environ": {}, **more})

    def problems(self, **more: Any) -> list[str]:
        """What is wrong with it, in words."""
        return [str(each) for each in self.load(**more).errors]


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """An empty project."""
    root = tmp_path / "demo"
    root.mkdir()
    return Files(root)


@pytest.fixture
def make_project(files: Files, redis_url: str) -> MakeProject:
    """A project of these files, on the test's Redis."""

    def make(overrides: dict[str, Any] | None = None, **texts: str) -> Project:
        files.write(**texts)
        return files.load({"redis.url": redis_url, "tasks.timeout": 100, **(overrides or {})})

    return make


@pytest.fixture(autouse=True)
def _silent() -> None:
    """Tests write no log, unless they set it up."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


async def until(condition: Callable[[], Any], timeout: float = PATIENCE_S) -> Any:
    """Wait for a condition, sync or async: see `wait_for`."""
    return await wait_for(condition, timeout)
