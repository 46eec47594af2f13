"""Objects that belong to one event loop, used from another.

A connection belongs to the loop that used it first. A call from another loop (an `asyncio.run` in a plain
task, a view in a thread, a test's own loop) is handed to that loop, which runs it once; if that loop can't,
the caller gets an error at once.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import opcode
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from functools import partial, wraps
from types import FrameType
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from resqpy.base.errors import NoEventLoop, OutcomeUnknown, ResqpyError, WrongLoop

P = ParamSpec("P")
R = TypeVar("R")


_LOOK_S = 1.0  # how often to check whether the other loop still runs


class Home:
    """The event loop of an object.

    Args:
        what: the object's name in messages.
        on_move: called when another loop takes over, because the first was closed or belongs to another
            process.

    Attributes:
        loop: the loop; None until the first use.
    """

    __slots__ = ("_on_move", "_pid", "_thread", "_what", "loop")

    def __init__(self, what: str, on_move: Callable[[], None] = lambda: None) -> None:
        self.loop: asyncio.AbstractEventLoop | None = None
        self._what = what
        self._on_move = on_move
        self._thread = self._pid = 0

    def elsewhere(self) -> asyncio.AbstractEventLoop | None:
        """The loop to hand a call to; None: the current one.

        Raises:
            WrongLoop: that loop can't run it: it is not running, or it waits for the caller.
        """
        running = asyncio.get_running_loop()
        home = self.loop
        if home is running:
            return None
        if home is None or home.is_closed() or self._pid != os.getpid():
            self.loop, self._thread, self._pid = running, threading.get_ident(), os.getpid()
            if home is not None:
                self._on_move()
            return None
        if not home.is_running():
            raise WrongLoop(
                f"{self._what} belongs to another event loop, which is not running now; use it "
                "there, or close that loop first"
            )
        if self._thread == threading.get_ident():
            raise WrongLoop(
                f"{self._what} belongs to the event loop that runs around this one in the same "
                "thread, so it would wait for itself; await the call there"
            )
        return home

    def running(self) -> asyncio.AbstractEventLoop | None:
        """The loop, while it runs in this process."""
        home = self.loop
        if home is None or self._pid != os.getpid() or not home.is_running():
            return None
        return home


def hand_over(
    home: asyncio.AbstractEventLoop, function: Callable[[], Coroutine[Any, Any, R]]
) -> asyncio.Task[R]:
    """Run a function on another loop, and return its result here."""
    return asyncio.get_running_loop().create_task(_handed(home, function))


async def _handed(
    home: asyncio.AbstractEventLoop, function: Callable[[], Coroutine[Any, Any, R]]
) -> R:
    coroutine = function()
    try:
        theirs = asyncio.run_coroutine_threadsafe(coroutine, home)
    except RuntimeError as error:  # closed in the meantime
        coroutine.close()
        raise WrongLoop("the event loop of this connection was closed; nothing was done") from error
    ours = asyncio.wrap_future(theirs)
    try:
        while not ours.done():
            await asyncio.wait([ours], timeout=_LOOK_S)
            if not ours.done() and not home.is_running():
                break
        if ours.done() and not ours.cancelled():
            return ours.result()
    finally:
        ours.cancel()
    raise OutcomeUnknown(
        "the event loop that owns this connection stopped during the call; it may or may not have been done"
    )


class HasHome(Protocol):
    """An object that belongs to one loop from its start."""

    home: Home


S = TypeVar("S", bound=HasHome)


def on_its_loop(
    method: Callable[Concatenate[S, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, R]]:
    """Decorate an async method: calls from another loop are handed to the object's loop."""

    @wraps(method)
    async def there(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        call = partial(method, self, *args, **kwargs)
        if self.home.loop is None or (home := self.home.elsewhere()) is None:
            return await call()
        return await hand_over(home, call)

    return there


# Helper threads with an event loop: started within a time limit, restarted when they die, deaths reported.
#
# If the process is out of descriptors or threads, starting raises an error with the cause; it never waits
# forever.

_START_WITHIN_S = 10.0
_FIRST_PAUSE_S, _MAX_PAUSE_S = 0.5, 30.0  # before a thread that died is restarted


class ThreadFailed(ResqpyError):
    """A helper thread could not be started."""


class HelperThread:
    """One helper thread.

    Args:
        name: the thread's name.
        work: runs until the event it receives is set, or until it has nothing more to do.
        on_death: called in the thread with the error that `work` raised, before it is restarted.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[asyncio.Event], Coroutine[Any, Any, None]],
        on_death: Callable[[BaseException], None],
    ) -> None:
        self._name = name
        self._work = work
        self._on_death = on_death
        self._ready = threading.Event()
        self._stop_asked = threading.Event()
        self._failed: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._main, name=name, daemon=True)

    @property
    def alive(self) -> bool:
        """Whether it is running."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the thread.

        Raises:
            ThreadFailed: it could not be started, and why.
        """
        try:
            self._thread.start()
        except (RuntimeError, MemoryError) as error:
            raise ThreadFailed(f"cannot start the thread {self._name}: {error}") from error
        if not self._ready.wait(_START_WITHIN_S):
            self._stop_asked.set()
            raise ThreadFailed(
                f"the thread {self._name} did not start within {_START_WITHIN_S:g} s"
            )
        if self._failed is not None:
            raise ThreadFailed(
                f"cannot start the thread {self._name}: {self._failed}"
            ) from self._failed

    def stop(self, within_s: float) -> None:
        """Stop it, waiting at most this long."""
        self._stop_asked.set()
        if self._stopping is not None:
            self.call(self._stopping.set)
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(within_s)

    def call(self, function: Callable[[], object]) -> None:
        """Call a function on its loop, if it has one now."""
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(function)

    # -- in the thread --

    def _main(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while not self._stop_asked.is_set():
            try:
                with asyncio.Runner() as runner:
                    runner.get_loop()  # fails when the process is out of descriptors
                    runner.run(self._live())
            except BaseException as error:
                if not self._ready.is_set():
                    self._failed = error
                    self._ready.set()
                    return
                self._on_death(error)
            else:
                return
            self._stop_asked.wait(pause_s)
            pause_s = min(pause_s * 2, _MAX_PAUSE_S)

    async def _live(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        if self._stop_asked.is_set():
            return
        self._ready.set()
        await self._work(self._stopping)


# Calls that do nothing until awaited; one that nobody awaits is a lost job and is logged as an error.

Owner = TypeVar("Owner")

Subject = Callable[[Any, tuple[Any, ...], dict[str, Any]], str]

LOST: deque[str] = deque(maxlen=100)  # messages logged, for tests

_log = logging.getLogger("resqpy")
_MARK_OF_3_11 = getattr(asyncio.coroutines, "_is_coroutine", None)
_mark: Callable[[Any], Any] = getattr(inspect, "markcoroutinefunction", lambda function: function)


class Pending(Coroutine[Any, Any, R]):
    """A coroutine that reports if it was never started.

    Args:
        call: describes the call, for the message.
        caller: file and line.
    """

    __slots__ = ("_begun", "_call", "_caller", "_coroutine")

    def __init__(
        self, coroutine: Coroutine[Any, Any, R], call: Callable[[], str], caller: tuple[str, int]
    ) -> None:
        self._coroutine = coroutine
        self._call = call
        self._caller = caller
        self._begun = False

    def __await__(self) -> Generator[Any, Any, R]:
        self._begun = True
        return self._coroutine.__await__()

    def send(self, value: Any) -> Any:
        """As a coroutine has it."""
        self._begun = True
        return self._coroutine.send(value)

    def throw(self, *error: Any) -> Any:
        """As a coroutine has it."""
        self._begun = True
        return self._coroutine.throw(*error)

    def close(self) -> None:
        """As a coroutine has it; an explicit close is not reported."""
        self._begun = True
        self._coroutine.close()

    def __del__(self) -> None:
        if self._begun or sys.is_finalizing():
            return
        self._coroutine.close()  # so that Python doesn't warn too
        file, line = self._caller
        message = f"{self._call()} was never awaited, so nothing was enqueued: add `await` ({file}:{line})"
        LOST.append(message)
        _log.error(message)


def must_be_awaited(
    subject: Subject, *, sync: Callable[[Any], str] | None = None
) -> Callable[
    [Callable[Concatenate[Owner, P], Coroutine[Any, Any, R]]],
    Callable[Concatenate[Owner, P], Coroutine[Any, Any, R]],
]:
    """Decorate an async method: a call that is not awaited logs an error.

    Args:
        subject: what a call was about, in words; given the object and the arguments.
        sync: what has the same verb for code without an event loop, given the object; a call where none runs
            raises `NoEventLoop` at once, which names it, unless it is the argument of a call, such as
            `asyncio.run`. None: it may be awaited later.
    """

    def decorate(
        method: Callable[Concatenate[Owner, P], Coroutine[Any, Any, R]],
    ) -> Callable[Concatenate[Owner, P], Coroutine[Any, Any, R]]:
        @wraps(method)
        def call(self: Owner, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
            def message() -> str:
                return f"{method.__name__} of {subject(self, args, kwargs)}"

            frame = sys._getframe(1)  # noqa: SLF001 - of all ways to the caller the cheapest
            if sync is not None:
                _need_loop(message, lambda: f"{sync(self)}.{method.__name__}(…)", frame)
            caller = (frame.f_code.co_filename, frame.f_lineno)
            return Pending(method(self, *args, **kwargs), message, caller)

        vars(call)["_is_coroutine"] = _MARK_OF_3_11
        marked: Callable[Concatenate[Owner, P], Coroutine[Any, Any, R]] = _mark(call)
        return marked

    return decorate


_PAST = opcode.opmap.get("CACHE", 0)  # follows an instruction, and is none
_CALLS = {opcode.opmap[each] for each in ("PRECALL", "CALL") if each in opcode.opmap}


def _is_handed_on(frame: FrameType) -> bool:
    """Whether the next thing that the caller does is a call with it: `asyncio.run(send.enqueue(…))`, in which
    the loop begins after what it is to run was made.
    """
    code, at = frame.f_code.co_code, frame.f_lasti + 2
    while at < len(code) and code[at] == _PAST:
        at += 2
    return at < len(code) and code[at] in _CALLS


def _need_loop(words: Callable[[], str], instead: Callable[[], str], frame: FrameType) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        if _is_handed_on(frame):
            return  # if it is not awaited, that is logged, as in a loop
        raise NoEventLoop(
            f"{words()}: no event loop runs here, so nobody can await it, and nothing was enqueued. In "
            f"synchronous code write {instead()}; or make the function async and await the call"
        ) from None
