"""`Snooze`: a job is run later, which is neither a failure nor an attempt; its count, and Retry beside it."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from resqpy import Plugin, Run, Snooze, SnoozedTooOften, UsageError, current_run
from resqpy.base import codec
from resqpy.engine.definition import define
from resqpy.engine.worker.worker import Worker
from resqpy.store import rescue
from tests.plugins.conftest import MakeStage
from tests.plugins.stage import Stage
from tests.support.redis_state import ttls

ITEM = b'{"class":"job","queue":"q","args":[1,"x"]}'
NOTES = "resque:resqpy:rescues"
DAY_MS = 86_400_000


class Sleepy:
    """Says in each run how it ends: with an error, a Snooze, or a result; and what it knew of itself."""

    def __init__(self, *ends: Any) -> None:
        self.ends = list(ends)
        self.seen: list[int] = []

    def __call__(self, *_: Any) -> Any:
        """End as planned."""
        self.seen.append(current_run.get().snoozed)
        end = self.ends.pop(0)
        if isinstance(end, Exception):
            raise end
        return end

    async def on_loop(self, *args: Any) -> Any:
        """The same as a coroutine."""
        return self(*args)


async def through(stage: Stage, most: int = 10) -> list[tuple[str, Any]]:
    """Run one job until nothing is delayed any more; its ends."""
    await stage.queue.enqueue("q", "job", [1, "x"])
    for _ in range(most):
        await stage.drain()
        if not await stage.come_due():
            break
    return stage.events


@pytest.mark.parametrize("kind", ["async", "thread"])
async def test_a_snoozed_job_is_a_plain_delayed_job(make_stage: MakeStage, kind: str) -> None:
    """Its bytes are as they were, nothing is counted, and its count stands beside it."""
    task = Sleepy(Snooze(5000, reason="not yet"), "done")
    stage = make_stage(job=define("job", task.on_loop if kind == "async" else task))
    await stage.queue.enqueue("q", "job", [1, "x"])
    before = time.time()
    await stage.drain()

    left = await stage.left()
    [second] = left["resque:delayed_queue_schedule"]
    note = f"0/{second}/1"
    assert before + 5 <= int(second) <= time.time() + 6
    assert left == {
        "resque:queues": {"q"},
        "resque:delayed_queue_schedule": {second: float(second)},
        f"resque:delayed:{second}": [ITEM.decode()],
        f"resque:timestamps:{ITEM.decode()}": {f"delayed:{second}"},
        NOTES: {codec.digest(ITEM): note},
    }
    assert stage.events == [("snoozed", {"delay": 5000, "snoozed": 1, "reason": "not yet"})]

    await stage.come_due()
    await stage.drain()

    assert await stage.left() == {"resque:queues": {"q"}, "resque:stat:processed": "1"}
    assert task.seen == [0, 1]


async def test_so_often_and_no_more(make_stage: MakeStage) -> None:
    """Then it fails, is not retried, and is forgotten: a retry by hand starts from zero."""
    sleepy = Sleepy(*[Snooze(timedelta(hours=1), reason="no rate yet", most=2) for _ in range(3)])
    job = define(
        "job", sleepy.on_loop, plugins=["Retry"], plugin_options={"Retry": {"retryLimit": 5}}
    )
    stage = make_stage(job=job)
    events = await through(stage)

    assert [name for name, _ in events] == ["snoozed", "snoozed", "failure"]
    error = events[-1][1]
    assert isinstance(error, SnoozedTooOften)
    assert isinstance(error.__cause__, Snooze)
    assert (await stage.left()).keys() == {"resque:queues", "resque:stat:failed", "resque:failed"}
    [entry] = (await stage.left())["resque:failed"]
    assert '"exception":"SnoozedTooOften"' in entry
    assert "2 times, which is its limit: no rate yet" in entry
    assert sleepy.seen == [0, 1, 2]


async def test_attempts_and_their_delays_are_as_without(
    make_stage: MakeStage, redis: Redis
) -> None:
    """A snooze is no attempt, and no success either: what was counted stays, and outlasts the delay."""
    ends = [OSError(), Snooze(timedelta(days=9)), OSError(), Snooze(5000), OSError(), "done"]
    sleepy = Sleepy(*ends)
    options = {"retryLimit": 4, "backoffStrategy": [1000, 60_000, 3_600_000]}
    stage = make_stage(
        job=define("job", sleepy.on_loop, plugins=["Retry"], plugin_options={"Retry": options})
    )
    await stage.queue.enqueue("q", "job", [1, "x"])
    for _ in range(2):
        await stage.drain()
        await stage.come_due()
    lives_ms = await ttls(redis)
    for _ in range(4):
        await stage.drain()
        await stage.come_due()

    delays = [told["delay"] for name, told in stage.events if name == "re_enqueue"]
    assert delays == [1000, 60_000, 3_600_000]
    assert [name for name, _ in stage.events].count("snoozed") == 2
    assert stage.events[-1] == ("success", "done")
    assert sleepy.seen == [0, 0, 1, 1, 2, 2]
    assert lives_ms["resque:resque-retry:job:1-x"] > 9 * DAY_MS
    assert lives_ms["resque:failure-resque-retry:job:1-x"] > 9 * DAY_MS
    assert await stage.left() == {
        "resque:queues": {"q"},
        "resque:stat:processed": "1",
        "resque:stat:failed": "3",
    }


async def test_its_lock_is_free_meanwhile(make_stage: MakeStage) -> None:
    """As at any other end."""
    stage = make_stage(job=define("job", Sleepy(Snooze(5000)).on_loop, plugins=["JobLock"]))
    await stage.queue.enqueue("q", "job", [1, "x"])
    await stage.drain()

    assert [key for key in await stage.left() if "lock" in key] == []


async def test_a_plugin_that_breaks_afterwards(make_stage: MakeStage) -> None:
    """Fails the job, whatever the task wanted; nothing is noted."""

    class Breaking(Plugin):
        async def after_perform(self, run: Run) -> None:
            raise KeyError

    stage = make_stage(job=define("job", Sleepy(Snooze(5000)).on_loop, plugins=[Breaking]))
    events = await through(stage)

    assert [type(told) for _, told in events] == [KeyError]
    assert NOTES not in await stage.left()


class Gate(Plugin):
    """Raises at one place what its option holds, as often as that lasts."""

    option_names = frozenset({"at", "ends"})

    def _pass(self, at: str) -> None:
        ends = self.options["ends"]
        if at == self.options["at"] and ends and (end := ends.pop(0)) is not None:
            raise end

    async def before_perform(self, run: Run) -> bool:
        """Before the run."""
        self._pass("before")
        return True

    async def after_perform(self, run: Run) -> None:
        """After it, whatever came of it."""
        try:
            self._pass("after")
            self._pass("set")
        except Snooze as snooze:
            if self.options["at"] == "after":
                raise
            run.error = snooze


@pytest.mark.parametrize("at", ["before", "after", "set"])
@pytest.mark.parametrize("end", ["done", OSError()])
async def test_a_plugin_may_snooze_too(make_stage: MakeStage, at: str, end: Any) -> None:
    """For all tasks of a service that is away, say: neither a failure nor an attempt, and counted alike."""
    sleepy = Sleepy(*([end] if at == "before" else [end, end]), "done", "done")
    gate = {"at": at, "ends": [Snooze(5000), Snooze(60_000, reason="away", most=2), None]}
    options: dict[str, dict[str, Any]] = {"Gate": gate, "Retry": {"retryLimit": 2}}
    job = define("job", sleepy.on_loop, plugins=["Retry", Gate], plugin_options=options)
    stage = make_stage(job=job)
    events = await through(stage)

    assert events[:2] == [
        ("snoozed", {"delay": 5000, "snoozed": 1}),
        ("snoozed", {"delay": 60_000, "snoozed": 2, "most": 2, "reason": "away"}),
    ]
    assert events[-1] == ("success", "done")
    assert [name for name, _ in events[2:-1]] == ["re_enqueue"] * (at == "before" and end != "done")
    assert sleepy.seen[-1] == 2


async def test_a_plugin_snoozes_no_more_than_it_may(make_stage: MakeStage) -> None:
    """Then the job fails as that of a task does."""
    gate = {"at": "before", "ends": [Snooze(5000, most=1), Snooze(5000, most=1)]}
    job = define("job", Sleepy("done").on_loop, plugins=[Gate], plugin_options={"Gate": gate})
    events = await through(make_stage(job=job))
    assert [(name, type(told)) for name, told in events] == [
        ("snoozed", dict),
        ("failure", SnoozedTooOften),
    ]


async def test_what_is_noted_of_jobs(make_stage: MakeStage, redis: Redis) -> None:
    """Losses and snoozes side by side, kept from when the job is due on."""
    digest, store = codec.digest(ITEM), make_stage().queue.store
    now_s = await store.time_us() // 1_000_000
    texts: dict[Any, Any] = {
        digest: f"1/{now_s + 900}/4",
        "old": f"0/{now_s - 900}/4",
        "odd": "1/x/3",
        "less": "2",
    }
    await redis.hset(NOTES, mapping=texts)
    notes = await rescue.notes(store, [digest, "odd", "less", "none"])

    assert [tuple(each) for each in notes] == [(1, 4), (1, 3), (2, 0), (0, 0)]
    assert await rescue.forget_old_counts(store, now_s) == 3
    assert await redis.hkeys(NOTES) == [digest.encode()]


async def test_run_by_hand_it_says_so(redis_url: str) -> None:
    """There is nothing to be delayed: the caller gets it."""
    worker = Worker(redis_url, {"job": define("job", Sleepy(Snooze(5000)).on_loop)})
    with pytest.raises(Snooze):
        await worker.perform_inline("job")
    await worker.store.close()


@pytest.mark.parametrize(
    ("delay", "more", "words"),
    [
        (60, {}, "use 60000, or a timedelta"),
        (-1, {}, "negative"),
        ("5m", {}, "neither milliseconds nor a timedelta"),
        (5000, {"most": 0}, "most=0"),
        (5000, {"most": True}, "most=True"),
    ],
)
def test_what_is_no_snooze(delay: Any, more: Any, words: str) -> None:
    """Seconds by mistake above all."""
    with pytest.raises(UsageError, match=words):
        Snooze(delay, **more)


def test_what_is_one() -> None:
    """A timedelta may be short, for a tracked task."""
    assert Snooze(timedelta(milliseconds=200)).delay_ms == 200
    assert (Snooze(0).delay_ms, str(Snooze(1500))) == (0, "for 1500 ms")
