"""Projects made of the pages' examples, by the fixtures that users have."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from resqpy.testing.plugin import (  # noqa: F401 - fixtures
    resqpy_clock,
    resqpy_overrides,
    resqpy_process,
    resqpy_project,
    resqpy_redis,
    resqpy_redis_server,
)


@pytest.fixture
def resqpy_root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The project that the test's module has in `FILES`."""
    for name, text in request.module.FILES.items():
        path = tmp_path / "demo" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
    return tmp_path / "demo"
