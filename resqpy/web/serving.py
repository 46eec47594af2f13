"""The console as a process of its own: `resqpy web`."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import uvicorn

from resqpy.base.concurrency.own_tasks import own_task
from resqpy.base.errors import UsageError
from resqpy.framework.process.signals import told_to_stop
from resqpy.web.app import Console
from resqpy.web.asking import LOOPBACK
from resqpy.web.signin import users

_STOP_S = 2  # for open requests, such as streams


def allowed_hosts(host: str, public: Sequence[str]) -> frozenset[str]:
    """The names by which a console that listens at `host` may be called."""
    bound = f"[{host}]" if ":" in host else host
    return LOOPBACK | {bound.lower(), *(each.lower() for each in public)}


class _Server(uvicorn.Server):
    """Hears of signals as all of resqpy does: a stop in order is no error. It ends the streams itself, for which
    uvicorn would wait.

    Args:
        until: ends it instead of signals, which belong to the process around.
    """

    def __init__(
        self, config: uvicorn.Config, console: Console, until: asyncio.Event | None = None
    ) -> None:
        super().__init__(config)
        self._console = console
        self._until = until

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        if self._until is None:
            with told_to_stop(self._stop):
                yield
            return
        waiting = own_task(self._stop_after(self._until))
        try:
            yield
        finally:
            waiting.end()

    async def _stop_after(self, until: asyncio.Event) -> None:
        await until.wait()
        self._stop()

    def _stop(self) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True
        self._console.live.end()


async def serve(
    console: Console,
    host: str,
    port: int,
    *,
    trusted_proxies: Sequence[str] = (),
    on_start: Callable[[str], None],
    until: asyncio.Event | None = None,
) -> None:
    """Serve a console until a signal ends it.

    Args:
        port: 0: any that is free.
        until: ends it instead of signals.
        trusted_proxies: addresses whose X-Forwarded-For and X-Forwarded-Proto are believed.
        on_start: told a one-time link, or the plain address where others than this machine's users come.

    Raises:
        StoreError: Redis can't be reached.
        UsageError: the port is taken; or it would be open to other machines, and nobody could sign in.
    """
    with _listening(host, port) as listener:
        await console.open()
        try:
            await console.resque.connect()
            port = listener.getsockname()[1]
            on_start(await _link(console, host, port))
            config = uvicorn.Config(
                console, access_log=False, log_config=None, log_level="warning", server_header=False, ws="none",
                forwarded_allow_ips=list(trusted_proxies), proxy_headers=bool(trusted_proxies),
                timeout_graceful_shutdown=_STOP_S, lifespan="off",
            )  # fmt: skip
            await _Server(config, console, until).serve([listener])
        finally:
            await console.close()


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise UsageError(
            f"can't listen at {host}, port {port}: {error.strerror}; choose others by --host and --port"
        ) from error


async def _link(console: Console, host: str, port: int) -> str:
    sessions = console.sessions
    assert sessions is not None  # a console of ours has its own
    place = f"[{host}]" if ":" in host else host
    address = f"http://{place}:{port}{console.options.root_path}"
    if host in ("127.0.0.1", "localhost", "::1"):
        return f"{address}/login?code={await sessions.new_link('admin')}"
    if not await users(console.resque.store):
        raise UsageError(
            f"--host {host}: other machines could reach the console, and nobody could sign in; add a user first: "
            "resqpy web users add NAME --role operator"
        )
    return f"{address}/"
