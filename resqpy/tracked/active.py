"""The task that a handler receives while it runs: irontask's `ActiveTask`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from resqpy.base import codec
from resqpy.base.clock import Clock
from resqpy.base.errors import OutcomeUnknown, ResqpyError, UsageError
from resqpy.base.when import Duration, duration_ms
from resqpy.engine.lifecycle import Command
from resqpy.store.connection.client import Store
from resqpy.tracked import records
from resqpy.tracked.checks import new_task_id, payload_text
from resqpy.tracked.errors import AlreadySaving, FinishInProgress, LockLost
from resqpy.tracked.processing import (
    FORCE_RELEASE,
    Finished,
    Processing,
    ProcessingState,
    VerbInterceptor,
    intercepted_task,
)
from resqpy.tracked.record import Patch, Record, RunEnd, RunEndKind, difference, error_of
from resqpy.tracked.transitions import Change, change_of, fails, saved
from resqpy.tracked.view import TaskView

Step = Callable[[Record, int], Change]


class TaskWriter:
    """Writes a task that runs here, in steps that only succeed with the lock, based on the record as it is
    at that moment, whoever else changed it.

    Attributes:
        record: as we last wrote or read it.
    """

    def __init__(self, record: Record, store: Store, clock: Clock, processing: Processing) -> None:
        self.record: Record = record
        self._store = store
        self._clock = clock
        self._processing = processing

    async def write(
        self, step: Step, more: Callable[[Record], Sequence[Command]] = lambda _: ()
    ) -> None:
        """Write a step.

        Args:
            more: additional commands.

        Raises:
            AlreadyFinished, LockLost: nothing was written.
        """
        while True:
            self._processing.check()
            change = step(self.record, self._clock.now_us())
            try:
                done = await records.write(self._store, self._commands(change, more(self.record)))
            except OutcomeUnknown:
                done = False
            if done or await self._was_done(change):
                self.record = change.after or self.record
                return

    def _commands(self, change: Change, more: Sequence[Command]) -> list[Command]:
        return [
            records.same_lock(self._store, self.record),
            records.same_version(self._store, self.record),
            *more,
            *records.end_commands(self._store, change),
        ]

    async def _was_done(self, change: Change) -> bool:
        """Read the record again: our step may have been done although we got no reply.

        Raises:
            LockLost: the lock is no longer ours.
        """
        now, wanted = await records.get(self._store, self.record.id), change.after
        if now is None and (wanted is None or (wanted.retain_ms == 0 and wanted.status.final)):
            return True
        if now is not None and wanted is not None and now.updated_us == wanted.updated_us:
            return True
        mine = None if self.record.lock is None else self.record.lock.token
        if now is None or now.lock is None or now.lock.token != mine:
            self._processing.lose()
            raise LockLost
        self.record = now
        return False


class ActiveTask(TaskView):
    """A task that is being processed here.

    Events: `finished` (Finished), `state_changed` (ProcessingState), `lock_renewed`, `lock_lost`,
    `disabled`, `inactive`.

    Args:
        failed_entry: makes the entry for the failed list.
        interceptors: wrap each verb; see `intercepting`.

    Attributes:
        payload: change it freely; `save` and the finishing methods write it.
        processing: its state.
        on, once, off: listen to its events; see `Emitter`.
    """

    def __init__(
        self,
        record: Record,
        store: Store,
        clock: Clock,
        failed_entry: Callable[[BaseException], Sequence[Command]],
        interceptors: list[VerbInterceptor],
    ) -> None:
        self.interceptors = interceptors
        self.processing: Processing = Processing(disabled=not record.enabled)
        self._writer = TaskWriter(record, store, clock, self.processing)
        super().__init__(record, clock)
        self.payload: Any = codec.decode_text(record.payload)
        self._saved = record.payload
        self._failed_entry = failed_entry
        self._saving = False
        self.on, self.once, self.off = (
            self.processing.on,
            self.processing.once,
            self.processing.off,
        )

    @property
    def record(self) -> Record:
        """The record, as we last wrote or read it."""
        return self._writer.record

    @record.setter
    def record(self, record: Record) -> None:
        self._writer.record = record

    @property
    def processing_state(self) -> ProcessingState:
        """The state of processing."""
        return self.processing.state

    @property
    def locked(self) -> bool:
        """Whether the lock is certainly ours; without it nothing can be written."""
        return self.processing.locked

    @property
    def enabled(self) -> bool:
        """Whether it may run; becomes False soon after it is disabled."""
        return self.record.enabled and not self.processing.disabled

    def to_json(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return {**super().to_json(), "locked": self.locked}

    # -- save --

    @intercepted_task("save")
    async def save(self) -> None:
        """Write the changes of the payload; changes by others to other parts are kept.

        Raises:
            AlreadySaving: a save is in progress.
            AlreadyFinished, LockLost: nothing was written.
            InvalidJob: the payload is not a JSON object, or too large.
        """
        self.processing.check()
        if self._saving:
            raise AlreadySaving
        patch = self.changes()
        self._saving = True
        try:
            if patch:
                text = payload_text(self.payload)
                await self._writer.write(lambda record, now_us: saved(record, patch, now_us))
                self._saved = text
        finally:
            self._saving = False

    def changes(self) -> Patch:
        """The changes of the payload since the last save.

        Raises:
            InvalidJob: the payload is not a JSON object, or too large.
        """
        try:
            patch = difference(codec.decode_text(self._saved), self.payload)
        except RecursionError:
            payload_text(self.payload)  # raises with the path if nested too deeply
            raise
        if patch:
            payload_text(self.payload)
        return patch

    # -- finish --

    @intercepted_task("complete", "next_run_delay")
    async def complete(
        self, next_run_delay: Duration | None = None, *, save_payload: bool = True
    ) -> None:
        """The run is done. Returning from the handler does the same.

        Args:
            next_run_delay: until another run (milliseconds or a timedelta), regardless of the interval.
            save_payload: also write the payload.

        Raises:
            AlreadyFinished, FinishInProgress, LockLost: nothing was written.
        """
        await self._finish(RunEndKind.COMPLETE, next_run_delay, save_payload=save_payload)

    @intercepted_task("fail", "error", "next_run_delay")
    async def fail(
        self,
        error: BaseException | str | None = None,
        next_run_delay: Duration | None = None,
        *,
        save_payload: bool = True,
    ) -> None:
        """The run failed and is not retried; a recurring task still has its next run.

        Args:
            error: the reason: an exception or a text.
        """
        reason = _reason(error, "the handler failed the task without an error")
        await self._finish(RunEndKind.FAIL, next_run_delay, reason, save_payload=save_payload)

    @intercepted_task("retry", "error", "delay")
    async def retry(
        self,
        error: BaseException | str | None = None,
        delay: Duration | None = None,
        *,
        save_payload: bool = True,
    ) -> None:
        """The attempt failed: retry after the delay, or the task's own backoff; if no attempt is left, this
        is `fail`. Raising from the handler does the same, without the payload.
        """
        reason = _reason(error, "the handler retried the task without an error")
        if not self.record.may_repeat:
            await self._finish(RunEndKind.FAIL, None, reason, save_payload=save_payload)
            return
        if delay is None:
            delay = self.record.retry_delay_ms()
        await self._finish(RunEndKind.RETRY, delay, reason, save_payload=save_payload)

    @intercepted_task("defer", "delay")
    async def defer(self, delay: Duration, *, save_payload: bool = True) -> None:
        """Not done yet, continue later; this is not a failure and can be repeated without limit."""
        delay_ms = duration_ms(delay, "delay")
        await self._finish(RunEndKind.DEFER, delay_ms, save_payload=save_payload)

    @intercepted_task("release")
    async def release(self, *, save_payload: bool = True) -> None:
        """Not done yet, let another worker continue; for example after the task was disabled."""
        await self._finish(RunEndKind.RELEASE, None, save_payload=save_payload)

    @intercepted_task("delete")
    async def delete(self) -> None:
        """Remove the task."""
        await self._finish(RunEndKind.DELETE, None, save_payload=False)

    def force_release(self, error: BaseException | str | None = None) -> None:
        """Stop processing without writing to Redis: nobody can continue before the lock expires. A last
        resort; does nothing if processing has ended.
        """
        reason = None if error is None else _reason(error, "")
        self.processing.over(Finished(FORCE_RELEASE, reason))

    async def _finish(
        self,
        kind: RunEndKind,
        delay: Duration | None,
        error: BaseException | None = None,
        *,
        save_payload: bool,
    ) -> None:
        processing = self.processing
        processing.check()
        if processing.state is ProcessingState.FINISHING:
            raise FinishInProgress
        if self._saving and save_payload:
            raise AlreadySaving
        delay_ms = None if delay is None else duration_ms(delay, "delay")
        ending = self.ending(kind, delay_ms, error, self.changes() if save_payload else None)
        processing.change(ProcessingState.FINISHING)
        try:
            await self.write_end(ending, error)
        finally:
            processing.not_written()

    async def write_end(self, ending: RunEnd, error: BaseException | None) -> None:
        """Write an end immediately, in a separate step."""

        def entry(record: Record) -> Sequence[Command]:
            return self._failed_entry(error) if error and fails(record, ending) else ()

        await self._writer.write(lambda record, _: change_of(record, ending), entry)
        self.processing.over(Finished(ending.kind.value, error, ending.delay_ms))

    def ending(
        self,
        kind: RunEndKind,
        delay_ms: int | None,
        error: BaseException | None = None,
        patch: Patch | None = None,
        result: str | None = None,
    ) -> RunEnd:
        """The end of this delivery, now."""
        new_id = new_task_id() if self.record.retries.linked else ""
        known = None if error is None else error_of(error)
        return RunEnd(kind, self._clock.now_us(), delay_ms, known, result, patch or None, new_id)


def _reason(error: BaseException | str | None, unsaid: str) -> BaseException:
    """The reason as an exception."""
    if isinstance(error, BaseException):
        return error
    if error is None or isinstance(error, str):
        return ResqpyError(error or unsaid)
    raise UsageError(f"error: {error!r} is neither an exception nor a text")
