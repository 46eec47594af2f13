"""resqpy in a Django project: a backend for Django's Tasks (Django 6, or 5.2 with `django-tasks`), with results in
tracked tasks; `manage.py resqpy …`; and resqpy's own tasks in the modules `tasks` of the installed apps.

    INSTALLED_APPS += ["resqpy.contrib.django"]
    TASKS = {"default": {"BACKEND": "resqpy.contrib.django.ResqpyBackend", "QUEUES": ["default", "mail"]}}
    RESQPY = {"redis.url": "redis://localhost:6379/0"}

See docs/how-to/django.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from resqpy.base.imports import names_at_first_use

if TYPE_CHECKING:
    from resqpy.contrib.django.backend import (
        ResqpyBackend as ResqpyBackend,
        enqueue_on_commit as enqueue_on_commit,
    )
else:  # Django imports this package before its settings are there
    _modules = dict.fromkeys(("ResqpyBackend", "enqueue_on_commit"), "contrib.django.backend")
    __getattr__, __dir__ = names_at_first_use("resqpy.contrib.django", _modules)
