"""Waiting for Redis at startup: a database that starts together with us, or a failover in progress."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.errors import OutcomeUnknown, StoreError, StoreUnavailable
from resqpy.store.connection.client import Store

T = TypeVar("T")

_FIRST_PAUSE_S, _MAX_PAUSE_S = 0.1, 1.0
_NOBODYS = "resqpy checks whether this Redis accepts writes"  # no job looks like this


async def reach(store: Store, within_s: float | None = None) -> None:
    """Return when Redis is reachable and accepts writes; problems that waiting can't solve are raised at
    once.

    Args:
        within_s: seconds; None: as configured.

    Raises:
        StoreUnavailable: it did not become available in time.
        StoreMisconfigured: it can't be used as configured.
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
            pause_s = min(pause_s * 2, _MAX_PAUSE_S)
        options.reachability.answered(surely=True)
    finally:
        options.reachability.starting(None)
        store.waited_for = True


async def persevere(store: Store, write: Callable[[], Awaitable[T]]) -> T:
    """Repeat a write at startup until it has certainly been done, although the connection may break again
    or a reply get lost. Only for idempotent writes.

    Raises:
        StoreUnavailable: it could not be done within the startup time.
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
    """A temporary problem that prevents writing there."""
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
    except StoreError:  # this user may not even do that; errors surface on first use
        return


def _gave_up(error: StoreError, limit_s: float) -> StoreUnavailable:
    waited = f" (given up after {limit_s:g} s)" if limit_s > 0 else ""
    return StoreUnavailable(f"{error}{waited}")
