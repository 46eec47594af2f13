"""Signals: installed while a process runs, restored after it. The only place that knows them.

A thread receives them, to which the interpreter writes each signal's number, so they work while a task
blocks the event loop. The requested action runs on the loop. A loop that no longer answers can't stop in
order: then the thread ends the process, and running jobs stay in their records for the rescue.

| signal | meaning (profile "modern") |
|---|---|
| TERM, INT | let running jobs finish (25 s), then cancel them; a second one, at least 0.25 s later: now; a
third: by force |
| QUIT | let running jobs finish, without limit |
| HUP | as TERM: the terminal is gone; under nohup, nothing |
| USR1 | cancel the running jobs, continue working |
| USR2, CONT | pause, resume |
| TSTP | take no more jobs, permanently |
| TTIN | write all tasks and stacks to the log |

In the profile "resque", TERM and INT stop at once, as Ruby's workers do.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.concurrency.own_tasks import answered_elsewhere
from resqpy.framework.logs import writer as log_writer
from resqpy.framework.logs.log import get_logger
from resqpy.framework.process.health import dump, stacks

if TYPE_CHECKING:
    from resqpy.framework.process.process import Process

Handlers = Mapping[signal.Signals, Callable[[], None]]

# A service manager signals every process of a service, and a supervisor its children: that is one request to
# stop, not two.
SAME_WITHIN_S = 0.25
LOOK_S = 0.25  # between checks whether the loop answers
SILENT_S = {1: 10.0, 2: 2.0}  # without an answer, by urgency: then the process is ended
NOW_WITHIN_S = 20.0  # limit of a stop "now", besides `tasks.cancel_timeout`
BY_FORCE = 1  # the exit code


class Urgency:
    """How often a stop was requested: 1: in order, 2: now, 3: by force."""

    def __init__(self) -> None:
        self.level: int = 0
        self._asked_s = float("-inf")

    def rise(self) -> int:
        """One more request; returns the level, or 0 if it is the same request as the last one."""
        now_s = SYSTEM_CLOCK.monotonic()
        same = now_s - self._asked_s < SAME_WITHIN_S
        if not same:
            self._asked_s = now_s
            self.level += 1
        return 0 if same else self.level


class _Handlers:
    """What each signal does to a process; called in the receiving thread."""

    def __init__(self, process: Process, loop: asyncio.AbstractEventLoop) -> None:
        self._process = process
        self._loop = loop
        self._quiet = False
        self._urgency = Urgency()
        self._at_once = process.project.config.process.signals == "resque"
        self._until_s = float("inf")  # then a loop that does not answer is ended
        self._at_last_s = float("inf")  # then the process is ended in any case
        self._watch = process.loop_watch
        self._watch.begin()

    def all(self) -> Handlers:
        hang_up = {} if _is_under_nohup() else {signal.SIGHUP: self.stop}
        return hang_up | {
            signal.SIGTERM: self.stop,
            signal.SIGINT: self.stop,
            signal.SIGQUIT: self.drain,
            signal.SIGUSR1: partial(self._on_loop, self._process.abort_jobs),
            signal.SIGUSR2: self.pause,
            signal.SIGCONT: self.resume,
            signal.SIGTSTP: self.quiet,
            signal.SIGTTIN: self.dump,
        }

    def _on_loop(self, function: Callable[[], None]) -> None:
        _call_soon(self._loop, function)

    def stop(self) -> None:
        level = self._urgency.rise()
        if not level:
            return
        tasks, now_s = self._process.project.config.tasks, SYSTEM_CLOCK.monotonic()
        if level == 1 and (self._at_once or self._process.stopping):
            level = self._urgency.level = 2
        if level == 1:
            seconds = tasks.stop_timeout / 1000
            self._log(
                "stopping (send the signal again to stop immediately)", running_jobs_get_s=seconds
            )
            self._until_s = now_s + seconds + tasks.cancel_timeout / 1000
            self._on_loop(self._process.request_stop)
        elif level == 2:
            self._log("stopping now")
            self._until_s = now_s
            self._at_last_s = now_s + NOW_WITHIN_S + tasks.cancel_timeout / 1000
            self._on_loop(self._process.request_stop_now)
        else:
            self._end("stopping by force: requested three times")

    def drain(self) -> None:
        self._log("stopping when the running jobs have ended")
        if not self._urgency.level:
            self._urgency.level = 1
            self._on_loop(self._drain)

    def _drain(self) -> None:
        if not self._process.stopping:
            self._process.request_stop(None)

    def pause(self) -> None:
        self._log("paused; CONT resumes")
        self._on_loop(self._process.pause)

    def resume(self) -> None:
        if not self._quiet:
            self._on_loop(self._process.resume)

    def quiet(self) -> None:
        self._log("quiet: no more jobs are taken")
        self._quiet = True
        self._on_loop(partial(self._process.pause, for_good=True))

    def dump(self) -> None:
        get_logger().warning("tasks and stacks", dump=dump(self._loop))

    @staticmethod
    def _log(message: str, **more: object) -> None:
        get_logger().info(message, **more)

    # -- a stop that does not end --

    def look(self) -> None:
        """Check whether the loop answers; called repeatedly."""
        silent_s, now_s = self._watch.look(), SYSTEM_CLOCK.monotonic()
        silent_s = min(silent_s, now_s - self._until_s)
        if silent_s >= SILENT_S[max(1, min(self._urgency.level, 2))]:
            self._end("the event loop is blocked, so the process is ended by force")
        if now_s >= self._at_last_s:
            self._end("the stop does not finish, so the process is ended by force")

    @staticmethod
    def _end(message: str) -> NoReturn:
        """End the process, whatever its loop does."""
        try:
            remedy = "running jobs stay in their records and are put back to their queues"
            get_logger().critical(message, remedy=remedy, stacks=stacks())
            log_writer.flush()
        finally:
            os._exit(BY_FORCE)


@contextmanager
def handled(process: Process) -> Iterator[None]:
    """Let signals control a process, in the main thread only; restores the handlers afterwards."""
    handlers = _Handlers(process, asyncio.get_running_loop())
    with answered_elsewhere(), _installed(handlers.all(), handlers.look):
        yield


@contextmanager
def listening(handlers: Mapping[str, Callable[[], None]]) -> Iterator[None]:
    """Let signals call functions on the loop, by name (`"TERM"`); restores the handlers afterwards."""
    loop = asyncio.get_running_loop()

    def on_loop(handler: Callable[[], None]) -> Callable[[], None]:
        return lambda: _call_soon(loop, handler)

    with _installed({signal.Signals[f"SIG{name}"]: on_loop(handlers[name]) for name in handlers}):
        yield


def _call_soon(loop: asyncio.AbstractEventLoop, handler: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # closed: it has ended
        loop.call_soon_threadsafe(handler)


class ControllingTerminal:
    """The terminal from which this program was started, if any. When it is closed, all its processes get
    HUP, which otherwise asks a supervisor for new processes.
    """

    def __init__(self) -> None:
        self._had = _has_terminal() and not _is_under_nohup()

    @property
    def closed(self) -> bool:
        """Whether there was one, and is none any more."""
        return self._had and not _has_terminal()


def _is_under_nohup() -> bool:
    return signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def number(name: str) -> int:
    """The number of a signal by its name, `"TERM"`, for sending it."""
    return signal.Signals[f"SIG{name}"].value


@contextmanager
def told_to_stop(stop: Callable[[], None]) -> Iterator[None]:
    """Call a function on this loop at each TERM or INT while a block runs; in another thread than the main one
    signals are not ours.
    """
    loop, numbers = asyncio.get_running_loop(), (signal.SIGTERM, signal.SIGINT)
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    for each in numbers:
        loop.add_signal_handler(each, stop)
    try:
        yield
    finally:
        for each in numbers:
            loop.remove_signal_handler(each)


class _Ears:
    """Receives signals in a thread, by the numbers that the interpreter writes into a pipe.

    Args:
        look: called repeatedly in the thread.
    """

    def __init__(self, handlers: Handlers, look: Callable[[], None]) -> None:
        self.handlers = handlers
        self._look = look
        self._heard, self._written = os.pipe()
        for end in (self._heard, self._written):
            os.set_blocking(end, False)
        self._before: dict[signal.Signals, object] = {}
        self._pipe_before = -1
        self._theirs = -1  # receives the numbers of other signals
        self._loop = asyncio.get_running_loop()
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Start; in the main thread.

        Raises:
            ValueError: this is another thread, so signals are not ours to handle.
        """
        self._take_pipe()
        self._pipe_before = self._theirs
        self._before = {each: signal.getsignal(each) for each in self.handlers}
        self._take(self.handlers)
        _open.append(self)
        thread = threading.Thread(target=self._main, name="resqpy-signals", daemon=True)
        with suppress(RuntimeError):  # out of threads: then the main thread handles them alone
            thread.start()
            self._thread = thread

    def close(self) -> None:
        """Stop, and restore the previous handlers."""
        if self in _open:
            _open.remove(self)
            for each, old in self._before.items():
                signal.signal(each, old)  # type: ignore[arg-type]  # what getsignal gave
            signal.set_wakeup_fd(self._pipe_before)
        thread, self._thread = self._thread, None
        if thread is not None:
            os.write(self._written, b"\0")
            thread.join()
        os.close(self._heard)
        os.close(self._written)

    def let_go(self) -> None:
        """In a forked child: signals act on it as on any program."""
        signal.set_wakeup_fd(-1)
        for each in self._before:
            ignored = self._before[each] is signal.SIG_IGN
            plain = signal.default_int_handler if each == signal.SIGINT else signal.SIG_DFL
            signal.signal(each, signal.SIG_IGN if ignored else plain)

    def _take(self, numbers: Iterable[signal.Signals]) -> None:
        for each in numbers:
            signal.signal(each, self._in_main_thread)
            signal.siginterrupt(each, False)  # noqa: FBT003 - its signature

    def _take_pipe(self) -> bool:
        """Redirect the numbers to our pipe; returns whether they went elsewhere."""
        before = signal.set_wakeup_fd(self._written, warn_on_full_buffer=False)
        if before != self._written:
            self._theirs = before
        return before != self._written

    def _in_main_thread(self, number: int, _: object) -> None:
        if self._take_pipe():
            os.write(self._written, bytes([number]))
        if self._thread is None or not self._thread.is_alive():
            self._hear()

    def _main(self) -> None:
        poll = select.poll()
        poll.register(self._heard, select.POLLIN)
        while True:
            poll.poll(LOOK_S * 1000)
            if not self._hear():
                return
            self._guarded(self._look)
            if self._replaced():
                _call_soon(self._loop, self._take_back)

    def _replaced(self) -> list[signal.Signals]:
        """The signals whose handlers a job, or a library that it uses, has replaced."""
        mine = self.handlers if _open[-1:] == [self] else ()
        return [each for each in mine if signal.getsignal(each) != self._in_main_thread]

    def _take_back(self) -> None:
        if not (replaced := self._replaced()):
            return
        self._take(replaced)
        self._take_pipe()
        message = "a job, or a library that it uses, replaced signal handlers; they were restored"
        get_logger().warning(message, signals=[each.name for each in replaced])

    def _hear(self) -> bool:
        """Handle the received signals; returns whether to continue."""
        try:
            numbers = os.read(self._heard, 64)
        except BlockingIOError:
            return True
        for each in numbers:
            if each in self.handlers:
                self._guarded(self.handlers[signal.Signals(each)])
            elif each and self._theirs >= 0:
                with suppress(OSError):
                    os.write(self._theirs, bytes([each]))
        return 0 not in numbers

    @staticmethod
    def _guarded(function: Callable[[], None]) -> None:
        try:
            function()
        except Exception as error:  # the thread must survive
            get_logger().error("a signal could not be handled", error=repr(error))


_open: list[_Ears] = []
_masks: dict[int, set[Any]] = {}  # of threads that are forking now


def _before_fork() -> None:
    """A signal to a child that still has our handlers would be written to our own pipe."""
    if _open:
        ours = {each for ears in _open for each in ears.handlers}
        _masks[threading.get_ident()] = signal.pthread_sigmask(signal.SIG_BLOCK, ours)


def _in_parent() -> None:
    mask = _masks.pop(threading.get_ident(), None)
    if mask is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _in_child() -> None:
    for each in _open:
        each.let_go()
    _open.clear()
    _in_parent()


os.register_at_fork(before=_before_fork, after_in_parent=_in_parent, after_in_child=_in_child)


def kill_group(pid: int) -> None:
    """Kill a process group by its leader's pid."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


@contextmanager
def _installed(handlers: Handlers, look: Callable[[], None] = lambda: None) -> Iterator[None]:
    ears = _Ears(handlers, look)
    try:
        with suppress(ValueError):
            ears.open()
        yield
    finally:
        ears.close()
