"""What is wrong with who leads, and what resqpy can't do of a Ruby scheduler's part."""

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

_UNINDEXED = 200  # times at which something is due, that are looked at


def lock_problems(store: Store, locks: Sequence[LeaderLock]) -> Iterator[Problem]:
    """What is wrong with the locks of those who lead."""
    python, ruby, node = locks
    foreign = [each for each in (ruby, node) if each.holder is not None and not each.ours]
    if len(foreign) == 2:
        yield Problem(
            "two leaders",
            f"Ruby's scheduler {ruby.holder} and Node's {node.holder} lead at the same time: "
            "both move delayed jobs, and Ruby's has no lock against Node's",
            "stop one of them; a resqpy scheduler takes both locks and stands in for both",
        )
    for each in (python, ruby, node):
        if each.holder is not None and each.ttl_ms is None:
            yield Problem(
                "endless leader lock",
                f"the leader lock of {each.language} ({each.holder}) never ends: if its holder "
                "is dead, nobody leads",
                f"expire {each.key}",
                fix(partial(checkup.expire_locks, store, [each.key]), strings=[each.key]),
            )


async def leaders(store: Store, ruby_prefix: str) -> tuple[list[LeaderLock], list[str]]:
    """Who leads in all three languages, and what is to be warned of."""
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
    """What `resqpy doctor` says of it."""
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
            "write them where all see them (persist: true, or resqpy's set_schedule), or leave Ruby's part "
            "to a Ruby scheduler: scheduler.ruby_leads",
            grave=ruby.ours,
        )
    if count := await delayed.without_index(store, _UNINDEXED):
        yield Problem(
            "delayed jobs of another client",
            f"{counted(count, 'delayed job')} of the first are in no reverse index, as php-resque-scheduler "
            "writes them: its own scheduler takes no lock, so while it runs it moves jobs beside whoever "
            "leads",
            "run one kind of scheduler; a resqpy scheduler moves PHP's delayed jobs too",
            grave=False,
        )
