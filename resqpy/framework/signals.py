"""Signals: installed while a process runs, restored after it. The only place that knows them.

| signal | meaning (profile "modern") |
|---|---|
| TERM, INT | let running jobs end (25 s), then cancel them; a second one, later than 0.25 s: now |
| QUIT | let running jobs end, without limit |
| HUP | as TERM: the terminal is gone; under nohup, nothing |
| USR1 | cancel the running jobs, work on |
| USR2, CONT | pause, resume |
| TSTP | take no more jobs, for good |
| TTIN | write all tasks and stacks to the log |

In the profile "resque", TERM and INT stop at once, as Ruby's workers do.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.engine.keyboard import answered_elsewhere
from resqpy.framework.dump import dump
from resqpy.framework.log import get_logger

if TYPE_CHECKING:
    from resqpy.framework.process import Process

# A service manager tells each process of a service, and a supervisor its children: that is one request
# to stop, not two.
SAME_WITHIN_S = 0.25


class _Handlers:
    """What each signal does to a process."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._quiet = False
        self._asked_s = 0.0
        self._at_once = process.project.config.process.signals == "resque"

    def all(self) -> dict[signal.Signals, Callable[[], None]]:
        hang_up = {} if _is_under_nohup() else {signal.SIGHUP: self.stop}
        return hang_up | {
            signal.SIGTERM: self.stop,
            signal.SIGINT: self.stop,
            signal.SIGQUIT: self.drain,
            signal.SIGUSR1: self._process.abort_jobs,
            signal.SIGUSR2: self.pause,
            signal.SIGCONT: self.resume,
            signal.SIGTSTP: self.quiet,
            signal.SIGTTIN: self.dump,
        }

    def stop(self) -> None:
        now_s = SYSTEM_CLOCK.monotonic()
        if self._process.stopping and now_s - self._asked_s < SAME_WITHIN_S:
            return
        self._asked_s = now_s
        if self._at_once or self._process.stopping:
            self._log("stopping now")
            self._process.request_stop_now()
            return
        seconds = self._process.project.config.tasks.stop_timeout / 1000
        self._log("stopping; again to stop now", running_jobs_get_s=seconds)
        self._process.request_stop()

    def drain(self) -> None:
        self._log("stopping when the running jobs have ended")
        if not self._process.stopping:
            self._process.request_stop(None)

    def pause(self) -> None:
        self._log("paused; CONT resumes")
        self._process.pause()

    def resume(self) -> None:
        if not self._quiet:
            self._process.resume()

    def quiet(self) -> None:
        self._log("quiet: no more jobs are taken")
        self._quiet = True
        self._process.pause()

    def dump(self) -> None:
        get_logger().warning("tasks and stacks", dump=dump())

    @staticmethod
    def _log(words: str, **more: object) -> None:
        get_logger().info(words, **more)


@contextmanager
def handled(process: Process) -> Iterator[None]:
    """Let signals act on a process, in the main thread only; then as it was before."""
    with answered_elsewhere(), _installed(_Handlers(process).all()):
        yield


@contextmanager
def listening(handlers: Mapping[str, Callable[[], None]]) -> Iterator[None]:
    """Let signals call functions on the loop, by their names (`"TERM"`); then as it was before."""
    with _installed({signal.Signals[f"SIG{name}"]: each for name, each in handlers.items()}):
        yield


class Terminal:
    """The terminal from which this program was started, if it was. Where it is closed, everything on it
    gets HUP, which otherwise asks a supervisor for new processes.
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
    """The number of a signal by its name, `"TERM"`: for who sends one."""
    return signal.Signals[f"SIG{name}"].value


@contextmanager
def _installed(handlers: Mapping[signal.Signals, Callable[[], None]]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    before: dict[signal.Signals, object] = {}
    try:
        for each, handler in handlers.items():
            before[each] = signal.getsignal(each)
            loop.add_signal_handler(each, handler)
    except (ValueError, RuntimeError):  # not the main thread: signals are somebody else's matter
        before.clear()
    try:
        yield
    finally:
        for each, old in before.items():
            loop.remove_signal_handler(each)
            signal.signal(each, old)  # type: ignore[arg-type]  # what getsignal gave
