"""Functions that tests register as handlers by module and name."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from resqpy.framework.api.api import api

broken: set[Any] = set()  # ids of payloads that fail
running: list[Any] = []  # payloads that `method` has in hand
at_once: list[int] = []  # how many those were, at the beginning of each
barriers: dict[int, threading.Barrier] = {}  # by how many are to meet


async def method(payload: dict[str, Any]) -> dict[str, Any]:
    """Count on; what TWIN's own test module does."""
    running.append(payload)
    at_once.append(len(running))
    await asyncio.sleep(0.001)
    running.pop()
    if payload.get("throw") and payload.get("id") in broken:
        raise ValueError("error")
    payload["counter"] += 1
    return payload


async def uses_the_process(payload: dict[str, Any]) -> str:
    """Use what the process has: here it creates another task."""
    made = await api.tracked.create("my-type", {**payload, "counter": 0}, retain_for=-1)
    return made.id


def threaded(payload: dict[str, Any]) -> int:
    """The thread in which it runs, as soon as so many run at once."""
    barrier = barriers.setdefault(payload["wanted"], threading.Barrier(payload["wanted"]))
    barrier.wait(10)
    return threading.get_ident()


def plain_method(payload: dict[str, Any]) -> int:
    """The same without a loop."""
    return int(payload["counter"]) + 1
