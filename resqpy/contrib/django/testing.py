"""For Django's own test runner and for pytest: what a test enqueues waits until it is drained, and then runs in
the test's transaction, on its database connections.

    TASKS["default"]["BACKEND"] = "resqpy.contrib.django.testing.DrainBackend"  # in the tests' settings

Redis is real: that of the test under resqpy's pytest plugin, else a private server of this process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from django.db import connections

from resqpy import api
from resqpy.base.errors import UsageError
from resqpy.contrib.django.apps import SHARED
from resqpy.contrib.django.backend import ResqpyBackend
from resqpy.embedded import PrivateServer
from resqpy.framework.project.root import REDIS_OF_TESTS
from resqpy.testing import Drained, drain as drain_queues


class DrainBackend(ResqpyBackend):
    """`ResqpyBackend`, with its options, on a Redis of the tests; so do resqpy's own tasks, and `api.sync`."""

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        super().__init__(alias, params)
        use_redis_of_tests()


def use_redis_of_tests() -> None:
    """Let this process use no other Redis. The app calls it too, where the settings name `DrainBackend`: Django
    makes backends when a task of its own is defined, and there may be none.
    """
    if not REDIS_OF_TESTS:
        REDIS_OF_TESTS.append(lambda: _server().url)


@cache
def _server() -> PrivateServer:
    return PrivateServer()


def drain(
    queues: str | Sequence[str] = "*", *, delayed: bool = False, raising: bool = False
) -> Drained:
    """Run the jobs in the queues until they are empty, in the transaction of the test: see `resqpy.testing.drain`.
    What `transaction.on_commit` holds back is not there yet; `TestCase.captureOnCommitCallbacks(execute=True)`
    lets it go.

    Raises:
        UsageError: the Redis that is used here is not one of the tests.
    """
    url = _url_of_tests()

    async def drained() -> Drained:
        _refuse_others(url)
        return await drain_queues(queues, delayed=delayed, raising=raising)

    with _shared_connections():
        return api.sync.run(drained)


def clear() -> None:
    """Empty the Redis of the tests: for `setUp`, where no fixture does so.

    Raises:
        UsageError: the Redis that is used here is not one of the tests.
    """
    url = _url_of_tests()

    async def cleared() -> None:
        _refuse_others(url)
        await api.redis.call("FLUSHDB")

    api.sync.run(cleared)


def _url_of_tests() -> str:
    if not REDIS_OF_TESTS:
        raise UsageError(
            "the tests have no Redis of their own: in their settings, let DrainBackend be the BACKEND of TASKS "
            "and 'resqpy.contrib.django' be one of INSTALLED_APPS"
        )
    return REDIS_OF_TESTS[-1]()


def _refuse_others(url: str) -> None:
    used = api.redis.options
    if used.url != url or used.sentinels or used.cluster:
        raise UsageError(
            "another Redis than that of the tests is used here: it was opened before DrainBackend was made, or "
            "redis.url was overridden; let the tests' settings name DrainBackend in TASKS"
        )


@contextmanager
def _shared_connections() -> Iterator[None]:
    """The connections of this thread, which only waits meanwhile, for the threads of the jobs."""
    for connection in connections.all():
        connection.inc_thread_sharing()
        SHARED[connection.alias] = connection
    try:
        yield
    finally:
        for connection in SHARED.values():
            connection.dec_thread_sharing()
        SHARED.clear()
