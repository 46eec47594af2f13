"""An application that is there becomes a project, or is none and has tasks all the same."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from resqpy.cli.output.printing import Exit
from tests.cli.conftest import Call, Program
from tests.cli.processes import ended
from tests.support.shell import write

MAIL = "from resqpy import task\n\n@task\nasync def mail(to: str = 'ada'): 'Mail.'\n"
PROJECT = '[project]\nname = "my-app"\n'


@pytest.fixture
def app(tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an application, which is the current one."""
    monkeypatch.delenv("RESQPY_ROOT")
    folder = tmp_path / "app"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def _files(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_bytes().decode()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


# -- `resqpy init` --

SRC = {"src/my_app/__init__.py": "", "src/other/__init__.py": "", "tests/__init__.py": ""}


@pytest.mark.parametrize(
    ("files", "table", "made"),
    [
        ({}, {"tasks": ["tasks"]}, {"tasks/hello.py"}),
        ({"main.py": ""}, {"tasks": ["tasks"]}, {"tasks/hello.py"}),
        ({"tasks.py": "# of invoke"}, {"tasks": ["jobs"]}, {"jobs/hello.py"}),
        (
            {"shop/__init__.py": "", "tests/__init__.py": "", "pyproject.toml": PROJECT},
            {"tasks": ["shop.tasks"]},
            {"shop/tasks/__init__.py", "shop/tasks/hello.py"},
        ),
        (
            SRC | {"pyproject.toml": PROJECT.rstrip()},
            {"root": "src", "tasks": ["my_app.tasks"]},
            {"src/my_app/tasks/__init__.py", "src/my_app/tasks/hello.py"},
        ),
        (
            {"shop/__init__.py": "", "shop/tasks.py": "# of Celery", "pyproject.toml": "[tool]\n"},
            {"tasks": ["shop.jobs"]},
            {"shop/jobs/__init__.py", "shop/jobs/hello.py"},
        ),
        (
            {"blog/__init__.py": "", "shop/__init__.py": "", "manage.py": ""},
            {"tasks": ["tasks"]},
            {"tasks/hello.py"},
        ),
        (
            {"pyproject.toml": PROJECT.replace("\n", "\r\n"), "tests/__init__.py": ""},
            {"tasks": ["tasks"]},
            {"tasks/hello.py"},
        ),
    ],
)
def test_init_adds_a_table_and_a_task(
    resqpy: Call, app: Path, files: dict[str, str], table: dict[str, Any], made: set[str]
) -> None:
    """Where there is a pyproject.toml without the table, and none; all that was there stays as it is."""
    write(app, files)
    before = _files(app)

    tried = resqpy("init", "--dry-run")
    assert (tried.code, _files(app)) == (0, before)
    said = resqpy("init")

    after = _files(app)
    pyproject = after.pop("pyproject.toml")
    assert said.code == 0, said.err
    assert pyproject.startswith(before.pop("pyproject.toml", ""))
    assert tomllib.loads(pyproject)["tool"]["resqpy"] == table
    assert pyproject.count("\r\n") in {0, pyproject.count("\n")}
    assert {each: after[each] for each in before} == before
    assert set(after) - set(before) == made
    assert [each for each in (*made, "pyproject.toml") if each not in said.out] == []
    assert [each["name"] for each in resqpy("task", "list", "--json").json] == ["hello"]
    assert resqpy("task", "run", "hello", "name=Ada").code == 0


def test_init_may_be_told_where(resqpy: Call, app: Path) -> None:
    """A package by its dotted name; a path is answered by the name."""
    write(app, {"shop/__init__.py": ""})

    wrong = resqpy("init", "--tasks", "shop/later")
    right = resqpy("init", str(app), "--tasks", "shop.later", "--json")

    assert (wrong.code, "did you mean 'shop.later'?" in wrong.err) == (Exit.USAGE, True)
    assert right.json["files"] == [
        "shop/later/__init__.py",
        "shop/later/hello.py",
        "pyproject.toml",
    ]


@pytest.mark.parametrize(
    ("pyproject", "words"),
    [
        ('[tool.resqpy]\ntasks = ["a.b"]\n', "with tasks in a.b"),
        ("[tool\n", "can't be read: "),
        ("tool = {black = {}}\n", "write it there yourself:"),
    ],
)
def test_init_leaves_what_it_can_not_add_to(
    resqpy: Call, app: Path, pyproject: str, words: str
) -> None:
    """It says why, and writes nothing."""
    write(app, {"pyproject.toml": pyproject})
    before = _files(app)

    said = resqpy("init")

    assert said.code in {Exit.NO, Exit.PROJECT}
    assert words in said.err
    assert _files(app) == before


def test_init_overwrites_no_task(resqpy: Call, app: Path) -> None:
    """The file that it would write is there."""
    write(app, {"shop/hello.py": "# mine\n"})

    said = resqpy("init", "--tasks", "shop")

    assert (said.code, "shop/hello.py" in said.err) == (Exit.NO, True)
    assert _files(app) == {"shop/hello.py": "# mine\n"}


def test_init_keeps_the_tasks_that_were_found_without_it(resqpy: Call, app: Path) -> None:
    """A lone tasks.py of ours; Celery's is none."""
    write(app, {"tasks.py": "from resqpy import task\n@task\ndef mine(): ...\n"})
    assert resqpy("init").code == Exit.OK
    assert {each["name"] for each in resqpy("task", "list", "--json").json} == {"mine", "hello"}


# -- `resqpy new` over an application --


def test_new_overwrites_nothing(resqpy: Call, app: Path) -> None:
    """Also with --force; what stands in the way is named, and nothing is written."""
    write(app, {"pyproject.toml": PROJECT, "deploy": "a file", ".gitignore": "x"})
    before = _files(app)

    refused = resqpy("new", ".")
    forced = resqpy("new", ".", "--force")

    assert (refused.code, "resqpy init" in refused.err) == (Exit.NO, True)
    assert forced.code == Exit.NO
    assert "pyproject.toml" in forced.err
    assert "deploy" in forced.err
    assert _files(app) == before


def test_new_completes_its_own_project(resqpy: Call, app: Path) -> None:
    """Files that are as it makes them may stay, and only those that are missing are written."""
    assert resqpy("new", ".").code == 0
    whole = _files(app)
    (app / "tasks/clean_up.py").unlink()

    said = resqpy("new", ".", "--force", "--json")

    assert said.json["files"] == ["tasks/clean_up.py"]
    assert _files(app) == whole


# -- `--app` --


def test_an_application_without_any_file_of_a_project(
    resqpy: Call, program: Program, app: Path, client: Redis
) -> None:
    """All commands that open a project know its tasks."""
    write(app, {"shop/jobs.py": MAIL, "tasks/other.py": "1 / 0\n"})
    module = ("--app", "shop.jobs")

    [task] = resqpy("task", "list", "--json", *module).json
    assert task["name"] == "mail"
    assert resqpy("task", "enqueue", "mail", "to=bob", *module).code == 0
    assert (
        resqpy("console", "-A", "shop.jobs", "-c", "mail.properties['queue']").out == "'default'\n"
    )
    assert resqpy("task", "explain", "mail", *module).code in {0, Exit.NO}
    assert "project" not in resqpy("doctor", *module).err

    code, output = ended(program("worker", "--burst", *module, cwd=app, RESQPY_ROOT=""))

    assert code == 0, output
    assert int(client.get("resque:stat:processed") or 0) == 1
    code, output = ended(
        program("worker", "-p", "2", "--burst", cwd=app, RESQPY_ROOT="", RESQPY_APP="shop.*")
    )
    assert (code, output.count("process started")) == (0, 2), output


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("shop.jbos", "did you mean 'shop.jobs'?"),
        ("shop/jobs.py", "did you mean 'shop.jobs'?"),
        ("nothing.at.all", "there is no module 'nothing.at.all'"),
    ],
)
def test_a_module_that_is_not_there(resqpy: Call, app: Path, module: str, words: str) -> None:
    """With the nearest one."""
    write(app, {"shop/jobs.py": MAIL})

    said = resqpy("worker", "--app", module)

    assert (said.code, words in said.err) == (Exit.PROJECT, True), said.err


# -- `resqpy generate` --


@pytest.mark.parametrize(
    ("files", "table", "words", "made"),
    [
        (
            {"src/shop/__init__.py": ""},
            'root = "src"\ntasks = ["shop.tasks"]',
            [],
            {"src/shop/tasks/__init__.py", "src/shop/tasks/send.py", "tests/test_send.py"},
        ),
        ({}, 'tasks = ["jobs"]', [], {"jobs/send.py", "tests/test_send.py"}),
        (
            {"shop/__init__.py": ""},
            'tasks = ["*.tasks"]',
            ["--module", "shop"],
            {"shop/tasks/__init__.py", "shop/tasks/send.py", "tests/shop/test_send.py"},
        ),
        (
            {"modules/shop/tasks/a.py": MAIL},
            'tasks = ["tasks", "modules.*.tasks"]',
            ["--module", "shop"],
            {"modules/shop/tasks/send.py", "tests/shop/test_send.py"},
        ),
    ],
)
def test_generate_follows_the_table(
    resqpy: Call, app: Path, files: dict[str, str], table: str, words: list[str], made: set[str]
) -> None:
    """The import root and the first pattern that can take a file."""
    write(app, files | {"pyproject.toml": f"[tool.resqpy]\n{table}\n"})
    before = set(_files(app))

    said = resqpy("generate", "task", "send", *words)

    assert (said.code, "warning" in said.err) == (0, False), said.err
    assert set(_files(app)) - before == made
    assert "send" in "".join(each["name"] for each in resqpy("task", "list", "--json").json)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('tasks = ["shop.tasks"]', "mkdir"),
        ('tasks = ["*.tasks"]', "use --module NAME"),
    ],
)
def test_generate_says_where_it_can_not(resqpy: Call, app: Path, table: str, words: str) -> None:
    """A pattern with a hole, and one that is a single file."""
    write(app, {"pyproject.toml": f"[tool.resqpy]\n{table}\n", "shop/tasks.py": MAIL})

    said = resqpy("generate", "task", "send")

    assert (said.code, words in said.err) == (Exit.USAGE, True), said.err


def test_generate_puts_parts_to_the_code(resqpy: Call, app: Path) -> None:
    """Plugins are imported from the import root; config and commands stand in the project's folder."""
    write(app, {"pyproject.toml": '[tool.resqpy]\nroot = "src"\n', "src/tasks/a.py": MAIL})

    for kind in ("plugin", "command", "config"):
        assert resqpy("generate", kind, "extra").code == 0

    assert {"src/plugins/extra.py", "commands/extra.py", "config/extra.py"} <= set(_files(app))


# -- `resqpy config show` --


def test_config_show_tells_which_redis_is_asked(
    resqpy: Call, app: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The embedded one's address, without starting it; a password is not shown."""
    write(app, {"tasks/a.py": MAIL})
    monkeypatch.delenv("REDIS_URL")

    embedded = resqpy("config", "show", "--json").json["redis"]
    other = resqpy("config", "show", "--redis", "redis://me:secret@example.com:1/2").err

    assert (embedded["embedded"], embedded["running"]) == (True, False)
    assert embedded["url"].startswith("unix:///")
    assert not (app / ".resqpy").exists()
    assert embedded["url"] in resqpy("config", "show").err
    assert ("example.com:1" in other, "secret" in other) == (True, False)


def test_config_show_tells_that_it_runs(
    resqpy: Call, app: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the one that commands connect to."""
    from resqpy.embedded import acquire

    write(app, {"tasks/a.py": MAIL})
    monkeypatch.delenv("REDIS_URL")
    with acquire(app) as server:
        told = resqpy("config", "show", "--json").json["redis"]

    assert told == {"url": server.url, "embedded": True, "running": True}
