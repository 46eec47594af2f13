"""The write side: enqueue and delete. Counting, listing and cleaning up are in `Inspector`."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any, TypeVar

from resqpy.base import codec
from resqpy.base.clock import SYSTEM_CLOCK, Clock, test_ms
from resqpy.base.concurrency.loops import must_be_awaited
from resqpy.base.errors import DuplicateDelayedJob, InvalidJob, UsageError, add_note
from resqpy.base.keys import Keys, check_queue_name
from resqpy.base.model import DUPLICATE, ENQUEUED, ONCE, Enqueued
from resqpy.base.reading import JobFilter
from resqpy.base.shadowing import NotedJob, Shadow, shadow_run
from resqpy.base.when import Duration, Moment, delay_ms, duration_ms, moment_ms
from resqpy.engine.definition import Definition, Definitions, definitions
from resqpy.engine.plugin import Enqueuing, Plugin, limited
from resqpy.engine.queue.removing import Advancing, Moving, Removing
from resqpy.engine.queue.room import Room
from resqpy.engine.role import Connection, as_store
from resqpy.store import delayed, queues
from resqpy.store.connection.client import Store
from resqpy.store.queues import Guard, Push

# Calls that may be repeated: while the key of a call is in Redis, the same call makes no second job.

OnceKeys = str | Sequence[str | None]

ONCE_WITHIN_MS = 86_400_000  # longer than anybody repeats a call
_MAX_BYTES = 512


class Once:
    """What the jobs of one call are marked by.

    Args:
        once: a key for the call, whose jobs count by their places; or one for each job (None: it has none).
        within: how long a job counts as made, in milliseconds or as a timedelta.
        count: how many jobs there are.

    Raises:
        UsageError: what is wrong with them.
    """

    def __init__(self, keys: Keys, once: OnceKeys, within: Duration, count: int) -> None:
        self._keys = keys
        self._ms = duration_ms(within, "once_within")
        if self._ms < 1:
            raise UsageError(f"once_within: {within!r} is no time; give a millisecond or more")
        several = once if isinstance(once, list | tuple) else None
        self._whole = None if several is not None else _checked(once)
        self._each: Sequence[str | None] = several or ()
        if several is not None and len(several) != count:
            raise UsageError(
                f"once: {len(several)} keys for {count} jobs; give one for each, or a text"
            )

    def guards(self, class_name: str, number: int) -> Sequence[Guard]:
        """What Redis asks of a job in the step that pushes it; nothing where it has no key."""
        if self._whole is not None:
            return self._made(class_name, self._whole, number)
        key = self._each[number]
        return () if key is None else self._made(class_name, _checked(key))

    def _made(self, class_name: str, *words: str | int) -> Sequence[Guard]:
        call = codec.encode_value([class_name, *words], "once")
        return (Guard(ONCE, self._keys.once(call), self._ms, ONCE),)


def once_words(once: OnceKeys | None, within: Duration) -> dict[str, Any]:
    """What is passed on of a key; nothing where there is none, for a part that need not know it."""
    return {} if once is None else {"once": once, "once_within": within}


def _checked(key: object) -> str:
    if not isinstance(key, str) or not key:
        raise UsageError(f"once: {key!r} is no key; give a text that names this very call")
    try:
        size = len(key.encode())
    except UnicodeEncodeError as error:
        raise UsageError(f"once: {key!r} has a lone surrogate, which can't be written") from error
    if size > _MAX_BYTES:
        raise UsageError(f"once: the key {key[:40]!r}… has {size} bytes; the most is {_MAX_BYTES}")
    return key


# The enqueue hooks of tasks' plugins: called before a job's bytes are made, and after it was enqueued.

R = TypeVar("R")

_log = logging.getLogger("resqpy")


class JobHooks:
    """The hooks of some tasks, each with its time limit.

    Args:
        definitions: the tasks by name; other jobs have no hooks.
    """

    def __init__(self, definitions: Mapping[str, Definition]) -> None:
        self._definitions = definitions
        self._told: set[tuple[str, str]] = set()

    async def before(self, job: Enqueuing) -> Plugin | None:
        """Call the hooks of a job, which may change `job.args`; returns the plugin that forbids it.

        Raises:
            InvalidJob, InvalidInputs: a hook changed the arguments to something that can't be enqueued.
        """
        if not (hooks := self._of(job)):
            return None
        given = job.args
        job.args = deepcopy(given)  # the caller's object stays unchanged
        seen = repr(job.args)  # `==` would not tell 1 from True
        try:
            for plugin in hooks:
                if await limited(plugin, plugin.before_enqueue(job), _doing(job)) is False:
                    return plugin
                if repr(job.args) != seen:
                    job.args = self._changed(plugin, job, given)
                    seen = repr(job.args)
        except Exception as error:
            add_note(error, f"before task {job.class_name!r} was enqueued")
            raise
        return None

    async def after(self, job: Enqueuing) -> None:
        """Call the hooks of a job that was enqueued."""
        try:
            for plugin in self._of(job):
                await limited(plugin, plugin.after_enqueue(job), _doing(job))
        except Exception as error:
            add_note(error, f"after task {job.class_name!r} was enqueued")
            raise

    def _of(self, job: Enqueuing) -> tuple[Plugin, ...]:
        definition = self._definitions.get(job.class_name)
        return () if definition is None else definition.enqueue_hooks

    def _changed(self, plugin: Plugin, job: Enqueuing, given: list[Any]) -> list[Any]:
        """The arguments that a hook has changed, checked; those of existing bytes are ignored."""
        name = job.class_name
        whose = f"the arguments of task {name!r} changed by {plugin.name}, a plugin or middleware,"
        if job.fixed:
            self._tell_once(plugin.name, name, whose)
            return deepcopy(given)
        try:
            check = self._definitions[name].check
            raw = codec.encode_job(name, job.queue, check(job.args) if check else job.args)
            args = codec.decode_job(raw, job.queue).args  # the plugin may keep using its own object
        except UsageError as error:
            raise type(error)(f"{whose} can't be enqueued: {error}") from error
        return args

    def _tell_once(self, plugin: str, task: str, whose: str) -> None:
        if (plugin, task) not in self._told:
            self._told.add((plugin, task))
            _log.warning(
                "%s are ignored (reported once): the bytes of a job that was delayed, has failed, or comes "
                "from a Ruby schedule already exist, so hooks can only forbid it",
                whose,
            )


def _doing(job: Enqueuing) -> str:
    return f"enqueuing task {job.class_name!r}"


NewJob = tuple[str, str, Sequence[Any]]


def _job(_: object, args: tuple[Any, ...], more: dict[str, Any]) -> str:
    return f"a job of {args[1] if len(args) > 1 else more.get('class_name')!r}"


def _later(_: object, args: tuple[Any, ...], more: dict[str, Any]) -> str:
    return _job(_, args[1:], more)


def _jobs(*_: object) -> str:
    return "several jobs"


class Queue(Removing, Moving):
    """Enqueues jobs that Ruby, Node and Python workers can run.

    Args:
        connection: a `Store`, `RedisOptions` or a URL.
        jobs: tasks by name, for their plugins' hooks; jobs of other tasks are enqueued without hooks, as in
            node-resque.
    """

    def __init__(
        self,
        connection: Connection = None,
        jobs: Mapping[str, Any] | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        store, owned = as_store(connection)
        self.store: Store = store
        self._owned = store if owned else None
        self.definitions: Definitions = definitions(jobs or {})
        self.clock: Clock = clock
        self._hooks = JobHooks(self.definitions)
        self._ruby = store.options.ruby_queues
        self._room = Room(store) if store.options.queue_limits else None

    # -- enqueue --

    @must_be_awaited(_job)
    async def enqueue(
        self,
        queue: str,
        class_name: str,
        args: Sequence[Any] = (),
        *,
        once: str | None = None,
        once_within: Duration = ONCE_WITHIN_MS,
    ) -> bool:
        """Put a job at the tail of a queue. One round trip.

        Args:
            once: a text that names this very call, so that it may be repeated: while it is known, for the
                same task, no second job is made.
            once_within: how long it is known, in milliseconds or as a timedelta; default: a day.

        Returns:
            False if a plugin's hook or lock forbade it, or a call with the same `once` has made it.

        Raises:
            InvalidJob, InvalidQueueName: nothing was written.
            QueueFull: so many jobs wait as may (`RedisOptions.queue_limits`); nothing was written.
            StoreUnavailable: nothing was written. OutcomeUnknown: it may have been written.
        """
        more = once_words(once, once_within)
        return (await self.enqueued(queue, class_name, args, **more)).refused is None

    @must_be_awaited(_job)
    async def enqueue_front(
        self,
        queue: str,
        class_name: str,
        args: Sequence[Any] = (),
        *,
        once: str | None = None,
        once_within: Duration = ONCE_WITHIN_MS,
    ) -> bool:
        """Put a job at the head of a queue: it is the next to run. See `enqueue`."""
        more = once_words(once, once_within)
        return bool(await self.enqueued(queue, class_name, args, front=True, **more))

    async def enqueued(
        self,
        queue: str,
        class_name: str,
        args: Sequence[Any] = (),
        *,
        front: bool = False,
        once: str | None = None,
        once_within: Duration = ONCE_WITHIN_MS,
    ) -> Enqueued:
        """As `enqueue`, and why the job was refused."""
        marks = None if once is None else Once(self.store.keys, [once], once_within, 1)
        push = self._push(queue, class_name, args, marks.guards(class_name, 0) if marks else ())
        if (shadow := shadow_run()) is not None:
            return _noted(shadow, [(queue, class_name, args)])[0]
        if (task := self.definitions.named(class_name)) is not None and task.enqueue_hooks:
            done = await self._enqueue_with_hooks([(queue, class_name, args)], front, marks)
        else:
            done = await self._pushed([push], front)
        if self._room is not None:
            self._room.need([push], done)
        return done[0]

    async def _pushed(self, pushes: Sequence[Push], front: bool) -> list[Enqueued]:
        if self._room is not None:
            return [*map(_told, await self._room.push(pushes, front=front))]
        return [*map(_told, await queues.push(self.store, pushes, front=front))]

    @must_be_awaited(_jobs)
    async def enqueue_many(
        self,
        jobs: Iterable[NewJob],
        *,
        front: bool = False,
        once: OnceKeys | None = None,
        once_within: Duration = ONCE_WITHIN_MS,
    ) -> list[bool]:
        """Enqueue many jobs, `(queue, class_name, args)` each, in one round trip for up to 10,000 jobs or a MiB
        of them.

        If one of them is invalid, nothing is written. The hooks of all are called before the first is
        written; they may change the arguments.

        Args:
            once: a text that names this very call, of the same jobs in the same order; or a list with one
                for each job. See `enqueue`.

        Raises:
            InvalidJob, InvalidQueueName: which of them is wrong, and how.
            QueueFull: not all found room; its `enqueued` says how many did.
            StoreUnavailable: nothing was written. OutcomeUnknown: some may have been written. StoreError: Redis
                refused it; of what takes several round trips, the words say how many were written before.
        """
        done = await self.enqueued_many(jobs, front=front, once=once, once_within=once_within)
        return [each.refused is None for each in done]

    async def enqueued_many(
        self,
        jobs: Iterable[NewJob],
        *,
        front: bool = False,
        once: OnceKeys | None = None,
        once_within: Duration = ONCE_WITHIN_MS,
    ) -> list[Enqueued]:
        """As `enqueue_many`, and why a job was refused."""
        wanted = list(jobs)
        marks = None if once is None else Once(self.store.keys, once, once_within, len(wanted))
        pushes = self._pushes(wanted, marks)
        if (shadow := shadow_run()) is not None:
            return _noted(shadow, wanted)
        if self._any_hooks(wanted):
            done = await self._enqueue_with_hooks(wanted, front, marks)
        else:
            done = await self._pushed(pushes, front)
        if self._room is not None:
            self._room.need(pushes, done)
        return done

    def _pushes(self, jobs: Sequence[NewJob], marks: Once | None) -> list[Push]:
        """All checked; locks of jobs with hooks are unknown until the hooks have been called."""
        pushes: list[Push] = []
        try:
            for number, job in enumerate(jobs):
                _check_shape(job)
                once = () if marks is None else marks.guards(job[1], number)
                pushes.append(self._push(*job, once))
        except UsageError as error:
            say_which(error, len(pushes), len(jobs))
            raise
        return pushes

    def _push(
        self, queue: str, class_name: str, args: Sequence[Any], once: Sequence[Guard]
    ) -> Push:
        raw = codec.encode_job(class_name, check_queue_name(queue), args, self._ruby)
        task = self.definitions.named(class_name)
        if task is not None and task.ends:
            raw, once = self._with_ends(raw, task, once)
        if task is None or not task.guarding or task.enqueue_hooks:
            return Push(queue, raw, once)
        return Push(queue, raw, (*once, *self.guards(queue, class_name, args)))

    def guards(self, queue: str, class_name: str, args: Sequence[Any]) -> Sequence[Guard]:
        """The locks of a job's plugins that are checked while pushing."""
        definition = self.definitions.get(class_name)
        if definition is None or not definition.guarding:
            return ()
        job = Enqueuing(class_name, queue, list(args), self)
        return [
            replace(guard, owner=plugin.name)
            for plugin in definition.guarding
            for guard in plugin.guards(self.store.keys, job)
        ]

    def _any_hooks(self, jobs: Sequence[NewJob]) -> bool:
        known = self.definitions
        return bool(known) and any(
            (definition := known.get(name)) is not None and definition.enqueue_hooks
            for _, name, _ in jobs
        )

    async def _enqueue_with_hooks(
        self, jobs: Sequence[NewJob], front: bool, marks: Once | None
    ) -> list[Enqueued]:
        contexts = [Enqueuing(name, queue, list(args), self) for queue, name, args in jobs]
        asked: list[Push | Enqueued] = []  # the latter: forbidden
        try:
            for number, context in enumerate(contexts):
                forbids = await self._hooks.before(context)
                once = () if marks is None else marks.guards(context.class_name, number)
                push = self._push_of(context, once)
                asked.append(push if forbids is None else Enqueued(forbids.name))
        except UsageError as error:
            say_which(error, len(asked), len(jobs))
            raise
        chosen = [each for each in asked if isinstance(each, Push)]
        told = iter(await self._pushed(chosen, front))
        pushed = [each if isinstance(each, Enqueued) else next(told) for each in asked]
        for context, done in zip(contexts, pushed, strict=True):
            if done:
                await self.after_enqueue(context)
        return pushed

    def _push_of(self, job: Enqueuing, once: Sequence[Guard]) -> Push:
        """A job as its hooks have left it."""
        raw = codec.encode_job(job.class_name, job.queue, job.args, self._ruby)
        if (task := self.definitions.named(job.class_name)) is not None and task.ends:
            raw, once = self._with_ends(raw, task, once)
        if job.headers:
            raw = codec.with_headers(raw, job.headers)
        return Push(job.queue, raw, (*once, *self.guards(job.queue, job.class_name, job.args)))

    def _with_ends(
        self, raw: bytes, task: Definition, guards: Sequence[Guard]
    ) -> tuple[bytes, Sequence[Guard]]:
        """A job that becomes too old, by Redis' clock: the script that pushes it writes when."""
        now_ms = test_ms(self.clock)
        if now_ms is not None:
            return codec.with_ends(raw, [(name, now_ms + ms) for name, ms in task.ends])[0], guards
        raw, places = codec.with_ends(raw, [(name, 0) for name, _ in task.ends])
        stamps = (
            Guard("stamp", str(at), ms) for at, (_, ms) in zip(places, task.ends, strict=True)
        )
        return raw, (*guards, *stamps)

    async def before_enqueue(self, job: Enqueuing) -> bool:
        """Call the hooks of a job's plugins, which may change `job.args`; False if one forbids it.

        Raises:
            InvalidJob, InvalidInputs: a hook changed the arguments to something that can't be enqueued.
        """
        return await self._hooks.before(job) is None

    async def after_enqueue(self, job: Enqueuing) -> None:
        """Call the hooks of a job that was enqueued."""
        await self._hooks.after(job)

    # -- delayed --

    @must_be_awaited(_later)
    async def enqueue_at(
        self,
        timestamp: Moment,
        queue: str,
        class_name: str,
        args: Sequence[Any] = (),
        suppress_duplicate_task_error: bool = False,
        *,
        once: str | None = None,
        once_within: Duration = ONCE_WITHIN_MS,
    ) -> bool:
        """Enqueue a job at a time; it never starts earlier.

        The layout has only whole seconds, so the time is rounded up. If the time is in the past the job
        goes straight to the queue. Hooks run when the scheduler moves the job to its queue.

        Args:
            timestamp: milliseconds since the epoch, or an aware datetime.
            suppress_duplicate_task_error: return False instead of raising.
            once, once_within: as `enqueue` has them.

        Raises:
            DuplicateDelayedJob: the same job is due within a second of that time.
        """
        job, more = (queue, class_name, args), once_words(once, once_within)
        suppress = suppress_duplicate_task_error
        done = await self.enqueued_later(job, at_ms=moment_ms(timestamp), suppress=suppress, **more)
        return await self.enqueue(*job, **more) if done is None else bool(done)

    async def enqueued_later(
        self,
        job: NewJob,
        *,
        at_ms: int | None = None,
        in_ms: int = 0,
        suppress: bool = True,
        once: str | None = None,
        once_within: Duration = ONCE_WITHIN_MS,
    ) -> Enqueued | None:
        """As `enqueue_at` or, without a time, as `enqueue_in`, and why it was refused; None: its time has come,
        so it is not delayed, and not enqueued.
        """
        queue, class_name, args = job
        check_queue_name(queue)
        item = codec.encode_job(class_name, queue, args, self._ruby, delayed=True)
        texts = codec.spellings(class_name, queue, args)
        if (shadow := shadow_run()) is not None:
            return _noted(shadow, [job], at_ms, in_ms)[0]
        mark = None
        if once is not None:
            [mark] = Once(self.store.keys, [once], once_within, 1).guards(class_name, 0)
        added = await delayed.add(
            self.store, item, texts, at_ms=at_ms, in_ms=in_ms, now_ms=test_ms(self.clock), once=mark
        )
        if added.stored or added.due:
            return None if added.due else ENQUEUED
        if not added.once and not suppress:
            raise DuplicateDelayedJob(
                f"Job already enqueued at this time with same arguments: {class_name!r} in {queue!r} at "
                f"{added.second}; pass suppress_duplicate_task_error=True to get False instead"
            )
        return Enqueued(ONCE if added.once else DUPLICATE)

    @must_be_awaited(_later)
    async def enqueue_in(
        self,
        delay: Duration,
        queue: str,
        class_name: str,
        args: Sequence[Any] = (),
        suppress_duplicate_task_error: bool = False,
        *,
        once: str | None = None,
        once_within: Duration = ONCE_WITHIN_MS,
    ) -> bool:
        """Enqueue a job after a delay: milliseconds or a timedelta; see `enqueue_at`. The delay is counted
        by Redis' clock, so this machine's clock may be wrong.
        """
        job, more = (queue, class_name, args), once_words(once, once_within)
        suppress, done = suppress_duplicate_task_error, None
        if (in_ms := delay_ms(delay)) > 0:
            done = await self.enqueued_later(job, in_ms=in_ms, suppress=suppress, **more)
        return await self.enqueue(*job, **more) if done is None else bool(done)

    async def enqueue_delayed(
        self,
        class_name: str,
        args: Sequence[Any] | None = None,
        *,
        queue: str | None = None,
        most: int | None = None,
    ) -> int:
        """Run delayed jobs now, whichever language wrote them: each moves to the tail of its queue, with
        its exact bytes, in one step.

        Jobs that a hook or lock of their task forbids stay delayed; so do tracked tasks, whose record says
        when they run, and jobs that name no queue and have no task here.

        Args:
            args: only jobs with these arguments; None: any.
            queue: only jobs for this queue; None: any.
            most: at most this many, the earliest first; None: all.

        Returns:
            How many were enqueued.
        """
        wanted = JobFilter.of(class_name, args, queue)
        return (await Advancing(self).walk(wanted, most=most)).done


def _told(guard: Guard | None) -> Enqueued:
    """What became of a push, of which a guard may have forbidden it."""
    return ENQUEUED if guard is None else Enqueued(guard.owner or guard.kind)


def _noted(
    shadow: Shadow, jobs: Sequence[NewJob], at_ms: int | None = None, in_ms: int = 0
) -> list[Enqueued]:
    """In a shadow run: no hook is called, no lock is asked."""
    for queue, class_name, args in jobs:
        shadow.note(NotedJob(class_name, queue, args, at_ms, in_ms))
    return [ENQUEUED] * len(jobs)


def say_which(error: UsageError, number: int, count: int) -> None:
    """Prefix an error with the position of the wrong job among several."""
    if count > 1:
        error.args = (f"job {number} (of 0 to {count - 1}): {error}; nothing was enqueued",)


def _check_shape(job: Any) -> None:
    """Reject what only looks like a job: a text of three letters has three parts too."""
    if not isinstance(job, tuple | list) or len(job) != 3:
        raise InvalidJob(f"{job!r} is not (queue, class_name, args)")
