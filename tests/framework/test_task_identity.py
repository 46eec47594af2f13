"""A task is its definition, and nothing else: neither its file, nor its function's name.

So each handle enqueues its own task, a file is run once, and what nobody would find is told.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from resqpy.base.errors import UnknownTask
from resqpy.framework.api.api import api
from resqpy.framework.process.process import Process
from tests.framework.conftest import Files, MakeProject

FACTORY = """
    from resqpy import task

    def report(name, **more):
        @task(name=name, **more)
        async def make() -> str:
            '''Make a report.'''
            return name
        return make
"""


async def _enqueued() -> list[tuple[str, str]]:
    names = sorted(await api.tasks.queues())
    return [(q, job.class_name) for q in names for job in await api.tasks.queued(q)]


async def test_tasks_of_one_factory_are_two(make_project: MakeProject) -> None:
    """By name, in a loop, in a dict and from another module."""
    project = make_project(
        lib__factory=FACTORY,
        tasks__a="""
        from lib.factory import report

        daily = report("daily", queue="days")
        weekly = report("weekly", queue="weeks")
        by_name = {name: report(name) for name in ("first", "second")}
        in_a_list = []
        for name in ("third", "fourth"):
            in_a_list.append(report(name))
        """,
    )
    assert project.errors == ()
    module: Any = sys.modules["tasks.a"]

    async with Process(project, worker=False):
        await module.daily.enqueue()
        await module.weekly.enqueue()
        await module.by_name["first"].enqueue()
        await module.in_a_list[0].enqueue()
        assert await _enqueued() == [
            ("days", "daily"),
            ("default", "first"),
            ("default", "third"),
            ("weeks", "weekly"),
        ]
    assert set(project.registry.tasks) == {
        "daily", "weekly", "first", "second", "third", "fourth",
    }  # fmt: skip


async def test_subclasses_of_one_name_that_inherit_run_are_two(make_project: MakeProject) -> None:
    """Each in a file of its own, and made by `type`."""
    base = "from resqpy import Task\nclass Sync(Task):\n    async def run(self): ...\n"
    own = "from lib.base_sync import Sync\nclass SyncAll(Sync):\n    name = {name!r}\n"
    project = make_project(
        lib__base_sync=base,
        tasks__crm__sync=own.format(name="crm.sync"),
        tasks__erp__sync=own.format(name="erp.sync"),
        tasks__made="""
        from lib.base_sync import Sync
        made = [type("SyncAll", (Sync,), {"name": name, "queue": name}) for name in ("x", "y")]
        """,
    )
    assert project.errors == ()
    assert sorted(project.registry.tasks) == ["crm.sync", "erp.sync", "x", "y"]

    async with Process(project, worker=False):
        await vars(sys.modules["tasks.crm.sync"])["SyncAll"].enqueue()
        await vars(sys.modules["tasks.erp.sync"])["SyncAll"]().enqueue()
        for made in vars(sys.modules["tasks.made"])["made"]:
            await made.enqueue()
        found = await _enqueued()
    assert found == [("default", "crm.sync"), ("default", "erp.sync"), ("x", "x"), ("y", "y")]


async def test_one_function_may_be_several_tasks(make_project: MakeProject) -> None:
    """With other properties, and with some of its arguments given."""
    project = make_project(
        tasks__a="""
        from functools import partial
        from resqpy import task

        def send(to: str = "", kind: str = "mail") -> str:
            '''Send something.'''
            return f"{kind} to {to}"

        mail = task("mail", queue="low")(send)
        fast_mail = task("fastMail", queue="high")(send)
        text = task("text")(partial(send, kind="text"))
        """
    )
    assert project.errors == ()
    module: Any = sys.modules["tasks.a"]
    async with Process(project, worker=False) as process:
        await module.mail.enqueue(to="a")
        await module.fast_mail.enqueue(to="b")
        await module.text.enqueue(to="c")
        assert await _enqueued() == [("default", "text"), ("high", "fastMail"), ("low", "mail")]
        worker = process.resque.inline_worker()
        assert await worker.perform_inline("text", [{"to": "c"}]) == "text to c"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "daily = report('same')\nweekly = report('same')\n",
            ["tasks/a.py:4: there is already a task 'same', in tasks/a.py:3"],
        ),
        (
            "def f(): 'F.'\nlow = task(queue='low')(f)\nhigh = task(queue='high')(f)\n",
            ["tasks/a.py:3: there is already a task 'f', in tasks/a.py:3"],
        ),
        (
            "@task('same')\ndef f(): 'F.'\nclass G(Task):\n  'G.'\n  name = 'same'\n  def run(self): 1\n",
            ["tasks/a.py:7: there is already a task 'same', in tasks/a.py:4"],
        ),
    ],
)
def test_a_collision_names_both_places(files: Files, text: str, told: list[str]) -> None:
    """Wherever the two were made."""
    files.write(
        lib__factory=FACTORY,
        tasks__a="from resqpy import Task, task\nfrom lib.factory import report\n" + text,
    )

    assert files.problems() == told


def test_a_file_is_run_once_by_its_own_name(files: Files) -> None:
    """Whoever imports it first; errors, counters and stubs are those of everybody."""
    files.write(
        tasks__invite="from resqpy import task\nfrom tasks.mail import Bounced, send\n"
        "@task\nasync def invite(): 'Invite.'\n",
        tasks__mail="""
        import sys
        from resqpy import task
        from tasks._counter import count

        count.append(__name__)

        class Bounced(Exception): ...

        @task
        async def send(): "Send."
        """,
        tasks___counter="count = []\n",
        middleware__w="from resqpy import Middleware\nfrom tasks.mail import Bounced\n"
        "class W(Middleware):\n    kind = Bounced\n",
    )
    project = files.load()
    mail: Any = sys.modules["tasks.mail"]

    assert project.errors == ()
    assert vars(sys.modules["tasks._counter"])["count"] == ["tasks.mail"]
    assert vars(sys.modules["middleware.w"])["W"].kind is mail.Bounced
    assert project.registry.task(mail.send).defined is mail.send
    assert files.load().registry.task(mail.send).name == "send"  # loaded again, and not run again
    assert vars(sys.modules["tasks._counter"])["count"] == ["tasks.mail"]


def test_a_file_that_was_imported_by_another_name_keeps_it(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An application that has the project as its package."""
    files.write(tasks__a="from resqpy import task\n@task\ndef a(): 'A.'\n")
    monkeypatch.syspath_prepend(str(files.root.parent))
    from demo.tasks import a  # type: ignore[import-not-found]  # written just now

    project = files.load()

    assert project.errors == ()
    assert project.registry.task(a.a).defined is a.a
    assert sys.modules["tasks.a"] is a


def test_a_copy_of_a_definition_is_the_same_task(files: Files) -> None:
    """A file that somebody runs once more, under a name of his own."""
    files.write(lib__factory=FACTORY, tasks__a="from lib.factory import report\nr = report('r')\n")
    project = files.load()
    text = (files.root / "tasks/a.py").read_text()
    copy: dict[str, Any] = {"__name__": "copy"}
    exec(compile(text, str(files.root / "tasks/a.py"), "exec"), copy)

    assert project.registry.task(copy["r"]).name == "r"


def test_tasks_are_found_wherever_they_stand(files: Files) -> None:
    """In a package's `__init__.py`, in a class, in containers, from other modules and packages."""
    files.write(
        lib__jobs="""
        from resqpy import Task, task

        @task
        def outside(): "Defined outside of tasks/."

        class Outer(Task):
            '''So is this.'''
            def run(self): ...

        class Base(Task):
            def run(self): ...
        """,
        tasks__billing____init__="from resqpy import task\n@task\ndef in_init(): 'In init.'\n",
        tasks__a="""
        from lib.jobs import Base, Outer, outside
        from resqpy import Task, task

        class Group:
            @task
            def in_class(): "In a class."

            class Nested(Task):
                '''In a class, too.'''
                def run(self): ...

        def make(n):
            return task(f"made{n}")(lambda: n)

        many = {"a": make(1), "b": [make(2), (make(3),)]}

        class Derived(Base):
            '''A base that is imported is no task.'''
        """,
        tasks__b="from lib.jobs import outside\nfrom tasks.a import Derived, many\n",
    )
    project = files.load()

    assert project.errors == ()
    assert set(project.registry.tasks) == {
        "outside", "outer", "in_init", "in_class", "nested", "made1", "made2", "made3", "derived",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "@logged\n@task\ndef a(): 'A.'\n",
            (
                "5: @task is not the outermost decorator of a, and those above it are not used in a run; "
                "put @task on top"
            ),
        ),
        (
            "@nowrap\n@task(queue='low')\nasync def a(): 'A.'\n",
            (
                "5: @task is not the outermost decorator of a, and those above it are not used in a run; "
                "put @task on top"
            ),
        ),
        (
            "@task\n@nowrap\ndef a(): 'A.'\n",
            (
                "5: the decorator below @task hides the function a (it is 'inner' now): let it use "
                "functools.wraps"
            ),
        ),
        (
            "@nowrap\nclass A(Task):\n  'A.'\n  def run(self): ...\n",
            (
                "4: the decorator of class A replaces it by something else, which is not used in a "
                "run; let it return the class"
            ),
        ),
        (
            "class Mailer:\n  @task\n  def send(self, to: str): 'Send.'\n",
            (
                "5: @task on the method Mailer.send: a worker has no object to call it on; make it a "
                "function, or let the class derive from resqpy.Task and call the method run"
            ),
        ),
        (
            "class Mailer:\n  @task('x')\n  @classmethod\n  def send(cls, to: str): 'Send.'\n",
            "6: task send: run is <classmethod(<function Mailer.send",
        ),
        (
            "from functools import partial\n@task\ndef f(x: int): 'F.'\ng = task(partial(f, 1))\n",
            "6: TypeError: functools.partial(",
        ),
    ],
)
def test_what_nobody_would_find_is_told(files: Files, text: str, told: str) -> None:
    """With file, line and the remedy."""
    deco = """
    import functools

    def logged(f):
        @functools.wraps(f)
        def inner(*a, **k): return f(*a, **k)
        return inner

    def nowrap(f):
        def inner(*a, **k): return f(*a, **k)
        return inner
    """
    files.write(
        lib__deco=deco,
        tasks__a="from lib.deco import logged, nowrap\nfrom resqpy import Task, task\n" + text,
    )
    [problem] = files.problems()

    assert problem.startswith(f"tasks/a.py:{told}")


def test_a_decorator_that_keeps_the_task_is_none_of_our_business(files: Files) -> None:
    """It returns the task, or collects it; and a task in a wrapped task's clothes is itself."""
    files.write(
        tasks__a="""
        import functools
        from resqpy import task

        collected = []

        def keep(found):
            collected.append(found)
            return found

        def collect(found):
            collected.append(found)

        @keep
        @task
        def a(): "A."

        @collect
        @task
        def b(): "B."

        @task("outer", queue="high")
        @functools.wraps(a)
        def c(): return a()
        """
    )
    project = files.load()

    assert project.errors == ()
    assert {name: task.queue for name, task in project.registry.tasks.items()} == {
        "a": "default", "b": "default", "outer": "high",
    }  # fmt: skip
    assert project.registry.task(vars(sys.modules["tasks.a"])["c"]).name == "outer"


def test_a_task_outside_of_the_project_is_told_where_it_is_enqueued(
    files: Files, tmp_path: Path
) -> None:
    """With its place and the remedy: nobody would run it."""
    files.write(
        lib__other="from resqpy import task\n\n@task\ndef lonely(): 'Lonely.'\n",
        tasks__a="import lib.other\nfrom resqpy import task\n\n@task\ndef a(): 'A.'\n",
    )
    registry = files.load().registry

    with pytest.raises(UnknownTask, match=r"'lonely' \(of .*lib/other.py:3\).*in a file in tasks/"):
        registry.task(vars(sys.modules["lib.other"])["lonely"])
    with pytest.raises(UnknownTask, match="neither the name of a task nor a task"):
        registry.task(object())


def test_a_task_without_a_description_is_described_by_its_name(files: Files) -> None:
    """One docstring that is missing, or all of them under PYTHONOPTIMIZE=2, stop no project."""
    files.write(
        tasks__a="from resqpy import Task, task\nclass SendMail(Task):\n    def run(self): ...\n"
        "@task\ndef bare(): ...\n"
    )
    project = files.load()

    assert project.errors == ()
    described = {name: task.description for name, task in project.registry.tasks.items()}
    assert described == {"sendMail": "sendMail", "bare": "bare"}


def test_a_method_may_be_called_nearly_as_a_property(files: Files) -> None:
    """Only what can't be called is a misspelled property."""
    files.write(
        tasks__a="""
        from functools import cached_property
        from resqpy import Task

        class Report(Task):
            '''Report.'''
            def run(self): return self.queues()
            def queues(self): return []
            @property
            def frequncy(self): return 1
            @staticmethod
            def plugin(): return 1
            @cached_property
            def middlewares(self): return 1
            @classmethod
            def input(cls): return 1

        class Wrong(Task):
            '''Wrong.'''
            queues = "low"
            def run(self): ...
        """
    )
    [problem] = files.problems()

    assert problem == "tasks/a.py:20: task Wrong: unknown property 'queues'; did you mean 'queue'?"
