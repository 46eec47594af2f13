"""The table of ways in: where code runs, by how it enqueues. Each cell is a hundred calls, and a hundred jobs
with the bytes of the same calls everywhere else; each second call is of a task with hooks, which need a loop.

Nothing is opened before but where a row says so: the project is the one around the application, as the command
line finds it. Django's own tasks are one more way, in Django's rows.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from redis import Redis

from tests.support.shell import FOREIGN, write
from tests.support.waiting import wait_until

CALLS = 100
TASKS = """
    from resqpy import task

    @task(queue="mail")
    async def send(to: str, n: int = 0):
        "Send a mail."

    @task(queue="mail", middleware=["hooked"])
    def guarded(to: str, n: int = 0):
        "It has hooks."
    """
HOOKS = """
    import asyncio
    from resqpy import Middleware, api

    class Hooked(Middleware):
        async def pre_enqueue(self, job):
            await asyncio.sleep(0)
            assert api.tasks is not None
    """
# What an application calls, by the way's name and a number.
WAYS = """
    from resqpy import api
    from shop.tasks import guarded, send

    AT = 4_000_000_000_000

    def of(n):
        return guarded if n % 2 else send

    async def awaited(way, n):
        task = of(n)
        if way == "one":
            done = await task.enqueue("ada", n=n)
        elif way == "in":
            done = await task.enqueue_in(3_600_000, to="ada", n=n)
        elif way == "at":
            done = await task.enqueue_at(AT, to="ada", n=n)
        elif way == "many":
            [done] = await task.enqueue_many([task.job("ada", n)])
        elif way == "on":
            done = await task.on("low").enqueue(to="ada", n=n)
        else:
            done = await api.tracked.create(of(n).__name__, {"to": "ada", "n": n}, id=f"id{n}")
        assert done

    def called(way, n):
        task = of(n)
        if way == "one":
            done = task.sync.enqueue("ada", n=n)
        elif way == "in":
            done = task.sync.enqueue_in(3_600_000, to="ada", n=n)
        elif way == "at":
            done = task.sync.enqueue_at(AT, to="ada", n=n)
        elif way == "many":
            [done] = task.sync.enqueue_many([task.job("ada", n)])
        elif way == "on":
            done = task.sync.on("low").enqueue(to="ada", n=n)
        elif way == "run":
            done = api.sync.run(task.enqueue, to="ada", n=n)
        else:
            done = api.sync.tracked.create(of(n).__name__, {"to": "ada", "n": n}, id=f"id{n}")
        assert done
    """
ASYNC = ("one", "in", "at", "many", "on")
SYNC = (*ASYNC, "tracked", "run")


def wanted(way: str) -> dict[str, list[str]]:
    """What is in Redis after the calls: all lists of jobs, as their bytes; times are left out."""
    place = {"in": "delayed", "at": "delayed", "on": "low"}.get(way, "mail")
    jobs = []
    for n in range(CALLS):
        more = f',"_task_id":"id{n}"' if way == "tracked" else ""
        name = "guarded" if n % 2 else "send"
        queue = "low" if way == "on" else "mail"
        jobs.append(f'{{"class":"{name}","queue":"{queue}","args":[{{"to":"ada","n":{n}{more}}}]}}')
    return {place: sorted(jobs)}


def found(redis: Any) -> dict[str, list[str]]:
    """The lists of jobs."""
    lists: dict[str, list[str]] = {}
    for key in redis.keys("resque:queue:*") + redis.keys("resque:delayed:*"):
        _, kind, name = key.decode().split(":", 2)
        place = name if kind == "queue" else kind
        lists.setdefault(place, []).extend(each.decode() for each in redis.lrange(key, 0, -1))
    return {place: sorted(jobs) for place, jobs in lists.items()}


class App:
    """An application's folder, with a project around it.

    Attributes:
        environ: of its processes.
    """

    def __init__(self, root: Path, redis_url: str) -> None:
        self.root = root
        kept = {name: text for name, text in os.environ.items() if not name.startswith(FOREIGN)}
        path = os.pathsep.join([str(root), *filter(None, [kept.get("PYTHONPATH")])])
        self.environ = kept | {"REDIS_URL": redis_url, "PYTHONPATH": path}
        write(root, {
            "pyproject.toml": '[tool.resqpy]\ntasks = ["shop.tasks"]\n',
            "shop/__init__.py": "", "shop/tasks.py": TASKS, "middleware/hooks.py": HOOKS, "ways.py": WAYS,
        })  # fmt: skip

    def start(self, script: str) -> subprocess.Popen[str]:
        """Start a script there, in a new interpreter in which a lost coroutine is an error."""
        write(self.root, {"bin/script.py": script})
        return subprocess.Popen(
            [sys.executable, "-W", "error::RuntimeWarning", "-W", "error::ResourceWarning", "bin/script.py"],
            cwd=self.root, env=self.environ, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip


@pytest.fixture
def app(tmp_path: Path, redis_url: str) -> App:
    """It waits for its files."""
    return App(tmp_path, redis_url)


@pytest.fixture
def redis(redis_url: str) -> Iterator[Any]:
    """A client of the test's Redis."""
    with Redis.from_url(redis_url) as client:
        yield client


# -- programs: what they run for each way that they are told --

HEAD = """
import asyncio, multiprocessing, os, sys, threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
import ways

def some(way, first, last):
    for n in range(first, last):
        ways.called(way, n)
"""
PROGRAMS = {
    "a script": (SYNC, "some(way, 0, 100)"),
    "threads": (
        SYNC,
        """
        threads = [threading.Thread(target=some, args=(way, n, n + 10)) for n in range(0, 100, 10)]
        for each in threads: each.start()
        for each in threads: each.join()
        """,
    ),
    "a pool of threads": (
        SYNC,
        """
        with ThreadPoolExecutor(10) as pool:
            list(pool.map(ways.called, [way] * 100, range(100)))
        """,
    ),
    "after a fork": (
        SYNC,
        """
        ways.api.sync.tasks.length("mail")
        context = multiprocessing.get_context("fork")
        children = [context.Process(target=some, args=(way, n, n + 50)) for n in (0, 50)]
        for each in children: each.start()
        for each in children: each.join()
        assert [each.exitcode for each in children] == [0, 0]
        """,
    ),
    "a pool of processes": (
        SYNC,
        """
        if way == "one":
            pool = ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))
        list(pool.map(ways.called, [way] * 100, range(100), chunksize=50))
        """,
    ),
    "greenlets": (
        SYNC,
        """
        import gevent
        gevent.joinall([gevent.spawn(some, way, n, n + 10) for n in range(0, 100, 10)], raise_error=True)
        """,
    ),
    "an async script": (
        ASYNC,
        """
        async def main():
            await asyncio.gather(*(ways.awaited(way, n) for n in range(100)))
        asyncio.run(main())
        """,
    ),
    "a loop for each call": (
        ASYNC,
        """
        for n in range(100):
            asyncio.run(ways.awaited(way, n))
        """,
    ),
    "an async script in a project": (
        (*ASYNC, "tracked"),
        """
        import resqpy
        async def main():
            async with resqpy.open_project("."):
                await asyncio.gather(*(ways.awaited(way, n) for n in range(100)))
        asyncio.run(main())
        """,
    ),
    "threads of an async script": (
        SYNC,
        """
        import resqpy
        async def main():
            async with resqpy.open_project("."):
                await asyncio.gather(*(asyncio.to_thread(ways.called, way, n) for n in range(100)))
        asyncio.run(main())
        """,
    ),
}


@pytest.mark.parametrize("where", PROGRAMS)
def test_programs(app: App, redis: Any, where: str) -> None:
    """Each way in one process, one after the other."""
    ways, code = PROGRAMS[where]
    lines = ["from gevent import monkey; monkey.patch_all()"] if where == "greenlets" else []
    lines += [HEAD, "if __name__ == '__main__':", "    for way in map(str.strip, sys.stdin):"]
    each_time = [*dedent(code).strip().splitlines(), "print('done', flush=True)"]
    with app.start("\n".join([*lines, *(f"        {line}" for line in each_time), ""])) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        assert program.stderr is not None
        for way in ways:
            program.stdin.write(f"{way}\n")
            program.stdin.flush()
            if program.stdout.readline() != "done\n":
                raise AssertionError(program.stderr.read())
            assert found(redis) == wanted(way), way
            redis.flushdb()
        program.stdin.close()
        assert program.stderr.read() == ""
    assert program.returncode == 0


# -- servers: a request for each call --

FLASK = """
    from flask import Flask
    import ways

    ways.api.sync.tasks.length("mail")  # before a fork, where the application is preloaded
    app = Flask(__name__)

    @app.post("/called/<way>/<int:n>")
    def called(way, n):
        ways.called(way, n)
        return "done"

    @app.post("/awaited/<way>/<int:n>")
    async def awaited(way, n):
        await ways.awaited(way, n)
        return "done"
    """
FASTAPI = """
    from fastapi import FastAPI
    from fastapi.responses import PlainTextResponse
    import resqpy, ways

    app = FastAPI(default_response_class=PlainTextResponse, LIFESPAN)

    @app.post("/called/{way}/{n}")
    def called(way: str, n: int):
        ways.called(way, n)
        return "done"

    @app.post("/awaited/{way}/{n}")
    async def awaited(way: str, n: int):
        await ways.awaited(way, n)
        return "done"
    """
DJANGO = """
    import os
    import django
    from django.conf import settings
    from django.core.asgi import get_asgi_application
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpResponse
    from django.urls import path

    settings.configure(
        SECRET_KEY="secret", ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], USE_TZ=True,
        INSTALLED_APPS=["shop", "resqpy.contrib.django", *["django_tasks"][:django.VERSION < (6, 0)]],
        RESQPY={"redis.url": os.environ["REDIS_URL"]}, BASE_DIR=os.path.dirname(__file__),
        TASKS={"default": {"BACKEND": "resqpy.contrib.django.ResqpyBackend", "QUEUES": ["mail"]}},
    )
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "web")
    app = APPLICATION

    def called(request, way, n):
        if way == "django":
            from shop.tasks import own
            assert own.enqueue("ada", n=n).id
        else:
            import ways
            ways.called(way, n)
        return HttpResponse("done")

    async def awaited(request, way, n):
        if way == "django":
            from shop.tasks import own
            assert (await own.aenqueue("ada", n=n)).id
        else:
            import ways
            await ways.awaited(way, n)
        return HttpResponse("done")

    urlpatterns = [path("called/<way>/<int:n>", called), path("awaited/<way>/<int:n>", awaited)]
    """
OF_DJANGO = (
    TASKS
    + """
    try:
        from django.tasks import task as django_task
    except ImportError:
        from django_tasks import task as django_task

    @django_task(queue_name="mail")
    def own(to, n=0):
        "A task of Django's."
    """
)


def gunicorn(kind: str, *more: str) -> list[str]:
    """Two processes."""
    return ["gunicorn", "-k", kind, "-w", "2", "--threads", "4", *more, "-b", "unix:s", "web:app"]


UVICORN = ["uvicorn", "web:app", "--uds", "s"]
VIEWS = [("called", each) for each in SYNC]
ASYNC_VIEWS = [("awaited", each) for each in ASYNC]
OWN = ("called", "django"), ("awaited", "django")
OPENED = FASTAPI.replace("LIFESPAN", 'lifespan=resqpy.lifespan(".", worker=False)')
SERVERS: dict[str, tuple[str, list[str], list[tuple[str, str]]]] = {
    **{
        f"Flask, gunicorn {kind}{' preloaded' * bool(more)}": (FLASK, gunicorn(kind, *more), VIEWS)
        for kind in ("sync", "gthread", "gevent")
        for more in ([], ["--preload"])
    },
    "Flask's async views": (FLASK, gunicorn("gthread"), ASYNC_VIEWS),
    "FastAPI, uvicorn": (FASTAPI.replace("LIFESPAN", ""), UVICORN, [*VIEWS, *ASYNC_VIEWS]),
    "FastAPI with a lifespan": (OPENED, UVICORN, [*VIEWS, *ASYNC_VIEWS, ("awaited", "tracked")]),
    "Django, WSGI": (
        DJANGO.replace("APPLICATION", "get_wsgi_application()"),
        gunicorn("gthread"),
        [*VIEWS, *ASYNC_VIEWS, *OWN],
    ),
    "Django, ASGI": (
        DJANGO.replace("APPLICATION", "get_asgi_application()"),
        UVICORN,
        [*VIEWS, *ASYNC_VIEWS, *OWN],
    ),
}  # fmt: skip


@pytest.mark.parametrize("where", SERVERS)
def test_servers(app: App, redis: Any, where: str) -> None:
    """A request for each call, over eight connections at once."""
    text, words, ways = SERVERS[where]
    write(app.root, {"web.py": text})
    if where.startswith("Django"):
        write(app.root, {"shop/tasks.py": OF_DJANGO})
    with served(app, words) as ask:
        for kind, way in ways:
            ask([f"/{kind}/{way}/{n}" for n in range(CALLS)])
            got = found(redis)
            if way == "django":  # its ids are its own
                jobs = [re.sub(r',"_task_id":"[^"]+"', "", each) for each in got.pop("mail")]
                made = [json.loads(each) for each in jobs]
                assert {each["class"] for each in made} == {"shop.tasks.own"}
                assert sorted(each["args"][0]["kwargs"]["n"] for each in made) == [*range(CALLS)]
                assert got == {}
            else:
                assert got == wanted(way), (kind, way)
            redis.flushdb()


@contextmanager
def served(app: App, words: list[str]) -> Iterator[Any]:
    """A server there; what asks it for many paths at once."""
    with (app.root / "log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", *words], cwd=app.root, env=app.environ, stdout=log, stderr=log
        )
    try:
        with ThreadPoolExecutor(8) as pool:

            def ask(paths: list[str]) -> None:
                answers = list(pool.map(lambda n: _asked(app.root / "s", paths[n::8]), range(8)))
                assert {text for each in answers for text in each} == {(200, b"done")}, (
                    app.root / "log"
                ).read_text()

            yield ask
    finally:
        server.terminate()
        server.wait(20)


def _asked(path: Path, urls: list[str]) -> list[tuple[int, bytes]]:
    """What the server answers, once it is there; some servers close a connection after each answer."""
    answers = []
    connection = http.client.HTTPConnection("localhost", timeout=100)
    for url in urls:
        if connection.sock is None:
            connection.sock = _connected(path)
        connection.request("POST", url)
        answer = connection.getresponse()
        answers.append((answer.status, answer.read()))
    connection.close()
    return answers


def _connected(path: Path) -> socket.socket:
    def connected() -> socket.socket | None:
        made = socket.socket(socket.AF_UNIX)
        try:
            made.connect(os.path.relpath(path))
        except OSError:
            made.close()
            return None
        return made

    made = wait_until(connected, "nothing answers")
    assert made is not None
    return made
