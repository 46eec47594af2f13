"""Periodic tasks in Redis: what processes have announced, and the chains of those with a frequency.

A chain is in one place at a time: due at some time (`periodic:due`), or out, meaning that its one job waits
or runs (`periodic:out`). Each transition is one script.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from resqpy.base import periodic
from resqpy.base.foreign_time import noted_ms
from resqpy.base.keys import Keys
from resqpy.base.periodic import Periodic
from resqpy.base.when import whole_number
from resqpy.store.connection.client import Arg, Store
from resqpy.store.delayed import FencingToken
from resqpy.store.leader import run_fenced
from resqpy.store.queues import Guard, decode_name, guard_words

# Enqueues the jobs of a schedule and updates its note of what has been handled, atomically.

CHANGED = -1

Write = tuple[Arg, ...]  # a command, the key it writes, its other arguments


class Expected(NamedTuple):
    """A value in Redis that must not have changed since it was read; an empty text: none.

    Attributes:
        command: HGET, or ZSCORE: then the value is a number.
    """

    command: str
    key: str
    field: str
    value: Arg


class DueJob(NamedTuple):
    """A job to enqueue for a time.

    Attributes:
        args: its arguments, after the enqueue hooks.
    """

    at_ms: int
    args: Sequence[Any]


HISTORY = 200  # fires of a schedule
HISTORY_MS = 30 * 86_400_000  # after the last of them


class History(NamedTuple):
    """Where the fires of a schedule are noted, each in the step that fires it.

    Attributes:
        at_ms: the time of these.
        planned: the time that was planned for each job.
        forbidden: the times whose job a hook forbids.
    """

    key: str
    at_ms: int
    planned: Sequence[int]
    forbidden: Sequence[int]


class Fired(NamedTuple):
    """A fire of a schedule.

    Attributes:
        planned_ms: the time for which it fired.
        fired_ms: when it did.
        outcome: `enqueued`, `refused` (by a lock: an equal job waits or runs), `forbidden` (by a hook).
    """

    planned_ms: int
    fired_ms: int
    outcome: str


async def history(store: Store, key: str) -> list[Fired]:
    """The last fires of a schedule, the first of them first."""
    [rows] = await store.look([("LRANGE", key, 0, -1)])
    found = [decode_name(row).split(" ") for row in rows]
    fires = list[Fired]()
    for each in found:
        planned, fired = (whole_number(text) for text in (*each, "", "")[:2])
        if len(each) == 3 and planned is not None and fired is not None:
            fires.append(Fired(planned, fired, each[2]))
    return fires


class Firing(NamedTuple):
    """Fires of one schedule; without jobs, only its notes.

    Attributes:
        expected: compared first; if any has changed, nothing is done.
        always: written whatever becomes of the jobs.
        pushed: written if a job was enqueued.
        refused: written if none was.
        jobs: in the order of their times.
        guards: those of each job; empty: none.
        history: notes the fires; None: they are not noted.
    """

    expected: Sequence[Expected]
    always: Sequence[Write] = ()
    pushed: Sequence[Write] = ()
    refused: Sequence[Write] = ()
    jobs: Sequence[bytes] = ()
    queue: str = ""
    guards: Sequence[Sequence[Guard]] = ()
    history: History | None = None


async def fire(store: Store, fencing: FencingToken | None, what: Firing) -> int:
    """Execute it: returns how many jobs were enqueued, or CHANGED (somebody was faster; nothing was done).

    Args:
        right: None: the caller is not a leader; then only the notes prevent firing twice.

    Raises:
        Deposed: another scheduler leads; nothing was written.
    """
    fence = [] if fencing is None else list(fencing.fence)
    keys: dict[Arg, int] = {}  # of the notes, by position

    def position(key: Arg) -> int:
        return keys.setdefault(key, len(keys) + 1)

    words: list[Arg] = [len(fence), what.queue, len(what.jobs)]
    for job, guards in zip(what.jobs, what.guards or [()] * len(what.jobs), strict=True):
        words += (job, len(guards), *guard_words(guards))
    words.append(len(what.expected))
    for command, key, field, value in what.expected:
        words += (command, position(key), field, value)
    noted = what.history
    if noted is None:
        words.append(0)
    else:
        words += (HISTORY, position(noted.key), noted.at_ms, HISTORY_MS, *noted.planned)
        words += (len(noted.forbidden), *noted.forbidden)
    for when in ("always", "pushed", "refused"):
        for verb, key, *others in getattr(what, when):
            words += (when, len(others), verb, position(key), *others)
    reply = await run_fenced(
        store, fence, "" if fencing is None else fencing.token, "fire",
        [store.keys.queues, store.keys.queue(what.queue), *keys], words,
    )  # fmt: skip
    return int(reply)


@dataclass(frozen=True, slots=True)
class Seen:
    """What Redis has; times are milliseconds.

    Attributes:
        time_us: Redis' clock, microseconds since the epoch.
        tasks: the announcements, by name.
        announced: when each was last announced.
        due, out: the chains.
        stopped: the chains that have stopped, and why.
        paused: the tasks that are paused.
        cron: up to which time each cron schedule has been handled.
        last: the times for which the tasks were last enqueued.
        odd: key and name of values that should be a chain's time and are not.
    """

    time_us: int
    tasks: dict[str, bytes]
    announced: dict[str, int]
    due: dict[str, int]
    out: dict[str, int]
    stopped: dict[str, str]
    paused: set[str]
    cron: dict[str, str]
    last: dict[str, int]
    odd: list[tuple[str, str]]


async def look(store: Store) -> Seen:
    """All of it, in one round trip."""
    keys = store.keys
    replies = await store.look(
        [
            ("TIME",),
            ("HGETALL", keys.periodic_tasks),
            ("ZRANGE", keys.periodic_seen, 0, -1, "WITHSCORES"),
            ("ZRANGE", keys.periodic_due, 0, -1, "WITHSCORES"),
            ("HGETALL", keys.periodic_out),
            ("HGETALL", keys.periodic_stopped),
            ("SMEMBERS", keys.periodic_paused),
            ("HGETALL", keys.cron),
            ("HGETALL", keys.periodic_last),
        ]
    )
    (seconds, us), tasks, announced, due, out, stopped, paused, cron, last = replies
    due_ms, out_ms = _numbers(due), _numbers(out)
    return Seen(
        time_us=int(seconds) * 1_000_000 + int(us),
        tasks=dict(_pairs(tasks)),
        announced=_numbers(announced),
        due=due_ms,
        out=out_ms,
        stopped={name: decode_name(why) for name, why in _pairs(stopped)},
        paused={decode_name(name) for name in paused},
        cron={name: decode_name(text) for name, text in _pairs(cron)},
        last=_numbers(last),
        odd=[*_odd(keys.periodic_due, due, due_ms), *_odd(keys.periodic_out, out, out_ms)],
    )


def _pairs(flat: Sequence[bytes]) -> Iterable[tuple[str, bytes]]:
    return zip(map(decode_name, flat[::2]), flat[1::2], strict=True)


def _numbers(flat: Sequence[bytes]) -> dict[str, int]:
    """Times by name; invalid values are left out."""
    read = {name: noted_ms(number) for name, number in _pairs(flat)}
    return {name: number for name, number in read.items() if number is not None}


def _odd(key: str, flat: Sequence[bytes], read: Mapping[str, int]) -> Iterable[tuple[str, str]]:
    return ((key, name) for name, _ in _pairs(flat) if name not in read)


async def drop_odd(store: Store, seen: Seen) -> list[tuple[str, str]]:
    """Remove invalid times: the chain restarts. Returns what was removed."""
    verbs = {store.keys.periodic_due: "ZREM", store.keys.periodic_out: "HDEL"}
    if seen.odd:
        await store.pipeline([(verbs[key], key, name) for key, name in seen.odd])
    return seen.odd


# -- announcing --

BOOT, RENEW, START = "boot", "renew", "start"


async def announce(
    store: Store, tasks: dict[str, Periodic], how: str, now_ms: int | None = None
) -> list[str]:
    """Announce periodic tasks; returns the chains that this starts.

    Args:
        how: BOOT replaces announcements; RENEW only adds missing ones; START starts a chain whatever ended
            it.
        now_ms: None: Redis' clock.
    """
    keys = store.keys
    words: list[Arg] = [how, "" if now_ms is None else now_ms]
    for name, task in tasks.items():
        words += (name, periodic.encode(task), task.cron_text)
    begun = await store.run(
        "periodic_announce",
        [keys.periodic_tasks, keys.periodic_seen, keys.periodic_due,
         keys.periodic_out, keys.periodic_stopped, keys.cron],
        words,
    )  # fmt: skip
    return [decode_name(name) for name in begun]


async def forget(store: Store, fencing: FencingToken, name: str, announced_ms: int) -> None:
    """Forget a task, unless somebody has announced it since.

    Args:
        announced_ms: when it was last announced, as it was read.
    """
    keys = store.keys
    hashes = (
        keys.periodic_tasks, keys.periodic_out, keys.periodic_jobs, keys.periodic_stopped,
        keys.periodic_last, keys.cron,
    )  # fmt: skip
    gone: list[Write] = [("HDEL", each, name) for each in hashes]
    gone += [("ZREM", each, name) for each in (keys.periodic_seen, keys.periodic_due)]
    gone.append(("SREM", keys.periodic_paused, name))
    await fire(
        store, fencing, Firing([Expected("ZSCORE", keys.periodic_seen, name, announced_ms)], gone)
    )


# -- chains --


def chain_firing(
    keys: Keys, name: str, task: Periodic, due_jobs: Sequence[DueJob], due: Arg, again_ms: int
) -> Firing:
    """The fire of a chain: its job is out, or it is due again if its job may not be enqueued.

    Args:
        due_jobs: its job; empty: a hook forbids it.
        due: the time (ms) at which it is due, as it was read.
        again_ms: when it is due next if its job is not enqueued.
    """
    at_ms = due_jobs[-1].at_ms if due_jobs else 0
    jobs = [task.job(name, *each) for each in due_jobs]
    changed = [raw for raw in jobs if raw != task.job(name, at_ms)]
    return Firing(
        queue=task.queue,
        jobs=jobs,
        expected=[Expected("ZSCORE", keys.periodic_due, name, due)],
        pushed=[
            ("ZREM", keys.periodic_due, name),
            ("HSET", keys.periodic_out, name, at_ms),
            ("HSET", keys.periodic_last, name, at_ms),
            *(("HSET", keys.periodic_jobs, name, raw) for raw in changed),
        ],
        refused=[("ZADD", keys.periodic_due, again_ms, name)],
    )


def cron_firing(
    keys: Keys, name: str, task: Periodic, due_jobs: Sequence[DueJob], old: str, settled_ms: int
) -> Firing:
    """The fires of a cron schedule, and up to which time they settle it.

    Args:
        old: the current value of its note.
    """
    note = ("HSET", keys.cron, name, f"{settled_ms} {task.cron_text}")
    return Firing(
        queue=task.queue,
        jobs=[task.job(name, *each) for each in due_jobs],
        expected=[Expected("HGET", keys.cron, name, old)],
        always=[note, *(("HSET", keys.periodic_last, name, each.at_ms) for each in due_jobs[-1:])],
    )


def again_command(store: Store, name: str, at_ms: int, step_ms: int | None) -> tuple[Arg, ...]:
    """What the end of a run writes: the chain is due again; step None: it ends here."""
    keys = store.keys
    step: Arg = "" if step_ms is None else step_ms
    places = (keys.periodic_due, keys.periodic_out, keys.periodic_stopped)
    return ("AGAIN", *places, name, at_ms, step)


def _job_out(name: str, task: Periodic, at_ms: int, changed: bytes | None) -> bytes:
    """The one job of a chain.

    Args:
        changed: a job that a hook has changed, as stored; it may be an earlier one.
    """
    if changed is not None and periodic.is_of(changed, at_ms):
        return changed
    return task.job(name, at_ms)


MENDED, LOST = "mended", "lost"


async def find_or_mend(
    store: Store, fencing: FencingToken, name: str, task: Periodic, at_ms: int, due_ms: int | None
) -> str:
    """Where the job of a chain is; LOST if it is nowhere, or MENDED if the chain was made due again.

    Args:
        at_ms: the time for which its job was enqueued.
        due_ms: when it is due again if its job is lost; None: only look.
    """
    keys = store.keys
    job = _job_out(name, task, at_ms, await store.call("HGET", keys.periodic_jobs, name))
    reply = await run_fenced(
        store, fencing.fence, fencing.token, "periodic_mend",
        [keys.periodic_due, keys.periodic_out, keys.workers, keys.queue(task.queue),
         keys.timestamps(job), keys.claimed, keys.worker(""), keys.held(""), keys.parked,
         keys.limit_notes],
        [name, at_ms, "" if due_ms is None else due_ms, job, task.queue,
         *periodic.marks(name, at_ms)],
    )  # fmt: skip
    return decode_name(reply)


async def set_due(
    store: Store, fencing: FencingToken, name: str, due_ms: int | None, new_ms: int | None
) -> bool:
    """Correct when a chain is due, start it or forget it (`new_ms` None), unless it has changed.

    Args:
        due_ms: as it was read; None: the chain does not exist.
    """
    keys = store.keys
    expected = [Expected("ZSCORE", keys.periodic_due, name, "" if due_ms is None else due_ms)]
    if due_ms is None:
        places = (keys.periodic_out, keys.periodic_stopped)
        expected += (Expected("HGET", place, name, "") for place in places)
    forget: list[Write] = [("ZREM", keys.periodic_due, name), ("HDEL", keys.periodic_out, name)]
    write = forget if new_ms is None else [("ZADD", keys.periodic_due, new_ms, name)]
    return await fire(store, fencing, Firing(expected, write)) != CHANGED


async def stop(store: Store, name: str, task: Periodic) -> tuple[int, bytes | None]:
    """Stop a chain: returns how many jobs of it were due (0 or 1), and the one that is out."""
    keys = store.keys
    _, out, changed, _, was_due = await store.transaction(
        [
            ("HSET", keys.periodic_stopped, name, "stopped"),
            ("HGET", keys.periodic_out, name),
            ("HGET", keys.periodic_jobs, name),
            ("HDEL", keys.periodic_out, name),
            ("ZREM", keys.periodic_due, name),
        ]
    )
    return int(was_due), None if out is None else _job_out(name, task, int(out), changed)


async def pause(store: Store, name: str, *, paused: bool) -> bool:
    """Pause or resume a task; returns whether that changed anything."""
    command = "SADD" if paused else "SREM"
    return bool(await store.call(command, store.keys.periodic_paused, name))
