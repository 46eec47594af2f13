"""Pages that many watch: what they show is read once for all of them, and each sees only what they may."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis
from starlette.requests import Request

from resqpy.web import remembering
from resqpy.web.access import Access
from resqpy.web.app import Console
from tests.support.clocks import SteppedClock
from tests.support.filled import commands
from tests.support.waiting import wait_for
from tests.web.conftest import Browser, MakeConsole


def by_header(request: Request) -> Access:
    """Who asks, and as what, as the client says."""
    who, _, role = request.headers.get("x-who", "ann viewer").partition(" ")
    return Access(who, role)


@asynccontextmanager
async def viewers(console: Console, number: int) -> AsyncIterator[list[Browser]]:
    """As many of different names."""
    async with AsyncExitStack() as stack:
        made = [Browser(console, shares=True) for _ in range(number)]
        for n, each in enumerate(made):
            await stack.enter_async_context(each)
            each.headers["x-who"] = f"ann{n} viewer"
        yield made


@pytest.fixture
def shown(make_console: MakeConsole, monkeypatch: pytest.MonkeyPatch) -> Console:
    """A console for people of any role; however slow the test is, nothing is over by itself."""
    monkeypatch.setattr(remembering, "SYSTEM_CLOCK", SteppedClock())
    return make_console(authenticate=by_header)


async def filled(redis: Redis) -> None:
    """Something for each page."""
    job = '{"class":"Send","args":[{"to":"ada-1"}]}'
    await redis.sadd("resque:queues", "mail")
    await redis.rpush("resque:queue:mail", job)
    await redis.rpush("resque:failed", f'{{"payload":{job},"exception":"E"}}')
    await redis.zadd("resque:delayed_queue_schedule", {"4000000000": 4_000_000_000})
    await redis.rpush("resque:delayed:4000000000", job)
    await redis.sadd("resque:workers", "host:1:mail")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/queues",
        "/queues/mail",
        "/failed",
        "/failed/entries",
        "/delayed",
        "/delayed/4000000000",
        "/schedules",
        "/tasks",
        "/workers",
        "/metrics?period=8h",
        "/limits",
        "/redis",
    ],
)
async def test_fifty_viewers_cost_redis_what_one_does(
    shown: Console, redis: Redis, path: str
) -> None:
    """Over several reads of an open page, at the same time and a moment later."""
    await filled(redis)
    counted = []
    for number in (1, 50):
        async with viewers(shown, number) as browsers:
            await browsers[0].get(path)  # what is checked in the background is known now
            await shown.problems.get()
            await redis.config_resetstat()
            for _ in range(3):
                shown.pages.forget()  # the time of the last read is over
                for _ in range(2):
                    answers = await asyncio.gather(*(each.get(path) for each in browsers))
                    assert {each.status_code for each in answers} == {200}
            counted.append(await commands(redis))
    assert counted[0] == counted[1]
    kept = ("/failed", "/metrics?period=8h")  # for longer: the groups, the history
    assert (counted[0] > 0) == (path not in kept)


async def test_each_sees_their_own_frame_and_what_their_role_may(
    shown: Console, redis: Redis
) -> None:
    """Arguments are not shown to a viewer because an operator has just seen them, nor the other way round."""
    await filled(redis)
    async with viewers(shown, 3) as (ann, ben, carl):
        carl.headers["x-who"] = "carl operator"
        texts = [(await each.get("/queues/mail")).text for each in (carl, ann, ben, carl)]
    names = ["carl", "ann0", "ann1", "carl"]
    assert [name in text for name, text in zip(names, texts, strict=True)] == [True] * 4
    assert ["ann0" in text for text in texts] == [False, True, False, False]
    assert ["ada-1" in text for text in texts] == [True, False, False, True]
    assert ["/queues/mail/pause" in text for text in texts] == [True, False, False, True]


async def test_of_a_part_that_is_given_twice_each_gets_what_they_asked_for(
    shown: Console, redis: Redis
) -> None:
    """Handlers read the last one, so the order matters."""
    await redis.sadd("resque:queues", "mail", "money")
    for query, seen in (("q=mail&q=money", "money"), ("q=money&q=mail", "mail")):
        async with viewers(shown, 1) as (ann,):
            text = (await ann.get(f"/queues?{query}")).text
            found = [each for each in ("mail", "money") if f'href="/queues/{each}"' in text]
            assert found == [seen]


async def test_a_console_that_was_closed_shows_nothing_of_before(
    shown: Console, redis: Redis
) -> None:
    """It may be opened again on another Redis."""
    await filled(redis)
    async with viewers(shown, 1) as (ann,):
        assert "1 job waiting" in (await ann.get("/queues")).text
        await shown.close()
        await redis.rpush("resque:queue:mail", "{}")
        assert "2 jobs waiting" in (await ann.get("/queues")).text


async def test_who_changes_something_sees_it_at_once(shown: Console, redis: Redis) -> None:
    """So do all others who ask this process then."""
    await filled(redis)
    async with viewers(shown, 2) as (ann, ben):
        ben.headers["x-who"] = "ben operator"
        for path in ("/queues/mail", "/queues"):
            assert "paused" not in (await ann.get(path)).text
            assert "paused" not in (await ben.get(path)).text
        answer = await ben.post("/queues/mail/pause", data={"reason": "x"})
        assert "paused" in (await ben.get(answer.headers["location"])).text
        assert "paused" in (await ben.get("/queues")).text
        assert "paused" in (await ann.get("/queues/mail")).text


async def test_a_change_made_through_another_process(
    shown: Console, make_console: MakeConsole, redis: Redis
) -> None:
    """The page after it is read anew, wherever it is asked for."""
    await filled(redis)
    other = make_console(authenticate=by_header)
    async with viewers(shown, 1) as (ann,), viewers(other, 1) as (elsewhere,):
        elsewhere.headers["x-who"] = ann.headers["x-who"] = "ann operator"
        await ann.get("/queues/mail")
        answer = await elsewhere.post("/queues/mail/pause", data={"reason": "x"})
        assert "paused" in (await ann.get(answer.headers["location"])).text


async def test_new_numbers_are_read_anew(shown: Console, redis: Redis) -> None:
    """Who is told of them reads the page, and must not get what was read before."""
    await filled(redis)
    async with viewers(shown, 1) as (ann,):
        await ann.get("/queues")
        async with shown.live.watching() as watcher:
            assert (await watcher.waiting.get())[1]["waiting"] == 1
            assert "1 job waiting" in (await ann.get("/queues")).text
            await redis.rpush("resque:queue:mail", "{}")
            assert (await watcher.waiting.get())[1]["waiting"] == 2
            assert "2 jobs waiting" in (await ann.get("/queues")).text


async def test_the_history_is_not_read_for_each_new_number(shown: Console, redis: Redis) -> None:
    """Processes write it every ten seconds; it is the page that costs most."""
    await filled(redis)
    await shown.open()
    async with viewers(shown, 1) as (ann,), shown.live.watching() as watcher:
        await watcher.waiting.get()
        await ann.get("/metrics")
        await redis.rpush("resque:queue:mail", "{}")
        assert (await watcher.waiting.get())[1]["waiting"] == 2
        await redis.config_resetstat()
        await ann.get("/metrics")
        stats = await redis.info("commandstats")
    assert (
        stats.get("cmdstat_hgetall", {"calls": 0})["calls"] < 60
    )  # a few are of who looks for numbers


async def test_an_error_is_told_to_all_and_not_kept(shown: Console, redis: Redis) -> None:
    """The next one reads again."""
    await filled(redis)
    async with viewers(shown, 5) as browsers:
        asked = [each.get("/delayed/x") for each in browsers]
        assert {each.status_code for each in await asyncio.gather(*asked)} == {400}
        await wait_for(lambda: all(each.over for each in shown.pages._pages.values()))


async def test_pages_are_bounded(shown: Console, redis: Redis) -> None:
    """However many different ones are asked for."""
    await filled(redis)
    async with viewers(shown, 1) as (ann,):
        for number in range(120):
            assert (await ann.get(f"/queues?q={number}")).status_code == 200
    assert len(shown.pages._pages) <= 50


async def read_for_good(kept: list[Any]) -> None:
    """Until it is expired."""
    for each in kept:
        await each.current()
        each._until_s = float("inf")


BACKGROUND = ("/", "/queues", "/workers", "/metrics", "/metrics?task=Send")


@pytest.mark.parametrize("path", BACKGROUND)
async def test_who_comes_first_waits_for_no_long_count(
    shown: Console, redis: Redis, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """The page comes back by itself; what was counted before is shown with its age."""
    monkeypatch.setattr(remembering, "_PATIENCE_S", 0)
    await filled(redis)
    async with viewers(shown, 1) as (ann,):
        first = await ann.get(path)
        assert (first.status_code, first.headers["refresh"]) == (202, "1")
        assert "Counting" in first.text
        every = shown.everything
        kept: list[Any] = [
            every.queues, every.workers, every.processes, every.ran("1h"), every.ran("1h", "Send"),
        ]  # fmt: skip
        await read_for_good(kept)
        second = await ann.get(path)
        assert (second.status_code, second.headers.get("refresh")) == (200, None)
        assert "As of" not in second.text

        for each in kept:
            each.expire()
        shown.pages.forget()
        third = await ann.get(path)
        assert (third.status_code, third.headers["refresh"]) == (200, "1")
        assert "As of" in third.text
        await read_for_good(kept)
        fourth = await ann.get(path)  # what was old is shown to nobody else
        assert (fourth.headers.get("refresh"), "As of" in fourth.text) == (None, False)
