"""The plugins and the middleware of a task, where it is created and run as a tracked one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
from redis.asyncio import Redis

from resqpy.base.errors import HookTimeout, UsageError
from resqpy.engine.definition import define
from resqpy.engine.inspect.inspector import Inspector
from resqpy.engine.plugin import Enqueuing, Plugin
from resqpy.engine.queue.queue import Queue
from resqpy.framework.api.api import api as resqpy_api
from resqpy.framework.api.tracking import TrackedApi
from resqpy.framework.process.process import Process
from resqpy.framework.project.project import Project
from resqpy.framework.tasks.task import Task
from resqpy.store.connection.client import Store
from resqpy.tracked.errors import TaskRefused
from resqpy.tracked.verbs import Tracked
from tests.support.waiting import wait_for
from tests.tracked.support import KEYS, promoting, status_is

CHANGES: dict[str, Callable[[Enqueuing], Any]] = {
    "some": lambda job: job.args[0].update(n=2, x=1e-7),
    "odd": lambda job: job.args[0].update(at={1}),
    "id": lambda job: job.args[0].update(_task_id="x"),
    "two": lambda job: job.args.append({}),
    "none": lambda job: job.args.clear(),
}


class Asked(Plugin):
    """Notes what it is asked, and forbids what says so."""

    asked: ClassVar[list[tuple[str, str, list[Any]]]] = []

    async def before_enqueue(self, job: Enqueuing) -> bool:
        """Allow what is allowed, and change what is to be changed."""
        self.asked.append(("before", job.queue, job.args))
        if "change" in job.args[0]:
            CHANGES[job.args[0].pop("change")](job)
        assert isinstance(job.queue_object, Queue)
        return not (job.args and job.args[0].get("forbidden"))

    async def after_enqueue(self, job: Enqueuing) -> None:
        """Note it."""
        self.asked.append(("after", job.queue, job.args))


class Hooked(Task):
    """A task with hooks at enqueueing."""

    name = "hooked"
    plugins: ClassVar = [Asked]

    async def run(self, **inputs: Any) -> None:
        """Fail where that is wanted."""
        if inputs.get("fails"):
            raise ValueError("no")


class Alone(Task):
    """Of equal ones, one runs."""

    name = "alone"
    plugins: ClassVar = ["JobLock"]
    plugin_options: ClassVar = {"JobLock": {"enqueue_timeout": 50}}
    running: ClassVar[list[int]] = []

    async def run(self, **inputs: Any) -> int:
        """How many ran."""
        self.running.append(1)
        await asyncio.sleep(0.1)
        count = len(self.running)
        self.running.pop()
        return count


class Stubborn(Task):
    """Retried by its own plugin."""

    name = "stubborn"
    plugins: ClassVar = ["Retry"]
    plugin_options: ClassVar = {
        "Retry": {"retry_limit": 3, "retry_delay": 1, "fatal_exceptions": [KeyError]}
    }

    async def run(self, error: str) -> None:
        """Fail."""
        raise KeyError("fatal") if error == "fatal" else ValueError("again")


@pytest.fixture
async def api(store: Store) -> AsyncIterator[TrackedApi]:
    """Handlers of those tasks; they take nothing yet."""
    Asked.asked.clear()
    api = TrackedApi(store)
    for kind in (Hooked, Alone, Stubborn):
        await api.listen(kind.name, kind)
    yield api
    await api.stop()


async def runs(api: TrackedApi, task_id: str, count: int) -> bool:
    """Whether a task has run so often."""
    return (await api.fetch(task_id)).runs == count


async def test_hooks(api: TrackedApi, redis: Redis, store: Store) -> None:
    """Hooks are asked once, without the id: not again when a task is promoted, retried, recurs."""
    task = await api.create("hooked", {"fails": True}, priority=2, delay=1, retries=1, backoff=1)
    job = ("hooked^2", [{"fails": True}])
    assert Asked.asked == [("before", *job), ("after", *job)]
    async with promoting(redis, store):
        await api.start()
        await status_is(api, task.id, "failed")
        await api.retry(task.id)
        await wait_for(partial(runs, api, task.id, 2))
        inspector = Inspector(Queue(store, jobs={"hooked": api.listeners["hooked"].definition}))
        assert await inspector.retry_all_failed() > 0
        await wait_for(partial(runs, api, task.id, 3))
    assert len(Asked.asked) == 2


async def test_a_hook_that_forbids(api: TrackedApi, redis: Redis) -> None:
    """The creator is told who forbade it, and nothing is written."""
    with pytest.raises(TaskRefused, match="task 'hooked': Asked forbids it"):
        await api.create("hooked", {"forbidden": True})
    assert [kind for kind, *_ in Asked.asked] == ["before"]
    assert await redis.keys("*") == []


async def test_a_hook_that_changes_the_payload(api: TrackedApi, redis: Redis) -> None:
    """The record, the job and the hook behind have what it was changed to; the caller's stays."""
    payload = {"n": 1, "change": "some"}
    task = await api.create("hooked", payload)
    many = await api.create_many([("hooked", payload)])
    for each in (task, await api.fetch(task.id), *many):
        assert each is not None
        assert each.payload == {"n": 2, "x": 1e-7}
    assert Asked.asked[1][2] == [{"n": 2, "x": 1e-7}]
    assert payload == {"n": 1, "change": "some"}
    client: Any = redis
    raw = (
        f'{{"class":"hooked","queue":"hooked","args":[{{"n":2,"x":1e-07,"_task_id":"{task.id}"}}]}}'
    )
    assert raw.encode() in await client.lrange(KEYS.queue("hooked"), 0, -1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("odd", r"task 'hooked' .*Asked.*args\[0\]\.at: set is not JSON"),
        ("id", "task 'hooked'.*'_task_id' is reserved"),
        ("two", "Asked, .* task 'hooked'.*only argument"),
        ("none", "task 'hooked'.* payload: .*list"),
    ],
)
async def test_a_hook_that_changes_it_to_what_can_not_be_written(
    api: TrackedApi, redis: Redis, change: str, words: str
) -> None:
    """The creator is told what is wrong, and nothing is written."""
    with pytest.raises(UsageError, match=words):
        await api.create("hooked", {"change": change})
    assert await redis.keys("*") == []


async def test_a_hook_that_hangs(store: Store, redis: Redis) -> None:
    """It has its time, as in an enqueue."""

    class Hangs(Plugin):
        hook_timeout = 20

        async def before_enqueue(self, job: Enqueuing) -> bool:
            await asyncio.sleep(3600)
            return True

    task = define("a", print, plugins=[Hangs])
    with pytest.raises(HookTimeout, match="Hangs"):
        await Tracked(store, definition_of=lambda _: task).create("a")
    assert await redis.keys("*") == []


MIDDLEWARE = """
from resqpy import Middleware

class Guard(Middleware):
    everywhere = True

    def pre_enqueue(self, job):
        if job.args == [{"to": "nobody"}]:
            raise PermissionError("not to nobody")
        return job.args != [{"to": "spam"}]

    async def post_enqueue(self, job):
        text = f"{job.class_name} {job.queue} {job.args}"
        await job.queue_object.store.call("RPUSH", "heard", text)
"""
TASK = '''
from resqpy import Task

class SendMail(Task):
    """Send a mail."""
    name = "sendMail"

    async def run(self, to: str) -> None: ...
'''


async def test_middleware(tmp_path: Path, redis_url: str, redis: Redis) -> None:
    """`pre_enqueue` may forbid a tracked task or say why not; `post_enqueue` hears of it."""
    for folder, text in (("tasks", TASK), ("middleware", MIDDLEWARE)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(text)
    (tmp_path / "config").mkdir()
    project = Project.load(tmp_path, "test", {"redis.url": redis_url, "tasks.timeout": 100})
    async with Process(project, worker=True):
        tracked = resqpy_api.tracked
        with pytest.raises(TaskRefused, match="task 'sendMail': guard forbids it"):
            await tracked.create("sendMail", {"to": "spam"})
        with pytest.raises(PermissionError, match="not to nobody"):
            await tracked.create("sendMail", {"to": "nobody"})
        assert await tracked.count() == 0
        task = await tracked.create("sendMail", {"to": "a@b.c"}, id="one")
        await status_is(tracked, task.id, "completed")
    client: Any = redis
    assert await client.lrange("heard", 0, -1) == [b"sendMail default [{'to': 'a@b.c'}]"]


async def test_job_lock(api: TrackedApi, redis: Redis, store: Store) -> None:
    """Of two equal payloads one runs at a time; the other is put off by its record."""
    await api.start()
    tasks = [await api.create("alone", {"a": 1}) for _ in range(2)]
    async with promoting(redis, store):
        done = [await status_is(api, task.id, "completed") for task in tasks]
    assert [each.result for each in done] == [1, 1]
    assert [each.attempts for each in done] == [0, 0]
    assert await redis.keys(KEYS.job_lock("*", "*", "*").replace("\\", "")) == []


async def test_retry(api: TrackedApi, redis: Redis, store: Store) -> None:
    """Retry's rule decides, the record counts; equal payloads don't share a count."""
    await api.start()
    tasks = [await api.create("stubborn", {"error": "x"}) for _ in range(2)]
    fatal = await api.create("stubborn", {"error": "fatal"})
    none = await api.create("stubborn", {"error": "x"}, retries=0)
    async with promoting(redis, store):
        for task in (fatal, none, *tasks):
            await status_is(api, task.id, "failed")
    assert await redis.llen(KEYS.failed) == 4
    assert await redis.keys("resque:resque-retry*") == []
