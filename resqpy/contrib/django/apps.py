"""The app: what a process of Django's knows of resqpy, and how a process of resqpy sets Django up."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import django
from asgiref.sync import sync_to_async
from django.apps import AppConfig, apps
from django.conf import settings
from django.core import checks
from django.db import close_old_connections, connections, reset_queries
from django.utils.module_loading import import_string

from resqpy.base.errors import ConfigError
from resqpy.contrib.django.backend import found_modules, redis_problems
from resqpy.framework.tasks.middleware import Middleware, TaskCall

NAME = "resqpy.contrib.django"
_OF_TESTS = f"{NAME}.testing.DrainBackend"
SHARED: dict[str, Any] = {}  # by alias, the connections of a test that all jobs use


class ResqpyConfig(AppConfig):  # type: ignore[misc]  # Django has no types
    """`resqpy.contrib.django` in INSTALLED_APPS."""

    name = NAME
    label = "resqpy"
    verbose_name = "resqpy"

    def ready(self) -> None:
        """The project of Django's is the project of resqpy's, from whatever folder its processes start."""
        for name, value in variables().items():
            os.environ.setdefault(name, value)
        checks.register(_check_redis, deploy=True)
        if any(
            each.get("BACKEND") == _OF_TESTS for each in getattr(settings, "TASKS", {}).values()
        ):
            import_string(f"{NAME}.testing.use_redis_of_tests")()


def _check_redis(**_: Any) -> list[Any]:
    return list(redis_problems())


def variables() -> dict[str, str]:
    """The settings as resqpy's environment variables; those that are set in the environment win.

    Raises:
        ConfigError: `RESQPY` is no dict of settings by path, as {"redis.url": "redis://…"}.
    """
    given, found = getattr(settings, "RESQPY", {}), {}
    if not isinstance(given, Mapping):
        raise ConfigError(f"RESQPY is {given!r}, not a dict such as {{'redis.url': 'redis://…'}}")
    for path, value in given.items():
        if path.count(".") != 1:
            raise ConfigError(
                f"RESQPY has {path!r}; a setting is named by its path, as 'redis.url'"
            )
        text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        found["RESQPY_" + path.replace(".", "_").upper()] = text
    if (root := getattr(settings, "BASE_DIR", None)) is not None:
        found["RESQPY_ROOT"] = str(root)
    if os.environ.get("DJANGO_SETTINGS_MODULE", "").startswith("config."):
        found["RESQPY_CONFIG"] = ""  # that package is Django's, not resqpy's
    return found


def set_up(root: Path) -> bool:
    """Set Django up, if that was not done; whether `resqpy.contrib.django` is in INSTALLED_APPS.

    Args:
        root: on the module path, where DJANGO_SETTINGS_MODULE begins.
    """
    if not apps.ready and not apps.loading:
        if str(root) not in sys.path:
            sys.path.insert(0, str(root))
        django.setup()
    return bool(apps.is_installed(NAME))


def task_modules() -> list[str]:
    """The modules with tasks of a project of Django's."""
    return found_modules()


class DjangoConnections(Middleware):
    """Closes database connections that are broken, or older than CONN_MAX_AGE, around each job, in its thread."""

    everywhere = True
    priority = -1000  # outside of what uses a connection itself

    def around_run(self, call: TaskCall) -> Any:
        """In Django's own thread for async tasks, which has their connections."""
        return _closed_around_async() if call.task.is_async else _closed_around()


@contextmanager
def _closed_around() -> Iterator[None]:
    _clean()
    try:
        yield
    finally:
        _clean()


@asynccontextmanager
async def _closed_around_async() -> Any:
    await sync_to_async(_clean, thread_sensitive=True)()
    try:
        yield
    finally:
        await sync_to_async(_clean, thread_sensitive=True)()


def _clean() -> None:
    for alias, connection in SHARED.items():
        connections[alias] = connection
    reset_queries()
    close_old_connections()
