"""A program on a terminal of its own, as a person has one: its keys, its size, what its screen got."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

_PATIENCE_S = 20.0


class PtyProgram:
    """`resqpy` with arguments, on a new terminal.

    Attributes:
        seen: all that was written to the terminal.
    """

    def __init__(
        self, *arguments: str, env: Mapping[str, str], cwd: str, size: tuple[int, int] = (80, 24)
    ) -> None:
        self._master, self.terminal = pty.openpty()
        self.resize(*size)
        without_size = {k: v for k, v in env.items() if k not in {"COLUMNS", "LINES"}}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "resqpy.cli", *arguments],
            env=without_size | {"TERM": "xterm-256color"}, cwd=cwd, stdin=self.terminal,
            stdout=self.terminal, stderr=self.terminal, start_new_session=True,
            preexec_fn=_own_terminal,  # noqa: PLW1509 - Ctrl-C reaches who has the terminal
        )  # fmt: skip
        self.seen = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)
        os.close(self.terminal)

    def resize(self, columns: int, lines: int) -> None:
        """Give the terminal another size."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self._master, keys.encode())

    def wait_for(self, words: str, *, after: int = 0, again: str = "") -> int:
        """Wait until something was written; how much was written then.

        Args:
            again: keys for each second till then: a Ctrl-C just before a read begins is lost.
        """
        ends = time.monotonic() + _PATIENCE_S
        press_at = time.monotonic() + 1
        while words not in self.seen[after:]:
            assert time.monotonic() < ends, f"no {words!r} in {self.seen[after:]!r}"
            self._read(0.05)
            press_at = self._pressed_again(again, press_at)
        return len(self.seen)

    def _pressed_again(self, keys: str, at: float) -> float:
        """Press keys if it is time to; when it is time again."""
        if not keys or time.monotonic() <= at:
            return at
        self.press(keys)
        return at + 1

    def ended(self, again: str = "") -> int:
        """Wait for the end; the exit code.

        Args:
            again: as in `wait_for`.
        """
        ends = time.monotonic() + _PATIENCE_S
        press_at = time.monotonic() + 1
        while self.process.poll() is None:
            assert time.monotonic() < ends, f"goes on: {self.seen[-500:]!r}"
            self._read(0.05)
            press_at = self._pressed_again(again, press_at)
        self._read(0)
        return self.process.returncode

    def modes(self) -> list[object]:
        """The modes of the terminal."""
        return termios.tcgetattr(self.terminal)

    def _read(self, seconds: float) -> None:
        while select.select([self._master], [], [], seconds)[0]:
            self.seen += os.read(self._master, 65536).decode(errors="replace")
            seconds = 0


def _own_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
