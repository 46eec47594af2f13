"""`process.health_port`: probes and metrics over HTTP, served by a separate thread, so also while a job
blocks the event loop: then the process is live, but not ready.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from resqpy.base import codec, prometheus
from resqpy.base.concurrency.helper_thread import HelperThread
from resqpy.base.concurrency.own_tasks import OwnTask, own_task
from resqpy.base.concurrency.waiting import in_own_thread, is_set_within
from resqpy.base.error_text import repr_of
from resqpy.base.errors import StoreError, UsageError
from resqpy.base.when import Duration
from resqpy.engine.worker.process_state import STUCK, WORKING
from resqpy.framework.logs.log import get_logger
from resqpy.framework.process import loop_watch
from resqpy.framework.process.initializer import Initializer

if TYPE_CHECKING:
    from resqpy.framework.process.process import Process

_REQUEST_WITHIN_S, _REDIS_WITHIN_S, _END_WITHIN_S = 5.0, 2.0, 5.0
_HUNG_AFTER_S = 300.0  # a loop that is blocked for this long is not live
_LOOK_S = 0.25  # between checks of the loop
_MAX_CONNECTIONS = 16  # beyond it the oldest is closed; as many may wait in the backlog
_MAX_BYTES = 1 << 16  # of a request
_AGAIN_S = 1.0  # until another connection is accepted, where there are too few descriptors
_PATHS = ["/live", "/ready", "/metrics"]
_JSON = "application/json"
_WORDS = {200: "OK", 404: "Not Found", 503: "Service Unavailable"}


class HealthInitializer(Initializer):
    """Answers `GET /live`, `/ready` and `/metrics` from before the boot until everything has stopped.

    Args:
        metrics: returns the text of `/metrics`.
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
        self._loop = asyncio.get_running_loop()
        self._listens: Future[None] = Future()
        self._thread: HelperThread | None = None
        self._requests: dict[OwnTask[None], socket.socket] = {}  # oldest first

    async def initialize(self) -> None:
        """Start listening.

        Raises:
            UsageError: the port is in use, or this machine has no such address.
            ThreadFailed: its thread can't be started.
        """
        if self._process.project.config.process.health_port is None:
            return
        self._thread = HelperThread("resqpy-health", self._serve, self._died)
        self._thread.start()
        await asyncio.wrap_future(self._listens)

    async def start(self) -> None:
        """All others have started."""
        self._started = True

    async def stop(self) -> None:
        """Stop listening."""
        if self._thread is not None:
            await in_own_thread(partial(self._thread.stop, _END_WITHIN_S))

    # -- in the thread --

    async def _serve(self, stopping: asyncio.Event) -> None:
        config = self._process.project.config.process
        host, port = config.health_host, config.health_port
        assert port is not None
        with ExitStack() as stack:
            try:
                sockets = [stack.enter_context(each) for each in await _bound(host, port)]
                for each in sockets:
                    each.settimeout(0)
                    each.listen(_MAX_CONNECTIONS)
            except OSError as error:
                if self._listens.done():
                    raise
                self._listens.set_exception(UsageError(_cant_listen(host, port, error)))
                return
            for each in sockets:
                self._accept_from(each)
            if not self._listens.done():
                self._listens.set_result(None)
            try:
                while not await is_set_within(stopping, _LOOK_S):
                    self._process.loop_watch.look()
            finally:
                for each in sockets:
                    asyncio.get_running_loop().remove_reader(each)
                for request in self._requests:
                    request.end()
                if self._requests:
                    await asyncio.wait(self._requests)

    @staticmethod
    def _died(error: BaseException) -> None:
        get_logger().error("the thread of the probes died; it is restarted", error=repr_of(error))

    def _accept_from(self, listening: socket.socket) -> None:
        """Let connections in, one in a turn of the loop, while the oldest of too many goes. asyncio's own
        servers accept all that wait at once, so that jobs would find no descriptor; and what they have
        accepted in the turn in which they are closed is never closed.
        """
        asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        try:
            one, _ = listening.accept()
        except (BlockingIOError, ConnectionError):  # it has gone again
            return
        except OSError:  # too few descriptors, and it would be asked for again at once
            loop = asyncio.get_running_loop()
            loop.remove_reader(listening)
            loop.call_later(_AGAIN_S, self._accept_from, listening)
            return
        one.settimeout(0)
        request = own_task(self._request(one), "probe")
        request.add_done_callback(self._close)
        self._requests[request] = one
        staying = [each for each in self._requests if not each.cancelling()]
        if len(staying) > _MAX_CONNECTIONS:
            staying[0].end()

    def _close(self, request: asyncio.Task[None]) -> None:
        """Whatever it came to: one that is cancelled before it begins runs none of its code."""
        assert isinstance(request, OwnTask)
        self._requests.pop(request).close()

    async def _request(self, one: socket.socket) -> None:
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(_REQUEST_WITHIN_S):
                words = (await _read(one)).split(b" ", 2)
                path = words[1].partition(b"?")[0] if len(words) > 1 else b""
                answer = await self._answer(path)
                await asyncio.get_running_loop().sock_sendall(one, answer)

    async def _answer(self, path: bytes) -> bytes:
        watch = self._process.loop_watch
        if path == b"/live":
            silent_s = watch.look()
            facts = {"live": silent_s < _HUNG_AFTER_S, "pid": os.getpid(), **_blocked(silent_s)}
            return _response(200 if facts["live"] else 503, _JSON, _json(facts))
        if path.decode("latin-1") not in _PATHS:
            return _response(404, _JSON, _json({"paths": _PATHS}))
        if watch.look() < loop_watch.BLOCKED_AFTER_S:
            with suppress(TimeoutError):
                async with asyncio.timeout(loop_watch.BLOCKED_AFTER_S):
                    return await self._on_loop(
                        self._metrics_told if path == b"/metrics" else self._ready
                    )
        facts = {"ready": False, "started": self._started, "stopping": self._process.stopping}
        return _response(503, _JSON, _json({**facts, "state": STUCK, **_blocked(watch.look())}))

    async def _on_loop(self, answer: Callable[[], Coroutine[Any, Any, bytes]]) -> bytes:
        """Run it on the loop that runs the jobs, in a task that no job can cancel."""
        answered: Future[bytes] = Future()

        async def run() -> None:
            try:
                told = await answer()
            except BaseException as error:
                if not answered.done():
                    answered.set_exception(error)
            else:
                if not answered.done():
                    answered.set_result(told)

        with suppress(RuntimeError):  # closed: it has ended
            self._loop.call_soon_threadsafe(lambda: own_task(run(), "probe"))
        return await asyncio.wrap_future(answered)

    # -- on the loop that runs the jobs --

    async def _metrics_told(self) -> bytes:
        return _response(200, prometheus.CONTENT_TYPE, await self._metrics())

    async def _ready(self) -> bytes:
        stopping = self._process.stopping
        state = self._process.state if self._started else WORKING
        facts = {
            "started": self._started,
            "stopping": stopping,
            "redis": await self._has_redis(),
            **({"state": state} if state else {}),
        }
        ready = self._started and not stopping and facts["redis"] and not state
        return _response(200 if ready else 503, _JSON, _json({"ready": ready, **facts}))

    async def _has_redis(self) -> bool:
        """Whether Redis accepts our writes: a replica would answer too. The key never exists."""
        if not self._started:
            return False
        try:
            async with asyncio.timeout(_REDIS_WITHIN_S):
                await self._process.resque.store.check_writable()
        except (StoreError, TimeoutError):
            return False
        return True


async def _bound(host: str, port: int) -> list[socket.socket]:
    """A socket for each address of a host, as asyncio's servers have them."""
    server = await asyncio.start_server(lambda *_: None, host, port, start_serving=False)
    try:
        return [socket.socket(fileno=os.dup(each.fileno())) for each in server.sockets]
    finally:
        server.close()


async def _read(one: socket.socket) -> bytes:
    """A request, as far as it is needed.

    Raises:
        ConnectionError: it has no end.
    """
    request, loop = b"", asyncio.get_running_loop()
    while b"\r\n\r\n" not in request:
        read = await loop.sock_recv(one, _MAX_BYTES)
        request += read
        if not read or len(request) > _MAX_BYTES:
            raise ConnectionError("no request")
    return request


def _cant_listen(host: str, port: int, error: OSError) -> str:
    message = f"process.health_port: cannot listen on port {port} of {host}"
    if error.errno == errno.EADDRINUSE:
        return (
            f"{message}: another program uses it; give this process another port (--health-port), or stop the "
            "other one"
        )
    if error.errno in (errno.EADDRNOTAVAIL, None) or isinstance(error, socket.gaierror):
        return (
            f"{message}: this machine has no such address ({error}); set process.health_host (--health-host) to "
            "one that it has, such as 127.0.0.1, or 0.0.0.0 for all"
        )
    if error.errno == errno.EACCES:
        return f"{message}: permission denied; choose a port above 1023"
    return f"{message}: {error}"


def _blocked(silent_s: float) -> dict[str, float]:
    if silent_s < loop_watch.BLOCKED_AFTER_S:
        return {}
    return {"event_loop_blocked_s": round(silent_s, 1)}


def _json(facts: dict[str, Any]) -> bytes:
    return codec.encode_text(facts) + b"\n"


def _response(status: int, kind: str, body: bytes) -> bytes:
    head = (
        f"HTTP/1.1 {status} {_WORDS[status]}\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
