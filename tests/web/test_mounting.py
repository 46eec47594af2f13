"""The console below a path of other applications: its links stay there, and theirs are left alone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from a2wsgi import WSGIMiddleware
from fastapi import FastAPI
from flask import Flask
from redis import Redis as SyncRedis
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from resqpy.web import console as mounted
from resqpy.web.app import Console
from tests.docs.pages import DOCS, blocks
from tests.web import hostile
from tests.web.conftest import Browser, as_role
from tests.web.test_pages import JOB, QUEUE, entry, forms

SITE = Path(__file__).parents[1] / "contrib" / "django_site"


def _fastapi(jobs: Console) -> Any:
    app = FastAPI()
    app.get("/queues")(lambda: "theirs")
    app.mount("/jobs", jobs)
    return app


def _starlette(jobs: Console) -> Any:
    async def theirs(_request: object) -> PlainTextResponse:
        return PlainTextResponse("theirs")

    inner = Starlette(routes=[Mount("/jobs", jobs)])
    return Starlette(routes=[Route("/queues", theirs), Mount("/", inner)])


def _flask(jobs: Console) -> Any:
    app: Any = Flask("theirs")
    app.get("/queues")(lambda: "theirs")
    asgi: Any = WSGIMiddleware(app)
    return Starlette(routes=[Mount("/jobs", jobs), Mount("/", asgi)])


@pytest.mark.parametrize("around", [_fastapi, _starlette, _flask])
async def test_all_links_stay_below_its_path(redis: Redis, redis_url: str, around: Any) -> None:
    """Each leads to a page, each form changes what it says; the application's pages are its own."""
    await redis.sadd("resque:queues", "mail", "a/b")
    await redis.rpush(QUEUE, JOB)
    await redis.rpush("resque:failed", entry(1))
    await redis.zadd("resque:delayed_queue_schedule", {"4000000000": 4_000_000_000})
    await redis.rpush("resque:delayed:4000000000", JOB)
    jobs = mounted(redis_url, authenticate=as_role("admin"))
    waiting, seen = ["/jobs/"], dict[str, str]()
    async with Browser(around(jobs)) as browser:
        assert "theirs" in (await browser.get("/queues")).text
        while waiting:
            if (path := waiting.pop()) in seen:
                continue
            answer = await browser.get(path)
            assert answer.status_code == 200, (path, answer.text[-500:])
            seen[path] = answer.text
            page = hostile.read(answer.text)
            assert [
                each for each in page.links + page.forms if not each.startswith(("/jobs/", "#"))
            ] == []
            waiting += [each for each in page.links if not each.startswith("#")]
        css = re.findall(r'href="([^"]+\.css)"', seen["/jobs/"])
        assert (await browser.get(css[0])).headers["content-type"].startswith("text/css")
        action, fields = forms(seen["/jobs/queues/mail"], "/remove")[0]
        answer = await browser.post(action, data=fields)
        assert answer.headers["location"] == "/jobs/queues/mail?done=removed&n=1"
        assert (await browser.get("/jobs/api/v1/queues")).json()["data"][1]["waiting"] == 0
    await jobs.close()
    assert {"/jobs/queues/~YS9i", "/jobs/failed/entries", "/jobs/delayed", "/jobs/audit"} <= {*seen}


# -- Django, as the page says it --

SETTINGS = """
INSTALLED_APPS += ["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions"]
ROOT_URLCONF = "urls"
ALLOWED_HOSTS = ["*"]
"""
URLS = """
from django.http import HttpResponse
from django.urls import path
urlpatterns = [path("queues", lambda request: HttpResponse("theirs"))]
"""
PEOPLE = """
import django; django.setup()
from importlib import import_module
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
for name, more in (("guest", {}), ("ann", {"is_staff": True}), ("eve", {"is_staff": True, "is_superuser": True})):
    user, session = User.objects.create_user(name, password="x", **more), SessionStore()
    session[SESSION_KEY], session[BACKEND_SESSION_KEY] = str(user.pk), settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    print(session.session_key)
"""


@pytest.fixture
def site(tmp_path: Path, redis_url: str) -> tuple[Path, dict[str, str]]:
    """A project of Django's with the asgi.py of the page, and the environment of its programs."""
    root = Path(shutil.copytree(SITE, tmp_path / "site"))
    with (root / "config" / "settings.py").open("a") as settings:
        settings.write(SETTINGS)
    (root / "urls.py").write_text(URLS)
    code = [
        each.code
        for each in blocks(DOCS / "how-to" / "mount-console.md")
        if "get_asgi" in each.code
    ]
    (root / "asgi.py").write_text(code[0])
    kept = {
        name: text for name, text in os.environ.items() if not name.startswith(("RESQPY", "REDIS"))
    }
    database, settings_module = str(root / "db.sqlite3"), "config.settings"
    own = {
        "SITE_REDIS": redis_url,
        "SITE_DATABASE": database,
        "DJANGO_SETTINGS_MODULE": settings_module,
    }
    return root, {**kept, **own}


def run(site: tuple[Path, dict[str, str]], *words: str) -> str:
    """What a program there prints."""
    root, environ = site
    done = subprocess.run(
        [sys.executable, *words], cwd=root, env=environ, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def served(site: tuple[Path, dict[str, str]]) -> Iterator[str]:
    """Its address while uvicorn serves it."""
    root, environ = site
    words = [sys.executable, "-m", "uvicorn", "asgi:application", "--port", "0"]
    server = subprocess.Popen(words, cwd=root, env=environ, stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    try:
        lines = list[str]()
        for line in server.stderr:
            lines.append(line)
            if found := re.search(r"running on (http://127\.0\.0\.1:\d+)", line):
                yield found[1]
                return
        raise AssertionError("".join(lines))
    finally:
        server.terminate()
        server.communicate(timeout=60)


def test_django_serves_it_to_its_staff(site: tuple[Path, dict[str, str]]) -> None:
    """By its own sessions, on the Redis of its settings; beside its own pages."""
    with SyncRedis.from_url(site[1]["SITE_REDIS"]) as client:
        client.sadd("resque:queues", "parcels")
    run(site, "manage.py", "migrate", "--run-syncdb", "--verbosity", "0")
    guest, ann, eve = run(site, "-c", PEOPLE).split()
    with served(site) as base, httpx2.Client(base_url=base) as browser:
        assert browser.get("/queues").text == "theirs"
        statuses = [
            browser.get(path, headers={"cookie": f"sessionid={key}"}).status_code
            for path in ("/jobs/", "/jobs/audit")
            for key in ("forged", guest, ann, eve)
        ]
        assert statuses == [401, 401, 200, 200, 401, 401, 403, 200]
        page = browser.get("/jobs/", headers={"cookie": f"sessionid={ann}"}).text
        assert "ann" in page
        assert 'href="/jobs/queues/parcels"' in page
