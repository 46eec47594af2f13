"""What a tracked task is like where its creator says nothing: one preset for each system.

| | irontask | extra_horizon | twin |
|---|---|---|---|
| retries | 4 | 0 | for ever |
| wait | 1 s, then 3.5 times as long each | 1 s, then twice as long each | 5 s |
| a retry is | the same task again | a new task | the same task again |
| record kept | for ever | for ever | not at all |
| longest execution | 30 minutes | no limit | no limit |
| lock | 30 s | 30 s | 30 s |
"""

from __future__ import annotations

from dataclasses import dataclass, field

from resqpy.base.backoff import Backoff
from resqpy.base.errors import UnknownOption
from resqpy.base.imports import near_match
from resqpy.tracked.record import LOCK_MS, Retries

HALF_AN_HOUR_MS = 30 * 60_000


@dataclass(frozen=True, slots=True)
class TaskDefaults:
    """Values for what a `create` leaves out; see `Record` for their meaning."""

    retries: Retries = field(default_factory=Retries)
    retain_ms: int | None = None
    lock_ms: int = LOCK_MS
    longest_ms: int | None = HALF_AN_HOUR_MS
    priority: int = 0


PRESETS = {
    "irontask": TaskDefaults(),
    "extra_horizon": TaskDefaults(Retries(0, Backoff(1000, 2.0), linked=True), longest_ms=None),
    "twin": TaskDefaults(Retries(None, Backoff.fixed(5000)), retain_ms=0, longest_ms=None),
}


def preset(name: str) -> TaskDefaults:
    """The defaults of one system.

    Raises:
        UnknownOption: no such preset, with the nearest.
    """
    if name not in PRESETS:
        known = ", ".join(PRESETS)
        raise UnknownOption(f"preset {name!r} is not known{near_match(name, PRESETS)} ({known})")
    return PRESETS[name]
