"""Who says how a tracked task is tried again: its creator, else its definition, else a preset. Pure."""

from __future__ import annotations

from dataclasses import replace

from resqpy.engine.definition import Definition
from resqpy.engine.lifecycle import RetryPolicy
from resqpy.tracked.defaults import TaskDefaults
from resqpy.tracked.record import Record, Retries, but


def defaults_of(definition: Definition | None, defaults: TaskDefaults) -> TaskDefaults:
    """What a new task is like where its creator says nothing.

    Args:
        definition: None: it is not known here, so the worker sees to what it says.
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
    """A record, with what its creator did not say as the task's own policy has it."""
    if record.retries.at_most_once:
        return record
    filled = _filled(record.retries, policy)
    return record if filled == record.retries else but(record, retries=filled)


def _filled(retries: Retries, policy: RetryPolicy) -> Retries:
    most = retries.most if "retries" in retries.said else policy.most
    backoff = retries.backoff if "backoff" in retries.said else policy.backoff
    return replace(retries, most=most, backoff=backoff)
