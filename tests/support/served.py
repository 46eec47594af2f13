"""A console that is served over TCP, as uvicorn does it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn

from resqpy.web.app import Console
from tests.support.waiting import wait_for


@asynccontextmanager
async def served(console: Console) -> AsyncIterator[int]:
    """Its port while it is served."""
    config = uvicorn.Config(console, lifespan="off", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server.serve([listener]))
        await wait_for(lambda: server.started)
        yield listener.getsockname()[1]
        console.live.end()
        server.should_exit = True
        await serving
