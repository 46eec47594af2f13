"""That Redis went, and that it is back, are told once each."""

from __future__ import annotations

import time

from resqpy.base.errors import StoreUnavailable
from resqpy.store.connection.reachability import Away, Back, Reachability

GONE = StoreUnavailable("refused")


def told_by(redis: Reachability) -> list[type]:
    """What is told, from now on."""
    told: list[type] = []
    redis.listen(lambda change: told.append(type(change)))
    return told


def test_what_was_begun_before_it_came_back_says_nothing() -> None:
    """An attempt, or a request, whose failure is noticed late: on a busy machine by another thread."""
    redis = Reachability()
    told = told_by(redis)
    begun_s = time.monotonic()
    redis.failed(GONE, begun_s=begun_s)
    redis.answered()
    redis.failed(GONE, begun_s=begun_s)
    assert (told, redis.away) == ([Away, Back], False)

    redis.failed(GONE, begun_s=time.monotonic() + 0.001)
    assert (told, redis.away) == ([Away, Back, Away], True)


def test_the_first_failure_of_all_is_told() -> None:
    """Nothing has ever answered."""
    redis = Reachability()
    told = told_by(redis)
    redis.failed(GONE, begun_s=time.monotonic())
    redis.failed(GONE)
    assert told == [Away]
