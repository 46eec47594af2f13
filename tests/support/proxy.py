"""A proxy before a Redis on a unix socket that can lose replies, fall silent and cut connections."""

from __future__ import annotations

import asyncio
import contextlib
import re
import tempfile
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from tests.support.ports import close_server

_LONGEST = 40  # bytes of a needle, less one


class Proxy:
    """Passes bytes on, until it is told to misbehave.

    Args:
        url: the Redis behind it, by a unix socket.

    Attributes:
        url: what to give to a client.
        needle: what is counted, a regular expression: scripts and pushes.
        seen: how many commands with `needle` have passed.
    """

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url).path
        self._folder = tempfile.TemporaryDirectory(prefix="resqpy-proxy-")
        self._place = Path(self._folder.name) / "p.sock"
        self._path = str(self._place)
        self.url = f"unix://{self._path}?{urlsplit(url).query}"
        self.needle = rb"EVALSHA|[LR]PUSH"
        self.seen = 0
        self._lose: set[int] = set()
        self._cut_before: set[int] = set()
        self._silent = False
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.refuse()
        self.reset()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._folder.cleanup()

    async def listen(self) -> None:
        """Accept connections."""
        self._server = await asyncio.start_unix_server(self._accept, self._path)

    async def refuse(self) -> None:
        """Accept no more connections; those there are stay."""
        if self._server is not None:
            server, self._server = self._server, None
            await close_server(server)
            self._place.unlink(missing_ok=True)

    def reset(self) -> None:
        """Cut all connections."""
        for writer in self._writers:
            writer.transport.abort()

    def lose_reply(self, *numbers: int) -> None:
        """Cut the connection when the reply to the n-th command with `needle`, from now on, comes."""
        self._lose |= {self.seen + number for number in numbers}

    def cut_before(self, *numbers: int) -> None:
        """Cut the connection instead of passing on the n-th command with `needle`."""
        self._cut_before |= {self.seen + number for number in numbers}

    def silence(self) -> None:
        """Swallow everything in both directions, on old and new connections: half-open."""
        self._silent = True

    def speak(self) -> None:
        """Pass on again what comes from now on."""
        self._silent = False

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            there, to_redis = await asyncio.open_unix_connection(self._target)
        except (OSError, asyncio.CancelledError):
            writer.transport.abort()
            self._tasks.discard(task)
            return
        self._writers |= {writer, to_redis}
        pair = _Pair(self, reader, writer, there, to_redis)
        try:
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await asyncio.wait(
                    [asyncio.ensure_future(pair.up()), asyncio.ensure_future(pair.down())],
                    return_when=asyncio.FIRST_COMPLETED,
                )
        finally:
            for each in (writer, to_redis):
                each.transport.abort()
                self._writers.discard(each)
            self._tasks.discard(task)


class _Pair:
    """One client's connection and its continuation."""

    def __init__(
        self,
        proxy: Proxy,
        client: asyncio.StreamReader,
        to_client: asyncio.StreamWriter,
        redis: asyncio.StreamReader,
        to_redis: asyncio.StreamWriter,
    ) -> None:
        self._proxy = proxy
        self._client, self._to_client = client, to_client
        self._redis, self._to_redis = redis, to_redis
        self._losing = False

    async def up(self) -> None:
        tail = b""
        proxy = self._proxy
        with contextlib.suppress(OSError):
            while data := await self._client.read(1 << 20):
                text = tail + data
                ends = [found.end() for found in re.finditer(proxy.needle, text)]
                tail = text[max([0, len(text) - _LONGEST, *ends]) :]
                numbers = set(range(proxy.seen + 1, proxy.seen + len(ends) + 1))
                proxy.seen += len(ends)
                if numbers & proxy._cut_before:
                    return
                self._losing |= bool(numbers & proxy._lose)
                if not proxy._silent:
                    self._to_redis.write(data)
                    await self._to_redis.drain()

    async def down(self) -> None:
        with contextlib.suppress(OSError):
            while data := await self._redis.read(1 << 20):
                if self._losing:
                    return
                if not self._proxy._silent:
                    self._to_client.write(data)
                    await self._to_client.drain()
