"""Promotion: what is due enters its queue in the very step in which it leaves its delayed list.

The jobs of most tasks are moved inside Redis, in batches, without a look from here. An item is
looked at where its task has enqueue hooks or locks, where it can't be read, or where it names no
queue; then it is

- pushed, with the locks asked in the same step (a job that a lock forbids is dropped, as in
  node-resque);
- claimed, where its task has hooks of its own (`before_enqueue`, `after_enqueue`): it moves to a
  private list, where `resqpy.engine.scheduler.claims` finds it;
- sent to the failed list with its bytes kept, where no worker could ever run it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from resqpy.base import codec
from resqpy.base.error_text import add_note
from resqpy.base.errors import PayloadError, StoreError
from resqpy.engine.scheduler.due import Judge
from resqpy.engine.scheduler.election import Leadership, Scope
from resqpy.store import promote
from resqpy.store.connection.client import Store
from resqpy.store.promote import Claim, Decision, Enqueue, Fail, Promoted

Result = int | str


class Teller:
    """The scheduler's events about jobs that were moved.

    Args:
        emit, heard: the scheduler's own.
    """

    def __init__(self, emit: Callable[..., None], heard: Callable[[str], bool]) -> None:
        self.emit = emit
        self.heard = heard

    def transferred(self, member: bytes, item: bytes) -> None:
        """A job is in its queue now."""
        if self.heard("transferred_job"):
            self.emit("transferred_job", second_of(member), codec.decode_lenient(item))

    def decided(self, decisions: Sequence[Decision], results: Sequence[Result]) -> None:
        """What came of decisions."""
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
    """A second as the events tell it; a text where a foreign client wrote something else."""
    return int(member) if member.isdigit() else member.decode("utf-8", "replace")


def refused(
    decisions: Sequence[Decision], results: Sequence[Result]
) -> list[tuple[Decision, StoreError]]:
    """The decisions that Redis would not carry out, and why: their queue is no list, say."""
    return [
        (each, StoreError(f"the job can't be enqueued: {text}"))
        for each, text in zip(decisions, results, strict=True)
        if isinstance(text, str)
    ]


def raise_if_refused(decisions: Sequence[Decision], results: Sequence[Result]) -> None:
    """Jobs that can't even be failed stay where they are, and whoever meets them must stop."""
    for each, error in refused(decisions, results):
        raise StoreError(f"a job due at {each.member!r} can't be failed either: {error}")


class Promotion:
    """The chore that moves what is due.

    Args:
        judge: decides on single items.
        teller: tells what was done.
        on_claimed: called when items were claimed.
        longest_s: seconds between looks where nothing is known to be due.
    """

    name = "promotion"
    scope: Scope = "shared"

    def __init__(
        self,
        store: Store,
        judge: Judge,
        teller: Teller,
        on_claimed: Callable[[], None],
        longest_s: float,
    ) -> None:
        self.prefixes = (store.keys.schedule,)
        self._store = store
        self._judge = judge
        self._teller = teller
        self._on_claimed = on_claimed
        self._longest_s = longest_s

    async def run(self, leadership: Leadership) -> float:
        """Move all that is due; seconds until the next item is."""
        self._teller.emit("poll")
        looked_at = self._judge.looked_at()
        tell = self._teller.heard("transferred_job")
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
            self._teller.emit("working_timestamp", second_of(member))
        for member, item in moved.told:
            self._teller.transferred(member, item)
        for member, what in moved.oddities:
            text = f"delayed_queue_schedule names {second_of(member)!r}: {what.decode()}"
            self._teller.emit("error", PayloadError(text))

    async def _look_at(self, leadership: Leadership, moved: Promoted) -> None:
        now_ms = leadership.clock.now_ms()
        decisions = [
            Decision(item, moved.member, self._judge.action(item, now_ms)) for item in moved.page
        ]
        results = await self._carry_out(leadership, moved.member, decisions)
        if wrong := refused(decisions, results):
            failures = [
                Decision(each.item, each.member, self._judge.fail(each.item, error, now_ms))
                for each, error in wrong
            ]
            raise_if_refused(failures, await self._carry_out(leadership, moved.member, failures))

    async def _carry_out(
        self, leadership: Leadership, member: bytes, decisions: Sequence[Decision]
    ) -> list[Result]:
        results = await promote.decide_delayed(self._store, leadership, member, decisions)
        self._teller.decided(decisions, results)
        if any(isinstance(each.action, Claim) for each in decisions):
            self._on_claimed()
        return results
