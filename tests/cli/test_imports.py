"""What a command imports is time and memory for everybody. Modules are counted: times depend on the machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# What help needs none of: an event loop, a connection, logging, payloads.
HEAVY = {
    "asyncio", "redis", "hiredis", "structlog", "logging", "ssl", "socket", "json", "decimal", "email",
    "subprocess", "importlib.metadata",
}  # fmt: skip
# What a worker needs none of: it shows, diagnoses, repairs, makes and tests nothing.
NOT_AT_WORK = (
    "resqpy.diagnosis", "resqpy.embedded", "resqpy.testing", "resqpy.cli.scaffold",
    "unittest", "pytest", "click.testing", "http.server", "xml", "croniter", "prometheus_client", "watchdog",
    "pydantic", "msgspec", "annotated_types",
)  # fmt: skip


def imported(
    environ: dict[str, str], root: Path, *words: str, way: tuple[str, ...] = ("-m", "resqpy.cli")
) -> set[str]:
    """The modules of a process that did a command in a project's folder."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *way, *words],
        check=True, capture_output=True, text=True, cwd=root, env=environ,
    )  # fmt: skip
    lines = [each for each in done.stderr.splitlines() if each.startswith("import time:")]
    return {each.rpartition("|")[2].strip() for each in lines}


def ours(modules: set[str]) -> set[str]:
    """Those of resqpy."""
    return {each for each in modules if each.startswith("resqpy.")}


def test_help_needs_little(environ: dict[str, str], root: Path) -> None:
    """None of the heavy ones, and few of ours."""
    modules = imported(environ, root, "--help")
    assert modules & HEAVY == set()
    assert len(ours(modules)) <= 20


def test_the_door_needs_little(environ: dict[str, str], root: Path) -> None:
    """Each module of an application may import it at its top."""
    modules = imported(environ, root, way=("-c", "from resqpy import api"))
    assert modules & (HEAVY - {"logging"}) == set()
    assert len(ours(modules)) <= 15


def test_the_keeper_of_an_embedded_redis_needs_little(environ: dict[str, str], root: Path) -> None:
    """Whoever uses the server first waits for it."""
    modules = imported(environ, root, "find", way=("-m", "resqpy.embedded"))
    assert modules & {"dataclasses", "inspect", "hashlib", "tempfile", "asyncio", "click"} == set()
    names = {
        "base",
        "base.errors",
        "base.imports",
        "embedded",
        "embedded.keeper",
        "embedded.process",
    }
    assert ours(modules) == {f"resqpy.{each}" for each in names}


def test_enqueueing_needs_little(environ: dict[str, str], root: Path) -> None:
    """A program that only enqueues is no worker, runs no scheduler, and writes no log."""
    code = "import tasks.mail; tasks.mail.fails.sync.enqueue(reason='x')"
    modules = imported(environ, root, way=("-c", code))
    idle = ("resqpy.tracked", "resqpy.diagnosis", "resqpy.web", "resqpy.cli", "structlog", "click")
    assert {
        each for each in modules if f"{each}.".startswith(tuple(f"{n}." for n in idle))
    } == set()
    assert len(ours(modules)) <= 125
    assert "redis" in modules  # it did enqueue


def test_a_worker_needs_what_it_does(environ: dict[str, str], root: Path) -> None:
    """Of ours those that are at work; of others' what the Redis client, the log and the commands bring."""
    modules = imported(environ, root, "worker", "--burst")
    idle = {each for each in modules if f"{each}.".startswith(tuple(f"{n}." for n in NOT_AT_WORK))}
    assert idle == {
        "resqpy.diagnosis",
        "resqpy.diagnosis.queues",
        "resqpy.diagnosis.texts",
    }  # for GET /scale
    assert len(ours(modules)) <= 250
    assert {"redis.asyncio", "structlog", "click"} <= modules  # it did work
