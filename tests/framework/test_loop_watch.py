"""An event loop that a job blocks: told once in the log, and by the probes, which a thread answers."""

from __future__ import annotations

import asyncio
import json
import selectors
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
import structlog

from resqpy.framework.process import health
from resqpy.framework.process.process import Process
from resqpy.framework.process.signals import handled
from tests.framework.conftest import MakeProject, until
from tests.support.ports import free_port
from tests.support.probes import get
from tests.support.waiting import PATIENCE_S

TASKS = '''
    import asyncio, threading, resqpy

    BLOCKS, RELEASE = threading.Event(), threading.Event()

    @resqpy.task
    async def blocks(within: bool = False) -> None:
        """Block the loop, itself or in a task that it begins."""
        if within:
            await asyncio.create_task(waits())
        else:
            await waits()

    async def waits() -> None:
        BLOCKS.set()
        RELEASE.wait(60)
    '''


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "BLOCKED_AFTER_S", 0.3)
    monkeypatch.setattr(health, "ASKED_EVERY_S", 0.02)
    monkeypatch.setattr(health, "_LOOK_S", 0.02)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(0))


def asked(port: int, path: str) -> tuple[int, Any]:
    """The answer to a GET, in a thread while the loop is blocked."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=100) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def meanwhile(do: Callable[[], None], release: Callable[[], object]) -> threading.Thread:
    """Do something in a thread, then release who blocks the loop, whatever came of it."""

    def run() -> None:
        try:
            do()
        finally:
            release()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.parametrize("within", [False, True])
async def test_a_job_that_blocks_the_loop(make_project: MakeProject, *, within: bool) -> None:
    """The process is live and not ready, and the log says once what blocks it, and once that it goes on."""
    port, answers = free_port(), dict[str, tuple[int, Any]]()
    project = make_project({"process.health_port": port}, tasks__t=TASKS)
    module = next(each for name, each in sys.modules.items() if name.endswith("tasks.t"))

    def look() -> None:
        assert module.BLOCKS.wait(PATIENCE_S)
        deadline = time.monotonic() + PATIENCE_S
        while "event_loop_blocked_s" not in asked(port, "/live")[1]:
            assert time.monotonic() < deadline
        answers.update({path: asked(port, path) for path in ("/live", "/ready", "/metrics", "/x")})

    with structlog.testing.capture_logs() as log:
        async with Process(project, worker=True) as process:
            looking = meanwhile(look, module.RELEASE.set)
            await process.resque.queue.enqueue("default", "blocks", [{"within": within}])
            await until(lambda: _is_ready(port, looking))
    looking.join()

    told = [line for line in log if "event loop" in line["event"]]
    assert [line["event"].split(":")[0] for line in told] == [
        "the event loop is blocked",
        "the event loop is no longer blocked",
    ]
    assert all(line["at"].startswith("tasks/t.py:") and "in waits" in line["at"] for line in told)
    if not within or sys.version_info >= (3, 12):
        assert {(line["task"], line["queue"]) for line in told} == {("blocks", "default")}
    assert told[1]["blocked_s"] >= told[0]["blocked_s"] >= 0.3
    status, live = answers["/live"]
    assert (status, live["live"], live["event_loop_blocked_s"] >= 0.3) == (200, True, True)
    for path in ("/ready", "/metrics"):
        status, body = answers[path]
        assert (status, body["ready"], body["state"]) == (503, False, "stuck")
        assert body["event_loop_blocked_s"] >= 0.3
    assert answers["/x"][0] == 404


async def _is_ready(port: int, looking: threading.Thread) -> bool:
    return not looking.is_alive() and (await get(port, "/ready"))[0] == 200


async def test_a_loop_that_hangs_is_not_live_for_ever(
    make_project: MakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that something restarts it."""
    monkeypatch.setattr(health, "_HUNG_AFTER_S", 0.5)
    port, release, answers = free_port(), threading.Event(), [(200, dict[str, Any]())]

    def look() -> None:
        deadline = time.monotonic() + PATIENCE_S
        while answers[-1][0] == 200:
            assert time.monotonic() < deadline
            answers.append(asked(port, "/live"))

    async with Process(make_project({"process.health_port": port})):
        looking = meanwhile(look, release.set)
        release.wait()
    looking.join()

    assert (answers[-1][0], answers[-1][1]["live"]) == (503, False)


async def test_the_thread_that_hears_signals_looks_too(make_project: MakeProject) -> None:
    """Where there is no port. What blocks need not be a job, and may wait as an idle loop does."""
    process = Process(make_project())
    ours, theirs = socket.socketpair()
    with structlog.testing.capture_logs() as log, ours, theirs, handled(process):

        def look() -> None:
            deadline = time.monotonic() + PATIENCE_S
            while not log and time.monotonic() < deadline:
                time.sleep(0.01)

        looking = meanwhile(look, lambda: theirs.send(b"x"))
        with selectors.DefaultSelector() as selector:
            selector.register(ours, selectors.EVENT_READ)
            selector.select(PATIENCE_S)
        looking.join()
        await until(lambda: asyncio.sleep(0, len(log) == 2))

    assert [(line["event"].split(":")[0], "in select" in line["at"]) for line in log] == [
        ("the event loop is blocked", True),
        ("the event loop is no longer blocked", True),
    ]
