"""Which folder is the project's, and what is said where there is none."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from resqpy.cli.output.printing import Exit
from resqpy.framework.project.root import find_root
from tests.cli.conftest import Call, Program
from tests.cli.processes import ended

Go = Callable[..., Path]


@pytest.fixture
def go(root: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Go:
    """Make a folder below the project's and go there; no variable says where the project is."""
    monkeypatch.delenv("RESQPY_ROOT")
    (root / "config").mkdir()

    def to(*parts: str) -> Path:
        here = root.joinpath(*parts)
        here.mkdir(parents=True, exist_ok=True)
        monkeypatch.chdir(here)
        return here

    return to


@pytest.mark.parametrize("parts", [(), ("tasks",), ("docs", "images"), ("tests", "unit")])
def test_commands_work_in_all_folders_of_a_project(
    resqpy: Call, go: Go, parts: tuple[str, ...]
) -> None:
    """The project is searched upwards, as git and cargo do."""
    go(*parts)

    assert [task["name"] for task in resqpy("task", "list", "--json").json] == ["fails", "sendMail"]


def test_a_projects_own_commands_work_in_all_its_folders(resqpy: Call, go: Go) -> None:
    """Also what such a command does is about the project, not about the folder below."""
    go()
    resqpy("generate", "command", "backlog")
    here = go("docs")

    said = resqpy("backlog")

    assert (said.code, said.out) == (0, "0 jobs wait in default\n")
    assert list(here.iterdir()) == []


def test_the_folder_of_a_module_is_a_part_of_its_project(resqpy: Call, go: Go) -> None:
    """Though it has `tasks/` and `config/` of its own."""
    module = go("modules", "auth")
    (module / "config").mkdir()
    (module / "tasks").mkdir()
    (module / "tasks" / "check.py").write_text(
        "from resqpy import task\n\n@task()\ndef check() -> None:\n    '''Check.'''\n"
    )

    def names() -> list[str]:
        return [task["name"] for task in resqpy("task", "list", "--json").json]

    assert names() == ["auth.check", "fails", "sendMail"]
    go("modules", "auth", "tasks")
    assert names() == ["auth.check", "fails", "sendMail"]


def test_a_folder_that_is_named_is_not_searched_upwards(
    resqpy: Call, go: Go, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither `--root` nor RESQPY_ROOT."""
    here = go("docs")

    flag = resqpy("task", "list", "--root", ".")
    monkeypatch.setenv("RESQPY_ROOT", str(here))
    variable = resqpy("task", "list")

    assert (flag.code, variable.code) == (Exit.USAGE, Exit.USAGE)
    assert f"there is no project in {here}" in flag.err
    assert f"(as --root {here.parent})" in variable.err


def test_new_makes_its_project_in_the_current_folder(resqpy: Call, go: Go) -> None:
    """Wherever that is."""
    here = go("docs")

    assert resqpy("new", "other").code == 0
    assert (here / "other" / "tasks").is_dir()


def test_the_nearest_project_counts(go: Go, root: Path) -> None:
    """A project within a project is one of its own; so is a folder with nothing but `tasks/`."""
    inner = go("apps", "mini", "tasks").parent

    go("apps", "mini")
    assert find_root() == Path()
    (inner / "config").mkdir()
    go("apps", "mini", "tasks", "mail")
    assert find_root() == inner


def test_a_lone_folder_above_makes_no_project(go: Go, root: Path) -> None:
    """A `config/` or `tasks/` further up may be anybody's, so no code of theirs is run."""
    (root / "config").rmdir()
    go("docs")

    assert find_root() == Path()


def test_the_search_ends_where_the_owner_changes(
    go: Go, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What others put into /tmp is not run."""
    go("docs")
    assert find_root() == root
    stat = Path.stat

    def stat_of_another(path: Path, **more: bool) -> os.stat_result:
        found = list(stat(path, **more))
        return os.stat_result([*found[:4], found[4] + (path == root), *found[5:10]])

    monkeypatch.setattr(Path, "stat", stat_of_another)

    assert find_root() == Path()


def test_the_processes_of_a_supervisor_are_in_the_project(program: Program, root: Path) -> None:
    """`worker --processes` below the project's folder works its tasks."""
    (root / "config").mkdir()
    (root / "docs").mkdir()

    code, output = ended(
        program("worker", "--processes", "2", "--burst", RESQPY_ROOT="", cwd=root / "docs")
    )

    assert (code, output.count("process started")) == (0, 2)


@pytest.mark.parametrize(
    "arguments",
    [
        ("worker",),
        ("start",),
        ("start", "--no-reload"),
        ("task", "list"),
        ("task", "show", "x"),
        ("task", "run", "x"),
        ("task", "enqueue", "x"),
        ("generate", "task", "x"),
    ],
)
@pytest.mark.parametrize("redis", [True, False], ids=["redis named", "no redis named"])
def test_who_needs_tasks_is_told_that_there_is_no_project(
    resqpy: Call,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    *,
    redis: bool,
) -> None:
    """With all remedies, and nothing is made in the folder."""
    here = tmp_path / "elsewhere"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.delenv("RESQPY_ROOT")
    if not redis:
        monkeypatch.delenv("REDIS_URL")

    said = resqpy(*arguments)

    assert said.code == Exit.USAGE
    assert f"there is no project in {here}" in said.err
    assert "make one by `resqpy new DIR`" in said.err
    assert list(here.iterdir()) == []
