"""Pages in a real browser: no script of the hostile store runs, nothing is blocked that they need."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy.base import codec
from resqpy.web.app import Console
from tests.support.filled import commands
from tests.support.served import served
from tests.support.waiting import wait_for
from tests.web import hostile
from tests.web.conftest import Browser, MakeConsole, as_role
from tests.web.test_hostile import crawl
from tests.web.test_pages import entry

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PAGES = (
    "/",
    "/queues",
    "/failed",
    "/failed/entries",
    "/delayed",
    "/schedules",
    "/tasks",
    "/workers",
    "/metrics",
    "/limits?locks=1",
    "/redis",
    "/audit",
)
pytestmark = [
    pytest.mark.skipif(
        CHROMIUM is None, reason="no Chromium here (Debian: apt-get install chromium)"
    ),
]


@asynccontextmanager
async def served_at(console: Console) -> AsyncIterator[str]:
    """Its address while it is served."""
    async with served(console) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("role", ["viewer", "admin"])
async def test_chromium_runs_nothing(
    make_console: MakeConsole, redis: Redis, tmp_path: Path, role: str
) -> None:
    """Nothing of the hostile store's runs, no script or style of a page is blocked, and none raises."""
    await hostile.fill(redis)
    async with (
        served_at(make_console(authenticate=as_role(role))) as base,
        Tab.opened(tmp_path) as tab,
    ):
        for path in PAGES if role == "admin" else PAGES[:-1]:  # the audit is the administrators'
            await tab.do("Page.navigate", url=f"{base}{path}")
            there = f"location.pathname + location.search === {json.dumps(path)}"
            await tab.until(
                f"{there} && document.readyState === 'complete' && !!document.querySelector('h1')"
            )
            shown = await tab.value("document.documentElement.outerHTML")
            assert hostile.read(shown).foreign == [], path
            assert tab.complaints == [], path


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("role", ["viewer", "operator", "admin"])
async def test_chromium_runs_nothing_on_any_page(
    make_console: MakeConsole, redis: Redis, tmp_path: Path, role: str
) -> None:
    """All pages that links of the hostile store lead to, in each role."""
    await hostile.fill(redis)
    console = make_console(authenticate=as_role(role))
    async with Browser(console) as browser:
        seen = await crawl(browser)
    async with served_at(console) as base, Tab.opened(tmp_path) as tab:
        for number, path in enumerate(seen):
            if "format=csv" in path:
                continue
            await tab.do("Page.navigate", url=f"{base}{path}")
            here = "document.readyState === 'complete' && window.seen === undefined"
            await tab.until(f"{here} && !!document.querySelector('h1')")
            await tab.value(f"window.seen = {number}")
            shown = await tab.value("document.documentElement.outerHTML")
            assert hostile.read(shown).foreign == [], path[:300]
            assert tab.complaints == [], path[:300]


async def test_a_hidden_tab_asks_for_nothing(
    make_console: MakeConsole, redis: Redis, tmp_path: Path
) -> None:
    """Its stream ends, which would take one of six connections; seen again, it is current at once."""
    await redis.sadd("resque:queues", "mail")
    await redis.rpush("resque:queue:mail", "{}")
    console = make_console(authenticate=as_role("viewer"))
    waiting = "document.querySelector('#numbers dd').textContent"
    hide = "Object.defineProperty(document, 'hidden', {{ configurable: true, get: () => {0} }}); "
    tell = "document.dispatchEvent(new Event('visibilitychange'))"
    async with served_at(console) as base, Tab.opened(tmp_path) as tab:
        await tab.do("Page.navigate", url=f"{base}/")
        await tab.until(f"{waiting} === '1' && document.getElementById('live').textContent !== ''")
        assert len(console.live._watchers) == 1
        await tab.value(hide.format("true") + tell)
        await wait_for(lambda: not console.live._watchers)
        await wait_for(lambda: console.live._poll is None)
        await redis.rpush("resque:queue:mail", "{}")
        await redis.config_resetstat()
        await tab.value("window.same = true")
        assert await tab.value(waiting) == "1"
        assert await commands(redis) == 0
        await tab.value(hide.format("false") + tell)
        await tab.until(f"{waiting} === '2' && window.same === true")
        assert len(console.live._watchers) == 1
        assert tab.complaints == []


async def test_the_numbers_of_an_open_page_follow(
    make_console: MakeConsole, redis: Redis, tmp_path: Path
) -> None:
    """Without a reload, without a complaint; who has marked a text keeps it marked."""
    await redis.sadd("resque:queues", "mail")
    await redis.rpush("resque:queue:mail", "{}")
    console = make_console(authenticate=as_role("admin"))
    waiting = "document.querySelector('#numbers dd').textContent"
    async with served_at(console) as base, Tab.opened(tmp_path) as tab:
        await tab.do("Page.navigate", url=f"{base}/")
        await tab.until(f"{waiting} === '1' && document.getElementById('live').textContent !== ''")
        await tab.value("window.same = true")
        await redis.rpush("resque:queue:mail", "{}", "{}")
        await tab.until(f"{waiting} === '3' && window.same === true")
        await tab.value(
            "document.getSelection().selectAllChildren(document.querySelector('#numbers'))"
        )
        await redis.rpush("resque:queue:mail", "{}")
        await tab.until("document.querySelector('#state td.number').textContent === '4'")
        assert await tab.value(waiting) == "3"
        assert await tab.value("document.getElementById('live').textContent") == "· live"
        assert len(console.live._watchers) == 1
        await tab.do("Page.navigate", url=f"{base}/failed/entries")  # which has nothing to follow
        await wait_for(lambda: not console.live._watchers)
        assert tab.complaints == []


async def test_a_failed_job_is_edited_and_enqueued(
    make_console: MakeConsole, redis: Redis, tmp_path: Path
) -> None:
    """As a browser sends the form, at a time of its own."""
    raw = entry(1, job=b'{"class":"Ruby","queue":"mail","args":["ada"]}')
    await redis.rpush("resque:failed", entry(0), raw)
    where = f"/failed/entries/{codec.digest(raw)}?at=1"
    fill = """
        document.querySelector('[name=args]').value = '["eve"]'
        document.querySelector('[name=due]').value = '2096-10-02T07:06'
        document.querySelector('[name=old][value=remove]').checked = true
        document.querySelector('main form.fields .main').click()
    """
    console = make_console(authenticate=as_role("operator"))
    async with served_at(console) as base, Tab.opened(tmp_path) as tab:
        await tab.do("Page.navigate", url=f"{base}{where}")
        await tab.until("document.querySelector('main a[href^=\"/enqueue\"]') !== null")
        await tab.value("document.querySelector('main a[href^=\"/enqueue\"]').click()")
        await tab.until("document.querySelector('[name=due]') !== null")
        await tab.value(fill)
        await tab.until("location.search.includes('done=replaced')")
        assert tab.complaints == []
    assert await redis.lrange("resque:delayed:3999999960", 0, -1) == [
        b'{"class":"Ruby","queue":"mail","args":["eve"]}'
    ]
    assert await redis.lrange("resque:failed", 0, -1) == [entry(0)]


class Tab:
    """A tab of a browser that is told what to do over a pair of pipes.

    Attributes:
        complaints: errors and what was blocked.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: int) -> None:
        self._reader = reader
        self._writer = writer
        self._number = 0
        self._session: dict[str, str] = {}
        self.complaints: list[Any] = []

    @classmethod
    @asynccontextmanager
    async def opened(cls, profile: Path) -> AsyncIterator[Tab]:
        """A new browser with one tab."""
        ours, theirs = os.pipe(), os.pipe()  # from it, to it
        words = (
            f"exec {CHROMIUM} --headless --no-sandbox --disable-gpu --user-data-dir={profile} "
            f"--remote-debugging-pipe about:blank 3<&{theirs[0]} 4>&{ours[1]}"
        )
        process = await asyncio.create_subprocess_exec(
            "bash", "-c", words, pass_fds=(theirs[0], ours[1]),
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        os.close(theirs[0])
        os.close(ours[1])
        reader = asyncio.StreamReader(limit=2**24)
        protocol = asyncio.StreamReaderProtocol(reader)
        with os.fdopen(ours[0], "rb") as pipe:
            transport, _ = await asyncio.get_running_loop().connect_read_pipe(
                lambda: protocol, pipe
            )
            tab = cls(reader, theirs[1])
            found = await tab.do("Target.createTarget", url="about:blank")
            target = {"targetId": found["targetId"], "flatten": True}
            session = await tab.do("Target.attachToTarget", **target)
            tab._session = {"sessionId": session["sessionId"]}
            for domain in ("Page", "Runtime", "Log"):
                await tab.do(f"{domain}.enable")
            yield tab
            process.terminate()
            await process.wait()
            os.close(theirs[1])
            transport.close()

    async def do(self, method: str, **parameters: Any) -> Any:
        """What a command of the DevTools protocol answers."""
        self._number += 1
        asked = {"id": self._number, "method": method, "params": parameters, **self._session}
        os.write(self._writer, json.dumps(asked).encode() + b"\0")
        while True:
            told = json.loads((await self._reader.readuntil(b"\0"))[:-1])
            if told.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown"):
                self.complaints.append(told["params"])
            if told.get("id") == self._number:
                assert "error" not in told, told
                return told["result"]

    async def value(self, expression: str) -> Any:
        """What an expression is there."""
        found = await self.do("Runtime.evaluate", expression=expression, returnByValue=True)
        return found["result"].get("value")

    async def until(self, expression: str) -> None:
        """Wait until an expression is true there."""

        async def seen() -> bool:
            return await self.value(expression) is True

        await wait_for(seen)
