"""Who we are: identities that neither Ruby nor a namesake with pid 1 can confuse."""

from __future__ import annotations

import os
import re
import secrets
import socket

from resqpy.base import codec
from resqpy.base.model import WorkerId

_SIGNS = "abcdefghijklmnopqrstuvwxyz0123456789"


def new_incarnation() -> str:
    """Eight signs that name one life of one process."""
    return "".join(secrets.choice(_SIGNS) for _ in range(8))


def host_name(given: str | None = None) -> str:
    """The name of this host, or the given one, without the signs that separate the parts of an id."""
    return (given or socket.gethostname()).replace(":", "_").replace(",", "_") or "localhost"


def worker_id(number: int, incarnation: str, queues: str, host: str | None = None) -> WorkerId:
    """`HOST+N-incarnation:PID:queues`."""
    return WorkerId(f"{host_name(host)}+{number}-{incarnation}", str(os.getpid()), queues)


# The second form is what a later version may write, once nobody runs one that can't read it: one host
# a machine to resque-web (docs/reference/wire.md).
_OURS = re.compile(
    r"^(?:.*\+(\d+)-([a-z0-9]{8}):\d+|[^:]*\+resqpy:\d+-(\d+)-([a-z0-9]{8})):.+$", re.DOTALL
)


def incarnation_of(worker_id: str) -> str | None:
    """The incarnation in one of our worker ids; None in a foreign one."""
    match = _OURS.match(worker_id)
    return match[2] or match[4] if match else None


def life(most: int, queues: str, host: str | None = None) -> bytes:
    """A process as JSON, from which `ids_of` makes the ids of its slots 1 to `most`."""
    fields = {"host": host_name(host), "pid": os.getpid(), "queues": queues, "most": most}
    return codec.encode_text(fields)


def ids_of(incarnation: str, life: bytes) -> list[str]:
    """All ids that a process ever had; none where somebody has made something else of its life."""
    match codec.decode_lenient(life):
        case {"host": str(host), "pid": int(pid), "queues": str(queues), "most": int(most)}:
            numbers = range(1, min(most, _MOST_SLOTS) + 1)
            return [f"{host}+{number}-{incarnation}:{pid}:{queues}" for number in numbers]
    return []


_MOST_SLOTS = 100_000  # of one process; what says more is not of our making


def number_of(worker: WorkerId) -> int:
    """The N of a worker id that `worker_id` made; 0: it is nobody's slot."""
    match = _OURS.match(str(worker))
    return int(match[1] or match[3]) if match else 0
