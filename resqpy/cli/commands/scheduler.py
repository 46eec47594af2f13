"""`resqpy scheduler`."""

from __future__ import annotations

from typing import NoReturn

from resqpy.cli.commands.worker import SURROUNDINGS
from resqpy.cli.group import command
from resqpy.cli.option_types import WithUnit
from resqpy.cli.options import options, setting
from resqpy.cli.settings import current


@command(json=False)
@options(
    setting("scheduler.timeout", "--interval", type=WithUnit(), metavar="DURATION",
            help="How long to sleep between looks where Redis can't wake us, as 5s or 500ms."),
    setting("scheduler.foreign_lock_ttl", "--lock-timeout", type=WithUnit(), metavar="DURATION",
            help="How long Ruby's and Node's leader locks live (default: 180s)."),
    *SURROUNDINGS,
)  # fmt: skip
def scheduler() -> NoReturn:
    """Move delayed and periodic jobs to their queues; work none.

    Any number may run: one leads, also beside the schedulers of Ruby and Node.
    """
    from resqpy.cli import fleet

    fleet.scheduler(current())
