"""A Python prompt on the event loop of a started project; `await` is allowed at the top level."""

from __future__ import annotations

import ast
import asyncio
import code
import contextlib
import inspect
import sys
import traceback
from collections.abc import Coroutine
from types import CodeType, FunctionType
from typing import Any

from resqpy.base.imports import own_version
from resqpy.cli.arguments.session import new_process, with_process
from resqpy.framework.api.loop_thread import OwnLife
from resqpy.framework.process.process import Process


def run(text: str | None) -> Any:
    """Run a text, and return the value of its last expression; without one, prompt until end of input."""
    if text is not None:
        return with_process(lambda process: _evaluated(text, _names(process)))
    process, life = new_process(), OwnLife()
    life.begin()
    try:
        _wait(life, process.start())
        _Prompt(_names(process), life).interact(_banner(process), "")
    finally:
        _wait(life, process.stop())
        life.end()
    return None


def _wait(life: OwnLife, work: Coroutine[Any, Any, Any]) -> Any:
    """Do something on the project's loop; Ctrl-C here cancels it there."""
    done = asyncio.run_coroutine_threadsafe(work, life.loop)
    try:
        return done.result()
    except KeyboardInterrupt:
        done.cancel()
        raise


def _names(process: Process) -> dict[str, Any]:
    tasks = {
        getattr(each.defined, "__name__", each.name): each.defined
        for each in process.project.registry
    }
    own = {"api": process.api, "project": process.project, "process": process, "asyncio": asyncio}
    return {**tasks, **own}


def _banner(process: Process) -> str:
    return (
        f"resqpy {own_version()}, project {process.project.name}; await is allowed:\n  await "
        "api.tasks.enqueue(name, inputs)   await api.tasks.details()   exit() quits"
    )


class _Prompt(code.InteractiveConsole):
    """Runs each input on the project's loop. It reads in the main thread, so that Ctrl-C ends a line, or
    what a line started, and never the console.
    """

    def __init__(self, names: dict[str, Any], life: OwnLife) -> None:
        super().__init__(names)
        self.compile.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        self._life = life
        with contextlib.suppress(ImportError):
            import readline  # enables line editing and history
            import rlcompleter

            readline.set_completer(rlcompleter.Completer(names).complete)
            readline.parse_and_bind("tab: complete")

    def runcode(self, code: CodeType) -> None:
        """Run it on the loop, and wait."""
        error = _wait(self._life, self._ran(code))
        if isinstance(error, SystemExit):
            raise error
        if error is not None:
            self.write("".join(traceback.format_exception(_from_input(error))))

    async def _ran(self, code: CodeType) -> BaseException | None:
        """Its error; returned, because `exit()` must not end the loop."""
        try:
            value = FunctionType(code, self.locals)()
            if inspect.isawaitable(value):
                await value
        except BaseException as error:
            return error
        return None


def _from_input(error: BaseException) -> BaseException:
    """An error with only the frames from what was typed."""
    frame = error.__traceback__
    while frame is not None and frame.tb_frame.f_code.co_filename != "<console>":
        frame = frame.tb_next
    return error.with_traceback(frame or error.__traceback__)


async def _evaluated(text: str, names: dict[str, Any]) -> Any:
    """Run a text; returns the value of its last expression."""
    tree = ast.parse(text, "<code>", "exec")
    if tree.body and isinstance(tree.body[-1], ast.Expr):
        value = tree.body[-1].value
        tree.body[-1] = ast.Assign([ast.Name("_result", ast.Store())], value)
        ast.fix_missing_locations(tree)
    compiled = compile(tree, "<code>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    value = FunctionType(compiled, names)()
    if inspect.isawaitable(value):
        await value
    sys.stdout.flush()
    return names.pop("_result", None)
