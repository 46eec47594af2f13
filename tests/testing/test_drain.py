"""`drain`."""

from __future__ import annotations

import pytest

from resqpy import Process, api
from resqpy.base.errors import PoolStateError, ResqpyError, SnoozedTooOften
from resqpy.testing import drain


async def test_queues_are_worked_until_they_are_empty(resqpy_process: Process) -> None:
    """With those that the jobs fill, also queues that are new; what ran is told in its order."""
    await api.tasks.enqueue("again", {"left": 3})
    await api.tasks.enqueue("count_words", {"text": "to be"})

    drained = await drain()

    assert [(each.task, each.queue) for each in drained.jobs] == [
        ("again", "default"),
        ("count_words", "low"),
        ("again", "q3"),
        ("again", "q2"),
        ("again", "q1"),
    ]
    assert drained.succeeded[1].result == 2
    assert await api.tasks.workers() == {}
    assert (await api.tasks.stats())["processed"] == 5
    assert len(await drain()) == 0


async def test_only_some_queues(resqpy_process: Process) -> None:
    """In the order in which they are named."""
    for queue in ("a", "b", "c"):
        await api.tasks.enqueue("again", {"left": 0}, queue)

    assert [each.queue for each in (await drain(["c", "a"])).jobs] == ["c", "a"]
    assert await api.tasks.length("b") == 1


async def test_a_misspelled_queue_is_told(resqpy_process: Process) -> None:
    """It runs nothing, so a test of what fails would pass; a queue that a job waits in is meant."""
    with pytest.warns(UserWarning, match="no task uses the queue 'loww'; did you mean 'low'"):
        assert not (await drain(["loww", "*x*"])).jobs
    await api.tasks.enqueue("count_words", {"text": "a"}, "loww")
    assert len(await drain("loww")) == 1


async def test_delayed_jobs_too(resqpy_process: Process) -> None:
    """Each attempt of a job that is tried again is there; it ends in the failed list."""
    await api.tasks.enqueue_in(3_600_000, "flaky")
    assert len(await drain()) == 0

    drained = await drain(delayed=True)

    assert [each.end for each in drained.jobs] == ["re_enqueue", "re_enqueue", "failure"]
    assert str(drained.failed[0].error) == "no network"
    assert await api.tasks.failed_count() == 1
    assert await api.tasks.timestamps() == []


async def test_snoozed_jobs(resqpy_process: Process) -> None:
    """Each run of one is there; too many snoozes are a failure, which is not retried."""
    await api.tasks.enqueue("sleepy", {"until": 2})
    plain = await drain(delayed=True)
    await api.tasks.enqueue("sleepy", {"until": 3})
    often = await drain(delayed=True)

    assert [(each.end, each.result) for each in plain.jobs] == [
        ("snoozed", None), ("snoozed", None), ("success", 2),
    ]  # fmt: skip
    assert [each.end for each in often.jobs] == ["snoozed", "snoozed", "failure"]
    assert isinstance(often.failed[0].error, SnoozedTooOften)
    assert len(plain.snoozed) == 2


async def test_a_tracked_task_says_how_often(resqpy_process: Process) -> None:
    """Until its run is over."""
    task = await api.tracked.create("sleepy", {"until": 2})
    await drain()
    await task.refresh()

    assert (task.status, task.snoozed, task.attempts) == ("scheduled", 1, 0)
    assert task.next_run_time is not None


async def test_errors_can_be_raised(resqpy_process: Process) -> None:
    """The first of them, when all is done."""
    await api.tasks.enqueue("slow")
    await api.tasks.enqueue("count_words", {"text": ""})

    with pytest.raises(ResqpyError, match=r"longer than its limit"):
        await drain(raising=True)
    assert await api.tasks.length("low") == 0


async def test_the_most_jobs_is_no_matter_of_luck(resqpy_process: Process) -> None:
    """Also where all of them have ended before anybody looks."""
    for _ in range(20):
        await api.tasks.enqueue_many([("again", {"left": 0}, "low")] * 3)
        with pytest.raises(ResqpyError, match=r"(2|3) jobs have ended"):
            await drain(most=2)
        await drain()


async def test_what_never_ends_is_told(resqpy_process: Process) -> None:
    """By the number of jobs, and by time; so are paused workers."""
    await api.tasks.enqueue("again", {"left": 50})
    with pytest.raises(ResqpyError, match=r"does a task enqueue itself"):
        await drain(most=5)
    with pytest.raises(ResqpyError, match=r"0\.001 s"):
        await drain(timeout=1)
    await api.tasks.pause_queue("low")
    await api.tasks.enqueue("again", {"left": 0}, "low")
    with pytest.raises(PoolStateError, match="low"):
        await drain("low")
    await resqpy_process.resque.store.call("SET", "resque:pause-all-workers", "true")
    with pytest.raises(PoolStateError, match="paused"):
        await drain()


async def test_tracked_tasks_are_tracked(resqpy_process: Process) -> None:
    """As in a worker's process: the run has its task, and the record has its result."""
    made = await api.tracked.create("whoAmI", {})
    drained = await drain(raising=True)
    await made.refresh()
    assert [job.result for job in drained.jobs] == [made.id]
    assert (made.status, made.result) == ("completed", made.id)
