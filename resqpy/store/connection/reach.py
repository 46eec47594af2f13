"""The wait of a start for its Redis: a database that comes up beside us, a failover under way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.errors import OutcomeUnknown, StoreError, StoreUnavailable
from resqpy.store.connection.client import Store

T = TypeVar("T")

_FIRST_PAUSE_S, _MOST_PAUSE_S = 0.1, 1.0
_NOBODYS = "resqpy asks whether this Redis takes writes"  # no job is like this


async def reach(store: Store, within_s: float | None = None) -> None:
    """Return when Redis is there and takes writes; what waiting can't mend is raised at once.

    Args:
        within_s: seconds; None: the options'.

    Raises:
        StoreUnavailable: it was not there in this time.
        StoreMisconfigured: it can't be used like this.
    """
    options = store.options
    limit_s = options.startup_timeout_s if within_s is None else within_s
    deadline_s, pause_s = SYSTEM_CLOCK.monotonic() + limit_s, _FIRST_PAUSE_S
    options.reachability.starting(limit_s)
    try:
        while (error := await _what_keeps(store)) is not None:
            left_s = deadline_s - SYSTEM_CLOCK.monotonic()
            if left_s <= 0:
                raise _gave_up(error, limit_s) from error
            await asyncio.sleep(min(pause_s, left_s))
            pause_s = min(pause_s * 2, _MOST_PAUSE_S)
        options.reachability.answered(surely=True)
    finally:
        options.reachability.starting(None)
        store.waited_for = True


async def persevere(store: Store, write: Callable[[], Awaitable[T]]) -> T:
    """Do a write of a start until it is surely done: the connection may break once more, or its reply
    get lost. Only for what may be done twice.

    Raises:
        StoreUnavailable: it could not be done within the time of a start.
    """
    limit_s = store.options.startup_timeout_s
    deadline_s = SYSTEM_CLOCK.monotonic() + limit_s
    while True:
        try:
            return await write()
        except (StoreUnavailable, OutcomeUnknown) as error:
            left_s = deadline_s - SYSTEM_CLOCK.monotonic()
            if left_s <= 0:
                raise _gave_up(error, limit_s) from error
            await reach(store, left_s)


async def _what_keeps(store: Store) -> StoreError | None:
    """What keeps us from writing there, and may pass."""
    try:
        await store.connect()
        await _ask_for_a_write(store)
    except (StoreUnavailable, OutcomeUnknown) as error:
        return error
    return None


async def _ask_for_a_write(store: Store) -> None:
    (reply,) = await store.line.send([("LREM", store.keys.queue(""), 0, _NOBODYS)])
    try:
        store.checked(reply, ("LREM",))
    except (StoreUnavailable, OutcomeUnknown):
        raise
    except StoreError:  # who may not even do that: what is wrong will show itself
        return


def _gave_up(error: StoreError, limit_s: float) -> StoreUnavailable:
    waited = f" (given up after {limit_s:g} s)" if limit_s > 0 else ""
    return StoreUnavailable(f"{error}{waited}")
