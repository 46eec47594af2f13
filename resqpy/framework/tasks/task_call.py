"""One call of a task: the checked inputs, for middleware and `run`; kept in the engine's run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from resqpy.base.errors import InvalidInputs
from resqpy.engine.run import Run, current_run
from resqpy.engine.worker.newer import INPUTS_REFUSED

if TYPE_CHECKING:
    from resqpy.framework.tasks.spec import TaskSpec

_CALL = "resqpy.framework.call"


class TaskCall:
    """One call.

    Attributes:
        task: the task's spec.
        params: what `run` receives; middleware may change it.
        run: the engine's run: the job, its queue, its worker.
    """

    __slots__ = ("params", "run", "task")

    def __init__(self, task: TaskSpec, params: dict[str, Any], run: Run) -> None:
        self.task: TaskSpec = task
        self.params: dict[str, Any] = params
        self.run: Run = run

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


def call_of(task: TaskSpec, run: Run) -> TaskCall:
    """The call of a run; the inputs are checked on first access.

    Raises:
        InvalidInputs: what is wrong with them.
    """
    call: TaskCall | None = run.state.get(_CALL)
    if call is None:
        call = run.state[_CALL] = TaskCall(task, params_of(task, run.args), run)
    return call


def params_of(task: TaskSpec, args: Sequence[Any]) -> dict[str, Any]:
    """The inputs in a job's arguments, whoever wrote them, checked.

    Raises:
        InvalidInputs: what is wrong.
    """
    given = args[0] if args else {}
    if given is None or given == []:  # PHP's empty array can mean a list or an object
        given = {}
    if len(args) > 1 or not isinstance(given, Mapping):
        raise InvalidInputs(
            f"task {task.name!r} takes one object with its inputs as its only argument; the job's args are "
            f"{task.inputs.quoted(list(args))}"
        )
    return task.inputs.check(given)


def performer(task: TaskSpec, *, middleware: bool) -> Any:
    """The function that the engine calls: async if the task's own is.

    Args:
        middleware: it may have changed the inputs.
    """
    run, signature = task.run, task.signature

    def arguments(args: tuple[Any, ...]) -> dict[str, Any]:
        current = current_run.get()
        try:
            params = call_of(task, current).params if middleware else params_of(task, args)
        except InvalidInputs as error:
            current.state[INPUTS_REFUSED] = error
            raise
        return signature.arguments(params, current.worker)

    async def perform_async(*args: Any) -> Any:
        return await run(**arguments(args))

    def perform_in_thread(*args: Any) -> Any:
        return run(**arguments(args))

    return perform_async if task.is_async else perform_in_thread
