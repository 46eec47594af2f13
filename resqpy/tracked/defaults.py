"""The defaults for tracked tasks: one preset per system.

| | irontask | extra_horizon | twin |
|---|---|---|---|
| retries | 4 | 0 | unlimited |
| wait | 1 s, then 3.5 times as long each | 1 s, then twice as long each | 5 s |
| a retry is | the same task again | a new task | the same task again |
| record kept | forever | forever | not at all |
| longest execution | 30 minutes | no limit | no limit |
| lock | 30 s | 30 s | 30 s |
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from resqpy.base.backoff import Backoff
from resqpy.base.errors import UnknownOption
from resqpy.base.imports import near_match
from resqpy.engine.definition import Definition
from resqpy.engine.lifecycle import RetryPolicy
from resqpy.tracked.record import LOCK_MS, Record, Retries, but

HALF_AN_HOUR_MS = 30 * 60_000


@dataclass(frozen=True, slots=True)
class TaskDefaults:
    """Defaults for options that `create` omits; see `Record` for their meaning."""

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
        UnknownOption: there is no such preset; with the nearest name.
    """
    if name not in PRESETS:
        known = ", ".join(PRESETS)
        raise UnknownOption(f"preset {name!r} is unknown{near_match(name, PRESETS)} ({known})")
    return PRESETS[name]


def defaults_of(definition: Definition | None, defaults: TaskDefaults) -> TaskDefaults:
    """The defaults for a new task.

    Args:
        definition: None: it is unknown here, so the worker applies its policy.
        defaults: a preset's.
    """
    if definition is None:
        return defaults
    retries = defaults.retries
    for plugin in definition.plugins:
        if (policy := plugin.retries()) is not None:
            retries = _filled(retries, policy)
    once = retries.at_most_once or definition.at_most_once
    return replace(defaults, retries=replace(retries, at_most_once=once))


def with_policy(record: Record, policy: RetryPolicy) -> Record:
    """A record with the task's own policy for everything that its creator left open."""
    if record.retries.at_most_once:
        return record
    filled = _filled(record.retries, policy)
    return record if filled == record.retries else but(record, retries=filled)


def _filled(retries: Retries, policy: RetryPolicy) -> Retries:
    most = retries.most if "retries" in retries.said else policy.most
    backoff = retries.backoff if "backoff" in retries.said else policy.backoff
    return replace(retries, most=most, backoff=backoff)
