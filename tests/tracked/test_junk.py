"""Tracked tasks where junk stands under the keys of their indexes."""

from __future__ import annotations

from typing import Any

import pytest

from resqpy.store.connection.client import Store
from resqpy.store.connection.options import RedisOptions
from resqpy.store.repair.junk import own_kinds
from resqpy.tracked.verbs import Tracked
from tests.support.junk import KINDS, put_junk
from tests.support.waiting import wait_for
from tests.tracked.support import Workshop


async def mail(*_: Any) -> str:
    """A task."""
    return "sent"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_worker_moves_it_aside(redis_url: str, redis: Any, kind: str) -> None:
    """What is created then is run, and found again by its status."""
    store = Store(RedisOptions(redis_url))
    for key, right in own_kinds(store.keys, leading=True).items():
        if right != kind:
            await put_junk(redis, key, kind)
    tracked = Tracked(store)
    async with Workshop(store, {"mail": mail}):
        await tracked.create("mail", {})
        await wait_for(lambda: _completed(tracked))
    await store.close()


async def _completed(tracked: Tracked) -> bool:
    return await tracked.count(status="completed") == 1
