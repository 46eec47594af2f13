"""The frozen spec of a task: all its properties, checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resqpy.base.cron import CronSchedule
    from resqpy.base.periodic import Missed
    from resqpy.framework.inputs import Inputs
    from resqpy.framework.signature import Signature


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """A task with all its properties, checked.

    Attributes:
        frequency_ms: 0: none.
        schedule: what `cron` says; None: nothing.
        retry: the options of the plugin Retry; None: no retry.
        run: the user's function, bound.
        module: the module it belongs to; None: the project.
        package: name and version of the installed package that brought it; None: none did.
        defined: what the user wrote: a class or a `FunctionTask`.
    """

    name: str
    description: str
    queue: str
    frequency_ms: int
    cron: str | None
    timezone: str
    schedule: CronSchedule | None
    missed: Missed
    missed_window_ms: int
    plugins: tuple[Any, ...]
    plugin_options: Mapping[str, Mapping[str, Any]]
    middleware: tuple[Any, ...]
    inputs: Inputs
    signature: Signature
    retry: Mapping[str, Any] | None
    time_limit_ms: int | None
    at_most_once: bool
    end_children: bool
    re_enqueue_on_exception: bool
    run: Callable[..., Any]
    is_async: bool
    file: Path
    line: int | None
    module: str | None
    package: str | None
    defined: Any

    @property
    def periodic(self) -> bool:
        """Whether it runs again and again."""
        return self.frequency_ms > 0 or self.schedule is not None
