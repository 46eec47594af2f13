"""Workers: one slot (`Worker`) or as many as the event loop bears (`MultiWorker`).

Both keep the events of node-resque, by the same names in snake case.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from resqpy.base import codec
from resqpy.base.clock import SYSTEM_CLOCK, Clock, iso_utc
from resqpy.base.errors import PoolStateError, ResqpyError, StoreError, UnknownTask
from resqpy.base.model import Job, WorkerId
from resqpy.engine import identity
from resqpy.engine.definition import definitions
from resqpy.engine.execute import execute
from resqpy.engine.heartbeat import Beat, Heartbeat, Vitals
from resqpy.engine.options import WorkerOptions
from resqpy.engine.outcome import Kind
from resqpy.engine.pool import Pool, Slot
from resqpy.engine.queue import Queue
from resqpy.engine.queue_names import QueueNames
from resqpy.engine.role import Connection, Role
from resqpy.engine.run import Run
from resqpy.engine.threads import ThreadRunner
from resqpy.store import plugin_locks
from resqpy.store.tracker import Tracker


class BaseWorker(Role):
    """What `Worker` and `MultiWorker` share.

    Args:
        connection: a `Store`, `RedisOptions` or a URL.
        jobs: tasks by name; see `resqpy.engine.definition.definitions`.
        queues: names in order of priority, `*`, globs, `!exclusions`; a list, or one text with commas.

    Attributes:
        queue: for tasks and plugins that enqueue, on the same Redis.
    """

    def __init__(
        self,
        connection: Connection,
        jobs: Mapping[str, Any],
        queues: str | Sequence[str] = "*",
        options: WorkerOptions | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        super().__init__(connection)
        self.definitions = definitions(jobs)
        self.options = options or WorkerOptions()
        self.queues = QueueNames(queues)
        self.queue = Queue(self.store, self.definitions, clock)
        self._clock = clock
        self._pool: Pool | None = None
        self._heartbeat: Heartbeat | None = None
        self._tracker: Tracker | None = None
        self._started = ""
        self._stopped: asyncio.Task[None] | None = None

    @property
    def pool(self) -> Pool:
        """The slots."""
        if self._pool is None:
            raise PoolStateError("the worker was not started")
        return self._pool

    @property
    def worker_ids(self) -> list[WorkerId]:
        """The ids under which Ruby and Node see us."""
        return [slot.worker_id for slot in self._pool.slots] if self._pool else []

    def _size(self) -> int:
        return 1

    async def _begin(self) -> None:
        self._pool = Pool(
            self.store,
            self.definitions,
            self.queues,
            self.options,
            self._tell,
            worker=self,
            clock=self._clock,
        )
        self._pool.tell_polls = self.heard("poll")
        self._started = iso_utc(self._clock.now_us())[:19].replace("T", " ") + " +0000"
        await self._open(self._size())
        self._tracker = self._new_tracker()
        self._heartbeat = self._new_heartbeat()
        self._heartbeat.start()
        for coroutine in (self._pool.dispatch(), self._tracker.run(), self._poll()):
            self.aside(coroutine)

    async def _open(self, count: int) -> None:
        for slot in await self.pool.open_slots(count):
            self._tell("start", slot)

    # -- wake-up: tracking, the heartbeat, polling --

    def _new_tracker(self) -> Tracker:
        return Tracker(
            self.store,
            self.queues.prefixes(self.store.keys),
            on_change=self._on_change,
            on_control=self._on_control,
            on_fallback=lambda error: self._tell("error", None, _no_tracking(error), None, None),
        )

    def _on_change(self, changed: list[bytes] | None) -> None:
        names = self.store.keys.queues.encode()
        if changed is None or names in changed:
            self.pool.names_changed()
        else:
            self.pool.look()

    def _on_control(self, message: bytes) -> None:
        order = codec.decode_lenient(message)
        if isinstance(order, dict) and isinstance(order.get("cancel"), str):
            self.pool.cancel(order["cancel"])

    def _new_heartbeat(self) -> Heartbeat:
        loop = asyncio.get_running_loop()
        return Heartbeat(
            self.store.options,
            self._vitals,
            on_beat=lambda beat: _soon(loop, self._on_beat, beat),
            on_error=lambda error: _soon(loop, self._tell, "error", None, error, None, None),
            interval_s=self.options.heartbeat_s,
        )

    def _vitals(self) -> Vitals:
        return Vitals(
            self.pool.incarnation, tuple(self.worker_ids), self._started, tuple(self.queues.names)
        )

    def _on_beat(self, beat: Beat) -> None:
        self._tell("ping", None, beat.time_s)
        if beat.work or self.pool.paused != beat.paused:
            self.pool.names_changed()

    async def _poll(self) -> None:
        """Look every `timeout` where Redis can't wake us up."""
        while True:
            await asyncio.sleep(self.options.timeout_s)
            if self._tracker is not None and not self._tracker.live:
                self.pool.names_changed()

    # -- control --

    def pause(self) -> None:
        """Take no more jobs until `resume`; what runs goes on."""
        self.pool.quiet = True

    def resume(self) -> None:
        """Take jobs again."""
        self.pool.quiet = False
        self.pool.look()

    def cancel(self, worker_id: str) -> bool:
        """Cancel the running job of one of our worker ids: it fails as `JobCancelled`."""
        return self.pool.cancel(worker_id)

    async def stop(self, timeout_s: float | None = -1.0) -> None:
        """Take no more, let running jobs end, cancel the rest, put what did not end back.

        Args:
            timeout_s: seconds that running jobs get; None: without limit. Default: the option.
        """
        if self._pool is None:
            await self._close_store()
            return
        if self._stopped is None:
            if timeout_s is not None and timeout_s < 0:
                timeout_s = self.options.stop_timeout_s
            self._stopped = asyncio.create_task(self._stop(timeout_s))
        await asyncio.shield(self._stopped)

    async def stop_now(self) -> None:
        """Cancel what runs at once, also while a patient `stop` is under way."""
        if self._pool is not None:
            self._pool.quiet = True
            await self._pool.interrupt()
        await self.stop(0)

    async def _stop(self, timeout_s: float | None) -> None:
        pool = self.pool
        if not await pool.drain(timeout_s):
            await pool.interrupt()
        await self._end_side_tasks()
        try:
            await pool.last_exchange()
            await pool.unregister()
        except StoreError as error:
            self._tell("error", None, error, None, None)
        finally:
            await self._let_go(pool)

    async def _let_go(self, pool: Pool) -> None:
        if self._heartbeat is not None:
            await asyncio.to_thread(self._heartbeat.stop)
        await pool.close()
        await self._close_store()
        self.running = False
        self._tell("end", None)

    # -- without Redis --

    async def perform_inline(self, name: str, args: Sequence[Any] = ()) -> Any:
        """Run a task here and now, with its plugins; nothing is written but by plugins.

        Raises:
            UnknownTask: no such task.
            Exception: whatever the task raised.
        """
        definition = self.definitions.get(name)
        if definition is None:
            raise UnknownTask(f'No job defined for class "{name}"')
        if self.running:
            raise PoolStateError("perform_inline can not be used on a started worker")
        own_id = identity.worker_id(0, "inline", self.queues.text)
        raw = codec.encode_job(name, "inline", list(args))
        run = Run(
            codec.decode_job(raw, f"_direct-queue-{own_id.name}"), definition, own_id, self.store
        )
        run.worker = self
        outcome = await execute(run, ThreadRunner(1))
        await plugin_locks.settle(self.store, run.effects)
        if outcome.kind is Kind.FAILURE and outcome.error is not None:
            raise outcome.error
        return outcome.result

    def _tell(self, event: str, slot: Slot | None, *details: Any) -> None:
        self.emit(event, *details)


class Worker(BaseWorker):
    """One slot: runs one job after the other.

    Events: `start`, `end`, `poll` (queues), `ping` (time), `job` (queue, job), `re_enqueue`
    (queue, job, info), `success` (queue, job, result, ms), `failure` (queue, job, error, ms),
    `error` (error, queue, job), `pause`.
    """


def _no_tracking(error: Exception) -> ResqpyError:
    return StoreError(f"Redis can't wake us up ({error}); polling instead")


def _soon(loop: asyncio.AbstractEventLoop, function: Any, *args: Any) -> None:
    """Call on the loop, from another thread; a loop that is closed by now is no matter."""
    try:
        loop.call_soon_threadsafe(partial(function, *args))
    except RuntimeError:
        return


__all__ = ["BaseWorker", "Job", "Worker"]
