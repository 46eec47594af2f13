"""Who we are: identities that neither Ruby nor a namesake with pid 1 can confuse."""

from __future__ import annotations

import os
import re
import secrets
import socket
from dataclasses import dataclass

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
    """`HOST+resqpy:PID-N-incarnation:queues`: one host for all of a machine to resque-web, which Ruby's
    pruning never takes for its own.
    """
    place = f"{os.getpid()}-{number}-{incarnation}"
    return WorkerId(f"{host_name(host)}{_SIGN}", place, queues)


# Before, ids were `HOST+N-incarnation:PID:queues`. Processes of both forms work side by side
# (docs/reference/wire.md).
_SIGN = "+resqpy"
_OURS = re.compile(r"^([^:]*)\+resqpy:(\d+)-(\d+)-([a-z0-9]{8}):.+$", re.DOTALL)
_EARLIER = re.compile(r"^([^:]*)\+(\d+)-([a-z0-9]{8}):(\d+):.+$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Ours:
    """What one of our worker ids says.

    Attributes:
        number: of the slot.
        earlier: it has the form that leaders before version 2 can read, too.
    """

    host: str
    pid: int
    number: int
    incarnation: str
    earlier: bool = False


def ours(worker_id: WorkerId | str) -> Ours | None:
    """Read a worker id of ours, of either form; None: it is a foreign one."""
    text = str(worker_id)
    if match := _OURS.match(text):
        return Ours(match[1], int(match[2]), int(match[3]), match[4])
    if match := _EARLIER.match(text):
        return Ours(match[1], int(match[4]), int(match[2]), match[3], earlier=True)
    return None


def place_of(worker_id: WorkerId) -> tuple[str, str]:
    """Host and pid of the process whose worker it is, of any language."""
    read = ours(worker_id)
    return (read.host, str(read.pid)) if read else (worker_id.host, worker_id.pid)


def incarnation_of(worker_id: str) -> str | None:
    """The incarnation in one of our worker ids; None in a foreign one."""
    read = ours(worker_id)
    return read.incarnation if read else None


def number_of(worker: WorkerId) -> int:
    """The N of a worker id that `worker_id` made; 0: it is nobody's slot."""
    read = ours(worker)
    return read.number if read else 0


def life(most: int, queues: str, host: str | None = None) -> bytes:
    """A process as JSON, from which `ids_of` makes the ids of its slots 1 to `most`."""
    fields = {"host": host_name(host), "pid": os.getpid(), "queues": queues, "most": most}
    return codec.encode_text({**fields, "form": _FORM})


_FORM = 2  # of the ids; a life without one is of a process whose ids have the earlier form
_MOST_SLOTS = 100_000  # of one process; what says more is not of our making


def ids_of(incarnation: str, life: bytes) -> list[str]:
    """All ids that a process ever had; none where somebody has made something else of its life."""
    said = codec.decode_lenient(life)
    match said:
        case {"host": str(host), "pid": int(pid), "queues": str(queues), "most": int(most)}:
            numbers = range(1, min(most, _MOST_SLOTS) + 1)
            if said.get("form") == _FORM:
                return [f"{host}{_SIGN}:{pid}-{n}-{incarnation}:{queues}" for n in numbers]
            return [f"{host}+{n}-{incarnation}:{pid}:{queues}" for n in numbers]
    return []


def leader_name(given: str | None) -> str:
    """`HOST+scheduler-INCARNATION:PID:2`: like the names of Ruby's and Node's, and never one of theirs
    or of another of ours, even where one configuration names many processes. By the 2 others see that it
    reads both forms of worker ids.
    """
    return f"{given or host_name()}+scheduler-{new_incarnation()}:{os.getpid()}:{_FORM}"


def reads_our_ids(token: str) -> bool:
    """Whether a leader, by its token, is one that reads what `worker_id` makes."""
    return _READS_OURS.search(token) is not None


_READS_OURS = re.compile(rf"\+scheduler-[a-z0-9]{{8}}:\d+:{_FORM}/\d+$")
