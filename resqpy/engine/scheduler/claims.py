"""Claimed jobs: due, and on their way through the enqueue hooks of their tasks.

Promotion put them into a private list in the step in which they left their delayed list; from there
each enters its queue in one step again. A leader that dies in between leaves them to its successor,
which runs the hooks again: **enqueue hooks of delayed jobs run at least once**. The private list is
nobody else's, so this goes on also while a Ruby or Node scheduler leads.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from resqpy.base.concurrency.own_tasks import OwnTask, own_task, raise_if_cancelled
from resqpy.base.model import Job
from resqpy.engine.queue.queue import Queue
from resqpy.engine.scheduler.due import Judge, read
from resqpy.engine.scheduler.election import Leadership, Scope
from resqpy.engine.scheduler.promotion import Teller, raise_if_refused, refused
from resqpy.store import promote
from resqpy.store.promote import Decision, Drop, Enqueue

HOOKS_AT_ONCE = 20  # begun together
MOST_ASKED = 200  # under way together
_TOGETHER_S = 0.1  # that those get which are decided soon, to be settled in one step
_LOOK_AGAIN_S = 1.0  # at what else was claimed, while hooks take their time


class Claims:
    """The chore that leads claimed jobs to their queues.

    Args:
        queue: knows the tasks and runs their hooks.
        judge: decides on single items.
        teller: tells what was done.
    """

    name = "claims"
    scope: Scope = "own"
    prefixes: Sequence[str] = ()

    def __init__(self, queue: Queue, judge: Judge, teller: Teller) -> None:
        self._queue = queue
        self._judge = judge
        self._teller = teller
        self._asked: list[tuple[bytes, OwnTask[Decision]]] = []  # whose hooks run
        self._telling: set[OwnTask[None]] = set()

    async def run(self, leadership: Leadership) -> float | None:
        """Lead all claimed jobs to their queues; one whose hooks take their time keeps none of the others
        from it, for as long as there are not too many of them.
        """
        while True:
            page = len(self._asked) + HOOKS_AT_ONCE
            fresh = self._fresh(await promote.claimed(self._queue.store, page))
            for each in fresh[: MOST_ASKED - len(self._asked)]:
                task = own_task(self._decide(each, leadership.clock.now_ms()))
                self._asked.append((promote.claimed_text(each), task))
            if not self._asked:
                return None
            if decided := await self._decided():
                await self._settle(leadership, decided)
            elif not fresh:
                return _LOOK_AGAIN_S

    async def _decided(self) -> list[Decision]:
        """What the hooks have decided by now; those that take their time are not waited for."""
        tasks = [task for _, task in self._asked]
        await asyncio.wait(tasks, timeout=_TOGETHER_S)
        await asyncio.wait(tasks, timeout=_LOOK_AGAIN_S, return_when=asyncio.FIRST_COMPLETED)
        decided = [task.result() for task in tasks if task.done()]
        self._asked = [each for each in self._asked if not each[1].done()]
        return decided

    def _fresh(self, found: Sequence[Decision]) -> list[Decision]:
        """Those of the claimed jobs whose hooks are not asked yet; equal ones count each."""
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
        self._teller.decided(decisions, results)
        if wrong := refused(decisions, results):
            failures = [
                replace(each, action=self._judge.fail(each.item, error, now_ms))
                for each, error in wrong
            ]
            again = await promote.decide_claimed(self._queue.store, leadership, failures)
            self._teller.decided(failures, again)
            raise_if_refused(failures, again)
        for each, result in zip(decisions, results, strict=True):
            if result == promote.DONE and isinstance(each.action, Enqueue):
                after = own_task(self._after(each))
                self._telling.add(after)
                after.add_done_callback(self._telling.discard)

    async def _decide(self, each: Decision, now_ms: int) -> Decision:
        """Run the hooks before it; a hook that raises fails the job."""
        try:
            job = self._read(each)
            allowed = await self._queue.before_enqueue(self._judge.context(job))
        except BaseException as error:  # whatever a hook raises
            raise_if_cancelled(error)
            return replace(each, action=self._judge.fail(each.item, error, now_ms))
        return replace(each, action=self._judge.enqueue(job) if allowed else Drop())

    async def _after(self, each: Decision) -> None:
        try:
            await self._queue.after_enqueue(self._judge.context(self._read(each)))
        except BaseException as error:
            raise_if_cancelled(error)
            self._teller.emit("error", error)

    def _read(self, each: Decision) -> Job:
        return read(each.item, self._queue.definitions.get)
