"""A command on a terminal of its own, as a person has it in a second shell."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import threading
from collections.abc import Mapping
from pathlib import Path

_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_ROWS, _COLUMNS = 50, 250  # wide, so that no line of a log is cut


class Terminal:
    """Starts a command; keeps what appears.

    Args:
        command: for bash.
    """

    def __init__(self, command: str, folder: Path, environ: Mapping[str, str]) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
        self._process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=folder,
            env=environ,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        self._raw = b""
        self._seen = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # its end, on Linux
            while part := os.read(self._ours, 65536):
                self._raw += part

    @property
    def text(self) -> str:
        """What has appeared, without colours."""
        return _COLOURS.sub("", self._raw.decode(errors="replace")).replace("\r", "")

    def saw(self, pattern: re.Pattern[str]) -> bool:
        """Whether it has appeared, behind what was seen before."""
        found = pattern.search(self.text, self._seen)
        if found is not None:
            self._seen = found.end()
        return found is not None

    def close(self) -> None:
        """End the command, as the signal TERM does."""
        self._process.terminate()
        self._process.wait(timeout=100)
        self._reader.join(timeout=5)
        os.close(self._ours)
