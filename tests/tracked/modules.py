"""Functions that tests register as handlers by module and name."""

from __future__ import annotations

import asyncio
from typing import Any

broken: set[Any] = set()  # ids of payloads that fail


async def method(payload: dict[str, Any]) -> dict[str, Any]:
    """Count on; what TWIN's own test module does."""
    await asyncio.sleep(0)
    if payload.get("throw") and payload.get("id") in broken:
        raise ValueError("error")
    return {**payload, "counter": payload["counter"] + 1}


def plain_method(payload: dict[str, Any]) -> int:
    """The same without a loop."""
    return int(payload["counter"]) + 1
