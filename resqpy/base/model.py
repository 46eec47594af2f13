"""Frozen values that travel between the floors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it was read from a queue.

    Attributes:
        class_name: the name of its task.
        args: its arguments; always a list.
        queue: the queue it was taken from (what its text says of a queue is not asked).
        raw: its exact bytes, which are what is kept, moved and compared.
        extra: further top-level keys that somebody wrote.
    """

    class_name: str
    args: list[Any]
    queue: str
    raw: bytes
    extra: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As node-resque shows it."""
        return {"class": self.class_name, "queue": self.queue, "args": self.args, **self.extra}


@dataclass(frozen=True, slots=True)
class UnreadableJob(Job):
    """An element of a queue that is no job; `raw` are its bytes.

    Attributes:
        problem: why it is none.
    """

    problem: str = ""


@dataclass(frozen=True, slots=True)
class Enqueued:
    """What became of an enqueue; true if there is a new job.

    Attributes:
        refused: why there is none: the name of the plugin or middleware that forbade it; `once`: a call with
            the same key has made the job; `duplicate`: the same job is due at that time already. None: there is.
        id: of the job, where it has one; None: it has none, as plain jobs.
    """

    refused: str | None = None
    id: str | None = None

    def __bool__(self) -> bool:
        return self.refused is None


ENQUEUED = Enqueued()
ONCE, DUPLICATE, FULL = "once", "duplicate", "full"  # what refuses, where it is no plugin


class NoList(int):
    """The length of a queue whose key is no list: 0.

    Attributes:
        kind: what it is instead, by Redis' words.
    """

    kind: str

    def __new__(cls, kind: str) -> Self:
        """Zero of a kind."""
        made = super().__new__(cls, 0)
        made.kind = kind
        return made

    @property
    def words(self) -> str:
        """What is to be told of it."""
        return f"not a list ({self.kind}): not worked here"


# What a clean-up by force writes as the second line of the backtrace; Node's and our
# retry_stuck_jobs know its entries by it.
FORCED_CLEAN = "queue#forceCleanWorker"


@dataclass(frozen=True, slots=True)
class FailedJob:
    """An entry of the failed list, with the very bytes by which it is removed or retried.

    Attributes:
        raw: the entry's exact bytes.
        job_raw: the exact bytes of the job in it, or None where they stand in a key of their own.
        unreadable: the name under which the bytes of a large unreadable job are kept.
        source: the failed list it stands in; `failed`, but for Ruby's RedisMultiQueue backend.
        retried_at: when Ruby retried it and left it where it was.
    """

    raw: bytes
    failed_at: Any
    payload: Any
    exception: str | None
    error: str | None
    backtrace: list[str]
    worker: str | None
    queue: str | None
    job_raw: bytes | None = None
    unreadable: str | None = None
    source: str = "failed"
    retried_at: Any = None

    @property
    def was_cleaned_by_force(self) -> bool:
        """Whether its worker was taken for dead and cleaned up, by Node or by us."""
        return self.backtrace[1:2] == [FORCED_CLEAN]

    @property
    def class_name(self) -> str | None:
        """The name of the task that failed, where the payload names one."""
        name = self.payload.get("class") if isinstance(self.payload, dict) else None
        return name if isinstance(name, str) else None

    @property
    def args(self) -> list[Any]:
        """The arguments, where the payload has them; what is no list is the only one."""
        args = self.payload.get("args") if isinstance(self.payload, dict) else None
        if isinstance(args, list):
            return args
        return [] if args is None or args == {} else [args]


@dataclass(frozen=True, slots=True)
class WorkingOn:
    """What a worker works on.

    Attributes:
        worker_id: the id in the set of workers.
        run_at: when the run began, as its writer wrote it.
        job_raw: the job's exact bytes, where the record is ours.
    """

    worker_id: str
    queue: str | None
    run_at: str | None
    payload: Any
    worker: str | None
    job_raw: bytes | None = None


@dataclass(frozen=True, slots=True)
class WorkerId:
    """A worker's identity: `host:pid:queue,queue`.

    Ours have `HOST+resqpy` as their host, so that a Ruby worker that starts on the same machine doesn't
    take them for dead (trap 7), and `PID-N-incarnation` as their pid, so that two processes with one host
    name and pid 1 can't be confused.
    """

    host: str
    pid: str
    queues: str

    @property
    def name(self) -> str:
        """Node's name of a worker: without its queues."""
        return f"{self.host}:{self.pid}"

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}:{self.queues}"

    @classmethod
    def parse(cls, text: str) -> WorkerId:
        """Read an id as both languages do; missing parts become empty texts."""
        host, _, rest = text.partition(":")
        pid, _, queues = rest.partition(":")
        return cls(host, pid, queues)


def described(default: Any, words: str) -> Any:
    """A field of options: its default, and what it means."""
    return field(default=default, metadata={"words": words})
