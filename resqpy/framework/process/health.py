"""`process.health_port`: probes, metrics and advice for autoscalers over HTTP, served by a separate thread, so
also while a job blocks the event loop: then the process is live, but not ready.
"""

from __future__ import annotations

import asyncio
import errno
import io
import os
import socket
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, ClassVar

from resqpy.base import codec
from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.concurrency.loops import HelperThread
from resqpy.base.concurrency.own_tasks import OwnTask, in_own_thread, is_set_within, own_task
from resqpy.base.errors import StoreError, UsageError, repr_of
from resqpy.base.when import Duration
from resqpy.diagnosis.queues import scale, scale_args
from resqpy.engine.inspect.inspector import Inspector
from resqpy.engine.run import Run, current_run
from resqpy.engine.worker.heartbeat import STUCK, WORKING
from resqpy.framework.logs.log import get_logger
from resqpy.framework.process import metrics
from resqpy.framework.process.initializer import Initializer

if TYPE_CHECKING:
    from resqpy.framework.process.process import Process


# Monitors the event loop from other threads. A blocked loop is logged, with what blocks it, and again when
# it continues. Also dumps its tasks and the stacks of all threads, for a process that hangs.

BLOCKED_AFTER_S = 3.0  # without an answer
ASKED_EVERY_S = 1.0

_REMEDY = (
    "let it await what it waits for, or make it a plain function (def), which runs in a thread"
)


class LoopWatch:
    """Watches a loop. Code in other threads calls `look` regularly.

    Args:
        root: the project's directory, to find its code in stacks.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._looking = threading.Lock()
        self._asked_s: float | None = None  # when an unanswered request was sent
        self._answered_s = float("-inf")
        self._told: dict[str, Any] | None = None

    def begin(self) -> None:
        """Watch the running loop."""
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()

    def look(self) -> float:
        """How many seconds the loop has not answered. From any thread."""
        with self._looking:
            asked_s, now_s = self._asked_s, SYSTEM_CLOCK.monotonic()
            if asked_s is None:
                self._ask(now_s)
                return 0.0
            silent_s = now_s - asked_s
            if silent_s < BLOCKED_AFTER_S:
                return silent_s
            frame = sys._current_frames().get(self._thread)  # noqa: SLF001 - documented for this very use
            if _waits(frame):  # the whole process was suspended, and continues
                return 0.0
            if self._told is None:
                self._told = {**self._of_task(), **self._place(frame)}
                message = "the event loop is blocked: nothing else that runs on it can continue"
                get_logger().warning(
                    message, blocked_s=round(silent_s, 1), **self._told, remedy=_REMEDY
                )
            return silent_s

    def _ask(self, now_s: float) -> None:
        if self._loop is None or now_s - self._answered_s < ASKED_EVERY_S:
            return
        self._asked_s = now_s
        try:
            self._loop.call_soon_threadsafe(self._answer, now_s)
        except RuntimeError:  # closed: it has ended
            self._asked_s = None

    def _answer(self, asked_s: float) -> None:
        """Runs on the loop."""
        self._asked_s, self._answered_s = None, SYSTEM_CLOCK.monotonic()
        told, self._told = self._told, None
        if told is not None:
            silent_s = round(self._answered_s - asked_s, 1)
            get_logger().warning("the event loop is no longer blocked", blocked_s=silent_s, **told)

    def _of_task(self) -> dict[str, Any]:
        """The job that runs on the loop, or whatever else runs there."""
        task = asyncio.current_task(self._loop)
        run = getattr(task, "owner", None)
        context = getattr(task, "get_context", None)  # Python 3.12
        if not isinstance(run, Run) and context is not None:
            run = context().get(current_run)
        if isinstance(run, Run):
            return {"task": run.class_name, "queue": run.queue}
        return {} if task is None else {"runs": task.get_name()}

    def _place(self, frame: FrameType | None) -> dict[str, str]:
        """The innermost line of the project's code on the stack; if there is none, of any code."""
        innermost = frame
        while frame is not None:
            path = Path(frame.f_code.co_filename)
            if path.is_relative_to(self._root) and "site-packages" not in path.parts:
                return {"at": _at(frame, path.relative_to(self._root))}
            frame = frame.f_back
        if innermost is None:
            return {}
        return {"at": _at(innermost, Path(innermost.f_code.co_filename))}


def _at(frame: FrameType, path: Path) -> str:
    return f"{path}:{frame.f_lineno} in {frame.f_code.co_name}"


def _waits(frame: FrameType | None) -> bool:
    """Whether the idle loop is waiting for events: asyncio's is in its selector, uvloop's has no frame
    below its caller's.
    """
    back = frame and frame.f_back
    if frame is None or back is None:
        return False
    return _module(back) == "asyncio.base_events" or _module(frame) in _RUNNERS


_RUNNERS = ("asyncio.runners", "resqpy.base.concurrency.own_tasks")


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__"))


def dump(loop: asyncio.AbstractEventLoop) -> str:
    """The text; from any thread, so also while the loop is blocked."""
    out = io.StringIO()
    tasks = asyncio.all_tasks(loop)
    print(f"{len(tasks)} tasks", file=out)
    for task in sorted(tasks, key=lambda each: each.get_name()):
        print(f"\n{task.get_name()}: {task.get_coro()!r}", file=out)
        task.print_stack(limit=12, file=out)
    out.write(stacks())
    return out.getvalue()


def stacks() -> str:
    """The stacks of all threads."""
    out = io.StringIO()
    names = {each.ident: each.name for each in threading.enumerate()}
    frames = sys._current_frames()  # noqa: SLF001 - documented for this very use
    for ident, frame in frames.items():
        print(f"\nthread {names.get(ident, ident)}", file=out)
        out.write("".join(traceback.format_stack(frame)))
    return out.getvalue()


_REQUEST_WITHIN_S, _REDIS_WITHIN_S, _END_WITHIN_S = 5.0, 2.0, 5.0
_HUNG_AFTER_S = 300.0  # a loop that is blocked for this long is not live
_LOOK_S = 0.25  # between checks of the loop
_MAX_CONNECTIONS = 16  # beyond it the oldest is closed; as many may wait in the backlog
_MAX_BYTES = 1 << 16  # of a request
_AGAIN_S = 1.0  # until another connection is accepted, where there are too few descriptors
_PATHS = ["/live", "/ready", "/metrics", "/scale"]
_JSON = "application/json"
_WORDS = {200: "OK", 400: "Bad Request", 404: "Not Found", 503: "Service Unavailable"}


class HealthInitializer(Initializer):
    """Answers `GET /live`, `/ready`, `/metrics` and `/scale` from before the boot until everything has stopped.

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
                path, _, query = words[1].partition(b"?") if len(words) > 1 else (b"", b"", b"")
                answer = await self._answer(path, query.decode("latin-1"))
                await asyncio.get_running_loop().sock_sendall(one, answer)

    async def _answer(self, path: bytes, query: str) -> bytes:
        watch = self._process.loop_watch
        if path == b"/live":
            silent_s = watch.look()
            facts = {"live": silent_s < _HUNG_AFTER_S, "pid": os.getpid(), **_blocked(silent_s)}
            return _response(200 if facts["live"] else 503, _JSON, _json(facts))
        if path.decode("latin-1") not in _PATHS:
            return _response(404, _JSON, _json({"paths": _PATHS}))
        if watch.look() < BLOCKED_AFTER_S:
            with suppress(TimeoutError):
                async with asyncio.timeout(BLOCKED_AFTER_S):
                    return await self._on_loop(
                        {b"/metrics": self._metrics_told, b"/ready": self._ready}.get(
                            path, partial(self._scale, query)
                        )
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
        return _response(200, metrics.CONTENT_TYPE, await self._metrics())

    async def _scale(self, query: str) -> bytes:
        """How many jobs should run at once. An answer that can't be given is an error, so that nothing is scaled
        by it.
        """
        try:
            args = scale_args(query)
        except UsageError as error:
            return _response(400, _JSON, _json({"error": str(error)}))
        if not self._started:
            return _response(503, _JSON, _json({"error": "not started"}))
        try:
            async with asyncio.timeout(_REDIS_WITHIN_S):
                found = await scale(Inspector(self._process.resque.store), *args)
        except (StoreError, TimeoutError) as error:
            return _response(503, _JSON, _json({"error": str(error) or "Redis does not answer"}))
        return _response(200, _JSON, _json(found))

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
    if silent_s < BLOCKED_AFTER_S:
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
