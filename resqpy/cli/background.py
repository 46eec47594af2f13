"""`--daemon` and `--pidfile`."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from resqpy.cli import output
from resqpy.cli.exits import Exit
from resqpy.cli.output import fail


class Background:
    """This process as one that goes on without its terminal; who started it waits for `settle`."""

    def __init__(self, told: int) -> None:
        self._told = told

    @classmethod
    def enter(cls) -> Background:
        """Go on in a new process and session. What started us ends with 0 when we have settled, or
        with our exit code if we end before that.
        """
        heard, told = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(heard)
            os.setsid()
            return cls(told)
        os.close(told)
        if os.read(heard, 1):
            output.say(f"started in the background; stop it by: kill {pid}")
            sys.stdout.flush()
            os._exit(Exit.OK)
        os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    def settle(self, log: str | None) -> None:
        """Leave the terminal.

        Args:
            log: where what is printed goes; None: nowhere.

        Raises:
            click.ClickException: the log can't be written.
        """
        try:
            target = os.open(log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise fail(Exit.USAGE, f"can't write the log file: {error}") from error
        empty = os.open(os.devnull, os.O_RDONLY)
        for number, source in ((0, empty), (1, target), (2, target)):
            os.dup2(source, number)
        os.write(self._told, b".")
        for each in (empty, target, self._told):
            os.close(each)


@contextlib.contextmanager
def pid_file(path: str | None) -> Iterator[None]:
    """Hold a pid file for the time of the block. Its lock dies with us, so a stale one is no trouble.

    Raises:
        click.ClickException: another process holds it.
    """
    if path is None:
        yield
        return
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(Path(path).open("a+", encoding="ascii"))
        except OSError as error:
            raise fail(Exit.USAGE, f"can't write the pid file: {error}") from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            other = file.read().strip()
            raise fail(Exit.RUNNING, f"runs already: process {other} holds {path}") from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
        Path(path).unlink(missing_ok=True)
