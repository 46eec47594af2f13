"""Each path of the pages and each role, in one table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from resqpy.web.pages.area import PAGES
from tests.web.conftest import Browser, MakeConsole, as_role
from tests.web.test_chromium import PAGES as CHROMIUM_PAGES

ANYBODY, VIEWER, OPERATOR, ADMIN = "anybody", "viewer", "operator", "admin"
ROLES = [ANYBODY, VIEWER, OPERATOR, ADMIN]

# Who may, at least. A new path fails the test until it is here.
TABLE = {
    "GET /healthz": ANYBODY,
    "GET /static/{version}/{name}": ANYBODY,
    "GET /login": ANYBODY,
    "POST /login": ANYBODY,
    "POST /logout": ANYBODY,
    "GET /": VIEWER,
    "GET /queues": VIEWER,
    "GET /queues/{name}": VIEWER,
    "POST /queues/{name}/pause": OPERATOR,
    "POST /queues/{name}/resume": OPERATOR,
    "POST /queues/{name}/jobs/{digest}/remove": OPERATOR,
    "GET /queues/{name}/delete": ADMIN,
    "POST /queues/{name}/delete": ADMIN,
    "GET /enqueue": OPERATOR,
    "POST /enqueue": OPERATOR,
    "GET /failed": VIEWER,
    "GET /failed/bulk": OPERATOR,
    "POST /failed/bulk": OPERATOR,
    "GET /failed/runs": VIEWER,
    "GET /failed/runs/{run}": VIEWER,
    "POST /failed/runs/{run}/cancel": OPERATOR,
    "POST /failed/runs/{run}/go_on": OPERATOR,
    "POST /failed/undo/{undo}": OPERATOR,
    "GET /failed/entries": VIEWER,
    "GET /failed/entries/{digest}": VIEWER,
    "POST /failed/entries/{digest}/retry": OPERATOR,
    "POST /failed/entries/{digest}/remove": OPERATOR,
    "GET /delayed": VIEWER,
    "GET /delayed/{second}": VIEWER,
    "POST /delayed/{second}/{digest}/run": OPERATOR,
    "POST /delayed/{second}/{digest}/remove": OPERATOR,
    "GET /schedules": VIEWER,
    "POST /schedules/{name}/run": OPERATOR,
    "POST /schedules/{name}/pause": OPERATOR,
    "POST /schedules/{name}/resume": OPERATOR,
    "GET /tasks": VIEWER,
    "GET /tasks/{id}": VIEWER,
    "POST /tasks/{id}/{verb}": OPERATOR,
    "GET /workers": VIEWER,
    "POST /workers/pause": OPERATOR,
    "POST /workers/resume": OPERATOR,
    "GET /workers/processes/{id}": ADMIN,
    "POST /workers/processes/{id}/{verb}": ADMIN,
    "POST /workers/{id}/remove": OPERATOR,
    "POST /workers/{id}/cancel": OPERATOR,
    "GET /limits": VIEWER,
    "GET /limits/{of}/{name}": OPERATOR,
    "GET /limits/put_back": OPERATOR,
    "GET /limits/put_back/{name}": OPERATOR,
    "POST /limits/put_back": OPERATOR,
    "POST /limits/put_back/{name}": OPERATOR,
    "POST /limits/{verb}": OPERATOR,
    "POST /limits/locks/{id}/free": OPERATOR,
    "GET /redis": VIEWER,
    "GET /metrics": VIEWER,
    "GET /audit": ADMIN,
    "GET /access": ADMIN,
    "POST /access/{kind}/make": ADMIN,
    "POST /access/{kind}/{id}/revoke": ADMIN,
}
FILLED = {"{name}": "x", "{digest}": "0" * 40, "{second}": "4000000000", "{id}": "x", "{verb}": "cancel",
          "{undo}": "x", "{run}": "x", "{kind}": "users", "{of}": "task", "{version}": "x"}  # fmt: skip


def test_the_table_has_each_path() -> None:
    """And no other."""
    assert {f"{each.method} {each.path}" for each in PAGES.endpoints} == set(TABLE)


def test_axe_looks_at_each_page() -> None:
    """A new one fails this until it is in the list of `test_axe.py`, or of the pages for Chromium."""
    source = (Path(__file__).parent / "test_axe.py").read_text()
    shown = {each.partition("?")[0] for each in CHROMIUM_PAGES}
    paths = {
        re.sub(r"\{[^}]*\}.*", "", each.split()[1]) for each in TABLE if each.startswith("GET")
    }
    left = {each for each in paths - shown if f'"{each}' not in source}
    assert left == {"/healthz", "/static/"}


@pytest.mark.parametrize("role", ROLES)
async def test_who_may_do_what(make_console: MakeConsole, role: str) -> None:
    """Others are refused before anything is read."""
    rule = as_role(role) if role != ANYBODY else (lambda _request: None)
    refused = 401 if role == ANYBODY else 403
    async with Browser(make_console(authenticate=rule)) as browser:
        for line, least in TABLE.items():
            method, path = line.split()
            for part, value in FILLED.items():
                path = path.replace(part, value)
            answer = await browser.request(method, path, data={} if method == "POST" else None)
            may = ROLES.index(role) >= ROLES.index(least)
            assert (answer.status_code != refused) == may, (line, answer.status_code)
            assert answer.status_code < 500, (line, answer.text[-500:])


@pytest.mark.parametrize("line", [each for each in TABLE if each.startswith("POST")])
async def test_no_change_by_get(make_console: MakeConsole, line: str) -> None:
    """A link never changes anything."""
    path = line.split()[1]
    for part, value in FILLED.items():
        path = path.replace(part, value)
    async with Browser(make_console(authenticate=as_role("admin"))) as browser:
        also_page = f"GET {line.split()[1]}" in TABLE
        assert (await browser.get(path)).status_code in (
            (200, 400, 404) if also_page else (404, 405)
        )


@pytest.mark.parametrize("line", [each for each in TABLE if each.startswith("POST")])
async def test_a_read_only_console_changes_nothing(make_console: MakeConsole, line: str) -> None:
    """Not even for an admin."""
    path = line.split()[1]
    for part, value in FILLED.items():
        path = path.replace(part, value)
    async with Browser(make_console(authenticate=as_role("admin"), read_only=True)) as browser:
        answer = await browser.post(path, data={})
        assert answer.status_code == (404 if path in ("/login", "/logout") else 403)
