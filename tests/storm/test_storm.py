"""Everything breaks, and nothing is lost: see `storm.py` for what happens, `auditor.py` for what is asked."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.storm.storm import Storm

Tell = Callable[[str], None]
Keep = Callable[[str, dict[str, Any]], None]


async def prove(storm: Storm, tell: Tell) -> dict[str, Any]:
    """Let it blow, tell its figures, and find nothing wrong; the figures for the docs."""
    print(f"seed {storm.seed}")
    report = await storm.run()
    tell(
        f"seed {storm.seed}: {report}; faults: {dict(storm.faults)}; "
        f"ended by themselves: {dict(storm.died) or 'none'}; scripts: {storm.slow_scripts}"
    )
    if storm.died:  # why is in the log alone
        tell((storm.folder / "log").read_text()[-8000:])
    assert report.faults == {}
    if not storm.processes:
        assert dict(+report.again) == {}
        assert dict(report.failed) == {}
    return {
        "seed": storm.seed,
        "faults": dict(storm.faults),
        **report.figures,
        "scripts over 5 ms, those in which Redis was stopped included": len(storm.slow_ms),
    }


@pytest.mark.promise("killed")
@pytest.mark.promise("stopped")
@pytest.mark.promise("frozen")
@pytest.mark.promise("leader killed")
async def test_a_storm(tmp_path: Path, tell: Tell) -> None:
    """Three thousand jobs of all kinds; each fault at least once: nothing is lost, what may begin once
    begins once, and nothing is left behind.
    """
    seed = random.randrange(10**6)
    await prove(Storm(tmp_path, 3_000, seed, rest_s=0.3, jobs_a_fault=300, short=True), tell)


@pytest.mark.promise("reply lost")
@pytest.mark.promise("redis killed")
@pytest.mark.promise("redis stands still")
async def test_a_storm_around_redis(tmp_path: Path, tell: Tell) -> None:
    """Connections break and Redis dies, and no process does: each job runs, and once."""
    seed = random.randrange(10**6)
    storm = Storm(tmp_path, 3_000, seed, rest_s=0.3, jobs_a_fault=500, short=True, processes=False)
    await prove(storm, tell)


@pytest.mark.full
@pytest.mark.timeout(3600)
async def test_a_great_storm(tmp_path: Path, tell: Tell, keep: Keep) -> None:
    """A hundred and twenty thousand jobs of all kinds."""
    storm = Storm(tmp_path, 120_000, random.randrange(10**6), rest_s=3)
    keep("great", await prove(storm, tell))
