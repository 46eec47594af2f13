"""The console on the test's Redis, and browsers that use it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest
from redis.asyncio import Redis

from resqpy.store.connection.options import RedisOptions
from resqpy.web import app, remembering
from resqpy.web.access import Access
from resqpy.web.app import Console, ConsoleOptions
from resqpy.web.pages import bulk
from tests.support.waiting import PATIENCE_S
from tests.web.asking import ApiClient

BASE = "http://localhost:8937"


class Browser(httpx2.AsyncClient):
    """A client that sends what a browser sends along with a page's own forms.

    Args:
        shares: gets pages that others have read a moment ago; else each page is read anew, since tests change
            Redis behind the console's back.
    """

    def __init__(self, served: Any, base: str = BASE, *, shares: bool = False, **more: Any) -> None:
        super().__init__(
            transport=httpx2.ASGITransport(app=served),
            base_url=base,
            headers={"sec-fetch-site": "same-origin"},
            **more,
        )
        self._console = served if isinstance(served, Console) and not shares else None
        self.event_hooks = {"request": [self._anew]}

    async def _anew(self, _request: httpx2.Request) -> None:
        if self._console is not None:
            self._console.pages.forget()
            self._console.everything.forget()

    async def sign_in(self, console: Console, role: str = "admin") -> None:
        """Open a one-time link and press its button."""
        await console.open()
        assert console.sessions is not None
        code = await console.sessions.new_link(role)
        answer = await self.post("/login", data={"code": code})
        assert answer.status_code == 303


MakeConsole = Callable[..., Console]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is waited for a moment is waited for, however busy the machine is."""
    monkeypatch.setattr(bulk, "_QUICK_S", PATIENCE_S)
    monkeypatch.setattr(remembering, "_PATIENCE_S", PATIENCE_S)


@pytest.fixture(autouse=True)
def _no_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """A console notes once a minute how long queues are: not while a test looks at what is there."""
    monkeypatch.setattr(app, "_until_sample_s", lambda: 3600.0)


@pytest.fixture
async def make_console(redis: Redis, redis_url: str) -> AsyncIterator[MakeConsole]:
    """Make a console; it is closed with the test."""
    made: list[Console] = []

    def make(**options: Any) -> Console:
        calm = RedisOptions(redis_url, connect_timeout_s=PATIENCE_S, reply_timeout_s=PATIENCE_S)
        console = Console(lambda: calm, ConsoleOptions(**options))
        made.append(console)
        return console

    yield make
    for each in made:
        await each.close()


@pytest.fixture
def console(make_console: MakeConsole) -> Console:
    """A console with sessions of its own."""
    return make_console()


@pytest.fixture
async def browser(console: Console) -> AsyncIterator[Browser]:
    """Nobody who has signed in."""
    async with Browser(console) as client:
        yield client


@pytest.fixture
async def admin(console: Console) -> AsyncIterator[Browser]:
    """An admin who has signed in."""
    async with Browser(console) as client:
        await client.sign_in(console)
        yield client


@pytest.fixture
async def api(console: Console) -> ApiClient:
    """The API of a console."""
    await console.open()
    return ApiClient(console)


def as_role(role: str) -> Callable[[Any], Access]:
    """What the application says: everybody has this role."""
    return lambda _request: Access("ann", role)


def text_of(raw: bytes | str) -> str:
    """What Redis has sent, as text."""
    return raw.decode() if isinstance(raw, bytes) else raw
