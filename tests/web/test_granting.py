"""Who has access, and how it is taken away."""

from __future__ import annotations

import json
import re
from typing import Any

from redis.asyncio import Redis

from resqpy.store.connection.client import Store
from resqpy.store.connection.options import RedisOptions
from resqpy.web import tokens
from resqpy.web.app import Console
from resqpy.web.signin import keep_user
from tests.web import hostile
from tests.web.conftest import Browser, MakeConsole, as_role, text_of
from tests.web.test_pages import audit, forms, words


def revokes(page: str, kind: str) -> list[str]:
    """Where the buttons of a kind lead."""
    return [action for action, _ in forms(page, "/revoke") if f"/access/{kind}/" in action]


async def test_everything_that_gives_access(
    console: Console, admin: Browser, redis: Redis, redis_url: str
) -> None:
    """Who, what they may, since when, when last; no secret."""
    assert console.sessions is not None
    store = Store(RedisOptions(redis_url))
    await keep_user(store, "eve", "operator", "correct horse")
    secret, _ = await tokens.create(store, "shop", ["read"], for_ms=86_400_000)
    code = await console.sessions.new_link("viewer")
    await Browser(console).post("/login", data={"who": "eve", "password": "correct horse"})
    await store.close()

    page = (await admin.get("/access")).text

    seen = words(page)
    seen = re.sub(r"[0-9]+ s ago", "now", seen)
    assert re.search(r"Sessions .*eve from 127.0.0.1 operator now now in 11 h", seen)
    assert re.search(r"admin this one from 127.0.0.1 admin now now", seen)
    assert re.search(r"One-time links .*viewer viewer now – in 9 min", seen)
    assert re.search(r"Users .*eve operator now now never", seen)
    assert re.search(r"Tokens of programs .*shop read now never in 23 h", seen)
    assert [each for each in (secret, code, "correct", "scrypt") if each in page] == []
    assert hostile.read(page).foreign == []
    assert 'href="/access"' in page
    known: Any = await redis.zrange("resque:resqpy:web:known:session", 0, -1)
    assert sorted(revokes(page, "sessions")) == sorted(
        f"/access/sessions/{each}/revoke" for each in map(text_of, known)
    )


async def test_each_is_taken_away(
    console: Console, admin: Browser, redis: Redis, redis_url: str
) -> None:  # fmt: skip
    """At once, and noted."""
    assert console.sessions is not None
    store = Store(RedisOptions(redis_url))
    given = {"who": "eve", "password": "correct horse"}
    await keep_user(store, given["who"], "operator", given["password"])
    secret, _ = await tokens.create(store, "shop", ["read"])
    async with Browser(console) as eve, Browser(console) as shop:
        shop.headers["authorization"] = f"Bearer {secret}"
        await eve.post("/login", data=given)
        assert [(await each.get("/queues")).status_code for each in (eve, shop)] == [200, 200]
        page = (await admin.get("/access")).text
        [_, own] = revokes(page, "sessions")
        [session] = [each for each in revokes(page, "sessions") if each != own]
        answer = await admin.post(session, data={})
        assert answer.headers["location"] == "/access?done=revoked&n=1"
        assert (await eve.get("/queues")).status_code == 303

        await eve.post("/login", data=given)
        await admin.post(revokes(page, "users")[0], data={})
        assert (await eve.get("/queues")).status_code == 303
        await admin.post(revokes(page, "tokens")[0], data={})
        assert (await shop.get("/queues")).status_code == 303
        code = await console.sessions.new_link("viewer")
        await admin.post(revokes((await admin.get("/access")).text, "links")[0], data={})
        assert (await eve.post("/login", data={"code": code})).status_code == 403
        gone = await admin.post(session, data={})
        assert gone.headers["location"] == "/access?done=gone&n=1"
        assert (await admin.post("/access/x/y/revoke", data={})).status_code == 404
    await store.close()
    told = [(each["verb"], each["what"]) for each in await audit(redis)]
    assert told == [
        ("revoke", "session of eve"), ("remove", "user eve"), ("revoke", "token shop"),
        ("revoke", "link of viewer"), ("revoke", "session"),
    ]  # fmt: skip


async def test_a_token_is_revoked_by_any_of_its_names(
    console: Console, admin: Browser, redis: Redis
) -> None:
    """And the audit tells which one it was; what is no token is noted as it was asked for."""
    store = console.resque.store
    for name in ("shop", "till", "desk"):
        await tokens.create(store, name, ["read"])
    known = {each.name: each for each in await tokens.every(store)}
    for named in ("shop", known["till"].id, known["desk"].digest):
        answer = await admin.post(f"/access/tokens/{named}/revoke", data={})
        assert answer.headers["location"] == "/access?done=revoked&n=1"
    gone = await admin.post("/access/tokens/shop/revoke", data={})
    assert gone.headers["location"] == "/access?done=gone&n=1"
    assert await tokens.every(store) == []
    told = [(each["what"], "nothing" in each["more"]) for each in await audit(redis)]
    assert told == [
        ("token shop", False), ("token till", False), ("token desk", False), ("token shop", True)
    ]  # fmt: skip


async def test_texts_that_are_no_utf8(admin: Browser, redis: Redis) -> None:
    """As fields and in paths: each is refused or finds nothing, and nothing fails."""
    kind = {"content-type": "application/x-www-form-urlencoded"}
    for path, body, status in (
        ("/access/tokens/make", "name=%ff&scopes=read", 422),
        ("/access/tokens/make", "name=a&scopes=enqueue%3A%ff", 422),
        ("/access/links/make", "role=%ff", 422),
        ("/login", "who=%ff&password=correct+horse", 403),
        ("/login", "code=%ff", 403),
        ("/access/users/~_w/revoke", "", 303),
        ("/access/tokens/~_w/revoke", "", 303),
        ("/access/sessions/~_w/revoke", "", 303),
    ):
        answer = await admin.post(path, content=body, headers=kind)
        assert answer.status_code == status, (path, body, answer.status_code)
    assert await redis.exists("resque:resqpy:web:tokens", "resque:resqpy:web:users") == 0


async def test_links_and_tokens_are_made(console: Console, admin: Browser, redis: Redis) -> None:
    """Shown once, noted without their secret; what is wrong is said, and nothing is made."""
    own = {"origin": "http://localhost:8937"}
    made = (await admin.post("/access/links/make", data={"role": "operator"}, headers=own)).text
    [link] = re.findall(r'href="(/login\?code=[^"]+)"', made)
    assert f">http://localhost:8937{link}<" in made  # to be copied and sent
    code = link.partition("=")[2]
    async with Browser(console) as bob:
        assert (await bob.post("/login", data={"code": code})).status_code == 303
        assert (await bob.get("/enqueue")).status_code == 200
    made = (await admin.post(
        "/access/tokens/make", data={"name": "shop", "scopes": "read enqueue:mail", "expires": "30d"}
    )).text  # fmt: skip
    [secret] = re.findall(r"<code>(rsq_[^<]+)</code>", made)
    async with Browser(console) as shop:
        assert (
            await shop.get("/queues", headers={"authorization": f"Bearer {secret}"})
        ).status_code == 200
    page = (await admin.get("/access")).text
    assert re.search(
        r"shop read enqueue:mail now .* in 29 d", re.sub(r"[0-9]+ s ago", "now", words(page))
    )
    assert secret not in page
    for kind, wrong, said in (
        ("links", {"role": "oper"}, "there is no role"),
        ("tokens", {"name": "shop", "scopes": "read"}, "there is a token named"),
        ("tokens", {"name": "a", "scopes": "reed"}, "did you mean"),
        ("tokens", {"name": "a", "scopes": "read", "expires": "soon"}, "is not a duration"),
    ):
        answer = await admin.post(f"/access/{kind}/make", data=wrong)
        assert answer.status_code == 422
        assert said in re.findall(r'role="alert">([^<]*)<', answer.text)[0]
        assert hostile.read(answer.text).foreign == []
    assert (await admin.post("/access/users/make", data={"role": "x"})).status_code == 404
    told = await audit(redis)
    assert [(each["verb"], each["what"]) for each in told] == [
        ("make", "link of operator"), ("make", "token shop")
    ]  # fmt: skip
    assert [each for each in (secret, code) if each in str(told)] == []


async def test_what_has_ended_is_forgotten(console: Console, redis: Redis) -> None:
    """With the next that is made: the list of sessions does not grow for ever."""
    async with Browser(console) as browser:
        for _ in range(3):
            await browser.sign_in(console)
        for key in await redis.keys("resque:resqpy:web:session:*"):
            await redis.delete(key)
        await browser.sign_in(console)
        assert await redis.zcard("resque:resqpy:web:known:session") == 1
        assert len(revokes((await browser.get("/access")).text, "sessions")) == 1


async def test_a_mounted_console_has_tokens_only(make_console: MakeConsole, redis_url: str) -> None:
    """The application around signs people in; a read-only console takes nothing away."""
    console = make_console(authenticate=as_role("admin"))
    async with Browser(console) as browser:
        page = (await browser.get("/access")).text
        assert "The application around the console signs people in" in page
        assert "Users" not in words(page)
        assert (await browser.post("/access/users/x/revoke", data={})).status_code == 404
    reading = make_console(read_only=True)
    async with Browser(reading) as browser:
        await browser.sign_in(reading)
        page = (await browser.get("/access")).text
        assert "admin this one" in words(page)
        assert "<form" not in page[page.index("<main") : page.index("</main>")]


async def test_hostile_names(console: Console, admin: Browser, redis: Redis) -> None:
    """Of users, tokens and sessions that somebody has written."""
    for number, text in enumerate(hostile.TEXTS):
        note = json.dumps({"who": text, "role": "viewer", "made": text, "address": text, "name": text,
                           "scopes": [text]})  # fmt: skip
        await redis.hset("resque:resqpy:web:users", text, note)
        await redis.hset("resque:resqpy:web:tokens", text, note)
        for kind in ("session", "link"):
            await redis.zadd(f"resque:resqpy:web:known:{kind}", {f"{number}": number, text: number})
            await redis.set(f"resque:resqpy:web:{kind}:{number}", note)
    page = (await admin.get("/access")).text
    assert hostile.read(page).foreign == []
    assert "\\u202egnp.exe" in page
    for action in revokes(page, "users"):
        await admin.post(action, data={})
    assert await redis.hlen("resque:resqpy:web:users") == 0
