"""Who may come in, how, and from where."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest
from redis.asyncio import Redis
from starlette.requests import Request

from resqpy.base.errors import UsageError
from resqpy.store.connection.client import Store
from resqpy.store.connection.options import RedisOptions
from resqpy.web import Access, console as mounted, tokens
from resqpy.web.app import Console
from resqpy.web.signin import keep_user, remove_user
from tests.web.conftest import BASE, Browser, MakeConsole, as_role, text_of


async def test_nobody_gets_in_without_signing_in(browser: Browser) -> None:
    """Each page leads to the sign-in; what is open has no data."""
    page = await browser.get("/")
    assert (page.status_code, page.headers["location"]) == (303, "/login")
    assert (await browser.get("/login")).status_code == 200
    assert (await browser.get("/healthz")).text == "ok\n"
    assert (await browser.get("/nothing")).status_code == 404


async def test_a_link_opens_once(console: Console, browser: Browser, redis: Redis) -> None:
    """By a POST: a preview of it does not spend it. Redis has neither its code nor the session's secret."""
    await console.open()
    assert console.sessions is not None
    code = await console.sessions.new_link("operator")
    for method in ("GET", "HEAD", "GET"):
        await browser.request(method, f"/login?code={code}")

    answers = await asyncio.gather(
        *(Browser(console).post("/login", data={"code": code}) for _ in range(5))
    )

    assert sorted(each.status_code for each in answers) == [303, 403, 403, 403, 403]
    [opened] = [each for each in answers if each.status_code == 303]
    secret = opened.cookies["resqpy_8937"]
    keys = sorted(map(text_of, await redis.keys("resque:resqpy:web:[ls]*")))
    assert keys == [f"resque:resqpy:web:session:{hashlib.sha256(secret.encode()).hexdigest()}"]
    assert 0 < await redis.ttl(keys[0]) <= 12 * 3600
    set_cookie = opened.headers["set-cookie"].lower()
    assert "httponly" in set_cookie
    assert "samesite=strict" in set_cookie


async def test_a_link_ends(console: Console, browser: Browser, redis: Redis) -> None:
    """After ten minutes."""
    await console.open()
    assert console.sessions is not None
    await console.sessions.new_link("admin")
    [key] = await redis.keys("resque:resqpy:web:link:*")
    assert 0 < await redis.ttl(key) <= 600
    with pytest.raises(UsageError, match="'admin'"):
        await console.sessions.new_link("admn")


async def test_signing_out_ends_the_session(admin: Browser) -> None:
    """In Redis too: the cookie of before opens nothing."""
    cookies = dict(admin.cookies)
    assert (await admin.get("/")).status_code == 200
    await admin.post("/logout")
    admin.cookies.update(cookies)
    assert (await admin.get("/")).status_code == 303


async def test_users_sign_in_with_a_password(
    console: Console, browser: Browser, redis_url: str, redis: Redis
) -> None:
    """The role is that of now, and a removed user is out at once."""
    store = Store(RedisOptions(redis_url))
    assert await keep_user(store, "ann", "viewer", "correct horse")
    assert b"correct horse" not in (await redis.hgetall("resque:resqpy:web:users"))[b"ann"]
    wrong = await browser.post("/login", data={"who": "ann", "password": "wrong"})
    unknown = await browser.post("/login", data={"who": "bob", "password": "correct horse"})
    assert (wrong.status_code, unknown.status_code) == (403, 403)

    right = await browser.post("/login", data={"who": "ann", "password": "correct horse"})
    assert right.status_code == 303
    assert "viewer" in (await browser.get("/")).text
    assert not await keep_user(store, "ann", "operator", "correct horse")
    assert "operator" in (await browser.get("/")).text
    assert await remove_user(store, "ann")
    assert (await browser.get("/")).status_code == 303
    await store.close()


async def test_a_new_password_ends_the_sessions_of_before(
    console: Console, browser: Browser, redis_url: str, redis: Redis
) -> None:
    """As does a removal, also if the name is given again; what is over is not kept any longer."""
    store = Store(RedisOptions(redis_url))
    given = {"who": "ann", "password": "correct horse"}
    await keep_user(store, "ann", "viewer", given["password"])
    await browser.post("/login", data=given)
    assert (await browser.get("/")).status_code == 200
    await keep_user(store, "ann", "viewer", "another horse")
    assert (await browser.get("/")).status_code == 303
    assert await redis.keys("resque:resqpy:web:session:*") == []

    given["password"] = "another horse"
    await browser.post("/login", data=given)
    await remove_user(store, "ann")
    await keep_user(store, "ann", "admin", "another horse")
    assert (await browser.get("/")).status_code == 303
    await browser.post("/login", data=given)
    await remove_user(store, "ann")
    assert (await browser.get("/")).status_code == 303
    assert await redis.keys("resque:resqpy:web:session:*") == []
    await store.close()


async def test_who_guesses_many_at_once_is_slowed_down(
    console: Console, browser: Browser, redis_url: str
) -> None:
    """Each attempt counts from its beginning; those that succeed do not."""
    store = Store(RedisOptions(redis_url))
    await keep_user(store, "ann", "viewer", "correct horse")
    given = {"who": "ann", "password": "correct horse"}
    for _ in range(12):
        assert (await browser.post("/login", data=given)).status_code == 303

    answers = await asyncio.gather(
        *(browser.post("/login", data={**given, "password": f"guess {n}"}) for n in range(30)),
        *(browser.post("/login", data={"code": f"guess {n}"}) for n in range(30)),
    )

    assert sorted(each.status_code for each in answers) == [403] * 10 + [429] * 50
    assert (await browser.post("/login", data=given)).status_code == 429
    await store.close()


async def test_a_redis_that_is_away_is_no_guess(browser: Browser, console: Console) -> None:
    """Who asks again meanwhile is not refused afterwards."""
    await console.open()
    there, console._resque = console._resque, None
    console._connection = lambda: RedisOptions("unix:///nowhere/redis.sock")
    console.sessions = None
    for _ in range(12):
        answer = await browser.post("/login", data={"who": "ann", "password": "x"})
        assert answer.status_code == 503
    assert there is not None
    await there.close()


async def test_who_guesses_is_slowed_down(browser: Browser) -> None:
    """Ten failures a minute from one address."""
    answers = [await browser.post("/login", data={"code": "guess"}) for _ in range(11)]
    assert [each.status_code for each in answers] == [403] * 10 + [429]
    assert answers[-1].headers["retry-after"] == "60"


# As Chromium sends them: Sec-Fetch-Site, Origin, Host, and whether a change is made.
ORIGINS = [
    ("same-origin", BASE, "localhost:8937", True),
    (None, BASE, "localhost:8937", True),  # plain http, not loopback
    (None, "http://evil.test", "localhost:8937", False),
    ("cross-site", "http://evil.test", "localhost:8937", False),
    ("same-site", "http://localhost:8942", "localhost:8937", False),  # the cookie is sent
    ("none", None, "localhost:8937", False),
    (None, None, "localhost:8937", False),
    (None, "null", "localhost:8937", False),
]


@pytest.mark.parametrize(("site", "origin", "host", "may"), ORIGINS)
async def test_only_our_own_pages_change_something(
    console: Console, site: str | None, origin: str | None, host: str, *, may: bool
) -> None:
    """Signing out stands for all changes: the check is made before any."""
    async with Browser(console) as browser:
        await browser.sign_in(console)
        del browser.headers["sec-fetch-site"]
        given = {"sec-fetch-site": site, "origin": origin, "host": host}
        headers = {name: value for name, value in given.items() if value is not None}

        assert (await browser.post("/logout", headers=headers)).status_code == (303 if may else 403)
        assert (await browser.get("/")).status_code == (303 if may else 200)


@pytest.mark.parametrize("host", ["evil.test", "evil.test:8937", "", "localhost.evil.test"])
async def test_another_host_is_refused(browser: Browser, host: str) -> None:
    """A foreign name that leads here (DNS rebinding)."""
    assert (await browser.get("/login", headers={"host": host})).status_code == 421


async def test_each_answer_has_the_headers(browser: Browser) -> None:
    """Also one that refuses."""
    for path in ("/", "/login", "/nothing", "/healthz"):
        headers = (await browser.get(path)).headers
        assert headers["content-security-policy"].startswith(
            "default-src 'none'; script-src 'self'"
        )
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
    assert (await browser.get("/login")).headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("host", ["[::1]", "[::1]:8937", "localhost", "127.0.0.1:80"])
async def test_a_session_at_any_address(console: Console, host: str) -> None:
    """Also where there is no port, or an address of IPv6."""
    async with Browser(console, f"http://{host}") as browser:
        await browser.sign_in(console)
        assert (await browser.get("/")).status_code == 200


# -- mounted in an application --


def test_a_mounted_console_needs_a_rule(redis_url: str) -> None:
    """There is no default that opens."""
    with pytest.raises(UsageError, match="authenticate"):
        mounted(redis_url, authenticate=None)  # type: ignore[arg-type]  # the mistake


async def test_the_application_says_who_asks(make_console: MakeConsole) -> None:
    """None is nobody; there are no sessions of the console's own."""
    for rule, status in [(as_role("viewer"), 200), (lambda _request: None, 401)]:
        async with Browser(make_console(authenticate=rule)) as browser:
            assert (await browser.get("/")).status_code == status
            assert (await browser.get("/login")).status_code == 404


async def test_the_application_has_bearer_tokens_of_its_own(
    make_console: MakeConsole, redis_url: str
) -> None:
    """Those of the console begin with `rsq_`; all others are the application's to judge."""
    asked: list[str] = []

    def rule(request: Request) -> Access | None:
        asked.append(request.headers.get("authorization", ""))
        return Access("ann", "operator") if asked[-1] == "Bearer ey.a.b" else None

    console = make_console(authenticate=rule)
    async with Browser(console) as browser:
        del browser.headers["sec-fetch-site"]
        theirs = {"authorization": "Bearer ey.a.b"}
        assert (await browser.get("/", headers=theirs)).status_code == 200
        changed = await browser.post("/api/v1/queues/mail/pause", json={}, headers=theirs)
        assert changed.status_code == 200
        assert (await browser.get("/", headers={"authorization": "Bearer ey"})).status_code == 401
        assert asked == ["Bearer ey.a.b", "Bearer ey.a.b", "Bearer ey"]

        made, _ = await tokens.create(console.resque.store, "program", ["read"])
        for token, status in ((made, 200), (made + "x", 401)):
            answer = await browser.get("/", headers={"authorization": f"Bearer {token}"})
            assert answer.status_code == status
        assert len(asked) == 3


async def test_it_looks_where_the_projects_scheduler_does(
    redis: Redis, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its prefix of Ruby's leader lock, on pages and in the API."""
    monkeypatch.setenv("RESQPY_REDIS_URL", redis_url)
    (tmp_path / "config").mkdir()
    code = "def default():\n    return {'ruby_lock_prefix': 'blue'}\n"
    (tmp_path / "config" / "scheduler.py").write_text(code)
    await redis.set("resque:resque:blue:resque_scheduler_master_lock", "ruby-box:1")
    console = mounted(authenticate=as_role("admin"), root=tmp_path)
    async with Browser(console) as browser:
        for path in ("/", "/workers", "/api/v1/overview"):
            assert "ruby-box:1" in (await browser.get(path)).text, path
        assert (await browser.get("/api/v1/health")).json()["has_leader"]
    await console.close()


async def test_an_async_rule(make_console: MakeConsole) -> None:
    """It may ask a database."""

    async def rule(request: object) -> Access | None:
        return Access("eve", "admin")

    async with Browser(make_console(authenticate=rule)) as browser:
        assert "eve" in (await browser.get("/")).text


@pytest.mark.parametrize("path", ["/", "/corp/"])
async def test_behind_a_proxy_with_a_prefix(make_console: MakeConsole, path: str) -> None:
    """Whether it takes the prefix off or not, the links have it."""
    console = make_console(authenticate=as_role("viewer"), root_path="/corp")
    async with Browser(console) as browser:
        page = await browser.get(path)
        assert page.status_code == 200
        assert 'href="/corp/static/' in page.text
        assert 'href="/"' not in page.text


async def test_a_read_only_console_writes_nothing(make_console: MakeConsole, redis: Redis) -> None:
    """Its sessions are in its own memory."""
    console = make_console(read_only=True)
    async with Browser(console) as browser:
        await browser.sign_in(console)
        assert (await browser.get("/")).status_code == 200
        await browser.post("/logout")
        assert (await browser.get("/")).status_code == 303
    assert await redis.keys("*") == []


def test_what_a_role_may() -> None:
    """A scope includes those below it; a token has its own."""
    assert not Access("a", "viewer").allows("operate")
    assert Access("a", "operator").allows("tasks:create:Mail")
    assert not Access("a", "operator").allows("admin")
    narrow = Access("t", "admin", frozenset({"tasks:create:Mail"}), by="token")
    assert narrow.allows("tasks:create:Mail")
    assert not narrow.allows("tasks:create")
    with pytest.raises(UsageError, match="'viewer'"):
        Access("a", "vewer")
