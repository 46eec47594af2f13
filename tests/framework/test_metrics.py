"""`GET /metrics` of a process at work, read by Prometheus' own client."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis

from resqpy.embedded import PrivateServer
from resqpy.framework.api.api import api
from resqpy.framework.process import metrics
from resqpy.framework.process.process import Process
from tests.framework.conftest import MakeProject, until
from tests.support.ports import free_port
from tests.support.probes import fetch

TASKS = """
    import asyncio
    from resqpy import Plugin, Snooze, task

    class Never(Plugin):
        async def before_perform(self, run):
            return False

    @task(plugins=[Never])
    async def never():
        "For the test."

    @task
    async def good():
        "For the test."
        await asyncio.sleep(0.03)

    @task
    async def bad():
        "For the test."
        raise ValueError("as planned")

    @task(retry=1)
    async def again():
        "For the test."
        raise ValueError("as planned")

    @task
    async def waits():
        "For the test."
        await asyncio.Event().wait()

    @task()
    async def rests():
        "For the test."
        raise Snooze(60_000)

    @task(queue="mail")
    async def mail():
        "For the test."
        pass
"""
DOCS = Path(__file__).parents[2] / "docs"
Found = dict[tuple[str, ...], float]


async def _scrape(port: int) -> Found:
    """Value by name and labels (their values, in their order)."""
    head, body = await fetch(port, "/metrics?name[]=all")
    assert "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n" in head
    families = list(text_string_to_metric_families(body.decode()))
    assert len({each.name for each in families}) == len(families)
    return {
        (each.name.removeprefix("resqpy_"), *each.labels.values()): each.value
        for family in families
        for each in family.samples
    }


@pytest.fixture
def _always_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "_KEPT_S", 0.0)


@pytest.fixture
def port() -> int:
    """For the probes."""
    return free_port()


def _project(make_project: MakeProject, port: int, **more: Any) -> Any:
    limits = {
        "tasks.stop_timeout": 1,
        "tasks.min_task_processors": 2,
        "tasks.max_task_processors": 3,
    }
    return make_project({"process.health_port": port, **limits, **more}, tasks__all=TASKS)


@pytest.mark.usefixtures("_always_fresh")
async def test_a_process_at_work(make_project: MakeProject, redis: Redis, port: int) -> None:
    """Its jobs by task and outcome, its processors, its loop; and what is in Redis."""
    project = _project(make_project, port, **{"tasks.queues": ["default"]})
    async with Process(project, worker=True, scheduler=True):
        await redis.rpush("resque:queue:default", '{"class":"foreign","queue":"default","args":[]}')
        for name in ("good", "good", "bad", "again", "rests", "never", "mail", "waits"):
            await api.tasks.enqueue(name)
        await api.tasks.enqueue_in(60_000, "good")
        await api.tracked.create("mail", {})

        async def all_ended() -> Found | None:
            found = await _scrape(port)
            ended = sum(value for key, value in found.items() if key[0] == "jobs_total")
            leads = found["scheduler_leader",]
            seen = ("queue_latency_seconds", "mail") in found
            return found if ended >= 7 and leads and seen else None

        found = await until(all_ended)

    assert found["jobs_total", "good", "succeeded"] == 2
    assert found["jobs_total", "bad", "failed"] == 1
    assert found["jobs_total", "again", "re_enqueued"] == 1
    assert found["jobs_total", "rests", "snoozed"] == 1
    assert found["jobs_total", "never", "skipped"] == 1
    assert found["jobs_total", "(unknown)", "failed"] == 1
    assert found["job_duration_seconds_count", "good"] == 2
    assert 0.06 <= found["job_duration_seconds_sum", "good"] < 2
    assert found["job_duration_seconds_bucket", "good", "0.025"] == 0
    assert found["task_processors",] in {2, 3}
    assert found["task_processors_busy",] == 1
    assert (found["task_processors_min",], found["task_processors_max",]) == (2, 3)
    kinds = ("coroutines", "functions", "children")
    assert [found["left_behind", kind] for kind in kinds] == [0, 0, 0]
    assert found["event_loop_delay_seconds_bucket", "+Inf"] >= 0
    assert found["redis_up",] == 1
    told = set(re.findall(r"`resqpy_(\w+)`", (DOCS / "how-to" / "deploy.md").read_text()))
    given = {key[0].removesuffix("_count") for key in found} | {
        "odd_keys",
        "job_wait_seconds",
        "queue_paused",
        "queue_limit",
        "queue_limit_running",
    }  # fmt: skip - only for trouble, or known a while after the first job
    assert told - given == set()
    assert found["queue_jobs", "mail"] == 2
    assert found["failed_jobs", "failed"] == 2
    assert found["delayed_times",] == 2
    assert found["workers",] in {2, 3}
    assert (found["stat_processed_total",], found["stat_failed_total",]) == (2, 3)
    assert found["tracked_tasks", "pending"] == 1
    assert found["paused",] == 0


@pytest.mark.usefixtures("_always_fresh")
async def test_without_redis(make_project: MakeProject, port: int) -> None:
    """The process still tells of itself, and that Redis is away."""
    with PrivateServer() as server:
        project = _project(make_project, port, **{"redis.url": server.url})
        async with Process(project, worker=True):
            assert (await _scrape(port))["redis_up",] == 1
            server.stop()
            found = await _scrape(port)
            assert found["redis_up",] == 0
            assert found["task_processors",] >= 2
            assert ("workers",) not in found
            server.start()

            async def up() -> bool:
                return (await _scrape(port))["redis_up",] == 1

            await until(up)


async def test_redis_is_asked_seldom(make_project: MakeProject, redis: Redis, port: int) -> None:
    """However many ask a process: what Redis said is kept for some seconds."""
    async with Process(_project(make_project, port), worker=False):
        before = (await _scrape(port))["stat_processed_total",]
        await redis.incrby("resque:stat:processed", 7)
        assert (await _scrape(port))["stat_processed_total",] == before


async def test_the_delay_of_the_loop_is_seen(make_project: MakeProject, port: int) -> None:
    """Also where the number of processors is fixed, so that nothing scales by it."""
    async with Process(_project(make_project, port, **{"tasks.min_task_processors": 3})):

        async def seen() -> float:
            return (await _scrape(port))["event_loop_delay_seconds_count",]

        await until(seen)
        time.sleep(0.8)  # noqa: ASYNC251 - longer than a sample is away
        found = await until(lambda: _late(port))
    assert found["event_loop_delay_seconds_sum",] > 0.25


async def _late(port: int) -> Found | None:
    found = await _scrape(port)
    late = (
        found["event_loop_delay_seconds_count",] - found["event_loop_delay_seconds_bucket", "0.1"]
    )
    return found if late else None


async def test_names_follow_the_rules(make_project: MakeProject, port: int) -> None:
    """Counters end with `_total`, times are in seconds, each name has help and a type."""
    async with Process(_project(make_project, port), worker=True, scheduler=True):
        text = (await fetch(port, "/metrics"))[1].decode()

    text, _, _ = text.partition("# HELP python_")  # what prometheus_client has by itself
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    helps = dict(re.findall(r"^# HELP (\S+) (\S.*)$", text, re.MULTILINE))
    assert kinds.keys() == helps.keys()
    assert all(re.fullmatch(r"resqpy_[a-z_]+", name) for name in kinds)
    assert {name for name in kinds if name.endswith("_total")} == {
        name for name, kind in kinds.items() if kind == "counter"
    }
    assert all(name.endswith("_seconds") for name, kind in kinds.items() if kind == "histogram")


async def test_without_a_port_nothing_is_counted(make_project: MakeProject) -> None:
    """A job costs nothing for it."""
    project = make_project({"logger.level": "error"}, tasks__all=TASKS)
    async with Process(project, worker=True) as process:
        worker = process.resque.multi_worker
        assert worker is not None
        assert not worker.has_listeners("success")


OWN = """
from prometheus_client import Counter
from resqpy import task

PAID = Counter("test_paid", "Orders that were paid.", ["currency"])

@task
def pay(currency: str):
    PAID.labels(currency).inc()
"""


async def test_what_the_application_counts(
    make_project: MakeProject, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    """By prometheus_client, beside ours; a collector that fails costs its own metrics alone, and is told."""
    project = make_project({"process.health_port": port}, tasks__own=OWN)
    paid = project.registry.task("pay").run.__globals__["PAID"]
    try:
        async with Process(project, worker=True):
            for currency in ("EUR", "EUR", "SEK"):
                await api.tasks.enqueue("pay", {"currency": currency})

            async def counted() -> Found | None:
                found = await _scrape(port)
                return found if found.get(("jobs_total", "pay", "succeeded")) == 3 else None

            found = await until(counted)
            assert (found["test_paid_total", "EUR"], found["test_paid_total", "SEK"]) == (2, 1)
            paid.collect = lambda: 1 / 0
            assert ("test_paid_total", "EUR") not in await _scrape(port)
    finally:
        prometheus_client.REGISTRY.unregister(paid)
