"""`process.health_port`: probes and metrics over HTTP. The loop that works the jobs answers them, so one
that hangs answers no more.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, ClassVar

from resqpy.base import codec, prometheus
from resqpy.base.errors import StoreError, UsageError
from resqpy.base.own_tasks import OwnTask, own_task
from resqpy.base.when import Duration
from resqpy.engine.process_state import WORKING
from resqpy.framework.initializer import Initializer

if TYPE_CHECKING:
    from resqpy.framework.process import Process

_REQUEST_WITHIN_S, _REDIS_WITHIN_S = 5.0, 2.0
_MOST_CONNECTIONS = 16  # the oldest goes when one more comes; and as many wait to be seen
_PATHS = ["/live", "/ready", "/metrics"]
_JSON = "application/json"
_WORDS = {200: "OK", 404: "Not Found", 503: "Service Unavailable"}


class HealthInitializer(Initializer):
    """Answers `GET /live`, `/ready` and `/metrics` from before the boot until all has stopped.

    Args:
        metrics: the text of `/metrics`.
    """

    name: ClassVar[str] = "health"
    load_priority: ClassVar[int] = 50
    start_priority: ClassVar[int] = 100_000
    stop_priority: ClassVar[int] = 100_000
    start_timeout: ClassVar[Duration | None] = None
    stop_timeout: ClassVar[Duration | None] = None

    def __init__(self, process: Process, metrics: Callable[[], Awaitable[bytes]]) -> None:
        self._process = process
        self._metrics = metrics
        self._started = False
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.StreamWriter, OwnTask[None]] = {}  # the oldest first

    async def initialize(self) -> None:
        """Listen.

        Raises:
            UsageError: the port is taken, or this machine has no such address.
        """
        config = self._process.project.config.process
        host, port = config.health_host, config.health_port
        if port is None:
            return
        try:
            self._server = await asyncio.start_server(
                self._accept, host, port, backlog=_MOST_CONNECTIONS
            )
        except OSError as error:
            raise UsageError(_cant_listen(host, port, error)) from error

    async def start(self) -> None:
        """All others have started."""
        self._started = True

    async def stop(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()

    # -- one request --

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection in a task of ours: asyncio logs one of its own that is cancelled at the end of
        the program as an error, and a job may cancel it.
        """
        self._connections[writer] = own_task(self._serve(reader, writer), "probe")
        if len(self._connections) > _MOST_CONNECTIONS:
            oldest = next(iter(self._connections))
            del self._connections[oldest]
            oldest.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_REQUEST_WITHIN_S):
                words = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)
                path = words[1].partition(b"?")[0] if len(words) > 1 else b""
                writer.write(await self._answer(path))
                await writer.drain()
        except (OSError, EOFError, TimeoutError, asyncio.LimitOverrunError):
            return
        finally:
            self._connections.pop(writer, None)
            writer.close()

    async def _answer(self, path: bytes) -> bytes:
        if path == b"/metrics":
            return _response(200, prometheus.CONTENT_TYPE, await self._metrics())
        status, facts = await self._facts(path)
        return _response(status, _JSON, codec.encode_text(facts) + b"\n")

    async def _facts(self, path: bytes) -> tuple[int, dict[str, Any]]:
        if path == b"/live":
            return 200, {"live": True, "pid": os.getpid()}
        if path != b"/ready":
            return 404, {"paths": _PATHS}
        stopping = self._process.stopping
        state = self._process.state if self._started else WORKING
        facts = {
            "started": self._started,
            "stopping": stopping,
            "redis": await self._has_redis(),
            **({"state": state} if state else {}),
        }
        ready = self._started and not stopping and facts["redis"] and not state
        return (200 if ready else 503), {"ready": ready, **facts}

    async def _has_redis(self) -> bool:
        """Whether Redis takes what we write: a replica answers, too. Nothing has that key."""
        if not self._started:
            return False
        try:
            async with asyncio.timeout(_REDIS_WITHIN_S):
                await self._process.resque.store.check_writable()
        except (StoreError, TimeoutError):
            return False
        return True


def _cant_listen(host: str, port: int, error: OSError) -> str:
    words = f"process.health_port: can't listen on port {port} of {host}"
    if error.errno == errno.EADDRINUSE:
        return (
            f"{words}: another program has it; give this process another port (--health-port), or stop "
            "the other one"
        )
    if error.errno in (errno.EADDRNOTAVAIL, None) or isinstance(error, socket.gaierror):
        return (
            f"{words}: this machine has no such address ({error}); set process.health_host "
            "(--health-host) to one that it has, as 127.0.0.1, or 0.0.0.0 for all"
        )
    if error.errno == errno.EACCES:
        return f"{words}: this user may not; choose a port above 1023"
    return f"{words}: {error}"


def _response(status: int, kind: str, body: bytes) -> bytes:
    head = (
        f"HTTP/1.1 {status} {_WORDS[status]}\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
