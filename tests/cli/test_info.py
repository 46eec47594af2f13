"""`resqpy info --prometheus`."""

from __future__ import annotations

import asyncio

from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis

from tests.cli.conftest import Call
from tests.support import recordings


async def test_metrics_of_what_ruby_and_node_left(redis: Redis, resqpy: Call) -> None:
    """Prometheus reads them, and they say what `resqpy info` says: for who has no worker to ask."""
    for name in recordings.INSTALLATIONS:
        await recordings.replay(redis, name)
    await redis.rpush(b"resque:queue:\xff", "{}")
    await redis.sadd("resque:queues", b"\xff")

    said = await asyncio.to_thread(resqpy, "info", "--prometheus")
    glance = (await asyncio.to_thread(resqpy, "info", "--json")).json

    found = {
        (each.name, *each.labels.values()): each.value
        for family in text_string_to_metric_families(said.out)
        for each in family.samples
    }
    waiting = sum(number for (name, *_), number in found.items() if name == "resqpy_queue_jobs")
    failed = sum(number for (name, *_), number in found.items() if name == "resqpy_failed_jobs")
    assert (said.code, waiting, failed) == (0, glance["waiting"], glance["failed_jobs"])
    assert found["resqpy_queue_jobs", "\\udcff"] == 1
    assert found["resqpy_workers",] == glance["workers"]
    assert found["resqpy_delayed_times",] == glance["delayed_times"]
    assert found["resqpy_stat_processed_total",] == glance["processed"]
