"""Noop on the real Redis: errors are told and forgotten."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from resqpy.base.errors import UsageError
from resqpy.engine.definition import define
from tests.plugins.conftest import MakeStage
from tests.plugins.stage import Gate


def fail() -> None:
    """Fail."""
    raise ValueError("boo")


def quiet(perform: Any = fail, **options: Any) -> Any:
    """A task with Noop."""
    return define("job", perform, plugins=["Noop"], plugin_options={"Noop": options})


async def test_a_failed_job_counts_as_done(
    make_stage: MakeStage, caplog: pytest.LogCaptureFixture
) -> None:
    """No failed entry; a line in the log with the traceback."""
    stage = make_stage(job=quiet())
    await stage.queue.enqueue("q", "job", [])

    with caplog.at_level(logging.ERROR, "resqpy.plugins.noop"):
        await stage.drain()

    assert await stage.left() == {"resque:queues": {"q"}, "resque:stat:processed": "1"}
    assert stage.events == [("success", None)]
    [line] = [each for each in caplog.records if each.name == "resqpy.plugins.noop"]
    assert line.getMessage() == "job in 'q' failed: boo"
    assert line.exc_info is not None


@pytest.mark.parametrize("is_async", [False, True])
async def test_a_logger_of_one_s_own_gets_the_error(make_stage: MakeStage, is_async: bool) -> None:
    """A plain or an async function."""
    told: list[Exception] = []

    async def tell(error: Exception) -> None:
        told.append(error)

    stage = make_stage(job=quiet(logger=tell if is_async else told.append))
    await stage.queue.enqueue("q", "job", [])

    await stage.drain()

    assert [repr(each) for each in told] == ["ValueError('boo')"]


@pytest.mark.parametrize("plugins", [["Retry", "Noop"], ["Noop", "Retry"]])
async def test_with_retry_it_gets_the_last_error(make_stage: MakeStage, plugins: list[str]) -> None:
    """A job is tried again as often as Retry says; then it counts as done."""
    options: dict[str, Any] = {"Retry": {"retryLimit": 2}, "Noop": {"logger": lambda _: None}}
    stage = make_stage(job=define("job", fail, plugins=plugins, plugin_options=options))
    await stage.queue.enqueue("q", "job", [])

    await stage.drain()
    await stage.come_due()
    await stage.drain()

    assert [name for name, _ in stage.events] == ["re_enqueue", "success"]
    assert await stage.left() == {
        "resque:queues": {"q"}, "resque:stat:failed": "1", "resque:stat:processed": "1",
    }  # fmt: skip


async def test_a_stopped_job_is_not_forgotten(make_stage: MakeStage) -> None:
    """It goes back to its queue, and nothing is told."""
    told: list[Exception] = []
    gate = Gate()
    stage = make_stage(job=quiet(gate, logger=told.append))
    await stage.queue.enqueue("q", "job", [])

    async with stage.working() as worker:
        await gate.entered.wait()
        await worker.stop_now()

    assert await stage.redis.llen("resque:queue:q") == 1
    assert told == []


def test_a_logger_must_be_a_function() -> None:
    """Said when the task is defined."""
    with pytest.raises(UsageError, match="task 'job': logger: 'x'"):
        quiet(logger="x")
