"""The backend for Django's Tasks. A result is a tracked task, which `resqpy tracked` sees too."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, ParamSpec, Protocol, TypeVar, cast

from django.apps import apps
from django.core import checks
from django.core.exceptions import SynchronousOnlyOperation
from django.db import transaction
from django.utils import timezone
from django.utils.module_loading import module_has_submodule

from resqpy import api
from resqpy.base.errors import InvalidQueueName, ResqpyError, UnknownOption
from resqpy.base.imports import near_match
from resqpy.base.keys import check_queue_name
from resqpy.contrib.django.compat import (
    BaseTaskBackend,
    InvalidTask,
    NoSuchResult,
    Task,
    TaskResult,
    TaskResultStatus,
    task_enqueued,
)
from resqpy.contrib.django.results import ERRORS, WORKERS, result_of
from resqpy.tracked.checks import new_task_id

P = ParamSpec("P")
R = TypeVar("R")

OPTIONS = ("enqueue_on_commit", "result_ttl", "retries")
DAY_MS = 86_400_000
_STEPS = 100 / 9  # of Django's priorities, -100 to 100, in one of ours, -9 to 9


class ResqpyBackend(BaseTaskBackend):  # type: ignore[misc]  # Django has no types
    """Enqueues Django's tasks as tracked tasks of resqpy.

    `OPTIONS`:
        enqueue_on_commit: a task is enqueued when the transaction around it is committed. Default: False.
        result_ttl: how long a result is kept after the end, in milliseconds or as a timedelta. Default: a day.
        retries: how often a failed run is repeated. Default: 0, as Django's own backends.
    """

    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        super().__init__(alias, params)
        for unknown in self.options.keys() - set(OPTIONS):
            raise UnknownOption(
                f"TASKS[{alias!r}]['OPTIONS'] has no {unknown!r}{near_match(unknown, OPTIONS)}"
            )

    def enqueue(self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Create the tracked task.

        Raises:
            InvalidTask: no worker would find the task.
            StoreError: Redis refused it or could not be reached.
        """
        self.validate_task(task)
        refuse_unfound(task)
        result = TaskResult(
            task=task, id=new_task_id(), status=TaskResultStatus.READY, enqueued_at=None, started_at=None,
            finished_at=None, last_attempted_at=None, args=list(args), kwargs=dict(kwargs),
            backend=self.alias, errors=[], worker_ids=[],
        )  # fmt: skip
        if self.options.get("enqueue_on_commit", False):
            transaction.on_commit(lambda: self._create(result))
        else:
            self._create(result)
        return result

    def _create(self, result: Any) -> None:
        task = result.task
        created = _blocking(
            "aenqueue",
            api.sync.tracked.create,
            task.module_path,
            {"args": result.args, "kwargs": result.kwargs, WORKERS: [], ERRORS: []},
            id=result.id,
            queue=task.queue_name,
            priority=round(task.priority / _STEPS),
            start=None if task.run_after is None else _aware(task.run_after),
            retries=self.options.get("retries", 0),
            retain_for=self.options.get("result_ttl", DAY_MS),
        )
        object.__setattr__(result, "enqueued_at", created.create_time)
        task_enqueued.send(type(self), task_result=result)

    def get_result(self, result_id: str) -> Any:
        """Read the tracked task.

        Raises:
            TaskResultDoesNotExist: there is none, or it is no task of Django's.
        """
        found = _blocking("aget_result", api.sync.tracked.get, result_id)
        task = None if found is None else KNOWN.get(found.type)
        if found is None or task is None:
            raise NoSuchResult(result_id)
        return result_of(found, task, self.alias)

    def check(self, **_: Any) -> Iterable[Any]:
        """Django's system checks."""
        if not apps.is_installed("resqpy.contrib.django"):
            hint = "add 'resqpy.contrib.django' to INSTALLED_APPS"
            yield checks.Error("No worker finds the tasks.", hint=hint, id="resqpy.E001")
        for queue in sorted(self.queues):
            try:
                check_queue_name(queue)
            except InvalidQueueName as error:
                yield checks.Error(f"TASKS[{self.alias!r}]: {error}", id="resqpy.E002")

    def validate_task(self, task: Any) -> None:
        """Django asks it when a task is defined: so it is known."""
        super().validate_task(task)
        KNOWN.setdefault(task.module_path, task)


KNOWN: dict[str, Any] = {}  # Django's tasks, by the dotted names of their functions


@cache
def found_modules() -> list[str]:
    """The modules in which workers look for tasks: `tasks` of each installed app that has it."""
    return [
        f"{config.name}.tasks"
        for config in apps.get_app_configs()
        if config.module is not None and module_has_submodule(config.module, "tasks")
    ]


def is_found(task: Any, modules: Iterable[str]) -> bool:
    """Whether it is defined in one of these modules, or in one below them."""
    return any(f"{task.func.__module__}.".startswith(f"{module}.") for module in modules)


def refuse_unfound(task: Any) -> None:
    """Refuse what no worker would run.

    Raises:
        InvalidTask: it is defined in a module that workers don't import.
    """
    if not is_found(task, found_modules()):
        raise InvalidTask(
            f"no worker finds {task.module_path}: define it in the module `tasks` of an installed app"
        )


def _aware(moment: Any) -> Any:
    return timezone.make_aware(moment) if timezone.is_naive(moment) else moment


def _blocking(name: str, function: Callable[..., R], *args: Any, **kwargs: Any) -> R:
    """Call a function that waits, by the rule of Django's database: not in async code.

    Args:
        name: of the verb for async code.

    Raises:
        SynchronousOnlyOperation: an event loop runs in this thread, and DJANGO_ALLOW_ASYNC_UNSAFE is not set.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return function(*args, **kwargs)
    if not os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE"):
        raise SynchronousOnlyOperation(
            f"you are in async code, which this would hold up: await {name}(…)"
        )
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(function, *args, **kwargs).result()


# -- after a commit --


class _Enqueues(Protocol[P]):
    @property
    def enqueue(self) -> Callable[P, Any]: ...


class _HasSync(Protocol[P]):
    @property
    def sync(self) -> _Enqueues[P]: ...


def enqueue_on_commit(
    task: _HasSync[P] | _Enqueues[P], /, *args: P.args, **kwargs: P.kwargs
) -> None:
    """Enqueue a task, Django's or resqpy's, when the transaction is committed that is open here; at once
    where none is, and not at all if it is rolled back: `enqueue_on_commit(send_mail, to="ada")`.
    """
    doer: Any = task if isinstance(task, Task) else cast(Any, task).sync
    transaction.on_commit(lambda: doer.enqueue(*args, **kwargs))


def redis_problems() -> Iterable[Any]:
    """What `manage.py check --deploy` says of Redis."""
    try:
        api.sync.tasks.stats()
    except ResqpyError as error:
        yield checks.Error(f"resqpy: {error}", id="resqpy.E003")
