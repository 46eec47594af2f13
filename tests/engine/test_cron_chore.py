"""Cron tasks: a job for every time that an expression names, once, whoever dies and however clocks step."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import pytest

from resqpy.base.cron.cron import CronSchedule
from resqpy.base.errors import Deposed
from resqpy.base.periodic import to_ms
from resqpy.engine.inspect.schedule_view import ScheduleView
from resqpy.engine.plugin import Enqueuing, Plugin
from resqpy.engine.queue.periodic import RecurrentJobs
from resqpy.engine.queue.queue import Queue
from resqpy.engine.run import current_run
from resqpy.engine.scheduler.schedule_chores import schedule_chores
from resqpy.engine.worker.worker import Worker
from resqpy.framework.api.scheduler import Scheduler
from resqpy.framework.config.sections import SchedulerOptions
from resqpy.schedules.schedule import ON_TIME_MS, ScheduleChore
from resqpy.schedules.tasks import Announcer, own_tasks
from resqpy.store.periodic import (
    CHANGED,
    HISTORY,
    HISTORY_MS,
    DueJob,
    History,
    cron_firing,
    fire,
)
from tests.support.leading import Leading
from tests.support.waiting import wait_for

START = datetime(2026, 1, 1, tzinfo=UTC)
START_MS = to_ms(START)
HOUR, DAY = 3_600_000, 86_400_000


class Scene:
    """A leader with the chore under a clock of the test.

    Attributes:
        told: the events, as (name, details…).
    """

    def __init__(self, url: str, jobs: Mapping[str, Any], now_ms: int = START_MS) -> None:
        self.leading = Leading(url, now_ms)
        self.store = self.leading.store
        self.told: list[tuple[Any, ...]] = []
        self.queue = Queue(self.store, jobs)
        self.chore = self.new_chore()

    def new_chore(self) -> ScheduleChore:
        """What another process has, that leads next."""
        tasks = own_tasks(self.queue.definitions)
        announcer = Announcer(self.store, tasks, lambda error: self.told.append(("error", error)))
        options = SchedulerOptions(timeout_s=1e9)
        chores = schedule_chores(
            self.queue, announcer, options, lambda *told: self.told.append(told)
        )
        return next(each for each in chores if each.name == "cron")

    async def __aenter__(self) -> Self:
        await self.leading.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.leading.__aexit__()

    async def until(self, moment: datetime | int) -> None:
        """Let the chore run whenever it wants to, until a time has come."""
        end_ms = moment if isinstance(moment, int) else to_ms(moment)
        await self.leading.run_until(self.chore, end_ms)

    async def fired(self, queue: str = "default") -> list[int]:
        """The times of all jobs, in the order in which they were enqueued."""
        raws = await self.store.call("LRANGE", self.store.keys.queue(queue), 0, -1)
        return [json.loads(raw)["resqpy_at"] for raw in raws]


def cron(expression: str, **more: Any) -> Mapping[str, Any]:
    """A project with the task `report`."""
    return {"report": {"perform": print, "cron": expression, **more}}


def named(expression: str, end: datetime, zone: str | None = None) -> list[int]:
    """The times that an expression names from the start on."""
    schedule = CronSchedule.parse(expression, zone)
    return [to_ms(fire.at) for fire in schedule.between(START + timedelta(seconds=1), end)]


# -- exactly what is named --

YEAR = {
    "every three hours": "0 */3 * * *",
    "every half hour at work": "*/30 9-17 * * mon-fri Europe/Berlin",
    "at night": "30 2 * * * Europe/Berlin",
    "wildcard at night": "*/30 2 * * * America/New_York",
    "Lord Howe": "15 2 * * * Australia/Lord_Howe",
    "Troll": "0 1,3 * * * Antarctica/Troll",
    "last of the month": "0 12 L * *",
    "second Tuesday": "0 8 * * tue#2 Asia/Tokyo",
    "with seconds": "*/20 0 6 * * *",
    "leap days only": "0 0 29 2 *",
}


async def test_a_year_of_schedules_in_seconds(redis_url: str) -> None:
    """The real chore under the test's clock: the fires are exactly those that the expressions name."""
    jobs = {name: {"perform": print, "cron": text, "queue": name} for name, text in YEAR.items()}
    end = START + timedelta(days=365)
    async with Scene(redis_url, jobs) as scene:
        await scene.until(end)
        fired = {name: await scene.fired(name) for name in YEAR}
    assert fired == {
        name: named(text, end + timedelta(milliseconds=1)) for name, text in YEAR.items()
    }
    print(f"\n{sum(map(len, fired.values()))} fires of a year, {scene.leading.runs} runs")


@pytest.mark.full
@pytest.mark.timeout(600)
async def test_a_year_with_a_fire_every_minute(redis_url: str) -> None:
    """Half a million fires."""
    end = START + timedelta(days=365)
    async with Scene(redis_url, cron("* * * * * Europe/London")) as scene:
        await scene.until(end)
        assert await scene.fired() == named("* * * * *", end + timedelta(milliseconds=1))


async def test_the_first_look_fires_nothing(redis_url: str) -> None:
    """What lies before the task was announced is nothing that was missed."""
    async with Scene(redis_url, cron("* * * * *", missed="all")) as scene:
        await scene.leading.run(scene.chore)
        assert await scene.fired() == []
        await scene.until(START + timedelta(minutes=2))
        assert await scene.fired() == [START_MS + 60_000, START_MS + 120_000]


async def test_another_expression_begins_anew(redis_url: str) -> None:
    """A change of the schedule makes up for nothing that the new one would have named before."""
    async with Scene(redis_url, cron("@yearly", missed="all")) as scene:
        await scene.until(START + timedelta(days=3))
    jobs = cron("0 12 * * *", missed="all")
    async with Scene(redis_url, jobs, START_MS + 3 * DAY) as scene:
        await RecurrentJobs(scene.queue).enqueue_all_recurrent_jobs()
        await scene.until(START + timedelta(days=4))
        assert await scene.fired() == [START_MS + 3 * DAY + 12 * HOUR]


# -- what was missed --


@pytest.mark.parametrize(
    ("missed", "away_ms", "expected"),
    [
        ("skip", 10 * 60_000 + 5_000, [10]),
        ("once", 10 * 60_000 + 5_000, [10]),
        ("all", 10 * 60_000 + 5_000, list(range(1, 11))),
        ("skip", 10 * 60_000 + 40_000, []),
        ("once", 10 * 60_000 + 40_000, [10]),
        ("all", 5 * HOUR + 40_000, list(range(241, 301))),  # an hour is looked back
        ("once", 5 * HOUR + 40_000, [300]),
    ],
)
async def test_missed_fires(redis_url: str, missed: str, away_ms: int, expected: list[int]) -> None:
    """No scheduler was there for a while: the task says what becomes of the times."""
    jobs = cron("* * * * *", missed=missed, missed_window=timedelta(hours=1))
    async with Scene(redis_url, jobs) as scene:
        await scene.leading.run(scene.chore)
        scene.leading.clock.advance(away_ms)
        await scene.leading.run(scene.chore)
        assert await scene.fired() == [START_MS + minute * 60_000 for minute in expected]
        await scene.leading.run(scene.chore)
        assert len(await scene.fired()) == len(expected)


@pytest.mark.parametrize("missed", ["skip", "once", "all"])
async def test_a_new_leader_makes_up_for_half_a_minute(redis_url: str, missed: str) -> None:
    """Whatever the task says of missed fires, for a dead leader is replaced within 15 s."""
    async with Scene(redis_url, cron("* * * * * *", missed=missed)) as scene:
        await scene.leading.run(scene.chore)
        scene.leading.clock.advance(15_000)
        assert await scene.leading.run(scene.chore) == 1
        assert await scene.fired() == [START_MS + second * 1000 for second in range(1, 16)]


async def test_a_long_time_of_seconds_is_cut_into_steps(redis_url: str) -> None:
    """An outage of a day, a fire a second: no step is larger than some hundred jobs."""
    async with Scene(redis_url, cron("* * * * * *", missed="all")) as scene:
        await scene.leading.run(scene.chore)
        scene.leading.clock.advance(DAY)
        for count in (500, 1000):
            assert await scene.leading.run(scene.chore) == 0
            assert await scene.fired() == [START_MS + s * 1000 for s in range(1, count + 1)]


# -- crashes, other leaders, clocks --


async def test_a_deposed_leader_fires_nothing(redis_url: str) -> None:
    """Its successor has the fence, and fires once."""
    async with Scene(redis_url, cron("* * * * *")) as scene:
        await scene.leading.run(scene.chore)
        scene.leading.clock.advance(60_000)
        await scene.leading.take_over("other/2")
        with pytest.raises(Deposed):
            await scene.leading.run(scene.chore)
        assert await scene.fired() == []
        scene.leading.token = "other/2"
        await scene.leading.run(scene.new_chore())
        assert await scene.fired() == [START_MS + 60_000]


async def test_two_that_read_the_same_fire_once(redis_url: str) -> None:
    """A reply was lost and the chore runs again on what it had read: the note has moved."""
    async with Scene(redis_url, cron("* * * * *")) as scene:
        await scene.leading.run(scene.chore)
        old = await scene.store.call("HGET", scene.store.keys.cron, "report")
        scene.leading.clock.advance(60_000)
        await scene.leading.run(scene.chore)
        task = scene.queue.definitions["report"].periodic
        assert task is not None
        again = cron_firing(scene.store.keys, "report", task, [DueJob(1, [])], old.decode(), 1)
        assert await fire(scene.store, scene.leading.leadership(), again) == CHANGED
        assert len(await scene.fired()) == 1


@pytest.mark.parametrize("step_ms", [-HOUR, -61_000, -1])
async def test_a_clock_that_is_set_back_doubles_nothing(redis_url: str, step_ms: int) -> None:
    """Redis' clock steps back after a fire: the same minute comes again, and fires no more."""
    async with Scene(redis_url, cron("* * * * *", missed="all")) as scene:
        await scene.until(START + timedelta(minutes=90))
        scene.leading.clock.advance(step_ms)
        await scene.until(START + timedelta(minutes=92))
        assert await scene.fired() == [START_MS + m * 60_000 for m in range(1, 93)]


async def test_a_clock_that_is_set_forward_leaves_nothing_out(redis_url: str) -> None:
    """With `all`, and an hour is looked back on by all means."""
    async with Scene(redis_url, cron("* * * * *", missed="all")) as scene:
        await scene.until(START + timedelta(minutes=5))
        scene.leading.clock.advance(HOUR)
        await scene.until(START + timedelta(minutes=70))
        assert await scene.fired() == [START_MS + m * 60_000 for m in range(1, 71)]


async def test_the_note_moves_with_the_jobs(redis_url: str, redis: Any) -> None:
    """If the jobs can't be enqueued, nothing is settled, and they come later."""
    async with Scene(redis_url, cron("* * * * *")) as scene:
        await scene.leading.run(scene.chore)
        await redis.set("resque:queue:default", "no list")
        scene.leading.clock.advance(60_000)
        assert await scene.leading.run(scene.chore) == 1
        assert [told[0] for told in scene.told] == ["error"]
        await redis.delete("resque:queue:default")
        await scene.leading.run(scene.chore)
        assert await scene.fired() == [START_MS + 60_000]


@pytest.mark.parametrize("ms", ["", "-100000000000000", "nan", "1e400", "9" * 15, "5.5"])
async def test_a_note_that_is_no_time_begins_anew(redis_url: str, redis: Any, ms: str) -> None:
    """Whoever wrote it: it stops neither this task nor the others."""
    jobs = {**cron("* * * * *", missed="all"), "other": {"perform": print, "cron": "@hourly"}}
    async with Scene(redis_url, jobs) as scene:
        await redis.hset(scene.store.keys.cron, "report", f"{ms} * * * * *|UTC")
        await scene.until(START + timedelta(minutes=1))
        assert await scene.fired() == [START_MS + 60_000]
        assert scene.told[1:] == []


# -- pause, stop, trigger, plugins --


async def test_a_pause_leaves_times_out(redis_url: str, redis: Any) -> None:
    """Also where missed ones are made up for: they were not missed."""
    async with Scene(redis_url, cron("* * * * *", missed="all")) as scene:
        verbs = RecurrentJobs(scene.queue)
        await scene.leading.run(scene.chore)
        await verbs.pause("report")
        await scene.until(START + timedelta(minutes=3))
        assert await verbs.trigger("report")
        await redis.delete("resque:queue:default")
        await verbs.resume("report")
        await scene.until(START + timedelta(minutes=5))
        assert await scene.fired() == [START_MS + 240_000, START_MS + 300_000]


async def test_stop_and_start(redis_url: str) -> None:
    """The same verbs as for a frequency; what was queued is removed."""
    async with Scene(redis_url, cron("* * * * *")) as scene:
        verbs = RecurrentJobs(scene.queue)
        await scene.until(START + timedelta(minutes=3))
        assert await verbs.stop_recurrent_job("report") == 3
        await scene.until(START + timedelta(minutes=5))
        assert await scene.fired() == []
        assert await verbs.enqueue_recurrent_job("report")
        assert not await verbs.enqueue_recurrent_job("report")
        await scene.until(START + timedelta(minutes=6))
        assert await scene.fired() == [START_MS + 360_000]


class Odd(Plugin):
    """Forbids even minutes, and one by an error."""

    count = 0

    async def before_enqueue(self, job: Enqueuing) -> bool:
        Odd.count += 1
        if Odd.count == 3:
            raise RuntimeError("boo")
        return Odd.count % 2 == 1


async def test_hooks_may_forbid_a_fire(redis_url: str) -> None:
    """It is settled without a job; a hook that raises is told."""
    Odd.count = 0
    async with Scene(redis_url, cron("* * * * *", plugins=[Odd])) as scene:
        await scene.until(START + timedelta(minutes=5))
        assert await scene.fired() == [START_MS + 60_000, START_MS + 300_000]
        assert [str(told[1]) for told in scene.told if told[0] == "error"] == ["boo"]


class Counts(Plugin):
    """Numbers the fires; forbids the second, spoils the fourth."""

    count = 0

    async def before_enqueue(self, job: Enqueuing) -> bool:
        Counts.count += 1
        job.args[0]["n"] = {1} if Counts.count == 4 else Counts.count
        return Counts.count != 2


async def test_hooks_may_change_a_fire(redis_url: str, redis: Any) -> None:
    """Each by itself, with its own lock, also where many are enqueued in one step; one that is spoilt is told."""
    Counts.count = 0
    jobs = cron("* * * * *", missed="all", plugins=[Counts, "QueueLock"])
    async with Scene(redis_url, jobs) as scene:
        await scene.leading.run(scene.chore)
        scene.leading.clock.advance(300_000)
        await scene.leading.run(scene.chore)
        found = await redis.lrange("resque:queue:default", 0, -1)
        events = [told[2]["args"] for told in scene.told if told[0] == "enqueue"]
        [error] = [str(told[1]) for told in scene.told if told[0] == "error"]
    assert [raw.decode() for raw in found] == [
        f'{{"class":"report","queue":"default","args":[{{"n":{n}}}],"resqpy_at":{START_MS + n * 60_000}}}'
        for n in (1, 3, 5)
    ]
    assert events == [[{"n": 1}], [{"n": 3}], [{"n": 5}]]
    assert "Counts" in error
    assert "args[0].n: set" in error
    locks = sorted(key.decode() for key in await redis.keys("resque:lock:*"))
    assert locks == [f'resque:lock:report:default:[{{"n":{n}}}]' for n in (1, 3, 5)]


async def test_a_lock_forbids_a_fire(redis_url: str) -> None:
    """QueueLock: one in the queue."""
    async with Scene(redis_url, cron("* * * * *", plugins=["QueueLock"])) as scene:
        await scene.until(START + timedelta(minutes=5))
        assert await scene.fired() == [START_MS + 60_000]


# -- all together --


async def test_the_task_learns_the_time_for_which_it_runs(redis_url: str, redis: Any) -> None:
    """Three schedulers, one worker, real time: each second once, on the second."""
    planned: list[Callable[[], Any] | datetime | None] = []

    async def perform(*_: Any) -> None:
        planned.append(current_run.get().scheduled_at)

    jobs = {"t": {"perform": perform, "cron": "* * * * * *", "queue": "q"}}
    schedulers = [Scheduler(redis_url, jobs, SchedulerOptions(lease_s=0.5)) for _ in range(3)]
    worker = Worker(redis_url, jobs, ["q"])
    for role in (*schedulers, worker):
        await role.start()
    try:
        await wait_for(lambda: len(planned) >= 3)
        leader = next(each for each in schedulers if each.leader)
        await leader.stop()
        await wait_for(lambda: len(planned) >= 5)
    finally:
        for role in (*schedulers, worker):
            await role.stop()
    times = [at for at in planned if isinstance(at, datetime)]
    assert [later - earlier for earlier, later in itertools.pairwise(times)] == [
        timedelta(seconds=1)
    ] * (len(times) - 1)
    assert all(at.microsecond == 0 for at in times)
    assert ON_TIME_MS >= 15_000


# -- the history --


async def history(scene: Scene, name: str = "report") -> list[tuple[int, int, str]]:
    """The fires that are noted: when planned, how late, and what became of the job."""
    found = await ScheduleView(scene.queue).history(name)
    return [(each.planned_ms, each.fired_ms - each.planned_ms, each.outcome) for each in found]


class Refuses(Plugin):
    """Forbids jobs."""

    async def before_enqueue(self, job: Enqueuing) -> bool:
        return False


async def test_each_fire_has_one_row(redis_url: str) -> None:
    """With how late it was, whoever leads; what the rule for missed times leaves out did not fire."""
    async with Scene(redis_url, cron("@hourly", missed="once")) as scene:
        await scene.until(START + timedelta(hours=2, minutes=30))
        scene.leading.clock.advance(5 * HOUR)  # nobody leads
        await scene.leading.take_over("next/2")
        scene.leading.token, scene.chore = "next/2", scene.new_chore()
        await scene.until(START + timedelta(hours=8))
        hours = [START_MS + hour * HOUR for hour in (1, 2, 7, 8)]

        assert [(at, told) for at, _, told in await history(scene)] == [
            (h, "enqueued") for h in hours
        ]
        assert [late for _, late, _ in await history(scene)] == [0, 0, HOUR // 2, 0]
        assert await scene.fired() == hours


async def test_a_fire_that_was_faster_elsewhere_has_no_second_row(redis_url: str) -> None:
    """Jobs, note and row are one step."""
    async with Scene(redis_url, cron("@hourly")) as scene:
        await scene.until(START)
        keys, task = scene.store.keys, own_tasks(scene.queue.definitions)["report"]
        old = (await scene.store.call("HGET", keys.cron, "report")).decode()
        firing = cron_firing(keys, "report", task, [DueJob(START_MS, ())], old, START_MS + 1)
        noted = History(keys.fires("task", "report"), START_MS + 5, [START_MS], [])
        done = [await fire(scene.store, None, firing._replace(history=noted)) for _ in range(2)]

        assert done == [1, CHANGED]
        assert await history(scene) == [(START_MS, 5, "enqueued")]


async def test_what_a_lock_refuses_or_a_hook_forbids_has_a_row(redis_url: str) -> None:
    """That says so."""
    jobs = {
        "locked": {"perform": print, "cron": "@hourly", "plugins": ["QueueLock"]},
        "never": {"perform": print, "cron": "@hourly", "plugins": [Refuses]},
    }
    async with Scene(redis_url, jobs) as scene:
        await scene.until(START + timedelta(hours=2))

        assert [told for *_, told in await history(scene, "never")] == ["forbidden"] * 2
        locked = [told for *_, told in await history(scene, "locked")]
        assert locked[0] == "enqueued"
        assert len(locked) == 2


async def test_a_history_is_bounded(redis_url: str, redis: Any) -> None:
    """And expires; one of another type stops no fire."""
    async with Scene(redis_url, cron("@hourly")) as scene:
        await scene.until(START + timedelta(hours=HISTORY + 5))
        found = await history(scene)
        key = scene.store.keys.fires("task", "report")
        left_ms = await redis.pttl(key)
        await redis.set(key, "x")
        await scene.until(START + timedelta(hours=HISTORY + 6))

        assert (len(found), found[0][0]) == (HISTORY, START_MS + 6 * HOUR)
        assert 0 < left_ms <= HISTORY_MS
        assert len(await scene.fired()) == HISTORY + 6
