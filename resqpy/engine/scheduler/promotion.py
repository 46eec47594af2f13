"""Promotion: a due job enters its queue in the same step in which it leaves its delayed list.

The jobs of most tasks are moved inside Redis, in batches, without inspection. An item is inspected if its
task has enqueue hooks or locks, if it can't be read, or if it names no queue; then it is

- pushed, with the locks checked in the same step (a job that a lock forbids is dropped, as in node-resque);
- claimed, if its task has hooks (`before_enqueue`, `after_enqueue`): it moves to a private list, where
  `resqpy.engine.scheduler.claims` finds it;
- sent to the failed list with its bytes kept, if no worker could ever run it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from resqpy.base import codec
from resqpy.base.error_text import add_note
from resqpy.base.errors import PayloadError, StoreError
from resqpy.engine.scheduler.due import DueItemPolicy
from resqpy.engine.scheduler.election import Leadership, Scope
from resqpy.store import promote
from resqpy.store.connection.client import Store
from resqpy.store.promote import Claim, Decision, Enqueue, Fail, Promoted

Result = int | str


class EventReporter:
    """Emits the scheduler's events about jobs that were moved.

    Args:
        emit, heard: the scheduler's own.
    """

    def __init__(self, emit: Callable[..., None], has_listeners: Callable[[str], bool]) -> None:
        self.emit = emit
        self.has_listeners = has_listeners

    def transferred(self, member: bytes, item: bytes) -> None:
        """A job is in its queue now."""
        if self.has_listeners("transferred_job"):
            self.emit("transferred_job", second_of(member), codec.decode_lenient(item))

    def decided(self, decisions: Sequence[Decision], results: Sequence[Result]) -> None:
        """Report the results of decisions."""
        for each, result in zip(decisions, results, strict=True):
            if result != promote.DONE:
                continue
            if isinstance(each.action, Enqueue):
                self.transferred(each.member, each.item)
            elif isinstance(each.action, Fail):
                reason = each.action.reason
                where = f"a delayed job, due at {second_of(each.member)}; its exact bytes are in the failed list"
                add_note(reason, where)
                self.emit("error", reason)


def second_of(member: bytes) -> int | str:
    """A second for events; a text if a foreign client wrote something else."""
    return int(member) if member.isdigit() else member.decode("utf-8", "replace")


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
            moved = await promote.move_due(self._store, leadership, looked_at, tell=tell)
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
        results = await promote.decide_delayed(self._store, leadership, member, decisions)
        self._reporter.decided(decisions, results)
        if any(isinstance(each.action, Claim) for each in decisions):
            self._on_claimed()
        return results
