"""Claimed jobs: due, and waiting for the enqueue hooks of their tasks.

Promotion moved them into a private list in the step in which they left their delayed list; from there each
moves to its queue in one step. A leader that dies in between leaves them to its successor, which runs the
hooks again: **enqueue hooks of delayed jobs run at least once**. The list is private to resqpy, so this
continues while a Ruby or Node scheduler leads.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from resqpy.base.concurrency.own_tasks import OwnTask, own_task, raise_if_cancelled
from resqpy.base.model import Job
from resqpy.engine.queue.queue import Queue
from resqpy.engine.scheduler.due import DueItemPolicy, read
from resqpy.engine.scheduler.election import Leadership, Scope
from resqpy.engine.scheduler.promotion import EventReporter, raise_if_refused, refused
from resqpy.store import promote
from resqpy.store.promote import Decision, Drop, Enqueue

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
            fresh = self._fresh(await promote.claimed(self._queue.store, page))
            for each in fresh[: MAX_ASKED - len(self._asked)]:
                task = own_task(self._decide(each, leadership.clock.now_ms()))
                self._asked.append((promote.claimed_text(each), task))
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
            text = promote.claimed_text(each)
            if asked[text]:
                asked[text] -= 1
            else:
                fresh.append(each)
        return fresh

    async def _settle(self, leadership: Leadership, decisions: Sequence[Decision]) -> None:
        now_ms = leadership.clock.now_ms()
        results = await promote.decide_claimed(self._queue.store, leadership, decisions)
        self._reporter.decided(decisions, results)
        if wrong := refused(decisions, results):
            failures = [
                replace(each, action=self._policy.fail(each.item, error, now_ms))
                for each, error in wrong
            ]
            again = await promote.decide_claimed(self._queue.store, leadership, failures)
            self._reporter.decided(failures, again)
            raise_if_refused(failures, again)
        for each, result in zip(decisions, results, strict=True):
            if result == promote.DONE and isinstance(each.action, Enqueue):
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
