"""`resqpy task run`: a task in this process, with its plugins."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from resqpy.base.error_text import class_of, words_of
from resqpy.cli import output
from resqpy.cli.exits import Exit
from resqpy.cli.session import task_of, with_process
from resqpy.cli.settings import Settings
from resqpy.engine.traceback_text import lines_of
from resqpy.framework.process import Process

if TYPE_CHECKING:
    from resqpy.framework.spec import TaskSpec


class _Raised(Exception):
    """Carries what a task raised to where it is told."""


def run_inline(
    settings: Settings, name: str, inputs_of: Callable[[TaskSpec], dict[str, Any]]
) -> int:
    """Run it and print what it returns; the exit code.

    Args:
        inputs_of: gives the inputs, checked.
    """
    skipped: list[str] = []

    async def do(process: Process) -> Any:
        task = task_of(process.project, name)
        given = inputs_of(task)
        worker = process.resque.inline_worker()
        worker.on("skipped", lambda *_: skipped.append(name))
        try:
            return await worker.perform_inline(task.name, [given])
        except (Exception, SystemExit) as error:  # as in a worker: sys.exit is a failure
            raise _Raised from error

    try:
        result = with_process(do)
    except _Raised as raised:
        if settings.debug or raised.__cause__ is None:
            raise
        _tell(raised.__cause__)
        return Exit.ERROR
    if skipped:
        output.note(f"{name} did not run: a plugin or middleware of the task forbids it")
    if output.wants_json():
        output.json({"task": name, "result": result})
    elif result is not None:
        output.say(output.text(result))
    return Exit.NO if skipped else Exit.OK


def _tell(error: BaseException) -> None:
    if output.wants_json():
        output.json({"exception": class_of(error), "error": words_of(error)})
    for line in lines_of(error):
        output.note(line)
