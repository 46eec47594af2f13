"""Drive the real node-resque and Ruby resque from async tests, over JSON lines.

`NodeDriver` and `RubyDriver` start the programs under `tests/interop/`, call their
operations by name and collect the events they report. Nothing here knows resqpy.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import parse_qs, unquote, urlsplit

INTEROP = Path(__file__).parent.parent / "interop"
CALL_TIMEOUT_S = 30.0
EVENT_TIMEOUT_S = 10.0
START_TIMEOUT_S = 30.0
CLOSE_TIMEOUT_S = 10.0
LINE_LIMIT = 256 * 1024 * 1024  # bytes; one answer is one line, however long
STDERR_LINES = 200


class ForeignError(Exception):
    """A foreign call failed; `name` is the class of the error over there."""

    def __init__(self, message: str, name: str | None = None) -> None:
        super().__init__(message)
        self.name = name


class ForeignDied(ForeignError):
    """The foreign process ended while something was expected of it."""


@dataclass(frozen=True)
class Target:
    """The Redis that a driver connects to, as its first argument spells it."""

    namespace: str | list[str] = "resque"
    socket: str | None = None
    host: str | None = None
    port: int | None = None
    db: int = 0
    username: str | None = None
    password: str | None = None

    @classmethod
    def from_url(cls, url: str, namespace: str | list[str] = "resque") -> Self:
        """Read `redis://[user:pass@]host:port/db` or `unix:///path?db=0`."""
        parts = urlsplit(url)
        user = unquote(parts.username) if parts.username else None
        password = unquote(parts.password) if parts.password else None
        asked = parse_qs(parts.query).get("db", [None])[0]
        if parts.scheme == "unix":
            path = unquote(parts.path)
            return cls(namespace, socket=path, db=int(asked or 0), username=user, password=password)
        db = int(asked or parts.path.strip("/") or 0)
        return cls(namespace, None, parts.hostname, parts.port or 6379, db, user, password)

    def as_json(self, **more: Any) -> str:
        known = {name: value for name, value in vars(self).items() if value is not None}
        return json.dumps(known | more)


@dataclass(frozen=True)
class Event:
    """One line that the other side sent unasked."""

    name: str
    role: str
    handle: str | None
    args: list[Any] = field(default_factory=list)


EventFilter = Callable[[Event], bool]


class ForeignDriver:
    """A child process that answers calls; see the subclasses for the operations."""

    language: ClassVar[str]

    def __init__(self, target: Target, *, env: dict[str, str] | None = None, **more: Any) -> None:
        self.target = target
        self.ready: dict[str, Any] = {}
        self._env = os.environ | (env or {})
        self._argument = target.as_json(**more)
        self._calls: dict[int, asyncio.Future[Any]] = {}
        self._events: list[Event] = []
        self._news = asyncio.Condition()
        self._stderr: deque[str] = deque(maxlen=STDERR_LINES)
        self._tasks: list[asyncio.Task[None]] = []
        self._process: asyncio.subprocess.Process | None = None
        self._last_id = 0

    @classmethod
    def command(cls) -> list[str]:
        """Return the program to start, without its argument."""
        raise NotImplementedError

    @classmethod
    def missing(cls) -> str | None:
        """Say why this driver cannot run here, or None."""
        raise NotImplementedError

    @property
    def pid(self) -> int:
        return self._running().pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.returncode is None

    # ---- life ----

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> Self:
        """Start the process and wait until it is connected to Redis."""
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            *self.command(), self._argument,
            stdin=pipe, stdout=pipe, stderr=pipe, env=self._env,
            limit=LINE_LIMIT, start_new_session=True,
        )  # fmt: skip
        self._tasks = [
            asyncio.create_task(self._read_lines(self._process)),
            asyncio.create_task(self._read_stderr(self._process)),
        ]
        try:
            ready = await self.wait_event("ready", timeout_s=START_TIMEOUT_S)
        except BaseException:
            await self.kill()
            raise
        self.ready = ready.args[0]
        return self

    async def stop(self) -> None:
        """Let the roles end properly (they unregister), then end the process."""
        if self.alive:
            await self.call("shutdown")
        await self.close()

    async def close(self) -> None:
        """End the process at once: the roles leave their keys behind."""
        if self._process is None:
            return
        if self.alive:
            self.thaw()
            self._stdin().close()
        try:
            await asyncio.wait_for(self._process.wait(), CLOSE_TIMEOUT_S)
        except TimeoutError:
            self._process.kill()
        await self._gather(self._process)

    async def kill(self) -> None:
        """Kill by signal 9 and wait until it is gone."""
        process = self._running()
        if self.alive:
            process.kill()
        await self._gather(process)

    def freeze(self) -> None:
        """Stop the process (SIGSTOP): it lives, but does nothing."""
        self._running().send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen process go on (SIGCONT)."""
        self._running().send_signal(signal.SIGCONT)

    # ---- talk ----

    async def call(self, op: str, *args: Any, timeout_s: float = CALL_TIMEOUT_S) -> Any:
        """Run one operation over there and return its result, or raise ForeignError."""
        if not self.alive:
            raise self._died(op)
        self._last_id += 1
        request = {"id": self._last_id, "op": op, "args": args}
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._calls[self._last_id] = answer
        stdin = self._stdin()
        stdin.write(json.dumps(request).encode() + b"\n")
        await stdin.drain()
        try:
            return await asyncio.wait_for(answer, timeout_s)
        except TimeoutError:
            raise TimeoutError(f"{self._who()}: no answer to {op} in {timeout_s} s") from None

    async def wait_event(
        self,
        name: str,
        *,
        where: EventFilter | None = None,
        timeout_s: float = EVENT_TIMEOUT_S,
    ) -> Event:
        """Return the oldest such event not returned before, waiting for it if need be."""
        try:
            async with asyncio.timeout(timeout_s), self._news:
                while (found := self._take(name, where)) is None:
                    if not self.alive:
                        raise self._died(f"event {name}")
                    await self._news.wait()
                return found
        except TimeoutError:
            raise TimeoutError(self._missed(name, timeout_s)) from None

    def events(self, name: str | None = None) -> list[Event]:
        """List the events that no `wait_event` has returned yet, oldest first."""
        return [event for event in self._events if name in (None, event.name)]

    @property
    def stderr(self) -> str:
        """What the process wrote to stderr, the last lines of it."""
        return "\n".join(self._stderr)

    # ---- private ----

    def _running(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise ForeignDied(f"{self._who()} was not started")
        return self._process

    def _stdin(self) -> asyncio.StreamWriter:
        stdin = self._running().stdin
        assert stdin is not None
        return stdin

    def _take(self, name: str, where: EventFilter | None) -> Event | None:
        for index, event in enumerate(self._events):
            if event.name == name and (where is None or where(event)):
                return self._events.pop(index)
        return None

    async def _read_lines(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            await self._heard(json.loads(line))
        await process.wait()
        for answer in self._calls.values():
            if not answer.done():
                answer.set_exception(self._died("an answer"))
        self._calls.clear()
        async with self._news:
            self._news.notify_all()

    async def _heard(self, message: dict[str, Any]) -> None:
        if "event" not in message:
            self._answered(message)
            return
        event = Event(message["event"], message["role"], message["handle"], message["args"])
        async with self._news:
            self._events.append(event)
            self._news.notify_all()

    def _answered(self, message: dict[str, Any]) -> None:
        answer = self._calls.pop(message["id"], None)
        if answer is None or answer.done():
            return  # the caller gave up waiting
        if message["ok"]:
            answer.set_result(message["result"])
        else:
            answer.set_exception(ForeignError(message["error"], message.get("name")))

    async def _read_stderr(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        async for line in process.stderr:
            self._stderr.append(line.decode(errors="replace").rstrip("\n"))

    async def _gather(self, process: asyncio.subprocess.Process) -> None:
        await process.wait()
        await asyncio.gather(*self._tasks)
        self._stdin().close()

    def _who(self) -> str:
        return f"the {self.language} driver"

    def _died(self, wanted: str) -> ForeignDied:
        code = self._process.returncode if self._process else None
        return ForeignDied(f"{self._who()} ended ({code}) before {wanted}\n{self.stderr}")

    def _missed(self, name: str, timeout_s: float) -> str:
        seen = [f"{event.role}.{event.name}" for event in self._events][-30:]
        return f"{self._who()}: no event {name} in {timeout_s} s; seen {seen}\n{self.stderr}"


class NodeDriver(ForeignDriver):
    """node-resque. Every method of its Queue is an operation `queue.<method>`.

    Also: `define`, `enqueueAll`, `worker.*`, `multiWorker.*`, `scheduler.*`, `shutdown`;
    see `tests/interop/node/driver.js`. Job classes: `tests/interop/node/jobs.js`.
    """

    language = "Node"

    @classmethod
    def command(cls) -> list[str]:
        return ["node", str(INTEROP / "node" / "driver.js")]

    @classmethod
    def missing(cls) -> str | None:
        if shutil.which("node") is None:
            return "there is no `node` on the PATH"
        if not (INTEROP / "node" / "node_modules" / "node-resque").is_dir():
            return "node-resque is not installed; run `npm ci` in tests/interop/node"
        return None


class RubyDriver(ForeignDriver):
    """resque and, where it is installed, resque-scheduler.

    The operations are those of `tests/interop/ruby/ops.rb`, the job classes those of
    `tests/interop/ruby/jobs.rb`. Where the gems lie elsewhere, RUBYLIB says so.
    """

    language = "Ruby"

    @classmethod
    def command(cls) -> list[str]:
        return ["ruby", str(INTEROP / "ruby" / "driver.rb")]

    @classmethod
    def missing(cls) -> str | None:
        if shutil.which("ruby") is None:
            return "there is no `ruby` on the PATH"
        return None if _ruby_can("resque") else "`ruby -rresque` does not work"

    @property
    def has_scheduler(self) -> bool:
        return self.ready.get("scheduler") is not None


StartNode = Callable[..., Awaitable[NodeDriver]]
StartRuby = Callable[..., Awaitable[RubyDriver]]


def activejob(mode: str, jobs: str = "") -> list[Any]:
    """What Rails' ActiveJob says for each job: see `tests/interop/ruby/activejob.rb`."""
    script = str(INTEROP / "ruby" / "activejob.rb")
    # Not what RUBYLIB names, such as resque 3, which brings an adapter of its own for a newer ActiveJob.
    env = {name: value for name, value in os.environ.items() if name != "RUBYLIB"}
    done = subprocess.run(
        ["ruby", script, mode], input=jobs, capture_output=True, text=True, check=False, env=env
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def activejob_missing() -> str | None:
    """Why ActiveJob can't run here, or None."""
    if shutil.which("ruby") is None:
        return "there is no `ruby` on the PATH"
    return None if _ruby_can("active_job") else "`ruby -ractive_job` does not work"


@cache
def _ruby_can(library: str) -> bool:
    probe = ["ruby", f"-r{library}", "-e", "1"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0
