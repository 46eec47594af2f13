"""Who says how a tracked task is tried again: its creator, else its definition, else a preset. Pure."""

from __future__ import annotations

from dataclasses import replace

from resqpy.base.task_record import Record, Retries, but
from resqpy.engine.definition import Definition
from resqpy.engine.plugin import Plugin
from resqpy.engine.tracked.defaults import TaskDefaults


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
        retries = _filled(retries, plugin)
    once = retries.at_most_once or definition.at_most_once
    return replace(defaults, retries=replace(retries, at_most_once=once))


def with_policy(record: Record, plugin: Plugin) -> Record:
    """A record, with what its creator did not say as a plugin of the task has it."""
    if record.retries.at_most_once:
        return record
    filled = _filled(record.retries, plugin)
    return record if filled == record.retries else but(record, retries=filled)


def _filled(retries: Retries, plugin: Plugin) -> Retries:
    own = plugin.retries()
    if own is None:
        return retries
    most = retries.most if "retries" in retries.said else own.most
    backoff = retries.backoff if "backoff" in retries.said else own.backoff
    return replace(retries, most=most, backoff=backoff)
