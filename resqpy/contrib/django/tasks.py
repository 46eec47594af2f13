"""Django's tasks as tasks of resqpy: a worker's project has this module beside the modules `tasks` of the apps."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from django.utils import timezone
from django.utils.module_loading import autodiscover_modules

from resqpy import Input, api, current_task, task
from resqpy.base.errors import InvalidInputs, ResqpyError
from resqpy.contrib.django import backend
from resqpy.contrib.django.compat import (
    TaskContext,
    TaskResultStatus,
    normalize_json,
    task_finished,
    task_started,
)
from resqpy.contrib.django.results import ERRORS, WORKERS, result_of
from resqpy.engine.run import current_run
from resqpy.engine.traceback_text import lines_of

_INPUTS = {
    "args": Input(type=list[Any], default=list),
    "kwargs": Input(type=dict[str, Any], default=dict),
    WORKERS: Input(type=list[Any], default=list),
    ERRORS: Input(type=list[Any], default=list),
}


class _Attempt:
    """One run of a task of Django's, as its signals and its context see it. A job that others have enqueued has
    no record, and so neither a result nor signals.
    """

    def __init__(self, django_task: Any) -> None:
        self._task = django_task
        self._active = active = current_task()
        self.result: Any = None
        if active is not None:
            active.payload[WORKERS] = [
                *active.payload.get(WORKERS, ()),
                str(current_run.get().worker_id),
            ]
            self.result = result_of(active, django_task, django_task.backend)
            self._tell(task_started, status=TaskResultStatus.RUNNING)

    def arguments(self, params: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """With which its function is called.

        Raises:
            InvalidInputs: it takes its context, and there is none.
        """
        if not self._task.takes_context:
            return params["args"], params["kwargs"]
        if self.result is None:
            raise InvalidInputs(
                f"{self._task.module_path} takes its context, but its job has no record: enqueue it by Django, or "
                "as a tracked task"
            )
        return [TaskContext(task_result=self.result), *params["args"]], params["kwargs"]

    def succeeded(self, value: Any) -> Any:
        """It returned this; what is kept of it."""
        kept = normalize_json(value)
        self._tell(
            task_finished,
            status=TaskResultStatus.SUCCESSFUL,
            finished_at=timezone.now(),
            _return_value=kept,
        )
        return kept

    def failed(self, error: BaseException) -> Callable[[], Any] | None:
        """It raised this; what is to be called then, so that the record has it."""
        if self._active is None:
            return None
        noted = [
            f"{type(error).__module__}.{type(error).__qualname__}",
            "\n".join((*lines_of(error), "")),
        ]
        self._active.payload[ERRORS] = [*self._active.payload.get(ERRORS, ()), noted]
        errors = result_of(self._active, self._task, self._task.backend).errors
        self._tell(
            task_finished, status=TaskResultStatus.FAILED, finished_at=timezone.now(), errors=errors
        )
        return self._active.save

    def _tell(self, signal: Any, **values: Any) -> None:
        if self.result is not None:
            for name, value in values.items():
                object.__setattr__(self.result, name, value)
            signal.send(type(self._task.get_backend()), task_result=self.result)


def _in_thread(django_task: Any) -> Callable[[dict[str, Any]], Any]:
    def run(params: dict[str, Any]) -> Any:
        attempt = _Attempt(django_task)
        try:
            args, kwargs = attempt.arguments(params)
            return attempt.succeeded(django_task.func(*args, **kwargs))
        except BaseException as error:
            if save := attempt.failed(error):
                with suppress(ResqpyError):  # the task's own error is what matters
                    api.sync.run(save)
            raise

    return run


def _on_loop(django_task: Any) -> Callable[[dict[str, Any]], Any]:
    async def run(params: dict[str, Any]) -> Any:
        attempt = _Attempt(django_task)
        try:
            args, kwargs = attempt.arguments(params)
            return attempt.succeeded(await django_task.func(*args, **kwargs))
        except BaseException as error:
            if save := attempt.failed(error):
                with suppress(ResqpyError):
                    await save()
            raise

    return run


def _made(path: str, django_task: Any) -> Any:
    is_async = inspect.iscoroutinefunction(django_task.func)
    run = _on_loop(django_task) if is_async else _in_thread(django_task)
    words = (inspect.getdoc(django_task.func) or "").partition("\n")[0]
    return task(path, description=words or path, queue=django_task.queue_name, inputs=_INPUTS)(run)


autodiscover_modules("tasks")
TASKS = {
    path: _made(path, each)
    for path, each in backend.KNOWN.items()
    if backend.is_found(each, backend.found_modules())
}
