"""Worker processes obey orders and answer, also when a job blocks their event loop, or when they were away."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import types
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy.diagnosis.processes import SeenProcess, log_level, order, processes
from resqpy.engine.inspect.inspector import Inspector
from resqpy.framework.api.api import api
from resqpy.framework.logs.log import configure, get_logger
from resqpy.framework.process.process import Process
from resqpy.store import orders
from tests.framework.conftest import MakeProject, until
from tests.support.waiting import PATIENCE_S

BLOCKS = """
    import tasks_blocks_events as events
    from resqpy import task

    @task
    async def blocks():
        "For the test."
        events.ENTERED.set()
        assert events.GO_ON.wait(60)
"""

QUICK = """
    from resqpy import task

    @task
    async def quick():
        "For the test."
"""


@pytest.fixture
async def process(make_project: MakeProject) -> AsyncIterator[Process]:
    """A worker process of two to four task processors."""
    limits = {
        "tasks.min_task_processors": 2,
        "tasks.max_task_processors": 4,
        "tasks.heartbeat": 200,
    }
    async with Process(make_project(limits), worker=True) as process:
        yield process


async def give(url: str, verb: str, args: dict[str, Any] | None = None) -> dict[str, Any]:
    """Order the one process, and return its answer."""
    async with Inspector(url) as inspector:
        [one] = await processes(inspector)
        answers = await order(
            inspector, [one], verb, args or {}, wait_s=PATIENCE_S, valid_ms=60_000, by="ann"
        )
    return answers[one.id]


async def seen(url: str) -> SeenProcess:
    """The one process, as others see it."""
    async with Inspector(url) as inspector:
        [one] = await processes(inspector)
    return one


async def test_it_says_how_it_is(process: Process, redis_url: str, redis: Redis) -> None:
    """And what it does; afterwards only answers are left, which expire."""
    answer, shown = await give(redis_url, "ping"), await seen(redis_url)
    stacks = (await give(redis_url, "stacks"))["stacks"]

    assert (answer["state"], answer["busy"], answer["min"], answer["max"]) == ("working", 0, 2, 4)
    assert (shown.state, shown.workers, shown.busy) == ("working", 2, 0)
    assert shown.is_named(shown.id[:4])
    assert shown.is_named(f"{shown.host}:{answer['pid']}")
    assert "thread resqpy-heartbeat" in stacks
    left = await redis.keys("resque:resqpy:orders:*")
    ttls = [await redis.pttl(key) for key in await redis.keys("resque:resqpy:answers:*")]
    assert left == []
    assert len(ttls) == 2
    assert all(0 < each <= orders.ANSWERS_KEPT_MS for each in ttls)


async def test_it_takes_no_more_jobs(process: Process, redis_url: str) -> None:
    """Until it is restarted, and others see it."""
    answer = await give(redis_url, "quiet")

    assert answer["state"] == "quiet"
    await until(lambda: _is_quiet(redis_url))


async def _is_quiet(url: str) -> bool:
    return (await seen(url)).state == "quiet"


async def test_it_scales(process: Process, redis_url: str) -> None:
    """To other bounds, also where it had a fixed size; what are no bounds is an error."""
    more = await give(redis_url, "scale", {"min": 6, "max": 6})
    fewer = await give(redis_url, "scale", {"min": 1, "max": 3})
    wrong = await give(redis_url, "scale", {"min": 5, "max": 1})
    odd = await give(redis_url, "scale", {"min": "5"})

    assert (more["processors"], more["min"], more["max"]) == (6, 6, 6)
    assert fewer["processors"] <= 3
    assert "5 and 1" in wrong["error"]
    assert "'5'" in odd["error"]


async def test_it_does_not_scale_without_end(process: Process, redis_url: str) -> None:
    """Each task processor is a worker in Redis; the loop would be at it for minutes."""
    answer = await give(redis_url, "scale", {"min": 999_999, "max": 9_999_999})
    assert "too many for one process" in answer["error"]
    assert (await seen(redis_url)).workers == 2


async def test_it_stops(process: Process, redis_url: str) -> None:
    """In order; it answers before."""
    answer = await give(redis_url, "stop", {"timeout_ms": 500})
    await asyncio.wait_for(process.wait(), PATIENCE_S)

    assert "error" not in answer
    assert process.stopping


async def test_what_it_does_not_know(process: Process, redis_url: str, redis: Redis) -> None:
    """Is answered; what is no order is dropped."""
    one = await seen(redis_url)
    key = f"resque:resqpy:orders:{one.id}"
    await redis.set(key, b'\xff\n{"id":1}\n[]\n\n')
    answer = await give(redis_url, "dance")

    assert "dance" in answer["error"]
    await until(lambda: _gone(redis, key))


async def _gone(redis: Redis, key: str) -> bool:
    return not await redis.exists(key)


async def test_an_order_that_waited_is_obeyed_unless_it_is_too_old(
    process: Process, redis_url: str, redis: Redis
) -> None:
    """A process that was away, so nobody told it, reads it with its next heartbeat."""
    one = await seen(redis_url)
    async with Inspector(redis_url) as inspector:
        now_ms = await inspector.now_ms()
        texts = [
            f'{{"id":"{name}","verb":"quiet","args":{{}},"until":{until_ms},"by":"ann"}}'
            for name, until_ms in (("late", now_ms - 1), ("fine", now_ms + 60_000))
        ]
        await redis.set(f"resque:resqpy:orders:{one.id}", "\n".join(texts))

        async def both() -> list[dict[str, Any]] | None:
            found = [await orders.answers(inspector.store, name) for name in ("late", "fine")]
            return [each[one.id] for each in found] if all(found) else None

        late, fine = await until(both)

    assert "too late" in late["error"]
    assert fine["state"] == "quiet"


async def test_a_blocked_loop_answers(
    make_project: MakeProject, redis_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With the line that blocks it; what needs the loop waits for it, and the log says if it fails then."""
    events = types.ModuleType("tasks_blocks_events")
    entered, go_on = threading.Event(), threading.Event()
    vars(events).update(ENTERED=entered, GO_ON=go_on)
    monkeypatch.setitem(sys.modules, "tasks_blocks_events", events)
    file = tmp_path / "log"
    settings = {"tasks.heartbeat": 200, "tasks.min_task_processors": 1, "logger.file": str(file)}
    project = make_project(settings, tasks__blocks=BLOCKS)
    configure(project.config.logger, "demo")
    answers: dict[str, Any] = {}

    def ask() -> None:
        try:
            assert entered.wait(PATIENCE_S)
            for verb in ("stacks", "quiet", "scale"):
                answers[verb] = asyncio.run(give(redis_url, verb, {"min": 2, "max": 1}))
        finally:
            go_on.set()

    asking = threading.Thread(target=ask)
    async with Process(project, worker=True) as process:
        asking.start()
        await api.tasks.enqueue("blocks")
        await until(lambda: process.state == "quiet")
        asking.join()
        await until(lambda: "cannot run between 2 and 1 task processors" in _read(file))

    assert "GO_ON.wait(60)" in answers["stacks"]["stacks"]
    assert answers["stacks"]["busy"] == 1
    assert "blocked" in answers["quiet"]["waits"]
    assert "waits" in answers["scale"]


async def test_it_logs_more_for_a_time(
    make_project: MakeProject, redis_url: str, tmp_path: Path
) -> None:
    """Whoever logs, also by a logger that was bound before; then its configuration holds by itself again."""
    file = tmp_path / "log"
    project = make_project(
        {
            "tasks.min_task_processors": 1,
            "tasks.heartbeat": 200,
            "logger.file": str(file),
            "logger.level": "info",
        },
        tasks__quick=QUICK,
    )
    configure(project.config.logger, "demo")
    bound = get_logger(by="me").bind()

    async def lines(event: str) -> int:
        await api.tasks.enqueue("quick")
        bound.debug("my line")
        logging.getLogger("mine").debug("theirs")
        return _read(file).count(event)

    async with Process(project, worker=True) as process:
        assert (await seen(redis_url)).log_level == "info"
        answer = await give(redis_url, "log-level", {"log_level": "debug", "for_ms": 60_000})
        shown = await seen(redis_url)
        await until(lambda: lines("job started"))
        assert process.resque.multi_worker is not None
        assert process.resque.multi_worker.has_listeners("job")
        text = _read(file)
        await give(redis_url, "log-level", {"log_level": "error", "for_ms": 1})
        await until(lambda: _logs(redis_url, "info", file, "of the configuration again"))
        assert not process.resque.multi_worker.has_listeners("job")
        await give(redis_url, "log-level", {"log_level": "warning"})
        ever = await seen(redis_url)
        await give(redis_url, "log-level")
        default = await seen(redis_url)
        wrong = await give(redis_url, "log-level", {"log_level": "debgu"})

    assert answer["log"]["now"] == shown.log_level == "debug"
    assert answer["log"]["until"] == shown.log_until_ms
    assert "my line" in text
    assert "theirs" in text
    assert (ever.log_level, ever.log_until_ms) == ("warning", None)
    assert default.log_level == "info"
    assert "did you mean 'debug'" in wrong["error"]


def _read(file: Path) -> str:
    return file.read_text()


async def _logs(url: str, level: str, file: Path, text: str) -> bool:
    return (await seen(url)).log_level == level and text in _read(file)


async def test_the_application_has_its_own_logging(process: Process, redis_url: str) -> None:
    """Which is left alone, with an error that says so."""
    answer = await give(redis_url, "log-level", {"log_level": "debug"})

    assert "configures its logging itself" in answer["error"]
    assert (await seen(redis_url)).log_level == process.project.config.logger.level


@pytest.mark.parametrize(
    ("told", "level", "until_ms"),
    [
        (None, "", None),
        ([], "", None),
        ({"level": "info"}, "info", None),
        ({"level": "info", "now": "debug"}, "debug", None),
        ({"level": "info", "now": "debug", "until": 101}, "debug", 101),
        ({"level": "info", "now": "debug", "until": 100}, "info", None),
    ],
)
def test_what_a_process_told(told: Any, level: str, until_ms: int | None) -> None:
    """An older version tells nothing; a time that is over does not hold."""
    assert log_level(told, 100) == (level, until_ms)
