"""What bin/quickstart runs: the sample project at work, told in short lines."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from resqpy import Process, Project, api
from resqpy.base.errors import ResqpyError
from resqpy.engine.worker.identity import host_name, ours
from resqpy.framework.logs.log import configure
from resqpy.framework.process.signals import handled

ROOT = Path(__file__).parents[1]
WITHIN_S = 30.0  # that all samples get
DELAY_MS = 2000
PERIODIC = "sayHello"  # enqueues itself, by its frequency

Enqueue = Callable[[], Awaitable[Any]]


class Sample:
    """A job of a sample task.

    Args:
        code: how a program enqueues it.
        remark: what is special about it.
    """

    def __init__(self, task: str, code: str, remark: str, enqueue: Enqueue) -> None:
        self.task = task
        self.code = code
        self.remark = remark
        self.enqueue = enqueue


SAMPLES = (
    Sample(
        "sendWelcomeEmail",
        'await api.tasks.enqueue("sendWelcomeEmail", {"to": "ada@example.com"})',
        "runs at once",
        lambda: api.tasks.enqueue("sendWelcomeEmail", {"to": "ada@example.com"}),
    ),
    Sample(
        "count_words",
        'await api.tasks.enqueue("count_words", {"text": "to be or not to be"})',
        "a plain function, in a thread",
        lambda: api.tasks.enqueue("count_words", {"text": "to be or not to be"}),
    ),
    Sample(
        "send_reminder",
        'await api.tasks.enqueue_in(2000, "send_reminder", {"to": "ada", "about": "tea"})',
        "runs two seconds later",
        lambda: api.tasks.enqueue_in(
            DELAY_MS,
            "send_reminder",
            {"to": "ada", "about": "tea"},
            suppress_duplicate_task_error=True,
        ),
    ),
    Sample(
        "fetch_weather",
        'await api.tasks.enqueue("fetch_weather", {"city": "Berlin"})',
        "fails twice and is tried again",
        lambda: api.tasks.enqueue("fetch_weather", {"city": "Berlin"}),
    ),
)


class Story:
    """Tells what happens, and knows which samples have not been seen to run yet."""

    def __init__(self) -> None:
        self.missing = {PERIODIC, *(sample.task for sample in SAMPLES)}
        self.all_seen = asyncio.Event()
        self._start = time.monotonic()

    def follow(self, worker: Any) -> None:
        """Listen to a worker."""
        worker.on("success", self._success)
        worker.on("re_enqueue", self._again)
        worker.on("failure", self._failure)

    def _success(self, _number: int, _queue: str, job: Any, result: Any, took_ms: int) -> None:
        returned = "" if result is None else f", returned {result!r}"
        self._tell("✓", job, f"done in {took_ms:.0f} ms{returned}")
        self.missing.discard(job.class_name)
        if not self.missing:
            self.all_seen.set()

    def _again(self, _number: int, _queue: str, job: Any, _info: Any) -> None:
        self._tell("↻", job, "failed, and will be tried again in a second")

    def _failure(self, _number: int, _queue: str, job: Any, error: Any, _took_ms: int) -> None:
        self._tell("✗", job, f"failed: {error!r}")

    def _tell(self, sign: str, job: Any, words: str) -> None:
        passed = time.monotonic() - self._start
        print(f"{passed:6.2f} s  {sign} {job.class_name:<17} {words}", flush=True)


async def main(*, stay: bool) -> int:
    """Run the samples; the exit code."""
    # Nothing from the environment: a REDIS_URL may lead to a Redis that is no playground.
    project = Project.load(ROOT, overrides={"logger.level": "error"}, environ={})
    project.check()
    configure(project.config.logger, project.name)
    process = Process(project, worker=True, scheduler=True)
    print("Starting the sample project: its own Redis, a scheduler, workers …", flush=True)
    with handled(process):
        try:
            await process.start()
            await _refuse_others()
            return await _show(process, stay=stay)
        finally:
            await process.stop(None if not process.stopping else 5)


async def _refuse_others() -> None:
    """Two quickstarts at a time would take each other's jobs, and neither would see its own."""
    for worker in (await api.tasks.workers()).values():
        process = ours(worker)
        if process and process.host == host_name() and _is_other_and_lives(process.pid):
            raise ResqpyError(
                f"the process {process.pid} works the queues of this folder already "
                "(perhaps `bin/quickstart --stay` in another shell); stop it first"
            )


def _is_other_and_lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return pid != os.getpid()


async def _show(process: Process, *, stay: bool) -> int:
    story = Story()
    story.follow(process.resque.multi_worker)
    _tell_what_runs(process.project)
    print("\nEnqueued:\n")
    for sample in SAMPLES:
        print(f"  {sample.code}\n      # {sample.remark}", flush=True)
        await sample.enqueue()
    print(f"  # and {PERIODIC}, which has frequency = 1000, enqueues itself every second")
    print("\nWhat happens (indented lines are printed by the tasks):\n", flush=True)
    stopped = asyncio.ensure_future(process.wait())
    seen = asyncio.ensure_future(story.all_seen.wait())
    await asyncio.wait({stopped, seen}, timeout=WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
    seen.cancel()
    if not story.all_seen.is_set():
        stopped.cancel()
        return _tell_missing(story, stopped=process.stopping)
    print("\nAll samples ran.", flush=True)
    if stay:
        _tell_second_shell()
        await stopped
    stopped.cancel()
    print("Stopping: the workers, the scheduler, Redis.")
    return 0


def _tell_what_runs(project: Project) -> None:
    config = project.config.tasks
    queues = config.queues if isinstance(config.queues, tuple) else ("a function's",)
    rows = {
        "Redis": project.connection().url.removeprefix("unix://").partition("?")[0],
        "data": ".resqpy/redis",
        "tasks": ", ".join(sorted(task.name for task in project.registry)),
        "queues": ", ".join(queues),
        "workers": f"{config.min_task_processors} to {config.max_task_processors} jobs at a time",
    }
    print()
    for name, value in rows.items():
        print(f"  {name:<8} {value}")


def _tell_missing(story: Story, *, stopped: bool) -> int:
    names = ", ".join(sorted(story.missing))
    why = "you stopped it" if stopped else f"not within {WITHIN_S:.0f} s"
    print(f"quickstart: {names} did not run: {why}", file=sys.stderr)
    return 130 if stopped else 1


def _tell_second_shell() -> None:
    command = "resqpy" if shutil.which("resqpy") else ".venv/bin/resqpy"
    print(
        f"""
Still running; Ctrl-C stops it. A second shell in this folder finds the same Redis:

  cd {ROOT}
  {command} queues
  {command} task enqueue sendWelcomeEmail --args '{{"to": "grace@example.com"}}'
  {command} failed
"""
    )
    if os.environ.get("REDIS_URL"):
        print("(There REDIS_URL is set, which would lead elsewhere: `unset REDIS_URL` first.)\n")
    sys.stdout.flush()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bin/quickstart", description=__doc__)
    parser.add_argument("--stay", action="store_true", help="keep running until Ctrl-C")
    return parser.parse_args()


if __name__ == "__main__":
    options = _options()
    try:
        code = asyncio.run(main(stay=options.stay))
    except ResqpyError as error:
        print(f"quickstart: {error}", file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)
