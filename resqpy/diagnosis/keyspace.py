"""What `resqpy doctor` finds by a walk over all keys: those that belong to nothing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from shlex import quote

from resqpy.diagnosis.problem import Found, Problem, fix
from resqpy.diagnosis.texts import counted
from resqpy.store.connection.client import Store
from resqpy.store.repair import checkup, junk

_LOST = "with delayed jobs not in their index: no scheduler will ever find them"
_EMPTY = "in the index of delayed jobs without a job"


async def keyspace_problems(store: Store) -> Found:
    """What a walk over all keys finds."""
    found = await checkup.survey(store)
    if found.unlisted_queues:
        yield Problem(
            "unlisted queues",
            f"jobs wait in queues that the set of queues does not have, so '*' does not find "
            f"them: {', '.join(found.unlisted_queues[:5])}",
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
            f"{counted(len(found.others), 'key')} named as queues or delayed jobs are, and no lists, so "
            f"they are not worked here: {named}",
            "find out whose they are (jesque keeps delayed and recurring jobs so); they are left alone",
            grave=False,
        )
    if found.other_namespaces:
        names = sorted(found.other_namespaces)
        yield Problem(
            "other installations",
            f"there are others in this database, under {', '.join(map(repr, names))}; this is "
            f"{store.keys.namespace!r}",
            "if that was not meant: --namespace, or `namespace` in config/redis.py",
            grave=False,
        )


def _record_problems(found: checkup.Survey) -> list[Problem]:
    ids = found.unknown_records
    if not ids:
        return []
    return [
        Problem(
            "records of unknown workers",
            f"{counted(len(ids), 'worker that is', 'workers that are')} not registered, but on record as at work: "
            f"{', '.join(ids[:3])}",
            "resqpy's own jobs are taken back within minutes where a worker or a scheduler of resqpy runs; "
            f"else find out whose they are; when its process is gone: resqpy workers clean {quote(ids[0])}",
        )
    ]


def _lock_problems(store: Store, found: checkup.Survey) -> list[Problem]:
    problems = []
    if found.endless_locks:
        problems.append(
            Problem(
                "endless locks",
                f"{counted(len(found.endless_locks), 'lock')} of tasks without an end: "
                f"{_named(found.endless_locks)}",
                "give each the end that its value says, else 3 minutes",
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
                f"{counted(len(found.ruby_locks), 'lock')} of Ruby's resque-lock: "
                f"{_named(found.ruby_locks)}; they never end by themselves, also not when a worker dies",
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
            "mend the index",
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
                f"{counted(len(found.lost_timestamps), 'key')} of the reverse index lead nowhere: "
                "they keep a DelayQueueLock shut",
                "drop their entries",
                fix(
                    partial(checkup.mend_delayed, store, [], found.lost_timestamps),
                    sets=found.lost_timestamps,
                ),
            )
        )
    return problems


async def junk_problems(store: Store) -> Found:
    """Keys of another kind than resqpy keeps there."""
    found = await junk.found(store, leading=True)
    if not found:
        return

    async def set_aside() -> int:
        return len(await junk.set_aside(store, leading=True))

    named = ", ".join(f"{key} (a {kind})" for key, kind in found.items())
    yield Problem(
        "junk in our keys",
        f"resqpy keeps something else under {named}",
        f"move it to {store.keys.junk(store.keys.own('…'))}, as a worker or scheduler does that starts",
        fix(set_aside, whole=list(found)),
    )
