"""The files with which a new project is deployed: of the right form, and of one mind about stop times.

CI checks compose.yaml and the workflow against the schemas of Docker and GitHub, and the rest by what
stands in it. By hand, when they were last changed: hadolint 2.15 (Dockerfile), kubernetes-validate
--strict (Kubernetes 1.27 and 1.37), systemd-analyze verify (252); and `unshare --pid --fork` for
signals and orphans as process 1.
"""

from __future__ import annotations

import configparser
import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from resqpy.cli.output.printing import Exit
from resqpy.framework.config.config import load_config
from tests.cli.conftest import Call
from tests.cli.reference import commands


@pytest.fixture
def shop(tmp_path: Path, resqpy: Call) -> Path:
    """A new project."""
    folder = tmp_path / "shop"
    assert resqpy("new", str(folder)).code == 0
    return folder


def _yaml(path: Path) -> list[Any]:
    return list(YAML(typ="safe").load_all(path.read_text()))


def _unit(path: Path) -> configparser.RawConfigParser:
    unit = configparser.RawConfigParser()
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(path)
    return unit


@pytest.mark.parametrize(
    ("schema", "file"),
    [("compose-spec", "compose.yaml"), ("github-workflows", ".github/workflows/ci.yml")],
)
def test_it_has_the_form_that_its_reader_wants(shop: Path, schema: str, file: str) -> None:
    """By the readers' own schemas."""
    tool = Path(sys.executable).parent / "check-jsonschema"
    arguments = [str(tool), "--builtin-schema", f"vendor.{schema}", str(shop / file)]

    done = subprocess.run(arguments, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout


def _stop_times(shop: Path) -> dict[str, float]:
    """How long each of them waits for a stop."""
    found: dict[str, float] = {}
    for name, service in _yaml(shop / "compose.yaml")[0]["services"].items():
        if name != "redis":
            found[f"compose {name}"] = float(service["stop_grace_period"].removesuffix("s"))
    for each in _yaml(shop / "deploy" / "kubernetes.yaml"):
        if each["kind"] == "Deployment":
            grace = each["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
            found[f"kubernetes {each['metadata']['name']}"] = float(grace)
    for path in (shop / "deploy" / "systemd").iterdir():
        found[path.name] = float(_unit(path)["Service"]["TimeoutStopSec"])
    return found


def test_who_stops_a_process_waits_for_its_jobs(shop: Path) -> None:
    """Longer than `tasks.stop_timeout` and `tasks.cancel_timeout` of the project's own config, by the
    same time everywhere.
    """
    tasks = load_config(shop, "production", environ={}).tasks
    times = _stop_times(shop)

    assert len(times) == 6
    needed_s = (tasks.stop_timeout + tasks.cancel_timeout) / 1000
    assert set(times.values()) == {needed_s + 8}
    words = re.findall(r"stop_timeout \((\d+) s\)", (shop / "deploy/kubernetes.yaml").read_text())
    assert {int(each) for each in words} == {tasks.stop_timeout // 1000}


def test_another_stop_time_is_another_in_all_files(
    resqpy: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is one number: nobody has to remember the other places."""
    from resqpy.framework.config.sections import TasksConfig

    monkeypatch.setattr(TasksConfig, "__init__", _patient(TasksConfig.__init__))
    folder = tmp_path / "patient"
    assert resqpy("new", str(folder)).code == 0
    monkeypatch.undo()

    assert load_config(folder, "production", environ={}).tasks.stop_timeout == 90_000
    assert set(_stop_times(folder).values()) == {90 + 2 + 8}


def _patient(init: Any) -> Any:
    def patient(self: Any, **given: Any) -> None:
        init(self, **({"stop_timeout": 90_000} | given))

    return patient


def _command_lines(shop: Path) -> list[list[str]]:
    """All command lines of resqpy in the files."""
    found = [
        json.loads(words)
        for words in re.findall(r"^(?:CMD|.* CMD) (\[.*\])", _docker(shop), re.MULTILINE)
    ]
    services = _yaml(shop / "compose.yaml")[0]["services"]
    found += [services[name]["command"] for name in ("worker", "scheduler")]
    found.append(services["scheduler"]["healthcheck"]["test"][1:])
    for each in _yaml(shop / "deploy" / "kubernetes.yaml"):
        if each["kind"] == "Deployment":
            [container] = each["spec"]["template"]["spec"]["containers"]
            found.append(container["args"])
    for path in (shop / "deploy" / "systemd").iterdir():
        found.append(_unit(path)["Service"]["ExecStart"].split()[1:])
    return [words[1:] if words[0] == "resqpy" else words for words in found]


def _docker(shop: Path) -> str:
    return (shop / "Dockerfile").read_text()


def test_resqpy_comes_from_its_wheel(shop: Path) -> None:
    """On the package index another project has its name: the wheel first, then no other."""
    settings = tomllib.loads((shop / "pyproject.toml").read_text())
    assert settings["project"]["dependencies"] == [f"resqpy-jobs>={version('resqpy-jobs')}"]
    assert (shop / "wheels" / "README.md").exists()
    workflow = (shop / ".github" / "workflows" / "ci.yml").read_text()
    for text, project in ((_docker(shop), "."), (workflow, "-e '.[dev]'")):
        lines = [line for line in re.split(r"&&|\n", text) if "pip install" in line]
        first, then = (line.partition("pip install")[2].split() for line in lines)
        assert first[-1] == "wheels/*.whl"
        assert " ".join(then).endswith(project)


def test_their_commands_are_commands_of_resqpy(shop: Path) -> None:
    """With options that those have."""
    known = {ctx.command_path.split()[1]: command for ctx, command in commands()}
    lines = _command_lines(shop)

    assert len(lines) == 9
    for name, *options in lines:
        flags = {flag for each in known[name].params for flag in (*each.opts, *each.secondary_opts)}
        assert {each for each in options if each.startswith("-")} <= flags, (name, options)


def test_one_place_has_the_scheduler(shop: Path) -> None:
    """Where there is a service for it, the workers run none, so their user of Redis needs no more."""
    workers = [options for name, *options in _command_lines(shop) if name == "worker" and options]

    assert len(workers) == 3
    assert all("--no-scheduler" in options for options in workers)


def test_kubernetes_asks_the_port_that_is_answered(shop: Path) -> None:
    """Liveness does not depend on Redis, which a restart would not bring back."""
    for each in _yaml(shop / "deploy" / "kubernetes.yaml"):
        if each["kind"] == "Deployment":
            [container] = each["spec"]["template"]["spec"]["containers"]
            port = int(container["args"][container["args"].index("--health-port") + 1])
            assert container["livenessProbe"]["httpGet"] == {"path": "/live", "port": port}
            assert container["readinessProbe"]["httpGet"] == {"path": "/ready", "port": port}
            assert each["spec"]["template"]["metadata"]["annotations"] == {
                "prometheus.io/scrape": "true",
                "prometheus.io/port": str(port),
                "prometheus.io/path": "/metrics",
            }


def test_systemd_waits_until_they_work(shop: Path) -> None:
    """It is told (tests/cli/test_service_manager.py); the loop of one that works alone is watched."""
    units = {path.stem: _unit(path)["Service"] for path in (shop / "deploy/systemd").iterdir()}

    assert {unit["Type"] for unit in units.values()} == {"notify"}
    assert units["scheduler"]["WatchdogSec"] == "60"
    assert "--processes" in units["worker"]["ExecStart"]


def test_a_container_is_told_itself_and_is_not_root(shop: Path) -> None:
    """No shell stands before the worker; Kubernetes knows a user that is no root by its number."""
    text = _docker(shop)

    assert '\nENTRYPOINT ["resqpy"]\n' in text
    assert re.search(r"^USER \d+$", text, re.MULTILINE)


def test_systemd_leaves_the_children_to_the_supervisor(shop: Path) -> None:
    """Only the main process is told to stop; a project that can't be loaded is not tried for ever."""
    service = _unit(shop / "deploy" / "systemd" / "worker.service")["Service"]

    assert service["KillMode"] == "mixed"
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert service["RestartPreventExitStatus"].split() == [f"{Exit.USAGE}", f"{Exit.PROJECT}"]
