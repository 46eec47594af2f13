"""Typed inputs beside Node: it prints what we wrote, and what it enqueues arrives as values."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple, TypedDict
from uuid import UUID

from resqpy import Queue, task
from resqpy.base.codec import json_text
from resqpy.framework.project.registry import registry_of
from tests.support.foreign import NodeDriver
from tests.support.waiting import wait_for
from tests.support.working import working


class Color(Enum):
    RED = "red"


@dataclass
class Item:
    name: str
    price: Decimal


class Point(NamedTuple):
    x: int
    y: int


class Address(TypedDict):
    since: date


ran: list[dict[str, Any]] = []


@task("echo")
async def echo(
    *, at: datetime, day: date, clock: time, wait: timedelta, uid: UUID, price: Decimal, color: Color,
    items: list[Item], point: Point, address: Address, tags: set[str], by_day: dict[date, int],
    either: Decimal | datetime | None, pair: tuple[int, date],
) -> None:  # fmt: skip
    """Note the inputs."""
    ran.append(dict(locals()))


VALUES: dict[str, Any] = {
    "at": datetime(2026, 11, 29, 9, 0, 0, 250_000, UTC),
    "day": date(2026, 11, 29),
    "clock": time(9, 30),
    "wait": timedelta(seconds=90),
    "uid": UUID("0b5cf0f6-6a29-4a43-9b3f-0c8f0a3e4d11"),
    "price": Decimal("12.30"),
    "color": Color.RED,
    "items": [Item("é", Decimal("1E+3"))],
    "point": Point(1, 2),
    "address": {"since": date(2026, 1, 2)},
    "tags": {"b", "a"},
    "by_day": {date(2026, 1, 2): 1},
    "either": datetime(2026, 1, 2, tzinfo=UTC),
    "pair": (1, date(2026, 1, 2)),
}


async def test_node_prints_our_texts_and_we_read_those_of_node(
    node: NodeDriver, redis_url: str, redis: Any
) -> None:
    """Node parses and prints the arguments: the same text; it enqueues them: the same values."""
    sent = registry_of(echo).task(echo).inputs.as_sent(VALUES)
    async with Queue(redis_url) as queue:
        await queue.enqueue("interop", "echo", [sent])
        await node.call("worker.start", {})
        [printed] = await wait_for(lambda: redis.lrange("interop:ran", 0, -1))
        await node.call("worker.stop")
    text = printed if isinstance(printed, str) else printed.decode()
    assert text == json_text({"by": "node", "class": "echo", "args": [sent]})

    ran.clear()
    async with working(redis_url, {"echo": echo}, "interop") as work:
        await node.call("queue.enqueue", "interop", "echo", json.loads(text)["args"])
        await work.until(1)
    assert ran == [VALUES]
