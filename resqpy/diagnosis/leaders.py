"""Problems with the leader locks, and what resqpy can't do in place of a Ruby scheduler."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from resqpy.diagnosis.problem import Found, Problem, fix
from resqpy.diagnosis.texts import counted
from resqpy.store import delayed, foreign, ruby_schedule
from resqpy.store.connection.client import Store
from resqpy.store.leader import LeaderLock, faults, other_ruby_leader, standing
from resqpy.store.repair import checkup
from resqpy.store.ruby_schedule import only_ruby_s

_UNINDEXED = 200  # times at which something is due, that are examined


def lock_problems(store: Store, locks: Sequence[LeaderLock]) -> Iterator[Problem]:
    """Problems with the leader locks."""
    python, ruby, node = locks
    foreign = [each for each in (ruby, node) if each.holder is not None and not each.ours]
    if len(foreign) == 2:
        yield Problem(
            "two leaders",
            f"Ruby's scheduler {ruby.holder} and Node's {node.holder} lead at the same time: both move delayed "
            "jobs, and Ruby's does not check Node's lock",
            "stop one of them; a resqpy scheduler takes both locks and replaces both",
        )
    for each in (python, ruby, node):
        if each.holder is not None and each.ttl_ms is None:
            yield Problem(
                "endless leader lock",
                f"the leader lock of {each.language} ({each.holder}) never expires: if its holder is dead, "
                "nobody leads",
                f"expire {each.key}",
                fix(partial(checkup.expire_locks, store, [each.key]), strings=[each.key]),
            )


async def leaders(store: Store, ruby_prefix: str) -> tuple[list[LeaderLock], list[str]]:
    """Who leads in all three languages, and warnings."""
    locks = await standing(store, ruby_prefix)
    _, ruby, _ = locks
    others = await foreign.other_ruby_leaders(store, ruby.key)
    found = faults(locks)
    found += [other_ruby_leader(key, holder) for key, holder in others.items()]
    names = (await ruby_schedule.look(store)).only_ruby_s
    if names and (ruby.ours or ruby.holder is None):
        found.append(f"{only_ruby_s(names)} while a resqpy scheduler leads")
    return locks, found


async def ruby_problems(store: Store, locks: Sequence[LeaderLock]) -> Found:
    """The problems for `resqpy doctor`."""
    ruby = next((lock for lock in locks if lock.language == "Ruby"), None)
    if ruby is None:
        return
    for key, holder in (await foreign.other_ruby_leaders(store, ruby.key)).items():
        words = other_ruby_leader(key, holder)
        yield Problem("another ruby leader", words, "see RESQUE_SCHEDULER_MASTER_LOCK_PREFIX")
    if names := (await ruby_schedule.look(store)).only_ruby_s:
        yield Problem(
            "schedules of a ruby process",
            f"{only_ruby_s(names)} while a resqpy scheduler leads",
            "write them where all processes see them (persist: true, or resqpy's set_schedule), or leave "
            "Ruby's part to a Ruby scheduler: scheduler.ruby_leads",
            grave=ruby.ours,
        )
    if count := await delayed.without_index(store, _UNINDEXED):
        yield Problem(
            "delayed jobs of another client",
            f"{counted(count, 'delayed job')} of the first are missing from the reverse index, as "
            "php-resque-scheduler writes them: its own scheduler takes no lock, so while it runs it moves jobs "
            "concurrently with the leader",
            "run only one kind of scheduler; a resqpy scheduler moves PHP's delayed jobs too",
            grave=False,
        )
