"""Who we are: identities that neither Ruby nor a namesake with pid 1 can confuse."""

from __future__ import annotations

import os
import secrets
import socket

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


def number_of(worker: WorkerId) -> int:
    """The N of a worker id that `worker_id` made; 0: it is nobody's slot."""
    number = worker.name.rpartition("+")[2].partition("-")[0]
    return int(number) if number.isdecimal() else 0
