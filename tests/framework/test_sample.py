"""The sample project, which `bin/quickstart` runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from redis.asyncio import Redis

from resqpy.framework.api.api import api
from resqpy.framework.process.process import Process
from resqpy.framework.project.project import Project
from tests.framework.conftest import until

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("env", ["development", "test", "production"])
def test_nothing_is_wrong_with_it(env: str) -> None:
    """In no environment."""
    project = Project.load(ROOT, env, environ={})

    assert project.errors == ()
    assert sorted(project.registry.tasks) == [
        "count_words", "fetch_weather", "sayHello", "sendWelcomeEmail", "send_reminder",
    ]  # fmt: skip


async def test_its_tasks_run(
    redis_url: str, redis: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    """Plain, delayed, periodic, failing and retried, in a thread: a person sees each."""
    project = Project.load(ROOT, overrides={"redis.url": redis_url}, environ={})
    seen = ""

    def all_seen() -> bool:
        nonlocal seen
        seen += capsys.readouterr().out
        wanted = ("mail to ada@example.com", "3 words", "about", "hello", "sunny, at try 3")
        return all(words in seen for words in wanted)

    async with Process(project, worker=True, scheduler=True):
        await api.tasks.enqueue("sendWelcomeEmail", {"to": "ada@example.com"})
        await api.tasks.enqueue("count_words", {"text": "to be or"})
        await api.tasks.enqueue("fetch_weather", {"city": "Berlin"})
        await api.tasks.enqueue_in(100, "send_reminder", {"to": "ada", "about": "about"})
        await until(all_seen, 15)

    assert await redis.llen("resque:failed") == 0
