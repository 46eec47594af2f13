"""The screen of `resqpy top`: two round trips a look, whatever the size of the installation."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import click

from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.foreign_time import moment_of
from resqpy.base.model import WorkerId
from resqpy.cli import output, times
from resqpy.engine.inspector import Details
from resqpy.engine.resque import Resque

_BAR = 24  # columns


@dataclass
class _Before:
    """The look before, for rates."""

    at_s: float
    processed: int
    failed: int


async def watch(resque: Resque, every_s: float, rounds: int | None) -> None:
    """Show the screen again and again."""
    before: _Before | None = None
    number = 0
    while rounds is None or number < rounds:
        details = await resque.details()
        now = _Before(
            SYSTEM_CLOCK.monotonic(), details["stats"]["processed"], details["stats"]["failed"]
        )
        _show("\n".join(_screen(details, before, now)))
        before, number = now, number + 1
        if number != rounds:
            await asyncio.sleep(every_s)


def _show(screen: str) -> None:
    if sys.stdout.isatty():
        click.clear()
    click.echo(screen)


def _screen(details: Details, before: _Before | None, now: _Before) -> Iterator[str]:
    height = shutil.get_terminal_size((100, 40)).lines - 8
    yield _headline(details, before, now)
    yield ""
    queues = sorted(details["queues"].items(), key=lambda pair: (-pair[1], pair[0]))
    yield from _queues(queues[: max(3, height // 2)])
    yield ""
    yield from _working(details, max(3, height // 2))


def _headline(details: Details, before: _Before | None, now: _Before) -> str:
    rate = failing = "-"
    if before is not None and now.at_s > before.at_s:
        passed = now.at_s - before.at_s
        rate = f"{(now.processed - before.processed) / passed:,.0f}/s"
        failing = f"{(now.failed - before.failed) / passed:,.0f}/s"
    waiting = sum(details["queues"].values())
    return (
        f"waiting {waiting:,}   processed {now.processed:,} ({rate})   failed {now.failed:,} "
        f"({failing})   failed list {details['failed']:,}   delayed times {details['delayed']:,}   "
        f"leader {details['leader'] or 'nobody'}"
    )


def _queues(queues: list[tuple[str, int]]) -> Iterator[str]:
    longest = max((length for _, length in queues), default=0)
    width = max([5, *(len(output.text(name)) for name, _ in queues)])
    yield click.style(f"{'queue':<{width}}  {'jobs':>10}", bold=True)
    for name, length in queues:
        bar = "█" * round(_BAR * length / longest) if longest else ""
        yield f"{output.text(name):<{width}}  {length:>10,}  {click.style(bar, fg='cyan')}"


def _working(details: Details, most: int) -> Iterator[str]:
    workers = details["workers"]
    busy = {each: work for each, work in workers.items() if work is not None}
    yield click.style(f"{len(busy):,} of {len(workers):,} workers at work", bold=True)
    now_ms = SYSTEM_CLOCK.now_ms()
    for worker_id, work in list(busy.items())[:most]:
        began_ms = moment_of(work.run_at)
        since = times.duration(now_ms - began_ms) if began_ms else "?"
        payload = work.payload if isinstance(work.payload, dict) else {}
        name = WorkerId.parse(worker_id).name
        yield f"{output.text(payload.get('class')):<30}  {since:>10}  {work.queue}  {name}"
    if len(busy) > most:
        yield f"… {len(busy) - most:,} more"
