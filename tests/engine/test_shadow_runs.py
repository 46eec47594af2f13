"""Shadow runs: copies of what goes to another language run here, without an effect of ours."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from resqpy import Limit, Resque, current_run
from resqpy.base.concurrency.own_tasks import own_task
from resqpy.base.errors import ShadowRefused
from resqpy.base.shadowing import shadow_run
from resqpy.engine.definition import define
from resqpy.framework.api.limit import LimitHandle
from resqpy.store import limits
from resqpy.store.migrations import ALL, Migration, migrate, migrations, shadow_outcomes
from tests.engine.test_limits import SLOTS, Desk
from tests.engine.test_migrations import everything, theirs
from tests.engine.test_task_limits import put, raw
from tests.support.waiting import wait_for
from tests.support.working import working

RULE = Migration("q", "ruby", 0, over=10, max_errors=1000, max_ms=0, shadow=ALL)


@pytest.fixture
async def desk(redis_url: str, redis: Any) -> AsyncIterator[Desk]:
    """Exchanges of ten slots."""
    made = Desk(redis_url)
    yield made
    await made.exchange.close()
    await made.store.close()


# -- in the step that sends a job on --


@pytest.mark.parametrize("others", [0, 60])
async def test_a_copy_comes_with_the_reply(desk: Desk, redis: Any, others: int) -> None:
    """The job itself goes to the other side as ever, untouched, once."""
    if others:
        await redis.hset(
            "resque:resqpy:limits", mapping={f"{{limit}}T{n}": 1 for n in range(others)}
        )
    await migrate(desk.store, "C", RULE)
    await put(redis, *map(raw, range(5)), raw(9, "D"))
    found = await desk([], SLOTS, ["q"])
    since = await redis.hget("resque:resqpy:limits:migration:C", "since")

    assert [each.raw for each in found.taken] == [raw(9, "D")]
    assert await theirs(redis) == [*map(raw, range(5))]
    assert [(each.raw, each.number) for each in found.copies] == [(raw(n), n + 1) for n in range(5)]
    assert {each[:3] for each in found.copies} == {("C", "q", since.decode())}
    assert (await migrations(desk.store))["C"].count("copied") == 5


async def test_a_share_is_copied(desk: Desk, redis: Any) -> None:
    """The same jobs each time, by their arguments."""
    copied = []
    for share in (2000, 2000, 6000):
        await migrate(desk.store, "C", replace(RULE, shadow=share))
        found = list[bytes]()
        for start in range(0, 300, 10):
            await put(redis, *map(raw, range(start, start + 10)))
            found += [each.raw for each in (await desk([], SLOTS, ["q"])).copies]
        copied.append({*found})

    assert copied[0] == copied[1] < copied[2]
    assert 30 < len(copied[0]) < 90
    assert 150 < len(copied[2]) < 210


async def test_a_few_at_once(desk: Desk, redis: Any) -> None:
    """The rest is counted; so is what is too large to be sent."""
    await migrate(desk.store, "C", RULE)
    large = b'{"class":"C","queue":"q","args":["' + b"x" * 200_000 + b'"]}'
    await put(redis, large, large, *map(raw, range(40)))
    while (await desk([], SLOTS, ["q"])).full:
        pass
    rule = (await migrations(desk.store))["C"]

    assert len(await theirs(redis)) == 42
    assert rule.count("copied") + rule.count("passed") == 42
    assert rule.count("passed") >= 20


async def test_at_no_cost_without_one(desk: Desk, redis: Any) -> None:
    """With one: three for all copies of an exchange."""
    calls = []
    for shadow in (0, ALL):
        await migrate(desk.store, "C", replace(RULE, shadow=shadow))
        await desk([], SLOTS, ["q"])
        await put(redis, *map(raw, range(20)))
        await redis.config_resetstat()
        await desk([], SLOTS, ["q"])
        stats = await redis.info("commandstats")
        calls.append({name.removeprefix("cmdstat_"): each["calls"] for name, each in stats.items()})

    plain, copies = calls
    assert plain.keys() & {"time", "hmget"} == set()
    assert (copies.pop("time"), copies.pop("hmget")) == (1, 1)
    assert copies.pop("hincrby") == plain.pop("hincrby") + 1
    assert copies == plain


async def test_none_of_other_rules(desk: Desk, redis: Any) -> None:
    """A change of the share ends it, with all that is known of its runs; so does the end of the rule."""
    await redis.rpush("resque:resqpy:limits:shadows:failed:C", "{}")
    await migrate(desk.store, "C", RULE)
    assert (await migrations(desk.store))["C"].shadow == ALL
    assert await redis.exists("resque:resqpy:limits:shadows:failed:C") == 0
    for rule in (replace(RULE, shadow=0), None):
        await migrate(desk.store, "C", RULE)
        await migrate(desk.store, "C", rule)
        await put(redis, raw(1))
        assert (await desk([], SLOTS, ["q"])).copies == []
        assert await redis.hexists("resque:resqpy:limits", "{shadow}C") == 0
    assert await everything(desk) == []


# -- its run --

MAIL = '{"class":"job","queue":"mail","args":[%d]}'


async def _send(redis: Any, count: int, first: int = 0) -> None:
    await redis.sadd("resque:queues", "mail")
    await redis.rpush("resque:queue:mail", *[MAIL % n for n in range(first, first + count)])


async def _ran(resque: Resque, count: int, name: str = "job") -> Migration:
    async def there() -> bool:
        rule = (await migrations(resque.store))[name]
        ends = ("succeeded", "failed", "other", "unable")
        return sum(rule.count(f"shadow_{end}") for end in ends) >= count

    await wait_for(there)
    return (await migrations(resque.store))[name]


MAILS = replace(RULE, queue="mail")


async def test_its_end_is_kept_and_nothing_else_is_written(redis_url: str, redis: Any) -> None:
    """Neither counters nor failed entries, locks, retries; what it would have enqueued is noted."""
    seen = list[bool]()

    async def job(number: int) -> str:
        run = current_run.get()
        seen.append(run.shadow)
        assert await run.queue_object.enqueue("post", "letter", [number])
        assert await run.queue_object.enqueue_in(60_000, "post", "later", [number])
        await run.queue_object.enqueue_many([("post", "many", [n]) for n in range(30)])
        if number % 2:
            raise ValueError(f"odd {number}")
        return "even"

    options = {"Retry": {"retryLimit": 3}}
    ours = define(
        "job", job, plugins=["JobLock", "Retry", "QueueLock"], plugin_options=options, shadow=True
    )
    async with Resque(redis_url) as resque, working(redis_url, {"job": ours}, "mail") as worker:
        await migrate(resque.store, "job", MAILS)
        await _send(redis, 4)
        rule = await _ran(resque, 4)
        outcomes = await shadow_outcomes(resque.store, "job")
        told = {event for event, _ in worker.told} - {"start", "ping"}

    assert seen == [True] * 4
    assert [await redis.llen("resque:queue:mail.ruby"), told] == [4, set()]
    assert (rule.count("shadow_succeeded"), rule.count("shadow_failed")) == (2, 2)
    assert [each["error"] for each in outcomes["failed"]] == [
        "ValueError: odd 1",
        "ValueError: odd 3",
    ]
    first = outcomes["succeeded"][0]
    assert (first["args"], first["wanted"], first["n"]) == ("[0]", 32, 1)
    assert first["jobs"][0] == {"class": "letter", "queue": "post", "args": "[0]"}
    assert first["jobs"][1]["in_ms"] == 60_000
    assert len(first["jobs"]) == 10
    for left in ("failed", "stat:processed", "stat:failed", "queue:post", "delayed_queue_schedule"):
        assert await redis.exists(f"resque:{left}") == 0
    assert [key async for key in redis.scan_iter("resque:*lock*")] == []
    assert [key async for key in redis.scan_iter("resque:*retry*")] == []


async def test_plain_functions_and_their_threads(redis_url: str, redis: Any) -> None:
    """Ask and enqueue likewise; what else would write is refused, what they read is read."""
    from resqpy import SyncQueue

    door, found = SyncQueue(redis_url), list[Any]()

    def job(number: int) -> None:
        assert current_run.get().shadow
        assert door.enqueue("post", "letter", [number])
        found.append(door.length("post"))
        verbs: list[Callable[[], Any]] = [
            lambda: door.delete("mail.ruby", "job", [0]),
            lambda: door.pause_queue("mail"),
            door.retry_all_failed,
        ]
        for verb in verbs:
            with pytest.raises(ShadowRefused):
                verb()

    await redis.rpush(
        "resque:failed", json.dumps({"payload": {"class": "x", "args": []}, "queue": "q"})
    )
    async with (
        Resque(redis_url) as resque,
        working(redis_url, {"job": define("job", job, shadow=True)}, "mail"),
    ):
        await migrate(resque.store, "job", MAILS)
        await _send(redis, 1)
        rule = await _ran(resque, 1)
        outcomes = await shadow_outcomes(resque.store, "job")
    door.close()

    assert (rule.count("shadow_succeeded"), outcomes["failed"], found) == (1, [], [0])
    assert await redis.llen("resque:queue:mail.ruby") == 1
    assert await redis.exists("resque:pause:queue:mail", "resque:queue:post") == 0


@pytest.mark.parametrize("more", [1, object()])
async def test_what_was_sent_is_kept(redis_url: str, redis: Any, more: object) -> None:
    """Whatever its task makes of its arguments; JSON may have no form for that."""

    def job(given: list[object]) -> None:
        given.append(more)

    ours = define("job", job, shadow=True)
    async with Resque(redis_url) as resque, working(redis_url, {"job": ours}, "mail") as worker:
        await migrate(resque.store, "job", MAILS)
        await redis.rpush("resque:queue:mail", '{"class":"job","queue":"mail","args":[[0]]}')
        await _ran(resque, 1)
        [outcome] = (await shadow_outcomes(resque.store, "job"))["succeeded"]
        assert worker.errors == ""
    assert outcome["args"] == "[[0]]"


async def test_only_tasks_that_ask_for_it(redis_url: str, redis: Any) -> None:
    """Others might send a real mail: they do not run."""
    ran = list[int]()
    async with (
        Resque(redis_url) as resque,
        working(redis_url, {"job": define("job", ran.append)}, "mail"),
    ):
        await migrate(resque.store, "job", MAILS)
        await _send(redis, 3)
        rule = await _ran(resque, 3)

    assert (rule.count("shadow_unable"), ran, await redis.llen("resque:queue:mail.ruby")) == (
        3,
        [],
        3,
    )


async def test_what_it_leaves_behind_enqueues_nothing(redis_url: str, redis: Any) -> None:
    """Its context is known for ever: neither is it sent, nor silently dropped."""
    go, ended = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def late(queue: Any) -> None:
        await go.wait()
        try:
            await queue.enqueue("post", "letter", [])
        except ShadowRefused as error:
            ended.set_result(str(error))

    kept = list[Any]()

    async def job(_: int) -> None:
        kept.append(asyncio.ensure_future(late(current_run.get().queue_object)))

    async with (
        Resque(redis_url) as resque,
        working(redis_url, {"job": define("job", job, shadow=True)}, "mail"),
    ):
        await migrate(resque.store, "job", MAILS)
        await _send(redis, 1)
        await _ran(resque, 1)
        go.set()
        assert "letter" in await asyncio.wait_for(ended, 10)
    assert await redis.exists("resque:queue:post") == 0


async def test_a_stop_does_not_wait(redis_url: str, redis: Any) -> None:
    """Of what did not run to its end nothing is known; the job itself is with the other side."""
    begun = asyncio.Event()

    async def job(_: int) -> None:
        begun.set()
        await asyncio.Event().wait()

    async with Resque(redis_url) as resque:
        await migrate(resque.store, "job", MAILS)
        async with working(redis_url, {"job": define("job", job, shadow=True)}, "mail"):
            await _send(redis, 20)
            await asyncio.wait_for(begun.wait(), 10)
        rule = (await migrations(resque.store))["job"]
        outcomes = await shadow_outcomes(resque.store, "job")

    assert (rule.count("theirs"), rule.count("shadow_succeeded")) == (20, 0)
    assert outcomes == {"succeeded": [], "failed": []}
    assert await redis.llen("resque:queue:mail.ruby") == 20


async def test_its_time_limit_and_odd_words(redis_url: str, redis: Any) -> None:
    """End as errors; whatever an error says can be written."""

    async def job(number: int) -> None:
        if number:
            raise ValueError("\ud800" + "x" * 5000)
        await asyncio.Event().wait()

    task = define("job", job, shadow=True, time_limit=50)
    async with Resque(redis_url) as resque, working(redis_url, {"job": task}, "mail"):
        await migrate(resque.store, "job", MAILS)
        await _send(redis, 2)
        await _ran(resque, 2)
        outcomes = await shadow_outcomes(resque.store, "job")

    errors = sorted(each["error"].partition(":")[0] for each in outcomes["failed"])
    assert errors == ["JobTimeout", "ValueError"]
    assert max(len(each["error"]) for each in outcomes["failed"]) < 600


async def test_what_comes_after_a_change_is_not_counted(redis_url: str, redis: Any) -> None:
    """A run that began under a rule that has ended."""
    begun, go = asyncio.Event(), asyncio.Event()

    async def job(_: int) -> None:
        begun.set()
        await go.wait()

    async with (
        Resque(redis_url) as resque,
        working(redis_url, {"job": define("job", job, shadow=True)}, "mail") as worker,
    ):
        await migrate(resque.store, "job", MAILS)
        await redis.hset("resque:resqpy:limits:migration:job", "since", "5")
        await _send(redis, 1)
        await asyncio.wait_for(begun.wait(), 10)
        await migrate(resque.store, "job", None)
        go.set()
        await worker.worker.pool.shadows.close()
        assert await shadow_outcomes(resque.store, "job") == {"succeeded": [], "failed": []}
        assert await redis.exists("resque:resqpy:limits:migration:job") == 0


async def test_limits_of_what_is_outside(redis_url: str, redis: Any) -> None:
    """Hold for it too: a service counts the calls of both sides. What we start meanwhile is no part of it."""
    kept = list[object]()

    async def job(_: int) -> None:
        tasks: Any = SimpleNamespace(inspector=resque, shut_limit=resque.shut_limit)
        handle = LimitHandle(lambda: tasks, "bank")
        async with handle.slot():
            kept.append(await redis.scard("resque:resqpy:limits:slots:bank"))
        await handle.wait_until(5000)
        kept.append(await own_task(_shadow()))
        kept.append(await asyncio.ensure_future(_shadow()) is not None)

    async def _shadow() -> object:
        return shadow_run()

    task = define("job", job, shadow=True)
    async with Resque(redis_url) as resque, working(redis_url, {"job": task}, "mail"):
        await limits.announce(resque.store, {"other": [Limit(3, name="bank")]})
        await migrate(resque.store, "job", MAILS)
        await _send(redis, 1)
        await _ran(resque, 1)
        outcomes = await shadow_outcomes(resque.store, "job")

    assert (kept, outcomes["failed"]) == ([1, None, True], [])
    assert await redis.hexists("resque:resqpy:limits", "{shut}bank")


async def test_one_class_takes_no_room_from_another(redis_url: str, redis: Any) -> None:
    """Of what comes too fast it is counted how much did not run; nothing is left unknown."""
    go = asyncio.Event()

    async def slow(_: int) -> None:
        await go.wait()

    async def quick(_: int) -> None:
        pass

    jobs = {name: define(name, job, shadow=True) for name, job in (("job", slow), ("quick", quick))}
    async with Resque(redis_url) as resque, working(redis_url, jobs, "mail"):
        for name in jobs:
            await migrate(resque.store, name, MAILS)
        for first in range(0, 300, 10):
            await _send(redis, 10, first)
            await wait_for(lambda last=first + 10: _sent(redis, last))  # type: ignore[misc]
        await redis.rpush("resque:queue:mail", *['{"class":"quick","queue":"mail","args":[1]}'] * 7)
        await wait_for(lambda: _sent(redis, 307))
        go.set()
        await _ran(resque, 7, "quick")
        slow_rule = await _ran(resque, 105)
        await wait_for(lambda: _none_is_unknown(resque))
        slow_rule = (await migrations(resque.store))["job"]

    assert slow_rule.count("shadow_succeeded") == slow_rule.count("copied") == 105
    assert slow_rule.count("passed") == 195


async def _sent(redis: Any, count: int) -> bool:
    return bool(await redis.llen("resque:queue:mail.ruby") >= count)


async def _none_is_unknown(resque: Resque) -> bool:
    rule = (await migrations(resque.store))["job"]
    return rule.count("copied") == rule.count("shadow_succeeded")
