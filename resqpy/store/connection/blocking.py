"""A store without an event loop: the reply to a command is there when the call returns.

For a view or a thread, which has no loop and waits anyhow. It takes a connection that nobody uses, or opens
one, and waits on the socket itself. No other thread has a part in it, so that it costs no more than a
blocking client, works where threads are greenlets, and reconnects in a forked process.
"""

from __future__ import annotations

import os
import select
import socket
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import redis.connection
from redis import exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry

from resqpy.base.errors import OutcomeUnknown
from resqpy.store.connection.client import Store
from resqpy.store.connection.connect import arguments_of, hosts_of, place_of, pool_of
from resqpy.store.connection.line import Line, packed
from resqpy.store.connection.options import RedisOptions
from resqpy.store.connection.translation import Command, translate_connect
from resqpy.store.connection.wire import NOTHING_YET, replies_reader

R = TypeVar("R")

_MOST_IDLE = 8  # connections that are kept; in use are as many as threads ask at the same time
_CHUNK = 65_536


def can_block(options: RedisOptions) -> bool:
    """Whether these options name one server; who else it is, is found out on a loop."""
    return not (options.cluster or options.sentinels)


def driven(coroutine: Coroutine[Any, Any, R]) -> R:
    """The result of a coroutine that waits for nothing but a blocking store."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: R = done.value
        return result
    coroutine.close()
    raise AssertionError("it waits for an event loop")


class BlockingStore(Store):
    """A store whose lines block.

    Args:
        options: see `can_block`; what goes wrong is told to the caller alone.
    """

    def __init__(self, options: RedisOptions) -> None:
        super().__init__(replace(options))

    def new_line(
        self, *, eager: bool = False, depth: int = 1, reply_timeout_s: float | None = None
    ) -> Line:
        wait_s = self.options.reply_timeout_s if reply_timeout_s is None else reply_timeout_s
        return BlockingLine(self.options, wait_s)


class BlockingLine(Line):
    """Connections of which each is one thread's for the time of a call; see `Line`."""

    def __init__(self, options: RedisOptions, reply_timeout_s: float) -> None:
        super().__init__(_no_loop, reply_timeout_s, options.reachability)
        self._open_socket = _opener(options, reply_timeout_s)
        self._idle: deque[_Socket] = deque()
        self._era = 0  # connections of an earlier one are not kept
        self._pid = os.getpid()

    def send(self, commands: Sequence[Command]) -> Any:
        """What can be awaited without an event loop.

        Raises:
            StoreUnavailable: nothing was sent. OutcomeUnknown: no reply came.
        """
        text = b"".join([packed(each) for each in commands])
        used, era = self._taken(), self._era
        try:
            replies = used.ask(text, len(commands))
        except (
            BaseException
        ) as error:  # also a greenlet's end: what comes later must be nobody else's
            used.close()
            if isinstance(error, OSError | exceptions.InvalidResponse):
                why = str(error) or type(error).__name__
                raise OutcomeUnknown(f"the connection to Redis was lost: {why}") from error
            raise
        self.round_trips += 1
        if era == self._era and len(self._idle) < _MOST_IDLE:
            self._idle.append(used)
        else:
            used.close()
        return _Done(replies)

    def _taken(self) -> _Socket:
        """A connection that is not known to be dead."""
        if self._pid != os.getpid():  # those of the parent are the parent's
            self._pid = os.getpid()
            self.reopen()
        while self._idle:
            try:
                used = self._idle.pop()
            except IndexError:  # another thread was faster
                break
            if used.quiet():
                return used
            used.close()
        return self._open_socket()

    def reopen(self) -> None:
        self._era += 1
        while self._idle:
            try:
                self._idle.pop().close()
            except IndexError:
                break

    def reset(self) -> None:
        self.reopen()

    async def close(self) -> None:
        self.reopen()


class _Done:
    """Replies that are there."""

    __slots__ = ("_replies",)

    def __init__(self, replies: list[Any]) -> None:
        self._replies = replies

    def __await__(self) -> Generator[Any, Any, list[Any]]:
        yield from ()
        return self._replies


class _Socket:
    """One connection, opened by redis-py: address, TLS, login, database."""

    __slots__ = ("_connection", "_poll", "_replies", "_socket")

    def __init__(self, connection: Any, timeout_s: float) -> None:
        self._connection = connection  # it would close the socket if it were let go
        self._socket: socket.socket = connection._sock  # noqa: SLF001 - redis-py has no door to it
        self._socket.settimeout(timeout_s)
        self._replies = replies_reader()
        self._poll = select.poll()
        self._poll.register(self._socket.fileno(), select.POLLIN)

    def quiet(self) -> bool:
        """Whether nothing came while nobody asked, as its end would."""
        return not self._poll.poll(0)

    def ask(self, text: bytes, count: int) -> list[Any]:
        """Send commands, and wait for so many replies."""
        receive, replies = self._socket.recv, self._replies
        self._socket.sendall(text)
        found: list[Any] = []
        while len(found) < count:
            reply = replies.gets()
            if reply is not NOTHING_YET:
                found.append(reply)
            elif data := receive(_CHUNK):
                replies.feed(data)
            else:
                raise ConnectionResetError("closed by the server")
        return found

    def close(self) -> None:
        """Close it; in a forked process its parent's stays open."""
        self._socket.close()


def _opener(options: RedisOptions, timeout_s: float) -> Callable[[], _Socket]:
    """What opens a connection to the server that the options name."""
    url, _ = hosts_of(options.url)
    base = pool_of(url, arguments_of(options))
    kind = getattr(redis.connection, base.connection_class.__name__)
    words = {
        **base.connection_kwargs,
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": options.connect_timeout_s,
    }

    def open_one() -> _Socket:
        try:
            made = kind(**words)
            made.connect()
            return _Socket(made, timeout_s)
        except Exception as error:
            raise translate_connect(error, place_of(options)) from error

    return open_one


async def _no_loop() -> Any:
    raise AssertionError("a blocking line opens its connections itself")
