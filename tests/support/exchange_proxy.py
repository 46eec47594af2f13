"""A proxy before Redis that knows single requests and replies: it loses, delays, repeats and cuts exchanges."""

from __future__ import annotations

import asyncio
import contextlib
import random
import tempfile
from collections import deque
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from resqpy.store.connection.client import script
from tests.support.ports import close_server

FATES = ("cut", "lose", "tear", "hold", "delay", "repeat")


def frame_end(data: bytes, at: int = 0) -> int | None:
    """Where the RESP value that begins at a place ends; None: it is not all there."""
    end = data.find(b"\r\n", at)
    if end < 0:
        return None
    kind, number = data[at : at + 1], data[at + 1 : end]
    at = end + 2
    if kind == b"$" and int(number) >= 0:
        at += int(number) + 2
        return at if at <= len(data) else None
    if kind in b"*>~":
        for _ in range(int(number)):
            following = frame_end(data, at)
            if following is None:
                return None
            at = following
    return at


class Frames:
    """The RESP values of a stream, one after the other, as bytes."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._data = b""

    async def next(self) -> bytes | None:
        """The next one; None at the end of the stream."""
        while (end := frame_end(self._data) if self._data else None) is None:
            more = await self._reader.read(1 << 16)
            if not more:
                return None
            self._data += more
        frame, self._data = self._data[:end], self._data[end:]
        return frame


class ExchangeProxy:
    """Passes all on, but does to some exchanges what chance says.

    Args:
        url: the Redis behind it, by a unix socket.
        chance: of each exchange, that something is done to it.
        hold_s: how late a held request may arrive; its client has given up by then.

    Attributes:
        url: what to give to a client.
        done: what was done, in its order.
        kind: no more is done to anybody.
    """

    def __init__(self, url: str, seed: int, chance: float = 0.15, hold_s: float = 0.5) -> None:
        self._target = urlsplit(url).path
        self._folder = tempfile.TemporaryDirectory(prefix="resqpy-proxy-")
        self._path = str(Path(self._folder.name) / "p.sock")
        self.url = f"unix://{self._path}?{urlsplit(url).query}"
        self.done: list[str] = []
        self.kind = False
        self._random = random.Random(seed)
        self._chance = chance
        self._hold_s = hold_s
        self._needle = script("exchange").sha.encode()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._accept, self._path)
        return self

    async def __aexit__(self, *_: object) -> None:
        await close_server(self._server)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._folder.cleanup()

    async def settled(self) -> None:
        """Return when all that was held has arrived or is dropped, and no connection is open."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def fate(self, request: bytes) -> str:
        """What is done to a request."""
        if self.kind or self._needle not in request or self._random.random() > self._chance:
            return ""
        fate = self._random.choice(FATES)
        self.done.append(fate)
        return fate

    def some_time_s(self, most_s: float) -> float:
        """By chance."""
        return self._random.random() * most_s

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        writers = [writer]
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                there, to_redis = await asyncio.open_unix_connection(self._target)
                writers.append(to_redis)
                pair = _Pair(self, writer, to_redis)
                back = asyncio.ensure_future(pair.back(Frames(there)))
                try:
                    await pair.forth(Frames(reader), self._hold_s)
                finally:
                    back.cancel()
        finally:
            for each in writers:
                each.transport.abort()
            self._tasks.discard(task)


class _Pair:
    """One client's connection and its continuation."""

    def __init__(
        self, proxy: ExchangeProxy, client: asyncio.StreamWriter, to_redis: asyncio.StreamWriter
    ) -> None:
        self._proxy = proxy
        self._client = client
        self._to_redis = to_redis
        self._replies: deque[str] = deque()  # what is done to the replies to come
        self._held: asyncio.Task[None] | None = None

    async def forth(self, frames: Frames, hold_s: float) -> None:
        """From the client to Redis, until either is gone."""
        while (request := await frames.next()) is not None:
            fate = self._proxy.fate(request)
            if fate == "cut":
                return
            if fate == "hold":  # it arrives, some time after its client has given up
                await asyncio.sleep(self._proxy.some_time_s(hold_s))
                self._replies.append("nothing")
            else:
                self._replies.append(fate)
            self._to_redis.write(request)
            if fate == "repeat":
                self._replies.append("")
                self._to_redis.write(request)
        await self._to_redis.drain()

    async def back(self, frames: Frames) -> None:
        """From Redis to the client."""
        with contextlib.suppress(OSError):
            while (reply := await frames.next()) is not None:
                fate = self._replies.popleft() if self._replies else ""
                if fate == "lose":
                    break
                if fate == "tear":
                    self._client.write(reply[: len(reply) // 2])
                    await self._client.drain()
                    break
                if fate == "delay":
                    await asyncio.sleep(self._proxy.some_time_s(0.03))
                if fate != "nothing":
                    self._client.write(reply)
        self._client.transport.abort()
