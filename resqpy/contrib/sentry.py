"""Failed jobs, traces and check-ins for Sentry; needs the extra `sentry`."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import sentry_sdk
from sentry_sdk.crons import capture_checkin
from sentry_sdk.tracing import TransactionSource
from sentry_sdk.utils import event_from_exception

from resqpy.base import codec
from resqpy.base.clock import SYSTEM_CLOCK
from resqpy.base.errors import JobCancelled
from resqpy.engine.lifecycle import Snooze
from resqpy.engine.run import Run
from resqpy.framework.tasks.failures import JobFailure
from resqpy.framework.tasks.middleware import Middleware, TaskCall
from resqpy.framework.tasks.spec import TaskSpec

_log = logging.getLogger("resqpy")

_SCOPE = "resqpy.contrib.sentry"  # in a run's state
_ORIGIN = "auto.queue.resqpy"
_UNITS = (("day", 86_400_000), ("hour", 3_600_000), ("minute", 60_000))


class SentryMiddleware(Middleware):
    """Sends one event for each job that has failed for good; derive from it in `middleware/`.

    Each run has a scope of its own: breadcrumbs and tags that a task sets are in its event, and in that of no
    other job. It is a transaction, if Sentry's tracing is on, and continues the trace of a job that carries
    `sentry-trace`. Inputs are sent only with Sentry's
    `send_default_pii` or `data_collection`, and without secrets.

    Attributes:
        monitor_periodic_tasks: send check-ins for the planned runs of periodic tasks, so that Sentry tells of a
            run that is late, fails, or never begins. Not for tasks that run more often than each minute.
        ignored: classes of errors that send no event; those derived from them do.
    """

    everywhere: ClassVar[bool] = True
    priority: ClassVar[int] = 1  # around all others
    monitor_periodic_tasks: ClassVar[bool] = False
    ignored: ClassVar[tuple[type[BaseException], ...]] = (JobCancelled,)

    _told: bool = False

    def around_run(self, call: TaskCall) -> Iterator[None]:
        """The scope, the transaction and the check-in of a run."""
        run, name = call.run, call.task.name
        with sentry_sdk.isolation_scope() as scope:
            scope.clear_breadcrumbs()
            scope.set_tags({"job.task": name, "job.queue": run.queue})
            if run.shadow:
                scope.set_tag("job.shadow", "yes")
            run.state[_SCOPE] = scope
            headers = {key: each for key, each in run.job.extra.items() if isinstance(each, str)}
            transaction = sentry_sdk.continue_trace(
                headers,
                op="queue.task.resqpy",
                name=name,
                source=TransactionSource.TASK,
                origin=_ORIGIN,
            )
            with sentry_sdk.start_transaction(transaction), self._check_in(call):
                yield

    def on_failure(self, failure: JobFailure) -> None:
        """The event."""
        if failure.will_retry or type(failure.error) in self.ignored:
            return
        client = sentry_sdk.get_client()
        if not client.is_active():
            self._tell()
            return
        run, scope = failure.run, None
        if run is not None:
            scope = run.state.get(_SCOPE)
        with _in(scope) as current:
            current.set_tags(_tags(failure))
            if _sends_inputs(client):
                current.set_context("job", {"args": failure.args})
            event, hint = event_from_exception(
                failure.error,
                client_options=client.options,
                mechanism={"type": "resqpy", "handled": False},
            )
            sentry_sdk.capture_event(event, hint=hint)

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            _log.error("%s sends nothing: sentry_sdk.init was not called", type(self).__name__)

    @contextmanager
    def _check_in(self, call: TaskCall) -> Iterator[None]:
        config = monitor_config(call.task) if self.monitor_periodic_tasks else None
        if config is None or call.run.scheduled_at is None:
            yield
            return
        monitor: dict[str, Any] = {
            "monitor_slug": monitor_slug(call.task),
            "monitor_config": config,
        }
        began_s, status = SYSTEM_CLOCK.monotonic(), "error"
        check_in = capture_checkin(status="in_progress", **monitor)
        try:
            yield
            status = "ok"
        except Snooze:
            status = "ok"  # it ran when it should, and wants to run again
            raise
        finally:
            took_s = SYSTEM_CLOCK.monotonic() - began_s
            capture_checkin(check_in_id=check_in, status=status, duration=took_s, **monitor)


def _sends_inputs(client: Any) -> bool:
    chosen = client.options.get(
        "data_collection"
    )  # newer than `send_default_pii`, and follows from it
    return bool(client.should_send_default_pii() if chosen is None else chosen.get("queues"))


@contextmanager
def _in(scope: Any) -> Iterator[Any]:
    """The scope of a run, or a fresh one."""
    if scope is None:
        with sentry_sdk.isolation_scope() as fresh:
            yield fresh
    else:
        with sentry_sdk.scope.use_isolation_scope(scope):
            yield scope


def _tags(failure: JobFailure) -> dict[str, Any]:
    tags: dict[str, Any] = {
        "job.task": failure.name or "(unreadable)",
        "job.queue": failure.queue,
        "job.attempt": failure.attempt,
        "job.worker": failure.worker,
    }
    job_id = failure.id or _job_id(failure.run)
    return {**tags, "job.id": job_id} if job_id else tags


def _job_id(run: Run | None) -> str | None:
    """What tells a job that has no id from others: the beginning of the SHA-1 of its bytes."""
    return None if run is None else codec.digest(run.job.raw)[:12]


def monitor_slug(task: TaskSpec) -> str:
    """The name of a task's monitor in Sentry: lower case, with dashes for what Sentry does not allow."""
    clean = "".join(
        char if char.isalnum() and char.isascii() else "-" for char in task.name.lower()
    )
    return clean.strip("-")[:50]


def monitor_config(task: TaskSpec) -> dict[str, Any] | None:
    """The schedule of a task as Sentry's monitors have it; None: they can't, or the task is not periodic."""
    if task.cron is not None:
        fields = task.cron.split()
        if len(fields) != 5 and not task.cron.startswith("@"):
            return None  # with seconds
        schedule: dict[str, Any] = {"type": "crontab", "value": task.cron}
        return {"schedule": schedule, "timezone": task.timezone}
    for unit, unit_ms in _UNITS:
        if task.frequency_ms and task.frequency_ms % unit_ms == 0:
            value = task.frequency_ms // unit_ms
            return {"schedule": {"type": "interval", "value": value, "unit": unit}}
    return None
