"""The thread that writes log lines: it ends, it can't begin, the file takes nothing for a while."""

from __future__ import annotations

import fcntl
import os
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from resqpy.framework.logs import writer as log_writer
from resqpy.framework.logs.writer import LogStream, LogWriter
from tests.support.waiting import wait_for


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Where one reads, and where one writes."""
    ends = os.pipe()
    yield ends
    for each in ends:
        os.close(each)


def test_a_file_that_does_not_block_is_waited_for(pipe: tuple[int, int]) -> None:
    """Somebody who shares it may have set it so; nothing is lost."""
    ours, theirs = pipe
    fcntl.fcntl(theirs, fcntl.F_SETFL, os.O_NONBLOCK)
    writer = LogWriter(theirs)
    sent = b"".join(b"%d\n" % n for n in range(100_000))
    writer.put(sent)
    got = b""
    while len(got) < len(sent):
        got += os.read(ours, 1 << 16)

    assert (got, writer.lost) == (sent, 0)


async def test_its_thread_is_made_anew(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a time without a thread to be had, and after one that died."""

    def none_left(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    ours, theirs = pipe
    writer = LogWriter(theirs)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", none_left)
        writer.put(b"one\n")
    writer.put(b"two\n")
    assert os.read(ours, 8) == b"one\ntwo\n"

    with monkeypatch.context() as patch:
        patch.setattr(threading, "excepthook", lambda _: None)
        patch.setattr(writer, "_rest", lambda _: 1 / 0)
        writer.put(b"lost\n")
        await wait_for(lambda: writer._thread is None)
    writer.put(b"three\n")
    assert os.read(ours, 6) == b"three\n"


def test_a_forked_child_writes_only_its_own_lines(pipe: tuple[int, int]) -> None:
    """At once, for it ends without a word; what waits is written by its parent alone."""
    ours, theirs = pipe
    stream = LogStream(theirs)
    with stream.writer._lock:
        stream.writer._lines.put(b"the parent's\n")
        pid = os.fork()
        if pid == 0:
            print("the child's", file=stream)
            os._exit(0)
    os.waitpid(pid, 0)

    assert os.read(ours, 100) == b"the child's\n"


def test_lines_never_reach_a_connection_that_got_the_number(
    pipe: tuple[int, int], tmp_path: Path
) -> None:
    """A job closed the descriptor: the log goes on where it went, until somebody turns it elsewhere."""
    ours, theirs = pipe
    writer = LogWriter(theirs)
    peer, connection = socket.socketpair()
    peer.settimeout(0)
    with peer, connection, (tmp_path / "log").open("wb") as file:
        writer.put(b"open\n")
        assert os.read(ours, 100) == b"open\n"
        os.close(theirs)
        writer.put(b"closed\n")
        assert os.read(ours, 100) == b"closed\n"
        os.dup2(connection.fileno(), theirs)
        writer.put(b"a connection\n")
        assert os.read(ours, 100) == b"a connection\n"
        with pytest.raises(BlockingIOError):
            peer.recv(1)
        os.dup2(file.fileno(), theirs)
        writer.put(b"turned\n")
        assert writer.flush(60)
        assert (tmp_path / "log").read_bytes() == b"turned\n"
    assert writer.lost == 0


def test_a_log_that_takes_nothing_is_told_on_standard_error(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once: the file itself can't say so."""
    ours, theirs = pipe
    monkeypatch.setattr(log_writer, "_SCREEN", theirs)
    full = os.open("/dev/full", os.O_WRONLY)
    writer = LogWriter(full)
    for _ in range(2):
        writer.put(b"a line\n")
        log_writer.flush(60)
    os.write(theirs, b"the end\n")
    got = b""
    while not got.endswith(b"the end\n"):
        got += os.read(ours, 1000)
    os.close(full)

    words = b"resqpy: the log cannot be written: No space left on device; its lines are lost\n"
    assert (writer.lost, got.count(words)) == (2, 1)


def test_what_is_lost_is_counted_and_told(pipe: tuple[int, int]) -> None:
    """The buffer is full while nobody reads; a reader that comes later hears how many are missing."""
    ours, theirs = pipe
    writer = LogWriter(theirs)
    before = log_writer.lines_lost()
    line = b"x" * 99 + b"\n"
    count = 3 * log_writer.MAX_WAITING // len(line)
    for _ in range(count):
        writer.put(line)
    got, told = b"", 0
    while got.count(line) + told < count:  # of the last that are lost it is told last
        got += os.read(ours, 1 << 16)
        notices = re.findall(rb"(\d+) log lines were lost: their reader was too slow", got)
        told = sum(map(int, notices))

    assert told == writer.lost == log_writer.lines_lost() - before > 0


@pytest.mark.parametrize("before", [True, False])
def test_a_file_that_a_job_closes_at_once_is_kept(*, before: bool) -> None:
    """Before its thread wrote anything, or before there was a line at all."""
    ours, theirs = os.pipe()
    writer = LogWriter(theirs)
    if before:
        writer.put(b"one\n")
    else:
        writer.keep()
    os.close(theirs)
    writer.put(b"two\n")
    assert (writer.flush(), writer.lost) == (True, 0)
    assert os.read(ours, 100) == (b"one\ntwo\n" if before else b"two\n")
    os.close(ours)
