"""Middleware: four hooks, everywhere or by name, by priority."""

from __future__ import annotations

import re
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy.base.errors import HookTimeout, JobTimeout, TaskUnfinished, UsageError
from resqpy.framework.api.api import api
from resqpy.framework.process.process import Process
from resqpy.framework.project.project import Project
from resqpy.store.migrations import ALL, Migration, migrate, migrations
from resqpy.testing import drain, find_enqueued
from tests.framework.conftest import Files, MakeProject, until

MIDDLEWARE = """
from resqpy import Middleware

SAID = []

class Noisy(Middleware):
    async def pre_enqueue(self, job):
        SAID.append(f"{self.title()} pre_enqueue {job.class_name} {job.args}")
        return job.args[0].get("forbid") != self.title()
    def post_enqueue(self, job):
        SAID.append(f"{self.title()} post_enqueue {job.class_name}")
    def pre_processor(self, call):
        SAID.append(f"{self.title()} pre_processor {call.task.name} {call.params}")
        call.params[self.title()] = True
        if call.params.get("skip") == self.title():
            return False
        if call.params.get("fail") == self.title():
            raise LookupError("not allowed")
    async def post_processor(self, call):
        SAID.append(f"{self.title()} post_processor {call.result} {call.error!r}")
        if call.params.get("forgive"):
            call.error = None

class Outer(Noisy):
    everywhere = True
    priority = 10

class Inner(Noisy):
    priority = 20

class Last(Noisy):
    name = "last.one"
    everywhere = True
    priority = 1000
"""
TASKS = """
from resqpy import Middleware, task
RAN = []

class Local(Middleware):
    def pre_processor(self, call):
        call.params["local"] = True

@task(middleware=["inner", Local])
async def named(forbid="", skip="", fail="", forgive=False, **rest):
    '''Has one by name and one by class.'''
    RAN.append(rest)
    if forgive:
        raise LookupError("oh")
    return "done"

@task()
def plain():
    '''Has those that are everywhere.'''
"""


@pytest.fixture
def project(make_project: MakeProject) -> Project:
    """A project with middleware."""
    return make_project(middleware__all=MIDDLEWARE, tasks__a=TASKS)


def said(project: Project) -> list[str]:
    """What the middleware has said; it is forgotten."""
    middleware = project.registry.middleware
    found: list[str] = middleware._by_name["outer"].pre_enqueue.__globals__["SAID"]
    told = list(found)
    found.clear()
    return [each for each in told if not each.startswith("noisy")]


def ran(project: Project) -> list[Any]:
    """What the task was given."""
    found: list[Any] = project.registry.task("named").run.__globals__["RAN"]
    return found


async def test_one_for_all_tasks_may_stand_beside_them(make_project: MakeProject) -> None:
    """There may be no other file; one that is not for all is for who names it."""
    project = make_project(
        tasks="""
        from resqpy import Middleware, task

        SAID = []

        class Says(Middleware):
            everywhere = True
            def pre_processor(self, call): SAID.append(call.task.name)

        class Quiet(Middleware):
            def pre_processor(self, call): SAID.append("quiet")

        @task
        def a(): "A."

        @task(middleware=[Quiet])
        def b(): "B."
        """
    )
    assert project.errors == ()
    async with Process(project):
        await api.tasks.enqueue("a")
        await api.tasks.enqueue("b")
        await drain(raising=True)
    function: Any = project.registry.task("a").defined
    assert function.function.__globals__["SAID"] == ["a", "b", "quiet"]


async def test_the_order_of_the_hooks(project: Project) -> None:
    """By priority before a task, the other way round after it."""
    async with Process(project, worker=True):
        await api.tasks.enqueue("named")
        await until(lambda: ran(project))
        await until(lambda: len(middleware_says(project)) >= 12)

    told = said(project)
    assert [each for each in told if "_enqueue" in each] == [
        "outer pre_enqueue named [{}]",
        "inner pre_enqueue named [{}]",
        "last.one pre_enqueue named [{}]",
        "outer post_enqueue named",
        "inner post_enqueue named",
        "last.one post_enqueue named",
    ]
    assert [each for each in told if "_enqueue" not in each] == [  # the job may run meanwhile
        "outer pre_processor named {'forbid': '', 'skip': '', 'fail': '', 'forgive': False}",
        (
            "inner pre_processor named"
            " {'forbid': '', 'skip': '', 'fail': '', 'forgive': False, 'outer': True}"
        ),
        (
            "last.one pre_processor named {'forbid': '', 'skip': '', 'fail': '', 'forgive': False,"
            " 'outer': True, 'inner': True, 'local': True}"
        ),
        "last.one post_processor done None",
        "inner post_processor done None",
        "outer post_processor done None",
    ]
    assert ran(project) == [{"outer": True, "inner": True, "local": True, "last.one": True}]


def middleware_says(project: Project) -> list[str]:
    """What the middleware has said so far."""
    middleware = project.registry.middleware
    found: list[str] = middleware._by_name["outer"].pre_enqueue.__globals__["SAID"]
    return found


async def test_a_task_that_names_none_has_those_everywhere(project: Project) -> None:
    """`everywhere` is ActionHero's `global`."""
    async with Process(project):
        await api.tasks.enqueue("plain")

    assert {each.split()[0] for each in said(project)} == {"outer", "last.one"}


async def test_pre_enqueue_forbids(project: Project) -> None:
    """By returning False; those behind it are not asked."""
    async with Process(project):
        assert not await api.tasks.enqueue("named", {"forbid": "inner"})
        assert await api.tasks.length("default") == 0

    assert [each.split()[0] for each in said(project)] == ["outer", "inner"]


async def test_pre_processor_skips_and_fails(project: Project) -> None:
    """False: the run is skipped, nothing fails; an error: the job fails with it."""
    async with Process(project, worker=True):
        await api.tasks.enqueue("named", {"skip": "inner"})
        await api.tasks.enqueue("named", {"fail": "inner"})
        await until(api.tasks.failed_count)
        [failed] = await api.tasks.failed()

    assert failed.error == "not allowed"
    assert ran(project) == []


async def test_post_processor_may_forgive(project: Project) -> None:
    """It sees the error, and may take it away."""
    async with Process(project, worker=True) as process:
        succeeded: list[Any] = []
        worker = process.resque.multi_worker
        assert worker is not None
        worker.on("success", lambda *details: succeeded.append(details))
        await api.tasks.enqueue("named", {"forgive": True})
        await until(lambda: succeeded)

        assert await api.tasks.failed_count() == 0


ODD = """
from resqpy import Middleware, task

async def later(): return "more"

class Odd(Middleware):
    def pre_processor(self, call):
        if call.params["what"] == "params":
            call.params = None
    def post_processor(self, call):
        match call.run.job.args[0]["what"]:
            case "text": call.error = "it failed"
            case "class": call.error = ValueError
            case "coroutine": call.result = later()
            case "generator": call.result = (each for each in [1])
            case "list": call.result = [1]

@task(middleware=[Odd])
def plain(what: str) -> object:
    if what == "text":
        raise LookupError("oh")
    return object()
"""


@pytest.mark.parametrize(
    ("what", "error", "words"),
    [
        ("text", UsageError, "odd, a plugin or middleware, set the error of 'plain' to 'it failed', which is no"),
        ("class", UsageError, "set the error of 'plain' to <class 'ValueError'>, which is no exception"),
        ("coroutine", TaskUnfinished, "odd, .* set the result of 'plain' to a coroutine, so nothing of it ran"),
        ("generator", TaskUnfinished, "set the result of 'plain' to a generator, so nothing of it ran"),
        ("params", UsageError, "set the params of 'plain' to None, which is no dict"),
        ("list", None, ""),
    ],
)  # fmt: skip
async def test_what_a_run_can_not_have_is_told(
    make_project: MakeProject, what: str, error: Any, words: str
) -> None:
    """A job whose result still has to run has not succeeded, whoever gave it that result."""
    async with Process(make_project(tasks__a=ODD), worker=False):
        await api.tasks.enqueue("plain", {"what": what})
        [job] = (await drain()).jobs
    if error is None:
        assert (job.error, job.result) == (None, [1])
        return
    assert type(job.error) is error
    assert re.search(words, str(job.error))


def test_wrong_middleware_is_told(files: Files) -> None:
    """A misspelled hook, a second of one name, a name that nobody has."""
    files.write(
        middleware__a="from resqpy import Middleware\nclass A(Middleware):\n    def pre_enqeue(self, job): ...",
        middleware__b="""
        from resqpy import Middleware
        class B(Middleware):
            name = "c"
        class C(Middleware): ...
        """,
        tasks__a="from resqpy import task\n@task(\n  middleware=['d'])\ndef a(): 'A.'",
    )

    assert files.problems() == [
        "middleware/a.py:2: middleware 'a' has 'pre_enqeue'; did you mean 'pre_enqueue'?",
        "middleware/b.py:5: there is already a middleware 'c'",
        "tasks/a.py:3: there is no middleware 'd' (known: c)",
    ]


RAISING = """
from resqpy import Middleware

class Raising(Middleware):
    everywhere = True

    def pre_enqueue(self, job):
        self._act("pre_enqueue", job.args)
        job.args[0]["changed"] = True
    async def post_enqueue(self, job):
        self._act("post_enqueue", job.args)
    async def pre_processor(self, call):
        self._act("pre_processor", [call.params])
    def post_processor(self, call):
        self._act("post_processor", [call.params])

    def _act(self, hook, args):
        if args and args[0].get("at") == hook:
            raise LookupError(hook)
"""
TAKES_ALL = """
from resqpy import task

RAN = []

@task
async def job(params):
    '''I am raised around.'''
    RAN.append(params)
"""


@pytest.mark.parametrize(
    ("hook", "refused", "length", "failed"),
    [
        ("pre_enqueue", True, 0, None),
        ("post_enqueue", True, 1, None),
        ("pre_processor", False, 1, "pre_processor"),
        ("post_processor", False, 1, "post_processor"),
    ],
)
async def test_each_hook_may_raise(
    make_project: MakeProject, hook: str, refused: bool, length: int, failed: str | None
) -> None:
    """Before a job is enqueued, after it, before a run and after it; what it changes at first is enqueued."""
    project = make_project(middleware__raising=RAISING, tasks__a=TAKES_ALL)
    async with Process(project):
        if refused:
            with pytest.raises(LookupError, match=hook) as raised:
                await api.tasks.enqueue("job", {"at": hook})
            assert "task 'job' was enqueued" in raised.value.__notes__[0]
        else:
            await api.tasks.enqueue("job", {"at": hook})
        jobs = await api.tasks.queued("default")
        assert [each.args for each in jobs] == [[{"at": hook, "changed": True}]] * length
    async with Process(project, worker=True):
        await until(lambda: counters_tell(length))
        assert [each.error for each in await api.tasks.failed()] == ([failed] if failed else [])


async def counters_tell(count: int) -> bool:
    """Whether so many jobs have ended."""
    return (
        sum([(await api.tasks.stats()).get(name, 0) for name in ("processed", "failed")]) == count
    )


async def test_a_delayed_job_whose_pre_enqueue_raises_fails(make_project: MakeProject) -> None:
    """Nobody else would hear of it."""
    project = make_project(middleware__raising=RAISING, tasks__a=TAKES_ALL)
    async with Process(project, worker=True, scheduler=True):
        await api.tasks.enqueue_in(1, "job", {"at": "pre_enqueue"})
        await until(api.tasks.failed_count)
        [failed] = await api.tasks.failed()
        assert (failed.exception, failed.error) == ("LookupError", "pre_enqueue")


CHANGING = """
from decimal import Decimal
from resqpy import Middleware

class Stamp(Middleware):
    everywhere = True

    async def pre_enqueue(self, job):
        inputs = job.args[0]
        inputs.update({"bad": {"price": Decimal(1)}, "unknown": {"prise": 1}}.get(inputs["to"], {"price": 7}))
        if inputs["to"] == "type":
            inputs["price"] = "dear"

class Later(Middleware):
    everywhere = True
    priority = 200

    def pre_enqueue(self, job):
        return job.args[0]["price"] == 7
"""
PRICED = """
from resqpy import task

@task()
async def priced(to: str, price: int = 0):
    '''Has a price.'''
"""


async def test_pre_enqueue_may_change_the_inputs(make_project: MakeProject) -> None:
    """They are checked again, by JSON and by what the task declares; the error names the middleware. A job
    that was delayed keeps its own.
    """
    project = make_project(middleware__all=CHANGING, tasks__a=PRICED)
    given = {"to": "a"}
    async with Process(project):
        await api.tasks.enqueue("priced", given)
        await api.tasks.enqueue_many([("priced", given), ("priced", {"to": "b", "price": 1})])
        await api.tasks.enqueue_in(0, "priced", given)
        await api.tasks.enqueue_in(60_000, "priced", given)
        for to, words in (
            ("bad", r"task 'priced' .*stamp.* input 'price' must be int, got '1' .Decimal"),
            ("unknown", "stamp, .* input 'prise' is unknown; did you mean 'price'"),
            ("type", "stamp, .* input 'price' must be int"),
        ):
            with pytest.raises(UsageError, match=words):
                await api.tasks.enqueue("priced", {"to": to})
        assert [
            job.inputs["price"]
            for job in await find_enqueued("priced", None)
            if job.timestamp is None
        ] == [7] * 4
        [delayed] = [job for job in await find_enqueued("priced") if job.timestamp is not None]
    assert given == delayed.inputs == {"to": "a"}


AROUND = """
import threading
from contextlib import asynccontextmanager, contextmanager
from resqpy import Middleware, task
SAID = []

def here():
    return "thread" if threading.current_thread().name == "resqpy-job" else "loop"

class Outer(Middleware):
    everywhere = True
    priority = 1

    def around_run(self, call):
        SAID.append(f"outer before {call.task.name} {call.params} {here()}")
        try:
            yield
        except LookupError as error:
            SAID.append(f"outer saw {error}")
            raise
        finally:
            SAID.append("outer after")

class ByKind(Middleware):
    priority = 2

    @contextmanager
    def plain(self):
        SAID.append("plain before")
        yield
        SAID.append("plain after")

    @asynccontextmanager
    async def awaited(self):
        SAID.append("async before")
        yield
        SAID.append("async after")

    def around_run(self, call):
        return self.awaited() if call.task.is_async else self.plain()

class Mute(Middleware):
    def around_run(self, call):
        return call.params.get("context")
"""
AROUND_TASKS = """
import asyncio
from resqpy import task
from middleware.around import SAID, here

@task(middleware=["byKind"])
def plain(fail: bool = False):
    SAID.append(f"plain runs, {here()}")
    if fail:
        raise LookupError("oh")
    return 1

@task(middleware=["byKind"])
async def awaited(fail: bool = False):
    SAID.append(f"awaited runs, {here()}")
    if fail:
        raise LookupError("oh")
    return 2

@task(time_limit=50)
async def slow():
    await asyncio.Event().wait()

@task(middleware=["mute"])
async def mute(): 'Its middleware returns None.'

@task
def late():
    async def rest(): ...
    return rest()
"""


@pytest.fixture
def around(make_project: MakeProject) -> Project:
    """A project whose middleware is around the tasks' functions."""
    return make_project(middleware__around=AROUND, tasks__a=AROUND_TASKS)


@pytest.mark.parametrize(
    ("name", "where", "inner"), [("plain", "thread", "plain"), ("awaited", "loop", "async")]
)
async def test_around_run_is_where_the_function_runs(
    around: Project, name: str, where: str, inner: str
) -> None:
    """In its thread or on the loop, in the declared order; an error goes through all of them."""
    told: list[str] = around.registry.task(name).run.__globals__["SAID"]
    async with Process(around):
        for fail in (False, True):
            await api.tasks.enqueue(name, {"fail": fail})
        drained = await drain()

    assert [each.end for each in drained.jobs] == ["success", "failure"]
    assert told == [
        f"outer before {name} {{'fail': False}} {where}",
        f"{inner} before",
        f"{name} runs, {where}",
        f"{inner} after",
        "outer after",
        f"outer before {name} {{'fail': True}} {where}",
        f"{inner} before",
        f"{name} runs, {where}",
        "outer saw oh",
        "outer after",
    ]


async def test_around_run_ends_whatever_ends_the_run(around: Project) -> None:
    """A time limit too; what can't be entered, or would run on after it, fails the job."""
    told: list[str] = around.registry.task("slow").run.__globals__["SAID"]
    async with Process(around):
        for name in ("slow", "mute", "late"):
            await api.tasks.enqueue(name)
        drained = await drain()

    assert [each.error.__class__ for each in drained.jobs] == [
        JobTimeout,
        UsageError,
        TaskUnfinished,
    ]
    assert told.count("outer after") == 3


def test_without_it_the_function_is_called_as_before(make_project: MakeProject) -> None:
    """What nobody declares has no code in the way of a run, nor a plugin where there is one."""
    head = "from resqpy import Middleware, task\n"
    body = "class A(Middleware):\n    def around_run(self, call): yield\n"
    tasks = "@task\nasync def a(): ...\n@task(middleware=[A])\nasync def b(): ...\n"
    found = make_project(tasks__a=head + body + tasks).registry.definitions
    names = [found[each].perform.__name__ for each in "ab"]
    assert names == ["perform_async", "perform_async_within"]
    assert [(found[each].direct, found[each].around) for each in "ab"] == [(True, ())] * 2


def test_an_async_around_run_is_for_async_tasks(files: Files) -> None:
    """A plain task can't have one; nor can it be a coroutine."""
    files.write(
        middleware__a="""
        from resqpy import Middleware
        class A(Middleware):
            everywhere = True
            async def around_run(self, call):
                yield
        class B(Middleware):
            async def around_run(self, call): ...
        """,
        tasks__a="from resqpy import task\n@task\ndef a(): ...\n@task\nasync def b(): ...",
    )

    wrong, plain = files.problems()
    assert wrong.startswith("middleware/a.py:7: middleware 'b': around_run is a coroutine")
    assert plain.startswith("tasks/a.py:3: around_run of middleware 'a' is async, and the task 'a'")


DEQUEUES = """
from resqpy import HookTimeout, Middleware

class Kept(Middleware):
    everywhere = True
    heard = []
    hook_timeout = 100

    async def pre_dequeue(self, job):
        self.heard.append((job.class_name, job.queue, job.args, job.removed))
        if job.args == [{"n": 4}]:
            import asyncio
            await asyncio.sleep(60)
        return job.args != [{"n": 3}]

    def post_dequeue(self, job):
        self.heard.append(job.removed)
"""


async def test_before_and_after_jobs_are_removed(make_project: MakeProject, redis: Redis) -> None:
    """As Ruby's before_dequeue and after_dequeue: once for each call, and False keeps the jobs."""
    project = make_project(
        tasks__one="from resqpy import task\n@task\nasync def count(n: int) -> None:\n    'Count.'\n",
        middleware__kept=DEQUEUES,
    )
    async with Process(project):
        [kept] = project.registry.middleware.of(project.registry.task("count"))
        heard: list[Any] = kept.heard  # type: ignore[attr-defined]
        await api.tasks.enqueue_many([("count", {"n": n}) for n in (1, 1, 2, 3, 4)])
        assert await api.tasks.delete("default", "count", {"n": 1}) == 2
        assert await api.tasks.delete("default", "count", {"n": 3}) == 0
        with pytest.raises(HookTimeout, match="while removing jobs of 'count'"):
            await api.tasks.delete("default", "count", {"n": 4})
        assert await redis.llen("resque:queue:default") == 3
        assert await api.tasks.del_by_function("default", "count") == 3
    asked = [("count", "default", [{"n": n}], 0) for n in (1, 3, 4)]
    assert heard == [asked[0], 2, asked[1], asked[2], ("count", "default", None, 0), 3]


SHADOW = """
from resqpy import Middleware, Plugin, Snooze, api, task

SAID = []

class Seen(Middleware):
    everywhere = True
    def pre_enqueue(self, job):
        SAID.append("pre_enqueue")
    def pre_processor(self, call):
        SAID.append(f"before {call.run.shadow}")
        call.params["number"] += 1
    def post_processor(self, call):
        SAID.append(f"after {call.error!r}")
    def around_run(self, call):
        SAID.append("around")
        yield
    def on_failure(self, failure):
        SAID.append("failure")

class Absent(Plugin):
    async def around(self, run, call_next):
        SAID.append("absent")
        await call_next()

class Present(Absent):
    in_shadow = True
    async def around(self, run, call_next):
        SAID.append("present")
        await call_next()

@task(queue="shade", shadow=True, plugins=[Absent, Present], retry=3)
async def shaded(number: int):
    "As middleware has it."
    await api.tasks.enqueue("shaded", {"number": 0})
    SAID.append(number)
    if number == 2:
        raise ValueError("two")
    if number == 3:
        raise Snooze(1000)
"""


async def test_in_the_shadow(make_project: MakeProject, redis: Redis) -> None:
    """Middleware has its part in the run, and plugins that want it; nothing is told of enqueues and failures."""
    project = make_project(tasks__shade=SHADOW)
    rule = Migration("shade", "ruby", 0, over=9, max_errors=0, max_ms=0, shadow=ALL)
    async with Process(project):
        store = api.resque.store
        said: list[Any] = project.registry.task("shaded").run.__globals__["SAID"]
        await migrate(store, "shaded", rule)
        for number in (0, 1, 2):
            await redis.rpush(
                "resque:queue:shade", f'{{"class":"shaded","args":[{{"number":{number}}}]}}'
            )
            await redis.sadd("resque:queues", "shade")
            assert (await drain("shade")).jobs == []
        rule = (await migrations(store))["shaded"]

    begin = ["present", "before True", "around"]
    assert said == [
        *begin, 1, "after None", *begin, 2, "after ValueError('two')", *begin, 3, "after None",
    ]  # fmt: skip
    ends = [rule.count(f"shadow_{each}") for each in ("succeeded", "failed", "other")]
    assert ends == [1, 1, 1]
