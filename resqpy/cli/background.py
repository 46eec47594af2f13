"""`--daemon` and `--pidfile`."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from resqpy.cli.exits import Exit
from resqpy.cli.output import fail


def detach(log: str | None) -> None:
    """Go to the background: the caller's process ends here with 0, ours has no terminal any more.

    Args:
        log: where what is printed goes; None: nowhere.
    """
    pid = os.fork()
    if pid > 0:
        click.echo(f"started in the background; stop it by: kill {pid}")
        sys.stdout.flush()
        os._exit(Exit.OK)
    os.setsid()
    target = os.open(log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    empty = os.open(os.devnull, os.O_RDONLY)
    for number, source in ((0, empty), (1, target), (2, target)):
        os.dup2(source, number)


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
