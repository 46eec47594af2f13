"""The pytest plugin, in a pytest of its own."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from textwrap import dedent

import pytest

ROOT = Path(__file__).parents[2]

TESTS = """
import pytest

from resqpy import api
from resqpy.testing import drain, find_enqueued, run_task


@pytest.mark.asyncio
async def test_one(resqpy_process, caplog):
    await api.tasks.enqueue("greet", {"name": "Ada"})
    api.log.warning("enqueued", count=1)
    assert [job.inputs for job in await find_enqueued("greet")] == [{"name": "Ada"}]
    assert [job.result for job in (await drain()).jobs] == ["Hello, Ada!"]
    assert "enqueued" in caplog.text


@pytest.mark.asyncio
async def test_another_one_finds_nothing_of_the_first(resqpy_clock):
    assert await api.tasks.queues() == []
    await api.tasks.enqueue_in(3_600_000, "greet", {"name": "Grace"})
    assert len(await resqpy_clock.advance(3_600_000)) == 1


def test_settings(resqpy_project):
    assert resqpy_project.config.environment == "test"
    assert resqpy_project.config.tasks.timeout == 77


@pytest.fixture
def resqpy_overrides():
    return {"tasks.timeout": 77}
"""

ANYIO = """
import pytest

from resqpy import api
from resqpy.testing import drain

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


async def test_one(resqpy_process):
    await api.tasks.enqueue("greet", {"name": "Ada"})
    assert [job.result for job in (await drain()).jobs] == ["Hello, Ada!"]


async def test_time(resqpy_clock):
    await api.tasks.enqueue_in(3_600_000, "greet", {"name": "Grace"})
    assert len(await resqpy_clock.advance(3_600_000)) == 1
"""

SYNCHRONOUS = """
import pytest

from resqpy import SyncQueue, api
from resqpy.base.errors import InvalidInputs
from resqpy.testing import delete_enqueued, drain, find_enqueued, run_task


def test_what_a_view_enqueues(resqpy_run, resqpy_redis):
    with SyncQueue(resqpy_redis) as queue:
        queue.enqueue("default", "greet", [{"name": "Ada"}])
        queue.enqueue("default", "greet", [{"name": "Grace"}])

    assert resqpy_run(delete_enqueued, "greet", {"name": "Grace"}) == 1
    assert [job.inputs for job in resqpy_run(find_enqueued, "greet")] == [{"name": "Ada"}]
    assert [job.result for job in resqpy_run(drain).jobs] == ["Hello, Ada!"]


def test_it_is_empty_again(resqpy_run):
    assert resqpy_run(api.tasks.queues) == []
    assert resqpy_run(run_task, "greet", {"name": "Ada"}) == "Hello, Ada!"
    with pytest.raises(InvalidInputs):
        resqpy_run(api.tasks.enqueue, "greet")


async def test_it_is_for_synchronous_tests(resqpy_run):
    with pytest.raises(RuntimeError, match="running event loop"):
        resqpy_run(drain)
"""

UNITTEST = """
import unittest

from resqpy import Project
from resqpy.testing import PrivateServer, SyncRunner, drain, run_task


class Greeting(unittest.TestCase):
    def setUp(self):
        server = self.enterContext(PrivateServer())
        project = self.enterContext(Project.load(".", "test", {"redis.url": server.url}))
        self.run_ = self.enterContext(SyncRunner(project))

    def test_it(self):
        self.assertEqual(self.run_(run_task, "greet", {"name": "Ada"}), "Hello, Ada!")
        self.assertEqual(len(self.run_(drain)), 0)


unittest.main()
"""

TASK = """
from resqpy import task

@task()
async def greet(name: str) -> str:
    "Greet."
    return f"Hello, {name}!"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project with one task."""
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "greet.py").write_text(TASK)
    return tmp_path


def run_pytest(folder: Path, *more: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Pytest as a user runs it."""
    installed = [each for each in entry_points(group="pytest11") if each.name == "resqpy"]
    plugin = [] if installed else ["-p", "resqpy.testing.plugin"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *plugin, *more],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", **environ},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize("where", [".", "app"])
def test_a_project_is_tested(tmp_path: Path, where: str) -> None:
    """At pytest's root, or in a folder that its settings name; also in asyncio's strict mode."""
    (tmp_path / where / "tasks").mkdir(parents=True)
    (tmp_path / where / "tasks" / "greet.py").write_text(TASK)
    (tmp_path / "test_it.py").write_text(dedent(TESTS))
    settings = f"[pytest]\nasyncio_mode = strict\nresqpy_root = {where}\n"
    (tmp_path / "pytest.ini").write_text(settings)

    done = run_pytest(tmp_path)

    assert "3 passed" in done.stdout, done.stdout + done.stderr


def test_beside_pytest_asyncio_anyio_runs_its_own_tests(folder: Path) -> None:
    """Where both are installed, each test's fixtures run on the loop of that test."""
    (folder / "test_anyio.py").write_text(ANYIO)
    (folder / "test_it.py").write_text(TESTS)
    (folder / "pytest.ini").write_text("[pytest]\nasyncio_mode = strict\n")

    done = run_pytest(folder)

    assert "5 passed" in done.stdout, done.stdout + done.stderr


def test_anyio_without_pytest_asyncio(folder: Path) -> None:
    """It is enough: the other one need not be installed."""
    (folder / "test_anyio.py").write_text(ANYIO)
    (folder / "pytest_asyncio.py").write_text("raise ImportError('not installed')")

    done = run_pytest(
        *(folder, "-p", "anyio", "-p", "resqpy.testing.plugin"), PYTEST_DISABLE_PLUGIN_AUTOLOAD="1"
    )

    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_synchronous_tests(folder: Path) -> None:
    """Of an application that has no event loop; an async test is told to await."""
    (folder / "test_it.py").write_text(SYNCHRONOUS)
    (folder / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n")

    done = run_pytest(folder)

    assert "3 passed" in done.stdout, done.stdout + done.stderr
    assert "never awaited" not in done.stdout


APPLICATION = """
import pytest

import resqpy
from resqpy import api
from tasks.greet import greet


@pytest.mark.asyncio
async def test_what_is_opened(resqpy_redis):
    async with resqpy.open_project("."):
        assert api.resque.store.options.url == resqpy_redis
        await greet.enqueue(name="Ada")
    async with resqpy.lifespan(".", worker=False)(None):
        assert await api.tasks.length("default") == 1


def test_what_is_found():
    assert api.sync.tasks.length("default") == 0  # it is another test
    greet.sync.enqueue(name="Ada")
    assert api.sync.tasks.length("default") == 1


def test_it_is_empty_again():
    assert api.sync.tasks.length("default") == 0


def test_who_names_one_has_that():
    named = "redis://127.0.0.1:1/7"
    assert resqpy.Project.load(".", "test", {"redis.url": named}).connection().url == named
"""


def test_an_application_uses_the_redis_of_the_test(folder: Path) -> None:
    """Whatever its config and its environment say: nothing gets into a Redis that is somebody's."""
    (folder / "test_it.py").write_text(APPLICATION)
    (folder / "pytest.ini").write_text("[pytest]\nasyncio_mode = strict\n")
    (folder / "config").mkdir()
    (folder / "config" / "redis.py").write_text("def default(): return {'port': 1}\n")

    done = run_pytest(folder, REDIS_URL="redis://127.0.0.1:1/0")

    assert "4 passed" in done.stdout, done.stdout + done.stderr


def test_without_pytest(folder: Path) -> None:
    """`unittest`, and so Django's own test runner, have the same by hand."""
    (folder / "test_it.py").write_text(UNITTEST)

    done = subprocess.run(
        [sys.executable, "test_it.py"],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert done.returncode == 0, done.stderr


def test_what_is_wrong_with_the_project_is_told(tmp_path: Path) -> None:
    """As an error of the test that needs it."""
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "a.py").write_text(
        "from resqpy import task\n@task(que='x')\ndef a(): 'A.'\n"
    )
    (tmp_path / "test_it.py").write_text("def test_it(resqpy_project): pass\n")

    done = run_pytest(tmp_path)

    assert "did you mean 'queue'?" in done.stdout
    assert "1 error" in done.stdout


LOST = """
import gc
import pytest

@pytest.mark.asyncio
async def test_lost(resqpy_process):
    task = resqpy_process.project.registry.task("greet").defined
    task.enqueue(name="Ada")


@pytest.mark.asyncio
async def test_lost_by_name(resqpy_process):
    from resqpy import api
    kept = [api.tasks.enqueue("greet", {"name": "Ada"})]
    del kept


def test_lost_in_a_synchronous_test(resqpy_run):
    from resqpy import api
    async def forgets():
        api.tasks.enqueue_in(1000, "greet", {"name": "Ada"})
    resqpy_run(forgets)


@pytest.mark.asyncio
async def test_awaited(resqpy_process):
    assert await resqpy_process.project.registry.task("greet").defined.enqueue(name="Ada")
"""


def test_an_enqueue_that_nobody_awaits_fails_its_test(tmp_path: Path) -> None:
    """It would be green, and nothing was enqueued; the next test is none the worse."""
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks/greet.py").write_text(TASK)
    (tmp_path / "test_it.py").write_text(dedent(LOST))
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_mode = strict\n")

    done = run_pytest(tmp_path, "-p", "no:randomly")

    assert "3 failed, 1 passed" in done.stdout
    assert done.stdout.count("was never awaited, so nothing was enqueued") >= 3
    assert "task 'greet'" in done.stdout


@pytest.mark.parametrize(
    ("file", "module", "table"),
    [
        (
            "src/shop/tasks.py",
            "shop.tasks",
            '[tool.resqpy]\nroot = "src"\ntasks = ["shop.tasks"]\n',
        ),
        ("tasks.py", "tasks", ""),
    ],
)
def test_tests_import_from_where_the_code_is(
    tmp_path: Path, file: str, module: str, table: str
) -> None:
    """From the import root that pyproject.toml names, whatever is installed; a lone tasks.py needs none."""
    task = "from resqpy import task\n@task\nasync def hi(): return __name__\n"
    for name, text in {
        "pyproject.toml": f"{table}[tool.pytest.ini_options]\n",
        file: task,
        "tests/test_hi.py": f"from resqpy.testing import drain\nfrom {module} import hi\n"
        "def test_hi(resqpy_run):\n"
        "    resqpy_run(hi.enqueue)\n"
        f"    assert [job.result for job in resqpy_run(drain).jobs] == [{module!r}]\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    done = run_pytest(tmp_path)

    assert "1 passed" in done.stdout


def test_the_plugin_imports_nothing_of_resqpy_before_it_is_used() -> None:
    """It is loaded in every project of an environment that has resqpy."""
    code = """
        import sys, pytest
        try: import pytest_asyncio
        except ImportError: pass
        before = set(sys.modules)
        import resqpy.testing.plugin
        print(sorted(name for name in set(sys.modules) - before))
    """
    done = subprocess.run(
        [sys.executable, "-c", dedent(code)], capture_output=True, text=True, check=True, cwd=ROOT
    )

    assert "'resqpy.testing.plugin'" in done.stdout
    for name in ("redis", "structlog", "click", "resqpy.engine", "resqpy.framework"):
        assert f"'{name}'" not in done.stdout
