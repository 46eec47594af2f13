"""Django's Tasks: of Django itself (6.0 and newer), or of the backport `django-tasks` (4.2 to 5.2)."""

from __future__ import annotations

from typing import Any

import django

from resqpy.base.errors import ConfigError
from resqpy.base.imports import import_dotted, places_of

PACKAGE = "django.tasks" if django.VERSION >= (6, 0) else "django_tasks"

if not places_of(PACKAGE):
    raise ConfigError(
        f"Django {django.get_version()} has no Tasks of its own: pip install django-tasks, and add 'django_tasks' "
        "to INSTALLED_APPS"
    )


def _named(module: str, name: str) -> Any:
    return import_dotted(f"{PACKAGE}.{module}:{name}")


BaseTaskBackend = _named("backends.base", "BaseTaskBackend")
Task, TaskResult = _named("base", "Task"), _named("base", "TaskResult")
TaskContext, TaskError = _named("base", "TaskContext"), _named("base", "TaskError")
TaskResultStatus = _named("base", "TaskResultStatus")
task_enqueued = _named("signals", "task_enqueued")
task_started, task_finished = _named("signals", "task_started"), _named("signals", "task_finished")
NoSuchResult = _named("exceptions", "TaskResultDoesNotExist")
if PACKAGE == "django.tasks":
    InvalidTask = _named("exceptions", "InvalidTask")
    normalize_json = import_dotted("django.utils.json:normalize_json")
else:
    InvalidTask = _named("exceptions", "InvalidTaskError")
    normalize_json = _named("utils", "normalize_json")
