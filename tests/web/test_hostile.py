"""Texts from Redis on the pages: nothing breaks out, nothing breaks, and looking changes nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from redis.asyncio import Redis

import resqpy.web
from tests.web import hostile
from tests.web.asking import ApiClient
from tests.web.conftest import Browser, MakeConsole, as_role
from tests.web.test_api_reads import READS

TEMPLATES = sorted((Path(resqpy.web.__file__).parent / "templates").glob("*.html"))
_MOST = 600  # pages of one crawl


async def crawl(browser: Browser) -> dict[str, str]:
    """All pages that links lead to, by their path."""
    waiting, seen = ["/"], dict[str, str]()
    while waiting and len(seen) < _MOST:
        path = waiting.pop(0)
        if path in seen:
            continue
        answer = await browser.get(path)
        assert answer.status_code < 400, (answer.status_code, path[:300], answer.text[-600:])
        seen[path] = answer.text
        if answer.headers["content-type"] == "text/csv; charset=utf-8":
            assert answer.headers["content-disposition"].startswith("attachment; ")
            continue
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        reader = hostile.read(answer.text)
        assert reader.foreign == [], path[:300]
        waiting += [each for each in reader.links if not each.startswith("#")]
    return seen


@pytest.mark.parametrize("role", ["viewer", "operator", "admin"])
async def test_nothing_breaks_out(make_console: MakeConsole, redis: Redis, role: str) -> None:
    """On any page, for any role; and no look changes a byte in Redis."""
    await hostile.fill(redis)
    before = await hostile.dump(redis)
    console = make_console(authenticate=as_role(role))
    async with Browser(console) as browser:
        seen = await crawl(browser)

    assert {
        "/",
        "/queues",
        "/failed",
        "/delayed",
        "/schedules",
        "/tasks",
        "/workers",
        "/metrics",
        "/limits",
        "/redis",
    } <= set(seen)
    assert ("/limits?locks=1" in seen) == (role != "viewer")
    assert len(seen) > 60
    assert await hostile.dump(redis) == before
    for path, text in seen.items():
        assert "canary-1" not in text, path[:200]
        assert "\u202e" not in text, path[:200]
        assert len(text) < 1_500_000, path[:200]
    assert "{{ 7 * 7 }}" in seen["/queues"]
    assert "\\u202egnp.exe" in seen["/queues"]


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_templates_are_plain(path: Path) -> None:
    """No way round the escaping, no attribute without quotes, nothing that the CSP would block."""
    text = path.read_text()
    bad = r"\|\s*safe|Markup|\bstyle=|\son\w+=|=\{\{|javascript:|<script(?![^>]* src=)|autoescape"

    assert re.findall(bad, text) == []


@pytest.mark.parametrize("path", READS)
async def test_the_api_answers_all_the_same(api: ApiClient, redis: Redis, path: str) -> None:
    """With JSON that can be read."""
    await hostile.fill(redis)
    answer = await api(f"GET {path}")
    assert answer.status in (200, 404), answer.content[-600:]
    assert isinstance(answer.json, dict)


def test_the_script_is_small_and_plain() -> None:
    """It makes no code of texts, and writes none of them as HTML."""
    script = (TEMPLATES[0].parents[1] / "static" / "console.js").read_text()
    assert len(script.splitlines()) <= 200
    assert (
        re.findall(r"innerHTML|outerHTML|document\.write|eval|Function\(|insertAdjacent", script)
        == []
    )


async def test_names_in_paths(make_console: MakeConsole, redis: Redis) -> None:
    """Whatever bytes a queue's name has, its page is found."""
    names = [b"a/b", b"..", b"", b"\xff\xfe", b"~x", b"%41", b"a?b#c", "ä".encode(), b"x" * 10_000]
    await redis.sadd("resque:queues", *names)
    async with Browser(make_console(authenticate=as_role("viewer"))) as browser:
        links = {each for each in hostile.read((await browser.get("/queues")).text).links
                 if each.startswith("/queues/")}  # fmt: skip
        assert len(links) == len(names)
        for each in links:
            assert (await browser.get(each)).status_code == 200
        assert (await browser.get("/queues/~***")).status_code == 404


async def test_numbers_in_queries(make_console: MakeConsole) -> None:
    """What is no number, or out of range, is refused; nothing is guessed."""
    async with Browser(make_console(authenticate=as_role("admin"))) as browser:
        for query in ("-1", "1e9", "x", "9" * 30, "١"):
            assert (await browser.get(f"/queues?from={query}")).status_code == 400
        for cursor in ("x", "²", "²." + "0" * 40):
            assert (await browser.get(f"/failed/entries?before={cursor}")).status_code == 200
        for cursor in ("x", "١-١"):
            assert (await browser.get(f"/audit?before={cursor}")).status_code == 400
        assert (await browser.get("/tasks?cursor=x")).status_code == 400
        assert (await browser.get("/tasks?status=x")).status_code == 400
