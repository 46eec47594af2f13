"""Where things are found: folders, modules, and what is imported for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.framework.conftest import Files

TASK = """
from resqpy import task

@task()
def {name}():
    '''A task.'''
"""


def test_files_shadow_no_package(files: Files) -> None:
    """A `tasks/redis.py` and a `tasks/json.py` leave the packages where they are."""
    files.write(
        tasks__redis="import redis\n" + TASK.format(name="a") + "assert redis.Redis\n",
        tasks__json="import json\n" + TASK.format(name="b") + "assert json.dumps\n",
    )

    assert files.problems() == []
    assert sorted(files.load().registry.tasks) == ["a", "b"]
    assert "demo" not in str(sys.modules["json"].__file__)


def test_tasks_are_found_at_any_depth(files: Files) -> None:
    """Files and folders with an underscore in front are left out."""
    files.write(tasks__a=TASK.format(name="a"), tasks__mail__deep__b=TASK.format(name="b"))
    for name in ("_c.py", "_old/d.py"):
        path = files.root / "tasks" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("1 / 0")
    (files.root / "tasks/mail/__init__.py").write_text(TASK.format(name="c"))
    project = files.load()

    assert project.errors == ()
    assert list(project.registry.tasks) == ["a", "c", "b"]


def test_links(files: Files) -> None:
    """Linked files and folders are loaded, each once; a link to nowhere is told."""
    files.write(tasks__a=TASK.format(name="a"), more__b=TASK.format(name="b"))
    files.write(more__deep__c=TASK.format(name="c"), tasks__sub__d=TASK.format(name="d"))
    for link, to in {"x": "../more", "y": "../more", "sub/round": "../sub", "sub/up": ".."}.items():
        (files.root / "tasks" / link).symlink_to(to)
    assert files.problems() == []
    assert list(files.load().registry.tasks) == ["a", "d", "b", "c"]

    (files.root / "tasks/gone.py").symlink_to("../away/gone.py")
    (files.root / "tasks/shared").symlink_to("../away")
    (files.root / "config").mkdir()
    (files.root / "config/secrets").symlink_to("/run/nowhere")
    assert files.problems() == [
        "tasks/gone.py: a link to ../away/gone.py, which does not exist",
        "tasks/shared: a link to ../away, which does not exist",
    ]


@pytest.mark.parametrize("folder", ["config", "tasks", "tasks/mail"])
def test_a_folder_that_may_not_be_read_is_a_problem(
    files: Files, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    """It is not taken for an empty one: a worker would run on defaults, or fail jobs as unknown."""
    locked = files.root / folder
    locked.mkdir(parents=True)
    scandir = os.scandir

    def refused(path: str) -> object:
        if Path(path) == locked:
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refused)

    [problem] = files.problems()

    assert problem.startswith(f"{folder}: PermissionError: ")


def test_a_module_has_its_own_of_everything(files: Files) -> None:
    """Tasks, config (weaker than the project's), plugins, middleware, initializers."""
    files.write(
        modules__auth__tasks__session="""
        from resqpy import Task

        class SessionValidation(Task):
            '''I validate sessions.'''
            plugins = ["Once"]
            middleware = ["audit"]
            def run(self): ...
        """,
        modules__auth__plugins__once="from resqpy import Plugin\nclass Once(Plugin): ...",
        modules__auth__middleware__audit="from resqpy import Middleware\nclass Audit(Middleware): ...",
        modules__auth__initializers__keys="from resqpy import Initializer\nclass Keys(Initializer): ...",
        modules__auth__config__auth="def default(): return {'hours': 12, 'salt': 'x'}",
        modules__auth__config__tasks="def default(): return {'timeout': 1, 'check_timeout': 2}",
        config__tasks="def default(): return {'timeout': 3}",
        config__auth="def default(): return {'hours': 1}",
    )
    project = files.load()

    assert project.errors == ()
    assert list(project.registry.tasks) == ["auth.sessionValidation"]
    assert [each.__name__ for each in project.registry.initializers] == ["Keys"]
    assert dict(project.config.auth) == {"hours": 1, "salt": "x"}
    assert (project.config.tasks.timeout, project.config.tasks.check_timeout) == (3, 2)
    origin = project.config.origin("tasks.check_timeout")
    assert origin == "modules/auth/config/tasks.py default()"


def test_an_empty_folder_is_a_project(files: Files) -> None:
    """Nothing is wrong with it."""
    project = files.load()

    assert (project.errors, len(project.registry), project.name) == ((), 0, "demo")


def test_importing_resqpy_costs_next_to_nothing() -> None:
    """Its names are imported when they are used: neither redis nor structlog, let alone asyncio."""
    code = "import sys, resqpy; print(*(name for name in sys.modules if '.' not in name))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert not {"redis", "structlog", "asyncio", "croniter", "click"} & set(done.stdout.split())


def test_all_public_names_can_be_imported() -> None:
    """Each leads somewhere, and a wrong one is an AttributeError."""
    import resqpy

    assert [name for name in resqpy.__all__ if getattr(resqpy, name, None) is None] == []
    assert sorted(resqpy.__all__) == resqpy.__all__
    assert not hasattr(resqpy, "Tsak")
