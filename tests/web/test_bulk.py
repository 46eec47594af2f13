"""Bulk runs: what was confirmed is retried or removed, once, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import html
import json
import re
import signal
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from redis.asyncio import Redis

from resqpy.store import failures
from resqpy.web import bulk, trash
from resqpy.web.app import Console
from resqpy.web.pages import bulk as pages
from tests.cli.conftest import Call, Program, client, environ, program, resqpy, root
from tests.support.waiting import wait_for
from tests.web.asking import ApiClient
from tests.web.conftest import Browser, MakeConsole, as_role
from tests.web.test_pages import QUEUE, audit, entry, forms, words

__all__ = ["client", "environ", "program", "resqpy", "root"]

MANY = 3000  # several steps


def job(number: int) -> bytes:
    """Each is another one."""
    return b'{"class":"Send","queue":"mail","args":[%d]}' % number


async def fill(redis: Redis, number: int = MANY) -> None:
    """Failed jobs."""
    await redis.rpush("resque:failed", *[entry(n, job=job(n)) for n in range(number)])


@pytest.fixture
def console(make_console: MakeConsole) -> Console:
    """A console whose visitors are operators."""
    return make_console(authenticate=as_role("operator"))


@pytest.fixture
async def ann(console: Console) -> AsyncIterator[Browser]:
    """An operator."""
    async with Browser(console) as browser:
        yield browser


class Steps:
    """Lets the steps of a run go one by one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._real = failures.settle
        self._may = asyncio.Semaphore(0)
        self.waits = self.begun = 0
        monkeypatch.setattr(failures, "settle", self._settle)
        monkeypatch.setattr(pages, "_QUICK_S", 0.0)  # it does not end before its request

    async def _settle(self, *given: Any, **more: Any) -> list[str]:
        self.waits += 1
        await self._may.acquire()
        self.waits, self.begun = self.waits - 1, self.begun + 1
        return await self._real(*given, **more)

    async def go(self, number: int) -> None:
        """Some more steps, until the next one waits."""
        aim = self.begun + number
        for _ in range(number):
            self._may.release()
        await wait_for(lambda: self.begun == aim and self.waits > 0)

    def all(self) -> None:
        """All others."""
        for _ in range(1000):
            self._may.release()


async def begin(ann: Browser, verb: str = "retry", expected: int = MANY) -> str:
    """Begin a run that takes longer than its request; its page."""
    given = {"verb": verb, "class": "Send", "expected": str(expected), "typed": str(expected)}
    answer = await ann.post("/failed/bulk", data=given)
    place: str = answer.headers["location"]
    assert place.startswith("/failed/runs/"), place
    return place.partition("?")[0]


async def state(ann: Browser, page: str) -> str:
    """What its page says."""
    return words((await ann.get(page)).text)


async def test_a_run_shows_how_far_it_is(
    ann: Browser, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its page is read again by itself; when it is left, the run goes on."""
    await fill(redis)
    steps = Steps(monkeypatch)
    page = await begin(ann)
    await steps.go(2)
    shown = await ann.get(page)
    assert shown.headers["refresh"] == "2"
    assert "Retrying 3,000 failed jobs running" in words(shown.text)
    assert "1000 of 3,000 back in their queues" in words(shown.text).replace("1,000", "1000")
    assert '<progress max="3000" value="1000"' in shown.text
    assert re.search(
        r"retry class Send 1,000 of 3,000 running ann", await state(ann, "/failed/runs")
    )
    steps.all()
    await wait_for(lambda: ended(ann, page, "done"))
    assert "refresh" not in (await ann.get(page)).headers
    assert await redis.lrange(QUEUE, 0, -1) == [job(n) for n in range(MANY)]
    assert await redis.exists("resque:failed") == 0
    assert [each["verb"] for each in await audit(redis)] == ["retry", "retry"]
    assert json.loads((await audit(redis))[1]["more"]) == {"count": MANY}


async def ended(ann: Browser, page: str, how: str) -> bool:
    """Whether its page says so."""
    return f" {how} " in f"{await state(ann, page)} "


async def test_it_is_cancelled(
    ann: Browser, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """Where it is: nothing more is touched, also not by the step that is under way."""
    await fill(redis)
    steps = Steps(monkeypatch)
    page = await begin(ann)
    await steps.go(1)
    [(action, _)] = forms((await ann.get(page)).text, "/cancel")
    answer = await ann.post(action, data={})
    assert answer.headers["location"] == f"{page}?done=cancelled&n=1"
    steps.all()
    await wait_for(lambda: steps.waits == 0)
    assert await ended(ann, page, "cancelled")
    assert await redis.llen(QUEUE) == 500
    assert await redis.llen("resque:failed") == MANY - 500
    again = await ann.post(action, data={})
    assert again.headers["location"] == f"{page}?done=ended&n=1"


@pytest.mark.parametrize(("answer", "left"), [("Only the oldest 5", 2), ("Cancel", 7)])
async def test_another_number_than_was_confirmed(
    ann: Browser, redis: Redis, answer: str, left: int
) -> None:
    """Nothing is touched before somebody has said what they want now."""
    await fill(redis, 7)
    page = await begin(ann, expected=5)
    assert "7 match now, not 5. Nothing was touched." in await state(ann, page)
    assert await redis.llen("resque:failed") == 7
    [(action, fields)] = [
        (found[1], dict(re.findall(r'name="([^"]+)" value="([^"]*)"', found[0])))
        for found in re.finditer(r'<form method="post" action="([^"]+)">.*?</form>', (await ann.get(page)).text)
        if f">{answer}</button>" in found[0]
    ]  # fmt: skip

    await ann.post(action, data=fields)

    await wait_for(lambda: ended(ann, page, "cancelled" if answer == "Cancel" else "done"))
    assert await redis.lrange(QUEUE, 0, -1) == [job(n) for n in range(7 - left)]
    assert await redis.llen("resque:failed") == left


def asks_again(page: str) -> str:
    """Where the page of a run leads to be confirmed anew."""
    [link] = re.findall(r'href="(/failed/bulk[^"]+)"', page)
    return html.unescape(link)


@pytest.mark.parametrize(("verb", "expected"), [("retry", 5), ("remove", 5), ("remove", 9)])
async def test_another_number_is_confirmed_like_the_first(
    ann: Browser, redis: Redis, verb: str, expected: int
) -> None:
    """On the page that asks, with the same filter; nothing sent to the run itself changes its number."""
    await fill(redis, 7)
    page = await begin(ann, verb, expected)
    asked = (await ann.get(asks_again((await ann.get(page)).text))).text
    [(action, fields)] = forms(asked, "/failed/bulk")
    assert (action, fields) == ("/failed/bulk", {"class": "Send", "verb": verb, "expected": "7"})
    answer = await ann.post(action, data=fields)
    assert answer.headers["location"].startswith("/failed?done=")
    assert await redis.exists("resque:failed") == 0
    assert json.loads((await audit(redis))[-2]["more"])["confirmed"] == 7


async def test_a_run_touches_no_more_than_was_confirmed(
    ann: Browser, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many there are now, and whatever is sent: more than a thousand are confirmed by typing."""
    await fill(redis)
    monkeypatch.setattr(trash, "MOST", 10)
    page = await begin(ann, "remove", 5)
    shown = (await ann.get(page)).text
    typed = (await ann.get(asks_again(shown))).text
    assert 'name="typed"' in typed
    assert "can't be put back" in html.unescape(words(typed))
    await ann.post(f"{page}/go_on", data={"expected": str(MANY)})
    await wait_for(lambda: ended(ann, page, "done"))
    assert await redis.llen("resque:failed") == MANY - 5
    [noted] = [each for each in await audit(redis) if each["verb"] == "go on"]
    assert json.loads(noted["more"]) == {"confirmed": 5, "done": 0}
    [(undo, _)] = [each for each in forms((await ann.get(page)).text, "") if "/undo/" in each[0]]
    await ann.post(undo, data={})
    assert await redis.llen("resque:failed") == MANY


def retried(raw: bytes) -> bytes:
    """An entry that Ruby has retried, and left in the list."""
    return raw[:-1] + b', "retried_at": "2026/11/22 00:00:00 UTC"}'


async def test_what_ruby_has_retried_is_not_run_again(ann: Browser, redis: Redis) -> None:
    """It stays in the list, and the page says how many do; a removal takes it along."""
    raws = [entry(n, job=job(n)) for n in range(5)]
    raws[1], raws[3] = retried(raws[1]), retried(raws[3])
    await redis.rpush("resque:failed", *raws)
    page = (await ann.get("/failed/bulk?verb=retry&class=Send")).text
    assert "Retry 3 failed jobs?" in words(page)
    assert "Ruby has retried 2 more already" in words(page)
    [(action, fields)] = forms(page, "/failed/bulk")
    answer = await ann.post(action, data=fields)
    assert answer.headers["location"] == "/failed?done=retried&n=3"
    assert await redis.lrange(QUEUE, 0, -1) == [job(0), job(2), job(4)]
    assert await redis.lrange("resque:failed", 0, -1) == [raws[1], raws[3]]
    none = words((await ann.get("/failed/bulk?verb=retry&class=Send")).text)
    assert "There is none any more" in none
    assert "Ruby has retried 2 more already" in none
    page = (await ann.get("/failed/bulk?verb=remove&class=Send")).text
    assert "Ruby has" not in words(page)
    [(action, fields)] = forms(page, "/failed/bulk")
    await ann.post(action, data=fields)
    assert await redis.exists("resque:failed") == 0


async def test_only_the_oldest_of_those_that_ruby_has_not_retried(
    ann: Browser, redis: Redis
) -> None:
    """They are counted and taken by the same rule."""
    raws = [entry(n, job=job(n)) for n in range(5)]
    raws[0] = retried(raws[0])
    await redis.rpush("resque:failed", *raws)
    page = await begin(ann, expected=2)
    assert "4 match now, not 2" in await state(ann, page)
    await ann.post(f"{page}/go_on", data={})
    await wait_for(lambda: ended(ann, page, "done"))
    assert await redis.lrange(QUEUE, 0, -1) == [job(1), job(2)]


@pytest.mark.parametrize("odd", [None, "", "soon"])
async def test_a_run_whose_lease_is_not_readable(
    ann: Browser, redis: Redis, odd: str | None
) -> None:
    """Somebody else has written it: nobody works on it, and it can go on."""
    await fill(redis, 3)
    run = "resque:resqpy:web:run:" + "0" * 22
    fields: dict[Any, Any] = {"verb": "retry", "state": "running", "class": "Send", "expected": "3"}
    await redis.hset(run, mapping={**fields, "runner": "x"})
    if odd is not None:
        await redis.hset(run, "until", odd)
    page = f"/failed/runs/{'0' * 22}"
    answer = await ann.post(f"{page}/go_on", data={})
    assert answer.headers["location"] == f"{page}?done=going_on&n=1"
    await wait_for(lambda: ended(ann, page, "done"))
    assert await redis.llen(QUEUE) == 3


async def test_what_can_t_be_retried_stays(ann: Browser, redis: Redis) -> None:
    """And is said; newer ones do not take its place."""
    await redis.set(QUEUE, "no list")
    await redis.rpush("resque:failed", entry(0, job=b"[]"), *[entry(n) for n in range(1, 4)])
    page = await begin(ann, expected=3)  # of this class
    await wait_for(lambda: ended(ann, page, "done"))
    assert "0 of 3 back in their queues" in await state(ann, page)
    assert "The others stay" in await state(ann, page)


async def test_a_removal_is_undone(ann: Browser, redis: Redis) -> None:
    """From the page of the run, in the order of before."""
    await fill(redis, 3)
    answer = await ann.post(
        "/failed/bulk", data={"verb": "remove", "class": "Send", "expected": "3"}
    )
    assert answer.headers["location"].startswith("/failed?done=removed&n=3&undo=")
    assert await redis.exists("resque:failed") == 0
    [link] = re.findall(r'href="(/failed/runs/[^"]+)"', (await ann.get("/failed/runs")).text)
    [(undo, _)] = [each for each in forms((await ann.get(link)).text, "") if "/undo/" in each[0]]
    await ann.post(undo, data={})
    assert await redis.lrange("resque:failed", 0, -1) == [entry(n, job=job(n)) for n in range(3)]


async def test_of_two_that_work_on_it_one_does(
    make_console: MakeConsole, ann: Browser, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever held it too long finds it in other hands, and touches nothing more."""
    await fill(redis)
    steps = Steps(monkeypatch)
    page = await begin(ann)
    await steps.go(1)
    run = f"resque:resqpy:web:run:{page.rpartition('/')[2]}"
    other = make_console(authenticate=as_role("operator"))
    async with Browser(other) as bob:
        refused = await bob.post(f"{page}/go_on", data={})  # while the first works
        await bob.get("/")
        assert (await redis.hget(run, "runner")) != b""
        await redis.hset(run, mapping={"until": 0})  # as if it had been stopped for long
        assert "The process that worked on it is gone" in await state(bob, page)
        went_on = await bob.post(f"{page}/go_on", data={})
        steps.all()
        await wait_for(lambda: ended(bob, page, "done"))
    assert refused.headers["location"] == f"{page}?done=ended&n=1"
    assert went_on.headers["location"] == f"{page}?done=going_on&n=1"
    assert await redis.lrange(QUEUE, 0, -1) == [job(n) for n in range(MANY)]
    assert await redis.hget(run, "done") == str(MANY).encode()


async def test_a_console_that_stops_lets_go(
    console: Console, make_console: MakeConsole, ann: Browser, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """At once, so that the next one goes on."""
    await fill(redis)
    steps = Steps(monkeypatch)
    page = await begin(ann)
    await steps.go(1)
    await console.close()
    monkeypatch.undo()
    async with Browser(make_console(authenticate=as_role("operator"))) as bob:
        assert "interrupted" in await state(bob, page)
        assert "500 of 3,000" in await state(bob, page)
        await bob.post(f"{page}/go_on", data={})
        await wait_for(lambda: ended(bob, page, "done"))
    assert await redis.lrange(QUEUE, 0, -1) == [job(n) for n in range(MANY)]


async def test_why_it_broke_off(
    ann: Browser, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """Is said on its page, and it can go on."""
    await fill(redis)

    async def settle(*_: Any, **__: Any) -> None:
        raise ValueError("a hook of a plugin")

    monkeypatch.setattr(failures, "settle", settle)
    page = await begin(ann)
    assert "It broke off: ValueError('a hook of a plugin')" in html.unescape(await state(ann, page))
    monkeypatch.undo()
    await ann.post(f"{page}/go_on", data={})
    await wait_for(lambda: ended(ann, page, "done"))
    assert "broke off" not in await state(ann, page)


@pytest.mark.timeout(180)
def test_killed_in_the_middle_and_continued(program: Program, resqpy: Call, client: Any) -> None:
    """None is lost, none is retried twice, and the count is right."""
    number = 30_000
    for start in range(0, number, 5000):
        raws = [entry(n, job=job(n)) for n in range(start, start + 5000)]
        client.rpush("resque:failed", *raws)
    token = resqpy("web", "token", "create", "ops", "--scope", "operate").out.strip()
    headers = {"authorization": f"Bearer {token}"}
    served = program("web", "--port", "0")
    assert served.stdout is not None
    base = served.stdout.readline().split()[-1].partition("/login")[0]
    wanted = {"action": "retry", "filter": {"class": "Send"}, "expected_count": number}
    with httpx2.Client(base_url=base, headers=headers) as ops:
        begun = ops.post("/api/v1/bulk", json=wanted)
        assert begun.status_code == 202
        run = f"resque:resqpy:web:run:{begun.json()['id']}"
        asyncio.run(wait_for(lambda: int(client.hget(run, "done") or 0) > 0))
        served.send_signal(signal.SIGKILL)
        served.wait()
    done = int(client.hget(run, "done"))
    assert 0 < done < number
    assert (client.llen(QUEUE), client.llen("resque:failed")) == (done, number - done)

    client.hset(run, "until", 0)  # its lease is over
    again = program("web", "--port", "0")
    assert again.stdout is not None
    base = again.stdout.readline().split()[-1].partition("/login")[0]
    with httpx2.Client(base_url=base, headers=headers) as ops:
        place = begun.headers["location"]
        told = ops.get(place).json()
        assert (told["state"], told["done"]) == ("interrupted", done)
        went_on = ops.post(f"{place}/go_on")
        assert went_on.status_code == 202
        assert went_on.json()["state"] in ("running", "done")
        asyncio.run(wait_for(lambda: ops.get(place).json()["state"] == "done"))
        assert ops.get(place).json()["done"] == number
    counted = Counter(client.lrange(QUEUE, 0, -1))
    assert counted == Counter(job(n) for n in range(number))
    assert client.exists("resque:failed") == 0


# -- by the API --


async def test_the_api_begins_a_run(api: ApiClient, redis: Redis) -> None:
    """And says how far it is."""
    await fill(redis, 5)
    wanted = {
        "action": "remove",
        "filter": {"class": "Send", "exception": "SmtpError"},
        "expected_count": 5,
    }
    begun = await api("POST /bulk", wanted)
    assert begun.status == 202
    assert begun.headers["location"] == f"/api/v1/bulk/{begun.json['id']}"

    async def told() -> Any:
        return (await api(f"GET /bulk/{begun.json['id']}", scopes=["read"])).json

    async def is_done() -> bool:
        return bool((await told())["state"] == "done")

    await wait_for(is_done)
    run = await told()
    assert (run["action"], run["filter"], run["expected_count"], run["done"]) == (
        "remove", wanted["filter"], 5, 5
    )  # fmt: skip
    assert run["undo"]
    assert await redis.exists("resque:failed") == 0
    assert (await api(f"DELETE /bulk/{begun.json['id']}")).status == 409


async def test_the_api_touches_nothing_if_there_are_not_as_many(
    api: ApiClient, redis: Redis
) -> None:
    """It says how many there are; the run can be ended."""
    await fill(redis, 5)
    begun = await api(
        "POST /bulk", {"action": "retry", "filter": {"class": "Send"}, "expected_count": 4}
    )
    place = f"/bulk/{begun.json['id']}"

    async def differs() -> bool:
        return bool((await api(f"GET {place}")).json["state"] == bulk.DIFFERS)

    await wait_for(differs)
    assert (await api(f"GET {place}")).json["found"] == 5
    assert await redis.llen("resque:failed") == 5
    assert (await api(f"DELETE {place}")).json["state"] == "cancelled"


async def test_the_api_retries_nothing_that_ruby_has_retried(api: ApiClient, redis: Redis) -> None:
    """Nor does it count it."""
    raws = [entry(n, job=job(n)) for n in range(3)]
    raws[0] = retried(raws[0])
    await redis.rpush("resque:failed", *raws)
    wanted = {"action": "retry", "filter": {"class": "Send"}, "expected_count": 2}
    place = f"/bulk/{(await api('POST /bulk', wanted)).json['id']}"

    async def done() -> bool:
        return bool((await api(f"GET {place}")).json["state"] == bulk.DONE)

    await wait_for(done)
    assert await redis.lrange(QUEUE, 0, -1) == [job(1), job(2)]
    assert await redis.lrange("resque:failed", 0, -1) == [raws[0]]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"action": "retri", "filter": {"class": "x"}, "expected_count": 1}, "did you mean 'retry'"),
        ({"action": "retry", "filter": {"klass": "x"}, "expected_count": 1}, "did you mean 'class'"),
        ({"action": "retry", "filter": {}, "expected_count": 1}, "give a class"),
        ({"action": "retry", "filter": {"class": "x"}}, "'expected_count' is missing"),
        ({"action": "retry", "filter": {"class": "x"}, "expected_count": 0}, "out of range"),
    ],
)  # fmt: skip
async def test_what_the_api_refuses(api: ApiClient, redis: Redis, body: Any, said: str) -> None:
    """With what to do; and who may not."""
    answer = await api("POST /bulk", body)
    assert (answer.status, said in answer.json["detail"]) == (400, True), answer.json
    assert (await api("POST /bulk", body, scopes=["read"])).status == 403
    assert (await api("GET /bulk/none")).status == 404
    assert (await api(f"DELETE /bulk/{'0' * 22}")).status == 404


async def test_the_api_goes_on_with_what_differs(api: ApiClient, redis: Redis) -> None:
    """With as many as were confirmed; not with what has ended, nor with what is not there. All are listed."""
    await fill(redis, 5)
    wanted = {"action": "retry", "filter": {"class": "Send"}, "expected_count": 3}
    run = (await api("POST /bulk", wanted)).json["id"]

    async def told(state: str) -> bool:
        return bool((await api(f"GET /bulk/{run}")).json["state"] == state)

    await wait_for(lambda: told("differs"))
    refused = await api(f"POST /bulk/{run}/go_on", scopes=["read"])
    went_on = await api(f"POST /bulk/{run}/go_on")
    await wait_for(lambda: told("done"))
    again, nothing = await api(f"POST /bulk/{run}/go_on"), await api("POST /bulk/none/go_on")
    listed = (await api("GET /bulk", scopes=["read"])).json["data"]
    assert (refused.status, went_on.status, nothing.status) == (403, 202, 404)
    assert (again.status, again.json["type"]) == (409, "urn:resqpy:problem:wrong-state")
    assert [(each["id"], each["done"], each["state"]) for each in listed] == [(run, 3, "done")]
    assert await redis.llen(QUEUE) == 3
