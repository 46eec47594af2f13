"""The table of endings, without Redis: what a task, its plugins and the worker make of a job."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from resqpy.base import codec
from resqpy.base.clock import SYSTEM_CLOCK, FixedClock
from resqpy.base.errors import JobCancelled, WorkerStopped
from resqpy.base.model import WorkerId
from resqpy.engine.definition import define
from resqpy.engine.lifecycle import RETURNED, SKIPPED, Command, JobLifecycle, Outcome, OutcomeKind
from resqpy.engine.plugin import Plugin
from resqpy.engine.run import Run, current_run
from resqpy.engine.worker.endings import ended
from resqpy.engine.worker.execute import conclude, execute, failure
from resqpy.engine.worker.threads import ThreadRunner
from resqpy.store.connection.client import Store
from resqpy.store.exchange import JobClaim

STORE = Store()
WORKER = WorkerId("h+1-i", "1", "q")
CLOCK = FixedClock(1_795_220_840_500)


def new_run(perform: Any, *plugins: Any, raw: bytes | None = None, **options: Any) -> Run:
    """A run of a task."""
    raw = raw or codec.encode_job("C", "q", ["mode"])
    definition = define("C", perform, plugins=plugins, **options)
    run = Run(codec.decode_job(raw, "q"), definition, WORKER, STORE)
    run.claim = JobClaim("q", b'{"queue":"q",')
    return run


class Replace(Plugin):
    """Decides how the run ends, or breaks, before or after."""

    def __init__(self, when: str, what: Any) -> None:
        super().__init__()
        self.when, self.what = when, what

    def act(self, run: Run) -> None:
        """Do it."""
        if isinstance(self.what, Outcome):
            run.outcome = self.what
        elif isinstance(self.what, Exception):
            raise self.what
        else:
            run.error = None

    async def before_perform(self, run: Run) -> bool:
        """Forbid it, if that is my part."""
        if self.when == "before":
            self.act(run)
            return False
        return True

    async def after_perform(self, run: Run) -> None:
        """Change the end, if that is my part."""
        if self.when == "after":
            self.act(run)


async def good(mode: str) -> str:
    """A task."""
    return mode


async def bad(_: str) -> None:
    """A task."""
    raise ValueError("boo")


LATER = Outcome(OutcomeKind.DELAYED, delay_ms=1000)
AGAIN = Outcome(OutcomeKind.RETRIED, delay_ms=1500)


@pytest.mark.parametrize(
    ("task", "plugins", "kind"),
    [
        (good, [], OutcomeKind.SUCCESS),
        (bad, [], OutcomeKind.FAILURE),
        (good, [Replace("before", None)], OutcomeKind.SKIPPED),
        (good, [Replace("before", LATER)], OutcomeKind.DELAYED),
        (good, [Replace("before", KeyError("plugin"))], OutcomeKind.FAILURE),
        (good, [Replace("after", KeyError("plugin"))], OutcomeKind.FAILURE),
        (bad, [Replace("after", None)], OutcomeKind.SUCCESS),  # cleared
        (bad, [Replace("after", AGAIN)], OutcomeKind.RETRIED),
        (bad, [Replace("after", KeyError("outer")), Replace("after", AGAIN)], OutcomeKind.FAILURE),
    ],
)
@pytest.mark.parametrize("kind_of_task", ["async", "thread"])
async def test_what_becomes_of_a_run(
    task: Any, plugins: list[Plugin], kind: OutcomeKind, kind_of_task: str
) -> None:
    """Async or in a thread, with plugins that decide before or after: one outcome."""

    def in_thread(mode: str) -> Any:
        return asyncio.run(task(mode))

    threads = ThreadRunner(1)
    run = new_run(task if kind_of_task == "async" else in_thread, *plugins)
    outcome = await execute(run, threads)
    threads.close()
    assert outcome.kind is kind
    if kind is OutcomeKind.SUCCESS and task is good:
        assert outcome.result == "mode"


async def test_a_task_knows_its_run() -> None:
    """`current_run` is the run, on the loop and in a thread."""
    seen: list[Run] = []

    def in_thread(_: str) -> None:
        seen.append(current_run.get())

    async def on_loop(_: str) -> None:
        seen.append(current_run.get())

    threads = ThreadRunner(1)
    runs = [new_run(on_loop), new_run(in_thread)]
    for run in runs:
        await execute(run, threads)
    threads.close()
    assert seen == runs


async def test_a_task_without_definition_fails() -> None:
    """The words are node-resque's."""
    run = new_run(good)
    run.definition = None
    outcome = await execute(run, ThreadRunner(1))
    assert str(outcome.error).startswith('No job defined for class "C"; deploy that task')
    meant = await execute(run, ThreadRunner(1), ["other", "c"])  # Ruby's way to write it
    assert str(meant.error).startswith("No job defined for class \"C\"; did you mean 'c'?; deploy")


@pytest.mark.parametrize(
    ("interrupted", "cancelled", "once", "performed", "error", "kind"),
    [
        (True, False, False, True, WorkerStopped(), OutcomeKind.RETURNED),
        (True, False, True, True, WorkerStopped(), OutcomeKind.FAILURE),
        (True, False, True, False, WorkerStopped(), OutcomeKind.RETURNED),
        (True, False, False, True, ValueError(), OutcomeKind.FAILURE),  # it failed by itself
        (True, False, False, True, None, OutcomeKind.SUCCESS),  # it ended in spite of it
        (False, True, False, True, JobCancelled(), OutcomeKind.FAILURE),
    ],
)
def test_what_becomes_of_a_run_that_was_ended_from_outside(
    interrupted: bool, cancelled: bool, once: bool, performed: bool, error: Any, kind: OutcomeKind
) -> None:
    """Stopped runs go back unless they may run only once and began; cancelled ones fail, whatever
    a plugin decided.
    """
    run = new_run(good, at_most_once=once)
    run.interrupted, run.cancelled, run.performed, run.error = (
        interrupted,
        cancelled,
        performed,
        error,
    )
    run.outcome = AGAIN if cancelled else None
    assert conclude(run).kind is kind


# -- what Redis is told --


@pytest.mark.parametrize(
    ("outcome", "counts", "words"),
    [
        (Outcome(OutcomeKind.SUCCESS), "p", []),
        (failure(ValueError("x")), "f", ["RPUSH"]),
        (AGAIN, "f", ["DELAY"]),
        (LATER, "-", ["DELAY"]),
        (SKIPPED, "-", []),
        (RETURNED, "-", ["LPUSH"]),
    ],
)
def test_what_an_outcome_writes(outcome: Outcome, counts: str, words: list[str]) -> None:
    """Counting is node-resque's; each ending's commands are those of the table."""
    report = ended(new_run(good), outcome, CLOCK)
    assert (report.counts, [command[0] for command in report.commands]) == (counts, words)
    assert (report.worker_id, report.beginning) == (str(WORKER), b'{"queue":"q",')


@pytest.mark.parametrize(
    ("raw", "item"),
    [
        (b'{"class":"C","queue":"q","args":[1.0]}', None),
        (b'{"class":"C","args":[1.0,18446744073709551616]}',
         b'{"class":"C","args":[1.0,18446744073709551616],"queue":"q"}'),
        (b'{"class":"C","queue":"other","args":[]}', b'{"class":"C","queue":"q","args":[]}'),
    ],
)  # fmt: skip
def test_a_delayed_job_keeps_its_text_and_names_its_queue(raw: bytes, item: bytes | None) -> None:
    """Nothing in the job changes; a queue that is missing or another is set. The script knows when it
    is due.
    """
    report = ended(new_run(good, raw=raw), AGAIN, SYSTEM_CLOCK)
    (command,) = report.commands
    assert command[:4] == ("DELAY", 1500, "", item or raw)


def test_a_clock_that_a_test_has_set_is_told_to_the_script() -> None:
    """Then a job is delayed by that clock, not by Redis'."""
    (command,) = ended(new_run(good), AGAIN, CLOCK).commands
    assert command[:3] == ("DELAY", 1500, 1_795_220_840_500)


def test_a_returned_job_is_its_very_bytes() -> None:
    """Not even blanks are changed."""
    raw = b'{ "class" : "C" , "args" : [ 1.0 ] }'
    report = ended(new_run(good, raw=raw), RETURNED, CLOCK)
    assert report.commands == [("LPUSH", "resque:queue:q", raw)]


def test_effects_are_written_with_the_end() -> None:
    """What plugins want written, the held bytes and the mark of an at-most-once job go with it."""
    run = new_run(good, at_most_once=True)
    run.effects = [("DEL", "lock")]
    run.claim.held = 10
    report = ended(run, Outcome(OutcomeKind.SUCCESS), CLOCK)
    assert [command[0] for command in report.commands] == ["DEL", "DEL", "HDEL"]


class Noted(JobLifecycle):
    """A record beside a job, which notes the end."""

    plain = False

    def end(self, run: Run, outcome: Outcome) -> Sequence[Command]:
        """Note it."""
        return [("SET", "note", f"{run.class_name} {outcome.kind.value}")]


@pytest.mark.parametrize(
    ("kind", "before"),
    [
        (OutcomeKind.SUCCESS, [("DEL", "lock")]),
        (OutcomeKind.FAILURE, [("DEL", "lock")]),
        (OutcomeKind.RETURNED, [("DEL", "lock"), ("SET", "queue lock")]),
    ],
)
def test_a_lifecycle_writes_the_end(kind: OutcomeKind, before: list[Command]) -> None:
    """In place of the table of endings, and behind all that belongs to any end."""
    run = new_run(good)
    run.lifecycle = Noted()
    run.effects, run.on_return = [("DEL", "lock")], [("SET", "queue lock")]
    report = ended(run, Outcome(kind, error=ValueError()), CLOCK)
    assert report.commands == [*before, ("SET", "note", f"C {kind.value}")]
