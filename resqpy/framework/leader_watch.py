"""What a worker without a scheduler says once, where nobody leads when it starts."""

from __future__ import annotations

import asyncio

from resqpy.base.errors import StoreError
from resqpy.framework.log import get_logger
from resqpy.store.client import Store
from resqpy.store.leader import standing

_LOOK_AFTER_S = 2.0  # schedulers that start with us have time to be elected


async def tell_if_nobody_leads(store: Store, ruby_prefix: str) -> None:
    """Look once, soon after the start."""
    await asyncio.sleep(_LOOK_AFTER_S)
    try:
        led = any(lock.holder for lock in await standing(store, ruby_prefix))
    except StoreError:
        return  # others tell of a Redis that is away
    if not led:
        get_logger().warning(
            "no scheduler leads, so delayed and periodic jobs don't move",
            remedy="start one: resqpy scheduler, or resqpy worker --scheduler",
        )
