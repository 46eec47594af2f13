"""What a replacement of a part must offer (`tasks.resque_overrides`), and the check that it does.

A replacement is called as ours is: a queue with (store, definitions), a multi worker with (store,
definitions, queues, options, scaling), a scheduler with (store, definitions, options). Deriving from
ours is the shortest way.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from resqpy.base.errors import UsageError
from resqpy.base.when import Duration, Moment
from resqpy.engine.options import FROM_OPTIONS
from resqpy.engine.queue import NewJob


class QueueContract(Protocol):
    """Enqueues and deletes."""

    async def enqueue(self, queue: str, class_name: str, args: Sequence[Any] = ()) -> bool: ...

    async def enqueue_many(self, jobs: Iterable[NewJob]) -> list[bool]: ...

    async def enqueue_at(
        self,
        timestamp: Moment,
        queue: str,
        class_name: str,
        args: Sequence[Any] = (),
        suppress_duplicate_task_error: bool = False,
    ) -> bool: ...

    async def enqueue_in(
        self,
        delay: Duration,
        queue: str,
        class_name: str,
        args: Sequence[Any] = (),
        suppress_duplicate_task_error: bool = False,
    ) -> bool: ...

    async def delete(
        self, queue: str, class_name: str, args: Sequence[Any] = (), count: int = 0
    ) -> int: ...

    async def del_by_function(
        self, queue: str, class_name: str, start: int = 0, stop: int = -1
    ) -> int: ...

    async def del_delayed(
        self, queue: str, class_name: str, args: Sequence[Any] = ()
    ) -> list[int]: ...

    async def del_delayed_at(self, timestamp: Moment) -> int: ...

    async def del_queue(self, queue: str) -> int: ...

    async def close(self) -> None: ...


class WorkerContract(Protocol):
    """Works queues: what a process does with its worker."""

    def on(self, event: str, listener: Any) -> Any: ...

    async def start(self) -> None: ...

    async def wait(self) -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def cancel(self, worker_id: str) -> bool: ...

    async def stop(self, timeout_s: float | None = FROM_OPTIONS) -> None: ...

    async def stop_now(self) -> None: ...


class SchedulerContract(Protocol):
    """Leads, or stands by: what a process does with its scheduler."""

    @property
    def leader(self) -> bool: ...

    @property
    def master(self) -> bool: ...

    def on(self, event: str, listener: Any) -> Any: ...

    async def start(self) -> None: ...

    async def wait(self) -> None: ...

    async def stop(self) -> None: ...


def check_contract(contract: type, part: Any, what: str) -> None:
    """Check that a class or an object offers what a contract names.

    Args:
        what: how a person knows it: the path in the config and what it says.

    Raises:
        UsageError: all that is missing or takes other arguments.
    """
    named = {
        name: wanted
        for name, wanted in vars(contract).items()
        if not name.startswith("_") and (inspect.isfunction(wanted) or isinstance(wanted, property))
    }
    problems = []
    if missing := [name for name in named if not hasattr(part, name)]:
        problems.append(f"it has no {', '.join(missing)}")
    for name, wanted in named.items():
        if inspect.isfunction(wanted) and name not in missing:
            problems += _wrong_call(wanted, part, name)
    if problems:
        raise UsageError(f"{what} can't be used: {'; '.join(problems)}")


def _wrong_call(wanted: Any, part: Any, name: str) -> list[str]:
    """What keeps a method from being called as the contract has it."""
    method = getattr(part, name)
    if not callable(method):
        return [f"its {name!r} is {method!r}, not a method"]
    names = list(inspect.signature(wanted).parameters)[1:]
    itself = [None] if isinstance(part, type) and _is_plain_method(part, name) else []
    try:
        inspect.signature(method).bind(*itself, *[None] * len(names))
    except TypeError as error:
        return [f"its {name}() doesn't take ({', '.join(names)}): {error}"]
    return []


def _is_plain_method(part: type, name: str) -> bool:
    return not isinstance(inspect.getattr_static(part, name), classmethod | staticmethod)
