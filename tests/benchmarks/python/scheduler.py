"""A scheduler at default settings."""

from __future__ import annotations

from resqpy.framework.api.scheduler import Scheduler
from tests.benchmarks.python.common import Params, options, run, say, stdin_ends


async def main(params: Params) -> None:
    """Lead until we are let go."""
    async with Scheduler(options(params), {}):
        say(ready=True)
        await stdin_ends()


if __name__ == "__main__":
    run(main)
