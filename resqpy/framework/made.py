"""Where a task was defined: each definition notes itself in the module that was being run then.

So a task is found by having been defined, whatever name or container holds it, or none.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from types import ModuleType
from typing import Any

_DEFINED = "__resqpy_defined__"  # in a module: what was defined while it ran
_PLACE = "__resqpy_place__"  # of a definition


@dataclass(frozen=True, slots=True)
class DefinedAt:
    """The line at the top of a module that led to a definition.

    Attributes:
        module: the module's name.
    """

    file: str
    line: int
    module: str


def note(defined: Any) -> None:
    """Note a definition and its place; one that is made while no module runs has none."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_name != "<module>":
        frame = frame.f_back
    place = None
    if frame is not None and (module := frame.f_globals.get("__name__")) != "__main__":
        frame.f_globals.setdefault(_DEFINED, []).append(defined)
        place = DefinedAt(frame.f_code.co_filename, frame.f_lineno, str(module))
    setattr(defined, _PLACE, place)


def place_of(defined: Any) -> DefinedAt | None:
    """Where something was defined, if a module was run then."""
    place = getattr(defined, _PLACE, None)
    return place if isinstance(place, DefinedAt) else None


def defined_by(module: ModuleType) -> list[Any]:
    """What was defined while a module ran, in that order."""
    return list(vars(module).get(_DEFINED, ()))
