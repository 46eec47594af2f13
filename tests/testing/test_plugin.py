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

TASK = """
from resqpy import task

@task()
async def greet(name: str) -> str:
    "Greet."
    return f"Hello, {name}!"
"""


def run_pytest(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Pytest as a user runs it."""
    installed = [each for each in entry_points(group="pytest11") if each.name == "resqpy"]
    plugin = [] if installed else ["-p", "resqpy.testing.plugin"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *plugin, *more],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=25,
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
