"""Tasks with a frequency: one job in the cluster, again after each end, to the millisecond."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest

from resqpy.base.errors import InvalidTask, UnknownTask
from resqpy.engine.definition import define
from resqpy.engine.plugin import Enqueuing, Plugin
from resqpy.engine.queue.periodic import RecurrentJobs
from resqpy.engine.queue.queue import Queue
from resqpy.engine.run import current_run
from resqpy.engine.worker.worker import Worker
from resqpy.framework.api.scheduler import Scheduler
from resqpy.framework.config.sections import SchedulerOptions
from resqpy.schedules import tasks
from tests.support.waiting import wait_for

Jobs = Mapping[str, Any]
Start = Callable[..., Awaitable[Any]]

DUE, OUT = "resque:resqpy:periodic:due", "resque:resqpy:periodic:out"


class Runs:
    """Notes the runs of a task: when each began, and for which time."""

    def __init__(self, takes_s: float = 0, fails: bool = False) -> None:
        self.began: list[float] = []
        self.planned: list[int] = []
        self.at_once = self.most_at_once = 0
        self.takes_s, self.fails = takes_s, fails

    async def perform(self, inputs: Any) -> None:
        assert inputs == {}
        self.began.append(time.time())
        planned = current_run.get().scheduled_at
        self.planned.append(0 if planned is None else round(planned.timestamp() * 1000))
        self.at_once += 1
        self.most_at_once = max(self.at_once, self.most_at_once)
        await asyncio.sleep(self.takes_s)
        self.at_once -= 1
        if self.fails:
            raise RuntimeError("boo")

    def job(self, frequency: Any = 100, **more: Any) -> Jobs:
        """A project with the task `tick`."""
        return {"tick": {"perform": self.perform, "frequency": frequency, "queue": "q", **more}}


@pytest.fixture
def errors() -> list[Exception]:
    """What the schedulers told as errors."""
    return []


@pytest.fixture
async def start(redis_url: str, errors: list[Exception]) -> AsyncIterator[Start]:
    """A function that starts schedulers or workers, which end with the test."""
    started: list[Any] = []

    async def begin(kind: Any, jobs: Jobs, **options: Any) -> Any:
        if kind is Scheduler:
            role: Any = Scheduler(redis_url, jobs, SchedulerOptions(**{"lease_s": 0.5, **options}))
            role.on("error", errors.append)
        else:
            role = Worker(redis_url, jobs, ["q"])
        started.append(role)
        await role.start()
        return role

    yield begin
    for role in reversed(started):
        await role.stop(*([1] if isinstance(role, Worker) else []))


@pytest.fixture
async def verbs(redis_url: str) -> AsyncIterator[Callable[[Jobs], RecurrentJobs]]:
    """A function that makes the verbs for some tasks."""
    queues: list[Queue] = []

    def make(jobs: Jobs) -> RecurrentJobs:
        queues.append(Queue(redis_url, jobs))
        return RecurrentJobs(queues[-1])

    yield make
    for queue in queues:
        await queue.close()


async def queued(redis: Any) -> list[dict[str, Any]]:
    """The jobs of the queue."""
    return [json.loads(raw) for raw in await redis.lrange("resque:queue:q", 0, -1)]


# -- the definition --


def test_a_definition_knows_its_times() -> None:
    """Frequency or cron, in milliseconds, with queue and arguments."""
    task = define("t", print, frequency=timedelta(seconds=2), queue="q")
    assert task.periodic is not None
    assert (task.periodic.frequency_ms, task.queue, task.periodic.args) == (2000, "q", ({},))
    assert define("t", print, queue="q").periodic is None
    task = define("t", print, cron="*/5 * * * * *", timezone="Europe/Berlin", missed="all")
    assert task.periodic is not None
    assert task.periodic.cron_text == "*/5 * * * * *|Europe/Berlin"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"frequency": 1000, "cron": "* * * * *"}, "cron and frequency"),
        ({"frequency": -1}, "negative"),
        ({"cron": "* * *"}, "3 fields"),
        ({"cron": "* * * * *", "missed": "never"}, "'skip', 'once' or 'all'"),
        ({"cron": "* * * * *", "timezone": "Mars/Base"}, "Mars/Base"),
    ],
)
def test_contradictions_are_refused(words: Any, message: str) -> None:
    """With the task's name and what to write."""
    with pytest.raises(InvalidTask, match=message):
        define("t", print, **words)


# -- the rhythm --


async def test_ten_times_a_second(start: Start, redis: Any) -> None:
    """A task of 100 ms keeps its grid though each run takes a while, and knows its times."""
    runs = Runs(takes_s=0.01)
    await start(Worker, runs.job(100))
    await start(Scheduler, runs.job(100))

    def kept() -> bool:  # for a second; a busy machine may leave out a time before
        planned = runs.planned[-11:]
        late = sorted(
            began * 1000 - at for began, at in zip(runs.began[-11:], planned, strict=True)
        )
        return len(planned) == 11 and planned[-1] - planned[0] < 1300 and late[5] < 50

    await wait_for(kept)

    assert all((at - runs.planned[0]) % 100 == 0 for at in runs.planned)
    assert min(began * 1000 - at for began, at in zip(runs.began, runs.planned, strict=True)) > -2


async def test_one_at_a_time_however_many_nodes(start: Start, redis: Any) -> None:
    """Three schedulers and three workers: there is one job, and the next comes after its end."""
    runs = Runs(takes_s=0.15)
    for _ in range(3):
        await start(Worker, runs.job(50))
        await start(Scheduler, runs.job(50))

    await wait_for(lambda: len(runs.began) >= 5)

    assert runs.most_at_once == 1
    gaps = [later - earlier for earlier, later in zip(runs.began, runs.began[1:], strict=False)]
    assert min(gaps) >= 0.15
    assert len(await queued(redis)) <= 1


async def test_boot_enqueues_once_and_a_second_boot_nothing(
    verbs: Callable[[Jobs], RecurrentJobs], redis: Any
) -> None:
    """The chain is announced by every process; only the first begins it."""
    first, second = verbs(Runs().job(60_000)), verbs(Runs().job(60_000))
    assert await first.enqueue_all_recurrent_jobs() == ["tick"]
    assert await second.enqueue_all_recurrent_jobs() == []
    assert not await second.enqueue_recurrent_job("tick")
    assert await redis.zcard(DUE) == 1


async def test_the_job_is_a_plain_one_with_its_time_beside(start: Start, redis: Any) -> None:
    """Foreign workers see class, queue and the arguments of a task without inputs."""
    await start(Scheduler, Runs().job(60_000))
    await wait_for(lambda: redis.llen("resque:queue:q"))
    (job,) = await queued(redis)
    at = job.pop("resqpy_at")
    assert job == {"class": "tick", "queue": "q", "args": [{}]}
    assert await redis.smembers("resque:queues") == {b"q"}
    assert await redis.hget(OUT, "tick") == str(at).encode()


async def test_the_next_run_is_written_in_the_step_that_ends_the_run(
    start: Start, redis: Any
) -> None:
    """At no time is the chain nowhere: it is due again when the run is over."""
    runs = Runs()
    await start(Worker, runs.job(60_000))
    await start(Scheduler, runs.job(60_000))
    await wait_for(lambda: redis.zcard(DUE))
    await wait_for(lambda: redis.get("resque:stat:processed"))
    assert await redis.hlen(OUT) == 0
    ((_, due),) = await redis.zrange(DUE, 0, -1, withscores=True)
    assert due == runs.planned[0] + 60_000


# -- failures --


async def test_a_failing_run_does_not_end_the_chain(start: Start, redis: Any) -> None:
    """Each failure is in the failed list, and the task goes on."""
    runs = Runs(fails=True)
    await start(Worker, runs.job(50))
    await start(Scheduler, runs.job(50))
    await wait_for(lambda: len(runs.began) >= 3)
    assert await redis.llen("resque:failed") >= 2


async def test_a_failure_ends_the_chain_if_the_task_says_so(
    start: Start, redis: Any, verbs: Callable[[Jobs], RecurrentJobs]
) -> None:
    """Until somebody starts it, or a process does that starts; the leader lets it be."""
    runs = Runs(fails=True)
    jobs = runs.job(50, re_enqueue_on_exception=False)
    await start(Worker, jobs)
    scheduler = await start(Scheduler, jobs)
    await wait_for(lambda: redis.hget("resque:resqpy:periodic:stopped", "tick"))
    scheduler.wake("frequency")
    await asyncio.sleep(0.2)
    assert len(runs.began) == 1

    assert await verbs(jobs).enqueue_all_recurrent_jobs() == ["tick"]
    await wait_for(lambda: len(runs.began) == 2)


async def test_a_retried_run_is_still_the_one(start: Start, redis: Any) -> None:
    """While its retry is delayed, no other job of the chain is enqueued."""
    runs = Runs(fails=True)
    jobs = runs.job(
        50, plugins=["Retry"], plugin_options={"Retry": {"retry_limit": 2, "retry_delay": 500}}
    )
    await start(Worker, jobs)
    await start(Scheduler, jobs)
    await wait_for(lambda: len(runs.began) >= 2)
    assert runs.planned[0] == runs.planned[1]
    await wait_for(lambda: len(runs.began) >= 3)
    assert runs.planned[2] > runs.planned[1]


# -- stop, pause, trigger --


async def test_stop_removes_what_waits(
    start: Start, redis: Any, verbs: Callable[[Jobs], RecurrentJobs]
) -> None:
    """The next run and queued jobs count; the leader and other boots let it be until it is started."""
    jobs = Runs().job(50)
    scheduler = await start(Scheduler, jobs)
    await wait_for(lambda: redis.llen("resque:queue:q"))
    ours = verbs(jobs)
    await redis.rpush(
        "resque:queue:q", b'{"class":"tick","args":[]}', b'{"class":"other","args":[]}'
    )

    assert await ours.stop_recurrent_job("tick") == 2

    assert [job["class"] for job in await queued(redis)] == ["other"]
    await ours.enqueue_all_recurrent_jobs()
    scheduler.wake("frequency")
    await asyncio.sleep(0.2)
    assert len(await queued(redis)) == 1
    assert await ours.enqueue_recurrent_job("tick")
    await wait_for(lambda: _length_is(redis, 2))
    await start(Worker, jobs)
    assert await ours.stop_recurrent_job("tick") <= 1


async def _length_is(redis: Any, length: int) -> bool:
    return bool(await redis.llen("resque:queue:q") == length)


async def test_stopped_while_it_runs_it_ends_and_is_the_last(
    start: Start, redis: Any, verbs: Callable[[Jobs], RecurrentJobs]
) -> None:
    """The end of a run does not start a chain again that was stopped meanwhile."""
    runs = Runs(takes_s=0.2)
    jobs = runs.job(20)
    await start(Worker, jobs)
    await start(Scheduler, jobs)
    await wait_for(lambda: runs.at_once)
    await verbs(jobs).stop_recurrent_job("tick")
    await wait_for(lambda: redis.get("resque:stat:processed"))
    await asyncio.sleep(0.1)
    assert len(runs.began) == 1
    assert await redis.zcard(DUE) == 0


async def test_pause_resume_trigger(
    start: Start, redis: Any, verbs: Callable[[Jobs], RecurrentJobs]
) -> None:
    """A paused chain stays where it is; triggered, its next job comes now, one at a time."""
    jobs = Runs().job(60_000)
    ours = verbs(jobs)
    assert await ours.pause("tick") if await ours.enqueue_all_recurrent_jobs() else False
    assert not await ours.pause("tick")
    scheduler = await start(Scheduler, jobs)
    await wait_for(lambda: scheduler.leader)
    await asyncio.sleep(0.1)
    assert await queued(redis) == []

    assert await ours.trigger("tick")
    assert not await ours.trigger("tick")
    assert len(await queued(redis)) == 1

    await redis.delete("resque:queue:q", OUT)
    await redis.zadd(DUE, {"tick": 1000})
    assert await ours.resume("tick")
    await wait_for(lambda: _length_is(redis, 1))


async def test_an_unknown_name_is_told_with_the_nearest(
    verbs: Callable[[Jobs], RecurrentJobs],
) -> None:
    """Whatever the verb."""
    ours = verbs(Runs().job())
    for verb in (ours.stop_recurrent_job, ours.enqueue_recurrent_job, ours.pause, ours.trigger):
        with pytest.raises(UnknownTask, match="tick"):
            await verb("tikc")


# -- plugins --


class Shy(Plugin):
    """Forbids the first two."""

    asked = 0

    async def before_enqueue(self, job: Enqueuing) -> bool:
        Shy.asked += 1
        return Shy.asked > 2


async def test_hooks_and_locks_are_asked(start: Start, redis: Any) -> None:
    """A job that a plugin forbids is left out; the chain goes on with its next time."""
    Shy.asked = 0
    jobs = Runs().job(40, plugins=[Shy, "QueueLock"])
    await redis.set("resque:lock:tick:q:[{}]", str(int(time.time()) + 100))
    await start(Scheduler, jobs)
    await wait_for(lambda: Shy.asked >= 5)
    assert await queued(redis) == []
    await redis.delete("resque:lock:tick:q:[{}]")
    await wait_for(lambda: _length_is(redis, 1))
    assert await redis.exists("resque:lock:tick:q:[{}]")


# -- broken chains --


async def test_a_foreign_worker_ran_it(start: Start, redis: Any) -> None:
    """It took the job and told nobody; within a period (at least a second) the next one comes."""
    scheduler = await start(Scheduler, Runs().job(1000))
    told: list[int] = []
    scheduler.on("re_enqueue", lambda at, _: told.append(at))
    first = json.loads((await redis.blpop("resque:queue:q", 5))[1])
    await wait_for(lambda: redis.llen("resque:queue:q"))
    (second,) = await queued(redis)
    assert second["resqpy_at"] - first["resqpy_at"] in range(1000, 10_000, 1000)
    assert told == [second["resqpy_at"]]


async def test_a_foreign_worker_still_runs_it(start: Start, redis: Any) -> None:
    """Node's record of it, with other spelling, protects a long run from a second one."""
    await start(Scheduler, Runs().job(1000))
    job = json.loads((await redis.blpop("resque:queue:q", 5))[1])
    record = {"worker": "n:1", "payload": dict(reversed(job.items())), "queue": "q", "run_at": "x"}
    await redis.set("resque:worker:n:1:q", json.dumps(record).replace(" ", ""))
    await redis.sadd("resque:workers", "n:1:q")
    await asyncio.sleep(2.2)
    assert await queued(redis) == []
    await redis.delete("resque:worker:n:1:q")
    await wait_for(lambda: redis.llen("resque:queue:q"))


async def test_a_flushed_redis(start: Start, redis: Any) -> None:
    """The leader announces its tasks again, and their chains begin anew."""
    runs = Runs()
    scheduler = await start(Scheduler, runs.job(60_000))
    await start(Worker, runs.job(60_000))
    await wait_for(lambda: runs.began)
    await redis.flushall()
    await wait_for(lambda: scheduler.leader)
    await wait_for(lambda: len(runs.began) == 2)


class Stamps(Plugin):
    """Changes what is enqueued."""

    async def before_enqueue(self, job: Enqueuing) -> bool:
        job.args[0]["stamp"] = time.time_ns()
        return True


async def test_the_job_is_looked_for_everywhere(start: Start, redis: Any) -> None:
    """Waiting long in its queue, it is not doubled, also where a hook has changed it."""
    stamped = define("stamped", print, frequency=300, queue="q", plugins=[Stamps])
    await start(Scheduler, {**Runs().job(300), "stamped": stamped})
    await wait_for(lambda: _length_is(redis, 2))
    await asyncio.sleep(2.0)
    assert sorted(job["class"] for job in await queued(redis)) == ["stamped", "tick"]


async def test_a_job_that_a_hook_changed_is_stopped(
    redis: Any, verbs: Callable[[Jobs], RecurrentJobs]
) -> None:
    """Triggered, then put off: it is known by what it was changed to."""
    ours = verbs(Runs().job(3_600_000, plugins=[Stamps]))
    assert await ours.enqueue_recurrent_job("tick")
    assert await ours.trigger("tick")
    assert not await ours.trigger("tick")
    raw = await redis.lpop("resque:queue:q")
    assert json.loads(raw)["args"][0]["stamp"]
    when = str(int(time.time()) + 1000)
    await redis.rpush(f"resque:delayed:{when}", raw)
    await redis.sadd(b"resque:timestamps:" + raw, f"delayed:{when}")
    await redis.zadd("resque:delayed_queue_schedule", {when: when})
    assert await ours.stop_recurrent_job("tick") == 1
    assert await redis.keys("resque:*delayed:*") == []


@pytest.mark.parametrize("junk", ["-1e14", "1000.5", "inf"])
async def test_a_time_that_is_none_is_dropped(
    start: Start, redis: Any, errors: list[Exception], junk: str
) -> None:
    """And told; the chain begins anew."""
    await redis.zadd(DUE, {"tick": junk})
    await start(Scheduler, Runs().job(3_600_000))
    await wait_for(lambda: redis.llen("resque:queue:q"))
    assert [DUE in str(error) for error in errors] == [True]


# -- other code in the same cluster --


async def test_a_leader_runs_tasks_it_does_not_have(
    start: Start, redis: Any, verbs: Callable[[Jobs], RecurrentJobs]
) -> None:
    """What a process of another project has announced."""
    await verbs(Runs().job(100)).enqueue_all_recurrent_jobs()
    await start(Scheduler, {})
    await wait_for(lambda: redis.llen("resque:queue:q"))


async def test_a_task_that_nobody_has_any_more_is_not_run(
    start: Start, redis: Any, verbs: Callable[[Jobs], RecurrentJobs]
) -> None:
    """Not announced for a minute: it rests; announced again, it goes on where it was."""
    ours = verbs(Runs().job(100))
    await ours.enqueue_all_recurrent_jobs()
    seconds, _ = await redis.time()
    old = seconds * 1000 - tasks.INACTIVE_AFTER_MS - 1000
    await redis.zadd("resque:resqpy:periodic:seen", {"tick": old})
    scheduler = await start(Scheduler, {})
    await wait_for(lambda: scheduler.leader)
    await asyncio.sleep(0.2)
    assert await queued(redis) == []
    await ours.enqueue_all_recurrent_jobs()
    await wait_for(lambda: redis.llen("resque:queue:q"))


async def test_after_a_week_it_is_forgotten(
    start: Start, redis: Any, verbs: Callable[[Jobs], RecurrentJobs]
) -> None:
    """Nothing of it is left in Redis."""
    await verbs(Runs().job(100)).enqueue_all_recurrent_jobs()
    await redis.zadd("resque:resqpy:periodic:seen", {"tick": 1000})
    await start(Scheduler, {})
    await wait_for(lambda: _none(redis))


async def _none(redis: Any) -> bool:
    return not await redis.keys("resque:resqpy:periodic:*")


async def test_a_task_that_has_a_cron_by_now_loses_its_chain(
    start: Start, redis: Any, verbs: Callable[[Jobs], RecurrentJobs]
) -> None:
    """The version that started last counts."""
    await verbs(Runs().job(60_000)).enqueue_all_recurrent_jobs()
    await start(Scheduler, {"tick": {"perform": print, "cron": "0 0 1 1 *", "queue": "q"}})
    await wait_for(lambda: _no_chain(redis))


async def _no_chain(redis: Any) -> bool:
    return not await redis.zcard(DUE)


async def test_a_shorter_frequency_counts_at_once(
    start: Start, redis: Any, verbs: Callable[[Jobs], RecurrentJobs]
) -> None:
    """A chain that would be due tomorrow is due within the new period."""
    await verbs(Runs().job(86_400_000)).enqueue_all_recurrent_jobs()
    seconds, _ = await redis.time()
    await redis.zadd(DUE, {"tick": (seconds + 80_000) * 1000})
    await start(Scheduler, Runs().job(200))
    await wait_for(lambda: redis.llen("resque:queue:q"))


async def test_what_cannot_be_read_is_told_and_left_alone(
    start: Start, redis: Any, errors: list[Exception]
) -> None:
    """An announcement of a version to come does not stop the others."""
    await redis.hset("resque:resqpy:periodic:tasks", "odd", b'{"lunar":1}')
    seconds, _ = await redis.time()
    await redis.zadd("resque:resqpy:periodic:seen", {"odd": seconds * 1000})
    runs = Runs()
    await start(Worker, runs.job(50))
    await start(Scheduler, runs.job(50))
    await wait_for(lambda: len(runs.began) > 3)
    assert len([error for error in errors if "odd" in str(error)]) == 1


async def test_a_queue_that_is_no_list_harms_nobody_else(
    start: Start, redis: Any, errors: list[Exception]
) -> None:
    """The error is told, and the other tasks keep their rhythm."""
    await redis.set("resque:queue:bad", "text")
    runs = Runs()
    jobs = {**runs.job(50), "bad": {"perform": print, "frequency": 50, "queue": "bad"}}
    await start(Worker, jobs)
    await start(Scheduler, jobs)
    await wait_for(lambda: len(runs.began) > 5)
    assert any("WRONGTYPE" in str(error) for error in errors)
