"""All tasks of the event loop and the stacks of all threads, as text: for a process that hangs."""

from __future__ import annotations

import asyncio
import io
import sys
import threading
import traceback


def dump(loop: asyncio.AbstractEventLoop) -> str:
    """The text; in any thread, so also while the loop is blocked."""
    out = io.StringIO()
    tasks = asyncio.all_tasks(loop)
    print(f"{len(tasks)} tasks", file=out)
    for task in sorted(tasks, key=lambda each: each.get_name()):
        print(f"\n{task.get_name()}: {task.get_coro()!r}", file=out)
        task.print_stack(limit=12, file=out)
    out.write(stacks())
    return out.getvalue()


def stacks() -> str:
    """The stacks of all threads."""
    out = io.StringIO()
    names = {each.ident: each.name for each in threading.enumerate()}
    frames = sys._current_frames()  # noqa: SLF001 - documented for this very use
    for ident, frame in frames.items():
        print(f"\nthread {names.get(ident, ident)}", file=out)
        out.write("".join(traceback.format_stack(frame)))
    return out.getvalue()
