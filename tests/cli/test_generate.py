"""`resqpy new` and `resqpy generate`: what they write, and that it is right at once."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from resqpy.cli.commands.generate import OF_API
from resqpy.cli.output.printing import Exit
from resqpy.cli.scaffold.new_task import TYPES
from resqpy.framework.process.process import Process
from resqpy.framework.project.project import Project
from tests.cli.conftest import Call

KINDS = ("plugin", "middleware", "initializer", "command", "config")
FOLDERS = (
    "tasks",
    "tests",
    "config",
    "plugins",
    "initializers",
    "middleware",
    "commands",
    "modules",
)

Tool = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def demo(tmp_path: Path, resqpy: Call, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new project, in whose folder we are."""
    folder = tmp_path / "shop"
    assert resqpy("new", str(folder)).code == 0
    monkeypatch.delenv("RESQPY_ROOT")
    monkeypatch.delenv("REDIS_URL")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def tool(environ: dict[str, str]) -> Tool:
    """Run a developer's tool in the current folder, as a person would."""

    def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        mine = ("RESQPY", "REDIS", "PYTEST", "COV_")
        clean = {key: value for key, value in environ.items() if not key.startswith(mine)}
        program = os.fspath(Path(sys.executable).parent / name)
        done = subprocess.run(
            [program, *arguments], env=clean, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    return run


def generate_all(resqpy: Call) -> None:
    """One of each, with all options that a task can have."""
    for arguments in (
        ["task", "sendReport", "-q", "reports", "--input", "to:str", "--input", "rows:list",
         "--input", "more:dict?", "--retry", "3", "--timeout", "5s", "-d", "Send a report"],
        ["task", "nightly-clean", "--cron", "0 3 * * *", "--timezone", "Europe/Berlin",
         "--plugin", "JobLock", "--blocking"],
        ["task", "poll", "--frequency", "5m", "--input", "note:str?"],
        ["task", "check", "--module", "auth"],
        ["task", "typed", *(word for n, kind in enumerate(TYPES) for word in ("--input", f"i{n}:{kind}"))],
        ["task", "maybe", "--input", "at:datetime?", "--input", "price:decimal"],
        ["task", "audit", "-d", 'Say "so",\nand \\b'],
        ["task", "manyInputs", *(word for n in range(9) for word in ("--input", f"number_{n}:dict"))],
        *([kind, "audit"] for kind in KINDS if kind != "config"),
        *([kind, f"my_{kind}"] for kind in KINDS),
    ):  # fmt: skip
        said = resqpy("generate", *arguments)
        assert (said.code, "warning" in said.err) == (0, False), said.err


def test_a_new_project_says_what_it_made(resqpy: Call, tmp_path: Path) -> None:
    """File by file, and the next two commands; a folder that is not empty is left alone."""
    folder = tmp_path / "shop"

    tried = resqpy("new", str(folder), "--dry-run")
    said = resqpy("new", str(folder))
    again = resqpy("new", str(folder))
    small = resqpy("new", str(tmp_path / "small"), "--minimal", "--json")

    assert "would create tasks/send_welcome.py" in tried.out
    assert f"cd {folder}\n  resqpy start" in said.out
    assert (folder / "deploy" / "kubernetes.yaml").exists()
    assert (again.code, "is not empty" in again.err) == (Exit.NO, True)
    assert not any(name.startswith(("deploy", "Docker")) for name in small.json["files"])


def test_no_hole_is_left_in_what_is_written(resqpy: Call, demo: Path) -> None:
    """Each `{{name}}` of the templates is filled; GitHub's own are not ours."""
    generate_all(resqpy)

    files = [path for path in demo.rglob("*") if path.is_file() and ".resqpy" not in path.parts]
    left = [path.name for path in files if "{{" in path.read_text().replace("${{", "")]

    assert left == []


def test_lint_and_tests_of_the_project_pass_at_once(resqpy: Call, demo: Path, tool: Tool) -> None:
    """With one of everything that can be generated; no Redis has to be set up."""
    generate_all(resqpy)

    tool("ruff", "format", "--check", ".")
    tool("ruff", "check", ".")
    done = tool("pytest", "-q", "-p", "no:randomly", "-W", "error")

    assert "22 passed" in done.stdout


PROJECT = '[project]\nname = "shop"\nversion = "1"\n'
SETTINGS = "[pytest]\nasyncio_default_fixture_loop_scope = function\n"  # silences a warning


@pytest.mark.parametrize(
    "files",
    [
        {"tasks/hi.py": "from resqpy import task\n\n\n@task\ndef hi() -> None:\n    'Hi.'\n"},
        {"pyproject.toml": PROJECT, "shop/__init__.py": ""},
        {"pyproject.toml": PROJECT, "src/shop/__init__.py": ""},
    ],
    ids=["a folder of tasks", "a package", "src"],
)
def test_a_generated_test_passes_where_new_made_nothing(
    resqpy: Call, tmp_path: Path, tool: Tool, monkeypatch: pytest.MonkeyPatch, files: dict[str, str]
) -> None:
    """Whatever mode pytest-asyncio has there, and wherever the tasks are."""
    monkeypatch.delenv("RESQPY_ROOT")
    monkeypatch.delenv("REDIS_URL")
    monkeypatch.chdir(tmp_path)
    for name, text in {**files, "pytest.ini": SETTINGS}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    if "tasks/hi.py" not in files:
        assert resqpy("init").code == 0
    assert resqpy("generate", "task", "sendInvoice", "--input", "number:int").code == 0

    for mode in ("strict", "auto"):
        assert (
            "1 passed" in tool("pytest", "-q", "-W", "error", "-o", f"asyncio_mode={mode}").stdout
        )


def test_types_of_the_project_pass_at_once(resqpy: Call, demo: Path, tool: Tool) -> None:
    """Strictly, tests included."""
    generate_all(resqpy)

    cache = Path(__file__).parents[2] / ".mypy_cache"  # ours has the libraries already
    tool(
        "mypy",
        "--cache-dir",
        str(cache / "generated"),
        *(f for f in FOLDERS if (demo / f).exists()),
    )


def test_the_generated_tasks_are_those_that_were_asked_for(resqpy: Call, demo: Path) -> None:
    """All options arrive."""
    generate_all(resqpy)

    tasks = {each["name"]: each for each in resqpy("task", "list", "--json").json}

    report, nightly = tasks["sendReport"], tasks["nightly-clean"]
    assert (report["queue"], report["retry"]) == ("reports", {"retry_limit": 4})
    assert (report["time_limit_ms"], report["description"]) == (5000, "Send a report.")
    assert {name: each["required"] for name, each in report["inputs"].items()} == {
        "to": True, "rows": True, "more": False,
    }  # fmt: skip
    assert (nightly["cron"], nightly["timezone"]) == ("0 3 * * *", "Europe/Berlin")
    assert (nightly["plugins"], nightly["async"]) == (["JobLock"], False)
    assert tasks["poll"]["frequency_ms"] == 300_000
    assert tasks["auth.check"]["module"] == "auth"


def test_a_module_is_not_said_twice(resqpy: Call, demo: Path) -> None:
    """Stellar advises names such as auth.check, and asks for the module besides."""
    resqpy("generate", "task", "auth.checkToken", "--module", "auth")

    assert "auth.checkToken" in [each["name"] for each in resqpy("task", "list", "--json").json]
    assert (demo / "modules/auth/tasks/check_token.py").exists()


def test_nothing_is_overwritten_unasked(resqpy: Call, demo: Path) -> None:
    """Neither the task nor its test; --force does it."""
    test = demo / "tests" / "test_send_report.py"
    test.write_text("# mine\n")

    refused = resqpy("generate", "task", "sendReport")
    tried = resqpy("generate", "task", "sendReport", "--force", "--dry-run")
    before = test.read_text()
    forced = resqpy("generate-task", "--name=sendReport", "--force")

    assert (refused.code, "tests/test_send_report.py already" in refused.err) == (Exit.NO, True)
    assert not (demo / "tasks" / "send_report.py").exists() or forced.code == 0
    assert ("would overwrite tests/test_send_report.py" in tried.out, before) == (True, "# mine\n")
    assert "overwrite tests/test_send_report.py" in forced.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "generate task NAME"),
        (["9lives"], "'9lives'"),
        (["x", "--input", "to:text"], "the type is one of"),
        (["x", "--input", "to-do:str"], "'to-do'"),
        (["x", "--cron", "every day"], "cron"),
        (["x", "--cron", "0 3 * * *", "--frequency", "5m"], "--cron and --frequency"),
        (["x", "--frequency", "5m", "--input", "to:str"], "can't have required inputs"),
        (["x", "--queue", "a,b"], "'a,b'"),
        (["x", "--queue", 'a"b'], "--queue"),
        (["x", "--plugin", "a\\b"], "--plugin"),
        (["x", "--description", "long " * 20], "80 characters"),
        (["x", "--input", "a:str", "--input", "a:int"], "--input a"),
        (["x", "--input", "class:str"], "--input class"),
        (["x", "--input", "worker:str"], "for something else"),
        (["x", "--module", "../up"], "'../up'"),
        (["x", "--module", "a.b"], "'a.b'"),
        (["x", "--module", "class"], "'class'"),
        (["../x"], "'../x'"),
        (["grüße"], "'grüße'"),
        (["import"], "'import'"),
        (["none"], "'none'"),
        (["process"], "Process"),
    ],
)
def test_what_can_not_be_is_refused(
    resqpy: Call, demo: Path, arguments: list[str], words: str
) -> None:
    """Before anything is written."""
    said = resqpy("generate", "task", *arguments)

    assert (said.code, words in said.err) == (Exit.USAGE, True), said.err
    assert not (demo / "tasks" / "x.py").exists()


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        ("command", "worker", "`resqpy worker` already exists"),
        ("config", "tasks", "is for settings of resqpy itself"),
        ("initializer", "redis", "api.redis is resqpy's own"),
        ("plugin", "retry", "Retry is a built-in plugin"),
        ("plugin", "worker", "Worker"),
        ("middleware", "class", "'class'"),
    ],
)
def test_names_that_are_taken(resqpy: Call, demo: Path, kind: str, name: str, words: str) -> None:
    """What resqpy has itself would win over it, or be broken by it."""
    before = sorted(demo.rglob("*"))

    said = resqpy("generate", kind, name)

    assert (said.code, words in said.err) == (Exit.USAGE, True), said.err
    assert sorted(demo.rglob("*")) == before


async def test_the_names_of_api_are_known(demo: Path) -> None:
    """No initializer may take one of them."""
    async with Process(Project.load(demo), worker=False, scheduler=False) as process:
        assert set(process.bound.things) - {"greeting"} == set(OF_API)


def test_a_name_that_another_file_has_is_told(resqpy: Call, demo: Path) -> None:
    """Two tasks of one name are an error of the project, told with the place of the first."""
    said = resqpy("generate", "task", "Send_Welcome", "--module", "other", "--force")
    assert said.err == ""
    said = resqpy("generate", "task", "other.Send_Welcome")

    assert "modules/other/tasks/send_welcome.py" in said.err


def test_it_is_called_in_a_folder_of_the_project(
    resqpy: Call, demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below the project's folder it writes where it does there."""
    here = demo / "docs"
    here.mkdir()
    monkeypatch.chdir(here)

    assert resqpy("generate", "task", "two").code == 0

    assert (demo / "tasks" / "two.py").exists()
    assert list(here.iterdir()) == []


def test_a_plugin_that_is_not_there_is_told_at_once(resqpy: Call, demo: Path) -> None:
    """The project is loaded with what was written."""
    said = resqpy("generate", "task", "x", "--plugin", "JobLok")

    assert "did you mean 'JobLock'?" in said.err


def test_a_command_of_the_project_is_one_of_resqpy(
    resqpy: Call, demo: Path, redis_url: str
) -> None:
    """It stands in the help, and can be called."""
    resqpy("generate", "command", "count-jobs", "-d", "Count the jobs")

    assert "count-jobs  Count the jobs." in resqpy("--help").out
    assert resqpy("count-jobs").out == "0 jobs wait in default\n"
