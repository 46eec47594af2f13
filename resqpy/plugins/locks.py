"""JobLock, QueueLock, DelayQueueLock: only one of several equal jobs (name, queue, arguments) runs, or
waits, at a time.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar, TypeVar
from weakref import WeakKeyDictionary

from resqpy.base import codec
from resqpy.base.concurrency.own_tasks import OwnTask, own_task
from resqpy.base.errors import OutcomeUnknown, StoreError, StoreUnavailable, UsageError
from resqpy.base.keys import Keys
from resqpy.base.ruby_text import ruby_inspect, ruby_joined
from resqpy.base.when import Duration, duration_ms, lock_seconds
from resqpy.engine.lifecycle import Command, Outcome, OutcomeKind
from resqpy.engine.plugin import CallNext, Enqueuing, Plugin
from resqpy.engine.run import Run
from resqpy.store import locks
from resqpy.store.exchange import FREED, HELD
from resqpy.store.locks import UNLOCK, JobLockKey
from resqpy.store.queues import DELAYED, Guard

# Retries requests until Redis answers: a claimed job must not fail because Redis is unreachable.

T = TypeVar("T")

_FIRST_PAUSE_S = 0.05
_LONGEST_PAUSE_S = 2.0


async def patiently(run: Run, ask: Callable[[bool], Awaitable[T]]) -> T:
    """What `ask` returns once Redis is reachable; a stop or a cancellation ends the wait.

    Args:
        ask: called with True if an earlier call may have succeeded although its reply was lost.

    Raises:
        StoreUnavailable, OutcomeUnknown: only for a run without a worker (`perform_inline`).
    """
    again, pause_s = False, _FIRST_PAUSE_S
    while True:
        try:
            return await ask(again)
        except (StoreUnavailable, OutcomeUnknown) as error:
            if run.inline:
                raise
            again = again or isinstance(error, OutcomeUnknown)
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)


DEFAULT_LOCK_TIMEOUT = timedelta(hours=1)  # node-resque's 3600 seconds

RESQUE_LOCK = "resque-lock"
AnyJob = Enqueuing | Run
OwnKey = str | Callable[[AnyJob], str]


@dataclass(frozen=True, slots=True)
class RubyKeys:
    """How the keys of a Ruby gem are made of a job.

    Attributes:
        gem: the word that `keys` gives: "ruby", or another of the plugin's.
        arrow: how that Ruby writes the pairs of an object; None: not known.
    """

    gem: str
    arrow: str | None

    @classmethod
    def of(cls, plugin: Plugin, gems: Sequence[str] = ()) -> RubyKeys | None:
        """What the options `keys` and `ruby_version` say; None: the keys are node-resque's.

        Raises:
            UsageError: one of them is another word.
        """
        gem, version = plugin.option("keys", "node"), plugin.option("ruby_version")
        words = ("node", "ruby", *gems)
        if gem not in words:
            raise UsageError(f"keys: {gem!r} is none of {', '.join(map(repr, words))}")
        if version is None:
            return None if gem == "node" else cls(gem, None)
        if gem == "node":
            raise UsageError(f"ruby_version: {version!r} is only for keys of Ruby: give keys, too")
        if not isinstance(version, str) or not (found := re.match(r"(\d+)\.(\d+)\b", version)):
            raise UsageError(f"ruby_version: {version!r} is no version such as '3.3'")
        return cls(gem, " => " if (int(found[1]), int(found[2])) >= (3, 4) else "=>")

    def joined(self, args: Sequence[Any]) -> str:
        """The arguments as `identifier` of resque-lock-timeout has them.

        Raises:
            InvalidJob: an object is among them, and no version was given.
        """
        return ruby_joined(codec.without_task_id(args), self.arrow)

    def inspected(self, args: Sequence[Any]) -> str:
        """The arguments as resque-lock has them; raises as `joined`."""
        return ruby_inspect(codec.without_task_id(args), self.arrow)


class KeyedLock(Plugin):
    """Base of the locks that have a key and a lifetime.

    Options:
        lock_timeout: seconds (node-resque's unit) or a timedelta; default 3600. key: the name of the key,
            or a function of the job that returns it. It is used unchanged, without the namespace, as in
            node-resque; on a Cluster it needs the hash tag. keys: "ruby": the keys of resque-lock-timeout,
            so that Ruby's jobs of the same class and arguments count; default "node". With key it says whose
            rules that key has. ruby_version: which Ruby writes these keys, such as "3.3"; needed only where
            an argument is an object.
    """

    hook_timeout: ClassVar[Duration | None] = None  # it waits for Redis as long as necessary
    gems: ClassVar[tuple[str, ...]] = ()  # words for `keys` beside "ruby"
    option_names: ClassVar[frozenset[str]] = frozenset(
        {"lock_timeout", "key", "keys", "ruby_version"}
    )

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(options)
        self.at_take = None
        timeout = self.option("lock_timeout", DEFAULT_LOCK_TIMEOUT)
        self.lock_timeout_s: int = lock_seconds(timeout, "lock_timeout")
        self.ruby = RubyKeys.of(self, self.gems)
        self._own_key: OwnKey | None = self.option("key", None)
        named_here = self._own_key is not None
        self.positional = self.ruby is not None and self.ruby.arrow is None and not named_here
        if self._own_key is not None and not callable(self._own_key):
            _checked(self._own_key)

    def can_be_taken_as(self, word: str) -> None:
        """Set `at_take` where the key is node-resque's; of a class below it may be another."""
        if not self.ruby and self._own_key is None:
            self.at_take = word

    def done_at_take(self, run: Run, what: int) -> bool:
        """Whether the exchange did it for this plugin, and not only for another one, with another key."""
        return self.at_take is not None and bool(run.claim.locks & what)

    def own_key(self, job: AnyJob) -> str | None:
        """The key that the option gives for this job; None without the option."""
        own = self._own_key
        if own is None or isinstance(own, str):
            return own
        return _checked(own(job))


def key_parts(job: AnyJob) -> tuple[str, str, str]:
    """The parts of a lock's name: the task, the queue, the arguments as JavaScript's JSON."""
    args = job.args_as_sent() if isinstance(job, Run) and job.claim.locks else job.args
    return job.class_name, job.queue, codec.lock_args(args)


def _checked(key: object) -> str:
    if not isinstance(key, str) or not key:
        raise UsageError(f"key: {key!r} is neither a key's name nor a function that returns one")
    return key


DEFAULT_ENQUEUE_TIMEOUT_MS = 1001  # node-resque's

_log = logging.getLogger("resqpy.plugins.locks")


class JobLock(KeyedLock):
    """A job is delayed, or dropped, while an equal one is running.

    The lock is freed in the same step that ends the run, and only if it is still ours. While the job runs
    it is renewed, so `lock_timeout` is how long the lock of a killed worker remains.

    Options, besides those of `KeyedLock`:
        enqueue_timeout: milliseconds (or a timedelta) until the delayed job is due; default 1001.
            re_enqueue: False drops the job instead of delaying it; default True.
    """

    option_names: ClassVar[frozenset[str]] = KeyedLock.option_names | {
        "enqueue_timeout",
        "re_enqueue",
    }

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(options)
        delay = self.option("enqueue_timeout", DEFAULT_ENQUEUE_TIMEOUT_MS)
        self.enqueue_timeout_ms: int = duration_ms(delay, "enqueue_timeout")
        self.re_enqueue: bool = self.option("re_enqueue", True)  # noqa: FBT003 - the option's default
        if not isinstance(self.re_enqueue, bool):
            raise UsageError(f"re_enqueue: {self.re_enqueue!r} must be True or False")

        if type(self) is JobLock:
            self.can_be_taken_as(str(self.lock_timeout_s))
        self._renewals = WeakKeyDictionary[asyncio.AbstractEventLoop, _Renewals]()

    def hold(self, run: Run, key: JobLockKey | None = None) -> _Renewals:
        """The lock is renewed while it runs; without a key it was taken with the job."""
        loop = asyncio.get_running_loop()
        renewals = self._renewals.get(loop)
        if renewals is None:
            renewals = self._renewals[loop] = _Renewals(self)
        renewals.begin(run, key)
        return renewals

    def around_success(self, run: Run) -> None:
        """The lock that was taken with the job is freed with it."""

    async def around(self, run: Run, call_next: CallNext) -> None:
        """Run it with the lock, or not at all."""
        if self.done_at_take(run, HELD):
            await self._renewed(run, call_next)
            return
        key = self.key_of(run)
        freeing = UNLOCK if run.beginning else key.release_command
        # added before the lock is taken: a run cancelled in between may have it
        run.effects.append(freeing)
        if not await self._taken(run, key):
            run.effects.remove(freeing)
            self._blocked(run, key)
            return
        await self._renewed(run, call_next, key)

    async def _renewed(self, run: Run, call_next: CallNext, key: JobLockKey | None = None) -> None:
        renewal = self.hold(run, key)
        try:
            await call_next()
        finally:
            renewal.end(run)

    def key_of(self, run: Run) -> JobLockKey:
        """The lock of a run."""
        keys = run.store.keys
        lock = self.own_key(run)
        if lock is None and self.ruby:
            lock = keys.ruby_lock(run.class_name, self.ruby.joined(run.args))
        lock = lock or keys.job_lock(*key_parts(run))
        return JobLockKey(
            lock, keys.job_locks(str(run.worker_id)), self.lock_timeout_s, bool(self.ruby)
        )

    async def _taken(self, run: Run, key: JobLockKey) -> bool:
        of = run.store, key, str(run.worker_id), run.beginning
        return await patiently(run, lambda again: locks.take_job_lock(*of, again=again))

    def _blocked(self, run: Run, key: JobLockKey) -> None:
        run.vetoed = True
        if self.re_enqueue:
            info = {"delay": self.enqueue_timeout_ms, "lock": key.lock}
            run.outcome = Outcome(OutcomeKind.DELAYED, delay_ms=self.enqueue_timeout_ms, info=info)


class _Renewals:
    """Hold the locks of a task's runs on one loop for as long as these last. One timer for all: most are over
    before it comes, and one for each would be a tenth of what such a job costs.
    """

    def __init__(self, lock: JobLock) -> None:
        self._lock = lock
        self._pause_s = lock.lock_timeout_s / 3
        self._tasks: dict[Run, OwnTask[None] | JobLockKey | None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, run: Run, key: JobLockKey | None) -> None:
        """It has the lock."""
        self._tasks[run] = key
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._pause_s, self._renew_all)

    def end(self, run: Run) -> None:
        """It is over."""
        task = self._tasks.pop(run)
        if isinstance(task, OwnTask):
            task.end()

    def _renew_all(self) -> None:
        self._timer = None
        for run, one in self._tasks.items():
            if not isinstance(one, OwnTask):
                renewing = self._renew(run, one or self._lock.key_of(run))
                self._tasks[run] = own_task(renewing, "renewal of a job lock", run)

    async def _renew(self, run: Run, key: JobLockKey) -> None:
        held = True
        while held:
            try:
                held = await locks.hold_job_lock(run.store, key)
            except StoreError:
                held = True  # Redis may be back before the lock expires
            if held:
                await asyncio.sleep(self._pause_s)
        _log.warning("the lock %s was lost while its job was running", key.lock)


class QueueLock(KeyedLock):
    """A job is not enqueued while an equal one waits in the queue. The options are those of `KeyedLock`.

    The lock is taken in the same step that pushes the job, and freed when the job was taken from the queue,
    before it runs and whatever the other plugins decide.

    With `keys: "resque-lock"` it has the key of Ruby's resque-lock, which is held until the run ends: the job is
    not enqueued while an equal one waits or runs.
    """

    rank: ClassVar[int] = 2  # the job has left its queue, whatever the others decide
    gems: ClassVar[tuple[str, ...]] = (RESQUE_LOCK,)

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        super().__init__(options)
        if type(self) is QueueLock:
            self.can_be_taken_as("q")

    def guards(self, keys: Keys, job: Enqueuing) -> Sequence[Guard]:
        """The lock that is checked in the step that pushes."""
        return (Guard("lock", self._key(keys, job), self.lock_timeout_s),)

    async def around(self, run: Run, call_next: CallNext) -> None:
        """Free the lock, then run; a job that goes back to its queue keeps it.

        For a job with a record, the lock taken at its creation was freed when the job was claimed; a lock
        that exists now belongs to another job.
        """
        if run.lifecycle.plain and not self.done_at_take(run, FREED):
            key = self._key(run.store.keys, run)
            if self.ruby and self.ruby.gem == RESQUE_LOCK:
                run.effects.append(("DEL", key))
            else:
                await patiently(run, lambda _: locks.free_queue_lock(run.store, key))
            run.on_return += self.taken_back(run)
        await call_next()

    def around_success(self, run: Run) -> None:
        """Nothing."""

    def taken_back(self, run: Run) -> Sequence[Command]:
        """It keeps its lock, if no other has taken that meanwhile."""
        return (locks.lock_command(self._key(run.store.keys, run), self.lock_timeout_s),)

    def _key(self, keys: Keys, job: AnyJob) -> str:
        if (own := self.own_key(job)) is not None:
            return own
        if self.ruby and self.ruby.gem == RESQUE_LOCK:
            return keys.resque_lock(job.class_name, self.ruby.inspected(job.args))
        if self.ruby:
            return keys.ruby_lock(job.class_name, self.ruby.joined(job.args), "loner:")
        return keys.queue_lock(*key_parts(job))


class DelayQueueLock(Plugin):
    """No options. Finds delayed jobs written by any language."""

    def guards(self, keys: Keys, job: Enqueuing) -> Sequence[Guard]:
        """The index keys of the delayed job, one per spelling; none may exist."""
        texts = codec.spellings(job.class_name, job.queue, job.args)
        return tuple(Guard(DELAYED, keys.timestamps(text)) for text in texts)
