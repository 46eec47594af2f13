"""What is found is data, for whoever shows it: no command line, no project, nothing printed."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from resqpy import InvalidInputs, Limit, Resque
from resqpy.base.masking import Redaction
from resqpy.base.queue_age import QueueAge
from resqpy.diagnosis.contract import Contract
from resqpy.diagnosis.doctor import Diagnosis
from resqpy.diagnosis.explaining import Explanation
from resqpy.diagnosis.queues import QueueAges
from resqpy.diagnosis.workers import installation
from resqpy.engine.options import LeaderOptions
from resqpy.store import limits
from resqpy.store.repair.undo import Undo

TASKS = {"Mail": SimpleNamespace(queue="post", periodic=False)}


async def test_a_limit_for_each_value_is_not_shown_beside_its_keys(redis_url: str) -> None:
    """Unless it is why nothing runs."""
    async with Resque(redis_url) as resque:
        mail = Explanation(resque, TASKS, LeaderOptions(), "Mail")

        async def limited() -> list[str]:
            found = [each for each in await mail.findings() if each.kind == "limited task"]
            return [each.remedy or "" for each in found]

        await limits.announce(resque.store, {"Mail": [Limit(2, per="to")]})
        assert await limited() == ["resqpy limits set Mail:to MOST"]
        await resque.set_limit("Mail:to=a", 1)
        assert await limited() == ["resqpy limits set Mail:to=a MOST"]
        await resque.set_limit("Mail:to", 0)
        assert len(await limited()) == 2


def test_how_long_parked_jobs_have_waited_is_not_known() -> None:
    """The leader looks at queues, so a queue whose jobs are all parked is none in which nothing waits."""
    empty = QueueAge(5, 0, None, 0, "exact", 0, 0, 0.0, 0.0, counted=True)
    for seen in ({}, {"q": empty}):
        ages = QueueAges(5, known=True, by_queue=seen)
        assert (ages.words("q", 3), ages.words("q", 0)) == ("?", "-")


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
