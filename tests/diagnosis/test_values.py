"""What is found is data, for whoever shows it: no command line, no project, nothing printed."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from resqpy import InvalidInputs, Resque
from resqpy.base.masking import Redaction
from resqpy.diagnosis.contract import Contract
from resqpy.diagnosis.doctor import Diagnosis
from resqpy.diagnosis.explaining import Explanation
from resqpy.diagnosis.workers import installation
from resqpy.engine.options import LeaderOptions
from resqpy.store.repair.undo import Undo

TASKS = {"Mail": SimpleNamespace(queue="post", periodic=False)}


async def test_all_that_is_found_is_data(
    redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Doctor, explain, the check of jobs and the view of the whole, of one Redis with one job."""
    async with Resque(redis_url) as resque:
        await resque.enqueue("post", "Mail", [{"to": "a", "password": "hidden"}])
        await resque.store.call("SREM", resque.store.keys.queues, "post")

        problems = {each.name: each for each in await Diagnosis(resque).problems()}
        findings = await Explanation(resque, TASKS, LeaderOptions(), "Mail").findings()
        unlisted = problems["unlisted queues"]
        assert unlisted.fix is not None
        repaired = await unlisted.fix(Undo(resque.store))
        [refused] = await Contract(resque, TASKS, _refuse, Redaction()).problems()
        whole = await installation(resque)

    assert (unlisted.grave, unlisted.remedy, repaired) == (True, "add them to the set", 1)
    assert [(each.kind, each.blocks) for each in findings] == [
        ("no worker", True),
        ("waiting", False),
    ]
    assert (refused.name, refused.details["count"], refused.details["queues"]) == (
        "refused jobs", 1, ["post"],
    )  # fmt: skip
    assert "hidden" not in refused.words
    assert (whole.as_json()["queues"], whole.as_json()["leader"]) == ({"post": 1}, None)
    assert tuple(capsys.readouterr()) == ("", "")


def _refuse(task: Any, args: Sequence[Any]) -> None:
    raise InvalidInputs(f"{task.queue}: {len(args)}")
