"""The enqueue hooks of tasks' plugins: called before a job's bytes are made, and after it was enqueued."""

from __future__ import annotations

import logging
from collections.abc import Coroutine, Mapping
from copy import deepcopy
from functools import partial
from typing import Any, TypeVar

from resqpy.base import codec
from resqpy.base.concurrency.limited import within
from resqpy.base.error_text import add_note
from resqpy.base.errors import UsageError
from resqpy.engine.definition import Definition
from resqpy.engine.plugin import Enqueuing, Plugin
from resqpy.engine.worker.hook_limit import late

R = TypeVar("R")

_log = logging.getLogger("resqpy")


class JobHooks:
    """The hooks of some tasks, each with its time limit.

    Args:
        definitions: the tasks by name; other jobs have no hooks.
    """

    def __init__(self, definitions: Mapping[str, Definition]) -> None:
        self._definitions = definitions
        self._told: set[tuple[str, str]] = set()

    async def before(self, job: Enqueuing) -> Plugin | None:
        """Call the hooks of a job, which may change `job.args`; returns the plugin that forbids it.

        Raises:
            InvalidJob, InvalidInputs: a hook changed the arguments to something that can't be enqueued.
        """
        if not (hooks := self._of(job)):
            return None
        given = job.args
        job.args = deepcopy(given)  # the caller's object stays unchanged
        seen = repr(job.args)  # `==` would not tell 1 from True
        try:
            for plugin in hooks:
                if await _limited(plugin, plugin.before_enqueue(job), job) is False:
                    return plugin
                if repr(job.args) != seen:
                    job.args = self._changed(plugin, job, given)
                    seen = repr(job.args)
        except Exception as error:
            add_note(error, f"before task {job.class_name!r} was enqueued")
            raise
        return None

    async def after(self, job: Enqueuing) -> None:
        """Call the hooks of a job that was enqueued."""
        try:
            for plugin in self._of(job):
                await _limited(plugin, plugin.after_enqueue(job), job)
        except Exception as error:
            add_note(error, f"after task {job.class_name!r} was enqueued")
            raise

    def _of(self, job: Enqueuing) -> tuple[Plugin, ...]:
        definition = self._definitions.get(job.class_name)
        return () if definition is None else definition.enqueue_hooks

    def _changed(self, plugin: Plugin, job: Enqueuing, given: list[Any]) -> list[Any]:
        """The arguments that a hook has changed, checked; those of existing bytes are ignored."""
        name = job.class_name
        whose = f"the arguments of task {name!r} changed by {plugin.name}, a plugin or middleware,"
        if job.fixed:
            self._tell_once(plugin.name, name, whose)
            return deepcopy(given)
        try:
            raw = codec.encode_job(name, job.queue, job.args)
            args = codec.decode_job(raw, job.queue).args  # the plugin may keep using its own object
            if (check := self._definitions[name].check) is not None:
                check(args)
        except UsageError as error:
            raise type(error)(f"{whose} can't be enqueued: {error}") from error
        return args

    def _tell_once(self, plugin: str, task: str, whose: str) -> None:
        if (plugin, task) not in self._told:
            self._told.add((plugin, task))
            _log.warning(
                "%s are ignored (reported once): the bytes of a job that was delayed, has failed, or comes "
                "from a Ruby schedule already exist, so hooks can only forbid it",
                whose,
            )


async def _limited(plugin: Plugin, hook: Coroutine[Any, Any, R], job: Enqueuing) -> R:
    """What a hook returns, within its time limit."""
    seconds = plugin.hook_limit_s
    if seconds is None:
        return await hook
    where = f"while enqueuing task {job.class_name!r}"
    return await within(hook, seconds, partial(late, plugin, where, seconds), plugin.name)
