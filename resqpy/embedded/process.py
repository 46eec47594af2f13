"""One redis-server process on a unix socket: start it, ask it, end it.

It is asked without a client library, so that the keeper is small and starts fast.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from resqpy.base.errors import EmbeddedRedisError

POLL_S = 0.01
REPLY_TIMEOUT_S = 5.0
SOCKET_PATH_BYTES = 103  # Linux takes 107, macOS 103

# A private socket instead of a port, no snapshots, and never an eviction: jobs are not a cache.
BASE_CONFIG = (
    "port 0",
    "unixsocketperm 700",
    'save ""',
    "maxmemory-policy noeviction",
    "logfile redis.log",
)


def check_length(socket_path: Path) -> None:
    """Refuse what the kernel would refuse, with a message that says what to do."""
    length = len(os.fsencode(socket_path))
    if length > SOCKET_PATH_BYTES:
        raise EmbeddedRedisError(
            f"the path of a unix socket may have {SOCKET_PATH_BYTES} bytes, but {socket_path} has"
            f" {length}: use a shorter folder"
        )


def url_of(socket_path: Path) -> str:
    """Return what a Redis client is given."""
    return f"unix://{socket_path}?db=0"


def launch(
    binary: Path,
    folder: Path,
    socket_path: Path,
    config: Sequence[str],
    *,
    inherited: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a server whose data, log and (newly written) configuration are in `folder`.

    Whoever calls this has made sure that no other server uses the folder or the socket.
    """
    conf = folder / "redis.conf"
    conf.write_bytes(
        os.fsencode("\n".join((*BASE_CONFIG, f"unixsocket {socket_path}", *config, "")))
    )
    (folder / "redis.log").write_bytes(b"")
    socket_path.unlink(missing_ok=True)
    return subprocess.Popen(
        [binary, conf.name],
        cwd=folder,
        env={**os.environ, "LC_ALL": "C"},  # a locale that is not installed would end it at once
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C in a terminal is not meant for the server
        pass_fds=inherited,
    )


def wait_until_ready(server: subprocess.Popen[bytes], folder: Path, socket_path: Path) -> None:
    """Wait for as long as the server lives: a large file takes its time to load."""
    while state(socket_path) != "ready":
        if server.poll() is not None:
            lines = (folder / "redis.log").read_text("utf-8", errors="replace").strip().splitlines()
            why = lines[-1] if lines else f"exit code {server.returncode}"
            raise EmbeddedRedisError(f"redis-server ended at once: {why} (see {folder}/redis.log)")
        time.sleep(POLL_S)


def end(server: subprocess.Popen[bytes], timeout_s: float) -> None:
    """Let the server write its data and end; kill one that is stuck, say in an endless script."""
    server.terminate()
    try:
        server.wait(timeout_s)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def state(socket_path: Path) -> str:
    """Return `down`, `loading` or `ready`."""
    try:
        reply = ask(socket_path, "PING")
    except OSError:
        return "down"
    if not reply:
        return "down"
    return "loading" if reply.startswith("-LOADING") else "ready"


def ask(socket_path: Path, command: str) -> str:
    """Send one command that has a one-line reply, and return that."""
    with _connect(socket_path) as client, client.makefile("r") as replies:
        client.sendall(f"{command}\r\n".encode())
        return replies.readline().strip()


def pid_behind(socket_path: Path) -> int:
    """Return who listens there; the kernel knows, even when the server does not answer.

    Raises:
        OSError: nobody listens.
    """
    with _connect(socket_path) as client:
        if sys.platform == "darwin":
            return client.getsockopt(0, 2)  # SOL_LOCAL, LOCAL_PEERPID
        credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return int(struct.unpack("3i", credentials)[0])


def send_signal(socket_path: Path, what: signal.Signals) -> None:
    """Signal whoever listens there, if anybody does."""
    try:
        os.kill(pid_behind(socket_path), what)
    except OSError:
        return


def _connect(socket_path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    try:
        client.settimeout(REPLY_TIMEOUT_S)
        client.connect(str(socket_path))
    except BaseException:
        client.close()
        raise
    return client
