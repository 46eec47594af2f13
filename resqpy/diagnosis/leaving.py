"""Going back to plain Resque: jobs that only resqpy finds are put where every worker finds them; and what is left
of resqpy: what nobody else obeys, and its keys.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from resqpy.base import codec
from resqpy.base.errors import UsageError
from resqpy.diagnosis import texts
from resqpy.diagnosis.migrating import share_words
from resqpy.diagnosis.processes import SeenProcess, processes
from resqpy.diagnosis.workers import key_limit_words
from resqpy.engine.inspect.inspector import Resque
from resqpy.engine.inspect.waiting_jobs import delayed_items
from resqpy.engine.options import LeaderOptions
from resqpy.engine.scheduler.election import led_briefly
from resqpy.engine.scheduler.promotion import Claims, DueItemPolicy, EventReporter
from resqpy.engine.scheduler.rescue import RescueChore
from resqpy.engine.worker.identity import incarnation_of
from resqpy.store import periodic, queues, rescue, ruby_schedule, sweep, workers
from resqpy.store.leader import standing
from resqpy.store.migrations import migrations
from resqpy.tracked.record import TaskStatus
from resqpy.tracked.records import status_sets

NAME = "resqpy leave"
LEASE_S = 60.0
_ENDS = (codec.EXPIRES.encode(), codec.DEADLINE.encode())
_OPEN = [each.value for each in TaskStatus if not each.final]

# What the keys of resqpy are for, by the first part of their names.
KINDS = {
    "processes": "worker processes",
    "gates": "worker processes",
    "lives": "worker processes",
    "state": "worker processes",
    "known_tasks": "worker processes",
    "orders": "orders to processes",
    "answers": "orders to processes",
    "leader": "who leads",
    "rescuer": "rescues",
    "rescues": "lost and snoozed jobs, counted",
    "searched": "rescues",
    "held": "jobs that run",
    "at_most_once": "jobs that run",
    "job_locks": "jobs that run",
    "claimed": "due jobs whose hooks run",
    "unreadable": "bytes of failed jobs",
    "limits": "limits of queues and tasks",
    "once": "calls with a key",
    "periodic": "periodic tasks",
    "cron": "periodic tasks",
    "ruby": "Ruby's schedules",
    "fires": "histories of schedules",
    "task": "tracked tasks",
    "tasks": "tracked tasks",
    "ages": "ages of queues",
    "history": "the history of what ran",
    "web": "the console",
    "audit": "the console",
    "junk": "values of others that were in the way",
}


@dataclass(frozen=True, slots=True)
class Unobeyed:
    """Something that workers and schedulers of other languages don't know.

    Attributes:
        kind: a word for programs.
        names: of what; at most some are shown to people.
        words: what happens instead.
    """

    kind: str
    names: Sequence[str]
    words: str
    count: int = 0

    @property
    def number(self) -> int:
        """How many there are."""
        return self.count or len(self.names)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "kind": self.kind,
            "count": self.number,
            "names": list(self.names),
            "words": self.words,
        }


@dataclass(frozen=True, slots=True)
class Left:
    """What there is of resqpy.

    Attributes:
        live: our worker processes with a recent heartbeat.
        leader: our scheduler that leads; None: none does.
        jobs: those that only resqpy finds: `parked` for a limit, `claimed` while their hooks ran, `lost` with
            workers that died.
        unobeyed: what others will not obey.
        keys: how many keys of our own, by what they are for.
    """

    live: Sequence[SeenProcess]
    leader: str | None
    jobs: dict[str, int]
    unobeyed: Sequence[Unobeyed]
    keys: dict[str, int] = field(default_factory=dict)

    @property
    def running(self) -> str:
        """Who of us still runs, as text; empty: nobody."""
        live = texts.counted(len(self.live), "worker process", "worker processes")
        parts = [live] if self.live else []
        return " and ".join([*parts, *([f"the scheduler {self.leader}"] if self.leader else [])])

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "processes": [each.as_json() for each in self.live],
            "leader": self.leader,
            "jobs": self.jobs,
            "unobeyed": [each.as_json() for each in self.unobeyed],
            "keys": self.keys,
        }


class Leaving:
    """Looks at an installation that is to be left, and puts its jobs back.

    Args:
        options: of its scheduler.
    """

    def __init__(self, resque: Resque, options: LeaderOptions) -> None:
        self._resque = resque
        self._store = resque.store
        self._options = options
        self.errors: list[str] = []

    async def look(self) -> Left:
        """What there is. Reads all waiting and delayed jobs, and the names of all keys."""
        live_ms = await self._live_since_ms()
        live = [each for each in await processes(self._resque) if each.seen_ms > live_ms]
        ours = (await standing(self._store, self._options.ruby_lock_prefix))[0]
        unobeyed = [each async for each in self._unobeyed() if each.number]
        return Left(live, ours.holder, await self._jobs(), unobeyed, await self._keys())

    async def put_back(self) -> dict[str, int]:
        """Put all jobs that only resqpy finds where every worker finds them; returns how many, as `Left.jobs`.

        Jobs of live processes are left alone. Enqueue hooks are not asked.

        Raises:
            UsageError: a scheduler of resqpy leads.
        """
        before, options = await self._jobs(), self._options
        await self._resque.put_back_parked()
        async with led_briefly(self._store, options, NAME, LEASE_S) as election:
            own = election.leadership("own")
            if own is None:
                raise UsageError("a scheduler of resqpy leads: stop it first")
            reporter = EventReporter(self._tell, lambda _: False, self._store)
            while (
                await Claims(self._resque, DueItemPolicy(self._resque, NAME), reporter).run(own)
                is not None
            ):
                continue
            chore = RescueChore(self._store, options.rescue_after_s, self._tell)
            await chore.run(own)
            while chore.searching:
                await election.ask()
                await chore.run(own)
        await self._resque.put_back_parked()  # what was taken back may have been parked meanwhile
        after = await self._jobs()
        return {kind: max(count - after[kind], 0) for kind, count in before.items()}

    def _tell(self, event: str, *details: Any) -> None:
        if event == "error":
            self.errors.append(str(details[0]))

    async def _live_since_ms(self) -> float:
        """Whose last heartbeat is later is alive: the rule of those who rescue jobs."""
        return await self._resque.now_ms() - self._options.rescue_after_s * 1000

    async def _jobs(self) -> dict[str, int]:
        live_s = await self._live_since_ms() / 1000
        seen_s = await rescue.processes(self._store)
        parked = sum(each.count for each in await queues.parked(self._store))
        spared = {None, *(each for each, at_s in seen_s.items() if at_s > live_s)}
        ids = [e for e in await workers.ids(self._store) if incarnation_of(e) not in spared]
        lost = sum(each is not None for each in await workers.records(self._store, ids))
        [claimed] = await self._store.look([("LLEN", self._store.keys.claimed)])
        return {"parked": parked, "claimed": claimed or 0, "lost": lost}

    async def _unobeyed(self) -> AsyncIterator[Unobeyed]:
        paused = await self._resque.paused_queues()
        yield Unobeyed(
            "paused queues", sorted(paused), "others take their jobs, unless they have resque-pause"
        )
        limits = await self._resque.running_limits()
        shown = [f"{name}: {each.most}" for name, each in sorted(limits.items())]
        yield Unobeyed("limits of queues", shown, "others run as many as they can")
        tasks = [(k, e) for k, e in sorted((await self._resque.limits()).items()) if "=" not in k]
        yield Unobeyed(
            "limits of tasks",
            [key_limit_words(*each) for each in tasks],
            "others run as many as they can",
        )
        rules = await migrations(self._store)
        shown = [f"{share_words(name, each)}" for name, each in rules.items()]
        words = "others take all jobs of their queues; what was sent to another queue stays there"
        yield Unobeyed("classes that move", shown, words)
        seen, ruby = await periodic.look(self._store), await ruby_schedule.look(self._store)
        yield Unobeyed(
            "periodic tasks", sorted(seen.tasks), "only a scheduler of resqpy fires them"
        )
        yield Unobeyed(
            "paused schedules",
            sorted(ruby.paused & ruby.entries.keys()),
            "Ruby's scheduler fires them",
        )
        sets = status_sets(self._store.keys)
        counts = await self._store.look([("ZCARD", sets[each]) for each in _OPEN])
        open_ = [f"{n} {each}" for each, n in zip(_OPEN, counts, strict=True) if n]
        words = "others run their jobs as plain ones: without retries, locks, progress, an end in their record"
        yield Unobeyed("tracked tasks", open_, words, sum(counts))
        count = await self._with_ends()
        yield Unobeyed("jobs with an end", [], "others run them after it, too", count)

    async def _with_ends(self) -> int:
        """How many waiting and delayed jobs expire or have a deadline."""
        count, store = 0, self._store
        for name in await queues.names(store):
            async for raw in sweep.every(store, store.keys.queue(name)):
                count += _has_end(raw)
        async for _, raw in delayed_items(store):
            count += _has_end(raw)
        return count

    async def _keys(self) -> dict[str, int]:
        own, found = self._store.keys.own(""), Counter[str]()
        async for names in sweep.matching(self._store, own, kind=None):
            for name in names:
                first = name[len(own.encode()) :].decode("utf-8", "replace").partition(":")[0]
                found[KINDS.get(first, first)] += 1
        return dict(sorted(found.items()))


def _has_end(raw: bytes) -> bool:
    return any(each in raw for each in _ENDS)
