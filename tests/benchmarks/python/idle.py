"""A worker with nothing to do."""

from __future__ import annotations

from tests.benchmarks.python.common import Params, make_worker, run, say, stdin_ends


async def noop() -> None:
    """The one task."""


async def main(params: Params) -> None:
    """Idle until we are let go."""
    worker = make_worker(params, {"noop": noop})
    await worker.start()
    say(ready=True)
    await stdin_ends()
    await worker.stop()


if __name__ == "__main__":
    run(main)
