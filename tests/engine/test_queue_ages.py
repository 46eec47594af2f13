"""How long jobs wait, known from looks at the queue alone: others push and take with bare commands."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from resqpy.base.queue_age import QueueAge
from resqpy.engine.scheduler.queue_ages import REST_S, QueueAgesChore
from resqpy.store import queue_ages
from tests.support.leading import Leading

NOW_MS = 1_790_000_000_000


@pytest.fixture
async def leading(redis_url: str, redis: Any) -> AsyncIterator[Leading]:
    """A leader by a clock of the test."""
    async with Leading(redis_url, NOW_MS) as leading:
        yield leading


@dataclass
class Foreign:
    """Pushes and takes with bare commands, and knows when each job came."""

    redis: Any
    leading: Leading
    text: Callable[[int], str]
    queue: str = "q"
    came_ms: deque[int] = field(default_factory=deque)
    pushed: int = 0

    async def push(self, count: int) -> None:
        """Push jobs now."""
        await self.redis.sadd("resque:queues", self.queue)
        for _ in range(count):
            self.pushed += 1
            await self.redis.rpush(f"resque:queue:{self.queue}", self.text(self.pushed))
            self.came_ms.append(self.leading.clock.now_ms())

    async def take(self, count: int) -> None:
        """Take so many jobs now, if there are."""
        for _ in range(min(count, len(self.came_ms))):
            await self.redis.lpop(f"resque:queue:{self.queue}")
            self.came_ms.popleft()

    @property
    def age_ms(self) -> int | None:
        """How long the first job has waited, in truth."""
        return self.leading.clock.now_ms() - self.came_ms[0] if self.came_ms else None


async def age(leading: Leading, queue: str = "q") -> QueueAge:
    """What was published."""
    found = await queue_ages.read(leading.store)
    assert found is not None
    return found[queue]


def distinct(n: int) -> str:
    """No job is like another."""
    return f'{{"class":"Mail","args":[{n}]}}'


def alike(n: int) -> str:
    """Half of the jobs are the same."""
    return distinct(n) if n % 2 else '{"class":"Tick","args":[]}'


def few(n: int) -> str:
    """Of sixty users."""
    return f'{{"class":"Sync","args":[{random.Random(n).randrange(60)}]}}'


def same(_: int) -> str:
    """All jobs are the same."""
    return '{"class":"Tick","args":[]}'


@pytest.mark.parametrize("text", [distinct, alike, few], ids=lambda each: each.__name__)
async def test_the_age_is_true_to_a_step_or_flagged(
    leading: Leading, redis: Any, text: Callable[[int], str]
) -> None:
    """While jobs come and go at rates that change."""
    chore, foreign, rates = (
        QueueAgesChore(leading.store),
        Foreign(redis, leading, text),
        random.Random(7),
    )
    errors: list[float] = []
    flagged = oldest_ms = come = go = 0
    await leading.run(chore)
    for second in range(240):
        if second % 20 == 0:
            come, go = rates.choice([0, 3, 10, 30]), rates.choice([0, 3, 10, 20])
        for _ in range(4):  # within the second
            leading.clock.advance(250)
            await foreign.push(come // 4 + (rates.random() < come % 4 / 4))
            await foreign.take(go // 4 + (rates.random() < go % 4 / 4))
        await leading.run(chore)
        seen, truth = await age(leading) if foreign.pushed else None, foreign.age_ms
        if seen is None:
            continue
        assert seen.jobs == len(foreign.came_ms)
        told = seen.age_ms(leading.clock.now_ms())
        assert (told is None) == (truth is None)
        if told is None or truth is None:
            continue
        oldest_ms = max(oldest_ms, truth)
        if seen.accuracy == "exact":
            errors.append(abs(told - truth))
        else:
            flagged += 1
            if seen.accuracy == "at_most":
                assert told >= truth - 1000

    assert max(errors) <= 1000
    assert oldest_ms > 15_000
    assert flagged < len(errors)


async def test_jobs_that_are_all_the_same_are_flagged(leading: Leading, redis: Any) -> None:
    """The age is then at most so much."""
    chore, foreign = QueueAgesChore(leading.store), Foreign(redis, leading, same)
    await leading.run(chore)
    for _ in range(30):
        leading.clock.advance(1000)
        await foreign.push(10)
        await foreign.take(8)
        await leading.run(chore)
        seen, truth = await age(leading), foreign.age_ms or 0
        assert seen.accuracy == "at_most"
        assert seen.age_ms(leading.clock.now_ms()) >= truth  # type: ignore[operator]
    await foreign.take(1000)
    await leading.run(chore)

    assert (await age(leading)).since_ms is None


async def test_one_job_alike_again_and_again_is_flagged(leading: Leading, redis: Any) -> None:
    """Each second another one waits that looks like the last."""
    chore, foreign = QueueAgesChore(leading.store), Foreign(redis, leading, same)
    await leading.run(chore)
    for second in range(20):
        leading.clock.advance(1000)
        await foreign.take(1)
        await foreign.push(second % 5 != 0)
        await leading.run(chore)

    assert (await age(leading)).accuracy == "at_most"


async def test_rates_and_the_time_to_drain(leading: Leading, redis: Any) -> None:
    """Of about the last half minute."""
    chore, foreign = QueueAgesChore(leading.store), Foreign(redis, leading, distinct)
    await leading.run(chore)
    await foreign.push(3000)
    for _ in range(180):
        leading.clock.advance(1000)
        await foreign.push(2)
        await foreign.take(12)
        await leading.run(chore)
    seen, now_ms = await age(leading), leading.clock.now_ms()
    arrivals, departures = seen.rates(now_ms)

    unseen = 12  # they went before the first look at them
    assert (seen.arrived, seen.left, seen.jobs) == (3360 - unseen, 2160 - unseen, 1200)
    assert departures == pytest.approx(12, rel=0.1)
    assert arrivals == pytest.approx(2, abs=3)  # the 3,000 fade out of it
    assert seen.rates(now_ms + 600_000)[1] < 0.01
    leading.clock.advance(1000)
    await foreign.push(5000)
    await leading.run(chore)
    assert (await age(leading)).drain_s(leading.clock.now_ms()) == float("inf")


async def test_what_waits_where_nobody_has_looked(leading: Leading, redis: Any) -> None:
    """Its age is at least the time since then, until all of that has gone."""
    chore, foreign = QueueAgesChore(leading.store), Foreign(redis, leading, distinct)
    await foreign.push(20)
    leading.clock.advance(60_000)
    await leading.run(chore)
    leading.clock.advance(5_000)
    seen = await age(leading)
    assert (seen.accuracy, seen.age_ms(leading.clock.now_ms())) == ("at_least", 5_000)

    await foreign.push(1)
    await foreign.take(20)
    await leading.run(chore)
    seen = await age(leading)
    assert (seen.accuracy, seen.jobs) == ("exact", 1)
    assert 0 <= (seen.age_ms(leading.clock.now_ms()) or 0) <= 5_000


async def test_the_next_leader_goes_on(leading: Leading, redis: Any) -> None:
    """The first job is as old as it was, and what came between the two is counted."""
    chore, foreign = QueueAgesChore(leading.store), Foreign(redis, leading, distinct)
    await leading.run(chore)
    for _ in range(40):
        leading.clock.advance(1000)
        await foreign.push(10)
        await foreign.take(2)
        await leading.run(chore)
    leading.clock.advance(3000)
    await foreign.push(10)
    await foreign.take(2)
    await leading.take_over("next/2")
    leading.token = "next/2"
    chore = QueueAgesChore(leading.store)
    await leading.run(chore)

    for _ in range(20):
        seen, truth = await age(leading), foreign.age_ms or 0
        assert seen.jobs == len(foreign.came_ms)
        assert seen.accuracy in ("about", "exact")
        assert abs((seen.age_ms(leading.clock.now_ms()) or 0) - truth) <= 3500
        leading.clock.advance(1000)
        await foreign.take(20)
        await leading.run(chore)
    assert (
        await age(leading)
    ).arrived == foreign.pushed - 2  # two came and went before the first look


async def test_an_idle_installation_is_left_alone(leading: Leading, redis: Any) -> None:
    """One command in ten seconds, also where jobs wait and none is taken; and no age is written again."""
    chore, foreign = QueueAgesChore(leading.store), Foreign(redis, leading, distinct)
    await foreign.push(5)
    await leading.run_until(chore, NOW_MS + 60_000)
    before = await age(leading)
    calls, runs = (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"], leading.runs

    await leading.run_until(chore, NOW_MS + 360_000)

    looked = leading.runs - runs
    asked = (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"] - calls
    assert (asked, looked) == (looked, 300 // REST_S + 1)
    assert await age(leading) == before


async def test_jobs_that_were_put_back_and_taken_from_the_middle(
    leading: Leading, redis: Any
) -> None:
    """The age is about right, and says so."""
    chore, foreign = QueueAgesChore(leading.store), Foreign(redis, leading, distinct)
    await leading.run(chore)
    await foreign.push(10)
    leading.clock.advance(1000)
    await leading.run(chore)
    first = await redis.lpop("resque:queue:q")
    await leading.run(chore)
    await redis.lpush("resque:queue:q", first)
    leading.clock.advance(1000)
    await leading.run(chore)
    assert (await age(leading)).accuracy == "about"
    assert (await age(leading)).age_ms(leading.clock.now_ms()) == 1900

    await redis.lrem("resque:queue:q", 1, distinct(5))
    leading.clock.advance(1000)
    await leading.run(chore)
    assert ((await age(leading)).accuracy, (await age(leading)).jobs) == ("about", 9)


async def test_more_queues_than_a_look_takes(
    leading: Leading, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are looked at in turn."""
    monkeypatch.setattr(queue_ages, "MOST", 10)
    chore, names = QueueAgesChore(leading.store), [f"q{n}" for n in range(35)]
    await redis.sadd("resque:queues", *names)
    await leading.run_until(chore, NOW_MS + 20_000)
    for name in names:
        await redis.rpush(f"resque:queue:{name}", distinct(1))
    await leading.run_until(chore, NOW_MS + 60_000)
    found = await queue_ages.read(leading.store)

    assert found is not None
    assert sorted(found) == sorted(names)
    assert {each.accuracy for each in found.values()} == {"exact"}


async def test_many_queues_that_change_at_once(
    leading: Leading, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look takes some of them, so that others get their turn at Redis; the age of each is right."""
    monkeypatch.setattr(queue_ages, "MOST_CHANGED", 10)
    chore, names = QueueAgesChore(leading.store), [f"q{n}" for n in range(35)]
    foreign = [Foreign(redis, leading, distinct, name) for name in names]
    await leading.run(chore)
    for _ in range(20):
        leading.clock.advance(1000)
        for each in foreign:
            await each.push(3)
            await each.take(1)
        waits = [await leading.run(chore) for _ in range(4)]
        assert waits[:3] == [0.05] * 3
    found, now_ms = await queue_ages.read(leading.store), leading.clock.now_ms()

    assert found is not None
    for each in foreign:
        age, truth = found[each.queue], each.age_ms or 0
        assert (age.accuracy, age.jobs) == ("exact", 40)
        assert abs((age.age_ms(now_ms) or 0) - truth) <= 1000


async def test_a_queue_that_was_deleted_is_forgotten(leading: Leading, redis: Any) -> None:
    """After ten minutes, also where its name has gone from the set."""
    chore, foreign = QueueAgesChore(leading.store), Foreign(redis, leading, distinct)
    await foreign.push(1)
    await leading.run(chore)
    await redis.delete("resque:queue:q", "resque:queues")
    await leading.run_until(chore, NOW_MS + 700_000)

    assert await queue_ages.read(leading.store) == {}
    assert await redis.hgetall("resque:resqpy:ages:marks") == {}
