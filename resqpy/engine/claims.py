"""Claimed jobs: due, and on their way through the enqueue hooks of their tasks.

Promotion put them into a private list in the step in which they left their delayed list; from there
each enters its queue in one step again. A leader that dies in between leaves them to its successor,
which runs the hooks again: **enqueue hooks of delayed jobs run at least once**. The private list is
nobody else's, so this goes on also while a Ruby or Node scheduler leads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from resqpy.base.model import Job
from resqpy.engine.due import Judge, read
from resqpy.engine.election import Leadership, Scope
from resqpy.engine.promotion import Teller, raise_if_refused, refused
from resqpy.engine.queue import Queue
from resqpy.store import promote
from resqpy.store.promote import Decision, Drop, Enqueue

HOOKS_AT_ONCE = 20


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

    async def run(self, leadership: Leadership) -> float | None:
        """Lead all claimed jobs to their queues."""
        while found := await promote.claimed(self._queue.store, HOOKS_AT_ONCE):
            await self._settle(leadership, found)
        return None

    async def _settle(self, leadership: Leadership, found: Sequence[Decision]) -> None:
        now_ms = leadership.clock.now_ms()
        decisions = await asyncio.gather(*(self._decide(each, now_ms) for each in found))
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
        pushed = [
            each
            for each, result in zip(decisions, results, strict=True)
            if result == promote.DONE and isinstance(each.action, Enqueue)
        ]
        await asyncio.gather(*(self._after(each) for each in pushed))

    async def _decide(self, each: Decision, now_ms: int) -> Decision:
        """Run the hooks before it; a hook that raises fails the job."""
        try:
            job = self._read(each)
            allowed = await self._queue.before_enqueue(self._judge.context(job))
        except Exception as error:
            return replace(each, action=self._judge.fail(each.item, error, now_ms))
        return replace(each, action=self._judge.enqueue(job) if allowed else Drop())

    async def _after(self, each: Decision) -> None:
        try:
            await self._queue.after_enqueue(self._judge.context(self._read(each)))
        except Exception as error:
            self._teller.emit("error", error)

    def _read(self, each: Decision) -> Job:
        return read(each.item, self._queue.definitions.get)
