"""A worker process that drains queue `q` of numbered jobs until it is killed.

    python -m tests.support.drainer URL FILE

Each job that is done is a line in the file. Of ten jobs one fails, one is tried again a week later,
one is put off, as a JobLock does, and one is too large to stand in a record.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from resqpy import MultiWorker, Plugin, ScalingOptions
from resqpy.engine.lifecycle import Outcome, OutcomeKind

WEEK_MS = 7 * 86_400_000


class PutOff(Plugin):
    """Ends some runs later: before they begin, or after they failed."""

    async def before_perform(self, run: Any) -> bool:
        """Put it off, as a lock that is held does."""
        if run.args[0] % 10 == 1:
            run.outcome = Outcome(OutcomeKind.DELAYED, delay_ms=WEEK_MS)
            return False
        return True

    async def after_perform(self, run: Any) -> None:
        """Try it again later."""
        if run.args[0] % 10 == 2:
            run.outcome = Outcome(OutcomeKind.RETRIED, error=run.error, delay_ms=WEEK_MS)


def main(url: str, path: str) -> None:
    """Work until killed."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def note(number: int, *_: Any) -> None:
        await asyncio.sleep(0.001 * (number % 4))
        if number % 10 in {0, 2}:
            raise ValueError(number)
        os.write(file, b"%d\n" % number)

    async def work() -> None:
        worker = MultiWorker(
            url, {"note": {"perform": note, "plugins": [PutOff]}}, "q",
            scaling=ScalingOptions(min_task_processors=30, max_task_processors=30),
        )  # fmt: skip
        async with worker:
            await worker.wait()

    asyncio.run(work())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
