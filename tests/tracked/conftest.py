"""Fixtures of the tests of tracked tasks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from resqpy.store.connection.client import Store
from resqpy.tracked.processing import LockKeeper
from resqpy.tracked.verbs import Tracked
from tests.interop.conftest import (  # noqa: F401 - fixtures of real Node and Ruby, and their marks
    node,
    pytest_collection_modifyitems,
    ruby,
    ruby_scheduler,
    start_node,
    start_ruby,
)
from tests.tracked.support import Listen, checked_store, listening


@pytest.fixture
async def store(redis_url: str, redis: Redis) -> AsyncIterator[Store]:
    """The test's Redis; at the end the indexes must agree with the records."""
    async with checked_store(redis_url, redis) as store:
        yield store


@pytest.fixture
async def tracked(store: Store) -> Tracked:
    """The verbs."""
    return Tracked(store)


@pytest.fixture
async def keeper(store: Store) -> AsyncIterator[LockKeeper]:
    """Renews locks."""
    keeper = LockKeeper(store.options)
    yield keeper
    await asyncio.to_thread(keeper.close)


@pytest.fixture
async def listen(store: Store, keeper: LockKeeper) -> AsyncIterator[Listen]:
    """A function that makes listeners, which end with the test."""
    async with listening(store, keeper) as make:
        yield make
