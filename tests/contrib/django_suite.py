"""Runs Django's own tests of its Tasks with our backend in the place of its two: `python django_suite.py FOLDER`.

The folder has `tasks/`, Django's `tests/tasks`, in which the names of its backends were replaced by those here.
What is enqueued with `InPlace` is run at once, by a worker in this process, as Django's ImmediateBackend does.
"""

from __future__ import annotations

import asyncio
import os
import sys
import unittest
from typing import Any

import django
from django.conf import settings
from django.tasks.base import TASK_REFRESH_ATTRS
from django.test.runner import DiscoverRunner
from django.test.utils import iter_test_cases

from resqpy import api
from resqpy.contrib.django import ResqpyBackend
from resqpy.contrib.django.backend import _blocking
from resqpy.embedded import PrivateServer
from resqpy.testing import drain


class Waiting(ResqpyBackend):
    """In the place of DummyBackend: what is enqueued waits."""

    @property
    def results(self) -> list[Any]:
        """All, as they were enqueued."""
        ids = _blocking("-", lambda: [each.id for each in api.sync.tracked.iterate()])
        return [self.get_result(each) for each in reversed(ids)]

    def clear(self) -> None:
        """Forget them."""
        SERVER.flush()


class InPlace(ResqpyBackend):
    """In the place of ImmediateBackend."""

    supports_defer = supports_get_result = False

    def enqueue(self, task: Any, args: Any, kwargs: Any) -> Any:
        """Run it too."""
        return self._run(super().enqueue(task, args, kwargs))

    async def aenqueue(self, task: Any, args: Any, kwargs: Any) -> Any:
        """In a thread that knows nothing of this one: of a worker's process nothing is shared either."""
        loop = asyncio.get_running_loop()
        result = await loop.run_in_executor(None, super().enqueue, task, args, kwargs)
        return await loop.run_in_executor(None, self._run, result)

    def get_result(self, result_id: str) -> Any:
        """Django's can't."""
        raise NotImplementedError("This backend does not support retrieving or refreshing results.")

    def _run(self, result: Any) -> Any:
        api.sync.run(drain)
        now = super().get_result(result.id)
        for name in TASK_REFRESH_ATTRS:
            object.__setattr__(result, name, getattr(now, name))
        return result


def run_without(left_out: list[str]) -> int:
    """Run them but for these, `Class.test`, each of which must be there; how many failed."""
    runner = DiscoverRunner(verbosity=1)
    runner.setup_test_environment()
    found = [*iter_test_cases(runner.build_suite(["tasks"]))]
    kept = [each for each in found if not each.id().endswith(tuple(left_out))]
    assert len(kept) == len(found) - len(left_out), [each.id() for each in found]
    print(f"{len(found)} tests, {len(kept)} run")
    databases = runner.setup_databases()
    result = runner.run_suite(unittest.TestSuite(kept))
    runner.teardown_databases(databases)
    return len(result.failures) + len(result.errors)


if __name__ == "__main__":
    folder, *left_out = sys.argv[1:]
    sys.path[:0] = [folder]
    os.environ |= {"RESQPY_ROOT": folder, "DJANGO_ALLOW_ASYNC_UNSAFE": "1"}
    with PrivateServer() as SERVER:
        settings.configure(
            SECRET_KEY="secret",
            INSTALLED_APPS=["resqpy.contrib.django", "tasks"],
            DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
            USE_TZ=True,
            RESQPY={"redis.url": SERVER.url, "logger.level": "critical"},
            TASKS={"default": {"BACKEND": "__main__.Waiting", "QUEUES": []}},
        )
        django.setup()
        sys.exit(bool(run_without(left_out)))
