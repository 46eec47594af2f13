"""The lifespan under a real ASGI server: uvicorn, in a process of its own."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from tests.framework.conftest import Files
from tests.support.waiting import wait_until

TASKS = """
import asyncio
import os

from resqpy import api, task

@task()
async def note(number: int, ms: int = 0) -> None:
    '''Note who ran it, and when it has ended.'''
    await asyncio.sleep(ms / 1000)
    await api.resque.store.call("RPUSH", "test:done", f"{os.getpid()}:{number}")
"""
STARLETTE = """
import os

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

import resqpy
from tasks.note import note

async def post(request):
    for number in range(int(request.query_params["count"])):
        await note.enqueue(number=number, ms=int(request.query_params["ms"]))
    return JSONResponse({"pid": os.getpid()})

routes = [Route("/notes", post, methods=["POST"])]
app = Starlette(routes=routes, lifespan=resqpy.lifespan(".", worker=True))
"""
FASTAPI_WITH_ITS_OWN = """
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request

import resqpy
from resqpy import api
from tasks.note import note

lives_with = resqpy.lifespan(".", worker=False)

@asynccontextmanager
async def lifespan(app):
    print("opened before resqpy:", api.started, flush=True)
    async with lives_with(app):
        print("inside:", api.started, flush=True)
        yield {"database": "open"}
    print("closed after resqpy:", api.started, flush=True)

app = FastAPI(lifespan=lifespan)

@app.post("/notes")
async def post(number: int, request: Request) -> dict[str, object]:
    return {"enqueued": bool(await note.enqueue(number=number)), "database": request.state.database}
"""


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a socket in a folder: no port that another test could have."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=100)
        self._path = path

    def connect(self) -> None:
        """Open it."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(os.path.relpath(self._path))


class Server:
    """Uvicorn with an application."""

    def __init__(self, root: Path, url: str) -> None:
        self._log = root / "log.txt"
        self._socket = root / "s"
        with self._log.open("w") as log:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "uvicorn", "app:app", "--uds", self._socket.name],
                env={
                    **os.environ,
                    "REDIS_URL": url,
                    "RESQPY_ENV": "development",
                    "RESQPY_REDIS_STARTUP_TIMEOUT": "1s",
                },
                cwd=root,
                stdout=log,
                stderr=log,
            )

    @property
    def said(self) -> str:
        """What it printed."""
        return self._log.read_text()

    def wait_until_started(self) -> None:
        """It takes requests."""
        wait_until(lambda: "Uvicorn running on" in self.said or self.popen.poll() is not None)
        assert self.popen.poll() is None, self.said

    def post(self, path: str) -> Any:
        """Send a request; the answer."""
        connection = UnixConnection(self._socket)
        try:
            connection.request("POST", path)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def stop(self) -> float:
        """Ask for an end, as a container does; how many seconds it took."""
        began = time.monotonic()
        self.popen.send_signal(signal.SIGTERM)
        assert self.popen.wait(15) in {0, -signal.SIGTERM}, self.said
        return time.monotonic() - began


@pytest.fixture
def start(files: Files, redis_url: str) -> Iterator[Callable[[str], Server]]:
    """Start a server for an application on a project."""
    started: list[Server] = []

    def begin(app: str, url: str = redis_url, **more: str) -> Server:
        files.write(app=app, **{"tasks__note": TASKS, **more})
        started.append(Server(files.root, url))
        return started[-1]

    yield begin
    for each in started:
        each.popen.kill()
        each.popen.wait()


@pytest.fixture
def plain(redis_url: str) -> Iterator[Any]:
    """A synchronous client of the test's Redis."""
    with Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


def test_a_request_enqueues_and_the_same_process_works(start: Any, plain: Any) -> None:
    """The server's own process runs the job, and it ends at once when nothing runs."""
    server = start(STARLETTE)
    server.wait_until_started()

    pid = server.post("/notes?count=1&ms=0")["pid"]

    wait_until(lambda: plain.llen("test:done"))
    assert plain.lrange("test:done", 0, -1) == [f"{pid}:0"]
    assert server.stop() < 5
    assert plain.smembers("resque:workers") == set()


def test_a_stop_in_the_middle_loses_no_job(start: Any, plain: Any) -> None:
    """Those that run end, each once; those that wait are in their queue still."""
    server = start(STARLETTE)
    server.wait_until_started()
    server.post("/notes?count=60&ms=150")
    wait_until(lambda: plain.llen("test:done") >= 3)

    took_s = server.stop()

    done = [each.split(":")[1] for each in plain.lrange("test:done", 0, -1)]
    waiting = plain.lrange("resque:queue:default", 0, -1)
    left = [str(json.loads(each)["args"][0]["number"]) for each in waiting]
    assert sorted([*done, *left], key=int) == [str(number) for number in range(60)]
    assert left
    assert took_s < 10
    assert plain.llen("resque:failed") == 0
    assert plain.smembers("resque:workers") == set()


@pytest.mark.parametrize(
    ("task", "url", "told"),
    [
        (TASKS.replace("@task()", "@task(que='x')"), None, "did you mean 'queue'?"),
        (TASKS, "redis://localhost:1/0", "localhost:1"),
    ],
)
def test_what_is_wrong_ends_the_server_at_its_start(
    start: Any, redis_url: str, task: str, url: str | None, told: str
) -> None:
    """With our words, before it takes a request."""
    app = STARLETTE.replace("from tasks.note import note\n", "")
    server = start(app, url or redis_url, tasks__note=task)

    assert server.popen.wait(20) == 3
    assert told in server.said
    assert "Application startup failed" in server.said
    assert "Uvicorn running" not in server.said


def test_beside_a_lifespan_of_the_applications_own(start: Any, plain: Any) -> None:
    """One within the other; what the application's yields is the requests' state."""
    server = start(FASTAPI_WITH_ITS_OWN)
    server.wait_until_started()

    assert server.post("/notes?number=7") == {"enqueued": True, "database": "open"}
    server.stop()

    words = ("opened before", "inside", "closed after")
    printed = [line for line in server.said.splitlines() if line.startswith(words)]
    assert printed == ["opened before resqpy: False", "inside: True", "closed after resqpy: False"]
    assert plain.llen("resque:queue:default") == 1
