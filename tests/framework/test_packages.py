"""Installed packages bring tasks, plugins and initializers: one is built, installed and used."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from redis import Redis

from tests.support.shell import Shell, write

PACKAGE = {
    "pyproject.toml": """
        [build-system]
        requires = ["hatchling"]
        build-backend = "hatchling.build"

        [project]
        name = "acme-mail"
        version = "1.2"

        [project.entry-points."resqpy.tasks"]
        mail = "acme_mail.tasks"

        [project.entry-points."resqpy.plugins"]
        loud = "acme_mail.plugins:Loud"

        [project.entry-points."resqpy.initializers"]
        mailer = "acme_mail.mailer:Mailer"
        """,
    "acme_mail/__init__.py": "",
    "acme_mail/tasks.py": """
        from resqpy import api, task

        @task("acme.sendMail", queue="mail", plugins=["Loud"])
        async def send_mail(to: str) -> str:
            "Send a mail by ACME."
            return await api.mailer.send(to)
        """,
    "acme_mail/plugins.py": """
        from resqpy import Plugin

        class Loud(Plugin):
            option_names = frozenset({"words"})

            async def before_perform(self, run):
                print("loud:", self.options.get("words", "-"), flush=True)
                return True
        """,
    "acme_mail/mailer.py": """
        from resqpy import Initializer, api

        class Mailer(Initializer):
            def initialize(self):
                return self

            def start(self):
                api.log.warning("mailer is ready")

            async def send(self, to):
                return f"sent to {to}"
        """,
}
OWN = """
    from resqpy import api, task

    @task(plugins=["Loud"], plugin_options={"Loud": {"words": "own"}})
    async def own(to: str) -> str:
        "Our own task, with the package's plugin and initializer."
        return await api.mailer.send(to)
    """


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pip has installed the package that it has built."""
    source, site = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    write(source, PACKAGE)
    options = ("--no-build-isolation", "--no-deps", "--no-index", "--quiet")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "--target", str(site), str(source)],
        check=True,
        timeout=100,
        capture_output=True,
    )
    return site


class WithPackage(Shell):
    """The package is installed; a test may change it in `site`."""

    def __init__(self, folder: Path, installed: Path, url: str) -> None:
        self.site = folder / "site"
        shutil.copytree(installed, self.site, ignore=shutil.ignore_patterns("__pycache__"))
        write(folder / "demo", {"tasks/own.py": OWN})
        super().__init__(folder / "demo", url, PYTHONPATH=str(self.site))


@pytest.fixture
def shell(tmp_path: Path, installed: Path, redis_url: str) -> WithPackage:
    """A project whose environment has the package."""
    return WithPackage(tmp_path, installed, redis_url)


def test_all_that_a_package_brings_is_used(shell: WithPackage, redis_url: str) -> None:
    """Its task is listed with its origin; its plugin and its initializer serve our tasks, too."""
    listed = shell.run("task", "list", "--json")
    origin = {each["name"]: each["package"] for each in json.loads(listed.stdout)}
    assert origin == {"acme.sendMail": "acme-mail 1.2", "own": None}
    assert "acme-mail 1.2" in shell.run("task", "list").stdout
    assert "acme-mail 1.2" in shell.run("task", "show", "acme.sendMail").stdout

    for name in ("acme.sendMail", "own"):
        done = shell.run("task", "enqueue", name, "to=ada@example.com")
        assert done.returncode == 0, done.stderr
    worked = shell.run("worker", "--burst")

    assert worked.returncode == 0, worked.stderr
    said = worked.stdout + worked.stderr
    assert said.count("sent to ada@example.com") == 2
    assert "loud: -" in said
    assert "loud: own" in said
    assert said.count("mailer is ready") == 1
    with Redis.from_url(redis_url) as plain:
        assert plain.get("resque:stat:processed") == b"2"


def test_our_own_plugin_stands_in_for_a_packages(shell: WithPackage) -> None:
    """Of two plugins of one name the project's is taken."""
    (shell.root / "plugins").mkdir()
    text = dedent(PACKAGE["acme_mail/plugins.py"]).replace("loud:", "quiet:")
    (shell.root / "plugins" / "loud.py").write_text(text)

    done = shell.run("task", "run", "own", "to=x")

    assert done.returncode == 0, done.stderr
    assert "quiet: own" in done.stdout


BY = "of the package acme-mail 1.2"


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (
            {"tasks": "import nowhere"},
            f"entry point mail (acme_mail.tasks) {BY} in 'resqpy.tasks': ModuleNotFoundError",
        ),
        (
            {"plugins": "Quiet = 1"},
            f"entry point loud (acme_mail.plugins:Loud) {BY} in 'resqpy.plugins': AttributeError",
        ),
        (
            {"plugins": "Loud = 1"},
            f"entry point loud (acme_mail.plugins:Loud) {BY}: 1 is not a class derived from Plugin",
        ),
        (
            {"mailer": "Mailer = 'x'"},
            f"(acme_mail.mailer:Mailer) {BY}: 'x' is not a class derived from Initializer",
        ),
        (
            {"tasks": "from resqpy import task"},
            f"entry point mail (acme_mail.tasks) {BY}: the module 'acme_mail.tasks' defines no task",
        ),
        (
            {"tasks": "from resqpy import task\n@task('own')\ndef own():\n    'Own.'\n"},
            "there is already a task 'own', in tasks/own.py:5 (in the package acme-mail 1.2)",
        ),
    ],
)
def test_what_is_wrong_with_a_package_names_it(
    shell: WithPackage, changed: dict[str, str], told: str
) -> None:
    """Before anything starts, without a traceback."""
    for name, text in changed.items():
        (shell.site / "acme_mail" / f"{name}.py").write_text(text)

    done = shell.run("worker", "--burst")

    assert done.returncode == 3, done.stdout + done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_an_initializer_that_fails_is_named(shell: WithPackage) -> None:
    """The process doesn't start; it is told whose fault it is."""
    text = dedent(PACKAGE["acme_mail/mailer.py"]).replace("return self", "raise OSError('no mail')")
    (shell.site / "acme_mail" / "mailer.py").write_text(text)

    done = shell.run("worker", "--burst")

    assert done.returncode != 0
    assert "acme_mail.mailer.Mailer" in done.stderr
    assert "no mail" in done.stderr


def test_a_project_may_do_without_packages(shell: WithPackage) -> None:
    """`general.packages`."""
    (shell.root / "config").mkdir()
    (shell.root / "config" / "general.py").write_text("def default(): return {'packages': False}")
    (shell.root / "tasks" / "own.py").unlink()

    assert json.loads(shell.run("task", "list", "--json").stdout) == []
