"""`run_task` and `run_full_task`."""

from __future__ import annotations

import pytest

from resqpy import Process, api
from resqpy.base.errors import InvalidInputs, JobTimeout, UnknownTask
from resqpy.testing import run_full_task, run_task

MAIL = {"to": "Ada@Example.com"}


async def test_a_task_alone(resqpy_process: Process) -> None:
    """Inputs are checked, formatted and completed; its middleware has no part in it."""
    assert await run_task("sendWelcomeEmail", MAIL) == {
        "to": "ada@example.com",
        "subject": "Welcome",
        "queue": True,
    }
    with pytest.raises(InvalidInputs, match="to"):
        await run_task("sendWelcomeEmail", {"to": "nobody"})


async def test_a_task_with_all_that_belongs_to_it(resqpy_process: Process) -> None:
    """Its middleware changes the result."""
    result = await run_full_task("sendWelcomeEmail", MAIL)

    assert result["counted"] is True


async def test_a_plain_function_runs_in_a_thread(resqpy_process: Process) -> None:
    """And returns what it returns."""
    assert await run_task("count_words", {"text": "to be or"}) == 3
    assert await run_full_task("count_words", {"text": "to be or"}) == 3


@pytest.mark.parametrize("run", [run_task, run_full_task])
async def test_errors_are_raised(resqpy_process: Process, run: type[object]) -> None:
    """Also where a job would be tried again; nothing of it is left in Redis."""
    with pytest.raises(ConnectionError, match="no network"):
        await run("flaky")  # type: ignore[call-arg, misc]
    with pytest.raises(JobTimeout):
        await run("slow")  # type: ignore[call-arg, misc]
    with pytest.raises(UnknownTask, match=r"did you mean 'flaky'"):
        await run("flakey")  # type: ignore[call-arg, misc]

    assert await api.tasks.failed_count() == 0
    assert await api.tasks.all_delayed() == {}
