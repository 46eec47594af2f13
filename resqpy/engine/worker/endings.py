"""From an outcome to the commands that it writes: the table of endings.

| outcome | written in the step that ends the run | counts as |
|---|---|---|
| success | – | processed |
| failure | the failed entry | failed |
| retried | the delayed item | failed |
| delayed | the delayed item | – |
| snoozed | the delayed item, and how often that was so | – |
| skipped | – | – |
| expired | – | – |
| returned | the job, at the head of its queue (at the tail if it is left to others) | – |
"""

from __future__ import annotations

from collections.abc import Sequence

from resqpy.base import activejob, codec, job_records, periodic, php
from resqpy.base.clock import Clock, failed_at_utc, test_ms
from resqpy.base.errors import PayloadError, UsageError, class_of, message_of
from resqpy.base.when import ceil_second
from resqpy.engine.lifecycle import Command, Outcome, OutcomeKind
from resqpy.engine.run import Run
from resqpy.engine.traceback_text import lines_of
from resqpy.engine.worker.newer import LEFT_TO_OTHERS
from resqpy.store import delayed, failures, periodic as chains, queues, rescue, workers
from resqpy.store.connection.line import packed
from resqpy.store.exchange import FREED, HELD, EndCommands
from resqpy.store.locks import UNLOCK

_PHP = {
    OutcomeKind.SUCCESS: php.COMPLETE,
    OutcomeKind.SKIPPED: php.COMPLETE,  # as where PHP's own hook refuses it
    OutcomeKind.FAILURE: php.FAILED,
    OutcomeKind.EXPIRED: php.FAILED,
    OutcomeKind.RETRIED: php.WAITING,
    OutcomeKind.DELAYED: php.WAITING,
    OutcomeKind.SNOOZED: php.WAITING,
    OutcomeKind.RETURNED: php.WAITING,
}
_LATER = (OutcomeKind.RETRIED, OutcomeKind.DELAYED, OutcomeKind.SNOOZED)
_GOES_ON = (OutcomeKind.RETURNED, *_LATER)


def ended(run: Run, outcome: Outcome, clock: Clock) -> EndCommands:
    """What the exchange reports about a run that ended."""
    lifecycle = run.lifecycle
    commands = _commands(run, outcome, clock) if lifecycle.plain else []
    commands += checked(run.effects)
    commands += _chain(run, outcome)
    if run.php is not None:
        status = _PHP[outcome.kind]
        result = outcome.result if outcome.kind is OutcomeKind.SUCCESS else None
        now_ms = clock.now_ms()
        commands.append(workers.php_status_command(run.store, run.php, status, now_ms, result))
    claim = run.claim
    if claim.locks & HELD:
        commands.append(UNLOCK)
    if claim.locks & FREED and outcome.kind is OutcomeKind.RETURNED and run.definition is not None:
        freed = (each for each in run.definition.around if each.at_take == "q")
        commands += next(freed).taken_back(run)
    # Bytes kept apart from the record are deleted, unless a lifecycle's end moves them elsewhere.
    if claim.held >= 0 and (lifecycle.plain or not isinstance(run.error, PayloadError)):
        commands.append(workers.drop_held_command(run.store, str(run.worker_id)))
    if claim.noted and outcome.kind is not OutcomeKind.RETURNED:
        commands.insert(
            0, rescue.forget_command(run.store, claim.sha1 or codec.digest(run.job.raw))
        )
    if run.definition is not None and run.definition.at_most_once:
        commands.append(workers.unmark_command(run.store, str(run.worker_id)))
    if outcome.kind is OutcomeKind.RETURNED:
        commands += checked(run.on_return)  # after the effects: a lock that they free is kept
    if not lifecycle.plain:
        commands += lifecycle.end(run, outcome)
    worker_id = str(run.worker_id) if run.slot is None else run.slot.place.worker_id
    return EndCommands(worker_id, claim.beginning, outcome.kind.counts, commands)


def checked(effects: Sequence[Command]) -> Sequence[Command]:
    """What plugins want to be written.

    Raises:
        UsageError: one is no command; the worker could report no end with it.
    """
    for command in effects:
        try:
            sound = isinstance(command, list | tuple) and bool(command and packed(command))
        except Exception:  # hiredis raises its own, and others
            sound = False
        if not sound:
            raise UsageError(f"what a plugin added to `effects` is no command: {command!r}")
    return effects


def _commands(run: Run, outcome: Outcome, clock: Clock) -> list[Command]:
    if outcome.kind is OutcomeKind.FAILURE:
        return _failed(run, outcome, clock)
    if outcome.kind in _LATER:
        return _delayed(run, outcome, clock)
    if outcome.kind is OutcomeKind.RETURNED:
        return [_returned(run, outcome)]
    return []


def _failed(run: Run, outcome: Outcome, clock: Clock) -> list[Command]:
    error = outcome.error
    assert error is not None
    job_json, commands = _job_for_failed(run, error)
    run.traceback = [] if isinstance(error, PayloadError) else lines_of(error)
    entry = job_records.encode_failed(
        job_json=job_json,
        queue=run.queue,
        worker=str(run.worker_id),
        exception=class_of(error),
        error=message_of(error),
        backtrace=run.traceback,
        failed_at=failed_at_utc(clock.now_ms()),
    )
    return [*commands, *failures.push_commands(run.store, run.queue, entry)]


def _job_for_failed(run: Run, error: BaseException) -> tuple[bytes, list[Command]]:
    """The job in a form that a failed entry can hold, and the command that keeps its bytes otherwise."""
    if not isinstance(error, PayloadError):
        return codec.without_ends(run.job.raw), []  # a retry by hand makes it new
    claim = run.claim
    size = claim.held if claim.held >= 0 else len(run.job.raw)
    if size <= job_records.INLINE_UNREADABLE:
        return job_records.unreadable_job(run.job.raw, run.queue), []
    digest = claim.sha1 or codec.digest(run.job.raw)
    kept = job_records.kept_name(digest)
    keep = failures.keep_bytes_command(run.store, str(run.worker_id), kept)
    return job_records.unreadable_reference(digest, size, run.queue, kept), [keep]


def _delayed(run: Run, outcome: Outcome, clock: Clock) -> list[Command]:
    """The job's own text, so nothing in it changes; with its queue, which a delayed item needs. An ActiveJob
    counts its attempts itself. How often it was snoozed is noted by these bytes.
    """
    item = codec.with_queue(run.job)
    if outcome.kind is OutcomeKind.RETRIED and run.executions is not None:
        item = activejob.tried_again(item)
    if run.performed:
        item = codec.without_ends(item, deadline=False)
    commands: list[Command] = [
        delayed.delay_command(run.store, outcome.delay_ms, item, test_ms(clock))
    ]
    if snoozed := run.snoozed + (outcome.kind is OutcomeKind.SNOOZED):
        due_s = ceil_second(clock.now_ms() + outcome.delay_ms)
        note = rescue.JobNote(snoozed=snoozed)
        commands.append(rescue.note_command(run.store, codec.digest(item), note, due_s))
    return commands


def _returned(run: Run, outcome: Outcome) -> Command:
    raw = codec.without_ends(run.job.raw, deadline=False) if run.performed else run.job.raw
    if outcome is LEFT_TO_OTHERS:
        return queues.tail_command(run.store, run.queue, raw)
    return queues.return_command(run.store, run.queue, raw)


def _chain(run: Run, outcome: Outcome) -> list[Command]:
    """Makes the chain of a periodic task due again, if this is its job.

    A job that goes back to its queue, is retried or waits for a lock is still the chain's one job.
    """
    definition = run.definition
    if definition is None or definition.periodic is None or outcome.kind in _GOES_ON:
        return []
    at_ms, task = periodic.time_of(run.job), definition.periodic
    if at_ms is None or task.frequency_ms is None:
        return []
    ends = outcome.kind is OutcomeKind.FAILURE and not task.continue_on_failure
    step_ms = None if ends else task.frequency_ms
    return [chains.again_command(run.store, run.class_name, at_ms, step_ms)]


def failed_commands(run: Run, error: BaseException, clock: Clock) -> list[Command]:
    """The commands that put a run into the failed list."""
    return _failed(run, Outcome(OutcomeKind.FAILURE, error=error), clock)
