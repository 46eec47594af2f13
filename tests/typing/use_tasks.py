# pyright: reportUnnecessaryTypeIgnoreComment=true
"""What a type checker knows of a task's `enqueue`: read by mypy (`bin/check`) and pyright, never run.

Each line of `wrong` must be refused: an `ignore` that nobody needs is an error.
"""

from __future__ import annotations

from typing import Any

from resqpy import Task, task


@task(queue="high")
async def send_email(to: str, subject: str = "") -> int:
    """Inputs by name."""
    return 1


@task()
def old(params: dict[str, Any], worker: Any) -> None:
    """ActionHero's way: anything goes."""


class Mail(Task):
    """Inputs by name."""

    queue = "x"

    async def run(self, to: str, copies: int = 1) -> None:
        """Send."""


class Old(Task):
    """ActionHero's way: anything goes."""

    async def run(self, params: dict[str, Any], worker: Any) -> None:
        """Send."""


async def fine() -> None:
    """All of this is right."""
    _a: bool = await send_email.enqueue(to="x")
    await send_email.enqueue("x", subject="y")
    await send_email.enqueue_in(10, to="x")
    await send_email.enqueue_at(10, "x")
    await send_email.on("low").enqueue(to="x")
    await send_email.enqueue_many([send_email.job(to="x")])
    _n: int = await send_email("x")
    _b: bool = await Mail.enqueue(to="x")
    await Mail().enqueue("x", copies=2)
    await Mail.enqueue_in(1, to="x")
    await Mail.enqueue_at(1, "x")
    await Mail.on("low").enqueue(to="x")
    await Mail.enqueue_many([Mail.job("x")])
    await Old.enqueue(anything=1)
    await Old.enqueue_in(1, anything=1)
    await old.enqueue(anything=1)


async def wrong() -> None:
    """None of this is."""
    await send_email.enqueue()  # type: ignore[call-arg]
    await send_email.enqueue(to=1)  # type: ignore[arg-type]
    await send_email.enqueue(too="x")  # type: ignore[call-arg]
    await send_email.enqueue_in("soon", to="x")  # type: ignore[arg-type]
    await send_email.enqueue_in(10, to=3)  # type: ignore[arg-type]
    await send_email.enqueue_at(10)  # type: ignore[call-arg]
    await send_email.on("low").enqueue(t="x")  # type: ignore[call-arg]
    send_email.job(t="x")  # type: ignore[call-arg]
    await Mail.enqueue()  # type: ignore[call-arg]
    await Mail.enqueue(to=1)  # type: ignore[arg-type]
    await Mail().enqueue("x", copies="2")  # type: ignore[arg-type]
    await Mail.enqueue_in("soon", to="x")  # type: ignore[arg-type]
    await Mail.enqueue_at(1, to=3)  # type: ignore[arg-type]
    await Mail.on("low").enqueue(t="x")  # type: ignore[call-arg]
    Mail.job()  # type: ignore[call-arg]
    await Old.enqueue_in("soon")  # type: ignore[arg-type]
