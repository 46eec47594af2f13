"""What people bring from elsewhere: told with the form that is meant here."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy import Queue, Worker
from resqpy.base.errors import DuplicateDelayedJob, InvalidInputs, InvalidQueueName, UsageError
from resqpy.framework.api.api import api
from resqpy.framework.process.process import Process
from resqpy.framework.tasks.task import Task, task
from tests.framework.conftest import Files, MakeProject
from tests.support.working import working

HEAD = "from resqpy import Task, task\nfrom typing import Any\n"


@task(queue="low")
async def send(to: str, copies: int = 1) -> str:
    """Send something."""
    return f"{copies} to {to}"


class Clean(Task):
    """Clean up."""

    at_most_once = True

    def run(self, days: int = 30) -> str:
        return f"{days} days"


@pytest.mark.parametrize(
    ("name", "verb"),
    [
        ("delay", "enqueue"),
        ("apply_async", "enqueue"),
        ("send", "enqueue"),
        ("perform_async", "enqueue"),
        ("perform_in", "enqueue_in"),
        ("s", "job"),
        ("set", "on"),
    ],
)
def test_a_verb_of_another_library_names_ours(name: str, verb: str) -> None:
    """On a function, a class, an instance and a handle."""
    for thing in (send, send.on("high"), Clean, Clean()):
        with pytest.raises(AttributeError, match=rf"here it is `\w+\.{verb}`"):
            getattr(thing, name)
        assert not hasattr(thing, name)


def test_a_misspelled_verb_names_the_nearest() -> None:
    """And a user's own attribute of such a name is his own."""
    with pytest.raises(AttributeError, match="did you mean 'enqueue_in'"):
        send.enqueue_inn  # type: ignore[attr-defined]  # noqa: B018 - that is the test

    class Own(Task):
        """It has a method of its own."""

        def run(self) -> str:
            return self.send()

        def send(self) -> str:
            return "sent"

    assert Own().run() == "sent"


@pytest.mark.parametrize(
    "parameters",
    ["api, params, next", "api, next", "api, params", "api, params, callback", "api, worker"],
)
@pytest.mark.parametrize("shape", ["class", "function"])
def test_the_seeds_own_form_of_run_is_told(files: Files, parameters: str, shape: str) -> None:
    """Not taken for required inputs of those names."""
    text = {
        "class": f"class A(Task):\n    'A.'\n    async def run(self, {parameters}): ...\n",
        "function": f"@task\nasync def a({parameters}): 'A.'\n",
    }[shape]
    files.write(tasks__a=HEAD + text)
    [problem] = files.problems()

    assert "JavaScript's form" in problem
    assert "from resqpy import api" in problem


def test_inputs_may_be_called_next_or_api(files: Files) -> None:
    """One of them alone is an input."""
    files.write(
        tasks__a=HEAD + "@task\ndef a(next: int, page: int): 'A.'\n@task\ndef b(api: str): 'B.'\n"
    )
    assert files.problems() == []


@pytest.mark.parametrize(
    ("hint", "fine"),
    [
        ("worker: int", False),
        ("worker: str = ''", False),
        ("worker: list[int]", False),
        ("worker: 'int | None' = None", False),
        ("params: str", False),
        ("inputs: list[str]", False),
        ("worker: Any", True),
        ("worker: 'Worker | None' = None", True),
        ("worker", True),
        ("params: dict[str, Any]", True),
        ("inputs: dict", True),
        ("params: object", True),
    ],
)
def test_an_input_that_is_called_as_what_a_run_is_given(
    files: Files, hint: str, fine: bool
) -> None:
    """It would get the worker, or all inputs, and not itself."""
    files.write(tasks__a=HEAD + f"@task\ndef a({hint}): 'A.'\n")
    problems = files.problems()

    assert (problems == []) is fine
    assert all("run's parameter" in each for each in problems)


INJECTED = """
    import functools
    import inspect
    from resqpy import task

    class Session: ...

    def with_db(function):
        @functools.wraps(function)
        async def inner(**inputs):
            return await function(db=Session(), **inputs)
        {signature}
        return inner

    @task
    @with_db
    async def a(db: Session, to: str):
        'A.'
        return type(db).__name__, to
"""
SAID = (
    "known = inspect.signature(function); inner.__signature__ = known.replace(parameters="
    "[each for each in known.parameters.values() if each.name != 'db'])"
)


async def test_an_argument_that_a_decorator_gives_is_no_input(make_project: MakeProject) -> None:
    """Where the decorator says so."""
    project = make_project(tasks__a=INJECTED.format(signature=SAID))
    assert project.errors == ()
    assert list(project.registry.tasks["a"].inputs) == ["to"]

    async with Process(project, worker=False) as process:
        worker = process.resque.inline_worker()
        assert await worker.perform_inline("a", [{"to": "ada"}]) == ("Session", "ada")


def test_an_argument_that_a_decorator_gives_in_silence_is_told(files: Files) -> None:
    """With how to say it."""
    files.write(tasks__a=INJECTED.format(signature=""))
    [problem] = files.problems()

    assert "input 'db' is a Session" in problem
    assert "`__signature__` without it" in problem


async def test_a_workers_task_may_be_a_projects(redis_url: str) -> None:
    """Its inputs come by their names, with its defaults and checks, and its properties count."""
    jobs = {"send": send, "clean": Clean, "otherName": send}
    args: Any = [{"to": "ada"}]
    async with Queue(redis_url) as queue, working(redis_url, jobs, "q") as work:
        await queue.enqueue("q", "send", args)
        await queue.enqueue("q", "otherName", [{"to": "bob", "copies": 2}])
        await queue.enqueue("q", "clean", [{}])
        await queue.enqueue("q", "send", [{"too": "ada"}])
        await work.until(4)
    assert [each[3] for each in work.args("success")] == ["1 to ada", "2 to bob", "30 days"]
    [(_, _, _, error, _)] = work.args("failure")
    assert isinstance(error, InvalidInputs)

    worker = Worker(redis_url, jobs)
    assert worker.definitions["clean"].at_most_once
    assert await worker.perform_inline("clean", [{"days": 1}]) == "1 days"
    await worker.stop()


async def test_an_empty_queue_name_is_refused(make_project: MakeProject) -> None:
    """It is a name, and not a way to say nothing."""
    project = make_project(tasks__a=HEAD + "@task\nasync def a(): 'A.'\n")
    async with Process(project, worker=False):
        a: Any = project.registry.task("a").defined
        with pytest.raises(InvalidQueueName):
            a.on("")
        with pytest.raises(InvalidQueueName):
            await api.tasks.enqueue("a", {}, "")
        with pytest.raises(InvalidQueueName):
            await api.tasks.enqueue_in(1000, "a", {}, queue="")
        with pytest.raises(InvalidQueueName):
            await api.tasks.enqueue_at(2_000_000_000_000, "a", {}, queue="")
        with pytest.raises(InvalidQueueName):
            await api.tasks.enqueue_many([("a", {}, "")])
        with pytest.raises(InvalidQueueName):
            await api.tracked.create("a", {}, queue="")
        assert await api.tasks.queues() == []


async def test_a_time_is_no_delay(make_project: MakeProject, redis: Redis) -> None:
    """57 years from now were not meant; who means years says so by a timedelta."""
    project = make_project(tasks__a=HEAD + "@task\nasync def a(): 'A.'\n")
    async with Process(project, worker=False):
        a: Any = project.registry.task("a").defined
        now_ms = 1_800_000_000_000
        with pytest.raises(UsageError, match="57 years, so it is a time, not a delay"):
            await a.enqueue_in(now_ms)
        with pytest.raises(UsageError, match="not a delay"):
            await api.tasks.enqueue_in(float(now_ms), "a")
        with pytest.raises(UsageError, match="not a delay"):
            await api.resque.queue.enqueue_in(now_ms, "q", "a")
        with pytest.raises(UsageError, match="not a delay"):
            await api.tracked.create("a", {}, delay=now_ms)
        assert await redis.keys("*delayed*") == []
        assert await a.enqueue_in(timedelta(days=365 * 57))
        assert await a.enqueue_in(365 * 86_400_000)


async def test_a_double_click_is_no_error(make_project: MakeProject) -> None:
    """The handle of a task refuses it where the same job is due about then already; the verbs
    of ActionHero and node-resque raise, unless they are told not to.
    """
    project = make_project(tasks__a=HEAD + "@task\nasync def a(n: int = 0): 'A.'\n")
    at_ms = 4_000_000_000_000
    async with Process(project, worker=False):
        a: Any = project.registry.task("a").defined
        done = [await a.enqueue_at(at_ms, n=1) for _ in range(3)]
        assert [each.refused for each in done] == [None, "duplicate", "duplicate"]
        assert await a.enqueue_at(at_ms, n=2)
        assert await a.enqueue_at(at_ms + 5000, n=1)
        assert await a.on("high").enqueue_at(at_ms, n=1)
        with pytest.raises(DuplicateDelayedJob):
            await api.tasks.enqueue_at(at_ms, "a", {"n": 1})
        assert not await api.tasks.enqueue_at(
            at_ms, "a", {"n": 1}, suppress_duplicate_task_error=True
        )
        with pytest.raises(DuplicateDelayedJob):
            await api.resque.queue.enqueue_at(at_ms, "default", "a", [{"n": 1}])
        assert len(await api.tasks.delayed_at(at_ms)) == 3
