"""What the README says is true: its programs run, its commands print that, its links lead somewhere."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from redis.asyncio import Redis

from resqpy import MultiWorker, Queue, ScalingOptions, WorkerOptions
from tests.support.documents import follow
from tests.support.source import ROOT
from tests.support.waiting import wait_for

README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]


def test_the_examples_run(tmp_path: Path, user_here: dict[str, str]) -> None:
    """In an empty folder, in their order, by a person who sets up nothing."""
    assert len(follow(README.read_text(), tmp_path, user_here)) >= 20


def test_the_program_has_fifteen_lines() -> None:
    """Its two files, without blank lines and the comments that name them."""
    section = README.read_text().partition("## A program in fifteen lines")[2].partition("\n## ")[0]
    files = re.findall(r"^```python\n# .*?\n(.*?)^```", section, re.DOTALL | re.MULTILINE)

    lines = [line for file in files for line in file.splitlines() if line]
    assert len(files) == 2
    assert len(lines) <= 15


async def test_hundreds_of_jobs_go_over_four_connections(redis: Redis, redis_url: str) -> None:
    """For commands, for jobs, for what wakes a worker up, for its heartbeat."""
    running: set[int] = set()
    done = asyncio.Event()

    async def job(number: int) -> None:
        running.add(number)
        await done.wait()

    async with Queue(redis_url) as queue:
        await queue.enqueue_many([("q", "job", [number]) for number in range(300)])

        async def connections() -> set[str]:
            return {each["id"] for each in await redis.client_list()}

        before = await connections()  # by id: one of an earlier test may go at any time

        async def has_four() -> bool:
            return len(await connections() - before) == 4

        options, scaling = WorkerOptions(heartbeat_s=0.05), ScalingOptions(300, 300)
        async with MultiWorker(redis_url, {"job": job}, "q", options, scaling):
            await wait_for(lambda: len(running) == 300)
            await wait_for(has_four)
            await asyncio.sleep(0.1)  # two heartbeats later there is no fifth
            assert await has_four()
            done.set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """To files of this repository, and to headings that are there."""
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, heading = target.partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        file = (page.parent / path) if path else page
        if not file.exists() or (heading and heading not in _headings(file)):
            broken.append(target)

    assert broken == []


def _headings(page: Path) -> set[str]:
    lines = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", line.lower()).strip().replace(" ", "-") for line in lines}
