"""All tasks of the event loop and the stacks of all threads, as text: for a process that hangs."""

from __future__ import annotations

import asyncio
import io
import sys
import threading
import traceback


def dump() -> str:
    """The text; to be called on the loop."""
    out = io.StringIO()
    tasks = asyncio.all_tasks()
    print(f"{len(tasks)} tasks", file=out)
    for task in sorted(tasks, key=lambda each: each.get_name()):
        print(f"\n{task.get_name()}: {task.get_coro()!r}", file=out)
        task.print_stack(limit=12, file=out)
    names = {each.ident: each.name for each in threading.enumerate()}
    frames = sys._current_frames()  # noqa: SLF001 - documented for this very use
    for ident, frame in frames.items():
        print(f"\nthread {names.get(ident, ident)}", file=out)
        out.write("".join(traceback.format_stack(frame)))
    return out.getvalue()
