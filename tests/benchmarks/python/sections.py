"""Where the time goes: functions are wrapped, and each is charged with what it spends itself."""

from __future__ import annotations

import functools
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any


class Sections:
    """Charges time to names; what a wrapped function calls is charged to that one's name alone.

    The wrappers themselves cost something, `overhead_s` for each call; it is taken off.
    """

    def __init__(self) -> None:
        self._spent: dict[str, float] = defaultdict(float)
        self._calls: dict[str, int] = defaultdict(int)
        self._inner: list[float] = []
        self.overhead_s = 0.0
        self._calibrate()

    def _calibrate(self) -> None:
        """The cost of a wrapper: of many calls of a function that does nothing."""
        bare = lambda: None  # noqa: E731
        wrapped = self.wrapped("calibration", bare)
        plain_s, wrapped_s = _time_of(bare), _time_of(wrapped)
        self.overhead_s = max(0.0, wrapped_s - plain_s)
        self.reset()

    def reset(self) -> None:
        """Forget what was charged."""
        self._spent.clear()
        self._calls.clear()

    def wrap(self, owner: Any, attribute: str, name: str) -> bool:
        """Charge an attribute of a class or module to a name, from now on; False: there is none."""
        function = getattr(owner, attribute, None)
        if function is None:
            return False
        make = self.wrapped_async if _is_async(function) else self.wrapped
        setattr(owner, attribute, make(name, function))
        return True

    def wrapped(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with its time charged."""
        inner, clock = self._inner, time.perf_counter

        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            inner.append(0.0)
            start = clock()
            try:
                return function(*args, **kwargs)
            finally:
                self._charge(name, clock() - start)

        return timed

    def wrapped_async(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """A coroutine function, step by step: what others do while it waits is not charged."""

        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> _Steps:
            return _Steps(self, name, function(*args, **kwargs))

        return timed

    def enter(self) -> float:
        """Begin to charge; give what this returns to `leave`."""
        self._inner.append(0.0)
        return time.perf_counter()

    def leave(self, name: str, start: float) -> None:
        """Charge what was spent since `enter`."""
        self._charge(name, time.perf_counter() - start)

    def _charge(self, name: str, spent: float) -> None:
        inner = self._inner.pop()
        self._spent[name] += spent - inner
        self._calls[name] += 1
        if self._inner:
            self._inner[-1] += spent

    def microseconds(self, jobs: int) -> dict[str, float]:
        """For each name µs a job, without the cost of the wrappers."""
        return {
            name: max(0.0, spent - self._calls[name] * self.overhead_s) * 1e6 / jobs
            for name, spent in self._spent.items()
        }

    def overhead_us(self, jobs: int) -> float:
        """What the wrappers cost, µs a job."""
        return sum(self._calls.values()) * self.overhead_s * 1e6 / jobs


class _Steps:
    """An awaitable that charges each step of a coroutine; also good as the body of a task."""

    __slots__ = ("_coroutine", "_name", "_sections")

    def __init__(self, sections: Sections, name: str, coroutine: Any) -> None:
        self._sections, self._name, self._coroutine = sections, name, coroutine

    def send(self, value: Any) -> Any:
        start = self._sections.enter()
        try:
            return self._coroutine.send(value)
        finally:
            self._sections.leave(self._name, start)

    def throw(self, *error: Any) -> Any:
        return self._coroutine.throw(*error)

    def close(self) -> None:
        self._coroutine.close()

    def __next__(self) -> Any:
        return self.send(None)

    def __iter__(self) -> _Steps:
        return self

    __await__ = __iter__


def _is_async(function: Any) -> bool:
    return bool(getattr(function, "__code__", None) and function.__code__.co_flags & 0x80)


def _time_of(function: Callable[[], Any], calls: int = 20_000) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - start) / calls
