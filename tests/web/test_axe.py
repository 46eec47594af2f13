"""Each page in a real browser, looked at by axe: nothing keeps out who reads with ears, keys or a small screen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy import task
from resqpy.base import codec
from resqpy.engine.worker.identity import life, worker_id
from resqpy.framework.project.registry import registry_of
from resqpy.store import workers
from resqpy.tracked.verbs import Tracked
from resqpy.web.app import Console
from resqpy.web.signin import keep_user
from tests.support.source import ROOT
from tests.web import hostile
from tests.web.conftest import MakeConsole
from tests.web.test_chromium import PAGES, Tab, pytestmark as in_chromium, served_at
from tests.web.test_pages import entry

AXE = ROOT / "tests" / "interop" / "node" / "node_modules" / "axe-core" / "axe.min.js"
pytestmark = [
    pytest.mark.full,
    *in_chromium,
    pytest.mark.skipif(not AXE.exists(), reason="no axe-core here (npm ci in tests/interop/node)"),
]


@task(name="mail")
def mail(to: str, times: int = 3, *, to_all: list[str] | None = None, urgent: bool = False) -> None:
    """Send a mail."""


async def fill(console: Console, redis: Redis) -> list[str]:
    """Work for each page; the pages."""
    await hostile.fill(redis)
    await redis.delete("resque:failed_queues")
    await redis.sadd("resque:queues", "mails")
    await redis.rpush("resque:queue:mails", *[b'{"class":"mail","args":[{"to":"a"}]}'] * 60)
    raw = entry(1, job=b'{"class":"mail","queue":"mails","args":[{"to":"a"}]}')
    await redis.rpush("resque:failed", raw)
    digest = codec.digest(raw)
    await console.open()
    store = console.resque.store
    found = await Tracked(store).create("mail", {"to": "a"}, tags=["x"])
    assert found is not None
    await console.resque.limit_running("mails", 3)
    await console.resque.set_limit("mail", 2, task="mail")
    await console.resque.shut_limit("mail", 60_000)
    await redis.zadd("resque:resqpy:limits:parked", {"mail\nmails": 1})
    await redis.rpush("resque:resqpy:limits:jobs:4:mail:mails", b"{}")
    ids = [worker_id(n, "app1", "*", "app-1") for n in range(1, 3)]
    await workers.register(store, "app1", ids, "2026-11-30T00:00:00Z", life=life(2, "*", "app-1"))
    await redis.zadd("resque:resqpy:processes", {"app1": 1_790_000_000})
    await keep_user(store, "eve", "operator", "correct horse")
    return [
        *PAGES,
        "/queues/mails", "/queues/mails/delete", "/enqueue", "/enqueue?task=mail",
        f"/enqueue?failed={digest}", f"/failed/entries/{digest}", "/failed/bulk?verb=retry&class=mail",
        "/failed/runs", f"/failed/runs/{'1' * 22}", "/delayed/4000000000", f"/tasks/{found.id}",
        "/failed/entries?class=mail", "/failed/entries?class=none", "/queues?q=none", "/tasks?status=failed",
        "/limits/queue/mails", "/limits/task/mail", "/limits/put_back/mails",
        "/limits/put_back", "/workers/processes/app1", "/metrics",
        "/metrics?period=8h", "/access", "/login", "/login?code=x", "/nothing",
    ]  # fmt: skip


@pytest.mark.timeout(300)
async def test_axe_finds_nothing(make_console: MakeConsole, redis: Redis, tmp_path: Path) -> None:
    """On all pages, light and dark, at the width of a phone and of a screen; none is wider than its window."""
    console = make_console(registry=registry_of(mail), environment="production")
    pages = await fill(console, redis)
    assert console.sessions is not None
    code = await console.sessions.new_link("admin")
    wrong: list[str] = []
    async with served_at(console) as base, Tab.opened(tmp_path) as tab:
        await tab.do("Page.navigate", url=f"{base}/login?code={code}")
        await tab.until("document.querySelector('main form button') !== null")
        await tab.value("document.querySelector('main form button').click()")
        await tab.until("document.querySelector('nav.pages') !== null")
        for theme in ("light", "dark"):
            scheme = [{"name": "prefers-color-scheme", "value": theme}]
            await tab.do("Emulation.setEmulatedMedia", features=scheme)
            for width in (320, 1280):
                await tab.do("Emulation.setDeviceMetricsOverride", width=width, height=800,
                             deviceScaleFactor=1, mobile=width < 500)  # fmt: skip
                for page in pages:
                    wrong += [
                        f"{page} {theme} {width}: {each}"
                        for each in await look(tab, f"{base}{page}", width)
                    ]
    assert wrong == []


async def look(tab: Tab, url: str, width: int) -> list[str]:
    """What axe finds on a page."""
    await tab.do("Page.navigate", url=url)
    await tab.until(f"location.href === {json.dumps(url)} && document.readyState === 'complete'")
    await tab.value(AXE.read_text())
    found = await tab.do(
        "Runtime.evaluate", expression="axe.run().then((found) => JSON.stringify(found.violations))",
        awaitPromise=True, returnByValue=True,
    )  # fmt: skip
    violations: list[Any] = json.loads(found["result"]["value"])
    wide = await tab.value("document.documentElement.scrollWidth")
    told = [
        f"{each['id']}: {each['nodes'][0]['html'][:200]} {each['nodes'][0]['failureSummary']}"
        for each in violations
    ]
    return told + ([f"it is {wide} wide"] if wide > width else [])
