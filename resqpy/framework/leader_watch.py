"""What a worker without a scheduler says once, where nobody does a leader's work when it starts."""

from __future__ import annotations

import asyncio

from resqpy.base.errors import StoreError
from resqpy.framework.log import get_logger
from resqpy.store.client import Store
from resqpy.store.leader import led, standing

_LOOK_AFTER_S = 2.0  # schedulers that start with us have time to be elected


async def tell_if_nobody_leads(store: Store, ruby_prefix: str, *, periodic: bool) -> None:
    """Look once, soon after the start.

    Args:
        periodic: this process has periodic tasks, which only a scheduler of resqpy runs.
    """
    await asyncio.sleep(_LOOK_AFTER_S)
    try:
        found = led(await standing(store, ruby_prefix))
    except StoreError:
        return  # others tell of a Redis that is away
    if not found.periodic and (periodic or not found.delayed):
        get_logger().warning(found.idle, remedy=f"start one: {found.remedy}")
