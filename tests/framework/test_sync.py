"""`task.sync` and `api.sync`: every verb without an event loop, to the project that is open or found."""

from __future__ import annotations

import asyncio
import inspect
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from resqpy import (
    InvalidInputs,
    NoEventLoop,
    OutcomeUnknown,
    StoreUnavailable,
    UnknownTask,
    UsageError,
    task,
)
from resqpy.base.model import ENQUEUED
from resqpy.framework.api.api import api
from resqpy.framework.api.blocking import SyncVerb
from resqpy.framework.api.sync import SyncTasks
from resqpy.framework.api.sync_parts import SyncTracked
from resqpy.framework.api.tasks_api import TasksApi
from resqpy.framework.api.tracking import TrackedApi
from resqpy.framework.process.process import Process
from tests.framework.conftest import Files, MakeProject, until
from tests.support.proxy import Proxy

TASKS = """
    import asyncio
    import threading
    from resqpy import Task, api, task

    @task(queue="mail")
    async def send(to: str, n: int = 0):
        "Send a mail."

    class Clean(Task):
        "Clean up."
        queue = "mail"
        async def run(self, n: int): ...

    @task
    def by_sync():
        "A plain task."
        return sum(map(bool, [send.sync.enqueue(to="ada", n=n) for n in range(100)]))

    @task
    def by_another_loop():
        "A plain task with a loop of its own."
        return sum(bool(asyncio.run(send.enqueue(to="ada", n=n))) for n in range(100))
"""
HOOKS = """
    import asyncio
    from resqpy import Middleware, api

    class Hooked(Middleware):
        everywhere = True

        async def pre_enqueue(self, job):
            await asyncio.sleep(0)
            assert api.tasks is not None
            return job.args[0].get("to") != "nobody"
"""
WANTED = sorted(
    f'{{"class":"send","queue":"mail","args":[{{"to":"ada","n":{n}}}]}}'.encode()
    for n in range(100)
)


@pytest.fixture
def plain(redis_url: str) -> Iterator[Any]:
    """A synchronous client of the test's Redis."""
    with Redis.from_url(redis_url) as client:
        yield client


def task_of(project: Any, name: str) -> Any:
    """A task's handle."""
    return project.registry.task(name).defined


# -- the verbs --


@pytest.mark.parametrize(
    ("made", "of", "others"),
    [
        (SyncTasks, TasksApi, set()),
        # what listens, and the life of that, belong to a loop
        (SyncTracked, TrackedApi, {"listen", "register_handler", "unregister_handler", "start", "stop"}),
    ],
)  # fmt: skip
def test_it_has_every_verb(made: type, of: type, others: set[str]) -> None:
    """A verb that is added is missed here; each has the signature and the words of the async one."""
    verbs = {
        name
        for name, member in inspect.getmembers(of)
        if not name.startswith("_")
        and (
            inspect.iscoroutinefunction(inspect.unwrap(member))
            or inspect.isasyncgenfunction(member)
        )
    }
    assert {
        name for name, each in vars(made).items() if isinstance(each, SyncVerb)
    } == verbs - others
    for name in verbs - others:
        shown = getattr(made(), name)
        assert (
            list(inspect.signature(shown).parameters)
            == list(inspect.signature(getattr(of, name)).parameters)[1:]
        )
        assert shown.__doc__ == getattr(of, name).__doc__


async def test_verbs_of_tasks(make_project: MakeProject) -> None:
    """On functions, classes and instances; now, later, many, elsewhere, once; and by name."""
    project = make_project(tasks__a=TASKS)
    send, clean = task_of(project, "send"), task_of(project, "clean")

    def view() -> None:
        assert send.sync.enqueue("ada").refused is None
        assert clean.sync.enqueue(n=1)
        assert clean().sync.on("low").enqueue(n=2)
        assert send.sync.enqueue_in(60_000, to="ada")
        assert send.sync.enqueue_at(4_000_000_000_000, "ada")
        assert send.sync.enqueue_at(4_000_000_000_000, "ada").refused == "duplicate"
        assert send.sync.once("a").enqueue(to="ada")
        assert send.once("a").on("low").sync.enqueue(to="ada").refused == "once"
        assert all(clean.sync.enqueue_many([clean.job(n=3), {"n": 4}]))
        assert api.sync.tasks.enqueue("send", {"to": "ada"}, "low", once="b")
        assert not api.sync.tasks.enqueue("send", {"to": "ada"}, "low", once="b")
        assert (
            api.sync.tasks.enqueue_many([("send", {"to": "ada"}), (clean, {"n": 5})]) == [True] * 2
        )
        assert api.sync.tasks.queues() == ["low", "mail"]
        assert [api.sync.tasks.length(each) for each in ("low", "mail")] == [2, 7]
        assert len(api.sync.tasks.timestamps()) == 2
        for wrong, words in (
            (lambda: send.sync.enqueue(too="x"), "did you mean 'to'"),
            (send.sync.enqueue, "'to' is required"),
        ):
            with pytest.raises(InvalidInputs, match=words):
                wrong()
        with pytest.raises(UnknownTask):
            api.sync.tasks.enqueue("sendd")
        with pytest.raises(AttributeError, match=r"here it is `send\.enqueue`"):
            send.sync.delay(to="ada")

    async with Process(project, worker=False):
        await asyncio.to_thread(view)


async def test_verbs_of_tracked_tasks(make_project: MakeProject) -> None:
    """What the task itself can do is called by `api.sync.run`."""

    def view() -> None:
        made = api.sync.tracked.create("send", {"to": "ada"}, delay=60_000)
        assert [each.id for each in api.sync.tracked.iterate()] == [made.id]
        assert api.sync.tracked.count() == 1
        api.sync.run(made.cancel)
        assert api.sync.tracked.fetch(made.id).status == "cancelled"
        assert api.sync.run(made.wait, timeout=5000) == "cancelled"
        assert api.sync.tracked.remove(made.id)

    async with Process(make_project(tasks__a=TASKS), worker=False):
        await asyncio.to_thread(view)


# -- the ways: a hundred calls of each are a hundred jobs, with the bytes of the async ones --


async def by_await(send: Any) -> None:
    """The measure."""
    for n in range(100):
        await send.enqueue(to="ada", n=n)


async def by_a_view(send: Any) -> None:
    """A `def` view, which a framework runs in a thread of its pool."""
    for n in range(100):
        await asyncio.to_thread(send.sync.enqueue, to="ada", n=n)


async def by_threads(send: Any) -> None:
    """Many at once."""

    def some(first: int) -> None:
        for n in range(first, first + 10):
            assert send.sync.enqueue(to="ada", n=n)

    with ThreadPoolExecutor(10) as pool:
        await asyncio.gather(
            *(asyncio.get_running_loop().run_in_executor(pool, some, n) for n in range(0, 100, 10))
        )


async def by_loops_in_threads(send: Any) -> None:
    """Each call in an `asyncio.run` of its own."""

    def view(n: int) -> bool:
        return bool(asyncio.run(send.enqueue(to="ada", n=n)))

    for n in range(100):
        assert await asyncio.to_thread(view, n)


async def by_name_in_threads(_: Any) -> None:
    """`api.sync.tasks`."""
    for n in range(100):
        assert await asyncio.to_thread(api.sync.tasks.enqueue, "send", {"to": "ada", "n": n})


async def by_a_forked_child(send: Any) -> None:
    """The process' loop does not run there, whatever it looks like."""

    def fork() -> int:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                done = [send.sync.enqueue(to="ada", n=n) for n in range(100)]
                code = 0 if all(done) else 1
            finally:
                os._exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    assert await asyncio.to_thread(fork) == 0


async def by_many(send: Any) -> None:
    """At once."""
    assert all(
        await asyncio.to_thread(send.sync.enqueue_many, [{"to": "ada", "n": n} for n in range(100)])
    )


WAYS = (
    by_await,
    by_a_view,
    by_threads,
    by_loops_in_threads,
    by_name_in_threads,
    by_a_forked_child,
    by_many,
)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("hooks", [False, True], ids=["plain", "hooks"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_a_hundred_calls_beside_a_process(
    make_project: MakeProject, plain: Any, way: Callable[[Any], Any], hooks: bool
) -> None:
    """With hooks, which need a loop, and without."""
    project = make_project(tasks__a=TASKS, **({"middleware__m": HOOKS} if hooks else {}))
    assert project.errors == ()
    before = plain.info("clients")["connected_clients"]
    async with Process(project, worker=False):
        send = task_of(project, "send")
        await way(send)
        if hooks:
            refused = await asyncio.to_thread(send.sync.enqueue, to="nobody")
            assert refused.refused == "hooked"
    assert sorted(plain.lrange("resque:queue:mail", 0, -1)) == WANTED
    await until(lambda: plain.info("clients")["connected_clients"] == before)


@pytest.mark.parametrize("task", ["by_sync", "by_another_loop"])
async def test_a_hundred_calls_in_a_plain_task(
    make_project: MakeProject, plain: Any, task: str
) -> None:
    """In a worker's thread."""
    project = make_project({"tasks.queues": ["default"]}, tasks__a=TASKS)
    async with Process(project, worker=True) as process:
        results: list[Any] = []
        assert process.resque.multi_worker is not None
        process.resque.multi_worker.on("success", lambda *args: results.append(args[3]))
        await api.tasks.enqueue(task)
        await until(lambda: results)
    assert results == [100]
    assert sorted(plain.lrange("resque:queue:mail", 0, -1)) == WANTED


SCRIPT = """
for n in range(100):
    assert send.sync.enqueue(to="ada", n=n)
"""
HEAD = """
from resqpy import api
from tasks.a import send
"""


def write(files: Files, **texts: str) -> None:
    """The files of a project that is found from a folder below."""
    (files.root / "config").mkdir()
    files.write(tasks__a=TASKS, **texts)


def ran(files: Files, script: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """A script in a folder of the project, run there by a new interpreter; its imports begin with the project."""
    folder = files.root / "scripts"
    folder.mkdir(exist_ok=True)
    path = folder / "script.py"
    path.write_text(script)
    base = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("RESQPY", "REDIS"))
    }
    places = [str(files.root), *filter(None, [base.get("PYTHONPATH")])]
    return subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", str(path)],
        cwd=folder, env={**base, "PYTHONPATH": os.pathsep.join(places), **environ},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_the_embedded_redis_is_found(files: Files) -> None:
    """As the command line finds it; also where RESQPY_ROOT names the project."""
    files.write(tasks__a=TASKS)
    script = HEAD + 'assert send.sync.enqueue(to="ada")\nprint(api.sync.tasks.length("mail"))\n'
    first, second = (ran(files, script, RESQPY_ROOT=str(files.root)) for _ in range(2))

    assert (first.returncode, first.stdout, first.stderr) == (0, "1\n", "")
    assert (second.stdout, second.stderr) == ("2\n", "")
    assert (files.root / ".resqpy").is_dir()


def test_modules_that_the_environment_names(files: Files, redis_url: str, plain: Any) -> None:
    """In an application that is no project: `RESQPY_APP`, as for the command line."""
    files.write(tasks__a=TASKS)
    (files.root / "tasks").rename(files.root / "jobs")
    head = HEAD.replace("tasks.a", "jobs.a")
    places = {"REDIS_URL": redis_url, "RESQPY_ROOT": str(files.root), "RESQPY_APP": "jobs.a"}
    done = ran(files, head + SCRIPT, **places)

    assert done.stderr == ""
    assert sorted(plain.lrange("resque:queue:mail", 0, -1)) == WANTED


def test_a_fork_shares_the_embedded_redis(files: Files) -> None:
    """A child that outlives its parent keeps the server."""
    files.write(tasks__a=TASKS)
    script = HEAD + textwrap.dedent("""
        import os, sys
        send.sync.enqueue(to="ada")
        read, write = os.pipe()
        if os.fork():
            sys.exit()
        os.close(write)
        os.read(read, 1)  # its end comes with the parent's
        assert send.sync.enqueue(to="ada")
        print(api.sync.tasks.length("mail"))
        """)
    done = ran(files, script, RESQPY_ROOT=str(files.root))
    assert (done.stdout, done.stderr) == ("2\n", "")


# -- what can't be --


async def test_in_async_code_it_is_refused(make_project: MakeProject) -> None:
    """It would hold up the loop: what to write instead is told."""
    project = make_project(tasks__a=TASKS)
    send = task_of(project, "send")
    async with Process(project, worker=False):
        for call, words in (
            (lambda: send.sync.enqueue(to="ada"), r"you are in async code.*await send\.enqueue"),
            (lambda: api.sync.tasks.enqueue("send", {"to": "a"}), r"await api\.tasks\.enqueue"),
            (lambda: api.sync.tasks.length("mail"), r"await api\.tasks"),
            (lambda: list(api.sync.tracked.iterate()), r"api\.tracked"),
            (lambda: api.sync.run(api.tasks.length, "mail"), r"await length"),
        ):
            with pytest.raises(UsageError, match=words):
                call()
        assert await api.tasks.length("mail") == 0


async def test_a_view_that_forgets_sync_loses_nothing_silently(make_project: MakeProject) -> None:
    """It raises at once, and its words can be written into the view as they are."""
    project = make_project(tasks__a=TASKS)
    send, clean = task_of(project, "send"), task_of(project, "clean")

    def view(call: Callable[[], Any]) -> str:
        with pytest.raises(NoEventLoop) as error:
            call()
        return str(error.value)

    async with Process(project, worker=False):
        for call, instead in (
            (lambda: send.enqueue(to="ada"), "send.sync.enqueue(…)"),
            (lambda: clean.on("low").enqueue_in(5, n=1), "Clean.sync.enqueue_in(…)"),
            (lambda: api.tasks.enqueue("send", {"to": "a"}), "api.sync.tasks.enqueue(…)"),
            (lambda: api.tracked.create("send", {"to": "a"}), "api.sync.tracked.create(…)"),
        ):
            assert instead in await asyncio.to_thread(view, call)
        assert await api.tasks.length("mail") == 0


@pytest.mark.parametrize(
    "call",
    ["api.sync.tasks.queues()", "asyncio.run(task(lambda: None).enqueue())"],
)
def test_without_a_project(tmp_path: Path, call: str) -> None:
    """No Redis is started in somebody's folder: what was looked for, and what to do, is told."""
    done = ran(Files(tmp_path), f"import asyncio\nfrom resqpy import api, task\n{call}\n")
    assert "NotStarted" in done.stderr
    assert "RESQPY_ROOT" in done.stderr
    assert not (tmp_path / "scripts" / ".resqpy").exists()


def test_a_broken_project(files: Files, redis_url: str) -> None:
    """What is wrong with it is told by each call; when it is mended, the next one works."""
    write(files, config__redis="def config(): return {'urll': 1}\n")
    script = HEAD + textwrap.dedent("""
        from pathlib import Path
        for _ in range(2):
            try:
                send.sync.enqueue(to="ada")
            except Exception as error:
                print(type(error).__name__)
        Path(__file__).parents[1].joinpath("config", "redis.py").unlink()
        print(bool(send.sync.enqueue(to="ada")))
        """)
    done = ran(files, script, REDIS_URL=redis_url)
    assert done.stdout.split() == ["ProjectErrors", "ProjectErrors", "True"], done.stderr


def test_async_code_without_a_process_does_not_wait_for_it(files: Files, redis_url: str) -> None:
    """The project is loaded in another thread; who calls meanwhile waits for that one; hooks have their `api`."""
    write(files, middleware__m=HOOKS)
    script = HEAD + textwrap.dedent("""
        import asyncio, threading
        from resqpy.framework.project.project import Project
        load, ticks, by = Project.load, [], []

        def slow(*args, **kwargs):
            by.append(threading.current_thread() is threading.main_thread())
            while not ticks:
                pass
            return load(*args, **kwargs)

        async def main():
            calls = asyncio.gather(*(send.enqueue(to="ada", n=n) for n in range(3)))
            while not by:
                await asyncio.sleep(0)
            ticks.append(1)
            print(await calls, by, (await send.enqueue(to="nobody")).refused)

        Project.load = slow
        asyncio.run(main())
        """)
    done = ran(files, script, REDIS_URL=redis_url)
    assert (done.stdout, done.stderr) == (f"{[ENQUEUED] * 3} [False] hooked\n", "")


def test_a_task_file_that_enqueues_while_it_is_loaded(files: Files, redis_url: str) -> None:
    """It would load the project for ever."""
    write(files, tasks__b="from tasks.a import send\nsend.sync.enqueue(to='ada')\n")
    done = ran(files, HEAD + "send.sync.enqueue(to='ada')\n", REDIS_URL=redis_url)
    assert "while the project is loaded" in done.stderr


async def test_the_right_redis(make_project: MakeProject, plain: Any) -> None:
    """That of the open process, whatever is around; and of the process of this context."""
    project = make_project({"redis.namespace": "other"}, tasks__a=TASKS)
    async with Process(project, worker=False):
        await asyncio.to_thread(task_of(project, "send").sync.enqueue, to="ada")
    assert plain.llen("other:queue:mail") == 1


async def test_redis_that_is_away(make_project: MakeProject, redis_url: str) -> None:
    """Nothing is in doubt where nothing was sent; what got no answer is."""
    async with Proxy(redis_url) as proxy:
        overrides = {
            "redis.url": proxy.url,
            "redis.reply_timeout": 200,
            "redis.connect_timeout": 200,
        }
        project = make_project(overrides, tasks__a=TASKS)
        send = task_of(project, "send")
        async with Process(project, worker=False):
            assert await asyncio.to_thread(send.sync.enqueue, to="ada")
            proxy.silence()
            with pytest.raises(OutcomeUnknown):
                await asyncio.to_thread(send.sync.enqueue, to="ada")
            proxy.speak()
            assert await asyncio.to_thread(send.sync.enqueue, to="ada")
            await proxy.refuse()
            proxy.reset()
            await asyncio.sleep(0)  # it does so when the loop goes on
            with pytest.raises(StoreUnavailable, match="cannot reach Redis"):
                await asyncio.to_thread(send.sync.enqueue, to="ada")
            await proxy.listen()
            assert await asyncio.to_thread(send.sync.enqueue, to="ada")


async def test_it_costs_what_an_awaited_call_costs(make_project: MakeProject, plain: Any) -> None:
    """No command more."""
    project = make_project(tasks__a=TASKS)
    send = task_of(project, "send")
    async with Process(project, worker=False):
        await asyncio.to_thread(send.sync.enqueue, to="ada")
        plain.config_resetstat()
        for n in range(10):
            await asyncio.to_thread(send.sync.enqueue, to="ada", n=n)
        calls = {name: each["calls"] for name, each in plain.info("commandstats").items()}
    assert set(calls) <= {
        "cmdstat_evalsha",
        "cmdstat_config|resetstat",
        "cmdstat_sadd",
        "cmdstat_rpush",
        "cmdstat_info",
    }


def test_none_is_no_key() -> None:
    """It comes of an optional value, and would protect nothing."""

    @task
    def pay(order: int) -> None:
        """Pay."""

    missing: Any = None
    for way in (pay, pay.sync):
        with pytest.raises(UsageError, match="None is no key"):
            way.once(missing)
