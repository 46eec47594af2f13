"""Who leads: resqpy's own lease, and the locks of Ruby's and Node's schedulers.

The lease and the foreign locks all hold one value, the leader's token: `<name>/<epoch>`; the epoch
increases at each change of leader. So each write script of a leader first checks (`run_fenced`) that these
keys still hold its token. A leader that was frozen, or cut off, or whose Redis was replaced by a replica,
writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from resqpy.base.errors import Deposed, StoreError
from resqpy.base.keys import Keys
from resqpy.store.connection.client import Arg, Store
from resqpy.store.connection.line import Line
from resqpy.store.queues import decode_name

# The error that every fenced script returns when one of the fence's keys has another value.
DEPOSED = "DEPOSED"

_NO_LOCK = b"a key that is no lock"  # the same text as in lua/leader_campaign.lua
_NO_KEY = -2


@dataclass(frozen=True, slots=True)
class Ballot:
    """Result of standing for election.

    Attributes:
        leading: we hold the lease.
        token: the token of the lease's holder.
        lease_ms: milliseconds until it expires unless renewed.
        shared: we hold both foreign locks too.
        foreign: the value of a foreign lock that is not resqpy's, if any.
        time_us: Redis' clock, microseconds since the epoch.
    """

    leading: bool
    token: str
    lease_ms: int
    shared: bool
    foreign: str | None
    time_us: int


def foreign_locks(keys: Keys, ruby_prefix: str = "") -> tuple[str, str]:
    """Ruby's lock and Node's."""
    return keys.ruby_leader(ruby_prefix), keys.node_leader


async def campaign(
    store: Store,
    name: str,
    lease_ms: int,
    foreign_ttl_s: int,
    locks: Sequence[str],
    line: Line | None = None,
) -> Ballot:
    """Take or renew the lease if it is free or ours, and then both foreign locks or none."""
    keys = store.keys
    leading, token, left_ms, shared, foreign, seconds, us = await store.run(
        "leader_campaign",
        [keys.leader, keys.leader_epoch, keys.leader_foreign, *locks],
        [name, lease_ms, foreign_ttl_s],
        line=line,
    )
    return Ballot(
        leading=bool(leading),
        token=decode_name(token),
        lease_ms=int(left_ms),
        shared=bool(shared),
        foreign=decode_name(foreign) if foreign else None,
        time_us=int(seconds) * 1_000_000 + int(us),
    )


async def resign(store: Store, token: str, locks: Sequence[str], line: Line | None = None) -> int:
    """Give up the keys that are still ours; returns how many there were."""
    keys = store.keys
    given = await store.run(
        "leader_resign", [keys.leader, keys.leader_foreign, *locks], [token], line=line
    )
    return int(given)


async def run_fenced(
    store: Store,
    fence: Sequence[str],
    token: str,
    name: str,
    keys: Sequence[Arg],
    args: Sequence[Arg],
) -> Any:
    """Run a leader's write script: its first keys are the fence, its first argument the token.

    Raises:
        Deposed: a key of the fence has another value now; the script did nothing.
    """
    with fenced():
        return await store.run(name, [*fence, *keys], [token, *args])


@contextmanager
def fenced() -> Iterator[None]:
    """Raise `Deposed` if a script returns that error."""
    try:
        yield
    except StoreError as error:
        if DEPOSED in str(error):
            raise Deposed from error
        raise


@dataclass(frozen=True, slots=True)
class LeaderLock:
    """One of the three locks, as shown by `resqpy leader`.

    Attributes:
        language: "Python", "Ruby" or "Node".
        holder: its value; None if nobody leads.
        ours: the value is the token of a resqpy leader.
        ttl_ms: milliseconds until it expires; None: never, which is a fault.
    """

    language: str
    key: str
    holder: str | None
    ours: bool
    ttl_ms: int | None


async def standing(store: Store, ruby_prefix: str = "") -> list[LeaderLock]:
    """Who leads in all three languages. One round trip."""
    keys = store.keys
    names = (keys.leader, *foreign_locks(keys, ruby_prefix))
    reads = ("MGET", keys.leader_foreign, *names)  # unlike GET: nil for a key of another type
    (recorded, *values), *ttls = await store.pipeline([reads, *(("PTTL", each) for each in names)])
    values = [
        _NO_LOCK if value is None and ttl != _NO_KEY else value
        for value, ttl in zip(values, ttls, strict=True)
    ]
    known = {value for value in (recorded, values[0]) if value}
    return [
        LeaderLock(
            language=language,
            key=name,
            holder=decode_name(value) if value is not None else None,
            ours=value in known,
            ttl_ms=ttl if ttl >= 0 else None,
        )
        for language, name, value, ttl in zip(
            ("Python", "Ruby", "Node"), names, values, ttls, strict=True
        )
    ]


@dataclass(frozen=True, slots=True)
class Led:
    """Which work the current leaders do.

    Attributes:
        periodic: resqpy's periodic tasks run.
        delayed: delayed jobs are moved to their queues, by a scheduler of any language.
        who: who leads, as text, if something is not done.
    """

    periodic: bool
    delayed: bool
    who: str

    @property
    def idle(self) -> str:
        """What is not done, and why; empty: everything is done."""
        if self.periodic and self.delayed:
            return ""
        both = "delayed jobs" if self.periodic else "periodic tasks and delayed jobs"
        return f"{self.who}, so {'periodic tasks' if self.delayed else both} don't run"

    @property
    def remedy(self) -> str:
        """How to fix it."""
        if self.periodic:
            return "start Ruby's scheduler, or set scheduler.ruby_leads to False for resqpy's scheduler"
        return "resqpy scheduler, or resqpy worker --scheduler"


def led(locks: Sequence[LeaderLock]) -> Led:
    """The work done, according to the locks that `standing` returned. A lock that a resqpy leader left
    behind does no work.
    """
    python, *others = locks
    leads = python.holder is not None
    held = [each for each in others if each.holder is not None and (leads or not each.ours)]
    if leads:
        who = "a resqpy scheduler leads, but leaves delayed jobs to Ruby's (scheduler.ruby_leads), which does not"
    elif held:
        who = " and ".join(f"{each.holder!r} ({each.language})" for each in held)
        who = f"no resqpy scheduler leads, only {who}"
    else:
        who = "no scheduler leads"
    return Led(leads, bool(held), who)


def other_ruby_leader(key: str, holder: str) -> str:
    """What is wrong if a Ruby scheduler leads under a lock that no other scheduler checks."""
    return (
        f"a Ruby scheduler, {holder!r}, leads under a different lock, {key!r}: it moves delayed jobs "
        "concurrently with the holder of the usual one, so jobs may be duplicated; give all schedulers the "
        "same prefix (RESQUE_SCHEDULER_MASTER_LOCK_PREFIX, scheduler.ruby_lock_prefix)"
    )
