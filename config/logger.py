"""The log: lines for people on a terminal, JSON elsewhere."""

from __future__ import annotations

from typing import Any


def default() -> dict[str, Any]:
    """For all environments."""
    return {
        "level": "info",
        # Inputs whose names contain one of these words are not shown.
        "filtered": ["password", "secret", "token", "api_key", "authorization", "cookie"],
    }


def test() -> dict[str, Any]:
    """Tests are quiet."""
    return {"level": "warning"}
