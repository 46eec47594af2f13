"""Where the code of a project may be: each file is a module by its real name, wherever it stands.

`[tool.resqpy]` of pyproject.toml names the import root and the modules with tasks.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from resqpy.framework.project.project import Project
from resqpy.framework.project.root import is_project
from tests.support.shell import Shell, write

TASK = "from resqpy import task\n\n@task\ndef {0}():\n    '''{0}.'''\n    return __name__\n"
MAIL = TASK.format("mail")


def table(*lines: str) -> str:
    """A pyproject.toml."""
    return "\n".join(["[project]", 'name = "demo"', "", "[tool.resqpy]", *lines, ""])


LAYOUTS: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "flat": ({"tasks/mail.py": MAIL}, {"mail": "tasks.mail"}),
    "a lone tasks.py": ({"tasks.py": MAIL}, {"mail": "tasks"}),
    "a lone tasks.py beside modules": (
        {"tasks.py": MAIL, "modules/auth/tasks/check.py": TASK.format("check")},
        {"mail": "tasks", "auth.check": "modules.auth.tasks.check"},
    ),
    "one file": (
        {"pyproject.toml": table('tasks = ["jobs"]'), "jobs.py": MAIL},
        {"mail": "jobs"},
    ),
    "src": (
        {
            "pyproject.toml": table('root = "src"', 'tasks = ["shop.tasks"]'),
            "src/shop/__init__.py": "",
            "src/shop/tasks.py": "from .models import Order\n" + MAIL,
            "src/shop/models.py": "class Order: ...\n",
        },
        {"mail": "shop.tasks"},
    ),
    "src with the usual folders": (
        {
            "pyproject.toml": table('root = "src"'),
            "src/tasks/mail.py": MAIL,
            "src/modules/auth/tasks/check.py": TASK.format("check"),
        },
        {"mail": "tasks.mail", "auth.check": "modules.auth.tasks.check"},
    ),
    "package": (
        {
            "pyproject.toml": table('tasks = ["shop.tasks"]'),
            "shop/__init__.py": "",
            "shop/tasks/__init__.py": TASK.format("inside"),
            "shop/tasks/mail.py": "from . import inside\nfrom ..models import Order\n" + MAIL,
            "shop/tasks/deep/late.py": TASK.format("late"),
            "shop/tasks/_private.py": "1 / 0\n",
            "shop/models.py": "class Order: ...\n",
        },
        {"inside": "shop.tasks", "mail": "shop.tasks.mail", "late": "shop.tasks.deep.late"},
    ),
    "namespace package": (
        {"pyproject.toml": table('tasks = ["acme.jobs"]'), "acme/jobs/mail.py": MAIL},
        {"mail": "acme.jobs.mail"},
    ),
    "applications, as Django's": (
        {
            "pyproject.toml": table('tasks = ["*.tasks"]'),
            "manage.py": "1 / 0\n",
            "site_of_it/__init__.py": "",
            "blog/__init__.py": "",
            "blog/models.py": "class Post: ...\n",
            "blog/tasks.py": "from blog.models import Post\n" + TASK.format("blog"),
            "shop/__init__.py": "",
            "shop/tasks/__init__.py": "from .mail import mail\n",
            "shop/tasks/mail.py": MAIL,
            ".venv/tasks.py": "1 / 0\n",
        },
        {"blog": "blog.tasks", "mail": "shop.tasks.mail"},
    ),
    "modules at any depth": (
        {
            "pyproject.toml": table('tasks = ["shop.**.tasks", "shop.report_*"]'),
            "shop/report_daily.py": TASK.format("daily"),
            "shop/a/b/tasks.py": MAIL,
        },
        {"mail": "shop.a.b.tasks", "daily": "shop.report_daily"},
    ),
    "modules, as in Stellar": (
        {
            "pyproject.toml": table('tasks = ["modules.*.tasks"]'),
            "modules/auth/tasks/check.py": TASK.format("check"),
        },
        {"auth.check": "modules.auth.tasks.check"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_task_is_in_a_module_of_its_real_name(tmp_path: Path, layout: str) -> None:
    """The one that an `import` finds."""
    files, names = LAYOUTS[layout]
    write(tmp_path, files)

    project = Project.load(tmp_path, environ={})

    assert (project.errors, project.warnings) == ((), ())
    assert {each.name: each.run() for each in project.registry} == names
    for task in project.registry:
        assert sys.modules[names[task.name]].__file__ == str(task.file)


def test_a_tasks_py_of_others_is_left_alone(tmp_path: Path) -> None:
    """Invoke and Celery have files of this name; a folder `tasks/` comes first."""
    write(tmp_path, {"tasks.py": "from celery import shared_task\n"})
    assert (Project.load(tmp_path, environ={}).errors, is_project(tmp_path)) == ((), False)
    write(tmp_path, {"tasks.py": MAIL})
    assert is_project(tmp_path)
    write(tmp_path, {"tasks.py": b"\xff".decode("latin-1")})
    assert not is_project(tmp_path)


def test_tasks_of_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named as a module of one's own is."""
    write(tmp_path / "site", {"acme_mail/__init__.py": "", "acme_mail/tasks.py": MAIL})
    write(tmp_path / "demo", {"pyproject.toml": table('tasks = ["acme_mail.*"]')})
    monkeypatch.syspath_prepend(str(tmp_path / "site"))

    [task] = Project.load(tmp_path / "demo", environ={}).registry

    assert task.run() == "acme_mail.tasks"
    assert task.file == tmp_path / "site/acme_mail/tasks.py"


def test_modules_may_be_named_by_who_loads(tmp_path: Path) -> None:
    """An application without any file of a project."""
    write(tmp_path, {"shop/jobs.py": MAIL, "tasks/other.py": "1 / 0\n"})

    project = Project.load(tmp_path, environ={}, tasks=["shop.jobs"])

    assert (project.errors, list(project.registry.tasks)) == ((), ["mail"])


def test_the_parts_of_a_project_are_modules_too(tmp_path: Path) -> None:
    """Plugins, middleware and initializers; config files are none."""
    write(tmp_path, {
        "pyproject.toml": table('root = "src"', 'tasks = ["shop.tasks"]'),
        "src/shop/tasks.py": "from plugins.once import Once\n" + MAIL,
        "src/plugins/once.py": "from resqpy import Plugin\nclass Once(Plugin): ...\n",
        "src/middleware/audit.py": "from resqpy import Middleware\nclass Audit(Middleware): ...\n",
        "src/initializers/db.py": "from resqpy import Initializer\nclass Db(Initializer): ...\n",
        "config/redis.py": "import shop.tasks\ndef default(): return {'db': 3}\n",
    })  # fmt: skip

    project = Project.load(tmp_path, environ={})

    assert project.errors == ()
    assert {each.__module__ for each in project.registry.plugins.values()} == {"plugins.once"}
    assert [each.__module__ for each in project.registry.initializers] == ["initializers.db"]
    assert project.config.redis.db == 3
    assert sys.modules["redis"].__name__ == "redis"
    assert "config.redis" not in sys.modules


# -- what is wrong is told --


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (['tsaks = ["a"]'], ["pyproject.toml:5: [tool.resqpy] has no key 'tsaks'; did you mean 'tasks'?"]),
        (['roots = "src"'], ["pyproject.toml:5: [tool.resqpy] has no key 'roots'; did you mean 'root'?"]),
        (['root = "scr"'], ["pyproject.toml:5: root: there is no folder 'scr' here"]),
        (["root = 1"], ["pyproject.toml:5: root is 1, not a folder's name"]),
        (['tasks = "shop.tasks"'], ["pyproject.toml:5: tasks is 'shop.tasks', not a list of modules"]),
        (['tasks = ["shop.taks"]'], ["pyproject.toml: tasks: there is no module 'shop.taks' in"]),
        (['tasks = ["shop/tasks.py"]'], ["pyproject.toml: tasks: 'shop/tasks.py' is no dotted name"]),
        (['tasks = ["**.tasks"]'], ["pyproject.toml: tasks: '**.tasks' begins or ends with **"]),
        (["root = "], ["pyproject.toml: can't be read: Invalid value (at line 5"]),
    ],
)  # fmt: skip
def test_a_wrong_table_is_told(tmp_path: Path, lines: list[str], told: list[str]) -> None:
    """With the near match."""
    write(tmp_path, {"pyproject.toml": table(*lines), "shop/tasks.py": MAIL})

    problems = [str(each) for each in Project.load(tmp_path, environ={}).errors]

    assert [each[: len(begin)] for each, begin in zip(problems, told, strict=True)] == told


def test_near_matches_of_modules(tmp_path: Path) -> None:
    """At the part that is misspelled."""
    write(tmp_path, {
        "pyproject.toml": table('tasks = ["shop.taks", "shpo.tasks"]'), "shop/tasks.py": MAIL,
    })  # fmt: skip

    first, second = [str(each) for each in Project.load(tmp_path, environ={}).errors]

    assert "did you mean 'shop.tasks'?" in first
    assert "did you mean 'shop'?" in second


def test_a_pattern_without_a_module_as_yet_is_a_warning(tmp_path: Path) -> None:
    """The first application with tasks may come."""
    write(tmp_path, {"pyproject.toml": table('tasks = ["*.tasks"]'), "shop/models.py": ""})

    project = Project.load(tmp_path, environ={})

    assert project.errors == ()
    assert "'*.tasks'" in str(project.warnings[0])


@pytest.mark.parametrize(
    ("lines", "remedy"),
    [
        ([], 'tasks = ["tasks", "lib.other"]'),
        (['tasks = ["tasks"]'], 'tasks = ["tasks", "lib.other"]'),
    ],
)
def test_a_task_in_a_module_that_nobody_names_is_told(
    tmp_path: Path, lines: list[str], remedy: str
) -> None:
    """With its line, and what is to be added: no worker would run it. Bases, private ones and what is
    taken over by name are none.
    """
    other = """\
        from resqpy import Task, task

        class Base(Task):
            def run(self): ...

        class _Private(Task):
            def run(self): ...

        @task
        def taken(): ...

        @task
        def lonely(): ...

        class Lost(Base): ...
        """
    write(tmp_path, {
        "pyproject.toml": table(*lines),
        "lib/other.py": other,
        "shop/tests/test_it.py": MAIL,
        "tasks/a.py": "import lib.other, shop.tests.test_it\nfrom lib.other import taken\n" + MAIL,
    })  # fmt: skip

    project = Project.load(tmp_path, environ={})

    assert [str(each).partition(" is in ")[0] for each in project.errors] == [
        "lib/other.py:13: the task lonely",
        "lib/other.py:15: the task Lost",
    ]
    assert all(remedy in str(each) for each in project.errors)
    write(tmp_path, {"pyproject.toml": table('tasks = ["tasks", "lib.other"]')})
    assert Project.load(tmp_path, environ={}).errors == ()


def test_a_name_that_is_installed_is_a_clash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both files are named, and the other one is not run."""
    write(tmp_path / "site", {"tasks/__init__.py": "1 / 0\n", "plugins.py": "1 / 0\n"})
    write(tmp_path / "demo", {"tasks/mail.py": MAIL, "plugins/once.py": ""})
    monkeypatch.syspath_prepend(str(tmp_path / "site"))

    problems = [str(each) for each in Project.load(tmp_path / "demo", environ={}).errors]

    assert [each.partition(":")[0] for each in problems] == ["plugins/once.py", "tasks/mail.py"]
    for each, other in zip(problems, ("plugins.py", "tasks/__init__.py"), strict=True):
        assert str(tmp_path / "site" / other) in each
        assert "[tool.resqpy] tasks = " in each


def test_a_name_that_is_loaded_is_a_clash(tmp_path: Path) -> None:
    """Two projects in one process; the first one is left as it is."""
    for name in ("one", "two"):
        write(tmp_path / name, {"tasks/mail.py": MAIL})
    first = Project.load(tmp_path / "one", environ={})

    [problem] = Project.load(tmp_path / "two", environ={}).errors

    assert str(tmp_path / "one/tasks/mail.py") in problem.message
    assert str(tmp_path / "two/tasks/mail.py") in problem.message
    assert sys.modules["tasks.mail"].__file__ == str(tmp_path / "one/tasks/mail.py")
    assert first.errors == Project.load(tmp_path / "one", environ={}).errors == ()


def test_a_file_and_a_folder_of_one_name_clash(tmp_path: Path) -> None:
    """Python takes one of them."""
    write(tmp_path, {"tasks.py": "", "tasks/mail.py": MAIL})

    [problem] = Project.load(tmp_path, environ={}).errors

    assert f"{tmp_path}/tasks.py" in problem.message


def test_a_file_that_no_import_finds_is_told(tmp_path: Path) -> None:
    """Its name has a dot."""
    write(tmp_path, {"tasks/send.v2.py": MAIL})

    [problem] = Project.load(tmp_path, environ={}).errors

    assert "rename it" in problem.message


def test_a_file_that_fails_is_not_run_twice(tmp_path: Path) -> None:
    """Its first half was: a metric that is registered once more would hide the error."""
    write(tmp_path, {
        "tasks/a.py": "from tasks.b import x\n",
        "tasks/b.py": "import lib.count\nlib.count.runs += 1\nraise ValueError('no')\n",
        "lib/count.py": "runs = 0\n",
    })  # fmt: skip

    problems = [str(each) for each in Project.load(tmp_path, environ={}).errors]

    assert problems == [
        "tasks/a.py:1: ValueError: no (in tasks/b.py:3)", "tasks/b.py:3: ValueError: no",
    ]  # fmt: skip
    count: Any = sys.modules["lib.count"]
    assert count.runs == 1


def test_a_file_that_is_mounted_by_a_link(tmp_path: Path) -> None:
    """As Kubernetes mounts them."""
    write(tmp_path, {"demo/tasks/__init__.py": "", "data/mail.py": MAIL})
    (tmp_path / "demo/tasks/mail.py").symlink_to(tmp_path / "data/mail.py")

    project = Project.load(tmp_path / "demo", environ={})

    assert (project.errors, list(project.registry.tasks)) == ((), ["mail"])


# -- what users build on a module's identity --


SLOW = """
    import time
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context
    from prometheus_client import Counter
    from resqpy import task
    from sqlalchemy.orm import DeclarativeBase, mapped_column, Mapped

    class Base(DeclarativeBase): ...

    class Mail(Base):
        __tablename__ = "mails"  # a table that is defined twice is an error
        id: Mapped[int] = mapped_column(primary_key=True)

    SENT = Counter("mails_sent", "Mails.")

    class MailError(Exception): ...

    class Point:
        def __init__(self, x): self.x = x

    def square(point): return Point(point.x ** 2)

    @task(retry={"retry_limit": 2, "retry_delay": 0, "retry_exceptions": ["@slow.MailError"]})
    def by_path():
        SENT.inc()
        raise MailError

    @task
    def spread(start: str):
        with ProcessPoolExecutor(2, mp_context=get_context(start)) as pool:
            print("squares", start, [each.x for each in pool.map(square, map(Point, range(3)))])
    """
AUDIT = """
    from resqpy import Middleware
    from @slow import MailError

    class Audit(Middleware):
        everywhere = True
        async def post_processor(self, call):
            if call.error is not None:
                print("its own error:", isinstance(call.error, MailError))
    """
INVITE = """
    from resqpy import task
    from @slow import SENT, by_path

    @task
    async def invite():
        await by_path.enqueue()
        print("sent", SENT._value.get())
    """


@pytest.mark.parametrize("package", ["tasks.", "shop.jobs."])
def test_a_worker_has_one_of_each_module(tmp_path: Path, redis_url: str, package: str) -> None:
    """A metric, an error named by its path, `isinstance`, and objects that go to other processes."""
    client = Redis.from_url(redis_url)
    folder = package.replace(".", "/")
    write(tmp_path, {
        "pyproject.toml": table(f'tasks = ["{package[:-1]}"]'),
        f"{folder}slow.py": SLOW.replace("@slow", f"{package}slow"),
        f"{folder}invite.py": INVITE.replace("@slow", f"{package}slow"),
        "middleware/audit.py": AUDIT.replace("@slow", f"{package}slow"),
    })  # fmt: skip
    shell = Shell(tmp_path, redis_url)
    for words in ("invite", "spread start=fork", "spread start=spawn", "spread start=forkserver"):
        assert shell.run("task", "enqueue", *words.split()).returncode == 0

    said = shell.run("worker", "--burst", "--max", "1", timeout=100).stdout

    assert said.count("sent 0.0") == 1
    for start in ("fork", "spawn", "forkserver"):
        assert f"squares {start} [0, 1, 4]" in said
    assert "its own error: True" in said
    assert client.zcard("resque:delayed_queue_schedule") == 1  # it will be tried again


def test_a_stub_takes_the_place_of_what_a_task_uses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the module's real name."""
    slow = "import time\nfrom resqpy import task\n\n@task\ndef slow(): return time.time()\n"
    write(tmp_path, {"tasks/slow.py": slow})
    [task] = Project.load(tmp_path, environ={}).registry

    monkeypatch.setattr("tasks.slow.time.time", lambda: 12)

    assert task.run() == 12
