"""What a type checker knows of a task's `enqueue`: read by mypy and pyright (`bin/check`), never run.

Each line of `wrong` must be refused by both, for the reason that stands behind it: an `ignore` that
nobody needs is an error, and so is one that names another reason.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal, assert_type
from uuid import UUID

from resqpy import (
    Enqueued,
    Input,
    Task,
    TrackedTask,
    Worker,
    api,
    converter,
    per_process,
    resource,
    task,
)


@task(queue="high")
async def send_email(to: str, subject: str = "") -> int:
    """Inputs by name."""
    return 1


@task()
def count_words(text: str) -> int:
    """A synchronous function, which runs in a thread."""
    return len(text.split())


@task
async def bare(to: str) -> int:
    """Without parentheses."""
    return 1


@task()
async def with_worker(to: str, *, worker: Worker | None = None) -> None:
    """The worker is no input: a caller leaves it out."""


@task()
async def with_others(to: str, **others: int) -> None:
    """And whatever else there is."""


@per_process
async def pool() -> AsyncIterator[bytes]:
    """Once a process."""
    yield b""


@asynccontextmanager
async def session(pool: bytes = resource(pool)) -> AsyncGenerator[str]:
    """For each job."""
    yield ""


@contextmanager
def file() -> Generator[int]:
    """Plain, and decorated."""
    yield 1


def client() -> Iterator[float]:
    """Plain."""
    yield 1.0


@task
async def with_resources(
    to: str, *, db: str = resource(session), http: float = resource(client)
) -> str:
    """No caller gives them."""
    assert_type(resource(pool), bytes)
    assert_type(resource(file), int)
    return db


@task()
def old(params: dict[str, Any], worker: Any) -> None:
    """ActionHero's way: anything goes."""


@task()
def params_only(params: dict[str, Any]) -> None:
    """The same without the worker."""


class Color(Enum):
    """An enum."""

    RED = "red"


@dataclass
class Item:
    """A record."""

    name: str
    price: Decimal = Decimal(1)


class Money:
    """A user's own type."""


def cents(money: Money) -> int:
    """Write it."""
    return 1


def money_of(json: int) -> Money:
    """Read it."""
    return Money()


converter(Money, to_json=cents, from_json=money_of)


@task()
async def ship(
    items: list[Item],
    at: datetime | None = None,
    color: Literal["any"] | Color = "any",
    ids: frozenset[UUID] = frozenset(),
    wait: Annotated[timedelta, Input(description="how long")] = timedelta(0),
) -> Decimal:
    """Inputs that are no JSON."""
    return items[0].price


class Ship(Task):
    """The same of a class."""

    async def run(self, items: list[Item], at: datetime | None = None) -> Decimal:
        """Ship."""
        return items[0].price


class Mail(Task):
    """Inputs by name."""

    queue = "x"

    async def run(self, to: str, copies: int = 1, *, worker: Worker | None = None) -> None:
        """Send."""


class Count(Task):
    """A synchronous `run`."""

    def run(self, text: str) -> int:
        """Count."""
        return len(text)


class Old(Task):
    """ActionHero's way: anything goes."""

    async def run(self, params: dict[str, Any], worker: Any) -> None:
        """Send."""


class Stellar(Task):
    """Stellar's way: anything goes."""

    async def run(self, inputs: dict[str, Any], worker: Any) -> None:
        """Send."""


class ParamsOnly(Task):
    """The same without the worker."""

    async def run(self, params: dict[str, Any]) -> None:
        """Send."""


async def fine() -> None:
    """All of this is right."""
    assert_type(await send_email.enqueue(to="x"), Enqueued)
    await send_email.enqueue("x", subject="y")
    await send_email.enqueue_in(10, to="x")
    await send_email.enqueue_in(timedelta(minutes=1), to="x")
    await send_email.enqueue_at(10, "x")
    await send_email.on("low").enqueue(to="x")
    assert_type(await send_email.enqueue_many([send_email.job(to="x")]), list[Enqueued])
    assert_type(await send_email("x"), int)
    assert_type(count_words("x y"), int)
    await count_words.enqueue(text="x y")
    assert_type(await bare.enqueue(to="x"), Enqueued)
    assert_type(await bare("x"), int)
    await with_worker.enqueue(to="x")
    await with_others.enqueue(to="x", copies=2)
    await with_resources.enqueue(to="x")
    assert_type(await with_resources("x", db="mine"), str)
    await old.enqueue(anything=1)
    await params_only.enqueue(anything=1)
    assert_type((await send_email.once("a").enqueue("x")).refused, str | None)
    await send_email.once("a", within=1000).on("low").enqueue_in(10, to="x")
    await send_email.on("low").once("a", within=timedelta(hours=1)).enqueue_many([{"to": "x"}])


async def fine_types() -> None:
    """The values that `run` gets are those that the caller gives."""
    items, at = [Item("x", Decimal("1.50"))], datetime.now(UTC)
    assert_type(await ship.enqueue(items, at, Color.RED), Enqueued)
    await ship.enqueue_in(10, items=items, color="any", wait=timedelta(seconds=1))
    await ship.enqueue_many([ship.job(items, ids=frozenset()), {"items": []}])
    ship.sync.enqueue(items=items, at=at)
    assert_type(await ship(items), Decimal)
    await Ship.enqueue(items=items, at=at)
    Ship.sync.enqueue_at(at, items)


async def wrong_types() -> None:
    """JSON is for the verbs by name."""
    await ship.enqueue(items=[{"name": "x"}])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    await ship.enqueue([], at="2026-11-29T09:00:00Z")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await ship.enqueue([], color="red")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await Ship.enqueue(items=[1])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    converter(Money, to_json=cents, from_json=cents)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    converter(Money, to_json=cents)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def fine_classes() -> None:
    """The same of classes."""
    assert_type(await Mail.enqueue(to="x"), Enqueued)
    await Mail().enqueue("x", copies=2)
    await Mail.enqueue_in(1, to="x")
    await Mail.enqueue_at(1, "x")
    await Mail.on("low").enqueue(to="x")
    assert_type(await Mail.enqueue_many([Mail.job("x")]), list[Enqueued])
    assert_type(await Mail.once("a").enqueue(to="x"), Enqueued)
    await Mail.on("low").once("a", within=1000).enqueue_at(1, to="x")
    await Old.once("a").enqueue(anything=1)
    await Count.enqueue(text="x")
    await Old.enqueue(anything=1)
    await Old.enqueue_in(1, anything=1)
    await Old.enqueue_at(1, anything=1)
    await Old.on("low").enqueue(anything=1)
    await Stellar.enqueue(anything=1)
    await Stellar.enqueue_in(1, anything=1)
    await ParamsOnly.enqueue(anything=1)
    await ParamsOnly().enqueue_in(1, anything=1)


def fine_without_a_loop() -> None:
    """The same verbs in synchronous code."""
    assert_type(send_email.sync.enqueue(to="x"), Enqueued)
    assert_type(
        send_email.sync.on("low").enqueue_in(timedelta(minutes=1), "x", subject="y"), Enqueued
    )
    assert_type(send_email.sync.once("a", within=1000).enqueue_at(10, "x"), Enqueued)
    assert_type(send_email.sync.enqueue_many([send_email.job("x"), {"to": "y"}]), list[Enqueued])
    send_email.on("low").once("a").sync.enqueue("x")
    assert_type(Mail.sync.enqueue("x", copies=2), Enqueued)
    assert_type(Mail().sync.on("low").enqueue_in(1, to="x"), Enqueued)
    Old.sync.enqueue(anything=1)
    Stellar.sync.enqueue_in(1, anything=1)
    with_worker.sync.enqueue(to="x")
    assert_type(api.sync.tasks.enqueue("send_email", {"to": "x"}, once="a"), bool)
    assert_type(api.sync.tasks.enqueue_many([send_email.job("x")]), list[bool])
    assert_type(api.sync.tasks.length("default"), int)
    made = api.sync.tracked.create("send_email", {"to": "x"}, delay=5000)
    assert_type(made, TrackedTask)
    assert_type(api.sync.run(made.remove), bool)
    assert_type([each.id for each in api.sync.tracked.iterate()], list[str])


def wrong_without_a_loop() -> None:
    """None of this is right."""
    send_email.sync.enqueue()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    send_email.sync.enqueue(to=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    send_email.sync.enqueue(too="x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    send_email.sync.enqueue_in("soon", to="x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    send_email.sync.on("low").enqueue(t="x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    send_email.sync.enqueue_many(["x"])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    Mail.sync.enqueue()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Mail.sync.enqueue(to=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Mail.sync.enqueue_at(1, t="x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    api.sync.tasks.length(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    api.sync.tasks.enqueue("send_email", queu="x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    api.sync.tracked.create("send_email", dely=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


async def wrong() -> None:
    """None of this is right."""
    resource(send_email)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    await send_email.enqueue()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await send_email.enqueue(to=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await send_email.enqueue(too="x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await send_email.enqueue("x", "y", "z")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await send_email.enqueue_in(to="x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await send_email.enqueue_in("soon", to="x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await send_email.enqueue_in(10, to=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await send_email.enqueue_at(10)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await send_email.enqueue_at("noon", to="x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await send_email.on("low").enqueue(t="x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await send_email.enqueue_many(["x"])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    send_email.job(t="x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await count_words.enqueue(text=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await count_words.enqueue()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await count_words.enqueue_in(10, words="x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await with_worker.enqueue(2)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await with_others.enqueue("x", copies="2")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await send_email.once(17).enqueue(to="x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await send_email.once("a").enqueue(to=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await old.enqueue_in("soon")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def wrong_classes() -> None:
    """Nor is this."""
    await Mail.enqueue()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await Mail.enqueue(to=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await Mail.enqueue(too="x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await Mail().enqueue("x", copies="2")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await Mail.enqueue_in("soon", to="x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await Mail.enqueue_in(10)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await Mail.enqueue_at(1, to=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await Mail.on("low").enqueue(t="x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Mail.job()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await Count.enqueue(text=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await Count.enqueue_in(10, words="x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await Mail.once(17).enqueue(to="x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await Mail.once("a").enqueue(t="x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await Mail.enqueue_many(["x"])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    await Old.enqueue_in("soon")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
