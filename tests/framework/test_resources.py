"""Resources: what a task asks for in its signature, opened around its run or once a process."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any

import pytest

from resqpy import api, task
from resqpy.base.errors import InvalidInputs, InvalidTask, JobCancelled, JobTimeout, TaskUnfinished
from resqpy.framework.process.process import Process
from resqpy.framework.project.project import Project
from resqpy.framework.tasks.resources import SharedResources, resource
from resqpy.testing import drain, find_enqueued, override, run_full_task, run_task
from tests.framework.conftest import Files, MakeProject, until

TASKS = """
import asyncio
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

from resqpy import Middleware, Task, per_process, resource, task

if TYPE_CHECKING:
    from nowhere import Session

SAID = []

@per_process
async def engine():
    owner = asyncio.current_task()
    SAID.append("engine opened")
    async with asyncio.timeout(None):  # must be left by the task that entered it
        yield "engine"
    assert asyncio.current_task() is owner
    SAID.append("engine closed")

@per_process
@asynccontextmanager
async def pool(engine=resource(engine)):
    SAID.append(f"pool opened on {engine}")
    yield "pool"
    SAID.append("pool closed")

async def session(pool: str = resource(pool)):
    SAID.append(f"session opened on {pool}")
    try:
        yield f"session of {pool}"
    except LookupError:
        SAID.append("session rolled back")
        return  # it swallows the error
    finally:
        SAID.append("session closed")

async def cache(session: "Annotated[str, resource(session)]"):
    SAID.append(f"cache of {session}")
    yield "cache"
    SAID.append("cache closed")

@task
async def both(n: int, *, db: "Session" = resource(session), more: "Session" = resource(cache)):
    SAID.append(f"{n} {db} {more}")
    if n < 0:
        raise LookupError("oh")
    return n

@task(time_limit=50)
async def slow(db=resource(session)):
    await asyncio.Event().wait()

def file():
    SAID.append(threading.current_thread().name)
    yield "file"
    SAID.append("file closed")

@per_process
def client():
    SAID.append("client opened")
    yield "client"
    SAID.append("client closed")

@task
def plain(text: Annotated[str, resource(file)], count: int = 1, *, http: str = resource(client)):
    return f"{text} {http} {count}"

@task
async def mixed(text=resource(file), http=resource(client)):
    return f"{text} {http}"

class Whole(Task):
    extra_inputs = True

    async def run(self, params, worker, db=resource(session)):
        return [params, db, worker is not None]

@task
async def rest(db=resource(session), **others):
    return [others, db]

@task
def none(): ...
"""


@pytest.fixture
def project(make_project: MakeProject) -> Project:
    """A project whose tasks ask for resources."""
    project = make_project(tasks__a=TASKS)
    project.check()
    return project


def module(project: Project) -> dict[str, Any]:
    """The module of the tasks."""
    found: dict[str, Any] = project.registry.task("both").run.__globals__
    return found


async def test_they_are_opened_in_order_and_closed_in_reverse(project: Project) -> None:
    """Those of a job around its run, each once; those of a process with its first job, until it stops."""
    told = module(project)["SAID"]
    async with Process(project):
        assert not told
        for n in (1, 2):
            await api.tasks.enqueue("both", {"n": n})
        drained = await drain(raising=True)

        assert [each.result for each in drained.jobs] == [1, 2]
        job = ["session opened on pool", "cache of session of pool", "{} session of pool cache",
               "cache closed", "session closed"]  # fmt: skip
        opened = ["engine opened", "pool opened on engine"]
        assert told == opened + [each.format(n) for n in (1, 2) for each in job]
        told.clear()
    assert told == ["pool closed", "engine closed"]


async def test_an_error_closes_them_and_stays_an_error(project: Project) -> None:
    """It is raised at the `yield`, outermost last; a resource that swallows it makes no success of it."""
    told = module(project)["SAID"]
    async with Process(project):
        await api.tasks.enqueue("both", {"n": -1})
        drained = await drain()

    assert [type(each.error) for each in drained.failed] == [LookupError]
    assert told[-4:] == ["session rolled back", "session closed", "pool closed", "engine closed"]
    assert "cache closed" not in told  # what follows a yield needs a `finally`, as in any generator


async def test_a_time_limit_closes_them(project: Project) -> None:
    """As any end of a run; the job fails by it."""
    told = module(project)["SAID"]
    async with Process(project):
        await api.tasks.enqueue("slow")
        drained = await drain()

    assert [type(each.error) for each in drained.failed] == [JobTimeout]
    assert told.count("session closed") == 1


async def test_a_stop_closes_them(project: Project) -> None:
    """Also that of a process with a running job, which goes back to its queue."""
    told = module(project)["SAID"]
    async with Process(project, worker=True) as process:
        await api.tasks.enqueue("both", {"n": 1})
        await until(lambda: "1 session of pool cache" in told)
        await until(lambda: told.count("session closed") == 1)
        blocked = project.registry.task("slow")
        await api.tasks.enqueue(blocked.name)
        await until(lambda: told.count("session opened on pool") == 2)
        await process.stop(0)

    assert told[-3:] == ["session closed", "pool closed", "engine closed"]


async def test_plain_tasks_open_theirs_in_their_thread(project: Project) -> None:
    """Plain resources serve async tasks, too, on the loop; both kinds share what the process has."""
    told = module(project)["SAID"]
    async with Process(project):
        await api.tasks.enqueue("plain", {"count": 2})
        await api.tasks.enqueue("mixed")
        drained = await drain(raising=True)
        assert [each.result for each in drained.jobs] == ["file client 2", "file client"]
    main = threading.current_thread().name
    assert told == [
        "resqpy-job", "client opened", "file closed", main, "file closed", "client closed",
    ]  # fmt: skip


async def test_they_are_no_inputs(project: Project) -> None:
    """Neither in Redis, nor from a caller, nor from a foreign client, whatever else the task takes."""
    db = {"db": "x"}
    async with Process(project):
        await module(project)["both"].enqueue(1)
        assert [each.inputs for each in await find_enqueued("both")] == [{"n": 1}]
        for name, inputs in (("both", {"n": 1, **db}), ("rest", db), ("whole", db)):
            with pytest.raises(InvalidInputs, match="'db' is a resource, not an input"):
                await api.tasks.enqueue(name, inputs)
        with pytest.raises(InvalidInputs, match="'text' is a resource"):
            await module(project)["plain"].enqueue("x", 1)
        await api.resque.store.call(
            "RPUSH", "resque:queue:default", b'{"class":"both","args":[{"n":1,"db":2}]}'
        )
        await api.tasks.enqueue("rest", {"a": 1})
        await api.tasks.enqueue("whole", {"b": 2})
        drained = await drain()

    assert [type(each.error) for each in drained.failed] == [InvalidInputs]
    results = [each.result for each in drained.succeeded[1:]]
    assert results == [[{"a": 1}, "session of pool"], [{"b": 2}, "session of pool", True]]
    assert list(project.registry.task("both").inputs) == ["n"]


async def test_they_are_replaced_in_tests(project: Project) -> None:
    """By a value, or by another generator; what only the replaced one needs is not opened."""
    told, names = module(project)["SAID"], module(project)

    async def fake(engine: Any = resource(names["engine"])) -> Any:
        told.append(f"fake on {engine}")
        yield "fake"
        told.append("fake closed")

    async with Process(project):
        with override(names["session"], "mine"):
            assert await run_task("rest", {"a": 1}) == [{"a": 1}, "mine"]
            with override(names["session"], None):
                assert await run_full_task("rest") == [{}, None]
            assert await run_task("rest") == [{}, "mine"]
        assert told == []
        with override(names["pool"], fake):
            assert await run_task("rest") == [{}, "session of fake"]
        assert told[1:] == [
            "fake on engine",
            "session opened on fake",
            "session closed",
            "fake closed",
        ]
        assert await run_task("rest") == [{}, "session of pool"]
        with pytest.raises(TypeError, match="is no resource"), override(names["none"], 1):
            pass


async def test_one_that_fails_to_open_is_tried_again(make_project: MakeProject) -> None:
    """Each job fails with the error until then; a job whose time is over does not stop the opening."""
    text = """
    import asyncio
    from resqpy import per_process, resource, task
    FAILS, SLOW, OPENED = [1], asyncio.Event(), []

    @per_process
    async def pool():
        if FAILS:
            raise ConnectionError(f"down {FAILS.pop()}")
        await SLOW.wait()
        OPENED.append(1)
        yield "pool"

    @per_process
    def plain():
        if FAILS:
            raise ConnectionError(f"down {FAILS.pop()}")
        OPENED.append(1)
        yield "plain"

    @task(time_limit=100)
    async def ask(db=resource(pool)):
        return db

    @task
    def ask_plain(db=resource(plain)):
        return db
    """
    project = make_project(tasks__a=text)
    names = project.registry.task("ask").run.__globals__
    async with Process(project):
        for _ in range(2):
            await api.tasks.enqueue("ask")
        drained = await drain()
        assert [type(each.error) for each in drained.failed] == [ConnectionError, JobTimeout]
        names["SLOW"].set()
        assert await run_task("ask") == "pool"
        names["FAILS"].append(2)
        with pytest.raises(ConnectionError, match="down 2"):
            await run_task("ask_plain")
        assert await run_task("ask_plain") == "plain"
        assert names["OPENED"] == [1, 1]


async def test_many_threads_open_one(make_project: MakeProject) -> None:
    """Of a process that works in many threads at once."""
    text = """
    import threading
    from resqpy import per_process, resource, task
    OPENED, ALL = [], threading.Barrier(5)

    @per_process
    def client():
        OPENED.append(1)
        yield len(OPENED)

    @task
    def ask(db=resource(client)):
        ALL.wait(20)
        return db
    """
    project = make_project(
        {"tasks.min_task_processors": 5, "tasks.max_task_processors": 5}, tasks__a=text
    )
    async with Process(project, worker=True) as process:
        results: list[Any] = []
        worker = process.resque.multi_worker
        assert worker is not None
        worker.on("success", lambda *told: results.append(told[3]))
        await api.tasks.enqueue_many([("ask", {})] * 5)
        await until(lambda: len(results) == 5)
    assert results == [1] * 5


def test_a_forked_child_has_none(project: Project) -> None:
    """It opens its own: a connection must not be used by two processes."""
    shared, spec = SharedResources(), project.registry.task("plain").signature.resources["http"]

    async def ask() -> Any:
        async def needs() -> dict[str, Any]:
            return {}

        return await shared.value(spec, needs)

    told = module(project)["SAID"]
    told.clear()
    asyncio.run(ask())
    asyncio.run(ask())
    assert told == ["client opened"]
    pid = os.fork()
    if pid == 0:  # pragma: no cover - another process
        asyncio.run(ask())
        os._exit(len(told))
    assert os.WEXITSTATUS(os.waitpid(pid, 0)[1]) == 2


WRONG = """
from typing import Annotated
from resqpy import per_process, resource, task

async def session(): yield 1

@per_process
def pool(session=resource(session)): yield 1

def plain(session=resource(session)): yield 1

async def lacks(url: str): yield 1

async def one(other): yield 1
async def two(one=resource(one)): yield 1
one.__defaults__ = (resource(two),)

@task
def in_thread(db: Annotated[int, resource(session)]): ...

@task
async def a(db=resource(pool)): ...

@task
async def b(db=resource(plain)): ...

@task
async def c(db=resource(lacks)): ...

@task
async def d(db=resource(one)): ...

@task(inputs={"db": {}})
async def e(db=resource(session)): ...
"""


def test_what_can_not_be_opened_is_told_at_load(files: Files) -> None:
    """With the parameter, the resource, and what to do."""
    files.write(tasks__a=WRONG)
    told = [each.partition(": ")[2] for each in files.problems()]
    expected = [
        "run's parameter 'db' needs the async resource session, and run is a plain function",
        "resource pool is opened once a process, but needs session",
        "resource plain is a plain generator, but needs session, which is async",
        "resource lacks: its parameter 'url' asks for no resource",
        "resources need each other: one → two → one",
        "input 'db' is declared, but run takes a resource there",
    ]
    assert len(told) == len(expected)
    for words, each in zip(told, expected, strict=True):
        assert each in words


def test_a_function_that_yields_nothing_is_no_resource() -> None:
    """Told where it is written."""

    def session() -> int:
        return 1

    with pytest.raises(TypeError, match=r"session is no resource: it must be a generator function"):
        resource(session)  # type: ignore[arg-type]


async def test_a_task_that_is_called_by_hand_says_what_is_missing(project: Project) -> None:
    """A value can be passed there; the placeholder says so when it is used."""
    both = module(project)["both"]
    assert await both(1, db="a", more="b") == 1
    with pytest.raises(AttributeError, match=r"resource\(session\) is provided by workers"):
        module(project)["rest"].function.__defaults__[0].execute("select 1")


def test_without_a_project_nobody_would_close_those_of_a_process(project: Project) -> None:
    """So a bare worker refuses such a task; those of a job it may have."""
    names = module(project)
    with pytest.raises(InvalidTask, match="needs a resource of a process"):
        names["plain"].__resqpy_definition__()

    async def session() -> Any:
        yield 1

    @task
    async def fine(db: Any = resource(session)) -> Any:
        return db

    assert fine.__resqpy_definition__().name == "fine"


def test_tasks_without_any_are_called_as_before(project: Project) -> None:
    """Nothing stands in the way of their run."""
    found = project.registry.definitions
    assert [found[each].perform.__name__ for each in ("none", "plain", "both")] == [
        "perform_in_thread", "perform_in_thread_within", "perform_async_within",
    ]  # fmt: skip


async def test_what_waits_in_a_thread_is_told(project: Project) -> None:
    """An override may be async where the resource is plain: there is no loop to wait for."""

    async def waits() -> Any:
        await asyncio.sleep(0)
        yield 1

    async with Process(project):
        with override(module(project)["file"], waits), pytest.raises(TaskUnfinished):
            await run_task("plain")


CUT_OFF = """
import asyncio
import time
from resqpy import per_process, resource, task

SAID = []

@per_process
async def pool():
    SAID.append("pool opened")
    yield "pool"
    SAID.append("pool closed")

async def session(pool=resource(pool)):
    try:
        SAID.append("opened")
        yield
    finally:
        await asyncio.sleep(0)  # it may wait, although the job is cancelled
        SAID.append("closed")

def file():
    try:
        SAID.append("opened")
        yield
    finally:
        SAID.append("closed")

@task
async def waits(db=resource(session)):
    await asyncio.Event().wait()

@task(time_limit=100)
def spins(db=resource(file)):
    while True:
        time.sleep(0.005)
"""


@pytest.mark.parametrize(("name", "error"), [("waits", JobCancelled), ("spins", JobTimeout)])
async def test_what_is_cut_off_is_closed(
    make_project: MakeProject, name: str, error: type[Exception]
) -> None:
    """A cancelled coroutine's, and in its thread a plain function's."""
    project = make_project(tasks__a=CUT_OFF)
    told = project.registry.task(name).run.__globals__["SAID"]
    async with Process(project, worker=True) as process:
        worker = process.resque.multi_worker
        assert worker is not None
        failed: list[Any] = []
        worker.on("failure", lambda *details: failed.append(details[3]))
        await api.tasks.enqueue(name)
        await until(lambda: "opened" in told)
        if error is JobCancelled:
            process.abort_jobs()
        await until(lambda: failed)
        await until(lambda: "closed" in told)
    assert [type(each) for each in failed] == [error]


async def test_a_second_process_opens_its_own(make_project: MakeProject) -> None:
    """After the first has stopped, of the same project."""
    project = make_project(
        tasks__a=CUT_OFF + "@task\nasync def ask(pool=resource(pool)):\n    return pool\n"
    )
    told = project.registry.task("ask").run.__globals__["SAID"]
    for _ in range(2):
        async with Process(project):
            assert await run_task("ask") == "pool"
            assert await run_task("ask") == "pool"
    assert told == ["pool opened", "pool closed"] * 2
