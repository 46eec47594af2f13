"""Two versions of resqpy on one Redis, as in a rolling deploy and in a rollback: nothing is lost.

Half of the processes run the code of an older commit; whenever one is replaced, the other version may come.
Processes are killed, stopped and frozen; connections and Redis are left alone, because the older version
has faults of its own there.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.storm.fleet import HERE, Role
from tests.storm.storm import ROLES, Storm
from tests.storm.test_storm import Keep, prove
from tests.storm.weather import Weather

Tell = Callable[[str], None]


def swapping(older: Path) -> type[Weather]:
    """Weather in which whoever is replaced may be of the other version."""

    class Swapping(Weather):
        def next_role(self, role: Role) -> Role:
            code = self._chance.choice([HERE, older])
            self.done["replaced by the older" if code == older else "replaced by the newer"] += 1
            return replace(role, code=code)

    return Swapping


def storm(folder: Path, older: Path, count: int, *, short: bool) -> Storm:
    """Each role in both versions."""
    roles = [*ROLES, *(replace(role, code=older) for role in ROLES)]
    seed = random.randrange(10**6)
    return Storm(
        folder,
        count,
        seed,
        roles,
        connections=False,
        short=short,
        rest_s=0.5 if short else 2,
        jobs_a_fault=400 if short else 300,
        weather_type=swapping(older),
    )


@pytest.mark.promise(
    "two versions", "plain", "at most once", "retried", "locked", "delayed", "periodic", "cron", "tracked",
    "tracked at most once",
)  # fmt: skip
async def test_two_versions_share_a_redis(tmp_path: Path, older: Path, tell: Tell) -> None:
    """Two thousand jobs of all kinds."""
    await prove(storm(tmp_path, older, 2_000, short=True), tell)


@pytest.mark.full
@pytest.mark.timeout(3600)
async def test_two_versions_share_a_redis_for_long(
    tmp_path: Path, older: Path, tell: Tell, keep: Keep
) -> None:
    """Forty thousand jobs of all kinds."""
    keep("two_versions", await prove(storm(tmp_path, older, 40_000, short=False), tell))
