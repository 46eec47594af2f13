"""Writes log lines in a thread of its own, so that a reader that is slow, stopped or gone, a full disk or
a closed terminal never holds up what is logged about. A job that closes standard output neither ends the log
nor lets its lines reach whatever gets that number next, a connection to Redis for example.

Lines wait in a bounded buffer. What does not fit, or can't be written, is dropped and counted, and told
in one line as soon as writing works again. A forked child writes its own lines at once, for it has no
such thread, and none of its parent's.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import io
import os
import select
import stat
import sys
import threading
import time
import weakref
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, TextIO

MOST_WAITING = 4 * 1024 * 1024  # bytes in the buffer of one file
FLUSH_WITHIN_S = 2.0  # that the end of a program waits for its last lines
_SLOW = (
    "whatever reads them was too slow or stood still, and the buffer of "
    f"{MOST_WAITING // 1024**2} MiB was full"
)
_SCREEN = 2  # standard error
_CHUNK = 64 * 1024
_BLOCKED_S = 1.0  # between looks at a file that takes nothing now
_LOOK_S = 0.002  # between looks whether all is written

_writers: dict[tuple[int, int], LogWriter] = {}
_all: weakref.WeakSet[LogWriter] = weakref.WeakSet()


def _plain_notice(lost: int, why: str) -> str:
    return f"resqpy: {lost} log lines were lost: {why}\n"


class LogWriter:
    """The way to one file.

    Args:
        number: the file descriptor; it stays open.

    Attributes:
        notice: the line that tells how many were lost, and why.
        lost: how many were lost in all.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.notice: Callable[[int, str], str] = _plain_notice
        self.lost: int = 0
        self._own = -1  # a duplicate, while the thread lives
        self._told = 0
        self._why = ""
        self._told_on_screen = False
        self._held = 0
        self._lines: SimpleQueue[bytes] = SimpleQueue()
        self._lock = threading.RLock()  # a signal handler may log while its thread is in `put`
        self._thread: threading.Thread | None = None
        self._direct = False
        _all.add(self)

    def put(self, data: bytes) -> None:
        """Have something written; returns at once, whatever the file does."""
        if self._direct:
            self._write(data)
            return
        with self._lock:
            if self._held and self._held + len(data) > MOST_WAITING:
                self.lost += data.count(b"\n")
                self._why = _SLOW
                return
            self._held += len(data)
            self._lines.put(data)
            if self._thread is None:
                self._start()

    def flush(self, within_s: float = FLUSH_WITHIN_S) -> bool:
        """Wait until all is written, or so long; whether it is."""
        until_s = time.monotonic() + within_s
        while self._held and time.monotonic() < until_s:
            with self._lock:
                if self._thread is None:
                    self._start()
            time.sleep(_LOOK_S)
        return not self._held

    def _start(self) -> None:
        thread = threading.Thread(target=self._main, name="resqpy-log", daemon=True)
        self._thread = thread
        try:
            thread.start()
        except RuntimeError:  # no more threads: the next line tries again
            self._thread = None

    # -- in the thread --

    def _main(self) -> None:
        try:
            while True:
                self._write_some(self._next())
        finally:
            self._thread = None  # whatever ended it: the next line starts another

    def _write_some(self, data: bytes) -> None:
        try:
            self._write(data)
            if self._held == len(data) and self.lost > self._told:
                self._write(b"")  # nobody knows when the next line comes
        finally:
            with self._lock:
                self._held -= len(data)

    def _next(self) -> bytes:
        parts = [self._lines.get()]
        size = len(parts[0])
        while size < _CHUNK:
            try:
                parts.append(self._lines.get_nowait())
            except Empty:
                break
            size += len(parts[-1])
        return b"".join(parts)

    def _write(self, data: bytes) -> None:
        """Write a chunk, behind the line that tells of what was lost before it."""
        lost = self.lost
        notice = self.notice(lost - self._told, self._why).encode() if lost > self._told else b""
        if rest := self._rest(notice + data):
            with self._lock:
                self.lost += rest[-len(data) :].count(b"\n") if data else 0
        if notice and len(rest) <= len(data):
            self._told = lost

    def _rest(self, data: bytes) -> bytes:
        """Write; what could not be written."""
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._target(), view) :]
            except BlockingIOError:  # somebody who shares the file made it so
                _wait_until_writable(self._target())
            except OSError as error:
                self._why = f"they could not be written: {error.strerror}"
                self._tell_on_screen(error)
                break
        return bytes(view)

    def _tell_on_screen(self, error: OSError) -> None:
        """A file that takes nothing can't say so: standard error does, once, where it is another one."""
        told, self._told_on_screen = self._told_on_screen, True
        with contextlib.suppress(OSError):
            screen = os.fstat(_SCREEN)
            if not told and not os.path.samestat(screen, os.fstat(self._target())):
                words = f"resqpy: the log can't be written: {error.strerror}; its lines are lost\n"
                writer_of(_SCREEN).put(words.encode())

    def _target(self) -> int:
        """The file, or another to which its number was turned; the duplicate, once the number is closed or
        that of a connection.
        """
        if self._direct:
            return self.number
        now, own = _state(self.number), _state(self._own)
        if now is None or (own is not None and os.path.samestat(now, own)):
            return self._own
        if own is not None and stat.S_ISSOCK(now.st_mode):
            return self._own
        if own is not None:
            os.close(self._own)
        with contextlib.suppress(OSError):
            self._own = fcntl.fcntl(self.number, fcntl.F_DUPFD_CLOEXEC, 3)
        return self.number

    def forget(self) -> None:
        """In a forked child: the lines that wait are the parent's."""
        self._lock = threading.RLock()
        self._lines = SimpleQueue()
        self._held, self._told, self._thread, self._direct = 0, self.lost, None, True
        if _state(self._own) is not None:
            os.close(self._own)
        self._own = -1


def _state(number: int) -> os.stat_result | None:
    """What a descriptor leads to; None: it is closed."""
    try:
        return os.fstat(number)
    except OSError:
        return None


def _wait_until_writable(number: int) -> None:
    poll = select.poll()
    poll.register(number, select.POLLOUT)
    poll.poll(_BLOCKED_S * 1000)


def writer_of(number: int) -> LogWriter:
    """The writer to what a descriptor leads to: one for all that lead there, so that lines keep their
    order.
    """
    state = os.fstat(number)
    return _writers.setdefault((state.st_dev, state.st_ino), LogWriter(number))


def lines_lost() -> int:
    """How many lines of this process were lost."""
    return sum(each.lost for each in _all)


def flush(within_s: float = FLUSH_WITHIN_S) -> None:
    """Let all lines be written, but wait no longer than so for all of them."""
    until_s = time.monotonic() + within_s
    for each in tuple(_all):
        each.flush(max(0.0, until_s - time.monotonic()))


class _Raw(io.RawIOBase):
    """A writer as the file below a text stream."""

    def __init__(self, writer: LogWriter) -> None:
        super().__init__()
        self.writer = writer

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        text = bytes(data)
        self.writer.put(text)
        return len(text)

    def fileno(self) -> int:
        return self.writer.number

    def isatty(self) -> bool:
        return os.isatty(self.writer.number)

    def close(self) -> None:
        """Nothing: the descriptor is somebody else's."""


class LogStream(io.TextIOWrapper):
    """A text stream that never blocks and never fails.

    Attributes:
        writer: where its text goes.
    """

    def __init__(self, number: int, encoding: str = "utf-8") -> None:
        self.writer: LogWriter = writer_of(number)
        raw: Any = _Raw(self.writer)
        super().__init__(raw, encoding, errors="backslashreplace", line_buffering=True)


class DirectStream:
    """A stream that is not a file of the system's (a test's), written at once; what fails is counted."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Write, as well as may be."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._stream.isatty()

    def flush(self) -> None:
        """Flush it."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()


def log_stream(stream: TextIO) -> Any:
    """A stream's text, written by a thread where it is standard output or error."""
    if isinstance(stream, LogStream):
        return stream
    try:
        number = stream.fileno()
    except (OSError, ValueError, AttributeError):
        return DirectStream(stream)
    # Any other may be closed by whoever opened it, and its number be another file's.
    return LogStream(number) if number in {1, 2} else DirectStream(stream)


def guard_standard_streams() -> None:
    """From now on `print`, and all that writes to standard output and error, neither waits nor fails."""
    _fill_standard_numbers()
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        guarded = LogStream(number) if stream is None else log_stream(stream)
        if isinstance(guarded, LogStream):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
            setattr(sys, name, guarded)


def _fill_standard_numbers() -> None:
    """Of a program that was started with some of them closed (`2>&-`): else a connection to Redis would
    have the number of standard error.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            nothing = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
            os.dup2(nothing, number)
            if nothing != number:
                os.close(nothing)


def _forget() -> None:
    for each in tuple(_all):
        each.forget()


os.register_at_fork(after_in_child=_forget)
atexit.register(flush)
