"""What is allowed and hardly meant is told: in the log at boot, by `task list` and by doctor."""

from __future__ import annotations

import logging

import pytest
import structlog
from redis.asyncio import Redis
from structlog.testing import capture_logs

from resqpy.framework.process.process import Process
from tests.framework.conftest import Files, MakeProject


@pytest.fixture(autouse=True)
def _loud(_silent: None) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))


HEAD = "from datetime import timedelta\nfrom resqpy import task\n"


@pytest.mark.parametrize(
    ("properties", "told"),
    [
        ("frequency=60", "frequency is 60 milliseconds; for seconds write timedelta(seconds=60)"),
        ("frequency=999.5", "frequency is 999.5 milliseconds"),
        ("time_limit=30", "time_limit is 30 milliseconds"),
        ("expires=600", "expires is 600 milliseconds"),
        ("deadline=60", "deadline is 60 milliseconds"),
        ("frequency=1000", None),
        ("frequency=timedelta(milliseconds=60)", None),
        ("time_limit=100", None),
        ("", None),
    ],
)
def test_milliseconds_that_look_like_seconds(
    files: Files, properties: str, told: str | None
) -> None:
    """With file and line, and how to say it so that no one asks; the task is loaded all the same."""
    files.write(tasks__a=HEAD + f"@task({properties})\ndef a(): 'A.'\n")
    project = files.load()

    assert project.errors == ()
    assert list(project.registry.tasks) == ["a"]
    words = [str(each) for each in project.warnings]
    assert len(words) == (told is not None)
    if told is not None:
        assert words[0].startswith("tasks/a.py:3: task a: ")
        assert told in words[0]


def test_a_yield_behind_a_decorator(files: Files) -> None:
    """It may go through it, so it is no error."""
    files.write(
        tasks__a="""
        import functools
        from resqpy import task

        def through(function):
            @functools.wraps(function)
            def inner(): return list(function())
            return inner

        @task
        @through
        def a():
            'A.'
            yield 1
        """
    )
    project = files.load()

    assert project.errors == ()
    [warning] = project.warnings
    assert str(warning).startswith("tasks/a.py:12: task a: run contains a yield")


async def test_they_stand_in_the_log_at_boot(make_project: MakeProject) -> None:
    """Of whatever process: a worker's, a scheduler's, an application's."""
    project = make_project(tasks__a=HEAD + "@task(frequency=60)\ndef a(): 'A.'\n")
    with capture_logs() as logs:
        async with Process(project, worker=False):
            pass

    [line] = [each for each in logs if "60 milliseconds" in each["event"]]
    assert line["log_level"] == "warning"


@pytest.mark.parametrize(
    ("queues", "hint"),
    [
        (["defualt"], "'default'"),
        (["high", "mail"], "'mails'"),
        (["foregin"], "'foreign'"),
        (["mails foreign"], "'mails,foreign', with commas"),
        (["*", "defualt*", "!defualt"], None),
        (["default", "another"], None),
    ],
)
async def test_a_queue_that_is_nearly_one_is_told_at_boot(
    make_project: MakeProject, redis: Redis, queues: list[str], hint: str | None
) -> None:
    """Of the project's tasks' queues, and of those in Redis."""
    await redis.sadd("resque:queues", "foreign")
    project = make_project(
        {"tasks.queues": queues},
        tasks__a=HEAD + "@task\ndef a(): 'A.'\n@task(queue='mails')\ndef b(): 'B.'\n",
    )
    with capture_logs() as logs:
        async with Process(project, worker=True):
            pass
    told = [each["event"] for each in logs if "no task uses the queue" in each["event"]]

    assert len(told) == (hint is not None)
    assert hint is None or f"did you mean {hint}" in told[0]
