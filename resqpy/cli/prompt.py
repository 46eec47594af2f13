"""A Python prompt beside the event loop of a started project; `await` is allowed at the top."""

from __future__ import annotations

import ast
import asyncio
import code
import inspect
import sys
import traceback
from concurrent.futures import Future
from types import CodeType, FunctionType
from typing import Any

from resqpy.base.imports import package_version
from resqpy.cli.session import with_process
from resqpy.cli.settings import Settings
from resqpy.framework.process import Process


def run(settings: Settings, text: str | None) -> Any:
    """Run a text, and return what its last expression is; without one, ask for input till its end."""

    async def do(process: Process) -> Any:
        names = _names(process)
        if text is not None:
            return await _evaluated(text, names)
        prompt = _Prompt(names, asyncio.get_running_loop())
        await asyncio.to_thread(prompt.interact, _banner(process), "")
        return None

    return with_process(settings, do)


def _names(process: Process) -> dict[str, Any]:
    tasks = {
        getattr(each.defined, "__name__", each.name): each.defined
        for each in process.project.registry
    }
    own = {"api": process.api, "project": process.project, "process": process, "asyncio": asyncio}
    return {**tasks, **own}


def _banner(process: Process) -> str:
    return (
        f"resqpy {package_version('resqpy')}, project {process.project.name}; await is allowed:\n"
        "  await api.tasks.enqueue(name, inputs)   await api.tasks.details()   exit() ends it"
    )


class _Prompt(code.InteractiveConsole):
    """Runs each input on the project's loop, in another thread."""

    def __init__(self, names: dict[str, Any], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(names)
        self.compile.compiler.flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        self._loop = loop

    def runcode(self, code: CodeType) -> None:
        """Run it on the loop, and wait."""
        done: Future[Any] = Future()
        self._loop.call_soon_threadsafe(lambda: self._begin(code, done))
        try:
            done.result()
        except SystemExit:
            raise
        except BaseException as error:
            self.write("".join(traceback.format_exception(_from_input(error))))

    def _begin(self, code: CodeType, done: Future[Any]) -> None:
        async def ran() -> Any:
            value = FunctionType(code, self.locals)()
            return await value if inspect.isawaitable(value) else value

        def tell(task: asyncio.Task[Any]) -> None:
            error = task.exception()
            done.set_exception(error) if error is not None else done.set_result(None)

        try:
            self._loop.create_task(ran()).add_done_callback(tell)
        except BaseException as error:
            done.set_exception(error)


def _from_input(error: BaseException) -> BaseException:
    """An error with the frames that begin in what was typed."""
    frame = error.__traceback__
    while frame is not None and frame.tb_frame.f_code.co_filename != "<console>":
        frame = frame.tb_next
    return error.with_traceback(frame or error.__traceback__)


async def _evaluated(text: str, names: dict[str, Any]) -> Any:
    """Run a text; what its last expression is."""
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
    return names.get("_result")
