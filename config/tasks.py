"""Workers and scheduler. All settings: docs/reference/config.md.

Each function returns what differs from resqpy's defaults: `default()` for all environments, one named
like the environment (RESQPY_ENV) on top of it. An environment variable wins over both:
RESQPY_TASKS_TIMEOUT=1000.
"""

from __future__ import annotations

from typing import Any


def default() -> dict[str, Any]:
    """For all environments."""
    return {
        # Should this process run a scheduler? Delayed and periodic jobs need one somewhere; any
        # number may run, one of them leads.
        "scheduler": True,
        # The queues to work, in order of priority: names, globs, "*", "!not_this".
        "queues": ["high", "default", "low", "*"],
        # Jobs at a time in this process: it follows how busy the event loop is. 0: works none.
        "min_task_processors": 1,
        "max_task_processors": 10,
    }


def production() -> dict[str, Any]:
    """For RESQPY_ENV=production."""
    return {
        "max_task_processors": 50,
        # How long running jobs may go on when the process is told to stop.
        "stop_timeout": 25_000,
    }


def test() -> dict[str, Any]:
    """For tests: pytest sets this environment by itself."""
    return {"queues": ["*"]}
