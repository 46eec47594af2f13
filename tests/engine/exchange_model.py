"""A model of the exchange between worker processes and Redis, small enough for very many random walks.

What docs/why/exchange.md says in words, with the limits of `limits_model.py`: `Redis` does a script in one step,
a `Process` sends, waits, doubts, recovers, closes slots and stops, a `Leader` buries, searches and takes back.
Between them stands a connection that loses, delays, repeats and cuts. Each rule can be switched off, to see that
it is needed.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.engine.limits_model import LIMIT_RULES, MOST, RATE, Limits, keys_of

RULES = frozenset(
    {
        "gate",  # an exchange of an old epoch, or without a gate, takes nothing
        "retire",  # a slot goes only while nothing is in doubt
        "every slot",  # the recovery asks each that may have a job
        "leave",  # a slot with a record stays known at a stop
        "every id",  # a burial reads all ids that the process ever had
        "echo",  # a reply names its request
        "void",  # an end that is void although it was reported once is a doubt: what is on its record?
        "reconnect",  # a connection that was lost without anything in flight is a doubt, too
        "mark",  # the rescue writes only if the mark is as it was read
        "take back",  # records of ids that a living process has no more
        "search",  # records of ids that nobody knows
        *LIMIT_RULES,
    }
)
FAULTS = (
    "lose", "late", "repeat", "scale", "quiet", "stop", "kill", "bury", "prune", "failover", "limit",
)  # fmt: skip
JOBS = 16

Id = tuple[int, int]  # incarnation, number of the slot


def is_once(job: int) -> bool:
    """At most once."""
    return job % 4 == 2


def is_tracked(job: int) -> bool:
    """Claimed in the step that takes it."""
    return job % 4 == 3


class Record(NamedTuple):
    """What stands on a worker's record."""

    run: int
    job: int


class EndedJob(NamedTuple):
    """An end as it is reported: what becomes of the job."""

    id: Id
    record: Record
    how: str  # done, back, failed


class Request(NamedTuple):
    """An exchange on its way."""

    number: int
    incarnation: int
    epoch: int
    ends: tuple[EndedJob, ...]
    named: tuple[Id, ...]
    recover: bool


class Reply(NamedTuple):
    """And back."""

    number: int
    fence: str  # "", absent, ahead
    gate: int
    given: dict[Id, Record]
    void: bool = False


@dataclass
class Redis:
    """The state, and the scripts."""

    queue: deque[int]
    records: dict[Id, Record] = field(default_factory=dict)
    workers: set[Id] = field(default_factory=set)
    beats: dict[Id, int] = field(default_factory=dict)
    processes: dict[int, int] = field(default_factory=dict)  # incarnation -> last sign of life
    gates: dict[int, int] = field(default_factory=dict)
    lives: dict[int, int] = field(default_factory=dict)  # incarnation -> highest slot
    marks: dict[Id, int] = field(default_factory=dict)
    locks: dict[int, int] = field(default_factory=dict)  # tracked job -> run
    failed: set[int] = field(default_factory=set)
    limits: Limits = field(default_factory=Limits)

    def copy(self) -> Redis:
        """As a replica has it."""
        parts = {name: part.copy() for name, part in vars(self).items()}
        return Redis(**parts)

    def exchange(self, asked: Request, rules: frozenset[str]) -> Reply:
        """Report, fence, find, take."""
        void = False
        for end in asked.ends:
            if self.records.get(end.id) == end.record:
                self._end(end)
            else:
                void = True
        gate = self.gates.get(asked.incarnation)
        if "gate" in rules:
            if gate is None:
                return Reply(asked.number, "absent", 0, {})
            if gate > asked.epoch:
                return Reply(asked.number, "ahead", gate, {})
            self.gates[asked.incarnation] = asked.epoch
        given: dict[Id, Record] = {}
        for each in asked.named:
            record = self.records.get(each)
            if record is not None:
                if asked.recover or self.queue:  # else nobody looks
                    self._claim(record)
                    given[each] = record
            elif not asked.recover and (job := self._next()) is not None:
                record = self.records[each] = given[each] = Record(
                    asked.number * 100 + each[1], job
                )
                self.limits.hold(each, record.run, job)
                self._claim(record)
        return Reply(asked.number, "", gate or 0, given, void)

    def _next(self) -> int | None:
        """The next job that may run; what may not is parked."""
        job = self.limits.next_parked(self.records)
        while job is None and self.queue:
            job = self.queue.popleft()
            if (key := self.limits.refuses(job, self.records)) is not None:
                self.limits.park(key, job, self.records)
                job = None
        return job

    def _claim(self, record: Record) -> None:
        if is_tracked(record.job):
            self.locks.setdefault(record.job, record.run)

    def _end(self, end: EndedJob) -> None:
        del self.records[end.id]
        self.limits.ended(end.id)
        self.marks.pop(end.id, None)
        job = end.record.job
        if self.locks.get(job) == end.record.run:
            del self.locks[job]
        if end.how == "back":
            self.queue.appendleft(job)
        elif end.how == "failed":
            self.failed.add(job)

    def mark(self, each: Id, record: Record) -> str:
        """Note that an at-most-once run starts."""
        if self.records.get(each) != record:
            return "not ours"
        if self.marks.get(each) == record.run:
            return "before"
        self.marks[each] = record.run
        return "noted"

    def beat(self, incarnation: int, ids: list[Id], now: int) -> None:
        """A sign of life."""
        self.processes[incarnation] = now
        self.workers.update(ids)
        self.beats.update(dict.fromkeys(ids, now))

    def join(self, incarnation: int, epoch: int, ids: list[Id], most: int, now: int) -> None:
        """Open the gate."""
        self.beat(incarnation, ids, now)
        self.gates[incarnation] = epoch
        self.lives[incarnation] = most

    def forget(self, each: Id) -> None:
        """Take a worker out of all that names it."""
        self.limits.ended(each)
        self.prune(each)

    def prune(self, each: Id) -> None:
        """As Ruby does, which knows nothing of limits."""
        self.workers.discard(each)
        self.beats.pop(each, None)

    def rescue(self, each: Id, mark: int | None) -> None:
        """Take a job back, and its worker out, by what was read of its mark."""
        record = self.records.pop(each, None)
        self.marks.pop(each, None)
        if record is not None:
            if mark == record.run:
                self.failed.add(record.job)
            else:
                self.queue.appendleft(record.job)
        self.forget(each)


@dataclass
class Slot:
    """A slot as its process sees it."""

    record: Record | None = None
    started: bool = False
    ended: str = ""
    reported: bool = False
    closing: bool = False
    offered: int = 0


class Link:
    """A connection: requests and replies, each in order."""

    def __init__(self) -> None:
        self.requests: deque[Request] = deque()
        self.replies: deque[Reply] = deque()


class Process:
    """A worker process."""

    def __init__(self, world: World, incarnation: int) -> None:
        self.world, self.incarnation = world, incarnation
        self.slots: dict[int, Slot] = {n: Slot() for n in range(1, 4)}
        self.most, self.epoch = 3, 1
        self.alive, self.doubt, self.forgotten = True, False, False
        self.stopping = self.quiet = False
        self.spoiled: set[int] = set()
        self.link = Link()
        self.flights: deque[Request] = deque()
        world.redis.join(incarnation, 1, self.ids, self.most, world.now)

    @property
    def ids(self) -> list[Id]:
        """Of its slots."""
        return [(self.incarnation, n) for n in self.slots]

    def send(self) -> None:
        """The next exchange, a recovery if there is doubt."""
        if self.doubt:
            if not self.flights:
                self._recover()
        elif len(self.flights) < self.world.overlap:
            self._exchange()

    def _recover(self) -> None:
        world = self.world
        if self.forgotten:
            world.redis.join(self.incarnation, self.epoch, self.ids, self.most, world.now)
            self.forgotten = False
        self.epoch += 1
        every = "every slot" in world.rules
        named = [
            n
            for n, slot in self.slots.items()
            if (slot.record is None or slot.ended)
            and (every or not (slot.ended or slot.closing or self.stopping or self.quiet))
        ]
        self._put(self._ends(), named, recover=True)

    def _exchange(self) -> None:
        ends = self._ends()
        if ends and self.world.random.random() < 0.5:
            ends = ends[: self.world.random.randint(1, len(ends))]
        ending = {end.id[1] for end in ends}
        named = [
            n
            for n, slot in self.slots.items()
            if not slot.offered and not slot.closing and (n in ending or slot.record is None)
        ]
        if self.stopping or self.quiet:
            named = []
        if ends or named:
            self._put(ends, named, recover=False)

    def _ends(self) -> list[EndedJob]:
        return [
            EndedJob((self.incarnation, n), slot.record, slot.ended)
            for n, slot in self.slots.items()
            if slot.ended and slot.record is not None and not slot.reported
        ]

    def _put(self, ends: list[EndedJob], named: list[int], *, recover: bool) -> None:
        for end in ends:
            self.slots[end.id[1]].reported = True
        for n in named:
            self.slots[n].offered += 1
        request = Request(
            self.world.next_number(),
            self.incarnation,
            self.epoch,
            tuple(ends),
            tuple((self.incarnation, n) for n in named),
            recover,
        )
        self.link.requests.append(request)
        self.flights.append(request)

    def receive(self) -> None:
        """The next reply."""
        if not self.link.replies:
            return
        reply = self.link.replies.popleft()
        if not self.flights or (
            "echo" in self.world.rules and reply.number != self.flights[0].number
        ):
            self.lose()
            return
        request = self.flights.popleft()
        self._unname(request)
        for end in request.ends:
            slot = self.slots.get(end.id[1])
            if slot is not None:
                slot.record, slot.started, slot.ended, slot.reported = None, False, "", False
        for each, record in reply.given.items():
            slot = self.slots.get(each[1])
            if slot is not None:
                slot.record = record
        if reply.fence:
            self.doubt = True
            self.forgotten = self.forgotten or reply.fence == "absent"
            self.epoch = max(self.epoch, reply.gate)
        elif request.recover:
            self.doubt = False
        elif reply.void and "void" in self.world.rules:
            self.doubt = True

    def _unname(self, request: Request) -> None:
        for each in request.named:
            if each[1] in self.slots:
                self.slots[each[1]].offered -= 1

    def lose(self) -> None:
        """Give the connection up: what is on it may still arrive, also what was answered."""
        if self.flights or "reconnect" in self.world.rules:
            self.doubt = True
        for request in self.flights:
            self._unname(request)
            for end in request.ends:
                if end.id[1] in self.slots:
                    self.slots[end.id[1]].reported = False
        self.flights.clear()
        self.world.late.append(self.link)
        self.link = Link()

    def work(self) -> None:
        """A job goes a step on: it starts, or it ends."""
        busy = [(n, slot) for n, slot in self.slots.items() if slot.record and not slot.ended]
        if not busy:
            return
        n, slot = self.world.random.choice(busy)
        assert slot.record is not None
        if slot.started:
            self.world.done[slot.record.job] += 1
            slot.ended = "done"
        elif self.stopping or self.quiet:
            slot.ended = "back"
        else:
            self._start((self.incarnation, n), slot, slot.record)

    def _start(self, each: Id, slot: Slot, record: Record) -> None:
        world = self.world
        if is_once(record.job):
            noted = world.redis.mark(each, record)
            if noted == "before":
                slot.ended = "failed"
                return
            if noted == "not ours" or world.random.random() < 0.1:  # or the reply was lost
                slot.ended = "back"
                return
        if is_tracked(record.job) and world.redis.locks.get(record.job) != record.run:
            slot.ended = "dropped"  # another has it, or it is recovered when that lock ends
            return
        slot.started = True
        world.started[record.job] += 1
        world.count_running()

    def scale(self, *, up: bool) -> None:
        """One more slot, or one less."""
        if up and not self.stopping and len(self.slots) < 6:
            n = next(n for n in range(1, 99) if n not in self.slots and n not in self.spoiled)
            self.slots[n] = Slot()
            self.most = max(self.most, n)
            redis = self.world.redis
            redis.lives[self.incarnation] = self.most
            redis.beat(self.incarnation, [(self.incarnation, n)], self.world.now)
        elif not up:
            open_ones = [slot for slot in self.slots.values() if not slot.closing]
            if len(open_ones) > 1:
                self.world.random.choice(open_ones).closing = True

    def tidy(self) -> None:
        """Let closing slots go, and leave if all is over."""
        careful = "retire" in self.world.rules
        for n, slot in list(self.slots.items()):
            idle = slot.record is None and not (careful and (slot.offered or self.doubt))
            if slot.closing and idle:
                self._leave_slot(n)
        over = not any(slot.record for slot in self.slots.values()) and not self.flights
        if self.stopping and over:
            if not self.doubt:
                self._leave()
            elif self.world.random.random() < 0.1:  # time is up
                if not careful:
                    self._leave()
                self.alive = False
                self.world.died = True

    def _leave_slot(self, n: int) -> None:
        each = (self.incarnation, n)
        del self.slots[n]
        if "leave" in self.world.rules and each in self.world.redis.records:
            self.spoiled.add(n)
        else:
            self.world.redis.forget(each)

    def _leave(self) -> None:
        redis = self.world.redis
        redis.gates.pop(self.incarnation, None)
        stay = False
        for each in self.ids:
            if "leave" in self.world.rules and each in redis.records:
                stay = True
            else:
                redis.forget(each)
        if not stay:
            redis.processes.pop(self.incarnation, None)
            redis.lives.pop(self.incarnation, None)
        self.alive = False


class Leader:
    """The rescue, with a sign of life of the process between any two of its steps."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._steps: Iterator[None] | None = None

    def step(self, incarnation: int) -> None:
        """Go on with a burial, or begin one."""
        if self._steps is None:
            self._steps = self.bury(incarnation)
        try:
            next(self._steps)
        except StopIteration:
            self._steps = None

    def bury(self, incarnation: int) -> Iterator[None]:
        """Each write asks whether the process is silent still."""
        redis, rules = self.world.redis, self.world.rules
        seen = redis.processes.get(incarnation)
        redis.gates.pop(incarnation, None)
        yield
        ids = {each for each in redis.workers if each[0] == incarnation}
        if "every id" in rules:
            ids |= {(incarnation, n) for n in range(1, redis.lives.get(incarnation, 0) + 1)}
        for each in sorted(ids):
            mark = redis.marks.get(each)
            yield  # between reading and writing
            if self.world.redis is not redis or redis.processes.get(incarnation) != seen:
                return
            if "mark" in rules and redis.marks.get(each) != mark:
                return
            redis.rescue(each, mark)
        if self.world.redis is redis and redis.processes.get(incarnation) == seen:
            redis.gates.pop(incarnation, None)
            redis.lives.pop(incarnation, None)
            redis.processes.pop(incarnation, None)

    def look(self) -> None:
        """Search and take back; ids are known by their processes."""
        redis, rules = self.world.redis, self.world.rules
        for each in {*redis.workers} | {(one, 0) for one in redis.lives}:
            redis.processes.setdefault(each[0], -1)
        if "search" in rules:
            for each in redis.records.keys() - redis.workers:
                redis.processes.setdefault(each[0], -1)
                redis.workers.add(each)
                redis.beats.setdefault(each, self.world.now)
        if "take back" in rules:
            for each in list(redis.workers):
                if redis.beats.get(each, self.world.now) < redis.processes[each[0]] - 20:
                    redis.rescue(each, redis.marks.get(each))
        redis.limits.hand_on(redis.records)


class World:
    """One walk.

    Attributes:
        disturbed: something happened after which a plain job may run twice.
        failed_over: something happened after which also an at-most-once job may.
        died: a process ended in doubt, so that a claim of its runs may be left.
        loosed: somebody took the record of a run that may go on: more may run then than the limit says.
        exceeded: how many ran at once, where they were too many.
    """

    def __init__(
        self, seed: int, overlap: int, rules: frozenset[str], faults: tuple[str, ...]
    ) -> None:
        self.random = random.Random(seed)
        self.overlap, self.rules, self.faults = overlap, rules, faults
        self.now = 0
        limits = Limits(rules, {**MOST, RATE: 0} if seed % 4 else {})
        self.redis = Redis(deque(range(JOBS)), limits=limits)
        self.replica = self.redis.copy()
        self.late: list[Link] = []
        self.done: Counter[int] = Counter()
        self.started: Counter[int] = Counter()
        self.disturbed = self.failed_over = self.died = self.loosed = False
        self.exceeded: list[str] = []
        self._number = 0
        self.processes = [Process(self, 1), Process(self, 2)]
        self.leader = Leader(self)

    def next_number(self) -> int:
        """Of a request."""
        self._number += 1
        return self._number

    def walk(self, steps: int) -> None:
        """Random steps, with faults among them."""
        usual = ("send", "send", "deliver", "deliver", "receive", "receive", "work", "work", "beat")
        acts = [getattr(self, f"_{act}") for act in (*usual, *self.faults)]
        for _ in range(steps):
            self.now = self.redis.limits.now = self.now + 1
            process = self.random.choice(self.processes)
            self.random.choice(acts)(process)
            if process.alive:
                process.tidy()

    # -- what happens --

    def _send(self, process: Process) -> None:
        if process.alive:
            process.send()

    def _deliver(self, process: Process) -> None:
        link = process.link
        if link.requests:
            link.replies.append(self.redis.exchange(link.requests.popleft(), self.rules))

    def _receive(self, process: Process) -> None:
        if process.alive:
            process.receive()

    def _work(self, process: Process) -> None:
        if process.alive:
            process.work()

    def _beat(self, process: Process) -> None:
        if process.alive:
            self.redis.beat(process.incarnation, process.ids, self.now)

    # -- what goes wrong --

    def _lose(self, process: Process) -> None:
        if process.alive and self.random.random() < 0.5:
            process.lose()

    def _late(self, _: Process) -> None:
        if self.late:
            link = self.random.choice(self.late)
            if link.requests:
                request = link.requests.popleft()
                if self.random.random() < 0.7:
                    self.redis.exchange(request, self.rules)

    def _repeat(self, process: Process) -> None:
        if process.link.requests and self.random.random() < 0.2:
            process.link.requests.insert(1, process.link.requests[0])

    def _scale(self, process: Process) -> None:
        if process.alive:
            process.scale(up=self.random.random() < 0.5)

    def _quiet(self, process: Process) -> None:
        process.quiet = self.random.random() < 0.3

    def _stop(self, process: Process) -> None:
        process.stopping = process.stopping or self.random.random() < 0.1

    def _kill(self, process: Process) -> None:
        if process.alive and self.random.random() < 0.05:
            process.alive = False
            self.disturbed = True
            self.late.append(process.link)
            process.link = Link()

    def _bury(self, process: Process) -> None:
        if self.random.random() < 0.2:
            self.disturbed = self.loosed = True
            self.leader.step(process.incarnation)

    def _prune(self, _: Process) -> None:
        if self.redis.workers and self.random.random() < 0.1:
            each = self.random.choice(sorted(self.redis.workers))
            self.disturbed = self.loosed = True
            self.redis.prune(each)
            record = self.redis.records.pop(each, None)
            if record is not None:
                self.redis.failed.add(record.job)

    def _failover(self, _: Process) -> None:
        chance = self.random.random()
        if chance < 0.2:
            self.replica = self.redis.copy()
        elif chance < 0.25:
            self.disturbed = self.failed_over = self.loosed = True
            self.redis = self.replica.copy()
            for process in self.processes:
                process.link.requests.clear()
                process.lose()

    def _limit(self, _: Process) -> None:
        limits, chance = self.redis.limits, self.random.random()
        if not limits.most or chance > 0.3:
            return
        key = self.random.choice([*MOST, RATE])
        if chance < 0.1:
            limits.shut[key] = self.now + self.random.randint(1, 60)
        elif chance < 0.2 and key != RATE:
            limits.set(key, self.random.randint(0, MOST[key]))
        elif chance < 0.22:
            self.redis.queue.extendleft(reversed(limits.put_back()))
        else:
            limits.hand_on(self.redis.records)

    def count_running(self) -> None:
        """How many jobs really run under each key."""
        slots = [slot for one in self.processes if one.alive for slot in one.slots.values()]
        running = [e.record.job for e in slots if e.record and e.started and not e.ended]
        for key, most in MOST.items() if self.redis.limits.most and not self.loosed else ():
            if (count := sum(key in keys_of(job) for job in running)) > most:
                self.exceeded.append(f"{count} of {most} run for {key}")

    # -- the end --

    def calm(self) -> None:
        """Nothing goes wrong any more: who lives works on, and the rescue does what it does."""
        for process in self.processes:
            process.quiet = False
        for key, most in MOST.items():
            if self.redis.limits.most.get(key, most) != most:
                self.redis.limits.set(key, most)
        for _ in range(60):
            self.now = self.redis.limits.now = self.now + 30
            for process in self.processes:
                self._turn(process)
            self.leader.look()
            for incarnation, seen in list(self.redis.processes.items()):
                if seen < self.now - 60:
                    for _ in self.leader.bury(incarnation):
                        pass
            if not (self.redis.queue or self.redis.records or self.redis.limits.waiting):
                return

    def _turn(self, process: Process) -> None:
        self._beat(process)
        for act in (self._send, self._deliver, self._receive):
            act(process)
        for _ in range(12):
            self._work(process)
        if process.alive:
            process.tidy()

    def death(self) -> None:
        """All die; what is late arrives, before the burial or after it."""
        for process in self.processes:
            process.alive = False
            self.late.append(process.link)
        self.random.shuffle(self.late)
        half = len(self.late) // 2
        self._arrive(self.late[:half])
        self._bury_all()
        self._arrive(self.late[half:])
        if "search" in self.rules:
            self._bury_all()

    def _arrive(self, links: list[Link]) -> None:
        for link in links:
            while link.requests:
                self.redis.exchange(link.requests.popleft(), self.rules)

    def _bury_all(self) -> None:
        self.leader.look()
        for incarnation in list(self.redis.processes):
            for _ in self.leader.bury(incarnation):
                pass

    # -- what must hold --

    def problems(self) -> list[str]:
        """What was lost, doubled or left."""
        redis, found = self.redis, []
        kept = {*redis.queue, *redis.failed, *redis.locks, *redis.limits.waiting}
        lost = [job for job in range(JOBS) if not self.done[job] and job not in kept]
        lost = [job for job in lost if not (is_once(job) and self.started[job])]
        if lost:
            found.append(f"lost {lost}")
        if redis.records:
            found.append(f"on record {redis.records}")
        found += self.exceeded
        if not self.failed_over:
            found += redis.limits.problems()
        if not self.disturbed and (twice := [job for job in self.done if self.done[job] > 1]):
            found.append(f"twice {twice}")
        once = [job for job in self.started if is_once(job) and self.started[job] > 1]
        if once and not self.failed_over:
            found.append(f"at most once, twice {once}")
        claimed = [job for job in redis.locks if not self.started[job] and job not in redis.queue]
        if claimed and not self.disturbed and not self.died:
            found.append(f"claimed and never started {claimed}")
        return found


def walk(
    seed: int,
    overlap: int = 1,
    rules: frozenset[str] = RULES,
    faults: tuple[str, ...] = FAULTS,
    steps: int = 160,
) -> list[str]:
    """One walk; what went wrong in it."""
    world = World(seed, overlap, rules, faults)
    world.walk(steps)
    if seed % 2:
        world.calm()
        living = [process for process in world.processes if process.alive and not process.stopping]
        parked = world.redis.limits.waiting
        if living and (world.redis.queue or world.redis.records or parked):
            return [f"stuck: {world.redis.queue} {world.redis.records} {parked}"]
    world.death()
    return world.problems()
