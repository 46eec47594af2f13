"""The server of a project directory, shared by all its processes, gone with the last of them.

Three locks, each on a file beside the data. There are no pid files: a lock dies with its process, so after
`kill -9` or a power failure nothing stale remains.

- `users.lock`, shared: each process that uses the server. Exclusive: a keeper that stops it.
- `keeper.lock`: the one keeper (keeper.py), the server's parent.
- `server.lock`: inherited by the server itself, so nobody starts a second one on the same data.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

from resqpy.base.errors import EmbeddedRedisError
from resqpy.embedded.process import (
    POLL_S,
    check_length,
    find_binary,
    open_lock,
    pid_behind,
    state,
    url_of,
)

RUNTIME_ROOT = Path("/tmp")  # noqa: S108 - short, and the same in each shell; made private below
UNREACHABLE_AFTER_S = 10.0

_held: set[EmbeddedServer] = set()  # keeps shares until `close`
_lent: set[int] = set()  # locks on their way to a keeper


class EmbeddedServer:
    """This process's share in a project's server, until `close` or the end of the process.

    A forked child has none: it must `acquire` its own.
    """

    def __init__(self, data: Path, socket_path: Path, users_lock: int) -> None:
        self.socket_path = socket_path
        self._data = data
        self._lock: int | None = users_lock
        self._keeper: subprocess.Popen[str] | None = None  # ours, until it has answered
        self._answered = False
        _held.add(self)

    def start(self) -> None:
        """Start a keeper with the server, unless there is one.

        Raises:
            EmbeddedRedisError: there is no server binary.
        """
        if self._keeper is None and not _has_keeper(self._data):
            self._keeper = _start_keeper(self._data, self.socket_path)

    def wait(self) -> None:
        """Return when the server answers, which is started if necessary; at once if it has answered already.

        Raises:
            EmbeddedRedisError: it does not start, or it can't be reached.
        """
        if self._answered:
            return
        deadline = time.monotonic() + UNREACHABLE_AFTER_S
        while True:
            self.start()
            if self._keeper is not None:
                keeper, self._keeper = self._keeper, None
                _check_answer(keeper)
            now = state(self.socket_path)
            if now == "ready" and _has_keeper(self._data):
                self._answered = True
                return
            if now == "loading":
                deadline = time.monotonic() + UNREACHABLE_AFTER_S
            elif time.monotonic() > deadline:
                raise EmbeddedRedisError(
                    f"the server that has the data in {self._data} can't be reached at {self.socket_path}; stop "
                    "the processes that use it (was the directory moved while it was running?)"
                )
            time.sleep(POLL_S)

    @property
    def url(self) -> str:
        """The URL for a Redis client."""
        return url_of(self.socket_path)

    @property
    def pid(self) -> int:
        """The server's current process id; it changes if the server had to be restarted."""
        return pid_behind(self.socket_path)

    def close(self) -> None:
        """Release the share; the server stops soon after the last one."""
        lock, self._lock = self._lock, None
        keeper, self._keeper = self._keeper, None
        _held.discard(self)
        if keeper is not None:
            with keeper:  # it detaches itself first of all; in a forked child it is nobody's child
                pass
        if lock is not None:
            os.close(lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def acquire(project_dir: str | os.PathLike[str]) -> EmbeddedServer:
    """Start the server of a project directory or share the running one; return when it answers.

    Raises:
        EmbeddedRedisError: there is no server binary, it does not start, or it can't be reached.
    """
    server = begin(project_dir)
    try:
        server.wait()
    except BaseException:
        server.close()
        raise
    return server


def begin(project_dir: str | os.PathLike[str]) -> EmbeddedServer:
    """The same without waiting until it answers, which `wait` of the share does."""
    try:
        data = _data_dir(Path(project_dir))
        socket_path = _socket_path(data)
        users_lock = open_lock(data / "users.lock")
    except OSError as error:
        raise EmbeddedRedisError(f"no embedded Redis for {project_dir}: {error}") from error
    server = EmbeddedServer(data, socket_path, users_lock)
    try:
        fcntl.flock(users_lock, fcntl.LOCK_SH)  # waits while a keeper stops the server
        server.start()
    except BaseException:
        server.close()
        raise
    return server


def look(project_dir: str | os.PathLike[str]) -> tuple[str, bool]:
    """The URL that the server of a project folder has, and whether it runs; nothing is started or written."""
    socket_path = _socket_in(_runtime_path(), _data_path(Path(project_dir)))
    return url_of(socket_path), state(socket_path) == "ready"


def _data_path(project: Path) -> Path:
    return project.resolve(strict=True) / ".resqpy" / "redis"


def _data_dir(project: Path) -> Path:
    data = _data_path(project)
    data.mkdir(parents=True, exist_ok=True)
    data.chmod(0o700)
    with contextlib.suppress(FileExistsError), (data.parent / ".gitignore").open("x") as ignore:
        ignore.write("*\n")
    return data


def _socket_path(data: Path) -> Path:
    path = _socket_in(_runtime_dir(), data)
    check_length(path)
    return path


def _socket_in(folder: Path, data: Path) -> Path:
    return folder / f"{hashlib.sha256(os.fsencode(data)).hexdigest()[:16]}.sock"


def _runtime_path() -> Path:
    return RUNTIME_ROOT / f"resqpy-{os.geteuid()}"


def _runtime_dir() -> Path:
    """The directory of this user's sockets, where others may have created something before us."""
    path = _runtime_path()
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    private = stat.S_ISDIR(found.st_mode) and stat.S_IMODE(found.st_mode) & 0o077 == 0
    if not private or found.st_uid != os.geteuid():
        raise EmbeddedRedisError(
            f"{path} must be a directory that only you own (mode 0700): remove it and try again"
        )
    return path


def _has_keeper(data: Path) -> bool:
    lock = open_lock(data / "keeper.lock")
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _start_keeper(data: Path, socket_path: Path) -> subprocess.Popen[str] | None:
    """Start a keeper, which detaches itself, so that we keep no child process. It gets its lock from us, so
    that nobody starts a second one meanwhile; None: somebody did, or looks for one at this moment.
    """
    binary = find_binary()
    lock = open_lock(data / "keeper.lock")
    _lent.add(lock)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return subprocess.Popen(
            [sys.executable, "-m", "resqpy.embedded", "keep", binary, data, socket_path, str(lock)],
            cwd=Path(__file__).parents[2],  # where `-m` finds this package, installed or not
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
            pass_fds=[lock],
        )
    except BlockingIOError:
        return None
    finally:
        _lent.discard(lock)
        os.close(lock)


def _check_answer(keeper: subprocess.Popen[str]) -> None:
    """Wait for a keeper's answer.

    Raises:
        EmbeddedRedisError: the server did not start.
    """
    told, troubles = keeper.communicate()
    said = (troubles + told).strip().splitlines() or ["its keeper was killed"]
    if said[-1] != "ok":
        raise EmbeddedRedisError(f"the embedded Redis did not start: {said[-1]}")


def _forget_shares() -> None:
    for lock in _lent:
        os.close(lock)
    _lent.clear()
    for server in tuple(_held):
        server.close()


# A lock lives while any copy of it is open; a forked child's would keep the server forever.
os.register_at_fork(after_in_child=_forget_shares)
