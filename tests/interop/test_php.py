"""PHP enqueues, we work; we enqueue, PHP works; what it delays is promoted: the real php-resque."""

from __future__ import annotations

import json
from typing import Any

from resqpy import Queue
from resqpy.engine.inspect.inspector import Resque
from tests.support.foreign_php import PhpProgram
from tests.support.interop_jobs import Ours
from tests.support.scheduling import StartScheduler
from tests.support.waiting import wait_for
from tests.support.working import working

INPUTS: list[dict[str, Any]] = [{"to": "ada"}, {"n": 2**53, "é/": [None, True, "😀"]}]


def named(name: str) -> str:
    """Our jobs under the names of PHP's classes."""
    return {"echo": "Echoed", "fail": "Failing"}.get(name, name)


async def test_php_enqueues_and_we_work(php: PhpProgram, redis_url: str) -> None:
    """Its one argument comes as it was given; none is an empty list, or null."""
    ours = Ours(named)
    async with working(redis_url, ours.jobs, "interop") as work:
        for inputs in INPUTS:
            await php.call("enqueue", "interop", "Echoed", inputs)
        await php.call("enqueue", "interop", "Echoed", [])
        await php.call("enqueue", "interop", "Echoed")
        await work.until(len(INPUTS) + 2)
    assert ours.ran == [*([each] for each in INPUTS), [[]], [None]]
    assert await php.call("stat", "processed") == len(INPUTS) + 2


async def test_we_enqueue_and_php_works(php: PhpProgram, redis_url: str, redis: Any) -> None:
    """Its worker takes our jobs for its own; one that fails is a failure that we list and retry."""
    async with Queue(redis_url) as queue:
        await queue.enqueue_many([("interop", "Echoed", [each]) for each in INPUTS])
        await queue.enqueue("interop", "Failing", [{"a": 1}])

    worker = await php.call("work", ["interop"])

    ran = [json.loads(each)["args"] for each in await redis.lrange("interop:ran", 0, -1)]
    assert ran == INPUTS
    async with Resque(redis_url) as resque:
        [entry] = await resque.failed()
        assert (entry.exception, entry.error) == ("RuntimeException", 'boo {"a":1}')
        assert (entry.worker, entry.queue) == (worker, "interop")
        assert await resque.retry_and_remove_failed(entry)
        [job] = await resque.queued("interop")
    assert (job.class_name, job.args) == ("Failing", [{"a": 1}])


async def test_a_job_that_php_delayed_is_promoted(
    php: PhpProgram, start: StartScheduler, redis: Any
) -> None:
    """It names its queue itself, and has no reverse index."""
    await php.call("enqueue_at", 1_500_000_000, "interop", "Echoed", {"n": 1})
    await start()
    await wait_for(lambda: redis.llen("resque:queue:interop"))
    await php.call("work", ["interop"])
    [ran] = await redis.lrange("interop:ran", 0, -1)
    assert json.loads(ran)["args"] == {"n": 1}


async def test_php_sees_our_workers(php: PhpProgram, redis_url: str) -> None:
    """By their ids, as its own."""
    async with working(redis_url, Ours(named).jobs, "interop", slots=2) as work:
        found = await php.call("workers")
        async with Resque(redis_url) as resque:
            assert sorted(found) == sorted(await resque.workers())
    assert len(found) == 2
    del work


async def test_a_job_that_we_delayed_is_promoted_by_php(
    php: PhpProgram, redis_url: str, redis: Any
) -> None:
    """It gets an id of PHP's then; its arguments are the same."""
    async with Resque(redis_url) as resque:
        await resque.enqueue_in(1, "interop", "Echoed", [{"n": 1}])
        await wait_for(lambda: _promoted(php, redis))
        assert await resque.all_delayed() == {}
    await php.call("work", ["interop"])
    [ran] = await redis.lrange("interop:ran", 0, -1)
    assert json.loads(ran)["args"] == {"n": 1}


async def _promoted(php: PhpProgram, redis: Any) -> int:
    await php.call("promote")
    return int(await redis.llen("resque:queue:interop"))


async def test_each_deletes_what_the_other_enqueued(php: PhpProgram, redis_url: str) -> None:
    """By arguments and by class."""
    async with Resque(redis_url) as resque:
        for n in (1, 1, 2):
            await php.call("enqueue", "interop", "Echoed", {"n": n})
        assert await resque.delete("interop", "Echoed", [{"n": 1}]) == 2
        assert await resque.del_by_function("interop", "Echoed") == 1

        await resque.enqueue_many([("interop", "Echoed", [{"n": n}]) for n in (1, 1, 2)])
        assert await php.call("dequeue", "interop", {"Echoed": {"n": 1}}) == 2
        assert await php.call("dequeue", "interop", ["Echoed"]) == 1
        assert await resque.length("interop") == 0


async def test_each_deletes_what_the_other_delayed(php: PhpProgram, redis_url: str) -> None:
    """We find PHP's without an index; PHP goes by the bytes that it would write, in another order than Node."""
    later_s = 3_000_000_000
    async with Resque(redis_url) as resque:
        await php.call("enqueue_at", later_s, "interop", "Echoed", {"n": 1})
        assert await resque.scheduled_at("interop", "Echoed", [{"n": 1}]) == [later_s * 1000]
        assert await resque.del_delayed("interop", "Echoed", [{"n": 1}]) == [later_s * 1000]

        await resque.enqueue_at(later_s * 1000, "interop", "Echoed", [{"n": 1}])
        removed = await php.call("remove_delayed", "interop", "Echoed", {"n": 1})
        assert (removed, len(await resque.all_delayed())) == (0, 1)
