"""`resqpy start`."""

from __future__ import annotations

from resqpy.cli.commands.worker import SURROUNDINGS, WORKING
from resqpy.cli.group import command
from resqpy.cli.options import option, options
from resqpy.cli.settings import current


@command(json=False)
@options(
    *WORKING,
    *SURROUNDINGS[2:],
    option("--reload/--no-reload", default=True, help="Restart when a file changes."),
)
def start(*, reload: bool) -> int:
    """Worker and scheduler in one process, for development.

    When a Python file of the project changes (not in tests/), the running jobs end and a new process
    begins. Ctrl-C stops it when the running jobs have ended; a second one at once.
    """
    from resqpy.cli import fleet

    return fleet.start(current(), reload=reload)
