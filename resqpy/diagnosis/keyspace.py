"""What `resqpy doctor` finds by scanning all keys: keys that belong to nothing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from shlex import quote

from resqpy.diagnosis.problem import Found, Problem, fix
from resqpy.diagnosis.texts import counted
from resqpy.store.connection.client import Store
from resqpy.store.repair import checkup, junk

_LOST = "with delayed jobs missing from their index: no scheduler will ever find them"
_EMPTY = "in the index of delayed jobs without a job"


async def keyspace_problems(store: Store) -> Found:
    """What a scan of all keys finds."""
    found = await checkup.survey(store)
    if found.unlisted_queues:
        yield Problem(
            "unlisted queues",
            "jobs wait in queues that are missing from the set of queues, so '*' does not find them: "
            f"{', '.join(found.unlisted_queues[:5])}",
            "add them to the set",
            fix(
                partial(checkup.list_queues, store, found.unlisted_queues),
                members={store.keys.queues: found.unlisted_queues},
            ),
        )
    for problem in _delayed_problems(store, found):
        yield problem
    for problem in _lock_problems(store, found):
        yield problem
    for problem in _record_problems(found):
        yield problem
    if found.others:
        named = ", ".join(f"{name} (a {kind})" for name, kind in list(found.others.items())[:5])
        yield Problem(
            "foreign keys",
            f"{counted(len(found.others), 'key')} with names of queues or delayed jobs, but no lists, so they "
            f"are not worked here: {named}",
            "find out what writes them (jesque stores delayed and recurring jobs like this); they are left "
            "alone",
            grave=False,
        )
    if found.other_namespaces:
        names = sorted(found.other_namespaces)
        yield Problem(
            "other installations",
            f"this database has other installations, under {', '.join(map(repr, names))}; this is "
            f"{store.keys.namespace!r}",
            "if that is not intended: --namespace, or `namespace` in config/redis.py",
            grave=False,
        )


def _record_problems(found: checkup.Survey) -> list[Problem]:
    ids = found.unknown_records
    if not ids:
        return []
    return [
        Problem(
            "records of unknown workers",
            f"{counted(len(ids), 'worker that is', 'workers that are')} not registered, but whose record has a "
            f"job: {', '.join(ids[:3])}",
            "resqpy's own jobs are taken back within minutes if a resqpy worker or scheduler runs; otherwise "
            f"find out whose they are; when its process is gone: resqpy workers clean {quote(ids[0])}",
        )
    ]


def _lock_problems(store: Store, found: checkup.Survey) -> list[Problem]:
    problems = []
    if found.endless_locks:
        problems.append(
            Problem(
                "endless locks",
                f"{counted(len(found.endless_locks), 'lock')} of tasks without an expiry: "
                f"{_named(found.endless_locks)}",
                "set the expiry in each lock's value, else 3 minutes",
                fix(
                    partial(checkup.expire_locks, store, list(found.endless_locks)),
                    strings=found.endless_locks,
                ),
            )
        )
    if found.ruby_locks:
        problems.append(
            Problem(
                "locks of resque-lock",
                f"{counted(len(found.ruby_locks), 'lock')} of Ruby's resque-lock: {_named(found.ruby_locks)}; "
                "they never expire, not even when a worker dies",
                "resqpy locks remove NAME, if no such job waits or runs",
                grave=False,
            )
        )
    return problems


def _named(keys: Sequence[bytes]) -> str:
    return ", ".join(each.decode("utf-8", "replace") for each in keys[:3])


def _delayed_problems(store: Store, found: checkup.Survey) -> list[Problem]:
    problems = [
        Problem(
            name,
            f"{counted(len(seconds), 'time')} {words}",
            "repair the index",
            fix(
                partial(checkup.mend_delayed, store, seconds, []),
                scores={store.keys.schedule: seconds},
            ),
            grave=grave,
        )
        for name, seconds, words, grave in (
            ("lost delayed jobs", found.unindexed, _LOST, True),
            ("empty times", found.empty_seconds, _EMPTY, False),
        )
        if seconds
    ]
    if found.lost_timestamps:
        problems.append(
            Problem(
                "orphan timestamps",
                f"{counted(len(found.lost_timestamps), 'key')} of the reverse index lead nowhere: they block a "
                "DelayQueueLock",
                "drop their entries",
                fix(
                    partial(checkup.mend_delayed, store, [], found.lost_timestamps),
                    sets=found.lost_timestamps,
                ),
            )
        )
    return problems


async def junk_problems(store: Store) -> Found:
    """Values of another type under resqpy's own keys."""
    found = await junk.found(store, leading=True)
    if not found:
        return

    async def set_aside() -> int:
        return len(await junk.set_aside(store, leading=True))

    named = ", ".join(f"{key} (a {kind})" for key, kind in found.items())
    yield Problem(
        "junk in our keys",
        f"the wrong type of value is stored under {named}",
        f"move it to {store.keys.junk(store.keys.own('…'))}, as workers and schedulers do when they start",
        fix(set_aside, whole=list(found)),
    )
