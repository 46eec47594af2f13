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
from resqpy.contrib.django.apps import SHARED
from resqpy.contrib.django.backend import ResqpyBackend
from resqpy.embedded import PrivateServer
from resqpy.framework.project.root import REDIS_OF_TESTS
from resqpy.testing import Drained, drain as drain_queues


class DrainBackend(ResqpyBackend):
    """`ResqpyBackend`, with its options, on a Redis of the tests; so do resqpy's own tasks, and `api.sync`."""

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        super().__init__(alias, params)
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
    """
    with _shared_connections():
        return api.sync.run(drain_queues, queues, delayed=delayed, raising=raising)


def clear() -> None:
    """Empty the Redis of the tests: for `setUp`, where no fixture does so."""
    api.sync.run(_flush)


async def _flush() -> None:
    await api.resque.store.call("FLUSHDB")


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
