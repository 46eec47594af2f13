"""A Redis user who may run no scripts finds the same tracked tasks, in the same order, page by page."""

from __future__ import annotations

from typing import Any

import pytest

from resqpy.tracked.verbs import Tracked
from tests.tracked.test_query import CONDITIONS, all_ids, many

__all__ = ["many"]


@pytest.mark.parametrize("conditions", [{}, *(each for each, _ in CONDITIONS)], ids=str)
async def test_both_ways_agree(
    tracked: Tracked, many: list[str], conditions: dict[str, Any]
) -> None:
    """Whatever the conditions, the size of a page and the direction."""
    for size in (1, 5, 100):
        for direction in ("asc", "desc"):
            answers = []
            for tracked.store.scripts in (True, False):
                answers.append(await all_ids(tracked, size, direction=direction, **conditions))
            assert answers[0] == answers[1], (size, direction)


async def test_a_walk_is_given_up_and_goes_on(
    tracked: Tracked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where most of a large set is not wanted."""
    monkeypatch.setattr("resqpy.tracked.finding._WINDOW", 3)
    monkeypatch.setattr("resqpy.tracked.finding._MAX_IDS", 6)
    tracked.store.scripts = False
    made = [
        await tracked.create("a", {}, id=f"x{n:02}", tags=["t"] * (n % 9 == 8)) for n in range(20)
    ]
    wanted = [task.id for task in made if task.tags]

    assert await all_ids(tracked, 1, type="a", tags=["t"]) == wanted
