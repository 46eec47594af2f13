"""Every Redis key name, and who else reads it. No other module builds keys.

The layout is that of Ruby's resque and resque-scheduler and of node-resque (wire document, section 1). Keys
that only resqpy knows begin with `resqpy:` after the namespace.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import cached_property, lru_cache

from resqpy.base.errors import InvalidQueueName, UsageError

DEFAULT_NAMESPACE = "resque"

FAILED = "failed"  # the name of the one failed list that all share

MAX_QUEUE_NAME = 512  # bytes of UTF-8


class Keys:
    """The key names of one installation (one namespace).

    Args:
        namespace: a text, or several parts, which are joined by `:`; empty ones are dropped, as in
            node-resque. `{resque}` puts the whole installation into one hash slot of a Cluster. An empty
            namespace, as in Node, gives keys without a prefix: the database belongs to Resque alone.
    """

    def __init__(self, namespace: str | Sequence[str] = DEFAULT_NAMESPACE) -> None:
        parts = [namespace] if isinstance(namespace, str) else list(namespace)
        self.namespace: str = ":".join(part for part in parts if part.strip())
        self.prefix: str = f"{self.namespace}:" if self.namespace else ""

    def key(self, *parts: str) -> str:
        """Append parts to the namespace, dropping empty ones, like node-resque's `key`."""
        return self.prefix + ":".join([part for part in parts if part.strip()])

    def __repr__(self) -> str:
        return f"Keys({self.namespace!r})"

    # -- queues (Ruby, Node) --

    @cached_property
    def queues(self) -> str:
        """Set of all queue names."""
        return f"{self.prefix}queues"

    def queue(self, name: str) -> str:
        """List of job payloads: pushed at the tail, popped from the head."""
        return f"{self.prefix}queue:{name}"

    # -- workers (Ruby, Node) --

    @cached_property
    def workers(self) -> str:
        """Set of worker ids, `host:pid:queue,queue`."""
        return f"{self.prefix}workers"

    def worker(self, worker_id: str) -> str:
        """The job that a worker runs; exists only while it runs."""
        return f"{self.prefix}worker:{worker_id}"

    def worker_started(self, worker_id: str) -> str:
        """When a worker started."""
        return f"{self.prefix}worker:{worker_id}:started"

    @cached_property
    def heartbeats(self) -> str:
        """Hash worker id -> ISO 8601 (Ruby)."""
        return f"{self.prefix}workers:heartbeat"

    def ping(self, name: str) -> str:
        """Heartbeat of a Node worker."""
        return f"{self.prefix}worker:ping:{name}"

    @cached_property
    def pruning(self) -> str:
        """The lock under which Ruby workers prune dead ones."""
        return f"{self.prefix}pruning_dead_workers_in_progress"

    @cached_property
    def pause(self) -> str:
        """`true` pauses all workers (Ruby, resqpy)."""
        return f"{self.prefix}pause-all-workers"

    def queue_pause(self, name: str) -> str:
        """While it exists, a queue gives no jobs (Ruby's resque-pause writes `true`, resqpy JSON)."""
        return f"{self.prefix}pause:queue:{name}"

    # -- statistics and failures (Ruby, Node) --

    def stat(self, *parts: str) -> str:
        """A counter: `processed`, `failed`, or one of them and a worker."""
        return f"{self.prefix}stat:" + ":".join(parts)

    @cached_property
    def failed(self) -> str:
        """List of failed entries."""
        return f"{self.prefix}{FAILED}"

    def failed_list(self, name: str) -> str:
        """A failed list by name: `failed`, or one that `failed_queues` names."""
        return f"{self.prefix}{name}"

    @cached_property
    def failed_queues(self) -> str:
        """Set of the names of failed lists (Ruby's RedisMultiQueue backend)."""
        return f"{self.prefix}failed_queues"

    # -- delayed jobs (Ruby, Node) --

    @cached_property
    def schedule(self) -> str:
        """Sorted set of the seconds at which items are due."""
        return f"{self.prefix}delayed_queue_schedule"

    def delayed(self, second: int | str) -> str:
        """List of the items due at one second."""
        return f"{self.prefix}delayed:{second}"

    @staticmethod
    def delayed_member(second: int | str) -> str:
        """How `timestamps:` sets name a second: without the namespace."""
        return f"delayed:{second}"

    def timestamps(self, item: str | bytes) -> bytes:
        """Set of the seconds at which exactly this item text is due."""
        raw = item if isinstance(item, bytes) else item.encode()
        return f"{self.prefix}timestamps:".encode() + raw

    @cached_property
    def last_enqueued_at(self) -> str:
        """Hash schedule name -> time (resque-scheduler). Its name looks like a delayed list's."""
        return f"{self.prefix}delayed:last_enqueued_at"

    # -- schedules and leaders (Ruby, Node) --

    @cached_property
    def persistent_schedules(self) -> str:
        """Hash schedule name -> JSON (resque-scheduler)."""
        return f"{self.prefix}persistent_schedules"

    @cached_property
    def schedules_changed(self) -> str:
        """Set of schedule names (resque-scheduler)."""
        return f"{self.prefix}schedules_changed"

    def ruby_leader(self, lock_prefix: str = "") -> str:
        """resque-scheduler's master lock; its namespace appears twice in the key."""
        between = f"{lock_prefix}:" if lock_prefix else ""
        return f"{self.prefix}{self.prefix}{between}resque_scheduler_master_lock"

    @cached_property
    def node_leader(self) -> str:
        """node-resque's leader lock."""
        return f"{self.prefix}resque_scheduler_leader_lock"

    # -- plugins (Node) --

    def queue_lock(self, class_name: str, queue: str, args: str) -> str:
        """QueueLock: one in the queue."""
        return self.key("lock", class_name, queue, args)

    def job_lock(self, class_name: str, queue: str, args: str) -> str:
        """JobLock: one running."""
        return self.key("workerslock", class_name, queue, args)

    def retry(self, class_name: str, args_key: str) -> str:
        """Retry: the attempt number. Only the first white-space character is dropped."""
        return _drop_first_blank(self.key("resque-retry", class_name, args_key))

    def retry_failure(self, class_name: str, args_key: str) -> str:
        """Retry: the last error."""
        return _drop_first_blank(f"{self.prefix}failure-resque-retry:{class_name}:{args_key}")

    def ruby_lock(self, class_name: str, joined: str, before: str = "") -> str:
        """resque-lock-timeout: one running; with `loner:` before: one in the queue."""
        return f"{self.prefix}{before}lock:{class_name}:{joined}"

    def resque_lock(self, class_name: str, inspected: str) -> str:
        """resque-lock: one in the queue or running."""
        return f"{self.prefix}lock:{class_name}-{inspected}"

    def ruby_retry(self, class_name: str, joined: str, before: str = "") -> str:
        """resque-retry: the attempt number; with `failure-` before: the last error.

        Since its version 1.1.0 of 2014 with the SHA-1 of the arguments.
        """
        sha1 = hashlib.sha1(joined.encode(), usedforsecurity=False).hexdigest()
        named = f"{class_name}:{sha1}" if joined else class_name
        return f"{self.prefix}{before}resque-retry:{named}"

    def php_status(self, name: str) -> str:
        """The status of a job that php-resque follows: JSON."""
        return self.key(f"job:{name}:status")

    def ruby_status(self, uuid: str) -> str:
        """The status of a job of Ruby's resque-status: JSON."""
        return self.key("status", uuid)

    @cached_property
    def ruby_kills(self) -> str:
        """Set of the uuids of resque-status' jobs that are to end."""
        return f"{self.prefix}_kill"

    def named(self, lock_name: str) -> str:
        """A key by the name that `locks()` shows."""
        return f"{self.prefix}{lock_name}"

    # -- resqpy's own --

    def own(self, *parts: str) -> str:
        """A key that only resqpy uses."""
        return f"{self.prefix}resqpy:" + ":".join(parts)

    def junk(self, key: str) -> str:
        """Where a value of the wrong type found under one of our keys is moved."""
        return self.own("junk", key.removeprefix(self.own()))

    @cached_property
    def processes(self) -> str:
        """Sorted set incarnation -> Redis time in seconds of its last heartbeat."""
        return self.own("processes")

    @cached_property
    def known_tasks(self) -> str:
        """Hash incarnation -> the tasks that a process has loaded, as JSON."""
        return self.own("known_tasks")

    def process_state(self, incarnation: str) -> str:
        """State of a worker process other than normal operation: `paused`, `quiet`, `stopping`, `stuck`; it
        expires.
        """
        return self.own("state", incarnation)

    def orders(self, incarnation: str) -> str:
        """The orders that wait for a worker process, a line of JSON each; it expires with the last of them."""
        return self.own("orders", incarnation)

    def order_answers(self, order_id: str) -> str:
        """List of the answers to an order, as JSON; it expires a minute after the last one."""
        return self.own("answers", order_id)

    @cached_property
    def gates(self) -> str:
        """Hash incarnation -> epoch: an older exchange, or that of a process not listed, takes nothing."""
        return self.own("gates")

    @cached_property
    def lives(self) -> str:
        """Hash incarnation -> JSON {host, pid, queues, most, form}, which gives the ids of all workers the
        process ever had: slots 1 to `most`.
        """
        return self.own("lives")

    @cached_property
    def rescuer(self) -> str:
        """The lease under which a worker process rescues jobs where no scheduler leads; while it exists, no
        other process tries.
        """
        return self.own("rescuer")

    @cached_property
    def searched(self) -> str:
        """While it exists, nobody needs to search for records of unknown processes."""
        return self.own("searched")

    def held(self, worker_id: str) -> str:
        """The exact bytes of a worker's job, if its record can't hold them."""
        return self.own("held", worker_id)

    def unreadable(self, digest: str) -> str:
        """The exact bytes of a large unreadable job, referenced by its failed entry."""
        return self.own("unreadable", digest)

    @cached_property
    def leader(self) -> str:
        """The lease by which resqpy's schedulers elect a leader; its value is the leader's token."""
        return self.own("leader")

    @cached_property
    def leader_epoch(self) -> str:
        """Counter: incremented at each change of leader."""
        return self.own("leader", "epoch")

    @cached_property
    def leader_foreign(self) -> str:
        """The token under which a resqpy leader holds Ruby's and Node's locks."""
        return self.own("leader", "foreign")

    @cached_property
    def claimed(self) -> str:
        """List of `<second>:<item>`: due jobs whose enqueue hooks are running."""
        return self.own("claimed")

    def job_locks(self, worker_id: str) -> str:
        """Hash lock key -> value: the JobLocks that the worker's running job holds. So no other lock is
        deleted, and the cleanup after a dead worker knows which locks were its.
        """
        return self.own("job_locks", worker_id)

    @cached_property
    def at_most_once(self) -> str:
        """Hash worker id -> run_at of a run that must not be repeated."""
        return self.own("at_most_once")

    def once(self, call: str) -> str:
        """There as long as the same call makes no second job: JSON of the task's name, the key of the call,
        and the place of the job among those of the call, where these are several.
        """
        return self.own("once", call)

    @cached_property
    def rescues(self) -> str:
        """Hash digest of a job -> how often it was lost with its worker, and the last time."""
        return self.own("rescues")

    @cached_property
    def running_limits(self) -> str:
        """Hash queue -> how many of its jobs may run at once. Fields with `{` are other rules: see the wire."""
        return self.own("limits")

    @cached_property
    def limit_notes(self) -> str:
        """What stands before the names of all that is noted of limits; scripts make them from it."""
        return self.own("limits", "")

    def limit_holders(self, queue: str) -> str:
        """Set of the ids of workers that may run a job of a queue with such a limit."""
        return self.own("limits", "holders", queue)

    def limit_checked(self, queue: str) -> str:
        """While it exists, nobody needs to look whether the holders of a limit still run a job of it."""
        return self.own("limits", "checked", queue)

    def limit_slots(self, key: str) -> str:
        """Set of the ids of workers that run a job under a key: the name of a limit, or NAME=VALUE."""
        return self.own("limits", "slots", key)

    @cached_property
    def limit_holds(self) -> str:
        """Hash worker id -> the run_at of its run and the keys that it holds a place of, a line each."""
        return self.own("limits", "holds")

    @cached_property
    def parked(self) -> str:
        """Sorted set of a key and a queue, in two lines -> since when (ms) jobs of that queue wait for the key."""
        return self.own("limits", "parked")

    def parked_jobs(self, key: str, queue: str) -> str:
        """List of the jobs of a queue that wait for a key, in their order."""
        return self.own("limits", "jobs", str(len(key.encode())), key, queue)

    def parked_queues(self, key: str) -> str:
        """Set of the queues of which jobs wait for a key."""
        return self.own("limits", "queues", key)

    def parked_ready(self, queue: str) -> str:
        """Sorted set of the keys for which a queue's jobs waited, and that may have room -> since when (ms)."""
        return self.own("limits", "ready", queue)

    @cached_property
    def ages(self) -> str:
        """Hash queue -> JSON: how old its first job is, and how many come and go; it expires without a leader."""
        return self.own("ages")

    @cached_property
    def age_marks(self) -> str:
        """Hash queue -> the job near its tail by which the leader tells what is new at its next look."""
        return self.own("ages", "marks")

    def history(self, *parts: str) -> str:
        """What ran and how queues were, hash name -> numbers, by slot of time; and the stream of `marks`."""
        return self.own("history", *parts)

    def limit_used(self, key: str) -> str:
        """The time (microseconds) up to which a rate is used; it expires then."""
        return self.own("limits", "used", key)

    @cached_property
    def limit_foreign(self) -> str:
        """Hash name of a limit -> `count`: the leader counts jobs that workers of other languages run under it."""
        return self.own("limits", "foreign")

    def limit_lease(self, holder: str) -> str:
        """While it exists, somebody holds a place of a limit outside of jobs."""
        return self.own("limits", "lease", holder)

    def migration(self, class_name: str) -> str:
        """Hash: what was counted of a class that moves between languages."""
        return self.own("limits", "migration", class_name)

    def shadows(self, class_name: str, outcome: str) -> str:
        """List: the last shadow runs of a class that `succeeded` or `failed`, as JSON."""
        return self.own("limits", "shadows", outcome, class_name)

    def limit_wakes(self, queue: str) -> str:
        """When (ms) a process looks for jobs of a queue that wait for a rate, and which; it expires then."""
        return self.own("limits", "wakes", queue)

    # -- the console --

    def web(self, kind: str, digest: str) -> str:
        """A `session` of the console, a one-time `link`, or a `request` that may be repeated, by a SHA-256: JSON;
        a bulk `run`: a hash. They expire.
        """
        return self.own("web", kind, digest)

    def web_known(self, kind: str) -> str:
        """Sorted set SHA-256 of a `session` or a `link` -> when it was made (ms)."""
        return self.own("web", "known", kind)

    @cached_property
    def web_runs(self) -> str:
        """List of the ids of the last bulk runs, the newest first; it expires a day after the last."""
        return self.own("web", "runs")

    @cached_property
    def web_users(self) -> str:
        """Hash name -> JSON {role, password}: the users of the console, each password as scrypt's digest."""
        return self.own("web", "users")

    @cached_property
    def web_tokens(self) -> str:
        """Hash SHA-256 of an access token of the API -> JSON {name, scopes, created, until, by}."""
        return self.own("web", "tokens")

    @cached_property
    def web_tokens_used(self) -> str:
        """Hash SHA-256 of an access token -> about when it was last used (ms)."""
        return self.own("web", "tokens", "used")

    def web_removed(self, removal: str, source: str) -> str:
        """List of entries that were removed from a failed list by the console; for a day they can be put back."""
        return self.own("web", "removed", removal, source)

    @cached_property
    def audit(self) -> str:
        """Stream of the changes made by the console and the API: who, what, when."""
        return self.own("audit")

    # -- periodic tasks --

    @cached_property
    def periodic_tasks(self) -> str:
        """Hash task name -> JSON: the periodic tasks announced by processes."""
        return self.own("periodic", "tasks")

    @cached_property
    def periodic_seen(self) -> str:
        """Sorted set task name -> when a process last announced it (ms)."""
        return self.own("periodic", "seen")

    @cached_property
    def periodic_due(self) -> str:
        """Sorted set task name -> when its chain is due (ms), for tasks with a frequency."""
        return self.own("periodic", "due")

    @cached_property
    def periodic_out(self) -> str:
        """Hash task name -> the time (ms) for which its one job was enqueued, until that job has ended."""
        return self.own("periodic", "out")

    @cached_property
    def periodic_jobs(self) -> str:
        """Hash task name -> the last job of its chain that an enqueue hook changed."""
        return self.own("periodic", "jobs")

    @cached_property
    def periodic_stopped(self) -> str:
        """Hash task name -> why its chain has stopped: `stopped` or `failed`."""
        return self.own("periodic", "stopped")

    @cached_property
    def periodic_paused(self) -> str:
        """Set of the names of paused periodic tasks."""
        return self.own("periodic", "paused")

    @cached_property
    def periodic_last(self) -> str:
        """Hash task name -> the time (ms) for which it was last enqueued."""
        return self.own("periodic", "last")

    @cached_property
    def cron(self) -> str:
        """Hash task name -> `<ms> <schedule>`: all fires up to that time are settled."""
        return self.own("cron")

    def fires(self, kind: str, name: str) -> str:
        """List of the last fires of a schedule, `<planned ms> <fired ms> <outcome>`; kind: `ruby` or another."""
        return self.own("fires", "ruby" if kind == "ruby" else "task", name)

    @cached_property
    def ruby_next(self) -> str:
        """Hash name of a Ruby schedule -> `<digest> <ms> <text>`: when we fire it next."""
        return self.own("ruby", "next")

    @cached_property
    def ruby_paused(self) -> str:
        """Set of the names of Ruby's schedules that are paused while we run them."""
        return self.own("ruby", "paused")

    # -- records of tasks --

    def task(self, task_id: str) -> str:
        """Hash: the record beside a job."""
        return self.own("task", task_id)

    @cached_property
    def task_locks(self) -> str:
        """Sorted set task id -> when its lock expires (ms)."""
        return self.own("tasks", "locks")

    @cached_property
    def tasks_scheduled(self) -> str:
        """Sorted set task id -> when it is due (ms), for tasks with status scheduled."""
        return self.own("tasks", "scheduled")

    @cached_property
    def tasks_pending(self) -> str:
        """Sorted set task id -> since when it has been due, or was last checked (ms)."""
        return self.own("tasks", "pending")

    @cached_property
    def tasks_expiring(self) -> str:
        """Sorted set task id -> when its record expires (ms)."""
        return self.own("tasks", "expiring")

    def tasks_by(self, order: str, *of: str) -> str:
        """Sorted set task id -> microseconds, by `created`, `modified`, `completed` or, with a
        status behind it, `status`; of all tasks, or of those with `type`, `tag`, … and its value.
        """
        return self.own("tasks", "by", order, *of)

    @cached_property
    def events(self) -> str:
        """Channel on which all record changes are published."""
        return self.own("events")


_BLANK = re.compile(
    "[ \\t\\n\\v\\f\\r\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff]"
)


def _drop_first_blank(text: str) -> str:
    """Drop the first white-space character, as node-resque does to Retry's keys."""
    return _BLANK.sub("", text, count=1)


_GLOB_SIGNS = "*?[]{}!"


def check_queue_name(name: object) -> str:
    """The name, if jobs may be enqueued there and every Resque worker can be told to work it.

    Foreign clients can create others; those are listed, drained by `*` and deleted all the same.

    Raises:
        InvalidQueueName: what is wrong and what to do.
    """
    if not isinstance(name, str):
        raise InvalidQueueName(f"queue {name!r}: a queue name must be a string")
    _look_at_name(name)
    return name


@lru_cache(1024)  # a program has few names, and each of its jobs has one
def _look_at_name(name: str) -> None:
    shown = repr(name if len(name) <= 60 else name[:60] + "…")
    if not name:
        raise InvalidQueueName("the queue name is empty; use 'default'")
    if name != name.strip():
        raise InvalidQueueName(f"queue {shown}: QUEUES=… strips blanks at the ends; remove them")
    if bad := [char for char in name if char in _GLOB_SIGNS or char == "," or char < " "]:
        raise InvalidQueueName(
            f"queue {shown}: {bad[0]!r} has a special meaning in a worker's list of "
            "queues; use another character"
        )
    try:
        size = len(name.encode())
    except UnicodeEncodeError as error:
        raise InvalidQueueName(f"queue {shown}: a lone surrogate can't be encoded") from error
    if size > MAX_QUEUE_NAME:
        raise InvalidQueueName(f"queue {shown}: {size} bytes; the limit is {MAX_QUEUE_NAME}")


# Priorities as visible sub-queues: `default^5` runs before `default`, `default^-3` after it. Pure.
#
# A Redis list has no priorities, but a worker takes its queues in order. Every Resque can see, work and count
# such a queue; `^` has no special meaning in any list of queues.

HIGHEST = 9
_SUB_QUEUE = re.compile(r"(.+)\^(-?[1-9])", re.DOTALL)


def check_priority(value: object) -> int:
    """The priority, if it is in range.

    Raises:
        UsageError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > HIGHEST:
        raise UsageError(
            f"priority {value!r}: must be a whole number from -{HIGHEST} to {HIGHEST}; "
            "higher runs first, 0 is the default"
        )
    return value


def with_priority(queue: str, priority: int) -> str:
    """The queue in which jobs of this priority wait."""
    return f"{queue}^{priority}" if priority else queue


def split_priority(name: str) -> tuple[str, int]:
    """The queue and priority of the jobs in it: `("default", 5)` for `default^5`."""
    match = _SUB_QUEUE.fullmatch(name)
    return (match.group(1), int(match.group(2))) if match else (name, 0)


def family(queue: str) -> list[str]:
    """A queue with all its possible sub-queues, highest priority first; a sub-queue alone."""
    if split_priority(queue)[1]:
        return [queue]
    return [with_priority(queue, each) for each in range(HIGHEST, -HIGHEST - 1, -1)]
