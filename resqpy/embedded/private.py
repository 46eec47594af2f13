"""A private Redis server, which lives no longer than its process."""

from __future__ import annotations

import atexit
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from resqpy.base.errors import EmbeddedRedisError
from resqpy.embedded.process import ask, check_length, find_binary, launch, url_of, wait_until_ready


class PrivateServer:
    """An empty server for tests, gone with this process even if that is killed.

    Args:
        persistent: writes reach the disk before the reply, so `kill` and `start` lose nothing.
        binary: instead of what `find_binary` finds.
        config: additional lines of redis.conf, such as `port 6390` or `maxmemory 10mb`.
    """

    def __init__(
        self, *, persistent: bool = False, binary: Path | None = None, config: Sequence[str] = ()
    ) -> None:
        self._binary = binary or find_binary()
        self.directory: Path = Path(tempfile.mkdtemp(prefix="resqpy-"))
        self.socket_path: Path = self.directory / "redis.sock"
        check_length(self.socket_path)
        durable = ("appendonly yes", "appendfsync always") if persistent else ()
        self._config = (*durable, *config)
        self._server: subprocess.Popen[bytes] | None = None
        self._reaper: subprocess.Popen[bytes] | None = None
        atexit.register(self.close)
        self.start()

    @property
    def url(self) -> str:
        """The URL for a Redis client."""
        return url_of(self.socket_path)

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._running().pid

    def start(self) -> None:
        """Start it, unless it is running, and return when it has loaded its data."""
        if self._server is None:
            self._server = launch(self._binary, self.directory, self.socket_path, self._config)
            self._reaper = _start_reaper(self._server.pid, self.directory)
            wait_until_ready(self._server, self.directory, self.socket_path)

    def kill(self) -> None:
        """Kill it, like a power failure (SIGKILL)."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Stop it gracefully (SIGTERM)."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """`stop` and `start`; the data are kept if it is `persistent`."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze it: connections are accepted, but not answered."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Resume a frozen one."""
        self._running().send_signal(signal.SIGCONT)

    def flush(self) -> None:
        """Delete all data and forget all scripts; without a password only."""
        for command in ("FLUSHALL", "SCRIPT FLUSH"):
            reply = ask(self.socket_path, command)
            if reply != "+OK":
                raise EmbeddedRedisError(f"{command}: {reply}")

    def close(self) -> None:
        """Kill it and remove its directory."""
        atexit.unregister(self.close)
        self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._server is None:
            raise EmbeddedRedisError(f"the private server in {self.directory} is not running")
        return self._server

    def _end(self, how: signal.Signals) -> None:
        server, self._server = self._server, None
        reaper, self._reaper = self._reaper, None
        if reaper is not None:
            reaper.kill()
            reaper.communicate()
        if server is not None:
            server.send_signal(how)
            server.send_signal(signal.SIGCONT)
            server.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _start_reaper(pid: int, folder: Path) -> subprocess.Popen[bytes]:
    """A shell that reads from us until we are gone, for whatever reason, and then cleans up."""
    script = 'read -r _; kill -9 "$1"; rm -rf "$2"'
    return subprocess.Popen(
        ["/bin/sh", "-c", script, "sh", str(pid), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
