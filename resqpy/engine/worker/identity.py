"""Worker identities that neither Ruby nor a container with the same host name and pid 1 can confuse."""

from __future__ import annotations

import os
import re
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from resqpy.base import codec
from resqpy.base.model import WorkerId

_SIGNS = "abcdefghijklmnopqrstuvwxyz0123456789"


def new_incarnation() -> str:
    """Eight characters that identify one life of one process."""
    return "".join(secrets.choice(_SIGNS) for _ in range(8))


def host_name(given: str | None = None) -> str:
    """The name of this host, or the given one, without the characters that separate the parts of an id."""
    return (given or socket.gethostname()).replace(":", "_").replace(",", "_") or "localhost"


def worker_id(number: int, incarnation: str, queues: str, host: str | None = None) -> WorkerId:
    """`HOST+resqpy:PID-N-incarnation:queues`: for resque-web all workers of a machine have one host, which
    Ruby's pruning never takes for its own.
    """
    place = f"{os.getpid()}-{number}-{incarnation}"
    return WorkerId(f"{host_name(host)}{_SIGN}", place, queues)


# Formerly ids were `HOST+N-incarnation:PID:queues`. Processes with both forms work side by side
# (docs/reference/wire.md).
_SIGN = "+resqpy"
_OURS = re.compile(r"^([^:]*)\+resqpy:(\d+)-(\d+)-([a-z0-9]{8}):.+$", re.DOTALL)
_EARLIER = re.compile(r"^([^:]*)\+(\d+)-([a-z0-9]{8}):(\d+):.+$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Ours:
    """The parts of one of our worker ids.

    Attributes:
        number: of the slot.
        earlier: it has the form that leaders before version 2 can read too.
    """

    host: str
    pid: int
    number: int
    incarnation: str
    earlier: bool = False


def ours(worker_id: WorkerId | str) -> Ours | None:
    """Parse a worker id of ours, of either form; None: it is a foreign one."""
    text = str(worker_id)
    if match := _OURS.match(text):
        return Ours(match[1], int(match[2]), int(match[3]), match[4])
    if match := _EARLIER.match(text):
        return Ours(match[1], int(match[4]), int(match[2]), match[3], earlier=True)
    return None


def place_of(worker_id: WorkerId) -> tuple[str, str]:
    """Host and pid of a worker's process, in any language."""
    read = ours(worker_id)
    return (read.host, str(read.pid)) if read else (worker_id.host, worker_id.pid)


def incarnation_of(worker_id: str) -> str | None:
    """The incarnation in one of our worker ids; None in a foreign one."""
    read = ours(worker_id)
    return read.incarnation if read else None


def number_of(worker: WorkerId) -> int:
    """The N of a worker id made by `worker_id`; 0: it is not a slot's."""
    read = ours(worker)
    return read.number if read else 0


def life(
    most: int, queues: str, host: str | None = None, facts: Mapping[str, Any] | None = None
) -> bytes:
    """A process as JSON, from which `ids_of` makes the ids of its slots 1 to `most`; and that it knows limits
    of tasks, so that it takes what is parked for one.

    Args:
        facts: what else others are told of it.
    """
    fields = {"host": host_name(host), "pid": os.getpid(), "queues": queues, "most": most}
    return codec.encode_text({**fields, "form": _FORM, "limits": 1, **(facts or {})})


def queues_of(life: bytes) -> str | None:
    """The queues of a process that knows limits of tasks; None: of any other."""
    said = codec.decode_lenient(life)
    match said:
        case {"queues": str(queues), "limits": int()}:
            return queues
    return None


_FORM = 2  # of the ids; a life without one belongs to a process whose ids have the earlier form
_MAX_SLOTS = 100_000  # of one process; a larger value was not written by us


def ids_of(incarnation: str, life: bytes) -> list[str]:
    """All ids that a process ever had; none if its life is malformed."""
    said = codec.decode_lenient(life)
    match said:
        case {"host": str(host), "pid": int(pid), "queues": str(queues), "most": int(most)}:
            numbers = range(1, min(most, _MAX_SLOTS) + 1)
            if said.get("form") == _FORM:
                return [f"{host}{_SIGN}:{pid}-{n}-{incarnation}:{queues}" for n in numbers]
            return [f"{host}+{n}-{incarnation}:{pid}:{queues}" for n in numbers]
    return []


def leader_name(given: str | None) -> str:
    """`HOST+scheduler-INCARNATION:PID:2`: similar to the names of Ruby's and Node's, but never equal to one
    of theirs or of another of ours, even if one configuration names many processes. The 2 shows that it
    reads both forms of worker ids.
    """
    return f"{given or host_name()}+scheduler-{new_incarnation()}:{os.getpid()}:{_FORM}"


def reads_our_ids(token: str) -> bool:
    """Whether a leader, by its token, reads the ids that `worker_id` makes."""
    return _READS_OURS.search(token) is not None


_READS_OURS = re.compile(rf"\+scheduler-[a-z0-9]{{8}}:\d+:{_FORM}/\d+$")
