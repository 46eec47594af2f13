"""`tasks.resque_overrides`: another queue, multi worker or scheduler in place of ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from resqpy.base.errors import UsageError
from resqpy.base.imports import import_dotted
from resqpy.engine.contracts import (
    QueueContract,
    SchedulerContract,
    WorkerContract,
    check_contract,
)
from resqpy.engine.multi_worker import MultiWorker
from resqpy.engine.resque import Resque
from resqpy.framework.config import Config
from resqpy.framework.scheduler import Scheduler

PARTS: dict[str, tuple[type, type]] = {
    "queue": (Resque, QueueContract),
    "multi_worker": (MultiWorker, WorkerContract),
    "scheduler": (Scheduler, SchedulerContract),
}


@dataclass(frozen=True, slots=True)
class Part:
    """A part that is made once, by ours or by its replacement.

    Attributes:
        make: a class or a factory.
    """

    name: str
    make: Callable[..., Any]
    contract: type
    shown: str

    def __call__(self, *arguments: Any) -> Any:
        """Make it.

        Raises:
            UsageError: it doesn't take these arguments, or lacks something.
        """
        try:
            made = self.make(*arguments)
        except TypeError as error:
            raise UsageError(
                f"{self.shown} can't be called as our {self.name} is, with {len(arguments)} "
                f"arguments (see resqpy/engine/contracts.py): {error}"
            ) from error
        if not isinstance(self.make, type):
            check_contract(
                self.contract, made, f"{self.shown} returned a {type(made).__name__}; it"
            )
        return made


def part(name: str, config: Config) -> Part:
    """The part of a name, as the config has it.

    Raises:
        UsageError: what is wrong with the replacement.
    """
    ours, contract = PARTS[name]
    wanted = getattr(config.tasks.resque_overrides, name)
    path = f"tasks.resque_overrides.{name}"
    shown = f"{config.origin(path)}: {path} ({_name_of(wanted)})"
    if isinstance(wanted, str):
        wanted = _imported(wanted, shown)
    make = ours if wanted is None else wanted
    if isinstance(make, type):
        check_contract(contract, make, shown)
    elif not callable(make):
        raise UsageError(f"{shown} is {make!r}: neither a class nor a factory")
    return Part(name, make, contract, shown)


def _name_of(wanted: Any) -> str:
    if isinstance(wanted, str) or not hasattr(wanted, "__qualname__"):
        return str(wanted)
    return f"{wanted.__module__}.{wanted.__qualname__}"


def _imported(path: str, shown: str) -> Any:
    try:
        return import_dotted(path)
    except UsageError as error:
        raise UsageError(f"{shown}: {error}") from error
