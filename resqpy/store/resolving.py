"""Names of hosts, resolved in threads of our own: users' tasks may hold all threads of the loop's pool."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from functools import partial
from typing import Any

from resqpy.base.own_tasks import OWNER
from resqpy.base.waiting import in_own_thread

_MARK = "resolve_aside"


def resolve_aside(loop: asyncio.AbstractEventLoop) -> None:
    """Let what is asked for by no job be resolved aside; uvloop does so by itself."""
    resolve: Any = loop.getaddrinfo
    if getattr(resolve, "__name__", "") == _MARK:
        return

    async def aside(host: Any, port: Any, **how: int) -> Any:
        if OWNER.get() is not None:
            return await resolve(host, port, **how)
        return await in_own_thread(partial(socket.getaddrinfo, host, port, **how))

    aside.__name__ = _MARK
    with contextlib.suppress(AttributeError):
        loop.getaddrinfo = aside  # type: ignore[method-assign]  # that it can be is how it is done
