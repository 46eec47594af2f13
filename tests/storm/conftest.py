"""What a proof does with its figures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.storm import figures


@pytest.fixture
def keep(pytestconfig: pytest.Config) -> Callable[[str, dict[str, Any]], None]:
    """Writes the figures of a proof down, if --write-figures is given."""
    return (
        figures.write if pytestconfig.getoption("--write-figures") else lambda _name, _figures: None
    )
