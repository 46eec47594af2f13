"""Runs a task here and now, without a worker: ActionHero's `runTask` and `runFullTask`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from resqpy.engine.definition import Definition, define
from resqpy.framework.api.api import api
from resqpy.framework.tasks.spec import TaskSpec
from resqpy.framework.tasks.task_call import performer


async def run_task(task: Any, inputs: Mapping[str, Any] | None = None) -> Any:
    """Run only a task's `run`: inputs are checked, formatted and completed as before any run; plugins and
    middleware are not involved, and nothing is written to Redis.

    Args:
        task: its name, its class or the decorated function.

    Returns:
        What `run` returned, unchanged.

    Raises:
        UnknownTask: with the nearest name.
        InvalidInputs: all that is wrong with the inputs.
        Exception: whatever the task raised.
    """
    spec = api.registry.task(task)
    limit = spec.time_limit_ms
    bare = define(
        spec.name,
        performer(spec, middleware=False),
        time_limit=None if limit is None else timedelta(milliseconds=limit),
    )
    return await _perform(spec, bare, inputs)


async def run_full_task(task: Any, inputs: Mapping[str, Any] | None = None) -> Any:
    """Run a task as a worker does, with its plugins and its middleware, but now, and with its error raised
    instead of written to the failed list.

    Args:
        task: its name, its class or the decorated function.

    Returns:
        What it returned; None if a plugin or middleware prevented the run.

    Raises:
        UnknownTask, InvalidInputs: as in `run_task`.
        Exception: whatever the task raised, also if it would be retried.
    """
    spec = api.registry.task(task)
    return await _perform(spec, api.registry.definitions[spec.name], inputs)


async def _perform(spec: TaskSpec, definition: Definition, inputs: Mapping[str, Any] | None) -> Any:
    worker = api.resque.inline_worker({**api.registry.definitions, spec.name: definition})
    return await worker.perform_inline(spec.name, [dict(inputs or {})])
