"""A function as a task: here for a job that is to run later.

    await send_reminder.enqueue_in(2000, to="ada@example.com", about="tea")  # in 2,000 ms
    await send_reminder.enqueue_at(datetime(2030, 1, 1, tzinfo=UTC), to=…, about=…)

A type checker knows the parameters of `enqueue`. Delayed jobs need a scheduler: see config/tasks.py.
"""

from __future__ import annotations

from resqpy import task


@task(queue="default")
async def send_reminder(to: str, about: str) -> None:
    """Remind somebody of something."""
    print(f"  ⏰ reminder to {to}: {about}")
