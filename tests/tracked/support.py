"""What the tests of tracked tasks share."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Self

from redis.asyncio import Redis

from resqpy.base.codec import delayed_queue
from resqpy.base.keys import Keys
from resqpy.engine.definition import definitions
from resqpy.engine.options import ScalingOptions, WorkerOptions
from resqpy.engine.worker.multi_worker import MultiWorker
from resqpy.store.connection.client import Store
from resqpy.store.connection.options import RedisOptions
from resqpy.tracked import record_fields, records
from resqpy.tracked.delivery import Deliveries, Handler, Listener, definition_of, with_tracking
from resqpy.tracked.handle import TrackedTask
from resqpy.tracked.processing import LockKeeper
from resqpy.tracked.recovery import settle_due
from resqpy.tracked.verbs import Tracked
from tests.support.waiting import wait_for

KEYS = Keys()
Listen = Callable[..., Awaitable[Listener]]


class Workshop:
    """A worker of all queues that runs tracked tasks, and others; an async context."""

    def __init__(
        self,
        store: Store,
        jobs: dict[str, Any],
        *,
        slots: int = 5,
        queues: str = "*",
        options: WorkerOptions | None = None,
    ) -> None:
        self.keeper = LockKeeper(store.options)
        self.deliveries = Deliveries(self.keeper)
        self.worker = MultiWorker(
            store,
            with_tracking(definitions(jobs), self.deliveries),
            queues,
            options,
            ScalingOptions(min_task_processors=slots, max_task_processors=slots),
        )
        self.errors: list[Any] = []
        self.worker.on("error", lambda *details: self.errors.append(details))

    async def __aenter__(self) -> Self:
        await self.worker.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.worker.stop()
        await asyncio.to_thread(self.keeper.close)


class Counted:
    """Counts the tasks that a listener has finished, and the errors that assertions raised."""

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.count = 0
        self.errors: list[Any] = []
        listener.on("finished_task", self._finished)
        listener.on("error", self.errors.append)

    def _finished(self, _: object) -> None:
        self.count += 1


async def processed(listener: Listener, count: int = 1) -> None:
    """Return when a listener has finished so many tasks in all."""
    await wait_for(lambda: counts[listener].count >= count, message=f"{count} tasks processed")


counts: dict[Listener, Counted] = {}


@asynccontextmanager
async def listening(store: Store, keeper: LockKeeper) -> AsyncIterator[Listen]:
    """Makes listeners of a type; they are destroyed at the end."""
    made: list[Listener] = []

    async def make(
        task_type: str, handler: Handler, *, start: bool = True, **more: Any
    ) -> Listener:
        given = {
            name: more.pop(name) for name in ("clock", "interceptor", "on_step") if name in more
        }
        deliveries = partial(Deliveries, keeper, **given)
        definition = definition_of(task_type, handler)
        listener = Listener(store, definition, task_type, deliveries, **more)
        counts[listener] = Counted(listener)
        made.append(listener)
        if start:
            await listener.start()
        return listener

    yield make
    for listener in made:
        if not listener.destroyed:
            await listener.destroy()
        await listener.wait_destroyed()
        assert counts.pop(listener).errors == []


async def known(tracked: Tracked, task_id: str) -> TrackedTask:
    """A task that must be there."""
    return await tracked.fetch(task_id)


async def status_is(tracked: Tracked, task_id: str, status: str) -> TrackedTask:
    """A task, as soon as it has a status."""

    async def there() -> TrackedTask | None:
        task = await tracked.get(task_id)
        return task if task is not None and task.status == status else None

    found = await wait_for(there, message=f"{task_id} is {status}")
    assert found is not None
    return found


async def promote(client: Redis) -> None:
    """Move what is due to its queue: what any scheduler does."""
    redis: Any = client  # redis-py's types mix its sync and async replies
    now_s, _ = await redis.time()
    for member in await redis.zrangebyscore(KEYS.schedule, "-inf", now_s):
        second = member.decode()
        while (item := await redis.lpop(KEYS.delayed(second))) is not None:
            await redis.srem(KEYS.timestamps(item), KEYS.delayed_member(second))
            queue = delayed_queue(item)
            assert queue is not None
            await redis.sadd(KEYS.queues, queue)
            await redis.rpush(KEYS.queue(queue), item)
        await redis.zrem(KEYS.schedule, second)


@asynccontextmanager
async def promoting(redis: Redis, store: Store, *, settles: bool = True) -> AsyncIterator[None]:
    """A scheduler, as simple as can be, which settles tracked tasks too, unless it is a foreign one."""
    over = asyncio.Event()  # not cancelled: redis-py may swallow that

    async def loop() -> None:
        while not over.is_set():
            await promote(redis)
            if settles:
                await settle_due(store)
            await asyncio.sleep(0.02)

    task = asyncio.create_task(loop())
    try:
        yield
    finally:
        over.set()
        await task


@asynccontextmanager
async def checked_store(redis_url: str, redis: Redis) -> AsyncIterator[Store]:
    """A store; at the end the indexes must agree with the records."""
    store = Store(RedisOptions(redis_url))
    yield store
    await store.close()
    await check_indexes(redis)


async def check_indexes(client: Redis) -> None:
    """The sorted sets have what the records say, no more and no less."""
    redis: Any = client
    wanted: dict[str, dict[str, int]] = defaultdict(dict)
    prefix = KEYS.task("").encode()
    async for key in redis.scan_iter(match=prefix + b"*"):
        task_id = key.removeprefix(prefix).decode()
        flat = [word for pair in (await redis.hgetall(key)).items() for word in pair]
        record = record_fields.from_flat(task_id, flat)
        for name, score in records.entries(KEYS, record).items():
            wanted[name][task_id] = score
    found: dict[str, dict[str, int]] = {}
    async for key in redis.scan_iter(match=KEYS.own("tasks").encode() + b":*"):
        members = await redis.zrange(key, 0, -1, withscores=True)
        found[key.decode()] = {each.decode(): int(score) for each, score in members}
    wanted.pop(KEYS.tasks_pending, None)  # its scores are moved by who looked for lost tasks
    found.pop(KEYS.tasks_pending, None)
    assert found == dict(wanted)
