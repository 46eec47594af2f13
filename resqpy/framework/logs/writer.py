"""Writes log lines in a separate thread, so that a slow, stopped or dead reader, a full disk or a closed
terminal never blocks the code that logs. A job that closes standard output neither ends the log nor
redirects its lines to whatever gets that descriptor next, such as a connection to Redis.

Lines wait in a bounded buffer. Lines that don't fit or can't be written are dropped and counted, and
reported in one line as soon as writing works again. A forked child writes its own lines directly, because
it has no such thread, and none of its parent's.
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

MAX_WAITING = 4 * 1024 * 1024  # bytes in the buffer of one file
FLUSH_WITHIN_S = 2.0  # how long the end of a program waits for its last lines
_SLOW = f"their reader was too slow or had stopped, and the buffer of {MAX_WAITING // 1024**2} MiB was full"
_SCREEN = 2  # standard error
_CHUNK = 64 * 1024
_BLOCKED_S = 1.0  # between attempts on a file that accepts nothing now
_MORE_S = 0.005  # for more lines, before some are written: threads that take turns cost more than they write
_LOOK_S = 0.002  # between checks whether everything is written

_writers: dict[tuple[int, int], LogWriter] = {}
_all: weakref.WeakSet[LogWriter] = weakref.WeakSet()


def _plain_notice(lost: int, why: str) -> str:
    return f"resqpy: {lost} log lines were lost: {why}\n"


class LogWriter:
    """Writes to one file.

    Args:
        number: the file descriptor; it stays open.

    Attributes:
        notice: makes the line that reports how many were lost, and why.
        lost: how many were lost in total.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.notice: Callable[[int, str], str] = _plain_notice
        self.lost: int = 0
        self._own = -1  # a duplicate
        self._told = 0
        self._why = ""
        self._told_on_screen = False
        self._held = 0
        self._lines: SimpleQueue[bytes] = SimpleQueue()
        self._hurry = threading.Event()
        self._lock = (
            threading.RLock()
        )  # reentrant: a signal handler may log while its thread is in `put`
        self._thread: threading.Thread | None = None
        self._direct = False
        _all.add(self)

    def put(self, data: bytes) -> None:
        """Queue data for writing; returns immediately, whatever the file does."""
        if self._direct:
            self._write(data)
            return
        with self._lock:
            if self._held and self._held + len(data) > MAX_WAITING:
                self.lost += data.count(b"\n")
                self._why = _SLOW
                return
            self._held += len(data)
            self._lines.put(data)
            if self._thread is None:
                self._start()

    def flush(self, within_s: float = FLUSH_WITHIN_S) -> bool:
        """Wait until everything is written, at most this long; returns whether it is."""
        until_s = time.monotonic() + within_s
        self._hurry.set()
        while self._held and time.monotonic() < until_s:
            with self._lock:
                if self._thread is None:
                    self._start()
            time.sleep(_LOOK_S)
        self._hurry.clear()
        return not self._held

    def keep(self) -> None:
        """Keep the file from now on, whatever a job closes."""
        with self._lock, contextlib.suppress(OSError):
            if self._own == -1 and not self._direct:
                self._own = fcntl.fcntl(self.number, fcntl.F_DUPFD_CLOEXEC, 3)

    def _start(self) -> None:
        self.keep()
        thread = threading.Thread(target=self._main, name="resqpy-log", daemon=True)
        self._thread = thread
        try:
            thread.start()
        except RuntimeError:  # out of threads: the next line tries again
            self._thread = None

    # -- in the thread --

    def _main(self) -> None:
        try:
            while True:
                self._write_some(self._next())
        finally:
            self._thread = None  # whatever ended it, the next line starts another

    def _write_some(self, data: bytes) -> None:
        try:
            self._write(data)
            if self._held == len(data) and self.lost > self._told:
                self._write(b"")  # the next line may come much later
        finally:
            with self._lock:
                self._held -= len(data)

    def _next(self) -> bytes:
        parts = [self._lines.get()]
        if self._lines.empty():
            self._hurry.wait(_MORE_S)
        size = len(parts[0])
        while size < _CHUNK:
            try:
                parts.append(self._lines.get_nowait())
            except Empty:
                break
            size += len(parts[-1])
        return b"".join(parts)

    def _write(self, data: bytes) -> None:
        """Write a chunk, preceded by the line that reports what was lost before it."""
        lost = self.lost
        notice = self.notice(lost - self._told, self._why).encode() if lost > self._told else b""
        if rest := self._rest(notice + data):
            with self._lock:
                self.lost += rest[-len(data) :].count(b"\n") if data else 0
        if notice and len(rest) <= len(data):
            self._told = lost

    def _rest(self, data: bytes) -> bytes:
        """Write; returns what could not be written."""
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._target(), view) :]
            except BlockingIOError:  # another user of the file set it to non-blocking
                _wait_until_writable(self._target())
            except OSError as error:
                self._why = f"they could not be written: {error.strerror}"
                self._tell_on_screen(error)
                break
        return bytes(view)

    def _tell_on_screen(self, error: OSError) -> None:
        """A file that accepts nothing can't report it: standard error does, once, if it is another file."""
        told, self._told_on_screen = self._told_on_screen, True
        with contextlib.suppress(OSError):
            screen = os.fstat(_SCREEN)
            if not told and not os.path.samestat(screen, os.fstat(self._target())):
                words = f"resqpy: the log cannot be written: {error.strerror}; its lines are lost\n"
                writer_of(_SCREEN).put(words.encode())

    def _target(self) -> int:
        """The file, or what its descriptor was redirected to; the duplicate, once the descriptor is closed
        or belongs to a connection.
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
        """In a forked child: the waiting lines belong to the parent."""
        self._lock = threading.RLock()
        self._lines = SimpleQueue()
        self._hurry = threading.Event()
        self._held, self._told, self._thread, self._direct = 0, self.lost, None, True
        if _state(self._own) is not None:
            os.close(self._own)
        self._own = -1


def _state(number: int) -> os.stat_result | None:
    """What a descriptor refers to; None: it is closed."""
    try:
        return os.fstat(number)
    except OSError:
        return None


def _wait_until_writable(number: int) -> None:
    poll = select.poll()
    poll.register(number, select.POLLOUT)
    poll.poll(_BLOCKED_S * 1000)


def writer_of(number: int) -> LogWriter:
    """The writer for what a descriptor refers to: one for all descriptors of the same file, so that lines
    keep their order.
    """
    state = os.fstat(number)
    return _writers.setdefault((state.st_dev, state.st_ino), LogWriter(number))


def lines_lost() -> int:
    """How many lines of this process were lost."""
    return sum(each.lost for each in _all)


def flush(within_s: float = FLUSH_WITHIN_S) -> None:
    """Wait until all lines are written, at most this long in total."""
    until_s = time.monotonic() + within_s
    for each in (*_all, *_all):  # what one can't write, standard error tells
        each.flush(max(0.0, until_s - time.monotonic()))


class _Raw(io.RawIOBase):
    """A writer as the raw file of a text stream."""

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
        """Does nothing: the descriptor belongs to somebody else."""


class LogStream(io.TextIOWrapper):
    """A text stream that never blocks and never fails.

    Attributes:
        writer: receives its text.
    """

    def __init__(self, number: int, encoding: str = "utf-8") -> None:
        self.writer: LogWriter = writer_of(number)
        raw: Any = _Raw(self.writer)
        super().__init__(raw, encoding, errors="backslashreplace", line_buffering=True)


class DirectStream:
    """A stream that is not a system file (a test's), written directly; failures are counted."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Write, ignoring failures."""
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
    """A stream for log text, written by a thread for standard output and error."""
    if isinstance(stream, LogStream):
        return stream
    try:
        number = stream.fileno()
    except (OSError, ValueError, AttributeError):
        return DirectStream(stream)
    # Others may be closed by their owner, and their descriptor reused.
    return LogStream(number) if number in {1, 2} else DirectStream(stream)


def guard_standard_streams() -> None:
    """From now on `print`, and everything that writes to standard output and error, neither blocks nor fails."""
    _fill_standard_numbers()
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        guarded = LogStream(number) if stream is None else log_stream(stream)
        if isinstance(guarded, LogStream):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
            guarded.writer.keep()
            setattr(sys, name, guarded)


def _fill_standard_numbers() -> None:
    """For programs started with some of them closed (`2>&-`): otherwise a connection to Redis would get the
    number of standard error.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            nothing = os.open(os.devnull, os.O_RDWR)  # the lowest free number
            os.dup2(nothing, number)
            if nothing != number:
                os.close(nothing)


def _forget() -> None:
    for each in tuple(_all):
        each.forget()


os.register_at_fork(after_in_child=_forget)
atexit.register(flush)
