"""Plain functions run in threads, limited in number, with their context."""

from __future__ import annotations

import asyncio
import contextvars
import ctypes
import logging
import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resqpy.base.concurrency.limited import outlast
from resqpy.base.concurrency.own_tasks import OwnTask
from resqpy.base.errors import ResqpyError, repr_of
from resqpy.engine.role import EventSink, tell_error
from resqpy.engine.run import Run
from resqpy.engine.worker import forks

_log = logging.getLogger("resqpy")

_END_WITHIN_S = 1.0  # granted to an interrupted function


class ThreadRunner:
    """Threads for plain functions.

    A thread can't be cancelled like a coroutine: an error is raised in it, which Python code sees at its
    next step and a call into C only when it returns. After waiting long enough the caller continues without
    the thread, which is replaced, so that no later job waits for it. The threads are daemons: a process can
    end although one is still running (those of `concurrent.futures` would be waited for).

    Args:
        most: maximum number of concurrent functions.
        on_abandoned: called when a thread was abandoned.

    Attributes:
        abandoned: how many abandoned threads are still running.
    """

    def __init__(self, most: int, on_abandoned: Callable[[], None] = lambda: None) -> None:
        self.most = most
        self.abandoned: int = 0
        self._on_abandoned = on_abandoned
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._open = 0  # calls that wait or run, without abandoned ones
        self._ends: _Ends | None = None

    async def run(
        self, function: Callable[..., Any], args: Sequence[Any], run: Run | None = None
    ) -> Any:
        """Call it in a thread; a cancellation is passed on to the thread.

        A function that returns in spite of it has done its work: its result counts.

        Args:
            run: gets the id of the thread.
        """
        loop = asyncio.get_running_loop()
        if self._ends is None or self._ends.loop is not loop:
            self._ends = _Ends(loop)
        call = _Call(function, args, run, self._ends)
        self._submit(call)
        try:
            return await call.future
        except asyncio.CancelledError:
            if call.future.cancelled():
                call.future = loop.create_future()
                if not call.interrupt():
                    raise
                await outlast(call.future, _END_WITHIN_S)
            if call.returned:
                return call.result
            if not call.future.done():
                self._abandon(call)
            raise
        finally:
            del call, run  # the traceback of the function's error has this frame

    def _submit(self, call: _Call) -> None:
        with self._lock:
            self._open += 1
            more = self._is_short()
        self._calls.put(call)
        if more and not self._start() and not self._threads:
            call.interrupt()  # the thread that gets it later skips it
            raise ResqpyError("this process can't start a thread, which a plain function needs")

    def _abandon(self, call: _Call) -> None:
        """Abandon the thread; a waiting call gets another one."""
        with self._lock:
            if call.ended:
                return
            call.abandoned = True
            self.abandoned += 1
            self._threads -= 1
            self._open -= 1
            more = self._is_short()
        if more:
            self._start()
        self._on_abandoned()

    def _is_short(self) -> bool:
        """Whether another thread is needed; if so, it is already counted. Call with the lock held."""
        if self._threads >= min(self._open, self.most):
            return False
        self._threads += 1
        return True

    def _start(self) -> bool:
        """Returns False if it failed; existing threads take its calls."""
        try:
            threading.Thread(target=self._serve, name="resqpy-job", daemon=True).start()
        except RuntimeError as error:
            with self._lock:
                self._threads -= 1
            _log.error("cannot start another thread for plain functions: %s", error)
            return False
        return True

    def _serve(self) -> None:
        thread, native = threading.get_ident(), threading.get_native_id()
        while (call := self._calls.get()) is not None:
            _run_through(call, thread, native)
            with self._lock:
                call.ended = True
                if call.abandoned:
                    self.abandoned -= 1
                else:
                    self._open -= 1
            call.ends.add(call)
            if call.abandoned:
                return
            del call  # or it would be kept until the next one comes

    def close(self) -> None:
        """Let the threads end; running calls are not waited for."""
        with self._lock:
            count, self._threads = self._threads, 0
        for _ in range(count):
            self._calls.put(None)


class _Ends:
    """What a loop has not yet seen of the calls that it waits for. Of several that end while it is busy only the
    first wakes it: that is a system call, and most of a short call's cost.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._calls: deque[_Call] = deque()
        self._waking = False  # it was told of the first of them

    def add(self, call: _Call) -> None:
        """A call has ended; in its thread."""
        self._calls.append(call)
        if not self._waking:
            self._waking = True
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self.loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        self._waking = False  # first: what ends from now on wakes the loop again
        while self._calls:
            self._calls.popleft().settle()


class Interrupted(BaseException):
    """Raised in a thread whose job was cancelled or exceeded its time limit."""


def _run_through(call: _Call, thread: int, native: int) -> None:
    """Run a call; `Interrupted` may be raised anywhere in here, but never later."""
    try:
        call.work(thread, native)
    except Interrupted:
        pass
    finally:
        while not call.closed:
            try:
                call.close()
            except Interrupted:
                continue


class _Call:
    """One call in a thread, with the caller's context.

    Attributes:
        ends: tells the loop of its end.
        future: its end, for the loop; another one after the caller was cancelled.
        result: what the function returned, if it has.
    """

    abandoned = ended = closed = returned = False
    _cancelled = _started = False
    _thread: int | None = None
    result: Any = None
    _error: BaseException | None = None

    def __init__(
        self,
        function: Callable[..., Any],
        args: Sequence[Any],
        run: Run | None,
        ends: _Ends,
    ) -> None:
        self.ends = ends
        self.future: asyncio.Future[Any] = ends.loop.create_future()
        self._function = function
        self._args = args
        self._run = run
        self._context = contextvars.copy_context()
        self._lock = threading.Lock()

    def work(self, thread: int, native: int) -> None:
        """Call the function; in the thread with these ids."""
        with self._lock:
            if self._cancelled:
                return
            self._started = True
            self._thread = thread
        if self._run is not None:
            self._run.thread = native
        try:
            self.result = self._context.run(forks.called, self._function, *self._args)
            self.returned = True
        except Interrupted:
            raise
        except BaseException as error:
            self._error = error

    def close(self) -> None:
        """No interruption from here on. May be called again if it was cut off."""
        with self._lock:
            self._thread = None
        for _ in range(2):
            pass  # a pending one is raised here at the latest: Python checks at backward jumps
        self.closed = True

    def settle(self) -> None:
        """On the loop: the caller continues."""
        future, error = self.future, self._error
        self._error = self._run = None  # the error's traceback has a frame of this call
        del self._context
        if future.done():
            return
        if error is None:
            future.set_result(self.result)
            return
        if isinstance(error, (StopIteration, GeneratorExit, KeyboardInterrupt)):
            # A future accepts none of them, and the second would end all coroutines that await it.
            wrapped = RuntimeError(f"the function raised {repr_of(error)}")
            wrapped.__cause__ = error
            error = wrapped
        future.set_exception(error)
        future.exception()  # after an interruption nobody may read it

    def interrupt(self) -> bool:
        """Raise `Interrupted` in the thread now; False if it never started and never will."""
        with self._lock:
            self._cancelled = True
            if self._thread is not None:
                _raise_in(self._thread, Interrupted)
            return self._started


def _raise_in(thread: int, error: type[BaseException]) -> None:
    """Raise an error in a thread. It is never revoked: with NULL, Python 3.11 hangs under a tracer."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error))


# Abandoned coroutines, threads and child processes: what was cut off and does not end. Counted, reported,
# and bounded, except child processes.

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_TERM, _KILL = 15, 9  # on all systems that have /proc
_LEFT_WITHIN_S = 2.0
_HELPERS = (b"multiprocessing.resource_tracker", b"multiprocessing.forkserver")


@dataclass(frozen=True)
class Child:
    """A child process.

    Attributes:
        began_s: seconds after the machine's start; distinguishes processes with a reused pid.
    """

    pid: int
    began_s: float
    name: str

    @property
    def lives(self) -> bool:
        """Whether it is still running."""
        return _child(self.pid) == self


def begun_within(seconds: float, thread: int) -> list[Child]:
    """The live children that a thread has started within this many seconds.

    Args:
        thread: its native id; for a coroutine the thread of its loop, which also starts others' children.
    """
    try:
        uptime_s = float(Path("/proc/uptime").read_text("ascii").split()[0])
        pids = Path(f"/proc/self/task/{thread}/children").read_text("ascii").split()
    except OSError:  # another system, or the thread is gone
        return []
    since_s = uptime_s - seconds - 2 * _TICK_S
    found = [child for pid in pids if (child := _child(int(pid))) is not None]
    return [child for child in found if child.began_s >= since_s and not _is_helper(child.pid)]


def end(children: Sequence[Child]) -> None:
    """Ask them to end (TERM), and kill those that have not after some seconds."""
    for each in children:
        _send(each, _TERM)
    asyncio.get_running_loop().call_later(_LEFT_WITHIN_S, _kill, children)


def _kill(children: Sequence[Child]) -> None:
    for each in children:
        _send(each, _KILL)


def _send(child: Child, number: int) -> None:
    if child.lives:
        with suppress(ProcessLookupError):
            os.kill(child.pid, number)


def _child(pid: int) -> Child | None:
    try:
        name, _, rest = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")
    except OSError:
        return None
    fields = rest.split()
    if fields[0] in "ZX":
        return None
    return Child(pid, int(fields[19]) * _TICK_S, name.partition("(")[2])


def _is_helper(pid: int) -> bool:
    """One of the standard library's helpers for the whole process."""
    try:
        message = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return any(each in message for each in _HELPERS)


MAXIMUM = 100  # limit for one process


class LeftBehind:
    """Coroutines, threads and child processes of jobs that have otherwise ended.

    Args:
        events: receives each of them.
        die: ends the worker, which must then be restarted.

    Attributes:
        threads: the threads of plain functions.
    """

    def __init__(self, events: EventSink, die: Callable[[BaseException], None] | None) -> None:
        self.threads: ThreadRunner | None = None
        self._events = events
        self._die = die
        self._tasks: set[OwnTask[Any]] = set()
        self._children: set[Child] = set()

    @property
    def coroutines(self) -> int:
        """How many of them are still running."""
        return len(self._tasks)

    @property
    def functions(self) -> int:
        """How many plain functions are still running, in threads of their own."""
        return 0 if self.threads is None else self.threads.abandoned

    def add(self, task: OwnTask[Any]) -> None:
        """A coroutine does not end when cancelled."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.tell(f"the coroutine of {task.get_name()}")

    def tell(self, what: str = "a plain function in a thread") -> None:
        """Report one; if there are too many the worker ends, because only a new process can get rid of them."""
        count = self.coroutines + self.functions
        message = f"{count} such are left in this process"
        told = f"{what} was cut off and does not end; its slot continues without it ({message})"
        tell_error(self._events, ResqpyError(told))
        if count >= MAXIMUM and self._die is not None:
            self._die(ResqpyError(f"{told}; this process must be restarted"))

    @property
    def children(self) -> int:
        """How many child processes are still running."""
        self._children = {each for each in self._children if each.lives}
        return len(self._children)

    def look_for_children(self, run: Run, ran_s: float) -> None:
        """A job was cut off: processes that it started may continue, beside its next run."""
        thread = run.thread or threading.get_native_id()
        found = [each for each in begun_within(ran_s, thread) if each not in self._children]
        if not found:
            return
        self._children.update(found)
        ends = run.definition is not None and run.definition.end_children
        if ends:
            end(found)
        named = ", ".join(f"{each.pid} ({each.name})" for each in found)
        whose = "its" if run.thread else "its or another coroutine's"
        message = "are ended" if ends else "continue"
        tell_error(
            self._events,
            ResqpyError(
                f"{run.class_name} was cut off; {whose} child processes {message}: {named}; "
                f"{self.children} such are left by this process"
            ),
        )
