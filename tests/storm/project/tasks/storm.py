"""One task of each kind. What a run does is a line in the file $STORM_NOTES: its kind, its number, what."""

from __future__ import annotations

import asyncio
import os
import random

from resqpy import current_run, current_task, task

NOTES = os.open(os.environ["STORM_NOTES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def note(kind: str, number: object, what: str) -> None:
    """One write, so that lines of many processes never mix."""
    os.write(NOTES, f"{kind} {number} {what} {os.getpid()}\n".encode())


@task(queue="storm")
async def plain(n: int) -> None:
    """Done at once, or after a moment."""
    if n % 10 == 0:
        await asyncio.sleep(0.02)
    note("plain", n, "done")


@task(queue="storm")
def threaded(n: int) -> None:
    """The same in a thread."""
    note("threaded", n, "done")


@task(queue="storm")
async def delayed(n: int) -> None:
    """Enqueued for a time."""
    note("delayed", n, "done")


@task(queue="storm", retry={"retry_limit": 60, "retry_delay": 1000})
async def retried(n: int) -> None:
    """Fails now and then."""
    if random.random() < 0.2:
        raise ValueError("not this time")
    note("retried", n, "done")


@task(queue="storm", plugins=["JobLock"],
      plugin_options={"JobLock": {"lockTimeout": 20, "enqueueTimeout": 1000}})  # fmt: skip
async def locked(n: int) -> None:
    """Twenty share a lock."""
    note("locked", n, "done")


@task(queue="storm", at_most_once=True)
async def once(n: int) -> None:
    """Never begun twice."""
    note("once", n, "start")
    if n % 10 == 0:
        await asyncio.sleep(0.02)
    note("once", n, "done")


@task(queue="storm")
async def tracked(n: int) -> int:
    """Defers itself, fails, or ends."""
    active, dice = current_task(), random.random()
    if active is not None and dice < 0.1:
        await active.defer(100)
        return 0
    if dice < 0.2:
        raise RuntimeError("not this time")
    note("tracked", n, "done")
    return n


@task(queue="storm", at_most_once=True)
async def tracked_once(n: int) -> int:
    """Tracked, and never begun twice."""
    note("tracked_once", n, "start")
    if n % 10 == 0:
        await asyncio.sleep(0.02)
    note("tracked_once", n, "done")
    return n


@task(queue="clock", frequency=500)
async def periodic() -> None:
    """A chain of runs, one at a time."""
    at = current_run.get().scheduled_at
    note("periodic", int(at.timestamp() * 1000) if at else 0, "done")


@task(queue="clock", cron="* * * * * *", missed="all")
async def cron() -> None:
    """Every second."""
    at = current_run.get().scheduled_at
    note("cron", int(at.timestamp()) if at else 0, "done")
