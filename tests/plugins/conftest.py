"""Fixtures of the plugins' tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.plugins.stage import Stage

MakeStage = Callable[..., Stage]


@pytest.fixture
async def make_stage(redis: Redis, redis_url: str) -> AsyncIterator[MakeStage]:
    """A function that makes a stage from tasks by name."""
    async with AsyncExitStack() as stack:

        def make(**jobs: Any) -> Stage:
            stage = Stage(redis, redis_url, jobs)
            stack.push_async_callback(stage.queue.close)
            return stage

        yield make
