"""Values that are passed between packages; nobody changes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from resqpy.base import activejob
from resqpy.base.limits import Rate


@dataclass(slots=True)  # not frozen: that would make each of them four times as expensive
class Job:
    """A job read from a queue. Never change it; create another one.

    Attributes:
        class_name: the name of its task.
        args: its arguments; always a list.
        queue: the queue it was taken from (the `queue` in its text is ignored).
        raw: its exact bytes, used whenever it is kept, moved or compared.
        extra: additional top-level keys: foreign, so nothing of ours may be among them.
        wrapper: what else the wrapper of an ActiveJob says; None: it is none.
    """

    class_name: str
    args: list[Any]
    queue: str
    raw: bytes
    extra: dict[str, Any] = field(default_factory=dict)
    wrapper: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """As node-resque shows it."""
        shown = {"class": self.class_name, "queue": self.queue, "args": self.args, **self.extra}
        return shown if self.wrapper is None else {**shown, "active_job": self.wrapper}


@dataclass(frozen=True, slots=True)
class LostJob:
    """A job that failed and was not run, or not to its end: its worker died, its lock or its time expired,
    no worker can read it.

    Attributes:
        raw: its exact bytes.
        worker: the id of the worker that had it; or who found it.
        will_retry: it runs again.
        facts: what its record says: `id`, `attempt`, `of`.
    """

    raw: bytes
    queue: str
    worker: str
    error: BaseException
    will_retry: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class UnreadableJob(Job):
    """An element of a queue that is not a valid job; `raw` are its bytes.

    Attributes:
        problem: what is wrong with it.
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


@dataclass(frozen=True, slots=True)
class QueuePause:
    """The pause of a queue: no worker of resqpy takes a job from it.

    Attributes:
        reason, by: as given; "": unknown, as where Ruby's resque-pause made it.
        since_ms: when it began; None: unknown.
        until_ms: when it ends by itself; None: when somebody ends it.
    """

    reason: str = ""
    by: str = ""
    since_ms: int | None = None
    until_ms: int | None = None


@dataclass(frozen=True, slots=True)
class RunningLimit:
    """How many jobs of a queue, with its sub-queues, may run at once.

    Attributes:
        most: so many.
        running: the ids of the workers that run one.
    """

    most: int
    running: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KeyLimit:
    """How many jobs of tasks may run at once, all that share the limit, or those with one value of an input.

    Attributes:
        most: so many; None: it is a rate, or was removed, and what waits for it runs.
        rate: how many begin in a time, where it is no limit.
        shut_ms: none begins before; None: nobody has said so.
        counts_foreign: jobs that workers of other languages run have places, too (`Limit(…, foreign="count")`).
        running: the ids of the workers that run one.
        parked: how many wait for it, by queue.
        since_ms: when the longest waiting met it; None: none waits.
        tasks: the tasks with this limit.
        by_hand: the number was set at run time.
    """

    most: int | None
    running: tuple[str, ...] = ()
    parked: Mapping[str, int] = field(default_factory=dict)
    since_ms: int | None = None
    tasks: tuple[str, ...] = ()
    by_hand: bool = False
    rate: Rate | None = None
    shut_ms: int | None = None
    counts_foreign: bool = False


class NoList(int):
    """The length of a queue whose key is not a list: 0.

    Attributes:
        kind: the Redis type of the key.
    """

    kind: str

    def __new__(cls, kind: str) -> Self:
        """Zero, with the type."""
        made = super().__new__(cls, 0)
        made.kind = kind
        return made

    @property
    def words(self) -> str:
        """A message about it."""
        return f"not a list ({self.kind}): not worked here"


# The second line of the backtrace that a forced clean-up writes; Node's and our retry_stuck_jobs recognize
# its entries by it.
FORCED_CLEAN = "queue#forceCleanWorker"


@dataclass(frozen=True, slots=True)
class FailedJob:
    """An entry of the failed list, with the exact bytes by which it is removed or retried.

    Attributes:
        raw: the entry's exact bytes.
        job_raw: the exact bytes of the job in it, or None if they are in a key of their own.
        unreadable: the name under which the bytes of a large unreadable job are kept.
        source: the failed list it is in: `failed`, except with Ruby's RedisMultiQueue backend.
        retried_at: when Ruby retried it, leaving the entry in place.
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
        """Whether its worker was presumed dead and cleaned up, by Node or by us."""
        return self.backtrace[1:2] == [FORCED_CLEAN]

    @property
    def class_name(self) -> str | None:
        """The name of the task that failed, if the payload has one."""
        name = activejob.class_in(self.payload) if isinstance(self.payload, dict) else None
        return name if isinstance(name, str) else None

    @property
    def args(self) -> list[Any]:
        """The arguments, if the payload has them; a value that is not a list is the only argument."""
        args = activejob.args_in(self.payload) if isinstance(self.payload, dict) else None
        if isinstance(args, list):
            return args
        return [] if args is None or args == {} else [args]


@dataclass(frozen=True, slots=True)
class WorkingOn:
    """The job that a worker runs.

    Attributes:
        worker_id: the id in the set of workers.
        run_at: when the run began, as written in the record.
        job_raw: the job's exact bytes, if the record is ours.
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

    Ours have `HOST+resqpy` as host, so that a Ruby worker starting on the same machine doesn't take them
    for dead (trap 7), and `PID-N-incarnation` as pid, so that two containers with one host name and pid 1
    differ.
    """

    host: str
    pid: str
    queues: str

    @property
    def name(self) -> str:
        """Node's name of a worker: without the queues."""
        return f"{self.host}:{self.pid}"

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}:{self.queues}"

    @classmethod
    def parse(cls, text: str) -> WorkerId:
        """Parse an id as both languages do; missing parts become empty texts."""
        host, _, rest = text.partition(":")
        pid, _, queues = rest.partition(":")
        return cls(host, pid, queues)


def described(default: Any, words: str) -> Any:
    """A field of options with its default and description."""
    return field(default=default, metadata={"words": words})
