"""On a queue that is paused or limited Node and Ruby do what docs/how-to/deploy.md says: they don't know of it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from resqpy import Limit, Queue, Resque
from resqpy.diagnosis.limiting import limit_views
from resqpy.framework.api.scheduler import Scheduler
from tests.engine.test_limits import LAZY
from tests.support.foreign import NodeDriver, RubyDriver
from tests.support.interop_jobs import Ours
from tests.support.waiting import wait_for
from tests.support.working import working

RULES: dict[str, Callable[[Resque], Awaitable[Any]]] = {
    "paused": lambda resque: resque.pause_queue("interop"),
    "limit of the queue": lambda resque: resque.limit_running("interop", 0),
}


async def theirs(redis: Any) -> list[list[Any]]:
    """The arguments of the runs that the other program noted."""
    return [json.loads(each)["args"] for each in await redis.lrange("interop:ran", 0, -1)]


async def ours_rest(
    redis: Any, redis_url: str, rule: str, name: str, theirs_work: Callable[[], Awaitable[Any]]
) -> None:
    """A worker of ours takes nothing from the queue, the other program takes all of it."""
    ours = Ours(str)
    jobs = {name: ours.echo, "open": ours.echo}
    async with (
        Queue(redis_url) as queue,
        Resque(redis_url) as resque,
        working(redis_url, jobs, "interop,open") as work,
    ):
        await RULES[rule](resque)
        await queue.enqueue_many([("interop", name, [n]) for n in range(5)])
        await queue.enqueue("open", "open", ["ours"])
        await work.until(1)
        assert await redis.llen("resque:queue:interop") == 5
        await theirs_work()

        async def all_done() -> bool:
            return await theirs(redis) == [[n] for n in range(5)]

        await wait_for(all_done)
    assert ours.ran == [["ours"]]


async def parked_and_put_back(
    redis: Any, redis_url: str, name: str, theirs_work: Callable[[], Awaitable[Any]]
) -> None:
    """Jobs that the other program enqueued, each with an account: the limit of each account holds for ours; what
    is parked is not in the queue that it sees, until it is put back.
    """
    ours = Ours(str)
    jobs = {name: {"perform": ours.hold, "limit": Limit(1, per="account")}}
    async with Resque(redis_url) as resque:
        async with working(redis_url, jobs, "interop", slots=4, **LAZY) as work:
            await wait_for(lambda: len(work.args("job")) == 2)
            await work.until_quiet()
            assert await redis.llen("resque:queue:interop") == 0
            assert await resque.length("interop") == 2
            ours.gate.set()
            await work.until(2)
            await work.until(4)
        await resque.set_limit(f"{name}:account", 0)
        await redis.rpush(
            "resque:queue:interop",
            *(json.dumps({"class": name, "args": [{"account": 1, "n": n}]}) for n in range(3)),
        )
        async with working(redis_url, jobs, "interop", slots=4, **LAZY) as work:
            await wait_for(lambda: redis.zcard("resque:resqpy:limits:parked"))
            await work.until_quiet()
        assert await redis.llen("resque:queue:interop") == 0
        assert await resque.put_back_parked("interop") == 3
    await theirs_work()

    async def all_done() -> bool:
        return [args[0]["n"] for args in await theirs(redis)] == [0, 1, 2]

    await wait_for(all_done)


@pytest.mark.parametrize("rule", RULES)
async def test_node_works_on(node: NodeDriver, redis_url: str, redis: Any, rule: str) -> None:
    """Whatever holds for ours."""
    await ours_rest(redis, redis_url, rule, "echo", lambda: node.call("worker.start", {}))


async def test_what_is_parked_node_does_not_see(
    node: NodeDriver, redis_url: str, redis: Any
) -> None:
    """Its own jobs, too."""
    for account in (1, 1, 2, 2):
        await node.call("queue.enqueue", "interop", "echo", [{"account": account}])
    start = lambda: node.call("worker.start", {})  # noqa: E731
    await parked_and_put_back(redis, redis_url, "echo", start)


@pytest.mark.parametrize("rule", RULES)
async def test_ruby_works_on(ruby: RubyDriver, redis_url: str, redis: Any, rule: str) -> None:
    """Whatever holds for ours; only classes that use the gem resque-pause obey its key."""
    await ours_rest(
        redis, redis_url, rule, "Echo", lambda: ruby.call("worker.drain", {"fork": False})
    )


async def test_what_is_parked_ruby_does_not_see(
    ruby: RubyDriver, redis_url: str, redis: Any
) -> None:
    """Its own jobs, too."""
    for account in (1, 1, 2, 2):
        await ruby.call("enqueue", "Echo", [{"account": account}])
    drain = lambda: ruby.call("worker.drain", {"fork": False})  # noqa: E731
    await parked_and_put_back(redis, redis_url, "Echo", drain)


async def test_what_node_runs_is_counted(node: NodeDriver, redis_url: str, redis: Any) -> None:
    """Ours waits aside while Node's worker runs the one that may run, and runs when that has ended."""
    ours = Ours(str)
    jobs = {"wait": {"perform": ours.echo, "limit": Limit(1, foreign="count")}}
    scheduler = Scheduler(redis_url)
    await node.call("queue.enqueue", "interop", "wait", [1])
    await node.call("worker.start", {})
    await node.wait_event("job")
    await scheduler.start()
    try:
        async with Resque(redis_url) as resque, working(redis_url, jobs, "ours") as work:

            async def seen() -> bool:
                return [each.foreign for each in await limit_views(resque)] == [{"node": 1}]

            await wait_for(seen)
            await redis.sadd("resque:queues", "ours")
            await redis.rpush("resque:queue:ours", json.dumps({"class": "wait", "args": [2]}))
            await wait_for(lambda: redis.zcard("resque:resqpy:limits:parked"))
            assert ours.ran == []
            await redis.set("interop:open", "1")
            await work.until(1)
    finally:
        await scheduler.stop()
    assert (ours.ran, await theirs(redis)) == ([[2]], [[1]])
