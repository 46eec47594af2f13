"""The processes that are measured: a Python program of ours or a Node program with node-resque.

A peer gets its parameters as one JSON argument, says on stdout `{"ready": …}` when it can be
used and `{"result": …}` when it has something to tell, and ends when its stdin does.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[2]
NODE_PROGRAMS = Path(__file__).parent / "node"
NODE_PACKAGES = ROOT / "tests" / "interop" / "node" / "node_modules"

OURS, NODE = "ours", "node"


def has_node() -> bool:
    """Whether node-resque can be measured here."""
    return shutil.which("node") is not None and (NODE_PACKAGES / "node-resque").is_dir()


class PeerError(Exception):
    """A peer ended or stayed silent; the message has what it wrote to stderr."""


class Program:
    """One program.

    Args:
        name: for messages.
    """

    def __init__(self, name: str, command: Sequence[str], environ: dict[str, str]) -> None:
        self.name = name
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._buffer = b""

    def write(self, text: bytes) -> None:
        """Write to its stdin."""
        assert self._process.stdin is not None
        self._process.stdin.write(text)
        self._process.stdin.flush()

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def expect(self, key: str, timeout_s: float = 60.0) -> Any:
        """The value of the next message that has `key`.

        Raises:
            PeerError: it ended, or said nothing for so long.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            message = json.loads(self._line(deadline))
            if key in message:
                return message[key]

    def _line(self, deadline: float) -> bytes:
        assert self._process.stdout is not None
        while b"\n" not in self._buffer:
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not select.select([self._process.stdout], [], [], left_s)[0]:
                raise PeerError(f"{self.name}: silent for too long")
            read = os.read(self._process.stdout.fileno(), 65536)
            if not read:
                raise PeerError(f"{self.name}: ended with {self._process.wait()}")
            self._buffer += read
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def close(self) -> None:
        """Let it end, or make it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Peer(Program):
    """One of ours, or of node-resque.

    Args:
        side: `OURS` or `NODE`.
        program: the name of its file, without the suffix.
        params: what it gets, beside the Redis socket.
    """

    def __init__(self, side: str, program: str, params: Mapping[str, Any]) -> None:
        argument = json.dumps(params)
        if side == NODE:
            command = ["node", str(NODE_PROGRAMS / f"{program}.js"), argument]
        else:
            command = [sys.executable, "-m", f"tests.benchmarks.python.{program}", argument]
        super().__init__(f"{side} {program}", command, _environment())


def _environment() -> dict[str, str]:
    return {**os.environ, "NODE_PATH": str(NODE_PACKAGES), "PYTHONUNBUFFERED": "1"}
