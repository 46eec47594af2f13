"""Retry on the real Redis: counts, delays, clean-up, and who is not tried again."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from resqpy import Plugin
from resqpy.base.errors import UsageError
from resqpy.base.when import Backoff
from resqpy.engine.definition import define
from resqpy.engine.run import Run
from resqpy.plugins import Retry
from resqpy.plugins.retry import RetryDelays
from tests.plugins.conftest import MakeStage
from tests.plugins.stage import Gate, Stage
from tests.support.redis_state import ttls

COUNT = "resque:resque-retry:job:1-x"
FAILURE = "resque:failure-resque-retry:job:1-x"
ITEM = '{"class":"job","queue":"q","args":[1,"x"]}'
DAY_MS = 86_400_000


class Boom(Exception):
    """What the tasks raise."""


class Flaky:
    """Fails so many times, then succeeds."""

    def __init__(self, failures: int, error: BaseException | None = None) -> None:
        self.failures = failures
        self.error = error or Boom("boo")
        self.runs = 0

    async def __call__(self, *_: Any) -> int:
        """Fail or count."""
        self.runs += 1
        if self.runs <= self.failures:
            raise self.error
        return self.runs


def retried(perform: Any, plugins: tuple[Any, ...] = (), **options: Any) -> Any:
    """A task with Retry inside other plugins."""
    return define("job", perform, plugins=[*plugins, "Retry"], plugin_options={"Retry": options})


async def attempts(stage: Stage, most: int) -> list[int]:
    """Run the job until nothing is delayed any more; how long each delay was, in ms."""
    await stage.queue.enqueue("q", "job", [1, "x"])
    for _ in range(most):
        await stage.drain()
        if not await stage.come_due():
            break
    return [info["delay"] for name, info in stage.events if name == "re_enqueue"]


async def test_after_a_failed_attempt_the_state_is_node_s(make_stage: MakeStage) -> None:
    """The count from 0, the last error, the delayed job; counted as failed and nothing else."""
    # Given a job that fails, with three attempts
    stage = make_stage(job=retried(Flaky(9), retryLimit=3, retryDelay=2000))
    await stage.queue.enqueue("q", "job", [1, "x"])
    # When it has failed once
    before = time.time()
    await stage.drain()
    # Then
    left = await stage.left()
    failure = json.loads(left.pop(FAILURE))
    [second] = left["resque:delayed_queue_schedule"]
    assert left == {
        "resque:queues": {"q"},
        "resque:stat:failed": "1",
        COUNT: "0",
        "resque:delayed_queue_schedule": {second: float(second)},
        f"resque:delayed:{second}": [ITEM],
        f"resque:timestamps:{ITEM}": {f"delayed:{second}"},
    }
    assert before + 2 <= int(second) <= time.time() + 3
    assert list(failure) == [
        "failed_at", "payload", "exception", "error", "backtrace", "worker", "queue",
    ]  # fmt: skip
    assert re.fullmatch(r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d UTC", failure.pop("failed_at"))
    assert failure.pop("backtrace")[-1].endswith("Boom: boo")
    assert failure == {
        "payload": [1, "x"], "exception": "Boom: boo", "error": "Boom: boo",
        "worker": "job", "queue": "q",
    }  # fmt: skip


async def test_counts_outlive_the_delay_by_a_day(make_stage: MakeStage) -> None:
    """Node's milliseconds as seconds are a mistake; a job may wait in its queue for long."""
    stage = make_stage(job=retried(Flaky(9), retryLimit=3, backoffStrategy=[1000, 600_000]))
    await stage.queue.enqueue("q", "job", [1, "x"])
    await stage.drain()

    expiries = await ttls(stage.redis)

    assert set(expiries) == {COUNT, FAILURE}
    for expiry in expiries.values():
        assert DAY_MS + 600_000 - 5000 < expiry <= DAY_MS + 600_000


@pytest.mark.parametrize(
    ("options", "delays"),
    [
        ({}, []),
        ({"retryLimit": 1}, []),
        ({"retryLimit": 2}, [5000]),
        ({"retryLimit": 4, "retryDelay": 10}, [10, 10, 10]),
        ({"retryLimit": 4, "retryDelay": timedelta(seconds=1)}, [1000, 1000, 1000]),
        ({"retryLimit": 4, "backoffStrategy": [10, 20]}, [10, 20, 20]),
        ({"retryLimit": 3, "backoffStrategy": [1, 2, 3, 4]}, [1, 2]),
        ({"retryLimit": 5, "retryDelay": 7, "backoffStrategy": "exponential"}, [7, 14, 28, 56]),
    ],
)
async def test_the_limit_counts_attempts_and_the_last_error_fails_the_job(
    make_stage: MakeStage, options: dict[str, Any], delays: list[int]
) -> None:
    """`retry_limit` is how often it runs in all; then it is in the failed list and forgotten."""
    flaky = Flaky(9)
    stage = make_stage(job=retried(flaky, **options))

    assert await attempts(stage, 9) == delays

    runs = len(delays) + 1
    assert flaky.runs == runs
    left = await stage.left()
    [entry] = left.pop("resque:failed")
    assert json.loads(entry)["payload"] == json.loads(ITEM)
    assert json.loads(entry)["error"] == "boo"
    assert left == {"resque:queues": {"q"}, "resque:stat:failed": str(runs)}
    infos = [info for name, info in stage.events if name == "re_enqueue"]
    assert [info["remaining_attempts"] for info in infos] == list(range(len(delays), 0, -1))
    assert all(isinstance(info["err"], Boom) for info in infos)


@pytest.mark.parametrize("keys", ["node", "ruby"], ids=["js", "rb"])
@pytest.mark.parametrize("fails", [3, 1])
async def test_a_task_that_changes_its_arguments(
    make_stage: MakeStage, keys: str, fails: int
) -> None:
    """The count goes by what was sent: three attempts are the last, and a success forgets it."""
    runs = 0

    def change(given: list[Any], more: dict[str, Any]) -> None:
        nonlocal runs
        runs += 1
        given.append(runs)
        more["runs"] = runs
        if runs <= fails:
            raise Boom

    options: Any = {"keys": keys, "ruby_version": "3.3"} if keys == "ruby" else {}
    stage = make_stage(job=retried(change, retryLimit=3, **options))
    await stage.queue.enqueue("q", "job", [[1], {}])
    for _ in range(5):
        await stage.drain()
        await stage.come_due()
    assert runs == min(fails + 1, 3)
    assert await stage.redis.llen("resque:failed") == (fails == 3)
    assert await stage.redis.keys("resque:*resque-retry:*") == []


async def test_a_success_forgets_the_count(make_stage: MakeStage) -> None:
    """The next job with these arguments has all its attempts again."""
    stage = make_stage(job=retried(Flaky(2), retryLimit=3))

    assert len(await attempts(stage, 9)) == 2

    assert await stage.left() == {
        "resque:queues": {"q"}, "resque:stat:failed": "2", "resque:stat:processed": "1",
    }  # fmt: skip
    assert stage.events[-1] == ("success", 3)


async def test_a_count_of_node_s_is_continued(make_stage: MakeStage) -> None:
    """What Node counted is counted; what is no number is not."""
    stage = make_stage(job=retried(Flaky(9), retryLimit=4))
    await stage.redis.set(COUNT, "1")
    assert len(await attempts(stage, 9)) == 1
    await stage.redis.set(COUNT, "junk")
    assert len(await attempts(stage, 9)) == 1 + 3


async def test_a_stopped_worker_costs_no_attempt(make_stage: MakeStage) -> None:
    """What is put back was no failure."""
    gate = Gate()
    stage = make_stage(job=retried(gate, retryLimit=3))
    await stage.queue.enqueue("q", "job", [1, "x"])

    async with stage.working() as worker:
        await gate.entered.wait()
        await worker.stop_now()

    assert await stage.left() == {"resque:queues": {"q"}, "resque:queue:q": [ITEM]}


async def test_a_stop_is_no_attempt_even_if_a_plugin_raises(make_stage: MakeStage) -> None:
    """An error of a plugin inside, while the worker stops, changes nothing."""

    class Raise(Plugin):
        async def after_perform(self, run: Run) -> None:
            raise RuntimeError("no")

    gate = Gate()
    options = {"Retry": {"retryLimit": 3}}
    stage = make_stage(job=define("job", gate, plugins=["Retry", Raise], plugin_options=options))
    await stage.queue.enqueue("q", "job", [1, "x"])

    async with stage.working() as worker:
        await gate.entered.wait()
        await worker.stop_now()

    assert await stage.left() == {"resque:queues": {"q"}, "resque:queue:q": [ITEM]}


async def test_a_cancelled_job_is_not_tried_again(make_stage: MakeStage) -> None:
    """Who cancels a job wants it to end."""
    gate = Gate()
    stage = make_stage(job=retried(gate, retryLimit=3))
    await stage.queue.enqueue("q", "job", [1, "x"])

    async with stage.working() as worker:
        await gate.entered.wait()
        assert worker.cancel(str(worker.worker_ids[0]))
        await stage.until_idle()

    assert set(await stage.left()) == {"resque:queues", "resque:failed", "resque:stat:failed"}


async def test_a_job_over_its_time_limit_is_tried_again(make_stage: MakeStage) -> None:
    """Too long is a failure like any other."""
    gate = Gate()
    options = {"Retry": {"retryLimit": 2}}
    task = define("job", gate, plugins=["Retry"], plugin_options=options, time_limit=20)
    stage = make_stage(job=task)
    await stage.queue.enqueue("q", "job", [1, "x"])

    await stage.drain()

    [(name, info)] = stage.events
    assert (name, type(info["err"]).__name__) == ("re_enqueue", "JobTimeout")


@pytest.mark.parametrize(
    ("options", "again"),
    [
        ({"retryExceptions": [Boom]}, True),
        ({"retryExceptions": ["builtins.ValueError", KeyError]}, False),
        ({"fatalExceptions": Boom}, False),
        ({"fatalExceptions": "builtins.Exception"}, False),
        ({"fatalExceptions": ["builtins.ValueError"]}, True),
        ({"retryExceptions": [Exception], "fatalExceptions": [Boom]}, False),
    ],
)
async def test_errors_can_be_chosen(
    make_stage: MakeStage, options: dict[str, Any], again: bool
) -> None:
    """Some errors are worth another attempt, others never are."""
    stage = make_stage(job=retried(Flaky(9), retryLimit=2, **options))

    assert len(await attempts(stage, 9)) == int(again)
    assert await stage.redis.keys("*retry*") == []


async def test_with_job_lock_the_lock_is_free_for_the_next_attempt(make_stage: MakeStage) -> None:
    """The failed attempt, its delay and the lock end in one step, in both orders."""
    for task in (
        retried(Flaky(1), ("JobLock",), retryLimit=2),
        define("job", Flaky(1), plugins=["Retry", "JobLock"],
               plugin_options={"Retry": {"retryLimit": 2}}),
    ):  # fmt: skip
        stage = make_stage(job=task)
        assert await attempts(stage, 9) == [5000]
        assert stage.events[-1] == ("success", 2)
        assert await stage.redis.keys("*job*") == []


async def test_a_veto_is_no_attempt(make_stage: MakeStage) -> None:
    """A job that did not run neither counts nor makes a count forgotten."""
    task = define("job", print, plugins=["Retry", "tests.plugins.customs.Veto"])
    stage = make_stage(job=task)
    await stage.redis.set(COUNT, "3")
    await stage.queue.enqueue("q", "job", [1, "x"])

    await stage.drain()

    assert await stage.left() == {"resque:queues": {"q"}, COUNT: "3"}


async def test_inline_the_error_comes_out_and_nothing_is_counted(make_stage: MakeStage) -> None:
    """`perform_inline` has no queue to come back to."""
    from resqpy import Worker

    stage = make_stage()
    worker = Worker(stage.url, {"job": retried(Flaky(9), retryLimit=5)})
    with pytest.raises(Boom):
        await worker.perform_inline("job", [1, "x"])
    await worker.stop()
    assert await stage.left() == {}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"retryLimit": 0}, "retry_limit: 0"),
        ({"retryLimit": "3"}, "retry_limit: '3'"),
        ({"retryLimit": True}, "retry_limit: True"),
        ({"retryDelay": -5}, "retry_delay: -5 is negative"),
        ({"retryDelay": "5s"}, "neither milliseconds nor a timedelta"),
        ({"backoffStrategy": []}, "backoff_strategy"),
        ({"backoffStrategy": "linear"}, "'linear'"),
        ({"backoffStrategy": [1, None]}, "backoff_strategy: None"),
        ({"retryJitter": 2}, "retry_jitter"),
        ({"retryExceptions": ["builtins.VallueError"]}, "did you mean 'ValueError'"),
        ({"fatalExceptions": [str]}, "fatal_exceptions"),
        ({"retryExceptions": 7}, "exceptions"),
        ({"retryLmit": 7}, "did you mean 'retryLimit'"),
    ],
)
def test_wrong_options_are_refused_when_the_task_is_defined(
    options: dict[str, Any], words: str
) -> None:
    """The message names the task, the option and the value."""
    with pytest.raises(UsageError, match=words) as caught:
        retried(print, **options)
    assert "task 'job'" in str(caught.value)


def test_jitter_only_lengthens() -> None:
    """A share of the delay, so that many that failed together don't come back together."""
    backoff = RetryDelays.of(1000, None, 0.5)
    delays = {backoff.delay_ms(0) for _ in range(200)}
    assert 1000 <= min(delays) < max(delays) <= 1500
    assert backoff.longest_ms(1) == 1500


def test_doubling_ends_at_a_day() -> None:
    """However many attempts; a longer first delay stays."""
    assert RetryDelays.of(1000, "exponential", 0).delay_ms(500) == DAY_MS
    assert RetryDelays.of(2 * DAY_MS, "exponential", 0).delay_ms(3) == 2 * DAY_MS


@pytest.mark.parametrize(
    ("args", "key"),
    [
        ([], "resque:resque-retry:job"),
        ([1, "a b c", {"k": 1.0}, None, True], 'resque:resque-retry:job:1-ab c-{"k":1}-null-true'),
    ],
)
async def test_the_key_is_node_s(make_stage: MakeStage, args: list[Any], key: str) -> None:
    """Arguments joined by `-`, objects as JSON, the first blank dropped."""
    stage = make_stage(job=retried(Flaky(9), retryLimit=2))
    await stage.queue.enqueue("q", "job", args)

    await stage.drain()

    assert [each.decode() for each in await stage.redis.keys("resque:resque-retry*")] == [key]


def test_defaults_are_node_s() -> None:
    """One attempt, five seconds; None counts as left out."""
    retry: Callable[..., Retry] = Retry
    plain = retry({"retryLimit": None, "retryDelay": None, "backoffStrategy": None})
    assert (plain.retry_limit, plain.backoff) == (1, RetryDelays(Backoff.fixed(5000)))
