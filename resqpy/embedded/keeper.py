"""The keeper: the parent process of a project's server, from its first user to its last."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from resqpy.base.errors import EmbeddedRedisError
from resqpy.embedded.process import (
    POLL_S,
    end,
    launch,
    major_version,
    open_lock,
    send_signal,
    wait_until_ready,
)

STOP_TIMEOUT_S = 20.0
RESTART_PAUSE_S = 1.0

_CONFIG = (
    "appendonly yes",
    "appendfsync everysec",
    "aof-use-rdb-preamble no",  # commands only: Redis and Valkey of any version can read them
    "loglevel warning",
)


def keep(binary: Path, data: Path, socket_path: Path) -> None:
    """Start the server, print `ok`, and stop it when nobody uses it any more. The lock of keepers was handed
    to this process when it was started.

    It continues in a separate process, so that its caller need not wait for it.
    """
    if os.fork():
        os._exit(0)
    os.chdir(data)  # not the directory of the code, which may be replaced meanwhile
    _obey_signals()
    keeper = _Keeper(binary, data, socket_path)
    try:
        keeper.start()
        _say_ok()
        fcntl.flock(open_lock(data / "users.lock"), fcntl.LOCK_EX)  # until the last user is gone
    finally:
        keeper.stop()  # only then does the end of this process release its locks


class _Keeper:
    def __init__(self, binary: Path, data: Path, socket_path: Path) -> None:
        self._binary = binary
        self._data = data
        self._socket_path = socket_path
        self._guard = threading.Lock()
        self._stopping = False
        self._server_lock = open_lock(data / "server.lock")
        self._server: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._refuse_older_server()
        self._end_orphan()
        self._server = server = self._launch()
        wait_until_ready(server, self._data, self._socket_path)
        threading.Thread(target=self._restart_dead, args=(server,), daemon=True).start()

    def stop(self) -> None:
        with self._guard:
            self._stopping = True
        if self._server is not None:
            end(self._server, STOP_TIMEOUT_S)
            self._socket_path.unlink(missing_ok=True)

    def _launch(self) -> subprocess.Popen[bytes]:
        lock = (self._server_lock,)
        return launch(self._binary, self._data, self._socket_path, _CONFIG, inherited=lock)

    def _restart_dead(self, server: subprocess.Popen[bytes]) -> None:
        """Users reconnect by themselves; the server must be restarted."""
        while True:
            server.wait()
            time.sleep(RESTART_PAUSE_S)
            with self._guard:
                if self._stopping:
                    return
                with contextlib.suppress(OSError):  # e.g. out of descriptors: retry after the pause
                    self._server = server = self._launch()

    def _end_orphan(self) -> None:
        """Stop a server whose keeper was killed: nobody else would."""
        for how in (signal.SIGTERM, signal.SIGKILL):
            if _locked(self._server_lock, 0):
                return
            send_signal(self._socket_path, how)
            if _locked(self._server_lock, STOP_TIMEOUT_S):
                return
        raise EmbeddedRedisError(
            f"a server that can't be found still uses the data in {self._data}"
        )

    def _refuse_older_server(self) -> None:
        """Redis 6 does not see what Redis 7 wrote: it would start empty, as if everything were lost."""
        if (self._data / "appendonlydir").exists() and major_version(self._binary) < 7:
            raise EmbeddedRedisError(
                f"{self._data} was written by Redis 7 or newer, but {self._binary} is older; put the newer "
                "redis-server on the PATH"
            )


def _locked(lock: int, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(POLL_S)


def _obey_signals() -> None:
    """Detach from the terminal; on SIGTERM, for example at shutdown, stop the server first."""
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)


def _leave(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit


def _say_ok() -> None:
    """Print it, and close the pipes on which the user waits; it may be gone already."""
    with contextlib.suppress(OSError):
        os.write(sys.stdout.fileno(), b"ok\n")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)
