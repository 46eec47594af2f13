"""`find_enqueued` and `delete_enqueued`."""

from __future__ import annotations

from typing import Any

import pytest

from resqpy import Process, api
from resqpy.base.errors import InvalidInputs, UnknownTask
from resqpy.testing import EnqueuedJob, ManualClock, delete_enqueued, find_enqueued, run_task


async def test_what_waits_is_found(resqpy_clock: ManualClock) -> None:
    """In queues and delayed, by task and by inputs."""
    await api.tasks.enqueue_in(60_000, "count_words", {"text": "later"})
    await api.tasks.enqueue("count_words", {"text": "now"})
    await api.tasks.enqueue("count_words", {"text": "now"}, "high")
    await api.tasks.enqueue("tick")
    due_ms = -(-(resqpy_clock.now_ms() + 60_000) // 1000) * 1000

    found = await find_enqueued("count_words")
    assert found == [
        EnqueuedJob("count_words", [{"text": "now"}], "high"),
        EnqueuedJob("count_words", [{"text": "now"}], "low"),
        EnqueuedJob("count_words", [{"text": "later"}], "low", due_ms),
    ]
    assert found[0].inputs == {"text": "now"}
    assert await find_enqueued("count_words", {"text": "later"}) == found[2:]
    assert len(await find_enqueued()) == 4


async def test_what_waits_is_deleted(resqpy_process: Process) -> None:
    """Everywhere, and of the one task only."""
    for text in ("a", "b"):
        await api.tasks.enqueue("again", {"left": 0}, text)
        await api.tasks.enqueue_in(60_000, "count_words", {"text": text})
        await api.tasks.enqueue_in(90_000, "count_words", {"text": text})
        await api.tasks.enqueue("count_words", {"text": text})

    assert await delete_enqueued("count_words", {"text": "a"}) == 3
    assert await delete_enqueued("count_words") == 3
    assert await delete_enqueued("count_words") == 0
    assert len(await find_enqueued("again")) == 2


async def test_a_misspelled_task_finds_no_nothing(resqpy_process: Process) -> None:
    """It is refused with the nearest; a foreign task that waits is found."""
    await api.resque.queue.enqueue("q", "RubyClass", [1, 2])

    assert (await find_enqueued("RubyClass"))[0].args == [1, 2]
    assert (await find_enqueued("RubyClass"))[0].inputs == {}
    with pytest.raises(UnknownTask, match="count_words"):
        await find_enqueued("count_word")


async def test_a_misspelled_input_finds_no_nothing(resqpy_process: Process) -> None:
    """Nor what is no dict; what a foreign task has is its own affair."""
    wrong: Any = ["a"]
    for verb in (find_enqueued, delete_enqueued):
        with pytest.raises(InvalidInputs, match="input 'txet' is unknown; did you mean 'text'"):
            await verb("count_words", {"txet": "a"})
        with pytest.raises(InvalidInputs, match="a dict by name, got \\['a'\\]"):
            await verb("count_words", wrong)
    with pytest.raises(InvalidInputs, match="a dict by name, got \\['a'\\]"):
        await run_task("count_words", wrong)
    await api.resque.queue.enqueue("q", "RubyClass", [{"a": 1}])
    assert len(await find_enqueued("RubyClass", {"a": 1})) == 1


async def test_jobs_of_periodic_tasks_are_deleted(resqpy_clock: ManualClock) -> None:
    """Although they have their time in them, so that no deletion by arguments finds them."""
    await api.tasks.enqueue_recurrent_job("tick")
    await resqpy_clock.advance(1000)

    assert len(await find_enqueued("tick")) == 1
    assert await delete_enqueued("tick") == 1
    assert await find_enqueued() == []
