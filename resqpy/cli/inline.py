"""`resqpy task run`: a task in this process, with its plugins."""

from __future__ import annotations

from typing import Any

import click

from resqpy.cli import output
from resqpy.cli.exits import Exit
from resqpy.cli.session import with_process
from resqpy.cli.settings import Settings
from resqpy.engine.traceback_text import lines_of
from resqpy.engine.worker import Worker
from resqpy.framework.process import Process


class _Raised(Exception):
    """Carries what a task raised to where it is told."""


def run_inline(settings: Settings, name: str, given: dict[str, Any]) -> int:
    """Run it and print what it returns; the exit code."""

    async def do(process: Process) -> Any:
        task = process.project.registry.task(name)
        task.inputs.check(given)
        worker = Worker(process.resque.store, process.project.registry.definitions)
        try:
            return await worker.perform_inline(task.name, [given])
        except Exception as error:
            raise _Raised from error

    try:
        result = with_process(settings, do)
    except _Raised as raised:
        if settings.debug or raised.__cause__ is None:
            raise
        _tell(raised.__cause__)
        return Exit.ERROR
    if output.wants_json():
        output.json({"task": name, "result": result})
    elif result is not None:
        click.echo(output.text(result))
    return Exit.OK


def _tell(error: BaseException) -> None:
    if output.wants_json():
        output.json({"exception": type(error).__name__, "error": str(error)})
    for line in lines_of(error):
        output.note(line)
