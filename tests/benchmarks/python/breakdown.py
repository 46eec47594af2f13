"""The drain again, with its parts on the clock: says where the microseconds of a job go."""

from __future__ import annotations

import asyncio
import importlib
from typing import Any

from tests.benchmarks.python.common import Params, make_worker, run, say, stdin_ends
from tests.benchmarks.python.drain import Watch
from tests.benchmarks.python.sections import Sections

# What is charged to which name: functions by module and path. A name of which nothing is found (the
# functions were renamed) is told as missing; its time then stands with that of its callers.
PARTS: dict[str, list[str]] = {
    "pack the command": ["resqpy.store.connection.line:_pack"],
    "send, and wait for Redis": ["resqpy.store.connection.wire:Wire.send"],
    "read and parse": ["resqpy.store.connection.wire:Wire.data_received"],
    "line": [
        "resqpy.store.connection.client:Store.run",
        "resqpy.store.connection.line:Line.send",
        "resqpy.store.connection.line:Line._flush",
        "resqpy.store.connection.line:Line._on_replies",
    ],
    "words of the exchange": ["resqpy.store.exchange:Exchange.run"],
    "rows of the reply": ["resqpy.store.exchange:_unpack"],
    "decode": ["resqpy.base.codec:decode_job"],
    "make the run": ["resqpy.engine.worker.running:run_of"],
    "run, outcome": ["resqpy.engine.worker.running:execute"],
    "report": ["resqpy.engine.worker.running:ended"],
    "begin": [
        "resqpy.engine.worker.running:Runner.take",
        "resqpy.engine.worker.running:Runner.begin",
    ],
    "finish": [
        "resqpy.engine.worker.running:Runner._work",
        "resqpy.engine.worker.running:Runner.end",
    ],
    "dispatch": [
        "resqpy.engine.worker.pool:Pool._after",
        "resqpy.engine.worker.pool:Pool._serve",
        "resqpy.engine.worker.reporting:Reporting.call",
        "resqpy.engine.worker.reporting:Reporting.settle",
    ],
    "events": [
        "resqpy.base.events:Emitter.emit",
        "resqpy.engine.worker.multi_worker:MultiWorker._tell",
    ],
}
# On one machine Redis may run on our core while we are in `send`, so the two can't be told apart.
WAITING, CREATING = "send, and wait for Redis", "create the task"


def wrap_all(sections: Sections) -> list[str]:
    """Put the parts on the clock; the names that are missing."""
    found = {name: [_wrap(sections, path, name) for path in PARTS[name]] for name in PARTS}
    loop: Any = asyncio.get_running_loop()
    selector = loop._selector
    selector.select = sections.wrapped(WAITING, selector.select)
    loop.create_task = sections.wrapped(CREATING, loop.create_task)
    return [name for name, wrapped in found.items() if not any(wrapped)]


def _wrap(sections: Sections, path: str, name: str) -> bool:
    module, _, inside = path.partition(":")
    owner: Any = importlib.import_module(module)
    *outer, attribute = inside.split(".")
    for each in outer:
        owner = getattr(owner, each, None)
    return owner is not None and sections.wrap(owner, attribute, name)


async def main(params: Params) -> None:
    """As `drain`, with a profile in the result."""
    sections = Sections()
    missing = wrap_all(sections)
    found: dict[str, float] = {}

    def stop() -> None:
        found.update(sections.microseconds(watch.counted))
        found["the wrappers"] = sections.overhead_us(watch.counted)

    watch = Watch(params["jobs"], params["processors"], on_start=sections.reset, on_stop=stop)
    worker = make_worker(params, {"noop": watch.perform})
    await worker.start()
    say(ready=True)
    await watch.all_done.wait()
    total = watch.seconds * 1e6 / watch.counted
    found["event loop and other"] = total - sum(found.values())
    say(result={"total": total, "parts": found, "missing": missing, "rate": watch.rate})
    await stdin_ends()
    await worker.stop()


if __name__ == "__main__":
    run(main)
