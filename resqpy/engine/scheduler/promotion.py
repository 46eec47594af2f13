"""Promotion: a due job enters its queue in the same step in which it leaves its delayed list.

The jobs of most tasks are moved inside Redis, in batches, without inspection. An item is inspected if its
task has enqueue hooks or locks, if it can't be read, or if it names no queue; then it is

- pushed, with the locks checked in the same step (a job that a lock forbids is dropped, as in node-resque);
- claimed, if its task has hooks (`before_enqueue`, `after_enqueue`): it moves to a private list, where
  `resqpy.engine.scheduler.promotion` finds it;
- sent to the failed list with its bytes kept, if no worker could ever run it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from resqpy.base import codec, job_records, reading
from resqpy.base.clock import failed_at_utc
from resqpy.base.codec import has_record
from resqpy.base.concurrency.own_tasks import OwnTask, own_task, raise_if_cancelled
from resqpy.base.errors import PayloadError, StoreError, add_note, class_of, message_of
from resqpy.base.model import Job, LostJob
from resqpy.engine.definition import Definition
from resqpy.engine.plugin import Enqueuing
from resqpy.engine.queue.queue import Queue
from resqpy.engine.scheduler.election import Leadership, Scope
from resqpy.store import delayed
from resqpy.store.connection.client import Store
from resqpy.store.delayed import Action, Claim, Decision, Drop, Enqueue, Fail, Promoted
from resqpy.store.queues import DELAYED

# What to do with a due item: pure rules, no Redis.

# For a failed job that names no queue: its queue if it is retried by hand.
FALLBACK_QUEUE = "default"


class DueItemPolicy:
    """Decides on due items by their tasks.

    Args:
        queue: has the definitions and their guards.
        worker: our name, for failed entries.
    """

    def __init__(self, queue: Queue, worker: str) -> None:
        self._queue = queue
        self._worker = worker

    def looked_at(self) -> list[str]:
        """The tasks whose items can't be moved without inspection."""
        known = self._queue.definitions.items()
        return [name for name, task in known if task.guarding or task.enqueue_hooks]

    def action(self, item: bytes, now_ms: int) -> Action:
        """What to do with an item of a delayed list."""
        try:
            job = read(item, self._queue.definitions.get)
        except PayloadError as error:
            return self.fail(item, error, now_ms)
        task = self._queue.definitions.get(job.class_name)
        if task is not None and task.enqueue_hooks and not has_record(job.args):
            guards = self._queue.guards(job.queue, job.class_name, job.args)
            return Claim([each for each in guards if each.kind == DELAYED])
        return self.enqueue(job)

    def enqueue(self, job: Job) -> Enqueue:
        """Push it, with the guards of its task; a job with a record has none, as at its creation."""
        if has_record(job.args):
            return Enqueue(job.queue, ())
        return Enqueue(job.queue, self._queue.guards(job.queue, job.class_name, job.args))

    def context(self, job: Job) -> Enqueuing:
        """The job as enqueue hooks see it."""
        return Enqueuing(job.class_name, job.queue, job.args, self._queue, fixed=True)

    def fail(self, item: bytes, error: BaseException, now_ms: int) -> Fail:
        """Send it to the failed list with its bytes."""
        queue = codec.delayed_queue(item) or FALLBACK_QUEUE
        payload, keep = reading.for_failed(item, queue)
        entry = job_records.encode_failed(
            job_json=payload,
            queue=queue,
            worker=self._worker,
            exception=class_of(error),
            error=message_of(error),
            backtrace=[],
            failed_at=failed_at_utc(now_ms),
        )
        return Fail(entry, error, queue, keep, self._worker)


def read(item: bytes, definition: Callable[[str], Definition | None]) -> Job:
    """The job of a delayed item, with the queue it names or that of its task.

    Raises:
        PayloadError: it can't be read, or no queue is known for it.
    """
    queue = codec.delayed_queue(item)
    job = codec.decode_job(item, queue or FALLBACK_QUEUE)
    if queue is not None:
        return job
    own = getattr(definition(job.class_name), "queue", None)
    if not own:
        raise PayloadError(
            f"the delayed job {job.class_name!r} names no queue; a retry puts it in {FALLBACK_QUEUE!r}"
        )
    return replace(job, queue=own)


Result = int | str


class EventReporter:
    """Emits the scheduler's events about jobs that were moved.

    Args:
        emit, has_listeners: the scheduler's own.
        store: hears of jobs that can't be moved.
    """

    def __init__(
        self,
        emit: Callable[..., None],
        has_listeners: Callable[[str], bool],
        store: Store,
    ) -> None:
        self.emit = emit
        self.has_listeners = has_listeners
        self._store = store

    def transferred(self, member: bytes, item: bytes) -> None:
        """A job is in its queue now."""
        if self.has_listeners("transferred_job"):
            self.emit("transferred_job", second_of(member), codec.decode_lenient(item))

    def decided(self, decisions: Sequence[Decision], results: Sequence[Result]) -> None:
        """Report the results of decisions."""
        for each, result in zip(decisions, results, strict=True):
            if result != delayed.DONE:
                continue
            if isinstance(each.action, Enqueue):
                self.transferred(each.member, each.item)
            elif isinstance(each.action, Fail):
                reason = each.action.reason
                where = f"a delayed job, due at {second_of(each.member)}; its exact bytes are in the failed list"
                add_note(reason, where)
                self.emit("error", reason)
                queue = codec.delayed_queue(each.item) or FALLBACK_QUEUE
                self._store.on_lost(LostJob(each.item, queue, each.action.worker, reason))


def second_of(member: bytes) -> int | str:
    """A second for events; a text if a foreign client wrote something else."""
    text = member.decode("utf-8", "replace")
    return int(text) if delayed.is_second(text) else text


def refused(
    decisions: Sequence[Decision], results: Sequence[Result]
) -> list[tuple[Decision, StoreError]]:
    """The decisions that Redis refused, and why: their queue is not a list, for example."""
    return [
        (each, StoreError(f"the job cannot be enqueued: {text}"))
        for each, text in zip(decisions, results, strict=True)
        if isinstance(text, str)
    ]


def raise_if_refused(decisions: Sequence[Decision], results: Sequence[Result]) -> None:
    """Jobs that can't even be failed stay where they are, so the caller must stop."""
    for each, error in refused(decisions, results):
        raise StoreError(f"a job due at {each.member!r} cannot be failed either: {error}")


class Promotion:
    """The chore that promotes due jobs.

    Args:
        judge: decides on single items.
        teller: emits the events.
        on_claimed: called when items were claimed.
        longest_s: maximum seconds between checks if nothing is known to be due.
    """

    name = "promotion"
    scope: Scope = "shared"

    def __init__(
        self,
        store: Store,
        policy: DueItemPolicy,
        reporter: EventReporter,
        on_claimed: Callable[[], None],
        longest_s: float,
    ) -> None:
        self.prefixes = (store.keys.schedule,)
        self._store = store
        self._policy = policy
        self._reporter = reporter
        self._on_claimed = on_claimed
        self._longest_s = longest_s

    async def run(self, leadership: Leadership) -> float:
        """Move everything that is due; returns the seconds until the next item is due."""
        self._reporter.emit("poll")
        looked_at = self._policy.looked_at()
        tell = self._reporter.has_listeners("transferred_job")
        while True:
            moved = await delayed.move_due(self._store, leadership, looked_at, tell=tell)
            leadership.clock.note(moved.time_us)
            self._report(moved)
            if moved.page:
                await self._look_at(leadership, moved)
            elif (wait_s := self._wait_s(moved)) > 0:
                return wait_s

    def _wait_s(self, moved: Promoted) -> float:
        if moved.next_s is None:
            return self._longest_s
        return min(moved.next_s - moved.time_us / 1_000_000, self._longest_s)

    def _report(self, moved: Promoted) -> None:
        for member, _ in moved.worked:
            self._reporter.emit("working_timestamp", second_of(member))
        for member, item in moved.told:
            self._reporter.transferred(member, item)
        for member, what in moved.oddities:
            text = f"delayed_queue_schedule contains {second_of(member)!r}: {what.decode()}"
            self._reporter.emit("error", PayloadError(text))

    async def _look_at(self, leadership: Leadership, moved: Promoted) -> None:
        now_ms = leadership.clock.now_ms()
        decisions = [
            Decision(item, moved.member, self._policy.action(item, now_ms)) for item in moved.page
        ]
        results = await self._carry_out(leadership, moved.member, decisions)
        if wrong := refused(decisions, results):
            failures = [
                Decision(each.item, each.member, self._policy.fail(each.item, error, now_ms))
                for each, error in wrong
            ]
            raise_if_refused(failures, await self._carry_out(leadership, moved.member, failures))

    async def _carry_out(
        self, leadership: Leadership, member: bytes, decisions: Sequence[Decision]
    ) -> list[Result]:
        results = await delayed.decide_delayed(self._store, leadership, member, decisions)
        self._reporter.decided(decisions, results)
        if any(isinstance(each.action, Claim) for each in decisions):
            self._on_claimed()
        return results


# Claimed jobs: due, and waiting for the enqueue hooks of their tasks.
#
# Promotion moved them into a private list in the step in which they left their delayed list; from there each
# moves to its queue in one step. A leader that dies in between leaves them to its successor, which runs the
# hooks again: **enqueue hooks of delayed jobs run at least once**. The list is private to resqpy, so this
# continues while a Ruby or Node scheduler leads.

HOOKS_AT_ONCE = 20  # started together
MAX_ASKED = 200  # running at once
_TOGETHER_S = 0.1  # hooks that finish within this time are written in one step
_LOOK_AGAIN_S = 1.0  # for other claimed jobs, while hooks are running


class Claims:
    """The chore that moves claimed jobs to their queues.

    Args:
        queue: knows the tasks and runs their hooks.
        judge: decides on single items.
        teller: emits the events.
    """

    name = "claims"
    scope: Scope = "own"
    prefixes: Sequence[str] = ()

    def __init__(self, queue: Queue, policy: DueItemPolicy, reporter: EventReporter) -> None:
        self._queue = queue
        self._policy = policy
        self._reporter = reporter
        self._asked: list[tuple[bytes, OwnTask[Decision]]] = []  # whose hooks are running
        self._telling: set[OwnTask[None]] = set()

    async def run(self, leadership: Leadership) -> float | None:
        """Move all claimed jobs to their queues; slow hooks of one job don't delay the others, as long as
        there are not too many.
        """
        while True:
            page = len(self._asked) + HOOKS_AT_ONCE
            fresh = self._fresh(await delayed.claimed(self._queue.store, page))
            for each in fresh[: MAX_ASKED - len(self._asked)]:
                task = own_task(self._decide(each, leadership.clock.now_ms()))
                self._asked.append((delayed.claimed_text(each), task))
            if not self._asked:
                return None
            if decided := await self._decided():
                await self._settle(leadership, decided)
            elif not fresh:
                return _LOOK_AGAIN_S

    async def _decided(self) -> list[Decision]:
        """What the hooks have decided by now, without waiting for slow ones."""
        tasks = [task for _, task in self._asked]
        await asyncio.wait(tasks, timeout=_TOGETHER_S)
        await asyncio.wait(tasks, timeout=_LOOK_AGAIN_S, return_when=asyncio.FIRST_COMPLETED)
        decided = [task.result() for task in tasks if task.done()]
        self._asked = [each for each in self._asked if not each[1].done()]
        return decided

    def _fresh(self, found: Sequence[Decision]) -> list[Decision]:
        """The claimed jobs whose hooks have not been started; equal jobs count separately."""
        asked = Counter(text for text, _ in self._asked)
        fresh: list[Decision] = []
        for each in found:
            text = delayed.claimed_text(each)
            if asked[text]:
                asked[text] -= 1
            else:
                fresh.append(each)
        return fresh

    async def _settle(self, leadership: Leadership, decisions: Sequence[Decision]) -> None:
        now_ms = leadership.clock.now_ms()
        results = await delayed.decide_claimed(self._queue.store, leadership, decisions)
        self._reporter.decided(decisions, results)
        if wrong := refused(decisions, results):
            failures = [
                replace(each, action=self._policy.fail(each.item, error, now_ms))
                for each, error in wrong
            ]
            again = await delayed.decide_claimed(self._queue.store, leadership, failures)
            self._reporter.decided(failures, again)
            raise_if_refused(failures, again)
        for each, result in zip(decisions, results, strict=True):
            if result == delayed.DONE and isinstance(each.action, Enqueue):
                after = own_task(self._after(each))
                self._telling.add(after)
                after.add_done_callback(self._telling.discard)

    async def _decide(self, each: Decision, now_ms: int) -> Decision:
        """Run its hooks; a hook that raises fails the job."""
        try:
            job = self._read(each)
            allowed = await self._queue.before_enqueue(self._policy.context(job))
        except BaseException as error:  # hooks may raise anything
            raise_if_cancelled(error)
            return replace(each, action=self._policy.fail(each.item, error, now_ms))
        return replace(each, action=self._policy.enqueue(job) if allowed else Drop())

    async def _after(self, each: Decision) -> None:
        try:
            await self._queue.after_enqueue(self._policy.context(self._read(each)))
        except BaseException as error:
            raise_if_cancelled(error)
            self._reporter.emit("error", error)

    def _read(self, each: Decision) -> Job:
        return read(each.item, self._queue.definitions.get)
