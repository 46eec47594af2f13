"""One call of a task: the inputs as checked, for middleware and `run`; kept in the engine's run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from resqpy.base.errors import InvalidInputs
from resqpy.engine.plugin import CallNext, Plugin
from resqpy.engine.run import Run, current_run

if TYPE_CHECKING:
    from resqpy.framework.spec import TaskSpec

_CALL = "resqpy.framework.call"


class TaskCall:
    """One call.

    Attributes:
        task: the task's spec.
        params: what `run` gets; middleware may change it.
        run: the engine's run: the job, its queue, its worker.
    """

    __slots__ = ("params", "run", "task")

    def __init__(self, task: TaskSpec, params: dict[str, Any], run: Run) -> None:
        self.task = task
        self.params = params
        self.run = run

    @property
    def worker(self) -> Any:
        """The worker that runs it."""
        return self.run.worker

    @property
    def result(self) -> Any:
        """What it returned."""
        return self.run.result

    @result.setter
    def result(self, value: Any) -> None:
        self.run.result = value

    @property
    def error(self) -> BaseException | None:
        """What it raised."""
        return self.run.error

    @error.setter
    def error(self, value: BaseException | None) -> None:
        self.run.error = value


def call_of(run: Run) -> TaskCall:
    """The call of a run that has passed its gate."""
    call: TaskCall = run.state[_CALL]
    return call


def params_of(task: TaskSpec, args: list[Any]) -> dict[str, Any]:
    """The inputs in a job's arguments, whoever wrote them, checked.

    Raises:
        InvalidInputs: what is wrong.
    """
    given = args[0] if args else {}
    if given is None:
        given = {}
    if len(args) > 1 or not isinstance(given, Mapping):
        raise InvalidInputs(
            f"task {task.name!r} takes one object with its inputs as its only argument; "
            f"the job's args are {_short(args)}"
        )
    return task.inputs.check(given)


def _short(args: list[Any]) -> str:
    text = repr(args)
    return text if len(text) <= 80 else f"{text[:80]}…"


class Gate(Plugin):
    """Checks the inputs before anything else of the task: what is wrong now is wrong in an hour, so
    no plugin may try it again.
    """

    def __init__(self, task: TaskSpec) -> None:
        super().__init__()
        self._task = task

    async def around(self, run: Run, call_next: CallNext) -> None:
        run.state[_CALL] = TaskCall(self._task, params_of(self._task, run.args), run)
        await call_next()


def performer(task: TaskSpec) -> Any:
    """The function that the engine calls: async if the task's own is."""
    run, signature = task.run, task.signature

    def arguments() -> dict[str, Any]:
        call = call_of(current_run.get())
        return signature.arguments(call.params, call.worker)

    async def perform_async(*_: Any) -> Any:
        return await run(**arguments())

    def perform_in_thread(*_: Any) -> Any:
        return run(**arguments())

    return perform_async if task.is_async else perform_in_thread
