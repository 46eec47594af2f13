"""The onion: who is asked in which order, and what a veto, an error and a stop do to the others."""

from __future__ import annotations

import asyncio
import traceback
from typing import Any

import pytest

from resqpy import Plugin, Worker
from resqpy.base.errors import WorkerStopped
from resqpy.base.model import Job, WorkerId
from resqpy.engine.definition import Definition, define
from resqpy.engine.lifecycle import Outcome, OutcomeKind
from resqpy.engine.plugin import CallNext, Enqueuing
from resqpy.engine.run import Run
from resqpy.engine.worker.execute import execute
from resqpy.engine.worker.threads import ThreadRunner
from tests.plugins import customs
from tests.plugins.conftest import MakeStage
from tests.plugins.stage import Gate


class Boom(Exception):
    """What a task raises."""


def fail(*_: Any) -> None:
    """Fail."""
    raise Boom("boo")


def run_of(definition: Definition) -> Run:
    """A run without a Redis."""
    job = Job("job", [1], "q", b"{}")
    return Run(job, definition, WorkerId("h", "1", "q"), None)  # type: ignore[arg-type]


async def outcome_of(perform: Any, *plugins: Any) -> tuple[Outcome, Run]:
    """Run a task in its plugins."""
    run = run_of(define("job", perform, plugins=plugins))
    threads = ThreadRunner(1)
    try:
        return await execute(run, threads), run
    finally:
        threads.close()


def diaries(*, outer: dict[str, Any] | None = None, inner: dict[str, Any] | None = None) -> Any:
    """Two plugins that write into one diary, and the diary."""
    pages: list[tuple[str, str, Any]] = []
    plugins = (
        customs.Outer({"pages": pages, **(outer or {})}),
        customs.Inner({"pages": pages, **(inner or {})}),
    )
    return plugins, pages


def hooks(pages: list[tuple[str, str, Any]]) -> list[str]:
    """Who was asked what."""
    return [f"{name}.{hook}" for name, hook, _ in pages]


BOTH_BEFORE = ["Outer.before_perform", "Inner.before_perform"]
BOTH_AFTER = ["Inner.after_perform", "Outer.after_perform"]


async def test_the_first_plugin_is_the_outermost() -> None:
    """Before in order, after in reverse; all know the job."""
    plugins, pages = diaries()

    outcome, _ = await outcome_of(lambda n: n + 1, *plugins)

    assert outcome == Outcome(OutcomeKind.SUCCESS, result=2)
    assert hooks(pages) == BOTH_BEFORE + BOTH_AFTER
    assert pages[0][2] == ("job", "q", [1])


async def test_the_error_of_the_task_is_seen_by_all() -> None:
    """In `run.error`; the job fails with it."""
    plugins, pages = diaries()

    outcome, _ = await outcome_of(fail, *plugins)

    assert outcome.kind is OutcomeKind.FAILURE
    assert [seen for _, hook, seen in pages if hook == "after_perform"] == ["Boom('boo')"] * 2


async def test_a_veto_unwinds_those_that_were_entered() -> None:
    """The task doesn't run, nor what stands further in; who was entered gets its `after`."""
    plugins, pages = diaries(inner={"forbid": "perform"})
    ran: list[Any] = []

    outcome, run = await outcome_of(ran.append, *plugins)

    assert outcome.kind is OutcomeKind.SKIPPED
    assert run.vetoed
    assert ran == []
    assert hooks(pages) == [*BOTH_BEFORE, "Outer.after_perform"]


async def test_a_plugin_that_raises_before_fails_the_job() -> None:
    """The task doesn't run; those around it see the error."""
    plugins, pages = diaries(inner={"fail": "before_perform"})

    outcome, run = await outcome_of(fail, *plugins)

    assert repr(outcome.error) == "RuntimeError('Inner failed in before_perform')"
    assert not run.performed
    assert pages[-1] == (
        "Outer", "after_perform", "RuntimeError('Inner failed in before_perform')",
    )  # fmt: skip


@pytest.mark.parametrize("perform", [print, fail])
async def test_a_plugin_that_raises_after_fails_the_job(perform: Any) -> None:
    """Its error stands in the failed list, with the task's own in the traceback."""
    plugins, pages = diaries(inner={"fail": "after_perform"})

    outcome, _ = await outcome_of(perform, *plugins)

    assert (outcome.kind, str(outcome.error)) == (
        OutcomeKind.FAILURE,
        "Inner failed in after_perform",
    )
    assert hooks(pages)[-1] == "Outer.after_perform"
    assert outcome.error is not None
    text = "".join(traceback.format_exception(outcome.error))
    assert ("Boom: boo" in text) == (perform is fail)


async def test_a_plugin_s_error_undoes_what_another_decided() -> None:
    """A job that was to be tried again and failed in a plugin is in one place: failed."""

    class Later(Plugin):
        async def after_perform(self, run: Run) -> None:
            run.outcome = Outcome(OutcomeKind.DELAYED, delay_ms=1)

    plugins, _ = diaries(inner={"fail": "after_perform"})

    outcome, _ = await outcome_of(print, plugins[1], Later)

    assert outcome.kind is OutcomeKind.FAILURE


async def test_a_plugin_may_clear_or_replace_the_error() -> None:
    """Cleared, the job succeeds; replaced, it fails with the other."""

    class Replace(Plugin):
        async def after_perform(self, run: Run) -> None:
            run.error = KeyError("other")

    outcome, _ = await outcome_of(fail, customs.Plain)
    assert outcome.kind is OutcomeKind.SUCCESS
    outcome, _ = await outcome_of(fail, Replace)
    assert repr(outcome.error) == "KeyError('other')"


async def test_around_may_run_the_job_twice_or_not_at_all() -> None:
    """Whoever doesn't go on has vetoed."""
    ran: list[int] = []

    def flaky(n: int) -> int:
        ran.append(n)
        return 7 if len(ran) == 2 else 1 // 0

    outcome, _ = await outcome_of(flaky, customs.Twice)
    assert (outcome.kind, outcome.result, ran) == (OutcomeKind.SUCCESS, 7, [1, 1])
    outcome, _ = await outcome_of(flaky, customs.Absent)
    assert (outcome.kind, len(ran)) == (OutcomeKind.SKIPPED, 2)


async def test_plain_functions_are_hooks_too() -> None:
    """A hook needn't be a coroutine function; a decorated one is awaited."""
    customs.Plain.seen.clear()
    outcome, _ = await outcome_of(fail, customs.Plain)
    assert (outcome.kind, customs.Plain.seen) == (OutcomeKind.SUCCESS, ["before", "after"])

    def decorated(hook: Any) -> Any:
        def undecorated(self: Any, run: Run) -> Any:
            return hook(self, run)

        return undecorated

    class Decorated(Plugin):
        @decorated
        async def before_perform(self, run: Run) -> bool:
            return False

    outcome, _ = await outcome_of(print, Decorated)
    assert outcome.kind is OutcomeKind.SKIPPED


async def test_a_hook_that_returns_nothing_forbids_nothing() -> None:
    """Only False is a veto, as in node-resque."""

    class Careless(Plugin):
        async def before_perform(self, run: Run) -> None:
            """Return nothing."""

    outcome, _ = await outcome_of(lambda n: n, Careless)
    assert outcome == Outcome(OutcomeKind.SUCCESS, result=1)


async def test_a_plugin_keeps_notes_of_one_run_in_the_run() -> None:
    """`run.state` is one run's, the plugin is all runs'."""

    class Notes(Plugin):
        async def around(self, run: Run, call_next: CallNext) -> None:
            run.state[self] = "note"
            await call_next()

    _, run = await outcome_of(print, Notes)
    assert list(run.state.values()) == ["note"]


@pytest.mark.parametrize("stubborn", [False, True])
async def test_a_stop_gives_the_job_back_whatever_plugins_do(
    make_stage: MakeStage, stubborn: bool
) -> None:
    """Plugins get their `after`; one that clears or raises doesn't make an end of it."""
    gate = Gate()
    seen: list[Any] = []

    class Last(Plugin):
        async def after_perform(self, run: Run) -> None:
            seen.append(run.error)
            if stubborn:
                raise RuntimeError("no")
            run.error = None

    stage = make_stage(job=define("job", gate, plugins=[Last, Last]))
    await stage.queue.enqueue("q", "job", [1])
    async with stage.working() as worker:
        await gate.entered.wait()
        await worker.stop_now()

    assert await stage.redis.llen("resque:queue:q") == 1
    assert await stage.redis.llen("resque:failed") == 0
    assert isinstance(seen[0], WorkerStopped)
    assert len(seen) == 2


async def test_plugins_enqueue_from_their_hooks(make_stage: MakeStage) -> None:
    """The queue and the worker are at hand where node-resque has `queueObject` and `worker`."""
    stage = make_stage(job=define("job", lambda _: None, plugins=["tests.plugins.customs:Follow"]))
    await stage.queue.enqueue("q", "job", [5])
    assert await stage.redis.lrange("resque:queue:next", 0, -1) == [
        b'{"class":"announced","queue":"next","args":[5]}'
    ]

    await stage.drain()

    assert await stage.redis.lindex("resque:queue:next", -1) == (
        b'{"class":"followed","queue":"next","args":[5]}'
    )


async def test_enqueue_hooks_are_asked_in_order_until_one_forbids(make_stage: MakeStage) -> None:
    """After a veto nobody else is asked, nothing is written, and nobody hears of an enqueueing."""
    plugins, pages = diaries(outer={"forbid": "enqueue"})
    stage = make_stage(job=define("job", print, plugins=plugins))

    assert await stage.queue.enqueue("q", "job", [1]) is False

    assert pages == [("Outer", "before_enqueue", ("job", "q", [1]))]
    assert await stage.left() == {}


async def test_enqueue_hooks_of_many_jobs(make_stage: MakeStage) -> None:
    """Each job is asked for itself; those allowed go in one push."""

    class Even(Plugin):
        async def before_enqueue(self, job: Enqueuing) -> bool:
            return bool(job.args[0] % 2 == 0)

    stage = make_stage(job=define("job", print, plugins=[Even]))

    jobs = [("q", "job", [n]) for n in range(4)]
    assert await stage.queue.enqueue_many(jobs) == [True, False, True, False]
    assert await stage.redis.llen("resque:queue:q") == 2


async def test_an_enqueue_hook_that_raises_writes_nothing(make_stage: MakeStage) -> None:
    """The error is the caller's."""
    plugins, _ = diaries(inner={"fail": "before_enqueue"})
    stage = make_stage(job=define("job", print, plugins=plugins))

    with pytest.raises(RuntimeError, match="Inner failed in before_enqueue"):
        await stage.queue.enqueue("q", "job", [1])
    assert await stage.left() == {}


async def test_plugins_run_inline_too(redis_url: str) -> None:
    """`perform_inline` asks the hooks of the run, not those of enqueueing."""
    plugins, pages = diaries()
    worker = Worker(redis_url, {"job": define("job", lambda n: n + 1, plugins=plugins)})

    assert await worker.perform_inline("job", [1]) == 2
    await worker.stop()

    assert hooks(pages) == BOTH_BEFORE + BOTH_AFTER


class Silent(Plugin):
    """Has nothing to do before a run."""

    def around_success(self, run: Run) -> None:
        """Delete a key, or fail."""
        run.effects.append(("DEL", f"resque:of {run.args[0]}"))
        if run.args[0] == 2:
            raise Boom("succeeded")

    async def around(self, run: Run, call_next: CallNext) -> None:
        """The same, in general."""
        await call_next()
        if run.error is None:
            self.around_success(run)
        else:
            run.error = Boom("around")


class Odd(Silent):
    """Leaves something, or raises it."""

    leaves: Any

    def around_success(self, run: Run) -> None:
        """Of the first run."""
        if run.args[0] != 1:
            return
        if isinstance(self.leaves, BaseException):
            raise self.leaves
        run.effects.append(self.leaves)


class OddAround(Odd):
    """In general."""

    async def around(self, run: Run, call_next: CallNext) -> None:
        """The same."""
        await super().around(run, call_next)


ODD: Any = (
    None,
    (),
    "DEL",
    ("DEL", None),
    ("DEL", {}),
    ("SET", "k", print),
    (None,),
    SystemExit(3),
)


@pytest.mark.parametrize("kind", [Odd, OddAround])
@pytest.mark.parametrize("leaves", ODD, ids=repr)
async def test_what_can_t_be_written_fails_its_own_job(
    make_stage: MakeStage, kind: type[Odd], leaves: Any
) -> None:
    """No other job waits for it, and its slot goes on."""

    async def perform(_: int) -> None:
        pass

    plugin = kind()
    plugin.leaves = leaves
    stage = make_stage(job={"perform": perform, "plugins": ["JobLock", plugin]})
    await stage.queue.enqueue_many([("q", "job", [n]) for n in (1, 2, 2.5, 3)])
    await stage.drain()
    assert sorted(name for name, _ in stage.events) == ["failure", "success", "success", "success"]
    assert await stage.redis.keys("*lock*") == []


async def test_what_can_t_be_written_on_a_return_fails_the_job(make_stage: MakeStage) -> None:
    """The stop ends."""
    entered = asyncio.Event()

    class Returns(Plugin):
        async def before_perform(self, run: Run) -> bool:
            run.on_return += (None,)  # type: ignore[arg-type]  # what a user might do
            return True

    async def perform(_: int) -> None:
        entered.set()
        await asyncio.sleep(60)

    stage = make_stage(job={"perform": perform, "plugins": [Returns()]})
    await stage.queue.enqueue("q", "job", [1])
    async with stage.working() as worker:
        await entered.wait()
        await worker.stop_now()
    assert await stage.redis.llen("resque:failed") == 1


class Loud(Silent):
    """Has."""

    async def around(self, run: Run, call_next: CallNext) -> None:
        """Count, too."""
        run.store.options  # noqa: B018 - it has a store
        await super().around(run, call_next)


@pytest.mark.parametrize("plugin", [Silent, Loud])
async def test_a_success_needs_no_coroutine_of_a_plugin_that_says_so(
    make_stage: MakeStage, plugin: type[Plugin]
) -> None:
    """Its one step is done with the end of the run; a failure, also one of this step, takes the way of all others.
    A class that has another `around` does not inherit that.
    """

    async def perform(number: int) -> None:
        if number == 3:
            raise ValueError(number)

    task = define("job", perform, plugins=[plugin])
    assert (task.direct, len(task.succeeding)) == ((True, 1) if plugin is Silent else (False, 0))
    stage = make_stage(job=task)
    for number in (1, 2, 3):
        await stage.redis.set(f"resque:of {number}", "there")
        await stage.queue.enqueue("q", "job", [number])
    await stage.drain()
    ends = [(name, str(last)) for name, last in stage.events]
    assert ends == [("success", "None"), ("failure", "succeeded"), ("failure", "around")]
    assert await stage.redis.mget("resque:of 1", "resque:of 3") == [None, b"there"]
    assert await stage.redis.get("resque:stat:processed") == b"1"
