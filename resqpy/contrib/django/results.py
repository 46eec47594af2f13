"""A tracked task as a result of Django's Tasks."""

from __future__ import annotations

import builtins
from datetime import datetime
from typing import Any

import resqpy
from resqpy.contrib.django.compat import TaskError, TaskResult, TaskResultStatus
from resqpy.tracked.record import TaskStatus
from resqpy.tracked.view import TaskView

# Inputs beside `args` and `kwargs`, in which a run notes what Django's results have.
WORKERS, ERRORS = "worker_ids", "errors"
LOST = "unknown"  # the worker of a run that could note nothing, because it died

_STATUS = {
    TaskStatus.RUNNING: TaskResultStatus.RUNNING,
    TaskStatus.DISABLING: TaskResultStatus.RUNNING,
    TaskStatus.COMPLETED: TaskResultStatus.SUCCESSFUL,
    TaskStatus.FAILED: TaskResultStatus.FAILED,
    TaskStatus.RETRIED: TaskResultStatus.FAILED,
    TaskStatus.CANCELLED: TaskResultStatus.FAILED,
}


def result_of(view: TaskView, task: Any, backend: str) -> Any:
    """What is known of a task now."""
    payload, status = view.payload, _STATUS.get(view.status, TaskResultStatus.READY)
    last = view.last_run
    started = view.current_run_start_time or (None if last is None else last.start_time)
    finished = last.finish_time if last is not None and status in _ENDED else None
    errors = _errors(view, status)
    lost = [LOST] * (len(errors) - len(payload.get(ERRORS, ())))
    result = TaskResult(
        task=task, id=view.id, status=status, enqueued_at=view.create_time, started_at=started,
        finished_at=finished, last_attempted_at=_attempted(view) or started,
        args=payload.get("args", []), kwargs=payload.get("kwargs", {}), backend=backend,
        errors=errors, worker_ids=[*payload.get(WORKERS, ()), *lost],
    )  # fmt: skip
    if status == TaskResultStatus.SUCCESSFUL:
        object.__setattr__(result, "_return_value", view.result)
    return result


_ENDED = (TaskResultStatus.SUCCESSFUL, TaskResultStatus.FAILED)


def _attempted(view: TaskView) -> datetime | None:
    lock = view.record.lock
    return (
        None
        if lock is None
        else datetime.fromtimestamp(lock.since_ms / 1000, tz=view.create_time.tzinfo)
    )


def _errors(view: TaskView, status: Any) -> list[Any]:
    """Those that runs noted; and the one that the record has, where it ended without a run: its worker died."""
    noted = [
        TaskError(exception_class_path=path, traceback=text)
        for path, text in view.payload.get(ERRORS, ())
    ]
    error = view.error
    if status != TaskResultStatus.FAILED or error is None or len(noted) > view.attempts:
        return noted
    if noted and noted[-1].exception_class_path.rpartition(".")[2] == error.name.rpartition(".")[2]:
        return noted
    text = "\n".join((*error.backtrace, f"{error.name}: {error.message}"))
    return [*noted, TaskError(exception_class_path=_path_of(error.name), traceback=text)]


def _path_of(name: str) -> str:
    """The dotted name of an error's class of which the record has only the name."""
    if name in resqpy.__all__:
        return f"resqpy.{name}"
    return (
        f"builtins.{name}"
        if isinstance(getattr(builtins, name, None), type)
        else "resqpy.WorkerDied"
    )
